//! A session of one backend.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::error::CallError;

/// Someone logged in to a backend. Its ref stays inside this floor.
pub struct Session {
    backend: String,
    username: String,
    reference: SecretString,
    /// What the backend lets this session do.
    pub access: Access,
    heard: Arc<Heard>,
    ended: CancellationToken,
    gone: AtomicBool,
    lost: AtomicBool,
    /// How much is under way in it that must not be cut off.
    holds: watch::Sender<usize>,
}

/// Until when a session is known to have lived: the last question in it that the backend answered.
/// Readers take no lock.
#[derive(Debug)]
pub struct Heard {
    /// Milliseconds since `origin`.
    last: AtomicU64,
    origin: Instant,
}

impl Heard {
    /// Of a session that has just been opened.
    pub fn new(now: Instant) -> Self {
        Self { last: AtomicU64::new(0), origin: now }
    }

    /// Notes that the backend has answered what was asked then.
    pub fn note(&self, asked: Instant) {
        self.last.fetch_max(self.since_origin(asked), Ordering::Relaxed);
    }

    /// When what it answered last was asked, in milliseconds since the session was opened.
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// The same of any time.
    pub fn since_origin(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.origin).as_millis();
        u64::try_from(since).unwrap_or(u64::MAX)
    }
}

/// Failures that a backend may answer without having looked at the session.
const BEFORE_THE_SESSION: [&str; 8] = [
    "SESSION_INVALID",
    "SESSION_AUTHENTICATION_FAILED",
    "HOST_IS_SLAVE",
    "HOST_STILL_BOOTING",
    "MESSAGE_METHOD_UNKNOWN",
    "MESSAGE_PARAMETER_COUNT_MISMATCH",
    "MESSAGE_DEPRECATED",
    "INTERNAL_ERROR",
];

/// Something under way in a session, which is not logged out meanwhile.
#[derive(Debug)]
pub struct Hold(Arc<Session>);

/// What a session may do, as the backend told at login.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// May do everything; then `permissions` is empty.
    pub is_local_superuser: bool,
    /// The calls it may make, in the backend's own lower-case spelling (`vm.start`).
    pub permissions: Permissions,
}

impl Access {
    /// What of it `other` allows too.
    pub(crate) fn within(&self, other: &Self) -> Self {
        match (self.is_local_superuser, other.is_local_superuser) {
            (_, true) => self.clone(),
            (true, false) => other.clone(),
            (false, false) => {
                let both = self.permissions.iter().filter(|held| other.permissions.contains(held));
                Self { is_local_superuser: false, permissions: both.collect() }
            }
        }
    }
}

/// A set of permissions. A backend lists thousands for each session and knows a handful of roles, so
/// sessions of the same role share one.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Permissions(Arc<[Box<str>]>);

impl Permissions {
    /// Whether this permission is among them.
    pub fn contains(&self, permission: &str) -> bool {
        self.0.binary_search_by(|held| (**held).cmp(permission)).is_ok()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|held| &**held)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<P: Into<Box<str>>> FromIterator<P> for Permissions {
    fn from_iter<I: IntoIterator<Item = P>>(permissions: I) -> Self {
        let mut held: Vec<Box<str>> = permissions.into_iter().map(Into::into).collect();
        held.sort_unstable();
        held.dedup();
        Self(held.into())
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permissions({} of them)", self.len())
    }
}

/// The sets of permissions that sessions of one backend hold now.
#[derive(Debug, Default)]
pub(crate) struct PermissionSets(Mutex<Vec<Weak<[Box<str>]>>>);

impl PermissionSets {
    /// The one set with this content: the one in use where there is one.
    pub(crate) fn shared(&self, permissions: Permissions) -> Permissions {
        let mut sets = self.0.lock();
        sets.retain(|set| set.strong_count() > 0);
        let same = sets.iter().filter_map(Weak::upgrade).find(|set| *set == permissions.0);
        if let Some(same) = same {
            return Permissions(same);
        }
        sets.push(Arc::downgrade(&permissions.0));
        permissions
    }
}

impl Session {
    /// What an open session is known by; its ref goes nowhere but to the backend.
    pub fn new(backend: &str, username: &str, reference: SecretString, access: Access) -> Self {
        Self {
            backend: backend.to_owned(),
            username: username.to_owned(),
            reference,
            access,
            heard: Arc::new(Heard::new(Instant::now())),
            ended: CancellationToken::new(),
            gone: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            holds: watch::Sender::new(0),
        }
    }

    /// Has the session stay open at the backend for as long as this is held: whoever logs out of it
    /// meanwhile is seen off after that.
    pub fn hold(self: &Arc<Self>) -> Hold {
        self.holds.send_modify(|holds| *holds += 1);
        Hold(Arc::clone(self))
    }

    /// Whether something is under way in it.
    pub fn is_held(&self) -> bool {
        *self.holds.borrow() > 0
    }

    /// Waits until nothing is under way in it any more.
    pub async fn released(&self) {
        // The sender is the session's own.
        let _ = self.holds.subscribe().wait_for(|holds| *holds == 0).await;
    }

    /// Cancelled once the session is known to be no more.
    pub fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Until when it is known to have lived.
    pub fn heard(&self) -> &Arc<Heard> {
        &self.heard
    }

    /// Takes what was asked in this session then has come to for a sign of its life, if it is one.
    pub(crate) fn hear<T>(&self, asked: Instant, result: &Result<T, CallError>) {
        let lived = match result {
            Ok(_) => true,
            Err(CallError::Failure(failure)) => {
                !BEFORE_THE_SESSION.contains(&failure.code.as_str())
            }
            Err(_) => false,
        };
        if lived && !self.ended.is_cancelled() {
            self.heard.note(asked);
        }
    }

    /// Who logged in.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The name of the backend it belongs to.
    pub fn backend(&self) -> &str {
        &self.backend
    }

    /// Tells its user from others where users share something. Names of two may have the same by
    /// chance, and share then.
    pub(crate) fn sharer(&self) -> u64 {
        static STATE: OnceLock<RandomState> = OnceLock::new();
        STATE.get_or_init(RandomState::new).hash_one(&self.username)
    }

    /// A text without the session's own ref in it: free text, such as a plugin's, may repeat it.
    pub fn taken_out_of(&self, text: &str) -> String {
        text.replace(self.reference.expose_secret(), "")
    }

    pub(crate) fn reference(&self) -> &SecretString {
        &self.reference
    }

    /// Whether it was the backend that ended it, rather than its owner. A backend that has been
    /// restarted has ended all of them.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Marks the session as ended by the backend, unless its owner was first.
    pub(crate) fn lose(&self) {
        if !self.gone.swap(true, Ordering::AcqRel) {
            self.lost.store(true, Ordering::Release);
        }
        self.ended.cancel();
    }

    /// Marks the session as ended; whether it was this call that did. The token alone cannot tell:
    /// whoever holds the session may cancel it.
    pub(crate) fn end(&self) -> bool {
        let first = !self.gone.swap(true, Ordering::AcqRel);
        self.ended.cancel();
        first
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.holds.send_modify(|holds| *holds -= 1);
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("backend", &self.backend)
            .field("username", &self.username)
            .field("ended", &self.ended.is_cancelled())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_a_set_in_order() {
        let permissions = Permissions::from_iter(["vm.start", "host.reboot", "vm.start"]);
        assert_eq!(permissions.iter().collect::<Vec<_>>(), ["host.reboot", "vm.start"]);
        assert!(permissions.contains("vm.start") && !permissions.contains("vm.star"));
        assert!(Permissions::default().is_empty());
    }

    #[test]
    fn equal_sets_are_one_and_unused_ones_are_forgotten() {
        let sets = PermissionSets::default();
        let set = |names: &[&'static str]| sets.shared(names.iter().copied().collect());
        let (one, same) = (set(&["a", "b"]), set(&["b", "a"]));
        assert!(Arc::ptr_eq(&one.0, &same.0));
        let other = set(&["a"]);
        assert_ne!(one, other);
        assert_eq!(sets.0.lock().len(), 2);
        drop((one, same));
        assert_eq!(set(&["a"]), other);
        assert_eq!(sets.0.lock().len(), 1);
    }
}
