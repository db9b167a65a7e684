//! Why something is not known.

use xenapi_client::CallError;

use super::read::Unreadable;

/// Why something is not known; the texts are fit for clients.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// What is halted is not measured.
    #[error("it does not run, so nothing is measured")]
    NotRunning,
    /// It is on no host, or on none that the gateway knows of.
    #[error("no host measures it now")]
    NoHost,
    /// The host says nothing of it.
    #[error("its host measures nothing of it")]
    NotMeasured,
    /// The host measures nothing new.
    #[error("its host has measured nothing new for a while")]
    Stuck,
    /// The host has no RRDs to show.
    #[error("its host shows no measurements")]
    NotSupported,
    /// The host cannot be reached.
    #[error("its host cannot be reached: {0}")]
    Unreachable(String),
    /// The host takes too long.
    #[error("its host has not answered yet")]
    Slow,
    /// It takes two readings to know, and there was one.
    #[error("how busy it is shows from the second reading on")]
    NotYet,
    /// The gateway is at fault.
    #[error("the gateway ran into a bug of its own")]
    Bug,
    /// What the host answers makes no sense.
    #[error("what its host answers makes no sense: {0}")]
    BadReply(String),
    /// The host took no session.
    #[error("its host accepts no session of the gateway's callers")]
    NoSession,
    /// There is no such archive; these there are.
    #[error("there is no archive with cf {cf} and a step of {step} seconds; there are: {there}")]
    NoArchive {
        /// The consolidation asked for.
        cf: &'static str,
        /// The seconds asked for.
        step: i64,
        /// What there is.
        there: String,
    },
}

impl SampleError {
    /// A name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotRunning => "NOT_RUNNING",
            Self::NoHost => "NO_HOST",
            Self::NotMeasured => "NOT_MEASURED",
            Self::Stuck => "NOTHING_NEW",
            Self::NotSupported => "NOT_SUPPORTED",
            Self::Unreachable(_) => "HOST_UNREACHABLE",
            Self::Slow => "HOST_SLOW",
            Self::NotYet => "NOT_YET",
            Self::Bug => "INTERNAL",
            Self::BadReply(_) => "BAD_REPLY",
            Self::NoSession => "NO_SESSION",
            Self::NoArchive { .. } => "NO_ARCHIVE",
        }
    }

    /// Whether it is the object that is not there to be measured, with nothing wrong.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::NotRunning | Self::NoHost | Self::NotMeasured)
    }
}

impl From<&CallError> for SampleError {
    fn from(error: &CallError) -> Self {
        match error {
            // xend keeps no history of what its guests use.
            CallError::Failure(failure) if failure.code == "MESSAGE_METHOD_UNKNOWN" => {
                Self::NotSupported
            }
            CallError::Failure(_) => Self::NoSession,
            CallError::Unreachable(why) => Self::Unreachable(why.reason.to_string()),
            CallError::Timeout(_) | CallError::Busy(_) => Self::Slow,
            CallError::BadReply(bad) if bad.status == Some(404) => Self::NotSupported,
            // XAPI has an exception where there is nothing to show.
            CallError::BadReply(bad) if bad.status == Some(500) => Self::NotMeasured,
            CallError::BadReply(_)
            | CallError::Unsendable(_)
            | CallError::NotTaken(_)
            | CallError::Misconfigured(_)
            | CallError::Unasked(_)
            | CallError::Partly(_) => Self::BadReply(error.to_string()),
        }
    }
}

impl From<Unreadable> for SampleError {
    fn from(error: Unreadable) -> Self {
        Self::BadReply(error.to_string())
    }
}
