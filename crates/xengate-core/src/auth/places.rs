//! How many passwords are tried at once on a backend, and whose.
//!
//! XAPI takes five seconds to refuse a password and a directory any time to accept one, so those who
//! wait for it must not be in the way of those who need not: everybody has a share, some places are
//! for those who were let in quickly before, and the proven have places of their own.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Passwords of strangers tried at once, and how many more of those whom the backend lets in quickly.
const STRANGERS: usize = 12;
const QUICK: usize = 4;

/// Passwords tried at once of the proven.
const PROVEN: usize = 8;

/// Passwords tried at once of one user, of strangers and of the proven each.
const OF_ONE: usize = 4;

/// Logins that wait for a place, and how many of one user.
const QUEUE: usize = 64;
const QUEUE_OF_ONE: usize = 32;

/// How long they wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is quick.
const QUICKLY: Duration = Duration::from_secs(2);

/// How many names are remembered for it.
const REMEMBERED: usize = 1024;

/// Whom XAPI looks up by itself, in no directory.
const LOCAL: &str = "root";

/// The places of one backend.
#[derive(Default)]
pub(super) struct Places {
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Default)]
struct Taken {
    strangers: usize,
    proven: usize,
    /// By name and whether proven.
    of: HashMap<(String, bool), usize>,
    waiting: HashMap<String, usize>,
    quick: VecDeque<String>,
}

/// Too many logins are at the backend already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Crowded;

/// A place, until it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    who: (String, bool),
}

impl Places {
    /// A place as soon as one is free.
    pub(super) async fn enter(
        self: &Arc<Self>,
        name: &str,
        proven: bool,
    ) -> Result<Place, Crowded> {
        // As the throttle counts: no directory has two users whose names differ by case alone.
        let who = (name.to_lowercase(), proven);
        if self.taken.lock().take(&who) {
            return Ok(Place { places: Arc::clone(self), who });
        }
        let _waiting = Waiting::begin(self, who.0.clone())?;
        let until = Instant::now() + PATIENCE;
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Registered before looking, or a place that comes free in between would go unseen.
            freed.as_mut().enable();
            if self.taken.lock().take(&who) {
                return Ok(Place { places: Arc::clone(self), who });
            }
            if timeout_at(until, freed).await.is_err() {
                return Err(Crowded);
            }
        }
    }

    /// Notes how long it took to let somebody in.
    pub(super) fn took(&self, name: &str, time: Duration) {
        let name = name.to_lowercase();
        let quick = &mut self.taken.lock().quick;
        quick.retain(|known| *known != name);
        if time < QUICKLY {
            if quick.len() >= REMEMBERED {
                quick.pop_front();
            }
            quick.push_back(name);
        }
    }
}

impl Taken {
    fn take(&mut self, who: &(String, bool)) -> bool {
        let (name, proven) = who;
        let own = self.of.get(who).copied().unwrap_or(0);
        let room = match proven {
            true => self.proven < PROVEN,
            false => {
                self.strangers < STRANGERS
                    || (self.strangers < STRANGERS + QUICK
                        && (name == LOCAL || self.quick.contains(name)))
            }
        };
        if own >= OF_ONE || !room {
            return false;
        }
        *self.count(*proven) += 1;
        self.of.insert(who.clone(), own + 1);
        true
    }

    fn leave(&mut self, who: &(String, bool)) {
        *self.count(who.1) -= 1;
        lessen(&mut self.of, who);
    }

    fn count(&mut self, proven: bool) -> &mut usize {
        if proven { &mut self.proven } else { &mut self.strangers }
    }
}

fn lessen<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken.lock().leave(&self.who);
        self.places.freed.notify_waiters();
    }
}

/// One that waits; dropped, it has left the queue.
struct Waiting<'a> {
    places: &'a Places,
    name: String,
}

impl<'a> Waiting<'a> {
    fn begin(places: &'a Places, name: String) -> Result<Self, Crowded> {
        let waiting = &mut places.taken.lock().waiting;
        let own = waiting.get(&name).copied().unwrap_or(0);
        if own >= QUEUE_OF_ONE || waiting.values().sum::<usize>() >= QUEUE {
            return Err(Crowded);
        }
        waiting.insert(name.clone(), own + 1);
        Ok(Self { places, name })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        lessen(&mut self.places.taken.lock().waiting, &self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn enter(places: &Arc<Places>, name: &str) -> Place {
        places.enter(name, false).await.expect("a place")
    }

    /// Whether somebody gets a place without waiting.
    async fn at_once(places: &Arc<Places>, name: &str, proven: bool) -> Option<Place> {
        let entered = tokio::time::timeout(Duration::ZERO, places.enter(name, proven)).await;
        entered.ok().map(|entered| entered.expect("a place or a wait"))
    }

    async fn crowd(places: &Arc<Places>) -> Vec<Place> {
        let mut inside = Vec::new();
        for n in 0..STRANGERS {
            inside.push(enter(places, &format!("LAB\\user{n}")).await);
        }
        inside
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_waited_for_and_not_for_ever() {
        let places = Arc::new(Places::default());
        let mut inside = crowd(&places).await;
        let began = Instant::now();
        assert_eq!(places.enter("ann", false).await.map(drop), Err(Crowded));
        assert_eq!(began.elapsed(), PATIENCE);
        let (entered, ()) = tokio::join!(places.enter("ann", false), async { drop(inside.pop()) });
        assert!(entered.is_ok());
        assert!(places.taken.lock().waiting.is_empty());
        drop((inside, entered));
        assert!(places.taken.lock().of.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_user_takes_a_share_and_no_more() {
        let places = Arc::new(Places::default());
        let mut inside = Vec::new();
        for _ in 0..OF_ONE {
            inside.push(enter(&places, "Ann").await);
        }
        assert!(at_once(&places, "ann", false).await.is_none());
        inside.extend(at_once(&places, "ann", true).await);
        inside.extend(at_once(&places, "bob", false).await);
        assert_eq!(inside.len(), OF_ONE + 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_slow_are_not_in_the_way_of_the_quick() {
        let places = Arc::new(Places::default());
        places.took("ci", Duration::from_millis(200));
        let _inside = crowd(&places).await;
        assert!(at_once(&places, "ann", false).await.is_none());
        let _root = at_once(&places, "root", false).await.expect("a place");
        let _ci = at_once(&places, "CI", false).await.expect("a place");
        let _proven = at_once(&places, "ann", true).await.expect("a place");
        places.took("ci", Duration::from_secs(9));
        assert!(at_once(&places, "ci", false).await.is_none(), "quick no more");
    }

    #[tokio::test(start_paused = true)]
    async fn the_queue_is_bounded_and_who_gives_up_leaves_it() {
        let places = Arc::new(Places::default());
        let _inside = crowd(&places).await;
        let mut waiting: Vec<_> =
            (0..QUEUE_OF_ONE).map(|_| Box::pin(places.enter("ann", false))).collect();
        for one in &mut waiting {
            assert!(tokio::time::timeout(Duration::ZERO, one).await.is_err());
        }
        let began = Instant::now();
        assert_eq!(places.enter("ann", false).await.map(drop), Err(Crowded));
        assert_eq!(began.elapsed(), Duration::ZERO, "told at once");
        assert!(at_once(&places, "bob", false).await.is_none(), "waits");
        drop(waiting.pop());
        assert!(at_once(&places, "ann", false).await.is_none(), "waits again");
    }
}
