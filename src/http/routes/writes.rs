//! Making, changing and destroying objects: `POST /{collection}`, `PATCH` and `DELETE
//! /{collection}/{uuid}`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::objects::{TargetQuery, class_of};
use super::read_through;
use super::tasks::started;
use crate::auth::Caller;
use crate::datamodel::Class;
use crate::http::Gateway;
use crate::http::answer;
use crate::http::collections::Collection;
use crate::http::extract::{AcceptsJson, Json, Object, ObjectUuid, PreferWait, Query, Unread};
use crate::http::problem::{Problem, Progress};
use crate::http::representation::json;
use crate::http::revision::Revision;
use crate::http::scope::Scope;
use crate::http::turns::Claim;
use crate::http::validators::{ETag, Stamp, Validators};
use crate::ops::destroy::{Disks, destroy_vm};
use crate::ops::{Reach, Settled, TaskView, Touched, create, patch, provision};

/// The query of a change.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchQuery {
    /// The backend that has the object.
    backend: Option<String>,
    /// Whether to check the change only.
    #[serde(default)]
    dry_run: bool,
}

/// The query of an end.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DestroyVmQuery {
    /// The backend that has the VM.
    backend: Option<String>,
    /// What becomes of its disks.
    #[serde(default)]
    disks: DisksChoice,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DisksChoice {
    #[default]
    Keep,
    Delete,
}

/// Makes an object.
pub async fn create(
    State(gateway): State<Arc<Gateway>>,
    Extension(collection): Extension<&'static Collection>,
    caller: Caller,
    Query(query): Query<TargetQuery>,
    prefer: PreferWait,
    _: AcceptsJson,
    body: Unread,
) -> Result<Response, Problem> {
    // Of some classes an object can be made without a word; of others it is told what is missing.
    let body = body.object().await?.unwrap_or_default();
    let reach = Scope::backend(&gateway, &caller, query.backend.as_deref()).await?;
    let class = class_of(collection);
    if class.name == "VM" && body.contains_key("template") {
        let task = provision::provision(&reach, &gateway.tasks, &body)?;
        return started(&gateway, &reach, task, prefer.0, answer::task).await;
    }
    let call = create::constructor(class).expect("only classes with a constructor are routed here");
    let arguments = create::prepare(&reach, class, call, &body).await?;
    if create::runs_as_task(call) {
        let task = reach.start(call, arguments, &gateway.tasks).await?;
        let made = |view: &TaskView| {
            let uuid = view.record.get("result").and_then(serde_json::Value::as_str);
            let uuid = uuid.and_then(|text| Uuid::try_parse(text).ok());
            let record = uuid.and_then(|uuid| mirrored(&gateway, &reach, class, uuid));
            created(&reach, collection, uuid, record, Settled::Seen)
        };
        return started(&gateway, &reach, task, prefer.0, made).await;
    }
    let done = reach.call(call, arguments).await.map_err(|error| error.in_body(&body))?;
    let settled = reach.settle(Touched::Elsewhere).await;
    let uuid = done.result.and_then(|json| serde_json::from_slice::<Uuid>(&json).ok());
    let record = match uuid {
        Some(uuid) => shown(&gateway, &reach, class, uuid).await?,
        None => None,
    };
    let response = created(&reach, collection, uuid, record, settled);
    Ok(Revision::after(&gateway, response))
}

/// The answer with a new object; of one whose record nobody can read yet, what is known of it.
fn created(
    reach: &Reach,
    collection: &Collection,
    uuid: Option<Uuid>,
    shown: Option<Shown>,
    settled: Settled,
) -> Response {
    let Some(uuid) = uuid else { return answer::settled(settled, answer::nothing()) };
    let (settled, body, etag) = match shown {
        Some((record, etag)) => (settled, record, etag),
        None => {
            let (uuid, backend) = (uuid.to_string(), reach.mirror.name());
            let known = serde_json::json!({"uuid": uuid, "backend": backend});
            (Settled::Pending, known.to_string().into_bytes(), None)
        }
    };
    let response = answer::created(collection.path, &uuid.to_string(), body);
    versioned(settled, etag, response)
}

/// Changes fields of an object.
#[expect(clippy::too_many_arguments, reason = "each is a check")]
pub async fn change(
    State(gateway): State<Arc<Gateway>>,
    Extension(collection): Extension<&'static Collection>,
    caller: Caller,
    ObjectUuid(uuid): ObjectUuid,
    Query(query): Query<PatchQuery>,
    validators: Validators,
    _: AcceptsJson,
    Json(Object(body)): Json<Object>,
) -> Result<Response, Problem> {
    let class = class_of(collection);
    let backend = query.backend.as_deref();
    let turn = gateway.turns.conditional(&validators, class.id, uuid).await;
    let target = Scope::target(&gateway, &caller, backend, class, uuid, &validators);
    let (reach, reference) = target.await?;
    let claim = Claim::new(turn, &reach);
    let before = shown(&gateway, &reach, class, uuid).await?.unwrap_or_default();
    let current: Map<String, Value> = serde_json::from_slice(&before.0).unwrap_or_default();
    let (current, body) = reach.revealed(class, &reference, current, body).await?;
    let plan = patch::plan(class, &current, &reference, &body, &reach.lookup()?)?;
    plan.check(&reach)?;
    if query.dry_run {
        let calls: Vec<&str> = plan.calls().collect();
        return Ok(json(serde_json::json!({"calls": calls}).to_string()));
    }
    let ran = plan.run(&reach).await;
    claim.done(ran.settled);
    if let Some(halted) = ran.halted {
        let patch::Halted { applied, failed, not_tried, error } = halted;
        return Err(Problem::from(error).with_progress(Progress { applied, failed, not_tried }));
    }
    let (record, etag) = shown(&gateway, &reach, class, uuid).await?.unwrap_or(before);
    let ignored = match ran.settled {
        Settled::Seen if !body.is_empty() => {
            patch::ignored(class, &body, &serde_json::from_slice(&record).unwrap_or_default())
        }
        _ => Vec::new(),
    };
    let response = answer::ignored(&ignored, versioned(ran.settled, etag, json(record)));
    Ok(Revision::after(&gateway, response))
}

/// Destroys an object.
pub async fn destroy(
    State(gateway): State<Arc<Gateway>>,
    Extension(collection): Extension<&'static Collection>,
    caller: Caller,
    ObjectUuid(uuid): ObjectUuid,
    Query(query): Query<TargetQuery>,
    validators: Validators,
    prefer: PreferWait,
) -> Result<Response, Problem> {
    let class = class_of(collection);
    let backend = query.backend.as_deref();
    let turn = gateway.turns.conditional(&validators, class.id, uuid).await;
    let target = Scope::target(&gateway, &caller, backend, class, uuid, &validators);
    let (reach, reference) = target.await?;
    let claim = Claim::new(turn, &reach);
    let call = create::destructor(class).expect("only classes with a destructor are routed here");
    if create::runs_as_task(call) {
        let task = reach.start(call, create::own(&reference), &gateway.tasks).await?;
        claim.started(&gateway, task);
        return started(&gateway, &reach, task, prefer.0, |_| answer::nothing()).await;
    }
    reach.call(call, create::own(&reference)).await?;
    let settled = reach.settle(Touched::Elsewhere).await;
    claim.done(settled);
    Ok(Revision::after(&gateway, answer::settled(settled, answer::nothing())))
}

/// Destroys a VM, and its disks if the client says so.
pub async fn destroy_machine(
    State(gateway): State<Arc<Gateway>>,
    Extension(collection): Extension<&'static Collection>,
    caller: Caller,
    ObjectUuid(uuid): ObjectUuid,
    Query(query): Query<DestroyVmQuery>,
    validators: Validators,
    prefer: PreferWait,
) -> Result<Response, Problem> {
    let class = class_of(collection);
    let backend = query.backend.as_deref();
    let turn = gateway.turns.conditional(&validators, class.id, uuid).await;
    let target = Scope::target(&gateway, &caller, backend, class, uuid, &validators);
    let (reach, reference) = target.await?;
    let claim = Claim::new(turn, &reach);
    let disks = match query.disks {
        DisksChoice::Keep => Disks::Keep,
        DisksChoice::Delete => Disks::Delete,
    };
    let task = destroy_vm(&reach, &gateway.tasks, &reference, disks).await?;
    claim.started(&gateway, task);
    started(&gateway, &reach, task, prefer.0, |_| answer::nothing()).await
}

/// The answer to a write that shows the object, with the object's tag where reads show it too.
fn versioned(settled: Settled, etag: Option<ETag>, response: Response) -> Response {
    let response = match etag.filter(|_| settled == Settled::Seen) {
        Some(etag) => etag.on(response),
        None => response,
    };
    answer::settled(settled, response)
}

/// An object's record as clients see it, and its tag if it has one.
type Shown = (Vec<u8>, Option<ETag>);

/// The object as clients see it, if it is there.
async fn shown(
    gateway: &Gateway,
    reach: &Reach,
    class: &'static Class,
    uuid: Uuid,
) -> Result<Option<Shown>, Problem> {
    if !crate::inventory::is_mirrored(class) {
        let record = read_through::record(reach, class, uuid).await?;
        return Ok(record.map(|record| (record, None)));
    }
    reach.snapshot()?;
    Ok(mirrored(gateway, reach, class, uuid))
}

/// The same of an object that is mirrored.
fn mirrored(gateway: &Gateway, reach: &Reach, class: &Class, uuid: Uuid) -> Option<Shown> {
    let reading = reach.reading().ok()?;
    reading.snapshot.object(class.id, &uuid).map(|object| {
        let etag = Stamp::of_object(&reading, object).etag(gateway);
        (object.record().json().to_vec(), Some(etag))
    })
}
