//! The gate: knows every session, and who may pass.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::caller::{Caller, SessionHolder};
use super::key::{Key, KeyError};
use super::liveness::{Check, Liveness};
use super::login_gate::BackendGates;
use super::registry::Registry;
use super::session::{GatewaySession, Live, Terms};
use super::throttle::{PutOff, Throttle};
use super::tickets::Tickets;
use super::token::{TokenError, Tokens, wall_clock};
use super::users::{Users, UsersError};
use xenapi_client::{Backend, CallError, Session};
use xenapi_mirror::inventory::Inventory;
use xengate_config::AuthConfig;

/// How long a request waits for word on whether its session still lives.
const CHECK_WAIT: Duration = Duration::from_secs(2);

/// How long a backend has to answer that, and others have to be asked about first. It goes on when the
/// request no longer waits.
const CHECK_TIME: Duration = Duration::from_secs(60);

/// How often sessions that are over are looked for.
const SWEEP: Duration = Duration::from_secs(30);

/// How long a logout is waited for; it goes on when the client has its answer.
const LOGOUT_WAIT: Duration = Duration::from_secs(2);

/// How long the gateway's end waits for all logouts.
const SHUTDOWN_TIME: Duration = Duration::from_secs(10);

/// When to come back to a backend that cannot be asked about a session.
const LATER: Duration = Duration::from_secs(5);

/// Why a request does not pass. What was wrong with a token is not told to who might be forging.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The token is not one of ours, or its session is no more.
    #[error("the token is not valid, or its session has ended: log in again")]
    Invalid,
    /// The time of the token or of its session is over.
    #[error("the session has expired: log in again")]
    Expired,
    /// No backend of the session can be asked whether it still lives, for too long by now.
    #[error("no backend can be asked whether this session still lives")]
    Unconfirmed {
        /// When to try again.
        retry_after: Duration,
    },
}

/// Why the gate cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The users that are configured cannot be.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// A default that names nothing.
    #[error("auth.default_backends names {0:?}, which is no backend")]
    UnknownDefault(String),
}

/// Logs callers in and out, and tells who they are.
pub struct Authority {
    pub(super) tokens: Tokens,
    pub(super) registry: Registry,
    pub(super) throttle: Arc<Throttle>,
    pub(super) put_off: PutOff,
    pub(super) doors: Arc<BackendGates>,
    pub(super) inventory: Arc<Inventory>,
    pub(super) terms: Terms,
    pub(super) default_backends: Vec<String>,
    pub(super) tickets: Tickets,
    stop: CancellationToken,
}

impl Authority {
    /// Reads or makes the key, and begins to look for sessions that are over. To be called on the
    /// runtime that it shall run on.
    pub fn new(
        config: &AuthConfig,
        users: &[xengate_config::User],
        inventory: Arc<Inventory>,
        backends: BTreeMap<String, Arc<Backend>>,
    ) -> Result<Arc<Self>, StartError> {
        let key = match &config.key_file {
            Some(file) => Key::from_file(file)?,
            None => Key::ephemeral()?,
        };
        if let Some(name) =
            config.default_backends.iter().find(|name| !backends.contains_key(*name))
        {
            return Err(StartError::UnknownDefault(name.clone()));
        }
        let authority = Arc::new(Self {
            tokens: Tokens::new(&key, config.max_sessions),
            registry: Registry::new(config.max_sessions, config.max_sessions_per_user),
            throttle: Throttle::new(),
            put_off: PutOff::default(),
            doors: Arc::new(BackendGates::new(backends, Users::new(users)?)),
            inventory,
            terms: Terms {
                absolute: config.token_ttl,
                idle: config.idle_ttl,
                grace: config.revocation_grace,
            },
            default_backends: config.default_backends.clone(),
            tickets: Tickets::default(),
            stop: CancellationToken::new(),
        });
        let period = SWEEP.min(config.idle_ttl / 2).max(Duration::from_millis(100));
        let sweeper = sweep(Arc::downgrade(&authority), authority.stop.clone(), period);
        authority.doors.spawn(sweeper);
        Ok(authority)
    }

    /// Who a token stands for. Using a session keeps it from going idle, and has its backends asked
    /// now and then whether it still lives.
    pub async fn authenticate(&self, token: &str) -> Result<Caller, AuthError> {
        let SessionHolder { session } = self.identify(token)?;
        self.confirm(session).await
    }

    /// The caller whose session this is, if it gives access to anything.
    pub async fn confirm(&self, session: Arc<GatewaySession>) -> Result<Caller, AuthError> {
        let now = self.refresh(&session).await;
        if session.accessible(now).next().is_some() {
            Ok(Caller { session })
        } else if session.is_spent() {
            self.end(&session);
            Err(AuthError::Invalid)
        } else {
            Err(AuthError::Unconfirmed { retry_after: LATER })
        }
    }

    /// Whose session a token names, whether or not its backends can be asked about it now: enough
    /// to end it, to look at it and to log it in again, and for nothing else.
    pub fn identify(&self, token: &str) -> Result<SessionHolder, AuthError> {
        let id = self.tokens.verify(token, wall_clock()).map_err(|error| match error {
            TokenError::Invalid => AuthError::Invalid,
            TokenError::Expired => AuthError::Expired,
        })?;
        let session = self.registry.find(&id).ok_or(AuthError::Invalid)?;
        self.hold(session)
    }

    /// Whoever uses a session, which they keep from going idle.
    pub(super) fn hold(&self, session: Arc<GatewaySession>) -> Result<SessionHolder, AuthError> {
        let now = Instant::now();
        if session.has_expired(now) {
            self.end(&session);
            return Err(AuthError::Expired);
        }
        if session.is_spent() {
            self.end(&session);
            return Err(AuthError::Invalid);
        }
        session.touch(now);
        Ok(SessionHolder { session })
    }

    /// Asks the session's backends whether it still lives, as far as that is due, and waits for
    /// them a little. Returns the time at which what is known then is known.
    pub(super) async fn refresh(&self, session: &GatewaySession) -> Instant {
        let now = Instant::now();
        let awaited = self.begin_checks(session, now);
        if awaited.is_empty() {
            return now;
        }
        // Whether they settle in time or not, what is known then decides.
        let _ = tokio::time::timeout(CHECK_WAIT, settled(&awaited)).await;
        Instant::now()
    }

    /// Brings what is known of a session up to date; an error when it turns out to be over.
    pub async fn look_up(&self, holder: &SessionHolder) -> Result<(), AuthError> {
        self.refresh(&holder.session).await;
        if holder.session.is_spent() {
            self.end(&holder.session);
            return Err(AuthError::Invalid);
        }
        Ok(())
    }

    /// Begins the checks that are due, and says which to wait for: those that may yet take access
    /// away, unless the backend was silent last time, and those that may give it back.
    fn begin_checks(&self, session: &GatewaySession, now: Instant) -> Vec<Arc<Liveness>> {
        let mut awaited = Vec::new();
        session.each_live(|Live { session, liveness }| {
            let (grace, doubtful) = (self.terms.grace, liveness.is_doubtful());
            let check = liveness.begin_check(now, grace);
            let mirror = || self.inventory.mirror(session.backend());
            if liveness.is_unconfirmed(now, grace) && mirror().is_some_and(|one| one.is_heard()) {
                liveness.pool_is_there(now);
            }
            let lapsed = liveness.has_lapsed(now, grace);
            if lapsed || (check.is_some() && !doubtful) {
                awaited.push(Arc::clone(liveness));
            }
            if let Some(check) = check {
                self.doors.spawn(ask(Arc::clone(&self.doors), Arc::clone(session), check));
            }
        });
        awaited
    }

    /// Ends a session, here at once and on its backends soon: it waits for them a little.
    pub async fn logout(&self, session: &GatewaySession) {
        session.log_out();
        let leaving = self.end(session);
        let all_left = async {
            for one in leaving {
                // One that panicked has left as well.
                let _ = one.await;
            }
        };
        let _ = tokio::time::timeout(LOGOUT_WAIT, all_left).await;
    }

    /// Ends every session and logs out of all backends, within a bounded time. From now on nobody
    /// gets in.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.doors.closing.cancel();
        for session in self.registry.close() {
            self.depart(&session);
        }
        self.doors.tasks.close();
        if tokio::time::timeout(SHUTDOWN_TIME, self.doors.tasks.wait()).await.is_err() {
            tracing::warn!(left = self.doors.tasks.len(), "some logouts got no answer in time");
        }
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.registry.len()
    }

    /// Takes a session out of the registry and logs it out, unless someone else did.
    pub(super) fn end(&self, session: &GatewaySession) -> Vec<JoinHandle<()>> {
        if self.registry.remove(session) { self.depart(session) } else { Vec::new() }
    }

    /// Logs out a session that is in the registry no more.
    pub(super) fn depart(&self, session: &GatewaySession) -> Vec<JoinHandle<()>> {
        session.end().into_iter().map(|session| self.doors.see_off(session)).collect()
    }

    fn sweep(&self) {
        self.tickets.sweep(Instant::now());
        let gone = self.registry.sweep(Instant::now());
        if !gone.is_empty() {
            tracing::debug!(sessions = gone.len(), "sessions that were over have ended");
        }
        for session in gone {
            self.depart(&session);
        }
    }
}

/// Sweeps until the gateway stops, or the gate is gone.
async fn sweep(authority: Weak<Authority>, stop: CancellationToken, period: Duration) {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        let Some(authority) = authority.upgrade() else { return };
        authority.sweep();
    }
}

/// Asks a backend whether a session still lives.
async fn ask(doors: Arc<BackendGates>, session: Arc<Session>, check: Check) {
    let Some(door) = doors.get(session.backend()) else { return };
    let now = Instant::now();
    let asked = door.backend.check(&session);
    match tokio::time::timeout(CHECK_TIME, Box::pin(asked)).await {
        Ok(Ok(())) => check.confirmed(now),
        Ok(Err(CallError::Failure(failure))) => match failure.code.as_str() {
            "SESSION_INVALID" => session.ended().cancel(),
            // The backend looks at the session before it looks at what it may do.
            "RBAC_PERMISSION_DENIED" => check.confirmed(now),
            _ => drop(check),
        },
        Ok(Err(_)) | Err(_) => drop(check),
    }
}

async fn settled(awaited: &[Arc<Liveness>]) {
    for liveness in awaited {
        liveness.settled().await;
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("sessions", &self.sessions())
            .field("doors", &self.doors)
            .finish_non_exhaustive()
    }
}
