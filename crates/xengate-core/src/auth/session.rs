//! Gateway sessions: who a token stands for, and their session of each backend.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use uuid::Uuid;

use super::liveness::Liveness;
use super::shares::{Held, Shares};
use super::token::whole_seconds;

/// What backends keep of an originator, in characters.
const LONGEST_ORIGINATOR: usize = 64;

/// How a gateway session stands with a backend, as clients see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendStatus {
    /// Logged in.
    Ok,
    /// The backend refused the user name or the password.
    Refused,
    /// The password was good, and its user has no role there.
    Forbidden,
    /// The backend could not be asked: at login, or for longer than is forgiven since.
    Unreachable,
    /// The backend's session is over; log in to it again.
    Ended,
}

/// Why a session has no access to a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAccess {
    /// The session never logged in to it.
    #[error("this session is not logged in to the backend")]
    NotLoggedIn,
    /// It tried, and the backend refused or could not be reached.
    #[error("the backend took no login from this session: {}", match .0 {
        BackendStatus::Refused => "it refused the password",
        BackendStatus::Forbidden => "this user has no role there",
        _ => "it could not be reached",
    })]
    LoginFailed(BackendStatus),
    /// The backend's session is over.
    #[error("the backend ended this session's login")]
    Ended,
    /// The backend could not be asked about the session for longer than is forgiven.
    #[error("the backend cannot be asked whether this session still lives")]
    Unconfirmed,
}

/// A backend session with what is known of its life.
pub(super) struct Live {
    pub(super) session: Arc<xenapi_client::Session>,
    pub(super) liveness: Arc<Liveness>,
}

/// What a login to a backend has come to.
pub(super) enum Standing {
    Live(Live),
    Refused,
    Forbidden,
    Unreachable,
}

/// A configured backend, and the session's standing with it if any.
struct Place {
    backend: Arc<str>,
    standing: ArcSwapOption<Standing>,
}

/// How long sessions last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// From login on.
    pub(super) absolute: Duration,
    /// From the last use on.
    pub(super) idle: Duration,
    /// While a backend cannot be asked, from its last answer on.
    pub(super) grace: Duration,
}

/// A person's or a program's session with the gateway, that a token names.
pub struct GatewaySession {
    id: Uuid,
    username: Arc<str>,
    originator: String,
    created: Instant,
    created_at: SystemTime,
    expires_at: SystemTime,
    terms: Terms,
    /// Milliseconds since `created`.
    last_used: AtomicU64,
    /// One for each configured backend, by name.
    places: Box<[Place]>,
    /// Set once. Who puts a standing in holds the lock, so that none slips into a session whose
    /// backend sessions have been taken out for good.
    ended: Mutex<bool>,
    /// Its holder ended it.
    logged_out: AtomicBool,
    /// What all sessions of its user hold together.
    shares: OnceLock<Arc<Shares>>,
    /// Its requests that wait for something.
    waiting: Held,
}

impl GatewaySession {
    pub(super) fn new(
        username: &str,
        backends: impl Iterator<Item = Arc<str>>,
        terms: Terms,
        now: Instant,
        wall: SystemTime,
    ) -> Self {
        let created_at = whole_seconds(wall);
        Self {
            id: Uuid::new_v4(),
            username: username.into(),
            originator: originator(username),
            created: now,
            created_at,
            expires_at: created_at + terms.absolute,
            terms,
            last_used: AtomicU64::new(0),
            places: backends
                .map(|backend| Place { backend, standing: ArcSwapOption::empty() })
                .collect(),
            ended: Mutex::new(false),
            logged_out: AtomicBool::new(false),
            shares: OnceLock::new(),
            waiting: Held::default(),
        }
    }

    /// Its id, as the token's `sid`. Knowing it gives access to nothing.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Who logged in.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// Who logged in, for whoever keeps it.
    pub fn shared_username(&self) -> &Arc<str> {
        &self.username
    }

    /// What backends know this session's logins by. All logins of a session use the same, whatever
    /// user name they are for, so that the cap per user is one per originator as well.
    pub(super) fn originator(&self) -> &str {
        &self.originator
    }

    /// What all sessions of its user hold together.
    pub fn shares(&self) -> &Arc<Shares> {
        self.shares.get_or_init(Arc::default)
    }

    /// Says what that is; the first word counts.
    pub(super) fn share(&self, shares: Arc<Shares>) {
        self.shares.get_or_init(|| shares);
    }

    /// Its requests that wait for something.
    pub fn waiting(&self) -> &Held {
        &self.waiting
    }

    /// When it began.
    pub fn created_at(&self) -> SystemTime {
        self.created_at
    }

    /// When it ends at the latest, used or not.
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }

    /// The backends it has tried to log in to, by name, and how that stands.
    pub fn backends(&self) -> Vec<(String, BackendStatus)> {
        let now = Instant::now();
        self.places
            .iter()
            .filter_map(|place| Some((place.backend.to_string(), self.status(place, now)?)))
            .collect()
    }

    fn status(&self, place: &Place, now: Instant) -> Option<BackendStatus> {
        Some(match place.standing.load().as_deref()? {
            Standing::Refused => BackendStatus::Refused,
            Standing::Forbidden => BackendStatus::Forbidden,
            Standing::Unreachable => BackendStatus::Unreachable,
            Standing::Live(live) if live.session.ended().is_cancelled() => BackendStatus::Ended,
            Standing::Live(live) if live.liveness.has_lapsed(now, self.terms.grace) => {
                BackendStatus::Unreachable
            }
            Standing::Live(_) => BackendStatus::Ok,
        })
    }

    fn place(&self, backend: &str) -> Option<&Place> {
        self.places.iter().find(|place| &*place.backend == backend)
    }

    /// The session of `backend`, if this session has access to it at `now`.
    pub(super) fn access(
        &self,
        backend: &str,
        now: Instant,
    ) -> Result<Arc<xenapi_client::Session>, NoAccess> {
        let place = self.place(backend).ok_or(NoAccess::NotLoggedIn)?;
        match place.standing.load().as_deref() {
            None => Err(NoAccess::NotLoggedIn),
            Some(Standing::Refused) => Err(NoAccess::LoginFailed(BackendStatus::Refused)),
            Some(Standing::Forbidden) => Err(NoAccess::LoginFailed(BackendStatus::Forbidden)),
            Some(Standing::Unreachable) => Err(NoAccess::LoginFailed(BackendStatus::Unreachable)),
            Some(Standing::Live(live)) if live.session.ended().is_cancelled() => {
                Err(NoAccess::Ended)
            }
            Some(Standing::Live(live)) if live.liveness.has_lapsed(now, self.terms.grace) => {
                Err(NoAccess::Unconfirmed)
            }
            Some(Standing::Live(live)) => Ok(Arc::clone(&live.session)),
        }
    }

    /// The backends it has access to at `now`, by name.
    pub(super) fn accessible(&self, now: Instant) -> impl Iterator<Item = &str> {
        self.places
            .iter()
            .filter(move |place| self.status(place, now) == Some(BackendStatus::Ok))
            .map(|place| &*place.backend)
    }

    /// Looks at each backend session that has not ended.
    pub(super) fn each_live(&self, mut look: impl FnMut(&Live)) {
        for place in &self.places {
            if let Some(Standing::Live(live)) = place.standing.load().as_deref()
                && !live.session.ended().is_cancelled()
            {
                look(live);
            }
        }
    }

    /// Marks it as used.
    pub(super) fn touch(&self, now: Instant) {
        let since = self.since_created(now);
        // A store that changes nothing would still take the cache line from other readers.
        if self.last_used.load(Ordering::Relaxed) < since {
            self.last_used.store(since, Ordering::Relaxed);
        }
    }

    /// When it was last used, for comparing with others.
    pub(super) fn last_used(&self) -> Instant {
        self.created + Duration::from_millis(self.last_used.load(Ordering::Relaxed))
    }

    /// Whether its time is over, in all or for want of use.
    pub(super) fn has_expired(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.created) >= self.terms.absolute
            || now.saturating_duration_since(self.last_used()) >= self.terms.idle
    }

    /// How long it may still last, if it is used.
    pub(super) fn time_left(&self, now: Instant) -> Duration {
        self.terms.absolute.saturating_sub(now.saturating_duration_since(self.created))
    }

    /// Notes that its holder ends it.
    pub(super) fn log_out(&self) {
        self.logged_out.store(true, Ordering::Release);
    }

    /// Whether its holder ended it.
    pub(super) fn is_logged_out(&self) -> bool {
        self.logged_out.load(Ordering::Acquire)
    }

    /// Whether every backend session it had is over, so that nothing can be done with it.
    pub(super) fn is_spent(&self) -> bool {
        let mut any = false;
        self.each_live(|_| any = true);
        !any
    }

    /// Puts a standing in, and hands out the backend session that had its place. Where a session
    /// has ended already the new standing comes back instead.
    pub(super) fn put(
        &self,
        backend: &str,
        standing: Standing,
    ) -> Result<Option<Arc<xenapi_client::Session>>, Standing> {
        let ended = self.ended.lock();
        let Some(place) = self.place(backend).filter(|_| !*ended) else { return Err(standing) };
        if !standing.is_alive() && place.standing.load().as_deref().is_some_and(Standing::is_alive)
        {
            // A login that failed takes nothing away from one that holds.
            return Ok(None);
        }
        let before = place.standing.swap(Some(Arc::new(standing)));
        Ok(before.as_deref().and_then(Standing::session))
    }

    /// Ends it, and hands out its backend sessions, to be logged out.
    pub(super) fn end(&self) -> Vec<Arc<xenapi_client::Session>> {
        *self.ended.lock() = true;
        self.places.iter().filter_map(|place| place.standing.load().as_deref()?.session()).collect()
    }

    fn since_created(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.created).as_millis();
        u64::try_from(since).unwrap_or(u64::MAX)
    }
}

impl Standing {
    /// The backend session, where there is one.
    pub(super) fn session(&self) -> Option<Arc<xenapi_client::Session>> {
        match self {
            Self::Live(live) => Some(Arc::clone(&live.session)),
            Self::Refused | Self::Forbidden | Self::Unreachable => None,
        }
    }

    fn is_alive(&self) -> bool {
        matches!(self, Self::Live(live) if !live.session.ended().is_cancelled())
    }
}

/// `xengate/USER`, in letters that can be taken for nothing else in a backend's log. The backend
/// keeps [`LONGEST_ORIGINATOR`] of it and counts sessions by it; so is the cap per user counted. A
/// name that does not fit as it is gets a hash of the whole behind it, so that no two users share
/// an originator.
fn originator(username: &str) -> String {
    let mut originator = String::from("xengate/");
    let room = LONGEST_ORIGINATOR - originator.len();
    if username.len() <= room && username.bytes().all(|byte| byte.is_ascii_graphic()) {
        originator.push_str(username);
        return originator;
    }
    let hash = Sha256::digest(username.as_bytes());
    let hash: String = hash[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    let sober = |c: char| if c.is_ascii_graphic() { c } else { '_' };
    originator.extend(username.chars().take(room - hash.len() - 1).map(sober));
    originator.push('~');
    originator.push_str(&hash);
    originator
}

impl fmt::Debug for GatewaySession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewaySession")
            .field("id", &self.id)
            .field("username", &self.username)
            .field("backends", &self.backends())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests;
