//! Who a request is from, and what that gives access to.

use std::sync::Arc;

use tokio::time::Instant;

use super::session::{BackendStatus, GatewaySession, NoAccess};

/// Whoever sent a request with a good token. Access is per backend, and may end while a request
/// runs, so it is asked for when it is needed.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The session the token names.
    pub session: Arc<GatewaySession>,
}

/// Whoever holds the token of a session, which may have access to nothing now: a session has to be
/// ended, looked at and logged in again also while its backends are away.
#[derive(Debug, Clone)]
pub struct SessionHolder {
    /// The session the token names.
    pub session: Arc<GatewaySession>,
}

impl Caller {
    /// The caller's own session of this backend, or why there is none to use.
    pub fn access(&self, backend: &str) -> Result<Arc<xenapi_client::Session>, NoAccess> {
        self.session.access(backend, Instant::now())
    }

    /// The caller's own session of this backend, if there is one to use.
    pub fn session_for(&self, backend: &str) -> Option<Arc<xenapi_client::Session>> {
        self.access(backend).ok()
    }

    /// The backends whose objects the caller may see, by name.
    pub fn readable_backends(&self) -> impl Iterator<Item = &str> {
        self.session.accessible(Instant::now())
    }

    /// The backends the session is logged in to or meant to be, by name, and whether each may be
    /// read now. One that refused the login is not among them: the caller has no business there.
    pub fn readable(&self) -> Vec<(String, bool)> {
        let belongs = |(name, status)| match status {
            BackendStatus::Ok => Some((name, true)),
            BackendStatus::Unreachable | BackendStatus::Ended => Some((name, false)),
            BackendStatus::Refused | BackendStatus::Forbidden => None,
        };
        self.session.backends().into_iter().filter_map(belongs).collect()
    }
}
