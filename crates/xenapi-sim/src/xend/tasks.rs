//! Tasks of `Async.` calls. They cannot be deleted.

use std::time::Duration;

use super::value::Value;
use crate::protocol::Arg;

/// What was asked for, and what became of it.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) uuid: String,
    /// The call without `Async.`.
    pub(super) call: String,
    pub(super) session: String,
    /// The arguments behind the session.
    pub(super) args: Vec<Arg>,
    pub(super) due: Duration,
    pub(super) outcome: Option<Result<Value, Vec<String>>>,
}

pub(super) fn record(task: &Task) -> Value {
    let (status, progress, result, error) = match &task.outcome {
        None => ("pending", 0, Value::Nil, Vec::new()),
        Some(Ok(result)) => ("success", 100, result.clone(), Vec::new()),
        Some(Err(error)) => ("failure", 100, Value::Nil, error.clone()),
    };
    let kind = match &result {
        Value::List(_) => "Set".into(),
        _ => Value::Nil,
    };
    let members = [
        ("status", status.into()),
        ("uuid", task.uuid.as_str().into()),
        ("name_label", task.call.as_str().into()),
        ("error_info", Value::list(error)),
        ("session", task.session.as_str().into()),
        ("result", result),
        ("progress", Value::Int(progress)),
        ("name_description", "".into()),
        ("allowed_operations", Value::Map(Vec::new())),
        ("type", kind),
    ];
    Value::Map(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}
