//! Answers to writes.

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::problem::Problem;
use crate::representation::json as json_answer;
use xengate_core::ops::{Done, Settled, TaskView};

/// Says that readers may not see yet what was done.
static XEN_REVISION_PENDING: HeaderName = HeaderName::from_static("xen-revision-pending");

/// Names the fields that the backend has taken and not changed as it was asked to.
static XEN_IGNORED: HeaderName = HeaderName::from_static("xen-ignored");

/// An answer without a body.
pub fn nothing() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// The result of a call, or nothing when it has none.
pub fn result(done: Done) -> Response {
    match done.result {
        None => nothing(),
        Some(value) => json_answer([b"{\"result\":", value.as_slice(), b"}"].concat()),
    }
}

/// The same answer, with word of whether readers can see what was done.
pub fn settled(settled: Settled, mut response: Response) -> Response {
    if settled == Settled::Pending {
        let value = HeaderValue::from_static("true");
        response.headers_mut().insert(XEN_REVISION_PENDING.clone(), value);
    }
    response
}

/// The same answer, with word of the fields that the backend does not show as they were asked for.
pub fn ignored(fields: &[&str], mut response: Response) -> Response {
    if let Some(value) = Some(fields.join(", ")).filter(|fields| !fields.is_empty())
        && let Ok(value) = HeaderValue::from_str(&value)
    {
        response.headers_mut().insert(XEN_IGNORED.clone(), value);
    }
    response
}

/// A new object.
pub fn created(path: &str, uuid: &str, body: Vec<u8>) -> Response {
    let mut response = json_answer(body);
    *response.status_mut() = StatusCode::CREATED;
    locate(&mut response, &format!("/{path}/{uuid}"));
    response
}

/// A task that runs.
pub fn accepted(view: &TaskView) -> Response {
    let mut response = task(view);
    *response.status_mut() = StatusCode::ACCEPTED;
    locate(&mut response, &format!("/tasks/{}", view.uuid));
    response
}

/// A task.
pub fn task(view: &TaskView) -> Response {
    json_answer(Value::Object(task_document(view)).to_string())
}

/// Why a task failed. It was begun: that asking again is safe only the backend's word can tell, that
/// it refused, and then only if nothing is left of what was done before.
pub fn task_problem(view: &TaskView) -> Option<Problem> {
    let error = view.error.as_deref()?;
    let problem = Problem::from(error);
    let refused = error.code().is_some() && view.left_behind.is_empty();
    Some(if refused { problem } else { problem.not_repeatable() })
}

/// A task's document: its record with the typed result, and why it failed.
pub fn task_document(view: &TaskView) -> Map<String, Value> {
    let mut document = view.record.clone();
    let error = task_problem(view).map(|problem| {
        let problem = problem.document("");
        let mut problem: Map<String, Value> = serde_json::from_slice(&problem).unwrap_or_default();
        // It is not this request that failed.
        problem.remove("request_id");
        Value::Object(problem)
    });
    document.insert("error".to_owned(), error.unwrap_or_default());
    if !view.left_behind.is_empty() {
        let left = view.left_behind.iter().map(|left| {
            json!({"class": left.class, "uuid": left.uuid.map(|uuid| uuid.to_string()), "why": left.why})
        });
        document.insert("left_behind".to_owned(), left.collect());
    }
    document
}

fn locate(response: &mut Response, path: &str) {
    if let Ok(value) = HeaderValue::from_str(path) {
        response.headers_mut().insert(header::LOCATION, value);
    }
}
