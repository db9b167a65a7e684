//! `/tasks`: the pools' tasks, and what became of those that the gateway started.

pub mod doc;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use http::HeaderValue;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::Gateway;
use crate::answer;
use crate::answer::task_document;
use crate::api::objects::read::TargetQuery;
use crate::extract::{AcceptsJson, Authenticated, Change, LONGEST_WAIT, NoBody, ObjectUuid, Query};
use crate::in_flight::{NoPlace, waiting};
use crate::listing::{Asked, Listing, Projection};
use crate::page::{BackendSlice, Objects};
use crate::problem::{Code, Problem};
use crate::representation::json;
use crate::revision::{Revision, reached};
use crate::scope::Scope;
use crate::validators::{EtagBuilder, Preconditions};
use crate::write_lock::WriteGuard;
use xenapi_mirror::inventory::{Object, Reading, of_document};
use xenapi_model::{Class, datamodel};
use xengate_core::auth::Caller;
use xengate_core::ops::{OpError, Reach, TaskVersion, TaskView, Touched};

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
    /// Which fields.
    fields: Option<String>,
    /// With which other objects.
    expand: Option<String>,
}

/// A page of the tasks that the pools know and of those the gateway keeps the outcome of.
pub async fn list(
    State(gateway): State<Arc<Gateway>>,
    Authenticated(caller): Authenticated,
    validators: Preconditions,
    asked: Asked,
) -> Result<Response, Problem> {
    let listing = Listing::new("tasks", class(), asked)?;
    reached(&gateway, listing.min_revision()).await?;
    let reads = listing.reads();
    let scope = Scope::of_classes(&gateway, &caller, listing.backend(), reads).await?;
    let (mut tasks, mut versions) = (Vec::new(), Vec::new());
    for (backend, _) in scope.readings() {
        let (objects, of_these) = tasks_of(&gateway, &Scope::reach(&gateway, &caller, backend)?)?;
        tasks.push(objects);
        versions.push(of_these);
    }
    // Whose tasks they are shapes the list, by way of which these are.
    let stamp = EtagBuilder::of_list(&scope, "tasks").shaped(&versions);
    let etag = listing.stamped(stamp, scope.snapshots()).etag(&gateway);
    let (none, mut tasks) = (BTreeMap::new(), tasks.iter());
    let these = |_| Objects::These(tasks.next().unwrap_or(&none));
    let shelves: Vec<BackendSlice<'_>> = scope.shelves(these).collect();
    let known = (&validators, &etag);
    let mut response = listing.answer(&gateway, &caller, known, &shelves, scope.partial()).await?;
    scope.mark(&mut response);
    Ok(response)
}

fn class() -> &'static Class {
    datamodel().class("task").expect("the Xen-API has tasks")
}

/// Tasks by uuid.
type Tasks = BTreeMap<Uuid, Arc<Object>>;

/// The tasks that the caller may see on a backend, as objects and by their versions.
fn tasks_of(
    gateway: &Gateway,
    reach: &Reach,
) -> Result<(Tasks, Vec<(Uuid, TaskVersion)>), Problem> {
    let snapshot = reach.snapshot()?;
    let known = snapshot
        .class(class().id)
        .iter()
        .filter_map(|task| gateway.tasks.view(&reach.mirror, task.uuid(), &reach.session));
    let kept = gateway.tasks.kept(&reach.mirror, &reach.session);
    let (mut objects, mut versions) = (BTreeMap::new(), Vec::new());
    for view in known.chain(kept) {
        versions.push((view.uuid, view.version));
        objects.insert(view.uuid, object(reach, &view));
    }
    versions.sort_unstable_by_key(|(uuid, _)| *uuid);
    Ok((objects, versions))
}

fn object(reach: &Reach, view: &TaskView) -> Arc<Object> {
    of_document(class(), view.uuid, reach.mirror.name(), &task_document(view))
}

/// One task, once it has ended or the wait is over.
pub async fn get(
    State(gateway): State<Arc<Gateway>>,
    Authenticated(caller): Authenticated,
    ObjectUuid(uuid): ObjectUuid,
    _: AcceptsJson,
    validators: Preconditions,
    Query(query): Query<TaskQuery>,
) -> Result<Response, Problem> {
    if query.wait.is_some_and(|wait| wait > LONGEST_WAIT) {
        let detail = format!("wait: whole seconds, {LONGEST_WAIT} at most");
        return Err(Problem::new(Code::BadParameter, detail).with_params(["wait"]));
    }
    let showing = Projection::new(class(), &query.fields, &query.expand)?;
    let patience = Duration::from_secs(query.wait.unwrap_or(0));
    reached(&gateway, query.min_revision.as_ref()).await?;
    let reach = find(&gateway, &caller, query.backend.as_deref(), uuid, None).await?;
    let waited = waited(&gateway, &reach, uuid, patience).await?.ok_or_else(none)?;
    // Of the revision that the answer names, not of the one at which the wait began.
    let scope = Scope::of(&gateway, &caller, Some(reach.mirror.name())).await?;
    let view = gateway.tasks.view(&reach.mirror, uuid, &reach.session).unwrap_or(waited);
    let snapshot = reach.snapshot()?;
    let stamp = showing.stamped(stamp_of(&reach, &view), &snapshot, class());
    let etag = stamp.etag(&gateway);
    let mut response = match validators.not_modified(&etag)? {
        Some(response) => response,
        None => {
            let object = object(&reach, &view);
            let document = showing.document(&gateway, &caller, &snapshot, &object).await?;
            etag.on(json(document))
        }
    };
    scope.mark(&mut response);
    Ok(response)
}

/// The stamp of a task. It has no revision of its own: some of them no mirror ever shows.
fn stamp_of(reach: &Reach, view: &TaskView) -> EtagBuilder {
    EtagBuilder::of(&(reach.mirror.name(), view.uuid, view.version))
}

/// Asks a task to end before it is done.
pub async fn cancel(change: Change<TargetQuery>, _: NoBody) -> Result<Response, Problem> {
    let (reach, claim) = target(&change).await?;
    let work = {
        let (gateway, reach, uuid) = (change.gateway.clone(), reach.clone(), change.uuid());
        async move {
            let done = gateway.tasks.cancel(&reach, uuid).await;
            match &done {
                Ok(()) => claim.started(&gateway, uuid),
                Err(error) => claim.failed(error),
            }
            done
        }
    };
    change.carry_out::<_, OpError, _>(&reach, "task.cancel", class(), |_| work).await?;
    Ok(change.done(answer::nothing()))
}

/// The task that is to be changed, if it is as the client wants it.
async fn target(change: &Change<TargetQuery>) -> Result<(Reach, WriteGuard), Problem> {
    let turn = change.turn(class().id).await?;
    let (backend, conditions) = (change.query.backend.as_deref(), Some(&change.validators));
    let reach = find(&change.gateway, &change.caller, backend, change.uuid(), conditions).await?;
    let claim = WriteGuard::new(turn, &reach);
    Ok((reach, claim))
}

/// Forgets a task.
pub async fn destroy(change: Change<TargetQuery>) -> Result<Response, Problem> {
    let (reach, claim) = target(&change).await?;
    let work = {
        let (gateway, reach, uuid) = (change.gateway.clone(), reach.clone(), change.uuid());
        async move {
            if let Err(error) = gateway.tasks.destroy(&reach, uuid).await {
                claim.failed(&error);
                return Err(error);
            }
            let settled = reach.settle(Touched::Elsewhere).await;
            claim.done(settled);
            Ok::<_, OpError>(settled)
        }
    };
    let settled = change.carry_out(&reach, "task.destroy", class(), |_| work).await?;
    Ok(change.done(answer::settled(settled, answer::nothing())))
}

/// Answers for a task that was started: with the task, or with what it came to when the client
/// waits for that and it does not take longer.
pub(crate) async fn started(
    gateway: &Gateway,
    reach: &Reach,
    task: Uuid,
    wait: Option<Duration>,
    success: impl FnOnce(&TaskView) -> Response,
) -> Result<Response, Problem> {
    let (view, wait) = match waited(gateway, reach, task, wait.unwrap_or_default()).await {
        Ok(view) => (view, wait),
        // It has been started: that there is no place to wait for it does not undo that.
        Err(_) => (gateway.tasks.view(&reach.mirror, task, &reach.session), None),
    };
    // It was begun, so it is never nothing: somebody else may have had it forgotten meanwhile.
    let view = view.ok_or_else(|| Problem::from(OpError::Lost).with_params([task.to_string()]))?;
    let waited = wait.is_some() && view.status.is_final();
    if waited && let Some(problem) = answer::task_problem(&view) {
        return Err(problem.with_task(raw(&view)));
    }
    let mut response = if waited { success(&view) } else { answer::accepted(&view) };
    if let Some(wait) = wait
        && let Ok(value) = HeaderValue::from_str(&format!("wait={}", wait.as_secs()))
    {
        response.headers_mut().insert("preference-applied", value);
    }
    Ok(Revision::after(gateway, response))
}

/// A task, once it has ended or the wait is over; nobody waits any longer once the gateway is about
/// to end.
async fn waited(
    gateway: &Gateway,
    reach: &Reach,
    task: Uuid,
    patience: Duration,
) -> Result<Option<TaskView>, NoPlace> {
    let (mirror, session) = (&reach.mirror, &reach.session);
    let wait = gateway.tasks.wait(mirror, task, session, patience);
    let wait = gateway.stopping.run_until_cancelled(wait);
    let waited = if patience.is_zero() { wait.await } else { waiting(wait).await? };
    Ok(waited.unwrap_or_else(|| gateway.tasks.view(mirror, task, session)))
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
    conditions: Option<&Preconditions>,
) -> Result<Reach, Problem> {
    let scope = Scope::of(gateway, caller, backend).await?;
    let wider;
    let mut found = of_uuid(gateway, caller, &scope, uuid)?;
    if found.is_empty() {
        // A backend that is asked for its own tasks has perhaps not been.
        wider = Scope::of_classes(gateway, caller, backend, [class().id]).await?;
        found = of_uuid(gateway, caller, &wider, uuid)?;
    }
    match (found.pop(), found.is_empty()) {
        (Some((reach, reading, view)), true) => {
            if let Some(conditions) = conditions {
                conditions.permit_version(reading, || stamp_of(&reach, &view).etag(gateway))?;
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

/// The tasks of this uuid, each with the caller on its backend and what is mirrored of that.
fn of_uuid<'a>(
    gateway: &Gateway,
    caller: &Caller,
    scope: &'a Scope,
    uuid: Uuid,
) -> Result<Vec<(Reach, &'a Reading, TaskView)>, Problem> {
    let mut found = Vec::new();
    for (name, reading) in scope.readings() {
        let reach = Scope::reach(gateway, caller, name)?;
        if let Some(view) = gateway.tasks.view(&reach.mirror, uuid, &reach.session) {
            found.push((reach, &**reading, view));
        }
    }
    Ok(found)
}

fn none() -> Problem {
    Problem::from(OpError::NotFound("task"))
}
