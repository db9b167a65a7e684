//! `/tasks`: the pools' tasks, and what became of those that the gateway started.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use http::HeaderValue;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::objects::{ListQuery, TargetQuery};
use crate::auth::Caller;
use crate::http::Gateway;
use crate::http::answer::{self, task_document};
use crate::http::extract::{AcceptsJson, LONGEST_WAIT, ObjectUuid, Query};
use crate::http::page::{self, Position};
use crate::http::problem::{Code, Problem};
use crate::http::representation::json;
use crate::http::revision::{Revision, reached};
use crate::http::scope::Scope;
use crate::http::validators::{ETag, Stamp, Validators};
use crate::ops::{OpError, Reach, TaskView};

/// The query of one task.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskQuery {
    /// The backend that has it.
    backend: Option<String>,
    /// How many seconds to wait for it to end.
    wait: Option<u64>,
    /// What the answer must show at least.
    min_revision: Option<Revision>,
}

/// A page of the tasks that the pools know and of those the gateway keeps the outcome of.
pub async fn list(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    _: AcceptsJson,
    validators: Validators,
    Query(query): Query<ListQuery>,
) -> Result<Response, Problem> {
    let limit = page::limit(query.limit)?;
    let identity = format!("tasks?{}", query.backend.as_deref().unwrap_or_default());
    let from = query.cursor.map(|cursor| page::position(&identity, &cursor)).transpose()?;
    reached(&gateway, query.min_revision.as_ref()).await?;
    let scope = Scope::of(&gateway, &caller, query.backend.as_deref()).await?;
    let mut tasks: Vec<(Position, TaskView)> = Vec::new();
    for (backend, _) in scope.readings() {
        let reach = Scope::reach(&gateway, &caller, backend)?;
        let class = crate::datamodel::datamodel().class("task").expect("the Xen-API has tasks");
        let snapshot = reach.snapshot()?;
        let known = snapshot
            .class(class.id)
            .iter()
            .filter_map(|task| gateway.tasks.view(&reach.mirror, task.uuid(), &reach.session));
        for view in known.chain(gateway.tasks.kept(&reach.mirror, &reach.session)) {
            let position = Position { backend: backend.to_string(), uuid: view.uuid };
            tasks.push((position, view));
        }
    }
    tasks.sort_by(|(one, _), (other, _)| {
        (&one.backend, one.uuid).cmp(&(&other.backend, other.uuid))
    });
    // Whose tasks they are shapes the list, by way of which these are.
    let versions: Vec<_> = tasks.iter().map(|(position, view)| (position, view.version)).collect();
    let stamp = Stamp::of_list(&scope, "tasks").shaped(&(versions, limit, &from));
    let etag = stamp.etag(&gateway);
    if let Some(mut response) = validators.not_modified(&etag)? {
        scope.mark(&mut response);
        return Ok(response);
    }
    let total = tasks.len();
    let start = from.map_or(0, |from| {
        tasks.partition_point(|(at, _)| (&at.backend, at.uuid) <= (&from.backend, from.uuid))
    });
    let more = tasks.len() > start + limit;
    let page = &tasks[start..(start + limit).min(total)];
    let next = page.last().filter(|_| more).map(|(position, _)| page::cursor(&identity, position));
    let items: Vec<Value> =
        page.iter().map(|(_, task)| Value::Object(task_document(task))).collect();
    let mut document = serde_json::json!({"items": items, "total": total, "next": next});
    if !scope.partial().is_empty() {
        document["partial"] = scope.partial().into();
    }
    let mut response = etag.on(json(document.to_string()));
    scope.mark(&mut response);
    Ok(response)
}

/// One task, once it has ended or the wait is over.
pub async fn get(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    ObjectUuid(uuid): ObjectUuid,
    _: AcceptsJson,
    validators: Validators,
    Query(query): Query<TaskQuery>,
) -> Result<Response, Problem> {
    if query.wait.is_some_and(|wait| wait > LONGEST_WAIT) {
        let detail = format!("wait: whole seconds, {LONGEST_WAIT} at most");
        return Err(Problem::new(Code::BadParameter, detail).with_params(["wait"]));
    }
    let patience = Duration::from_secs(query.wait.unwrap_or(0));
    reached(&gateway, query.min_revision.as_ref()).await?;
    let reach = find(&gateway, &caller, query.backend.as_deref(), uuid, None).await?;
    let view = gateway.tasks.wait(&reach.mirror, uuid, &reach.session, patience).await;
    let waited = view.ok_or_else(none)?;
    // Of the revision that the answer names, not of the one at which the wait began.
    let scope = Scope::of(&gateway, &caller, Some(reach.mirror.name())).await?;
    let view = gateway.tasks.view(&reach.mirror, uuid, &reach.session).unwrap_or(waited);
    let etag = etag_of(&gateway, &reach, &view);
    let mut response = validators.answer(&etag, || answer::task(&view))?;
    scope.mark(&mut response);
    Ok(response)
}

/// The tag of a task. It has no revision of its own: some of them no mirror ever shows.
fn etag_of(gateway: &Gateway, reach: &Reach, view: &TaskView) -> ETag {
    Stamp::of(&(reach.mirror.name(), view.uuid, view.version)).etag(gateway)
}

/// Asks a task to end before it is done.
pub async fn cancel(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    ObjectUuid(uuid): ObjectUuid,
    validators: Validators,
    Query(query): Query<TargetQuery>,
) -> Result<Response, Problem> {
    let backend = query.backend.as_deref();
    let reach = find(&gateway, &caller, backend, uuid, Some(&validators)).await?;
    gateway.tasks.cancel(&reach, uuid).await?;
    Ok(Revision::after(&gateway, answer::nothing()))
}

/// Forgets a task.
pub async fn destroy(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    ObjectUuid(uuid): ObjectUuid,
    validators: Validators,
    Query(query): Query<TargetQuery>,
) -> Result<Response, Problem> {
    let backend = query.backend.as_deref();
    let reach = find(&gateway, &caller, backend, uuid, Some(&validators)).await?;
    gateway.tasks.destroy(&reach, uuid).await?;
    let settled = reach.settle(crate::ops::Touched::Elsewhere).await;
    Ok(Revision::after(&gateway, answer::settled(settled, answer::nothing())))
}

/// Answers for a task that was started: with the task, or with what it came to when the client
/// waits for that and it does not take longer.
pub(super) async fn started(
    gateway: &Gateway,
    reach: &Reach,
    task: Uuid,
    wait: Option<Duration>,
    success: impl FnOnce(&TaskView) -> Response,
) -> Result<Response, Problem> {
    let patience = wait.unwrap_or_default();
    let view = gateway.tasks.wait(&reach.mirror, task, &reach.session, patience).await;
    let view = view.ok_or_else(none)?;
    let waited = wait.is_some() && view.status.is_final();
    if let (true, Some(error)) = (waited, &view.error) {
        return Err(Problem::from(&**error).with_task(raw(&view)));
    }
    let mut response = if waited { success(&view) } else { answer::accepted(&view) };
    if let Some(wait) = wait
        && let Ok(value) = HeaderValue::from_str(&format!("wait={}", wait.as_secs()))
    {
        response.headers_mut().insert("preference-applied", value);
    }
    Ok(Revision::after(gateway, response))
}

fn raw(view: &TaskView) -> Box<serde_json::value::RawValue> {
    let document = Value::Object(task_document(view)).to_string();
    serde_json::value::RawValue::from_string(document).expect("a document is JSON")
}

/// The caller on the one backend that has this task, or that the gateway started it on. With
/// `conditions`, a task that is not as the client wants it is a problem.
async fn find(
    gateway: &Gateway,
    caller: &Caller,
    backend: Option<&str>,
    uuid: Uuid,
    conditions: Option<&Validators>,
) -> Result<Reach, Problem> {
    let scope = Scope::of(gateway, caller, backend).await?;
    let mut found = Vec::new();
    for (name, reading) in scope.readings() {
        let reach = Scope::reach(gateway, caller, name)?;
        if let Some(view) = gateway.tasks.view(&reach.mirror, uuid, &reach.session) {
            found.push((reach, reading, view));
        }
    }
    match (found.pop(), found.is_empty()) {
        (Some((reach, reading, view)), true) => {
            if let Some(conditions) = conditions {
                conditions.permit_version(reading, || etag_of(gateway, &reach, &view))?;
            }
            Ok(reach)
        }
        (Some(_), false) => Err(Problem::new(
            Code::AmbiguousUuid,
            "several backends have a task of this uuid; say which with ?backend=",
        )),
        (None, _) => Err(none()),
    }
}

fn none() -> Problem {
    Problem::from(OpError::NotFound("task"))
}
