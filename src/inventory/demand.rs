//! Who wants a polled backend's objects: whether it is worth asking, and what is to be read again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Notify, OwnedMutexGuard, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

/// How long a poll is worth its cost after somebody has asked.
pub(super) const WANTED_FOR: Duration = Duration::from_secs(60);

/// How long a first reader waits for a poll.
const FIRST_POLL_WITHIN: Duration = Duration::from_secs(5);

/// How many single records may wait to be read again.
const MOST_REREADS: usize = 256;

/// A record to be read again.
#[derive(Debug)]
pub(super) struct Reread {
    pub(super) class: &'static str,
    pub(super) reference: String,
    /// Told once readers can see it.
    pub(super) done: oneshot::Sender<()>,
}

/// Who wants a polled backend's objects.
#[derive(Debug)]
pub(super) struct Demand {
    origin: Instant,
    /// When somebody asked last, in milliseconds since `origin`; 0 for never.
    asked: AtomicU64,
    /// Nobody has asked for long, and the backend is left alone.
    asleep: AtomicBool,
    /// Somebody asks.
    pub(super) wake: Notify,
    /// How many polls there have been, whatever came of them.
    polls: watch::Sender<u64>,
    rereads: mpsc::Sender<Reread>,
    inbox: Arc<Mutex<mpsc::Receiver<Reread>>>,
}

impl Demand {
    pub(super) fn new() -> Self {
        let (rereads, inbox) = mpsc::channel(MOST_REREADS);
        Self {
            origin: Instant::now(),
            asked: AtomicU64::new(0),
            asleep: AtomicBool::new(true),
            wake: Notify::new(),
            polls: watch::Sender::new(0),
            rereads,
            inbox: Arc::new(Mutex::new(inbox)),
        }
    }

    /// Somebody wants to read. Where the backend has been left alone, a poll is waited for.
    pub(super) async fn ask(&self) {
        let mut polls = self.polls.subscribe();
        self.note();
        if self.asleep.load(Ordering::Acquire) {
            polls.mark_unchanged();
            self.wake.notify_one();
            // What there is will do, if it takes longer.
            let _ = timeout(FIRST_POLL_WITHIN, polls.changed()).await;
        }
    }

    /// Somebody wants to read, or would if there were anything to.
    pub(super) fn note(&self) {
        let since = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.asked.fetch_max(since.max(1), Ordering::AcqRel);
    }

    /// Whether somebody has asked lately.
    pub(super) fn is_wanted(&self) -> bool {
        match self.asked.load(Ordering::Acquire) {
            0 => false,
            asked => self.origin.elapsed() < Duration::from_millis(asked) + WANTED_FOR,
        }
    }

    /// The backend is left alone from now on.
    pub(super) fn sleep(&self) {
        self.asleep.store(true, Ordering::Release);
    }

    /// A poll is over.
    pub(super) fn polled(&self) {
        self.asleep.store(false, Ordering::Release);
        self.polls.send_modify(|polls| *polls += 1);
    }

    /// Has a record read again; true once readers can see it.
    pub(super) async fn reread(&self, class: &'static str, reference: &str) -> bool {
        let (done, seen) = oneshot::channel();
        let reread = Reread { class, reference: reference.to_owned(), done };
        self.rereads.try_send(reread).is_ok() && seen.await.is_ok()
    }

    /// Has a record read again some time soon.
    pub(super) fn reread_later(&self, class: &'static str, reference: &str) {
        let (done, _) = oneshot::channel();
        // The next poll will do, if there is too much to read again.
        let _ = self.rereads.try_send(Reread { class, reference: reference.to_owned(), done });
    }

    /// What is to be read again, for the one task that does it.
    pub(super) async fn inbox(&self) -> OwnedMutexGuard<mpsc::Receiver<Reread>> {
        self.inbox.clone().lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_has_asked_is_remembered_for_a_minute() {
        let demand = Demand::new();
        assert!(!demand.is_wanted());
        demand.note();
        assert!(demand.is_wanted());
        tokio::time::advance(WANTED_FOR + Duration::from_millis(1)).await;
        assert!(!demand.is_wanted());
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_reader_waits_for_a_poll_and_not_for_ever() {
        let demand = Demand::new();
        let began = Instant::now();
        demand.ask().await;
        assert_eq!(began.elapsed(), FIRST_POLL_WITHIN);
        let (_, ()) = tokio::join!(demand.ask(), async {
            demand.wake.notified().await;
            demand.polled();
        });
        assert_eq!(began.elapsed(), FIRST_POLL_WITHIN, "no longer than the poll took");
        demand.ask().await;
        assert_eq!(began.elapsed(), FIRST_POLL_WITHIN, "polls go on by themselves");
        demand.sleep();
        demand.ask().await;
        assert_eq!(began.elapsed(), FIRST_POLL_WITHIN * 2);
    }

    #[tokio::test]
    async fn who_has_a_record_read_again_hears_when_that_is_done() {
        let demand = Demand::new();
        let (seen, ()) = tokio::join!(demand.reread("VM", "a"), async {
            let reread = demand.inbox().await.recv().await.expect("one");
            assert_eq!((reread.class, &*reread.reference), ("VM", "a"));
            reread.done.send(()).expect("somebody waits");
        });
        assert!(seen);
        let (seen, ()) = tokio::join!(demand.reread("VM", "a"), async {
            drop(demand.inbox().await.recv().await);
        });
        assert!(!seen, "it could not be read");
    }
}
