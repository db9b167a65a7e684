//! When a backend is asked whether a session still lives, and what counts until it has answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// A session that is used is checked when the last check is older.
const FRESH: Duration = Duration::from_secs(30);

/// After a check that got no answer the next one comes sooner, so that a backend's return is
/// noticed.
const RETRY: Duration = Duration::from_secs(5);

/// What is known of a backend session's life. Readers take no lock: times are milliseconds since
/// `origin`.
pub(super) struct Liveness {
    origin: Instant,
    confirmed: AtomicU64,
    /// The last check that got no answer; older than `confirmed` when there was none since.
    unanswered: AtomicU64,
    asking: AtomicBool,
    answered: Notify,
}

impl Liveness {
    /// Of a session that has just been opened.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            origin: now,
            confirmed: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            asking: AtomicBool::new(false),
            answered: Notify::new(),
        }
    }

    /// The right to ask the backend, when it is time and nobody else does. What would not outlast
    /// `grace` is asked sooner.
    pub(super) fn begin_check(self: &Arc<Self>, now: Instant, grace: Duration) -> Option<Check> {
        let now = self.since_origin(now);
        let unanswered = self.unanswered.load(Ordering::Relaxed);
        let confirmed = self.confirmed.load(Ordering::Relaxed);
        let due = if unanswered > confirmed {
            unanswered + milliseconds(RETRY.min(grace))
        } else {
            confirmed + milliseconds(FRESH.min(grace))
        };
        if now < due || self.asking.swap(true, Ordering::AcqRel) {
            return None;
        }
        Some(Check { of: Arc::clone(self), answered: None })
    }

    /// Whether the last check got no answer.
    pub(super) fn is_doubtful(&self) -> bool {
        self.unanswered.load(Ordering::Relaxed) > self.confirmed.load(Ordering::Relaxed)
    }

    /// Whether the session was last confirmed more than `grace` ago.
    pub(super) fn has_lapsed(&self, now: Instant, grace: Duration) -> bool {
        let confirmed = self.confirmed.load(Ordering::Relaxed);
        self.since_origin(now).saturating_sub(confirmed) > milliseconds(grace)
    }

    /// Returns when no check is under way.
    pub(super) async fn settled(&self) {
        loop {
            let answered = self.answered.notified();
            tokio::pin!(answered);
            // Registered before looking, or an answer in between would go unheard.
            answered.as_mut().enable();
            if !self.asking.load(Ordering::Acquire) {
                return;
            }
            answered.await;
        }
    }

    fn since_origin(&self, now: Instant) -> u64 {
        milliseconds(now.saturating_duration_since(self.origin))
    }
}

/// A check under way. Dropped without an answer it counts as unanswered, so that a check that
/// panics or is cancelled never stops the next one.
pub(super) struct Check {
    of: Arc<Liveness>,
    answered: Option<Instant>,
}

impl Check {
    /// The backend knows the session.
    pub(super) fn confirmed(mut self, now: Instant) {
        self.answered = Some(now);
    }
}

impl Drop for Check {
    fn drop(&mut self) {
        match self.answered {
            Some(now) => {
                self.of.confirmed.store(self.of.since_origin(now).max(1), Ordering::Relaxed);
            }
            None => {
                let now = self.of.since_origin(Instant::now()).max(1);
                self.of.unanswered.store(now, Ordering::Relaxed);
            }
        }
        self.of.asking.store(false, Ordering::Release);
        self.of.answered.notify_waiters();
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(300);

    async fn pass(seconds: u64) -> Instant {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        Instant::now()
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_is_due_after_half_a_minute_and_is_one_at_a_time() {
        let liveness = Arc::new(Liveness::new(Instant::now()));
        assert!(liveness.begin_check(pass(29).await, GRACE).is_none());
        let now = pass(1).await;
        let check = liveness.begin_check(now, GRACE).expect("due");
        assert!(liveness.begin_check(now, GRACE).is_none(), "one at a time");
        check.confirmed(now);
        assert!(liveness.begin_check(now, GRACE).is_none());
        assert!(liveness.begin_check(pass(30).await, GRACE).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_grace_does_not_run_out_unasked() {
        let liveness = Arc::new(Liveness::new(Instant::now()));
        let grace = Duration::from_secs(10);
        assert!(liveness.begin_check(pass(9).await, grace).is_none());
        let now = pass(1).await;
        assert!(!liveness.has_lapsed(now, grace));
        liveness.begin_check(now, grace).expect("due before access ends").confirmed(now);
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_at_once_one_asks() {
        let liveness = Arc::new(Liveness::new(Instant::now()));
        let now = pass(31).await;
        let asking: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|_| {
                    scope.spawn(|| liveness.begin_check(now, GRACE).map(std::mem::forget).is_some())
                })
                .collect();
            threads.into_iter().map(|thread| usize::from(thread.join().expect("no panic"))).sum()
        });
        assert_eq!(asking, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_answer_access_lasts_for_the_grace() {
        let liveness = Arc::new(Liveness::new(Instant::now()));
        let now = pass(30).await;
        drop(liveness.begin_check(now, GRACE).expect("due"));
        assert!(liveness.is_doubtful());
        assert!(!liveness.has_lapsed(now, GRACE));
        assert!(liveness.begin_check(pass(4).await, GRACE).is_none(), "not at every use");
        let now = pass(1).await;
        drop(liveness.begin_check(now, GRACE).expect("sooner than half a minute"));
        let now = pass(265).await;
        assert!(!liveness.has_lapsed(now, GRACE));
        let now = pass(1).await;
        assert!(liveness.has_lapsed(now, GRACE));
        liveness.begin_check(now, GRACE).expect("due").confirmed(now);
        assert!(!liveness.has_lapsed(now, GRACE) && !liveness.is_doubtful());
    }

    #[tokio::test(start_paused = true)]
    async fn settled_waits_for_the_check_under_way() {
        let liveness = Arc::new(Liveness::new(Instant::now()));
        liveness.settled().await;
        let now = pass(30).await;
        let check = liveness.begin_check(now, GRACE).expect("due");
        let waiting = tokio::spawn({
            let liveness = Arc::clone(&liveness);
            async move { liveness.settled().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        check.confirmed(now);
        waiting.await.expect("no panic");
    }
}
