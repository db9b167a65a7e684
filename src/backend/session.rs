//! A session of one backend.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

/// Someone logged in to a backend. Its ref stays inside this floor.
pub struct Session {
    backend: String,
    username: String,
    reference: SecretString,
    /// What the backend lets this session do.
    pub access: Access,
    ended: CancellationToken,
    gone: AtomicBool,
    lost: AtomicBool,
}

/// What a session may do, as the backend told at login.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// May do everything; then `permissions` is empty.
    pub is_local_superuser: bool,
    /// The calls it may make, in the backend's own lower-case spelling (`vm.start`).
    pub permissions: Vec<String>,
}

impl Session {
    pub(crate) fn new(
        backend: &str,
        username: &str,
        reference: SecretString,
        access: Access,
    ) -> Self {
        Self {
            backend: backend.to_owned(),
            username: username.to_owned(),
            reference,
            access,
            ended: CancellationToken::new(),
            gone: AtomicBool::new(false),
            lost: AtomicBool::new(false),
        }
    }

    /// Cancelled once the session is known to be no more.
    pub fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Who logged in.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The name of the backend it belongs to.
    pub fn backend(&self) -> &str {
        &self.backend
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

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("backend", &self.backend)
            .field("username", &self.username)
            .field("ended", &self.ended.is_cancelled())
            .finish_non_exhaustive()
    }
}
