//! Who may have a connection.
//!
//! There are `max_connections` places. Once three quarters of them are taken, one address may have
//! no more than its share; a newcomer then takes the place of the connection of that address which
//! has been idle for longest, and at the limit of the one that has been idle for longest of all. A
//! connection that has not sent a request yet is as idle as one that waits for the next. Nobody is
//! sent away while a request or an answer is under way: where all are busy, a newcomer waits for the
//! first that comes to rest, or is refused if it is its own address that has them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::middleware::{Activity, Eased};
use xengate_config::Limits;

/// How many connections may be on their way out at once, beside those that have places.
pub(super) const LEAVING: usize = 64;

/// An address's share unless told: a quarter of the places, and no less than a browser opens.
const LEAST_SHARE: usize = 16;

/// The places.
#[derive(Debug, Clone)]
pub(super) struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max: usize,
    crowded_from: usize,
    of_an_address: usize,
    /// Whose connections are many clients'.
    proxies: Vec<IpNet>,
    origin: Instant,
    eased: Arc<Eased>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    taken: HashMap<u64, Taken>,
    /// How many of those are on their way out.
    leaving: usize,
    addresses: HashMap<IpAddr, OfAddress>,
    idle: Idle,
    crowded: Crowded,
}

#[derive(Debug)]
struct Taken {
    address: IpAddr,
    activity: Arc<Activity>,
    leave: Arc<Notify>,
    leaving: bool,
}

/// An address's connections that are not on their way out.
#[derive(Debug, Default)]
struct OfAddress {
    count: usize,
    idle: Idle,
}

/// Those that were idle when they were last looked for, and since when, the longest last. What has
/// come to rest since then has been idle for less than any of these, so that nobody need look again
/// before they are used up.
#[derive(Debug, Default)]
struct Idle(Vec<(u64, u64)>);

/// A connection's place.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Shared>,
    number: u64,
    leave: Arc<Notify>,
    /// What is under way on the connection.
    pub(super) activity: Arc<Activity>,
}

/// The address has as many connections as it may, and all of them are busy.
#[derive(Debug)]
pub(super) struct Full;

impl Places {
    /// So many places in all, however many the configuration would have.
    pub(super) fn new(max: usize, limits: &Limits, proxies: &[IpNet]) -> Self {
        let share = limits.max_connections_per_address;
        Self(Arc::new(Shared {
            max,
            crowded_from: max - max / 4,
            of_an_address: share.unwrap_or((max / 4).max(LEAST_SHARE)),
            proxies: proxies.to_vec(),
            origin: Instant::now(),
            eased: Arc::default(),
            state: Mutex::default(),
        }))
    }

    /// A place for a connection from this address, as soon as there is one.
    pub(super) async fn enter(&self, peer: IpAddr) -> Result<Place, Full> {
        let eased = Arc::clone(&self.0.eased);
        eased.until(|| self.0.enter(peer)).await
    }

    /// Has the connection leave that has been idle for longest.
    pub(super) fn ease(&self) {
        let state = &mut *self.0.state.lock();
        if state.leaving < LEAVING
            && let Some(number) = state.longest_idle(None)
        {
            state.send_away(number);
        }
    }
}

impl Shared {
    /// A place, or that there will never be one; nothing where it is worth waiting.
    fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Result<Place, Full>> {
        let address = network(peer);
        let state = &mut *self.state.lock();
        let taken = state.taken.len() - state.leaving;
        state.crowded.look(self.max, self.max.saturating_sub(taken));
        let of_address = state.addresses.get(&address).map_or(0, |of| of.count);
        let too_many = taken >= self.crowded_from
            && of_address >= self.of_an_address
            && !self.proxies.iter().any(|proxy| proxy.contains(&peer.to_canonical()));
        if too_many || taken >= self.max {
            if state.leaving >= LEAVING {
                return None;
            }
            match state.longest_idle(too_many.then_some(address)) {
                Some(number) => state.send_away(number),
                None if too_many => return Some(Err(Full)),
                None => return None,
            }
        }
        state.last += 1;
        let number = state.last;
        let activity = Arc::new(Activity::new(self.origin, Arc::clone(&self.eased)));
        let leave = Arc::new(Notify::new());
        state.addresses.entry(address).or_default().count += 1;
        let (of_state, of_task) = (Arc::clone(&activity), Arc::clone(&leave));
        let taken = Taken { address, activity: of_state, leave: of_task, leaving: false };
        state.taken.insert(number, taken);
        Some(Ok(Place { places: Arc::clone(self), number, leave, activity }))
    }
}

impl State {
    /// The connection that has been idle for longest, of this address or of all.
    fn longest_idle(&mut self, of: Option<IpAddr>) -> Option<u64> {
        let Self { taken, addresses, idle, .. } = self;
        let Idle(idle) = match of {
            Some(address) => &mut addresses.get_mut(&address)?.idle,
            None => idle,
        };
        let since = |one: &Taken| (!one.leaving).then(|| one.activity.idle_since()).flatten();
        for look in [false, true] {
            if look {
                let of_interest =
                    taken.iter().filter(|(_, one)| of.is_none_or(|address| one.address == address));
                idle.extend(of_interest.filter_map(|(number, one)| Some((since(one)?, *number))));
                idle.sort_unstable_by(|one, other| other.cmp(one));
            }
            while let Some((then, number)) = idle.pop() {
                if taken.get(&number).and_then(since) == Some(then) {
                    return Some(number);
                }
            }
        }
        None
    }

    /// Asks a connection to leave.
    fn send_away(&mut self, number: u64) {
        let Some(one) = self.taken.get_mut(&number) else { return };
        one.leaving = true;
        one.leave.notify_one();
        let address = one.address;
        self.leaving += 1;
        self.one_less(address);
    }

    fn one_less(&mut self, address: IpAddr) {
        if let Some(of_address) = self.addresses.get_mut(&address) {
            of_address.count -= 1;
            if of_address.count == 0 {
                self.addresses.remove(&address);
            }
        }
    }
}

impl Place {
    /// Returns when the place is wanted for another connection.
    pub(super) async fn wanted(&self) {
        self.leave.notified().await;
    }

    /// Keeps the place although it is wanted: something has begun in the meantime.
    pub(super) fn keep(&self) {
        let state = &mut *self.places.state.lock();
        if let Some(one) = state.taken.get_mut(&self.number)
            && std::mem::take(&mut one.leaving)
        {
            let address = one.address;
            state.leaving -= 1;
            state.addresses.entry(address).or_default().count += 1;
        }
        self.places.eased.tell();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.state.lock();
        if let Some(one) = state.taken.remove(&self.number) {
            match one.leaving {
                true => state.leaving -= 1,
                false => state.one_less(one.address),
            }
        }
        drop(state);
        self.places.eased.tell();
    }
}

/// What counts as one address: a host is given a /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
        v4 => v4,
    }
}

/// Tells the log once when places run out, however many come and go at the limit; again only after
/// there was air.
#[derive(Debug, Default)]
struct Crowded {
    told: bool,
}

impl Crowded {
    /// Looks at how many places are free; whether that was worth a warning.
    fn look(&mut self, max_connections: usize, free: usize) -> bool {
        let warn = free == 0 && !self.told;
        if warn {
            self.told = true;
            tracing::warn!(
                max_connections,
                "no places left: who has been idle for longest makes way"
            );
        } else if free > max_connections / 10 {
            self.told = false;
        }
        warn
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn places(max: usize, per_address: usize, proxies: &[&str]) -> Places {
        let limits = Limits {
            max_connections: max,
            max_connections_per_address: Some(per_address),
            ..Limits::default()
        };
        let proxies: Vec<IpNet> = proxies.iter().map(|one| one.parse().expect("one")).collect();
        Places::new(max, &limits, &proxies)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    async fn enter(places: &Places, from: &str) -> Place {
        tokio::time::advance(Duration::from_millis(1)).await;
        places.enter(ip(from)).await.expect("a place")
    }

    async fn is_wanted(place: &Place) -> bool {
        tokio::time::timeout(Duration::ZERO, place.wanted()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_limit_the_longest_idle_makes_way_and_nobody_who_is_busy() {
        let places = places(4, 4, &[]);
        let mut taken = Vec::new();
        for last in 1..=4 {
            taken.push(enter(&places, &format!("192.0.2.{last}")).await);
        }
        let busy = taken[0].activity.begin();
        // The second has answered something since, and is the last in turn.
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(taken[1].activity.begin());
        for expected in [2, 3, 1] {
            let from = format!("198.51.100.{expected}");
            let newcomer = enter(&places, &from).await;
            std::mem::forget(newcomer.activity.begin());
            let place = taken.iter().skip(1);
            let mut wanted = Vec::new();
            for (number, place) in place.enumerate() {
                if is_wanted(place).await {
                    wanted.push(number + 1);
                }
            }
            assert_eq!(wanted, [expected]);
            std::mem::forget(newcomer);
        }
        // Three have been asked to leave, and the first and the newcomers are busy: one waits.
        let waits = enter(&places, "203.0.113.1");
        let ends = async {
            tokio::time::advance(Duration::from_secs(1)).await;
            drop(busy);
        };
        let (_fourth, ()) = tokio::join!(waits, ends);
        assert!(is_wanted(&taken[0]).await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_is_bounded_once_it_is_crowded() {
        let places = places(8, 2, &["192.0.2.0/24"]);
        let aggressor = |number| format!("2001:db8::{number}");
        let mut taken = Vec::new();
        // All in one /64, until three quarters are taken.
        for number in 1..=6 {
            taken.push(enter(&places, &aggressor(number)).await);
        }
        let more = enter(&places, &aggressor(7)).await;
        assert!(is_wanted(&taken[0]).await, "its own, although two places are free");
        let of_proxy =
            [enter(&places, "192.0.2.1").await, enter(&places, "::ffff:192.0.2.1").await];
        let other = enter(&places, "2001:db8:0:1::1").await;
        assert!(is_wanted(&taken[1]).await, "the longest idle of all");
        taken.push(more);
        // Those that leave have left; what is left of the aggressor is busy.
        let busy: Vec<_> = taken.drain(2..).map(|place| (place.activity.begin(), place)).collect();
        drop(taken);
        assert!(places.enter(ip(&aggressor(8))).await.is_err(), "refused, and nobody waits for it");
        for place in of_proxy.iter().chain([&other]) {
            assert!(!is_wanted(place).await);
        }
        drop(busy);
        enter(&places, &aggressor(9)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_begun_something_keeps_its_place_and_another_goes() {
        let places = places(2, 2, &[]);
        let (one, other) = (enter(&places, "::1").await, enter(&places, "::1").await);
        let _third = enter(&places, "192.0.2.1").await;
        assert!(is_wanted(&one).await);
        let busy = one.activity.begin();
        one.keep();
        let _fourth = enter(&places, "192.0.2.1").await;
        assert!(is_wanted(&other).await && !is_wanted(&one).await);
        drop((busy, one, other));
        let state = places.0.state.lock();
        assert_eq!((state.taken.len(), state.leaving, state.addresses.len()), (2, 0, 1));
    }

    #[test]
    fn running_out_of_places_is_told_once_per_episode() {
        let mut crowded = Crowded::default();
        let told = |crowded: &mut Crowded, free: &[usize]| -> Vec<bool> {
            free.iter().map(|free| crowded.look(100, *free)).collect()
        };
        assert_eq!(
            told(&mut crowded, &[100, 1, 0, 0, 1, 0]),
            [false, false, true, false, false, false]
        );
        assert_eq!(told(&mut crowded, &[10, 0, 11, 0, 0]), [false, false, false, true, false]);
    }
}
