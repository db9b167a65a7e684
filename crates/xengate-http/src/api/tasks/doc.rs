//! Tasks: their schema, and what can be done about them.

use serde_json::{Value, json};
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, SchemaType};
use utoipa::openapi::{RefOr, Response};

use crate::api::actions::doc::done;
use crate::api::actions::results;
use crate::api::catalog::collections::Collection;
use crate::api::objects::{read_doc, records_doc, write_doc};
use crate::openapi::answers;
use crate::openapi::answers::answer;
use crate::openapi::description::Description;
use crate::openapi::endpoint::Endpoint;
use crate::openapi::failures;
use crate::openapi::parts::Parts;
use crate::openapi::shapes::{Shape, array, formatted, object, or_null_shape, string};
use crate::openapi::{parameters, problem};
use xenapi_model::{Class, Type, datamodel, describe};

/// A task: the Xen-API's record, with the result typed and the failure as a problem.
pub(crate) fn schema(parts: &mut Parts) -> Shape {
    let class = class();
    parts.schema(&records_doc::component_name(&class.name), |parts| {
        let left = left_behind(parts);
        let left_text = "What a failed flow of calls has made and could not take back. Absent when \
                         there is nothing.";
        let result = describe(&class.name).and_then(|words| words.fields.get("result"));
        let result = result.map_or("", String::as_str);
        let error_text = "Why it failed, or that it was cancelled; null otherwise.";
        let members = [
            ("result", anything(), result, Value::Null),
            ("error", problem::of_task(parts), error_text, Value::Null),
            ("left_behind", left, left_text, json!([])),
        ];
        let record = records_doc::record_with(parts, class, &members);
        records_doc::with_expanded(parts, record).into()
    })
}

fn anything() -> Shape {
    ObjectBuilder::new().schema_type(SchemaType::AnyValue).into()
}

fn class() -> &'static Class {
    datamodel().class("task").expect("the Xen-API has tasks")
}

pub(crate) fn left_behind(parts: &mut Parts) -> Shape {
    let item = parts.schema("LeftBehind", |_| {
        object(
            [
                ("class", string(), "The Xen-API class of what is still there."),
                ("uuid", or_null_shape(formatted("uuid")), "Which; null when that is not known."),
                ("why", string(), "Why it could not be taken back."),
            ],
            &["class", "uuid", "why"],
        )
        .into()
    });
    array(item)
}

/// 202: it runs.
pub(crate) fn started(parts: &mut Parts) -> (u16, RefOr<Response>) {
    let response = parts.response("TaskStarted", |parts| {
        let text = "A task does it, or still does when the wait is over; it is at `Location`.";
        let body = schema(parts);
        let started = answer(parts, text, Some(body))
            .header_ref("Location", answers::location(parts))
            .header_ref("Preference-Applied", answers::preference_applied(parts));
        answers::revision(parts, started).build()
    });
    (202, response)
}

/// 200: it was waited for, and is done.
pub(crate) fn ended(parts: &mut Parts, result: Option<&Type>) -> (u16, RefOr<Response>) {
    let name = result.map(results::name).unwrap_or_default();
    let response = parts.response(&format!("{name}TaskSucceeded"), |parts| {
        let text = "The task was waited for and has succeeded. One that fails answers its problem.";
        let body = match result {
            Some(ty) => with_result(parts, ty),
            None => schema(parts),
        };
        let ended = answer(parts, text, Some(body))
            .header_ref("Preference-Applied", answers::preference_applied(parts));
        answers::revision(parts, ended).build()
    });
    (200, response)
}

/// A task that has a result of this type once it has succeeded.
fn with_result(parts: &mut Parts, ty: &Type) -> Shape {
    let task = schema(parts);
    parts.schema(&format!("{}Task", results::name(ty)), |parts| {
        let text = format!("What the call returned: `{}`.", ty.notation(datamodel()));
        let result = records_doc::of_type(parts, ty);
        let narrowed = object([("result", result, text.as_str())], &["result"]);
        AllOfBuilder::new().item(task).item(narrowed).into()
    })
}

/// What tasks have that other objects have not: those that the gateway started are among them.
pub(crate) fn endpoints(collection: &'static Collection) -> Vec<Endpoint> {
    let cancelled = |parts: &mut Parts| Description {
        description: Some("Whether and when it does shows in the task.".into()),
        ..changed(parts, "Ask a task to end before it is done")
    };
    let destroyed = |parts: &mut Parts| Description {
        description: Some(
            "Of a task that the gateway started, what it came to is forgotten too. One that a \
             flow of calls still works on is a 409: cancel it first."
                .into(),
        ),
        ..changed(parts, "Forget a task")
    };
    let cancel = "/tasks/{uuid}/actions/cancel";
    vec![
        read_doc::list(collection, super::list),
        read_doc::object(collection, super::get),
        write_doc::change(collection),
        Endpoint::post(cancel, "cancelTask", "task", super::cancel, cancelled)
            .makes(["task.cancel"]),
        Endpoint::delete("/tasks/{uuid}", "destroyTask", "task", super::destroy, destroyed)
            .makes(["task.destroy"]),
    ]
}

fn changed(parts: &mut Parts, summary: &str) -> Description {
    let mut parameters = parameters::of_object(parts);
    parameters.push(parameters::if_match(parts));
    let failures = [&failures::OF_CALL[..], &[failures::PRECONDITION_FAILED]].concat();
    let done = done(parts);
    Description { parameters, ..Description::of(summary, answers::with(parts, done, &failures)) }
}
