//! A task as clients see it.

use std::sync::Arc;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::entry::{Entry, Work};
use super::outcome::{Left, Status};
use super::{call_named, class};
use crate::ops::arguments::Named;
use crate::ops::error::{Failure, OpError};
use crate::ops::typed;
use xenapi_mirror::inventory::{Mirror, Object};

/// What tells the versions of a task apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskVersion {
    /// Nothing but the gateway's own word: how far it is, as bits, and whether it is to end.
    Sketched(u64, bool),
    /// As the mirror had it at this revision.
    Mirrored(u64),
    /// How it ended, which the gateway keeps.
    Kept,
}

/// A task as clients see it.
#[derive(Debug, Clone)]
pub struct TaskView {
    /// Its uuid.
    pub uuid: Uuid,
    /// Which of its versions this is.
    pub version: TaskVersion,
    /// How it stands.
    pub status: Status,
    /// Its record: the class's fields, with the typed result.
    pub record: Map<String, Value>,
    /// Why it failed, or that it was cancelled.
    pub error: Option<Arc<OpError>>,
    /// What a failed flow made and could not take back.
    pub left_behind: Vec<Left>,
}

/// A task that the gateway keeps.
pub(super) fn of_entry(entry: &Entry, mirror: &Mirror) -> TaskView {
    if let Some(outcome) = &*entry.outcome.borrow() {
        return TaskView {
            uuid: entry.uuid,
            version: TaskVersion::Kept,
            status: outcome.status,
            record: outcome.record.clone(),
            error: outcome.error.clone(),
            left_behind: outcome.left.clone(),
        };
    }
    let (version, status, record, error) = match &entry.work {
        Work::Backends { named, .. } => match object_of(mirror, entry) {
            Some((object, revision)) => {
                let (status, mut record) = record(mirror, &object);
                record.insert("uuid".to_owned(), entry.uuid.to_string().into());
                let error = error(mirror, status, &record, named);
                let version = version(&object, status, revision);
                (version, status, record, error.map(Arc::new))
            }
            None => {
                let record = entry.sketch(Status::Pending, 0.0).record();
                (TaskVersion::Sketched(0, false), Status::Pending, record, None)
            }
        },
        Work::Flow { cancelled, progress } => {
            let ends = cancelled.is_cancelled();
            let status = if ends { Status::Cancelling } else { Status::Pending };
            let part = progress.get();
            let version = TaskVersion::Sketched(part.to_bits(), ends);
            (version, status, entry.sketch(status, part).record(), None)
        }
    };
    TaskView { uuid: entry.uuid, version, status, record, error, left_behind: Vec::new() }
}

/// A task of the backend's, if the mirror has it.
pub(super) fn of_mirror(mirror: &Mirror, uuid: Uuid) -> Option<TaskView> {
    let (object, revision) = object(mirror, uuid)?;
    let (status, record) = record(mirror, &object);
    let error = error(mirror, status, &record, &Named::default()).map(Arc::new);
    let version = version(&object, status, revision);
    Some(TaskView { uuid, version, status, record, error, left_behind: Vec::new() })
}

/// The version of a task that the mirror has at `revision`.
fn version(object: &Object, status: Status, revision: u64) -> TaskVersion {
    match status {
        // What its result or its failure names may come to be known after it.
        Status::Success | Status::Failure => TaskVersion::Mirrored(revision),
        _ => TaskVersion::Mirrored(object.revision()),
    }
}

/// A task's object, and the revision at which the mirror has it.
pub(super) fn object(mirror: &Mirror, uuid: Uuid) -> Option<(Arc<Object>, u64)> {
    let reading = mirror.reading()?;
    let object = reading.snapshot.object(class().id, &uuid)?.clone();
    Some((object, reading.snapshot.revision()))
}

/// The same of a task that the gateway started. One that the backend did not name then has another
/// uuid there.
pub(super) fn object_of(mirror: &Mirror, entry: &Entry) -> Option<(Arc<Object>, u64)> {
    let found = object(mirror, entry.uuid);
    let Work::Backends { reference, .. } = &entry.work else { return found };
    found.or_else(|| {
        let (id, uuid) = mirror.resolve(reference)?;
        if id == class().id { object(mirror, uuid) } else { None }
    })
}

/// How a task stands, and its record with the typed result.
pub(super) fn record(mirror: &Mirror, object: &Object) -> (Status, Map<String, Value>) {
    let mut record: Map<String, Value> =
        serde_json::from_slice(object.record().json()).unwrap_or_default();
    let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default();
    let status = Status::named(text("status"));
    let call = call_named(text("name_label"));
    let result = match status {
        Status::Success => typed::of_task(mirror, call, text("result")),
        _ => Value::Null,
    };
    record.insert("result".to_owned(), result);
    (status, record)
}

/// Why a task that stands so failed, from its record.
pub(super) fn error(
    mirror: &Mirror,
    status: Status,
    record: &Map<String, Value>,
    named: &Named,
) -> Option<OpError> {
    match status {
        Status::Cancelled => Some(OpError::Cancelled),
        Status::Failure => {
            let parts = record.get("error_info").and_then(Value::as_array);
            let mut parts = parts.into_iter().flatten().filter_map(Value::as_str);
            let Some(code) = parts.next() else { return Some(OpError::Unexplained) };
            let params: Vec<String> = parts.map(str::to_owned).collect();
            let pointer = params
                .iter()
                .find_map(|param| named.pointer_of(param))
                .or_else(|| named.pointer_of_failure(&params));
            let pointer = pointer.map(str::to_owned);
            let failure = Failure { code: code.to_owned(), params };
            let error = OpError::Failure { failure, pointer };
            // Its ref has become nobody's by now.
            Some(error.unless_located(|| {
                named.pointer_of_lost(|reference| mirror.resolve(reference).is_some())
            }))
        }
        _ => None,
    }
}
