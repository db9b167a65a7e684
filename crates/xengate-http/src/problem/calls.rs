//! What each way in which a call can go wrong is in HTTP.

use std::time::Duration;

use super::{Code, Problem};
use xenapi_client::{CallError, Phase, Unsendable};

/// When to come back to a backend that cannot be reached.
const UNREACHABLE: Duration = Duration::from_secs(5);

impl Problem {
    /// A call that has no result. `uuid_of` is as for [`Problem::failure`].
    pub fn call(error: &CallError, uuid_of: impl Fn(&str) -> Option<String>) -> Self {
        let code = match error {
            CallError::Failure(failure) => {
                return Self::failure(&failure.code, &failure.params, uuid_of);
            }
            CallError::Unreachable(_) => {
                return Self::new(Code::BackendUnreachable, error.to_string())
                    .retry_after(UNREACHABLE);
            }
            CallError::Timeout(Phase::Queue) | CallError::Busy(_) => Code::BackendBusy,
            CallError::Timeout(Phase::Reply | Phase::Body) => Code::BackendTimeout,
            CallError::BadReply(_) => Code::BadReply,
            CallError::NotTaken(_) => Code::WriteNotTaken,
            CallError::Unasked(error) => return Self::call(error, uuid_of),
            CallError::Partly(_) => Code::OutcomeUnknown,
            CallError::Misconfigured(_) => Code::LoginNotConfigured,
            CallError::Unsendable(Unsendable::TooLarge { .. }) => Code::BodyTooLarge,
            CallError::Unsendable(Unsendable::Unwritable(_)) => Code::WrongShape,
        };
        Self::new(code, error.to_string())
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        Self::call(&error, |_| None)
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use http::header;

    use super::*;
    use xenapi_client::{BadReply, Busy, Fault, Reason, Unreachable};

    #[test]
    fn each_failed_call_has_its_status_and_a_word_of_when_to_come_back() {
        let unreachable =
            Unreachable { address: "https://pool".to_owned(), reason: Reason::Resolve };
        let bad = BadReply { status: Some(500), fault: Fault::Cut, read: 9 };
        let cases = [
            (CallError::Unreachable(unreachable), 503, "BACKEND_UNREACHABLE"),
            (CallError::Timeout(Phase::Queue), 503, "BACKEND_BUSY"),
            (CallError::Timeout(Phase::Reply), 504, "BACKEND_TIMEOUT"),
            (CallError::Timeout(Phase::Body), 504, "BACKEND_TIMEOUT"),
            (CallError::Busy(Busy { waiting: 64 }), 503, "BACKEND_BUSY"),
            (CallError::BadReply(bad), 502, "BAD_REPLY"),
        ];
        for (error, status, code) in cases {
            let text = error.to_string();
            let problem = Problem::from(error);
            assert_eq!((problem.status().as_u16(), problem.code()), (status, code));
            assert_eq!(problem.detail(), text);
            assert!(problem.into_response().headers().contains_key(header::RETRY_AFTER), "{text}");
        }
    }
}
