//! What each way in which an operation can fail is in HTTP.

use super::{Code, Problem};
use xengate_core::ops::OpError;

impl From<OpError> for Problem {
    fn from(error: OpError) -> Self {
        Self::from(&error)
    }
}

impl From<&OpError> for Problem {
    fn from(error: &OpError) -> Self {
        let text = error.to_string();
        match error {
            OpError::Denied { call, roles } => {
                let params: Vec<String> =
                    [call.clone()].into_iter().chain(roles.names().map(str::to_owned)).collect();
                Self::failure("RBAC_PERMISSION_DENIED", &params, |_| None).with_detail(text)
            }
            OpError::Argument(argument) => {
                Self::new(Code::WrongShape, text).at(argument.pointer.clone())
            }
            OpError::NotSupported { pointer, .. } => {
                located(Self::new(Code::NotSupported, text), pointer.as_deref())
            }
            // The parameters' refs have been translated as far as they can be.
            OpError::Failure { failure, pointer } => {
                located(Self::failure(&failure.code, &failure.params, |_| None), pointer.as_deref())
            }
            OpError::Call(error) => Self::call(error, |_| None),
            OpError::NotMirrored(_) => Self::new(Code::BackendNotReady, text),
            OpError::NotFound(_) => Self::new(Code::NotFound, text),
            OpError::Conflict(_) => Self::new(Code::Conflict, text),
            OpError::Busy(_) => Self::new(Code::Overloaded, text),
            OpError::Cancelled => Self::failure("TASK_CANCELLED", &[], |_| None),
            OpError::Lost | OpError::TooLong(_) | OpError::Interrupted(_) => {
                Self::new(Code::OutcomeUnknown, text)
            }
            OpError::OutcomeUnknown(unknown) => {
                let problem = Self::new(Code::OutcomeUnknown, text).with_params([&*unknown.call]);
                match &unknown.object {
                    Some((class, uuid)) => problem.with_object(class, &uuid.to_string()),
                    None => problem,
                }
            }
            OpError::Unexplained => Self::new(Code::TaskFailed, text),
        }
    }
}

fn located(problem: Problem, pointer: Option<&str>) -> Problem {
    match pointer {
        Some(pointer) => problem.at(pointer),
        None => problem,
    }
}
