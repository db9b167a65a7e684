//! Who wants a polled backend's objects: whether it is worth asking, and what is to be read again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Notify, OwnedMutexGuard, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

use xenapi_model::{ClassId, datamodel};

/// How long a poll is worth its cost after somebody has asked.
pub(super) const WANTED_FOR: Duration = Duration::from_secs(60);

/// How long a first reader waits for a poll.
pub(super) const FIRST_POLL_WITHIN: Duration = Duration::from_secs(5);

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
    /// Who wants which class, where classes are read apart.
    classes: Box<[OfClass]>,
    /// Nobody has asked for long, and the backend is left alone.
    asleep: AtomicBool,
    /// Somebody asks.
    pub(super) wake: Notify,
    /// How many polls there have been, whatever came of them.
    polls: watch::Sender<u64>,
    rereads: mpsc::Sender<Reread>,
    inbox: Arc<Mutex<mpsc::Receiver<Reread>>>,
}

/// Who wants the objects of one class.
#[derive(Debug, Default)]
struct OfClass {
    /// As [`Demand::asked`].
    asked: AtomicU64,
    followers: AtomicUsize,
}

impl Demand {
    pub(super) fn new() -> Self {
        let (rereads, inbox) = mpsc::channel(MOST_REREADS);
        Self {
            origin: Instant::now(),
            asked: AtomicU64::new(0),
            classes: datamodel().classes.iter().map(|_| OfClass::default()).collect(),
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
            if timeout(FIRST_POLL_WITHIN, polls.changed()).await.is_err() {
                // What there is will do, if it takes longer; and for the next reader at once.
                self.asleep.store(false, Ordering::Release);
            }
        }
    }

    /// Whether the backend is left alone, because nobody has asked for long.
    pub(super) fn is_asleep(&self) -> bool {
        self.asleep.load(Ordering::Acquire)
    }

    /// Somebody wants to read, or would if there were anything to.
    pub(super) fn note(&self) {
        self.asked.fetch_max(self.now(), Ordering::AcqRel);
    }

    /// Whether somebody has asked lately.
    pub(super) fn is_wanted(&self) -> bool {
        self.is_recent(self.asked.load(Ordering::Acquire))
    }

    /// Somebody wants to read objects of these classes.
    pub(super) fn note_classes(&self, classes: &[ClassId]) {
        let now = self.now();
        for class in classes {
            let of_class = self.of(*class);
            let before = of_class.asked.fetch_max(now, Ordering::AcqRel);
            if !self.is_recent(before) {
                self.wake.notify_one();
            }
        }
    }

    /// Somebody follows what becomes of the objects of these classes, or does no more.
    pub(super) fn follow(&self, classes: &[ClassId], follows: bool) {
        for class in classes {
            let followers = &self.of(*class).followers;
            match follows {
                true => followers.fetch_add(1, Ordering::AcqRel),
                false => followers.fetch_sub(1, Ordering::AcqRel),
            };
        }
        self.wake.notify_one();
    }

    /// Whether somebody has asked for objects of this class lately, or follows them.
    pub(super) fn wants(&self, class: ClassId) -> bool {
        let of_class = self.of(class);
        of_class.followers.load(Ordering::Acquire) > 0
            || self.is_recent(of_class.asked.load(Ordering::Acquire))
    }

    /// Waits until a poll has brought what `holds` looks for, or until `deadline`. Whether it has.
    pub(super) async fn brings(&self, deadline: Instant, holds: impl Fn() -> bool) -> bool {
        let mut polls = self.polls.subscribe();
        let brought = async {
            while !holds() {
                if polls.changed().await.is_err() {
                    return false;
                }
            }
            true
        };
        timeout_at(deadline, brought).await.unwrap_or(false)
    }

    fn of(&self, class: ClassId) -> &OfClass {
        &self.classes[usize::from(class.0)]
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// Whether that was so short a time ago that a poll is worth its cost.
    fn is_recent(&self, asked: u64) -> bool {
        asked > 0 && self.origin.elapsed() < Duration::from_millis(asked) + WANTED_FOR
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
    async fn who_wants_which_class_is_remembered_too() {
        let (demand, vif) = (Demand::new(), datamodel().class("VIF").expect("a class").id);
        let other = datamodel().class("VBD").expect("a class").id;
        demand.note_classes(&[vif]);
        assert!(demand.wants(vif) && !demand.wants(other) && !demand.is_wanted());
        tokio::time::advance(WANTED_FOR + Duration::from_millis(1)).await;
        assert!(!demand.wants(vif));
        demand.follow(&[other], true);
        tokio::time::advance(WANTED_FOR * 2).await;
        assert!(demand.wants(other));
        demand.follow(&[other], false);
        assert!(!demand.wants(other));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_reader_waits_for_a_poll_and_not_for_ever() {
        let demand = Demand::new();
        let began = Instant::now();
        demand.ask().await;
        assert_eq!(began.elapsed(), FIRST_POLL_WITHIN);
        demand.ask().await;
        assert_eq!(began.elapsed(), FIRST_POLL_WITHIN, "one wait in vain is enough");
        demand.sleep();
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
