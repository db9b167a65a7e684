//! Words of every call: whether it may be repeated, and what it came to.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::value::RawValue;

use super::error::CallError;
use xenapi_wire::reply::Failure;

/// Whether a call may be sent again after its connection was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It changes nothing: once more will do no harm.
    Read,
    /// It may have been carried out: only when provably nothing of it was sent.
    Write,
}

/// The result of a call, as JSON text. Its `Debug` does not show it.
pub struct Value(pub(super) Box<RawValue>);

impl Value {
    /// The JSON text.
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// The result of a call that has none.
    pub(super) fn void() -> Self {
        Self(RawValue::from_string("\"\"".to_owned()).expect("an empty string is JSON"))
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({} bytes)", self.get().len())
    }
}

/// What `event.from` returns beside the events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFrame {
    /// Where the next `event.from` goes on.
    pub token: String,
    /// How many objects of each class (in lower case) there are now.
    pub valid_ref_counts: BTreeMap<String, u64>,
}

/// The failure of a call that the backend does not have; nothing was sent.
pub(super) fn not_there(call: &str) -> CallError {
    let code = "MESSAGE_METHOD_UNKNOWN".to_owned();
    CallError::Failure(Failure { code, params: vec![call.to_owned()] })
}
