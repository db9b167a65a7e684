//! Who has to wait before the next password is tried.
//!
//! XAPI needs 2 to 5 s to refuse a password, so failing logins are an attack on the pool itself,
//! whether or not they are an attack on an account. Three rules, by the one state machine here:
//!
//! - **Back-off.** A peer (an IPv6 one by its /64) and a user name that failed three times wait
//!   1 s, then 2 s, 4 s … 5 min between attempts. A quarter of an hour without a failure forgets.
//! - **A cap over all.** After [`CAP`] failures within a minute nobody gets to try, save
//! - **the proven**: a peer with a user name that logged in within the last day. They skip both
//!   rules until they fail three times themselves, so that an attack locks out no one at work.
//!
//! A success takes back the failures of that peer with that name, and no others: a good account of
//! one's own must not pay for guesses at another.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Failures within [`WINDOW`], over all, at which only the proven may go on.
const CAP: usize = 30;

/// What the cap counts.
const WINDOW: Duration = Duration::from_secs(60);

/// Failures before waiting begins.
const FREE: u32 = 3;

/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// The longest wait for a user name, whoever tries it: long enough to slow a guesser with many
/// addresses down, too short to lock the user out.
const LONGEST_WAIT_OF_NAME: Duration = Duration::from_secs(4);

/// How long a failure is remembered.
const MEMORY: Duration = Duration::from_secs(900);

/// How long a success counts.
const PROVEN: Duration = Duration::from_secs(24 * 3600);

/// Attempts at once by a peer or a name that has not failed. It bounds the guesses made before the
/// first of them is known to be wrong.
const AT_ONCE: u32 = 8;

/// Attempts at once by the proven: a pipeline may start many jobs at the same moment.
const AT_ONCE_PROVEN: u32 = 32;

/// What is remembered of each kind; beyond it the one that was quiet for longest is forgotten.
const REMEMBERED: usize = 4096;

/// Asked when nothing better is known than "soon".
const SOON: Duration = Duration::from_secs(1);

/// A peer as failures are counted: whoever has an IPv6 address has the whole /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Peer(IpAddr);

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                IpAddr::V6(Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX)))
            }
        })
    }
}

/// Who tries to log in.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Who {
    peer: Peer,
    /// In lower case: some directories do not tell Root from root, and no guess gets cheaper by
    /// its spelling.
    name: String,
}

/// What is known of a peer, a name, or a peer with a name.
struct Record {
    failures: u32,
    last_failure: Option<Instant>,
    under_way: u32,
    touched: Instant,
}

impl Record {
    fn new(now: Instant) -> Self {
        Self { failures: 0, last_failure: None, under_way: 0, touched: now }
    }

    fn forget(&mut self, now: Instant) {
        if self.last_failure.is_some_and(|last| now.saturating_duration_since(last) > MEMORY) {
            self.failures = 0;
            self.last_failure = None;
        }
    }

    /// How long to wait before the next attempt, if at all.
    fn wait(&self, now: Instant, at_once: u32, longest: Duration) -> Option<Duration> {
        let at_once = match self.failures {
            0 => at_once,
            failures => FREE.saturating_sub(failures).max(1),
        };
        let over = match (self.failures.checked_sub(FREE), self.last_failure) {
            (Some(beyond), Some(last)) => {
                let seconds = 1_u64.checked_shl(beyond).unwrap_or(u64::MAX);
                last + Duration::from_secs(seconds).min(longest)
            }
            _ => now,
        };
        if over > now {
            Some(over - now)
        } else if self.under_way >= at_once {
            Some(SOON)
        } else {
            None
        }
    }

    fn fail(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.last_failure = Some(now);
    }
}

/// A map that forgets what was quiet for longest.
struct Recent<K>(HashMap<K, Record>);

impl<K: Eq + Hash + Clone> Recent<K> {
    fn new() -> Self {
        Self(HashMap::new())
    }

    fn wait(&mut self, key: &K, now: Instant, at_once: u32, longest: Duration) -> Option<Duration> {
        let record = self.0.get_mut(key)?;
        record.forget(now);
        record.wait(now, at_once, longest)
    }

    fn failures(&self, key: &K) -> u32 {
        self.0.get(key).map_or(0, |record| record.failures)
    }

    /// The record of `key`, made when it is not there. Only attempts that were let through get
    /// here, so a stranger cannot wash the map out faster than passwords are checked.
    fn touch(&mut self, key: &K, now: Instant) -> &mut Record {
        if !self.0.contains_key(key) && self.0.len() >= REMEMBERED {
            let quiet =
                self.0.iter().min_by_key(|(_, record)| (record.under_way > 0, record.touched));
            if let Some(quiet) = quiet.map(|(key, _)| key.clone()) {
                self.0.remove(&quiet);
            }
        }
        let record = self.0.entry(key.clone()).or_insert_with(|| Record::new(now));
        record.touched = now;
        record
    }

    fn left(&mut self, key: &K) {
        if let Some(record) = self.0.get_mut(key) {
            record.under_way = record.under_way.saturating_sub(1);
            if record.under_way == 0 && record.failures == 0 {
                self.0.remove(key);
            }
        }
    }
}

/// The state machine; time is handed in.
struct State {
    peers: Recent<Peer>,
    names: Recent<String>,
    pairs: Recent<Who>,
    /// When those who logged in last did so. Apart from the failures, so that only successes can
    /// push a success out.
    proven: HashMap<Who, Instant>,
    /// The latest failures, [`CAP`] of them at most, oldest first.
    failures: VecDeque<Instant>,
}

impl State {
    fn new() -> Self {
        Self {
            peers: Recent::new(),
            names: Recent::new(),
            pairs: Recent::new(),
            proven: HashMap::new(),
            failures: VecDeque::with_capacity(CAP),
        }
    }

    fn is_proven(&mut self, who: &Who, now: Instant) -> bool {
        let Some(when) = self.proven.get(who) else { return false };
        if now.saturating_duration_since(*when) > PROVEN || self.pairs.failures(who) >= FREE {
            self.proven.remove(who);
            return false;
        }
        true
    }

    /// Lets an attempt through, and says whether by one who is proven; or says how long to wait.
    fn admit(&mut self, who: &Who, now: Instant) -> Result<bool, Duration> {
        let pair_wait = self.pairs.wait(who, now, AT_ONCE_PROVEN, LONGEST_WAIT);
        let proven = self.is_proven(who, now);
        let waits = if proven {
            [pair_wait, None, None, None]
        } else {
            let peer = self.peers.wait(&who.peer, now, AT_ONCE, LONGEST_WAIT);
            let name = self.names.wait(&who.name, now, AT_ONCE, LONGEST_WAIT_OF_NAME);
            [pair_wait, peer, name, self.capped(now)]
        };
        if let Some(wait) = waits.into_iter().flatten().max() {
            return Err(wait);
        }
        self.peers.touch(&who.peer, now).under_way += 1;
        self.names.touch(&who.name, now).under_way += 1;
        self.pairs.touch(who, now).under_way += 1;
        Ok(proven)
    }

    /// How long the cap over all holds, if it does.
    fn capped(&self, now: Instant) -> Option<Duration> {
        let oldest = *self.failures.front().filter(|_| self.failures.len() >= CAP)?;
        let over = oldest + WINDOW;
        (over > now).then(|| over - now)
    }

    fn failed(&mut self, who: &Who, now: Instant) {
        self.peers.touch(&who.peer, now).fail(now);
        self.names.touch(&who.name, now).fail(now);
        self.pairs.touch(who, now).fail(now);
        if self.failures.len() >= CAP {
            self.failures.pop_front();
        }
        self.failures.push_back(now);
    }

    fn succeeded(&mut self, who: &Who, now: Instant) {
        let own = std::mem::take(&mut self.pairs.touch(who, now).failures);
        for record in [self.peers.touch(&who.peer, now), self.names.touch(&who.name, now)] {
            record.failures = record.failures.saturating_sub(own);
        }
        if !self.proven.contains_key(who) && self.proven.len() >= REMEMBERED {
            let oldest = self.proven.iter().min_by_key(|(_, when)| **when);
            if let Some(oldest) = oldest.map(|(who, _)| who.clone()) {
                self.proven.remove(&oldest);
            }
        }
        self.proven.insert(who.clone(), now);
    }

    fn left(&mut self, who: &Who) {
        self.peers.left(&who.peer);
        self.names.left(&who.name);
        self.pairs.left(who);
    }
}

/// Decides who may try a password, and learns from how it went.
pub(super) struct Throttle(Mutex<State>);

impl Throttle {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State::new())))
    }

    /// An attempt by `peer` to log in as `username`, or how long it has to wait.
    pub(super) fn admit(
        self: &Arc<Self>,
        peer: IpAddr,
        username: &str,
        now: Instant,
    ) -> Result<Attempt, Duration> {
        let who = Who { peer: peer.into(), name: username.to_lowercase() };
        let proven = self.0.lock().admit(&who, now)?;
        Ok(Attempt { throttle: Arc::clone(self), who, proven, verdict: Mutex::new(Verdict::None) })
    }
}

/// What an attempt has come to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    None,
    Failed,
    Succeeded,
}

/// An attempt to log in, from when it is let through until it is dropped. It may go to several
/// backends: one that takes the password outweighs those that do not, and however many refuse it,
/// it failed once.
pub(super) struct Attempt {
    throttle: Arc<Throttle>,
    who: Who,
    proven: bool,
    verdict: Mutex<Verdict>,
}

impl Attempt {
    /// Whether this peer logged in with this name lately.
    pub(super) fn is_proven(&self) -> bool {
        self.proven
    }

    /// A backend refused the password.
    pub(super) fn refused(&self, now: Instant) {
        let mut verdict = self.verdict.lock();
        if *verdict == Verdict::None {
            *verdict = Verdict::Failed;
            self.throttle.0.lock().failed(&self.who, now);
        }
    }

    /// A backend took the password.
    pub(super) fn succeeded(&self, now: Instant) {
        let mut verdict = self.verdict.lock();
        if *verdict != Verdict::Succeeded {
            *verdict = Verdict::Succeeded;
            self.throttle.0.lock().succeeded(&self.who, now);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.throttle.0.lock().left(&self.who);
    }
}

/// How often the log says that logins are put off: whoever floods the gateway must not flood its log
/// as well.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// Logins that were put off, told a few at a time.
#[derive(Default)]
pub(super) struct PutOff(Mutex<(Option<Instant>, u64)>);

impl PutOff {
    /// Notes one; how many others there were since the log was told, if it is to be told now.
    pub(super) fn note(&self, now: Instant) -> Option<u64> {
        let mut noted = self.0.lock();
        let (told, others) = &mut *noted;
        if told.is_some_and(|told| now.saturating_duration_since(told) < TOLD_EVERY) {
            *others += 1;
            return None;
        }
        *told = Some(now);
        Some(std::mem::take(others))
    }
}

#[cfg(test)]
mod tests;
