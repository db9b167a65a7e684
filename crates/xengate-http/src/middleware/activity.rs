//! Whether anything is under way on a connection, and since when not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::time::Instant;

/// What is under way on one connection: requests, and answers that its client has not taken.
#[derive(Debug)]
pub struct Activity {
    under_way: AtomicUsize,
    /// When the last of it ended, in nanoseconds after `origin`.
    idle_since: AtomicU64,
    origin: Instant,
    eased: Arc<Eased>,
}

/// Tells whoever waits for a connection to come to rest.
#[derive(Debug, Default)]
pub struct Eased {
    awaited: AtomicBool,
    notify: Notify,
}

/// Something that is under way, until it is dropped.
#[derive(Debug)]
pub struct UnderWay(Arc<Activity>);

impl Activity {
    /// Of a connection on which nothing is under way yet. Times are told from `origin` on.
    pub fn new(origin: Instant, eased: Arc<Eased>) -> Self {
        let activity =
            Self { under_way: AtomicUsize::new(0), idle_since: AtomicU64::new(0), origin, eased };
        activity.idle_since.store(activity.now(), Ordering::Relaxed);
        activity
    }

    /// Notes that something begins.
    pub fn begin(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::AcqRel);
        UnderWay(Arc::clone(self))
    }

    /// Since when nothing is under way, in nanoseconds after the origin; `None` while something is.
    pub fn idle_since(&self) -> Option<u64> {
        let idle = self.under_way.load(Ordering::Acquire) == 0;
        idle.then(|| self.idle_since.load(Ordering::Relaxed))
    }

    /// For how long nothing has been under way.
    pub fn idle_for(&self) -> Option<std::time::Duration> {
        let since = self.idle_since()?;
        Some(std::time::Duration::from_nanos(self.now().saturating_sub(since)))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Default for Activity {
    fn default() -> Self {
        Self::new(Instant::now(), Arc::default())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let Activity { under_way, idle_since, eased, .. } = &*self.0;
        // Before it counts as idle, or it would seem to have been for long.
        idle_since.store(self.0.now(), Ordering::Relaxed);
        if under_way.fetch_sub(1, Ordering::AcqRel) == 1 {
            eased.tell();
        }
    }
}

impl Eased {
    /// Wakes who waits, if anybody does.
    pub fn tell(&self) {
        if self.awaited.load(Ordering::SeqCst) {
            self.notify.notify_waiters();
        }
    }

    /// Waits until `look` finds something, looking again whenever a connection has come to rest.
    pub async fn until<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        if let Some(found) = look() {
            return found;
        }
        self.awaited.store(true, Ordering::SeqCst);
        loop {
            let mut eased = std::pin::pin!(self.notify.notified());
            // Registered before looking, or what happens in between would go unheard.
            eased.as_mut().enable();
            if let Some(found) = look() {
                self.awaited.store(false, Ordering::SeqCst);
                return found;
            }
            eased.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_since_the_last_of_it_ended() {
        let activity = Arc::new(Activity::default());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(activity.idle_for(), Some(Duration::from_secs(2)));
        let (one, other) = (activity.begin(), activity.begin());
        drop(one);
        assert_eq!(activity.idle_for(), None);
        tokio::time::advance(Duration::from_secs(3)).await;
        drop(other);
        assert_eq!(activity.idle_for(), Some(Duration::ZERO));
        assert_eq!(activity.idle_since(), Some(5_000_000_000));
    }

    #[tokio::test]
    async fn who_waits_hears_that_a_connection_comes_to_rest() {
        let eased = Arc::<Eased>::default();
        let activity = Arc::new(Activity::new(Instant::now(), eased.clone()));
        let busy = activity.begin();
        let waits = eased.until(|| activity.idle_since());
        let (_, ()) = tokio::join!(waits, async { drop(busy) });
    }
}
