//! A bounded number of connections, the callers that wait for one, and the connections kept open.
//!
//! Calls of one user never take all of them, and those who wait have their turns by user.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{Duration, Instant, sleep_until, timeout};

use super::endpoint::Endpoint;
use super::live::Live;
use crate::error::{Busy, CallError, Phase};
use crate::fair::{Bounds, Full, Place, Places, Sharer};

/// How long an unused connection stays open.
pub(super) const IDLE: Duration = Duration::from_secs(30);

/// A bounded number of connections. Open ones, used or not, never outnumber its slots.
pub(super) struct Lane {
    places: Arc<Places>,
    size: usize,
    shelf: Mutex<Shelf>,
}

/// How one lane of connections is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneUse {
    /// What it is for: `calls`, `sync`, `login` or `check`.
    pub lane: &'static str,
    /// Connections it may have.
    pub size: usize,
    /// Those that are at work.
    pub busy: usize,
    /// Those that are open and wait for work.
    pub idle: usize,
    /// Callers that wait for one.
    pub waiting: usize,
}

/// The connections kept open, the longest unused first.
#[derive(Default)]
struct Shelf {
    kept: VecDeque<(Instant, Live)>,
    taken: usize,
    sweeper: Option<AbortHandle>,
}

/// The right to have one connection.
pub(crate) struct Slot {
    lane: Arc<Lane>,
    // Dropped after `Slot::drop` has run, so that whoever is next finds the count right.
    _place: Place,
}

impl Lane {
    /// A lane that nobody has a share of: whoever may use it may use all of it.
    pub(super) fn new(size: usize, max_waiting: usize) -> Arc<Self> {
        Self::of(Bounds {
            size,
            most_of_one: size,
            most_waiting: max_waiting,
            most_waiting_of_one: max_waiting,
        })
    }

    /// A lane of which one user leaves a third to others, and of those who wait three quarters.
    pub(super) fn shared(size: usize, max_waiting: usize) -> Arc<Self> {
        Self::of(Bounds {
            size,
            most_of_one: size.saturating_sub(size.div_ceil(3)).max(1),
            most_waiting: max_waiting,
            most_waiting_of_one: max_waiting / 4,
        })
    }

    fn of(bounds: Bounds) -> Arc<Self> {
        let size = bounds.size;
        Arc::new(Self { places: Places::new(bounds), size, shelf: Mutex::default() })
    }

    /// A slot, when it is the user's turn.
    pub(super) async fn slot(
        self: &Arc<Self>,
        user: Sharer,
        within: Duration,
    ) -> Result<Slot, CallError> {
        let place = timeout(within, self.places.place(user))
            .await
            .map_err(|_| CallError::Timeout(Phase::Queue))?
            .map_err(|full| match full {
                Full::Waiting(waiting) | Full::OfUser(waiting) => Busy { waiting },
            })?;
        Ok(self.take(place))
    }

    /// A slot if one is free at once.
    pub(super) fn free_slot(self: &Arc<Self>) -> Option<Slot> {
        let place = self.places.free_place(None)?;
        Some(self.take(place))
    }

    /// A slot if more than half of them are free.
    pub(super) fn spare_slot(self: &Arc<Self>) -> Option<Slot> {
        if self.places.free() * 2 > self.size { self.free_slot() } else { None }
    }

    fn take(self: &Arc<Self>, place: Place) -> Slot {
        self.shelf.lock().taken += 1;
        Slot { lane: Arc::clone(self), _place: place }
    }

    /// Drops what has been unused for too long; when the next one will have been.
    fn sweep(&self) -> Option<Instant> {
        let mut shelf = self.shelf.lock();
        while shelf.kept.front().is_some_and(|(since, _)| since.elapsed() >= IDLE) {
            shelf.kept.pop_front();
        }
        let next = shelf.kept.front().map(|(since, _)| *since + IDLE);
        if next.is_none() {
            shelf.sweeper = None;
        }
        next
    }

    /// How it is used.
    pub(super) fn used(&self, lane: &'static str) -> LaneUse {
        let shelf = self.shelf.lock();
        let (busy, idle) = (shelf.taken, shelf.kept.len());
        let waiting = self.places.waiting();
        LaneUse { lane, size: self.size, busy, idle, waiting }
    }

    /// How many connections are kept open and unused.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.shelf.lock().kept.len()
    }

    /// How many slots are taken.
    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        self.shelf.lock().taken
    }

    /// How many callers wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.places.waiting()
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if let Some(sweeper) = self.shelf.get_mut().sweeper.take() {
            sweeper.abort();
        }
    }
}

impl Slot {
    /// A kept connection to this host that is still good. Others make room if there is none.
    pub(super) async fn kept(&self, endpoint: &Endpoint) -> Option<Live> {
        loop {
            let mut live = {
                let mut shelf = self.lane.shelf.lock();
                let place = shelf.kept.iter().rposition(|(_, live)| live.leads_to(endpoint));
                let Some((since, live)) = place.and_then(|place| shelf.kept.remove(place)) else {
                    shelf.make_room(self.lane.size);
                    return None;
                };
                if since.elapsed() >= IDLE {
                    continue;
                }
                live
            };
            if live.is_free().await {
                return Some(live);
            }
            live.broken();
        }
    }

    /// Leaves room for a new connection.
    pub(super) fn make_room(&self) {
        self.lane.shelf.lock().make_room(self.lane.size);
    }

    /// Keeps a connection open for the next caller.
    pub(super) fn keep(&self, live: Live) {
        let mut shelf = self.lane.shelf.lock();
        // The caller's slot comes free with this, so its own connection does not count twice.
        shelf.make_room(self.lane.size);
        shelf.kept.push_back((Instant::now(), live));
        if shelf.sweeper.is_none() {
            let lane = Arc::downgrade(&self.lane);
            let sweeper = tokio::spawn(async move {
                while let Some(next) = lane.upgrade().and_then(|lane| lane.sweep()) {
                    sleep_until(next).await;
                }
            });
            shelf.sweeper = Some(sweeper.abort_handle());
        }
    }
}

impl Shelf {
    fn make_room(&mut self, size: usize) {
        while self.kept.len() + self.taken > size && self.kept.pop_front().is_some() {}
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.lane.shelf.lock().taken -= 1;
    }
}
