//! Places that users share fairly.
//!
//! Whoever comes when a place is free has it. When none is, those who wait have their turns by user
//! and not by who came first: one who asks for a hundred things waits for them, and others pass.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Names a user among those who share. Nobody's is the gateway's own work, which has no share.
pub type Sharer = Option<u64>;

/// Places that users share.
#[derive(Debug)]
pub struct Places {
    size: usize,
    most_of_one: usize,
    most_waiting: usize,
    most_waiting_of_one: usize,
    state: Mutex<State>,
}

/// How many places there are.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Places in all.
    pub size: usize,
    /// Those that one user may have.
    pub most_of_one: usize,
    /// Who may wait for one.
    pub most_waiting: usize,
    /// How often one user may.
    pub most_waiting_of_one: usize,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    waiting: usize,
    last: u64,
    users: HashMap<Sharer, User>,
    /// Whose turn it is next, among those who wait.
    turns: VecDeque<Sharer>,
}

#[derive(Debug, Default)]
struct User {
    taken: usize,
    waiting: VecDeque<(u64, oneshot::Sender<Place>)>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    user: Sharer,
}

/// As many wait as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// In all.
    Waiting(usize),
    /// Of this user.
    OfUser(usize),
}

/// A wait that may be given up.
struct Waiting<'a> {
    places: &'a Arc<Places>,
    user: Sharer,
    number: u64,
}

impl Places {
    /// So many places.
    pub fn new(bounds: Bounds) -> Arc<Self> {
        let Bounds { size, most_of_one, most_waiting, most_waiting_of_one } = bounds;
        let state = Mutex::default();
        Arc::new(Self { size, most_of_one, most_waiting, most_waiting_of_one, state })
    }

    /// A place, as soon as it is the user's turn.
    pub async fn place(self: &Arc<Self>, user: Sharer) -> Result<Place, Full> {
        let (_waiting, turn) = {
            let mut state = self.state.lock();
            if state.may_take(self, user) && !state.others_could(self) {
                return Ok(state.take(self, user));
            }
            if state.waiting >= self.most_waiting {
                return Err(Full::Waiting(state.waiting));
            }
            let of_user = state.users.get(&user).map_or(0, |user| user.waiting.len());
            if user.is_some() && of_user >= self.most_waiting_of_one {
                return Err(Full::OfUser(of_user));
            }
            state.last += 1;
            let (number, (tell, turn)) = (state.last, oneshot::channel());
            state.waiting += 1;
            state.users.entry(user).or_default().waiting.push_back((number, tell));
            if of_user == 0 {
                state.turns.push_back(user);
            }
            (Waiting { places: self, user, number }, turn)
        };
        Ok(turn.await.expect("who waits is told, or gives up"))
    }

    /// A place, if the user may have one at once.
    pub fn free_place(self: &Arc<Self>, user: Sharer) -> Option<Place> {
        let mut state = self.state.lock();
        state.may_take(self, user).then(|| state.take(self, user))
    }

    /// Places that nobody has.
    pub fn free(&self) -> usize {
        self.size - self.state.lock().taken
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.state.lock().waiting
    }

    /// Gives free places to those whose turn it is.
    fn hand_on(self: &Arc<Self>) {
        loop {
            let (tell, place) = {
                let mut state = self.state.lock();
                let Some(tell) = state.next(self) else { return };
                let (user, tell) = tell;
                (tell, state.take(self, user))
            };
            // Who has given up meanwhile gives it back, and that hands it on.
            drop(tell.send(place));
        }
    }
}

impl State {
    fn may_take(&self, places: &Places, user: Sharer) -> bool {
        let of_user = self.users.get(&user).map_or(0, |user| user.taken);
        self.taken < places.size && (user.is_none() || of_user < places.most_of_one)
    }

    /// Whether somebody waits who may have a place now.
    fn others_could(&self, places: &Places) -> bool {
        self.turns.iter().any(|user| self.may_take(places, *user))
    }

    fn take(&mut self, places: &Arc<Places>, user: Sharer) -> Place {
        self.taken += 1;
        self.users.entry(user).or_default().taken += 1;
        Place { places: places.clone(), user }
    }

    /// Who is told next, if anybody may have a place.
    fn next(&mut self, places: &Places) -> Option<(Sharer, oneshot::Sender<Place>)> {
        let turn = self.turns.iter().position(|user| self.may_take(places, *user))?;
        let user = self.turns.remove(turn)?;
        let queue = &mut self.users.get_mut(&user)?.waiting;
        let (_, tell) = queue.pop_front()?;
        self.waiting -= 1;
        if !queue.is_empty() {
            self.turns.push_back(user);
        }
        Some((user, tell))
    }

    fn forget(&mut self, user: Sharer) {
        let idle = |user: &User| user.taken == 0 && user.waiting.is_empty();
        if self.users.get(&user).is_some_and(idle) {
            self.users.remove(&user);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.state.lock();
        state.taken -= 1;
        if let Some(user) = state.users.get_mut(&self.user) {
            user.taken -= 1;
        }
        state.forget(self.user);
        drop(state);
        self.places.hand_on();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.places.state.lock();
        let Some(user) = state.users.get_mut(&self.user) else { return };
        let place = user.waiting.iter().position(|(number, _)| *number == self.number);
        let Some(given_up) = place.and_then(|place| user.waiting.remove(place)) else { return };
        let none_left = user.waiting.is_empty();
        state.waiting -= 1;
        if none_left {
            let own = self.user;
            state.turns.retain(|user| *user != own);
        }
        state.forget(self.user);
        drop(state);
        drop(given_up);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, poll};
    use proptest::prelude::*;

    use super::*;

    const ANN: Sharer = Some(1);
    const BOB: Sharer = Some(2);

    fn places(size: usize, most_of_one: usize) -> Arc<Places> {
        Places::new(Bounds { size, most_of_one, most_waiting: 100, most_waiting_of_one: 50 })
    }

    #[tokio::test]
    async fn those_who_wait_have_turns_by_user() {
        let places = places(2, 2);
        let first = places.place(ANN).await.expect("free");
        let second = places.place(ANN).await.expect("free");
        let mut anns: Vec<_> = (0..10).map(|_| Box::pin(places.place(ANN))).collect();
        for ann in &mut anns {
            assert!(poll!(ann).is_pending());
        }
        let mut bob = Box::pin(places.place(BOB));
        assert!(poll!(&mut bob).is_pending());
        drop(first);
        let one_more =
            (&mut anns[0]).now_or_never().expect("her turn came first").expect("a place");
        assert!(poll!(&mut bob).is_pending());
        drop(second);
        let bobs = bob.now_or_never().expect("then his").expect("a place");
        assert!(poll!(&mut anns[1]).is_pending());
        drop(bobs);
        assert!((&mut anns[1]).now_or_never().is_some());
        drop((anns, one_more));
        assert_eq!((places.free(), places.waiting()), (2, 0));
        assert!(places.state.lock().users.is_empty() && places.state.lock().turns.is_empty());
    }

    #[tokio::test]
    async fn one_user_leaves_some_to_others() {
        let places = places(3, 2);
        let held = [places.place(ANN).await, places.place(ANN).await];
        let mut third = Box::pin(places.place(ANN));
        assert!(poll!(&mut third).is_pending() && places.free() == 1);
        assert!(places.free_place(ANN).is_none());
        let bobs = places.place(BOB).await.expect("there is one for him");
        drop(bobs);
        assert!(poll!(&mut third).is_pending());
        let own = places.free_place(None).expect("the gateway's own work has no share");
        drop(held);
        third.await.expect("her turn");
        drop(own);
    }

    #[tokio::test]
    async fn waits_are_bounded_and_given_up_ones_are_forgotten() {
        let bounds = Bounds { size: 1, most_of_one: 1, most_waiting: 3, most_waiting_of_one: 2 };
        let places = Places::new(bounds);
        let held = places.place(ANN).await.expect("free");
        let mut anns: Vec<_> = (0..2).map(|_| Box::pin(places.place(ANN))).collect();
        for ann in &mut anns {
            assert!(poll!(ann).is_pending());
        }
        assert_eq!(places.place(ANN).await.err(), Some(Full::OfUser(2)));
        let mut bob = Box::pin(places.place(BOB));
        assert!(poll!(&mut bob).is_pending());
        assert_eq!(places.place(BOB).await.err(), Some(Full::Waiting(3)));
        drop(anns);
        assert_eq!(places.waiting(), 1);
        drop(held);
        // Nobody gets what is given to who has gone.
        drop(bob);
        assert_eq!(places.free(), 1);
        assert!(places.state.lock().users.is_empty());
    }

    proptest! {
        #[test]
        fn whatever_comes_and_goes_nothing_is_lost(
            steps in prop::collection::vec((0_u8..3, 0_u64..4, 0_usize..8), 0..200),
        ) {
            let places = places(3, 2);
            let (mut held, mut waits) = (Vec::new(), Vec::new());
            for (what, user, which) in steps {
                match what {
                    0 => waits.push(Box::pin(places.place((user > 0).then_some(user)))),
                    1 if !held.is_empty() => drop(held.swap_remove(which % held.len())),
                    2 if !waits.is_empty() => drop(waits.swap_remove(which % waits.len())),
                    _ => {}
                }
                let mut still = Vec::new();
                for mut wait in waits {
                    match (&mut wait).now_or_never() {
                        Some(place) => held.push(place.expect("few wait")),
                        None => still.push(wait),
                    }
                }
                waits = still;
                prop_assert_eq!(places.free(), 3 - held.len());
                for user in 1..4 {
                    let of_user = held.iter().filter(|place| place.user == Some(user)).count();
                    prop_assert!(of_user <= 2);
                }
                // A place is free only while nobody waits who may have it.
                let state = places.state.lock();
                prop_assert!(!state.others_could(&places));
                prop_assert_eq!(state.waiting, waits.len());
            }
            drop((held, waits));
            prop_assert_eq!(places.free(), 3);
            prop_assert!(places.state.lock().users.is_empty());
        }
    }
}
