//! How a mirror stands to its backend, and why it does not stand better.

use xenapi_client::{CallError, Failure};

/// How a mirror stands to its backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MirrorState {
    /// Nothing is mirrored: nobody is logged in who could lend a session.
    Waiting,
    /// The first sync is under way.
    Syncing,
    /// Changes arrive as they happen.
    Live,
    /// Something is mirrored, but changes do not arrive.
    Stale,
    /// Nothing is mirrored, and the backend cannot be reached or does not let itself be followed.
    Down,
}

impl MirrorState {
    /// Each of them.
    pub const ALL: [Self; 5] = [Self::Waiting, Self::Syncing, Self::Live, Self::Stale, Self::Down];

    /// `waiting`, `syncing`, `live`, `stale` or `down`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Syncing => "syncing",
            Self::Live => "live",
            Self::Stale => "stale",
            Self::Down => "down",
        }
    }
}

/// A mirror's state, and what the backend last had to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// How the mirror stands.
    pub state: MirrorState,
    /// Whether the backend answered when it was last asked anything.
    pub reachable: bool,
    /// What keeps the state from being better.
    pub cause: Option<Cause>,
    /// The same in words, which may name addresses and files; fit for clients.
    pub reason: Option<String>,
}

/// What keeps a mirror from being up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Nobody is logged in who could lend a session.
    NoSession,
    /// The gateway is not let in.
    Refused,
    /// The backend cannot be reached.
    Unreachable,
    /// What it answers makes no sense.
    Nonsense,
    /// It answers, and does not tell what there is.
    Unfollowed,
    /// It has no way to tell of changes, and will not come to have one.
    Unsupported,
    /// Its objects take more memory than there is.
    TooLarge,
    /// A few objects could not be read.
    Unread,
}

impl Cause {
    /// The cause in words that anybody may read.
    pub fn in_public(self) -> &'static str {
        match self {
            Self::NoSession => NOBODY,
            Self::Refused | Self::Unfollowed => "the gateway cannot follow it",
            Self::Unreachable => "it cannot be reached",
            Self::Nonsense => "it does not answer as a Xen-API server does",
            Self::TooLarge => "its objects do not fit into the gateway's memory",
            Self::Unread => "some objects could not be read",
            Self::Unsupported => "it has no event.from, so that it cannot be mirrored",
        }
    }
}

/// Why a mirror waits that has no account of its own.
const NOBODY: &str = "nobody is logged in";

impl Loss {
    /// What it means that a call came to nothing.
    pub(super) fn of(error: &CallError) -> Self {
        let reason = error.to_string();
        match error {
            CallError::Failure(_) | CallError::Busy(_) | CallError::Misconfigured(_) => {
                Self::Refused(reason)
            }
            CallError::BadReply(_) => Self::Nonsense(reason),
            _ => Self::Unreachable(reason),
        }
    }
}

impl Status {
    pub(super) fn well(state: MirrorState) -> Self {
        Self { state, reachable: true, cause: None, reason: None }
    }

    /// Whether nothing comes of waiting for objects.
    pub(super) fn is_settled(&self) -> bool {
        self.state == MirrorState::Down || self.cause == Some(Cause::TooLarge)
    }
}

/// Why a mirror cannot be kept up to date; the texts are fit for clients.
pub(super) enum Loss {
    /// Nobody lends a session.
    NoSession,
    /// The backend is there, and refuses.
    Refused(String),
    /// The backend cannot be reached.
    Unreachable(String),
    /// What it answers makes no sense.
    Nonsense(String),
    /// Its objects take more memory than there is.
    TooLarge(String),
    /// It answers, and does not tell what there is.
    Unfollowed(String),
    /// It has no way to tell of changes.
    Unsupported,
}

impl Loss {
    /// What it means that a pool does not tell what there is.
    pub(super) fn of_events(error: &CallError) -> Self {
        match error {
            CallError::Failure(failure) if is_unknown(failure) => Self::Unsupported,
            CallError::Failure(_) => Self::Unfollowed(error.to_string()),
            error => Self::of(error),
        }
    }

    pub(super) fn cause(&self) -> Cause {
        match self {
            Self::NoSession => Cause::NoSession,
            Self::Refused(_) => Cause::Refused,
            Self::Unreachable(_) => Cause::Unreachable,
            Self::Nonsense(_) => Cause::Nonsense,
            Self::TooLarge(_) => Cause::TooLarge,
            Self::Unfollowed(_) => Cause::Unfollowed,
            Self::Unsupported => Cause::Unsupported,
        }
    }

    pub(super) fn reason(self) -> String {
        match self {
            Self::NoSession => NOBODY.to_owned(),
            Self::Unsupported => {
                "it has no event.from, with which XenServer 6.0 and later tell of changes"
                    .to_owned()
            }
            Self::Refused(reason)
            | Self::Unreachable(reason)
            | Self::Nonsense(reason)
            | Self::TooLarge(reason)
            | Self::Unfollowed(reason) => reason,
        }
    }
}

/// Whether a backend says that it does not have a call at all.
pub(super) fn is_unknown(failure: &Failure) -> bool {
    matches!(&*failure.code, "MESSAGE_METHOD_UNKNOWN" | "MESSAGE_REMOVED" | "MESSAGE_DEPRECATED")
}

/// Whether the failure means that the session is no more. A host that has become a supporter knows
/// none.
pub(super) fn ends_session(error: &CallError) -> bool {
    let CallError::Failure(failure) = error else { return false };
    matches!(failure.code.as_str(), "SESSION_INVALID" | "HOST_IS_SLAVE")
}

/// Why nothing can be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotReady {
    /// The backend cannot be reached.
    #[error("backend {backend} is down: {reason}")]
    Down {
        /// Its name.
        backend: String,
        /// What happened.
        reason: String,
    },
    /// What the backend answers makes no sense.
    #[error("backend {backend} does not answer as a Xen-API server does: {reason}")]
    Nonsense {
        /// Its name.
        backend: String,
        /// What was seen.
        reason: String,
    },
    /// The backend answers, and does not tell what there is.
    #[error("backend {backend} cannot be followed: {reason}")]
    Unfollowed {
        /// Its name.
        backend: String,
        /// What it said.
        reason: String,
    },
    /// The backend has no way to tell of changes.
    #[error("backend {backend} cannot be mirrored: {reason}")]
    Unsupported {
        /// Its name.
        backend: String,
        /// What it lacks.
        reason: String,
    },
    /// Its objects take more memory than there is.
    #[error("backend {backend} is not mirrored: its objects do not fit into the gateway's memory")]
    TooLarge {
        /// Its name.
        backend: String,
    },
    /// The first sync did not end in time.
    #[error("backend {backend} is not mirrored yet")]
    Late {
        /// Its name.
        backend: String,
    },
}
