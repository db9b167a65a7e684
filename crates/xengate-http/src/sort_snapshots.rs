//! Orders that are kept for the pages to come.
//!
//! A list that is sorted by what may change would, page by page, show some objects twice and others
//! never. So the order is pinned when the first page is asked for: uuids only, the objects are read
//! as they are when their page is.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

use crate::problem::{Code, Problem};
use xengate_core::auth::Caller;

/// How long a pin lasts that nobody uses.
const LASTS: Duration = Duration::from_secs(300);
/// How many pins there are at most, for all sessions.
const MOST_PINS: usize = 64;
/// How many objects all pins have at most; each takes 20 bytes.
const MOST_OBJECTS: usize = 1_000_000;

/// Orders by their session and number.
#[derive(Debug, Default)]
pub struct SortSnapshots(Mutex<Vec<Pin>>);

#[derive(Debug)]
struct Pin {
    session: Uuid,
    /// What its user is told from others by.
    user: u64,
    number: u64,
    pinned: Arc<SortSnapshot>,
    used: Instant,
}

/// An order: which backend's which object comes when.
#[derive(Debug, PartialEq, Eq)]
pub struct SortSnapshot {
    backends: Box<[Arc<str>]>,
    places: Box<[(u16, Uuid)]>,
}

impl SortSnapshot {
    /// The order in which these stand.
    pub fn new<'a>(objects: impl Iterator<Item = (&'a Arc<str>, Uuid)>) -> Self {
        let mut backends: Vec<Arc<str>> = Vec::new();
        let places = objects
            .map(|(backend, uuid)| {
                let known = backends.iter().position(|known| known == backend);
                let place = known.unwrap_or_else(|| {
                    backends.push(backend.clone());
                    backends.len() - 1
                });
                // A configuration has no 65,536 backends.
                (u16::try_from(place).unwrap_or(u16::MAX), uuid)
            })
            .collect();
        Self { backends: backends.into(), places }
    }

    /// How many objects it has.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// What stands at `offset` and behind it, with where.
    pub fn from(&self, offset: usize) -> impl Iterator<Item = (usize, (&Arc<str>, Uuid))> {
        let places = self.places.iter().enumerate().skip(offset);
        places.filter_map(|(at, (backend, uuid))| {
            Some((at, (self.backends.get(usize::from(*backend))?, *uuid)))
        })
    }
}

impl SortSnapshots {
    /// The order that the caller's session has pinned under this number, kept for a while longer.
    pub fn get(&self, caller: &Caller, number: u64) -> Option<Arc<SortSnapshot>> {
        self.of(caller.session.id(), number)
    }

    fn of(&self, session: Uuid, number: u64) -> Option<Arc<SortSnapshot>> {
        let mut pins = self.0.lock();
        let now = Instant::now();
        pins.retain(|pin| pin.used + LASTS > now);
        let pin = pins.iter_mut().find(|pin| pin.session == session && pin.number == number)?;
        pin.used = now;
        Some(pin.pinned.clone())
    }

    /// Keeps an order for the caller's session under this number. When there are too many, the oldest
    /// of the user that has the most goes, whatever the sessions; when they are too large, that of
    /// the user whose are the largest together.
    pub fn put(
        &self,
        caller: &Caller,
        number: u64,
        pinned: Arc<SortSnapshot>,
    ) -> Result<(), Problem> {
        let session = &caller.session;
        self.add(session.id(), session.shares().sharer(), number, pinned)
    }

    fn add(
        &self,
        session: Uuid,
        user: u64,
        number: u64,
        pinned: Arc<SortSnapshot>,
    ) -> Result<(), Problem> {
        if pinned.len() > MOST_OBJECTS {
            let detail =
                format!("sort: more than {MOST_OBJECTS} objects are to be sorted; filter first");
            return Err(Problem::new(Code::BadParameter, detail).with_params(["sort"]));
        }
        let mut pins = self.0.lock();
        let used = Instant::now();
        pins.retain(|pin| {
            pin.used + LASTS > used && (pin.session, pin.number) != (session, number)
        });
        pins.push(Pin { session, user, number, pinned, used });
        let objects = |pins: &[Pin]| pins.iter().map(|pin| pin.pinned.len()).sum::<usize>();
        loop {
            let (many, large) = (pins.len() > MOST_PINS, objects(&pins) > MOST_OBJECTS);
            if !many && !large {
                return Ok(());
            }
            let has = |user| {
                let own = pins.iter().filter(|pin| pin.user == user);
                if large { own.map(|pin| pin.pinned.len()).sum() } else { own.count() }
            };
            // The new one, which is last, stays.
            let candidates = pins.iter().enumerate().take(pins.len() - 1);
            let oldest = candidates
                .min_by_key(|(_, pin)| (std::cmp::Reverse(has(pin.user)), pin.used))
                .map(|(place, _)| place);
            match oldest {
                Some(place) => pins.remove(place),
                None => return Ok(()),
            };
        }
    }
}

/// The order that a cursor goes on in is not kept any more.
pub fn expired() -> Problem {
    let detail = "cursor: the order it goes on in is not kept any more; start from the first page";
    Problem::new(Code::CursorExpired, detail).with_params(["cursor"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(numbers: std::ops::Range<u128>) -> Arc<SortSnapshot> {
        let backend: Arc<str> = "lab".into();
        let objects = numbers.map(|number| (&backend, Uuid::from_u128(number)));
        Arc::new(SortSnapshot::new(objects))
    }

    const ALICE: Uuid = Uuid::from_u128(1);
    const BOB: Uuid = Uuid::from_u128(2);

    #[tokio::test(start_paused = true)]
    async fn a_pin_is_its_sessions_and_lasts_while_it_is_used() {
        let pins = SortSnapshots::default();
        pins.add(ALICE, 1, 7, order(0..5)).expect("few");
        assert_eq!(pins.of(ALICE, 7), Some(order(0..5)));
        assert_eq!(pins.of(BOB, 7), None);
        assert_eq!(pins.of(ALICE, 8), None);
        for _ in 0..3 {
            tokio::time::advance(LASTS - Duration::from_secs(1)).await;
            assert!(pins.of(ALICE, 7).is_some());
        }
        tokio::time::advance(LASTS).await;
        assert_eq!(pins.of(ALICE, 7), None);
        let places: Vec<_> =
            order(0..3).from(1).map(|(at, (_, uuid))| (at, uuid.as_u128())).collect();
        assert_eq!(places, [(1, 1), (2, 2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_pin_of_who_has_the_most_goes() {
        let pins = SortSnapshots::default();
        pins.add(BOB, 2, 0, order(0..1)).expect("few");
        for number in 0..100 {
            tokio::time::advance(Duration::from_millis(1)).await;
            pins.add(ALICE, 1, number, order(0..1)).expect("few");
        }
        assert!(pins.of(BOB, 0).is_some(), "one of many does not push out others'");
        assert!(pins.of(ALICE, 99).is_some() && pins.of(ALICE, 37).is_some());
        assert!(pins.of(ALICE, 36).is_none());
        assert_eq!(pins.0.lock().len(), MOST_PINS);
        // Memory is bounded too.
        pins.add(BOB, 2, 1, order(0..MOST_OBJECTS as u128)).expect("just so many");
        assert_eq!(pins.0.lock().len(), 1);
        assert!(pins.add(BOB, 2, 2, order(0..MOST_OBJECTS as u128 + 1)).is_err());
    }
    #[tokio::test(start_paused = true)]
    async fn many_sessions_of_one_user_push_out_nobody_elses_orders() {
        let pins = SortSnapshots::default();
        for number in 0..2 {
            pins.add(BOB, 2, number, order(0..1000)).expect("few");
        }
        for session in 100..200 {
            tokio::time::advance(Duration::from_millis(1)).await;
            pins.add(Uuid::from_u128(session), 1, 0, order(0..1)).expect("few");
        }
        assert!(pins.of(BOB, 0).is_some() && pins.of(BOB, 1).is_some());
        // One that is large makes room among its own user's, not among the many small ones of others.
        pins.add(ALICE, 1, 7, order(0..600_000)).expect("large");
        pins.add(ALICE, 1, 8, order(0..600_000)).expect("large");
        assert!(pins.of(ALICE, 7).is_none() && pins.of(ALICE, 8).is_some());
        assert!(pins.of(BOB, 0).is_some() && pins.of(BOB, 1).is_some());
    }
}
