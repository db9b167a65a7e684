//! The schema of problem documents: what went wrong, and how far a change had come.

use serde_json::json;

use super::failures;
use crate::api::objects::records_doc;
use crate::api::tasks;
use crate::openapi::parts::Parts;
use crate::openapi::shapes::{
    Shape, array, boolean, formatted, integer, nullable_date_time, nullable_string, object,
    or_null_shape, string, uuid,
};
use crate::problem::Code;
use xenapi_model::{Type, datamodel};

type Member = (&'static str, Shape, &'static str);

/// Members of every problem, those of the request aside.
const ALWAYS: [&str; 7] = ["type", "title", "status", "detail", "code", "params", "retryable"];

fn members() -> Vec<Member> {
    let code = "The Xen-API's failure code, such as `VM_BAD_POWER_STATE`, or one of the gateway's \
                own; for a program to read.";
    let params = "What the code is about: a failure's parameters in the Xen-API's order, with \
                  uuids for refs (null for one that is unknown).";
    let retryable = "Whether the same request may succeed later as it is, and is safe to repeat by \
                     whoever knows nothing more: of what changes something, that nothing was done.";
    let class = ("class", string(), "Its Xen-API class.");
    let about = object([class, ("uuid", formatted("uuid"), "Its uuid.")], &["class", "uuid"]);
    vec![
        ("type", formatted("uri"), "The kind of problem: the code, as a URN."),
        ("title", string(), "The code, in words."),
        ("status", integer(), "The HTTP status."),
        ("detail", string(), "What went wrong this time, for a person to read."),
        ("code", string(), code),
        ("params", array(nullable_string()), params),
        ("retryable", boolean(), retryable),
        ("pointer", string(), "JSON pointer (RFC 6901) to the part of the body that is wrong."),
        ("object", about.into(), "What it is about, where the outcome is not known."),
    ]
}

/// RFC 9457, with the Xen-API's code and parameters.
pub(crate) fn schema(parts: &mut Parts) -> Shape {
    parts.schema("Problem", |parts| {
        let example = json!({
            "type": "urn:xengate:problem:ambiguous-uuid",
            "title": Code::AmbiguousUuid.title(),
            "status": Code::AmbiguousUuid.status().as_u16(),
            "detail": "several backends have an object of this uuid; say which with ?backend=",
            "code": Code::AmbiguousUuid.as_str(),
            "params": ["london", "paris"],
            "retryable": false,
            "request_id": "5f0c7d5e3f0a",
        });
        let mut members = members();
        let fields = || array(string());
        members.extend([
            ("request_id", string(), "The request's name in the gateway's log."),
            ("task", failed_task(parts), "The task that failed while it was waited for."),
            ("applied", fields(), "Of a change that broke off: fields that have their new values."),
            ("failed", fields(), "Fields whose change failed; they have their old values."),
            ("unknown", fields(), "Fields of which it is not known which value they have."),
            ("not_tried", fields(), "Fields that were not come to."),
            ("lost", fields(), "JSON pointers to what was removed and could not be put back."),
        ]);
        let required = ALWAYS.iter().copied().chain(["request_id"]).collect::<Vec<_>>();
        object(members, &required)
            .description(Some(format!(
                "What went wrong (RFC 9457). By status:\n\n{}",
                failures::table().trim_end()
            )))
            .examples([example])
            .into()
    })
}

/// What a problem tells of its task. The whole record is at its path: were its schema here, every
/// failure would bring along the schemas of all that a task can lead to.
fn failed_task(parts: &mut Parts) -> Shape {
    let status = records_doc::of_type(parts, &status_of_task());
    let left_behind = tasks::doc::left_behind(parts);
    parts.schema("FailedTask", |_| {
        let members = [
            ("uuid", uuid(), "Its uuid: `GET /tasks/{uuid}` has the whole of it."),
            ("backend", string(), "The backend it ran on."),
            ("name_label", string(), "What it was to do."),
            ("status", status, "How it ended."),
            ("created", nullable_date_time(), "When it began."),
            ("finished", nullable_date_time(), "When it ended."),
            ("error_info", array(nullable_string()), "The Xen-API's failure, with its parameters."),
            ("left_behind", left_behind, "What it has made and could not take back."),
        ];
        object(members, &["uuid", "backend"])
            .description(Some("A task that failed, in short; its other fields come along."))
            .into()
    })
}

fn status_of_task() -> Type {
    let class = datamodel().class("task").expect("the Xen-API has tasks");
    class.field("status").expect("tasks have a status").ty.clone()
}

/// Why a task failed, or null: a problem that is no request's.
pub(crate) fn of_task(parts: &mut Parts) -> Shape {
    let error = parts.schema("TaskError", |_| {
        let example = json!({
            "type": "urn:xengate:problem:vm-bad-power-state",
            "title": "VM bad power state",
            "status": 409,
            "detail": "the backend answered VM_BAD_POWER_STATE: expected \"halted\", actual \"running\"",
            "code": "VM_BAD_POWER_STATE",
            "params": ["4f1a6c5e-9f0b-4c8d-8a51-2f7de0c3b944", "halted", "running"],
            "retryable": false,
        });
        object(members(), &ALWAYS)
            .description(Some(
                "Why a task failed: what a problem says, but of the task and not of a request.",
            ))
            .examples([example])
            .into()
    });
    or_null_shape(error)
}
