//! Why something could not be done. Knows no status: the floor above decides those.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::arguments::{ArgumentError, Arguments, below};
use super::typed::is_ref;
use xenapi_client::{CallError, Unsendable};
use xenapi_mirror::inventory::Mirror;
use xenapi_model::{Call, Roles};

pub use xenapi_wire::reply::Failure;

/// Why something could not be done. No text here holds a value of the client's or a ref.
#[derive(Debug, thiserror::Error)]
pub enum OpError {
    /// The caller's role does not let it; nothing was sent.
    #[error("{call} takes one of these roles: {}", names(*.roles))]
    Denied {
        /// `VM.start`.
        call: String,
        /// The roles that would do.
        roles: Roles,
    },
    /// What the client gave does not fit; nothing was sent.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// The backend's version has no such class, field or call.
    #[error("this backend has no {what}: {why}")]
    NotSupported {
        /// `VM.sysprep`, `VM.groups`.
        what: String,
        /// `it came with release …, and the backend is older`.
        why: String,
        /// Where the client asked for it, if in its body.
        pointer: Option<String>,
    },
    /// The backend refused, with a code of the Xen-API. Its parameters hold refs.
    #[error("the backend answered {}", .failure.code)]
    Failure {
        /// The code and its parameters.
        failure: Failure,
        /// Where the client named the object that the failure is about, if in its body.
        pointer: Option<String>,
    },
    /// The backend could not be asked, or its answer makes no sense.
    #[error(transparent)]
    Call(CallError),
    /// Nothing is mirrored of the backend.
    #[error("backend {0} is not mirrored now")]
    NotMirrored(String),
    /// Nothing of this kind is there.
    #[error("no {0} of this uuid")]
    NotFound(&'static str),
    /// It cannot be done as things are.
    #[error("{0}")]
    Conflict(&'static str),
    /// As many flows run as may.
    #[error("{0} flows of calls run already; try again later")]
    Busy(usize),
    /// It was cancelled before it was done.
    #[error("cancelled")]
    Cancelled,
    /// How it ended cannot be known any more.
    #[error("the task is gone, and how it ended is not known")]
    Lost,
    /// It took longer than anything may take.
    #[error("{0} took too long and was given up; the backend may still be at it")]
    TooLong(String),
    /// It was sent, and whether it was carried out is not known.
    #[error(transparent)]
    OutcomeUnknown(Box<Unknown>),
    /// The task failed, and the backend does not say why.
    #[error("the task failed, and the backend does not say why")]
    Unexplained,
    /// The gateway ended, or the time for it did, before all of it was done.
    #[error(
        "{0} was broken off: the gateway ends, or it took too long; how far it came is not known"
    )]
    Interrupted(String),
}

/// What is known of a call whose outcome is not.
#[derive(Debug, thiserror::Error)]
#[error(
    "{call} was sent, and whether it was carried out is not known ({error}); read the object, or \
     the list, before it is asked for again"
)]
pub struct Unknown {
    /// `VM.clone`.
    pub call: String,
    /// The class and the uuid of the object that it is made on, as far as that can be told.
    pub object: Option<(&'static str, Uuid)>,
    /// What came instead of an answer.
    pub error: CallError,
}

fn names(roles: Roles) -> String {
    let names: Vec<&str> = roles.names().collect();
    if names.is_empty() { "local superuser".to_owned() } else { names.join(", ") }
}

impl From<CallError> for OpError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Failure(failure) => Self::Failure { failure, pointer: None },
            other => Self::Call(other),
        }
    }
}

impl OpError {
    /// The failure's code, when the backend refused with one.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Failure { failure, .. } => Some(&failure.code),
            _ => None,
        }
    }

    /// Whether it may have been done all the same.
    pub fn is_unknown(&self) -> bool {
        match self {
            Self::OutcomeUnknown(_) | Self::Lost | Self::TooLong(_) | Self::Interrupted(_) => true,
            Self::Call(error) => error.maybe_done(),
            _ => false,
        }
    }

    /// Whether the backend refused because something that was named is not there.
    pub(super) fn is_about_nothing(&self) -> bool {
        matches!(self.code(), Some("HANDLE_INVALID" | "UUID_INVALID" | "OBJECT_NOLONGER_EXISTS"))
    }

    /// The same, with word of where in the client's body the failure's object was named.
    pub(super) fn about(self, arguments: &Arguments) -> Self {
        match self {
            Self::Failure { failure, pointer: None } => {
                let mut params = failure.params.iter();
                let pointer = params
                    .find_map(|param| arguments.pointer_of(param))
                    .or_else(|| arguments.named.pointer_of_failure(&failure.params));
                Self::Failure { pointer: pointer.map(str::to_owned), failure }
            }
            // Nothing was sent: the backend's dialect cannot say it.
            Self::Call(CallError::Unsendable(error @ Unsendable::Unwritable(_))) => {
                match arguments.named.unstorable() {
                    Some(pointer) => ArgumentError::new(pointer, error.to_string()).into(),
                    None => Self::Call(error.into()),
                }
            }
            other => other,
        }
    }

    /// The same, as what it means of this call.
    pub(super) fn of_call(self, call: &Call) -> Self {
        match self {
            // XAPI looks for the old value of a key that it does not know, to put it back.
            Self::Failure { failure, pointer }
                if call.wire_name.starts_with("VMSS.")
                    && failure.code == "INTERNAL_ERROR"
                    && failure.params.iter().any(|param| param.contains("Not_found")) =>
            {
                let params = vec!["schedule".to_owned()];
                let failure = Failure { code: "INVALID_VALUE".to_owned(), params };
                Self::Failure { failure, pointer }
            }
            other => other,
        }
    }

    /// The same, pointing to the member of the client's body that it names, if it names one.
    pub fn in_body(self, body: &Map<String, Value>) -> Self {
        match self {
            Self::Failure { failure, pointer: None } if failure.code == "INVALID_VALUE" => {
                let (field, key) = match failure.params.first().map(|name| name.split_once(':')) {
                    Some(Some((field, key))) => (field, Some(key)),
                    _ => (failure.params.first().map_or("", String::as_str), None),
                };
                let pointer = body.get(field).map(|value| {
                    let pointer = below("", field);
                    match key.filter(|key| value.get(key).is_some()) {
                        Some(key) => below(&pointer, key),
                        None => pointer,
                    }
                });
                Self::Failure { failure, pointer }
            }
            other => other,
        }
    }

    /// The same; of something that is not there, and nobody knows yet where in the client's body
    /// it was named, with word of that.
    pub(super) fn unless_located<'a>(self, found: impl FnOnce() -> Option<&'a str>) -> Self {
        if !self.is_about_nothing() {
            return self;
        }
        match self {
            Self::Failure { failure, pointer: None } => {
                Self::Failure { failure, pointer: found().map(str::to_owned) }
            }
            other => other,
        }
    }

    /// The same, with uuids for refs as long as those can be told: what a failure is about may be
    /// gone soon.
    pub(super) fn shown(mut self, mirror: &Mirror) -> Self {
        if let Self::Failure { failure, .. } = &mut self {
            for param in failure.params.iter_mut().filter(|param| is_ref(param)) {
                if let Some((_, uuid)) = mirror.resolve(param) {
                    *param = uuid.to_string();
                }
            }
        }
        self
    }

    /// The same, as something that the field at `pointer` asks for.
    pub(super) fn within(self, pointer: &str) -> Self {
        match self {
            Self::NotSupported { what, why, .. } => {
                Self::NotSupported { what, why, pointer: Some(pointer.to_owned()) }
            }
            other => other,
        }
    }

    /// The same, pointing to where `elsewhere` says instead.
    pub(super) fn pointing(self, elsewhere: impl FnOnce(&str) -> String) -> Self {
        match self {
            Self::Argument(ArgumentError { pointer, what }) => {
                Self::Argument(ArgumentError { pointer: elsewhere(&pointer), what })
            }
            Self::Failure { failure, pointer: Some(pointer) } => {
                Self::Failure { failure, pointer: Some(elsewhere(&pointer)) }
            }
            Self::NotSupported { what, why, pointer: Some(pointer) } => {
                Self::NotSupported { what, why, pointer: Some(elsewhere(&pointer)) }
            }
            other => other,
        }
    }
}
