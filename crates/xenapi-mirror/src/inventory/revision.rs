//! The revision: one counter for all mirrors of this process.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

/// Counts what is published. Each publication gets the next number, and a number is never visible
/// before the lower ones are.
#[derive(Debug, Default)]
pub struct Revisions {
    /// Held by whoever publishes.
    publishing: Mutex<()>,
    last: watch::Sender<u64>,
}

impl Revisions {
    /// Publishes something under the next revision.
    pub(super) fn next(&self, publish: impl FnOnce(u64)) {
        let _turn = self.publishing.lock();
        let next = *self.last.borrow() + 1;
        publish(next);
        self.last.send_replace(next);
    }

    /// The newest revision.
    pub fn last(&self) -> u64 {
        *self.last.borrow()
    }

    /// Whether this revision is there, or comes within `patience`.
    pub(super) async fn reached(&self, revision: u64, patience: Duration) -> bool {
        let mut last = self.last.subscribe();
        let reached = last.wait_for(|last| *last >= revision);
        matches!(tokio::time::timeout(patience, reached).await, Ok(Ok(_)))
    }

    /// Looks at several mirrors as they stand at one revision. `look` returns what it saw, and the
    /// newest revision in it; it is called again when that is beyond the revision it began at.
    pub(super) fn at_one<T>(&self, look: impl Fn() -> (T, u64)) -> (u64, T) {
        let last = self.last();
        let (seen, newest) = look();
        if newest <= last {
            return (last, seen);
        }
        // Something was published in between. Nothing is while this is held.
        let _turn = self.publishing.lock();
        (self.last(), look().0)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn a_look_that_a_publication_crosses_is_taken_again() {
        let revisions = Revisions::default();
        let (shown, looks) = (AtomicU64::new(0), Cell::new(0));
        let show = || revisions.next(|revision| shown.store(revision, Ordering::Relaxed));
        show();
        let (revision, seen) = revisions.at_one(|| {
            looks.set(looks.get() + 1);
            if looks.get() == 1 {
                show();
            }
            let seen = shown.load(Ordering::Relaxed);
            (seen, seen)
        });
        assert_eq!((revision, seen, looks.get()), (2, 2, 2));
        let quiet = revisions.at_one(|| (shown.load(Ordering::Relaxed), 1));
        assert_eq!(quiet, (2, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_revision_is_waited_for_and_not_for_ever() {
        let revisions = Revisions::default();
        let patience = Duration::from_secs(10);
        let (reached, ()) = tokio::join!(revisions.reached(2, patience), async {
            revisions.next(|_| {});
            tokio::time::sleep(patience / 2).await;
            revisions.next(|_| {});
        });
        assert!(reached);
        assert!(!revisions.reached(3, patience).await);
        assert!(revisions.reached(0, Duration::ZERO).await);
    }
}
