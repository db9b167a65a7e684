//! How a task ended, and its record.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::ops::error::OpError;

/// How a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It runs.
    Pending,
    /// It runs, and was asked not to.
    Cancelling,
    /// It is done.
    Success,
    /// It could not be done.
    Failure,
    /// It was cancelled before it was done.
    Cancelled,
}

impl Status {
    /// The Xen-API's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Cancelling => "cancelling",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Cancelled => "cancelled",
        }
    }

    /// A word that is not known is none that ends a task.
    pub(super) fn named(name: &str) -> Self {
        match name {
            "success" => Self::Success,
            "failure" => Self::Failure,
            "cancelled" => Self::Cancelled,
            "cancelling" => Self::Cancelling,
            _ => Self::Pending,
        }
    }

    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Success | Self::Failure | Self::Cancelled)
    }
}

/// Something that a flow made and could not take back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// `VDI`.
    pub class: &'static str,
    /// Which, if it is known at all.
    pub uuid: Option<Uuid>,
    /// Why it is still there; fit for clients.
    pub why: String,
}

/// How a task ended.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) status: Status,
    /// The task's record as it was then, with the typed result.
    pub(super) record: Map<String, Value>,
    /// Why it failed.
    pub(super) error: Option<Arc<OpError>>,
    /// What a failed flow left behind.
    pub(super) left: Vec<Left>,
}

/// The record of a task that the backend does not have, in the form of one that it has.
#[derive(Debug, Clone)]
pub(super) struct Sketch<'a> {
    pub(super) uuid: Uuid,
    pub(super) backend: &'a str,
    pub(super) name: &'a str,
    pub(super) created: SystemTime,
    pub(super) status: Status,
    pub(super) progress: f64,
}

impl Sketch<'_> {
    pub(super) fn record(&self) -> Map<String, Value> {
        let finished = if self.status.is_final() { now() } else { SystemTime::UNIX_EPOCH };
        let cancellable: &[&str] = if self.status.is_final() { &[] } else { &["cancel"] };
        let record = json!({
            "uuid": self.uuid,
            "backend": self.backend,
            "name_label": self.name,
            "name_description": "",
            "allowed_operations": cancellable,
            "current_operations": {},
            "created": date(self.created),
            "finished": date(finished),
            "status": self.status.name(),
            "resident_on": null,
            "progress": self.progress,
            "type": "<none/>",
            "result": null,
            "error_info": [],
            "other_config": {},
            "subtask_of": null,
            "subtasks": [],
            "backtrace": "()",
        });
        match record {
            Value::Object(record) => record,
            _ => Map::new(),
        }
    }
}

/// The time of day.
pub(super) fn now() -> SystemTime {
    SystemTime::now()
}

fn date(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::tasks::class;

    #[test]
    fn a_sketch_has_the_fields_of_a_task_and_one_for_the_backend() {
        let sketch = Sketch {
            uuid: Uuid::from_u128(1),
            backend: "lab",
            name: "VM.provision",
            created: SystemTime::UNIX_EPOCH,
            status: Status::Pending,
            progress: 0.5,
        };
        let record = sketch.record();
        let mut names: Vec<&str> = class().fields.iter().map(|f| f.name.as_str()).collect();
        names.push("backend");
        names.sort_unstable();
        assert_eq!(record.keys().collect::<Vec<_>>(), names);
        assert_eq!(record["created"], "1970-01-01T00:00:00Z");
        assert_eq!(record["progress"], 0.5);
    }

    #[test]
    fn every_status_of_the_datamodel_is_known() {
        let xenapi_model::Type::Enum(id) = class().field("status").expect("a field").ty else {
            panic!("an enumeration")
        };
        for name in &xenapi_model::datamodel().enumeration(id).values {
            assert_eq!(Status::named(name).name(), name);
        }
        assert!(!Status::named("later").is_final());
    }
}
