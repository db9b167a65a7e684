//! How a mirror stands to its backend, and why it does not stand better.

use crate::backend::CallError;

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
    /// Nothing is mirrored and the backend cannot be reached.
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
    /// Whether what it answered then made no sense.
    pub nonsense: bool,
    /// Whether its objects take more memory than there is.
    pub oversized: bool,
    /// Why the state is not better; fit for clients.
    pub reason: Option<String>,
}

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
        Self { state, reachable: true, nonsense: false, oversized: false, reason: None }
    }

    /// Whether nothing comes of waiting for objects.
    pub(super) fn is_settled(&self) -> bool {
        self.state == MirrorState::Down || self.oversized
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
