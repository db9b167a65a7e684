//! When a backend is asked whether a session still lives, and what counts until it has answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use xenapi_client::Heard;

/// A session that is used is checked when the last check is older.
const FRESH: Duration = Duration::from_secs(30);

/// After a check that got no answer the next one comes sooner, so that a backend's return is
/// noticed.
const RETRY: Duration = Duration::from_secs(5);

/// For how long it counts that a pool was seen to be there.
const THERE_FOR: Duration = Duration::from_secs(15);

/// What is known of a backend session's life. Readers take no lock: times are milliseconds since it
/// was opened.
///
/// Any answer confirms it. Access lasts for the grace from the last one on; where the pool is there,
/// as its events show, and only slow to answer, from when it was first asked since: the session may
/// not have been used for long.
pub(super) struct Liveness {
    confirmed: Arc<Heard>,
    /// The last check that got no answer; older than the last confirmation when there was none since.
    unanswered: AtomicU64,
    /// The first check since the last confirmation; older when there was none.
    asked: AtomicU64,
    /// When the pool was last seen to be there.
    there: AtomicU64,
    asking: AtomicBool,
    answered: Notify,
}

impl Liveness {
    /// Of a session that was confirmed then.
    pub(super) fn new(confirmed: Arc<Heard>) -> Self {
        Self {
            confirmed,
            unanswered: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            there: AtomicU64::new(0),
            asking: AtomicBool::new(false),
            answered: Notify::new(),
        }
    }

    /// The right to ask the backend, when it is time and nobody else does. What would not outlast
    /// `grace` is asked sooner.
    pub(super) fn begin_check(self: &Arc<Self>, now: Instant, grace: Duration) -> Option<Check> {
        let now = self.confirmed.since_origin(now);
        let unanswered = self.unanswered.load(Ordering::Relaxed);
        let confirmed = self.confirmed.last();
        let due = if unanswered > confirmed {
            unanswered + milliseconds(RETRY.min(grace))
        } else {
            // Soon enough for an answer that takes its time.
            confirmed + milliseconds(FRESH.min(grace / 2))
        };
        if now < due || self.asking.swap(true, Ordering::AcqRel) {
            return None;
        }
        if self.asked.load(Ordering::Relaxed) <= confirmed {
            self.asked.store(now, Ordering::Relaxed);
        }
        Some(Check { of: Arc::clone(self), answered: None })
    }

    /// Whether the last check got no answer.
    pub(super) fn is_doubtful(&self) -> bool {
        self.unanswered.load(Ordering::Relaxed) > self.confirmed.last()
    }

    /// Notes that the pool is there, whether or not it answers about the session.
    pub(super) fn pool_is_there(&self, now: Instant) {
        self.there.store(self.confirmed.since_origin(now), Ordering::Relaxed);
    }

    /// Whether the session was last confirmed more than `grace` ago.
    pub(super) fn is_unconfirmed(&self, now: Instant, grace: Duration) -> bool {
        let now = self.confirmed.since_origin(now);
        now.saturating_sub(self.confirmed.last()) > milliseconds(grace)
    }

    /// Whether it gives no access any more.
    pub(super) fn has_lapsed(&self, now: Instant, grace: Duration) -> bool {
        if !self.is_unconfirmed(now, grace) {
            return false;
        }
        let now = self.confirmed.since_origin(now);
        let asked = self.asked.load(Ordering::Relaxed);
        let there = now.saturating_sub(self.there.load(Ordering::Relaxed));
        let forgiven = asked > self.confirmed.last()
            && there <= milliseconds(THERE_FOR)
            && now.saturating_sub(asked) <= milliseconds(grace);
        !forgiven
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
                self.of.confirmed.note(now);
            }
            None => {
                let now = self.of.confirmed.since_origin(Instant::now()).max(1);
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

    fn opened() -> Arc<Liveness> {
        Arc::new(Liveness::new(Arc::new(Heard::new(Instant::now()))))
    }

    async fn pass(seconds: u64) -> Instant {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        Instant::now()
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_is_due_after_half_a_minute_and_is_one_at_a_time() {
        let liveness = opened();
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
        let liveness = opened();
        let grace = Duration::from_secs(10);
        assert!(liveness.begin_check(pass(4).await, grace).is_none());
        let check = liveness.begin_check(pass(1).await, grace).expect("due before access ends");
        let now = pass(5).await;
        assert!(!liveness.has_lapsed(now, grace), "it may take as long as it lasts");
        check.confirmed(now);
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_at_once_one_asks() {
        let liveness = opened();
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
        let liveness = opened();
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
    async fn any_answer_confirms_a_session() {
        let liveness = opened();
        let asked = pass(29).await;
        let answered = pass(31).await;
        liveness.confirmed.note(asked);
        assert!(liveness.begin_check(answered, GRACE).is_some(), "it was asked half a minute ago");
        liveness.confirmed.note(answered);
        assert!(!liveness.is_doubtful());
        liveness.confirmed.note(asked);
        assert!(!liveness.has_lapsed(pass(300).await, GRACE), "the newest counts");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pool_that_is_there_has_the_grace_from_when_it_is_asked() {
        let liveness = opened();
        let now = pass(1000).await;
        assert!(liveness.has_lapsed(now, GRACE));
        liveness.pool_is_there(now);
        assert!(liveness.has_lapsed(now, GRACE), "nobody has asked it");
        let check = liveness.begin_check(now, GRACE).expect("due");
        assert!(!liveness.has_lapsed(now, GRACE) && liveness.is_unconfirmed(now, GRACE));
        let now = pass(16).await;
        assert!(liveness.has_lapsed(now, GRACE), "it was there too long ago");
        liveness.pool_is_there(now);
        assert!(!liveness.has_lapsed(now, GRACE));
        drop(check);
        for seconds in [100, 184] {
            let now = pass(seconds).await;
            liveness.pool_is_there(now);
            drop(liveness.begin_check(now, GRACE).expect("due"));
            assert!(!liveness.has_lapsed(now, GRACE));
        }
        let now = pass(1).await;
        liveness.pool_is_there(now);
        assert!(liveness.has_lapsed(now, GRACE), "asked again does not begin anew");
    }

    #[tokio::test(start_paused = true)]
    async fn settled_waits_for_the_check_under_way() {
        let liveness = opened();
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
