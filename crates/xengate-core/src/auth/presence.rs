//! Sessions in use by someone who does not send requests but goes on reading an answer.

use std::time::Duration;

use tokio::time::Instant;

use super::authority::{AuthError, Authority};
use super::caller::Caller;
use super::session::{GatewaySession, NoAccess};

/// How often the backends are asked about a session in lasting use, at most. It is how long a
/// change of mind of theirs may take to be noticed.
const EVERY: Duration = Duration::from_secs(15);

/// Why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Its holder logged out.
    LoggedOut,
    /// Its time was up.
    Expired,
    /// The backends ended it, or it made room for another session of its user.
    Ended,
    /// The backends could not be asked about it for too long.
    Unconfirmed,
}

impl Authority {
    /// Keeps a session in use, and has its backends asked whether it still lives, as a request
    /// would. Whoever reads a stream that never ends is not idle.
    pub async fn renew(&self, caller: &Caller) -> Result<(), Over> {
        let session = &caller.session;
        let over = |error| match error {
            _ if session.is_logged_out() => Over::LoggedOut,
            AuthError::Expired => Over::Expired,
            _ if session.has_expired(Instant::now()) => Over::Expired,
            AuthError::Unconfirmed { .. } => Over::Unconfirmed,
            AuthError::Invalid => Over::Ended,
        };
        let found = self.registry.find(&session.id()).ok_or(AuthError::Invalid);
        let held = found.and_then(|session| self.hold(session)).map_err(over)?;
        self.confirm(held.session).await.map(drop).map_err(over)
    }

    /// How long to wait before the next [`Authority::renew`]: never past the session's end.
    pub fn renew_after(&self, session: &GatewaySession) -> Duration {
        EVERY.min(self.terms.idle / 3).min(session.time_left(Instant::now()))
    }
}

impl Caller {
    /// Why the session has no access to the backend, if it has none.
    pub fn lost(&self, backend: &str) -> Option<Over> {
        match self.access(backend).err()? {
            _ if self.session.is_logged_out() => Some(Over::LoggedOut),
            NoAccess::Unconfirmed => Some(Over::Unconfirmed),
            _ => Some(Over::Ended),
        }
    }

    /// Returns once a session of one of the backends that it has now has ended.
    pub async fn session_ended(&self) {
        let mut ends = Vec::new();
        for backend in self.readable_backends() {
            if let Ok(session) = self.access(backend) {
                ends.push(Box::pin(async move { session.ended().cancelled().await }));
            }
        }
        if !ends.is_empty() {
            futures_util::future::select_all(ends).await;
        }
    }
}
