//! Making, changing and destroying objects: `POST /{collection}`, `PATCH` and `DELETE
//! /{collection}/{uuid}`.

use std::sync::Arc;

use axum::Extension;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::read_through;
use crate::Gateway;
use crate::answer;
use crate::api::catalog::collections::Collection;
use crate::api::objects::read::{TargetQuery, class_of};
use crate::api::tasks::started;
use crate::extract::{AcceptsJson, Change, Json, NamesBackend, Object, PreferWait, Target, Unread};
use crate::problem::{Problem, Progress};
use crate::representation::json;
use crate::validators::{ETag, EtagBuilder};
use crate::write_lock::WriteGuard;
use xenapi_model::{Call, Class};
use xengate_core::ops::arguments::Arguments;
use xengate_core::ops::destroy::{Disks, destroy_vm};
use xengate_core::ops::{
    Done, OpError, Reach, Settled, TaskView, Touched, create, patch, provision,
};

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

impl NamesBackend for PatchQuery {
    fn backend(&self) -> Option<&str> {
        self.backend.as_deref()
    }
}

impl NamesBackend for DestroyVmQuery {
    fn backend(&self) -> Option<&str> {
        self.backend.as_deref()
    }
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
    Extension(collection): Extension<&'static Collection>,
    change: Change<TargetQuery, ()>,
    prefer: PreferWait,
    _: AcceptsJson,
    body: Unread,
) -> Result<Response, Problem> {
    // Of some classes an object can be made without a word; of others it is told what is missing.
    let body = body.object().await?.unwrap_or_default();
    let reach = change.backend().await?;
    let gateway = &change.gateway;
    let class = class_of(collection);
    if class.name == "VM" && body.contains_key("template") {
        let task = provision::provision(&reach, &gateway.tasks, &body)?;
        change.writing.started("VM.provision", None, task);
        let made = |view: &TaskView| made(gateway, &reach, collection, view);
        return started(gateway, &reach, task, prefer.0, made).await;
    }
    let call = create::constructor(class).expect("only classes with a constructor are routed here");
    let arguments = create::prepare(&reach, class, call, &body).await?;
    if create::runs_as_task(call) {
        let work = start(gateway, &reach, call, arguments, WriteGuard::none());
        let task: Uuid = change.carry_out(&reach, &call.wire_name, |_| work).await?;
        let made = |view: &TaskView| made(gateway, &reach, collection, view);
        return started(gateway, &reach, task, prefer.0, made).await;
    }
    let work = make(&reach, call, arguments, None, WriteGuard::none());
    let done = change.carry_out(&reach, &call.wire_name, |_| work).await;
    let (done, settled) = done.map_err(|error| error.in_body(&body))?;
    let uuid = done.result.and_then(|json| serde_json::from_slice::<Uuid>(&json).ok());
    let record = match uuid {
        // It is made, whether it can be shown or not.
        Some(uuid) => shown(gateway, &reach, class, uuid).await.unwrap_or_default(),
        None => None,
    };
    Ok(change.done(created(&reach, collection, uuid, record, settled)))
}

/// The answer to a task that has made an object.
fn made(gateway: &Gateway, reach: &Reach, collection: &Collection, view: &TaskView) -> Response {
    let uuid = view.record.get("result").and_then(Value::as_str);
    let uuid = uuid.and_then(|text| Uuid::try_parse(text).ok());
    let record = uuid.and_then(|uuid| mirrored(gateway, reach, class_of(collection), uuid));
    created(reach, collection, uuid, record, Settled::Seen)
}

/// Starts a call as a task; the claim is held until that shows what it does.
pub(crate) fn start(
    gateway: &Arc<Gateway>,
    reach: &Reach,
    call: &'static Call,
    arguments: Arguments,
    claim: WriteGuard,
) -> impl Future<Output = Result<Uuid, OpError>> + Send + use<> {
    let (gateway, reach) = (gateway.clone(), reach.clone());
    async move {
        let task = reach.start(call, arguments, &gateway.tasks).await;
        match &task {
            Ok(task) => claim.started(&gateway, *task),
            Err(error) => claim.failed(error),
        }
        task
    }
}

/// Makes a call, on the object of this class and ref if it is made on one, and waits until readers
/// can see what it has done; the claim is held until then.
pub(crate) fn make(
    reach: &Reach,
    call: &'static Call,
    arguments: Arguments,
    object: Option<(&'static Class, Arc<str>)>,
    claim: WriteGuard,
) -> impl Future<Output = Result<(Done, Settled), OpError>> + Send + use<> {
    let reach = reach.clone();
    async move {
        let done = match reach.call(call, arguments).await {
            Ok(done) => done,
            Err(error) => {
                claim.failed(&error);
                return Err(error);
            }
        };
        let touched = match &object {
            Some((class, reference)) => Touched::Object(class, reference),
            None => Touched::Elsewhere,
        };
        let settled = reach.settle(touched).await;
        claim.done(settled);
        Ok((done, settled))
    }
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
pub async fn change(
    Extension(collection): Extension<&'static Collection>,
    change: Change<PatchQuery>,
    _: AcceptsJson,
    Json(Object(body)): Json<Object>,
) -> Result<Response, Problem> {
    let class = class_of(collection);
    let Target { reach, reference, claim } = change.target_of_patch(class).await?;
    let (gateway, uuid) = (&change.gateway, change.uuid());
    let before = shown(gateway, &reach, class, uuid).await?.unwrap_or_default();
    let current: Map<String, Value> = serde_json::from_slice(&before.0).unwrap_or_default();
    let (current, body) = reach.revealed(class, &reference, current, body).await?;
    let plan = patch::plan(class, &current, &reference, &body, &reach.lookup()?)?;
    plan.check(&reach)?;
    if change.query.dry_run {
        let calls: Vec<&str> = plan.calls().collect();
        return Ok(json(serde_json::json!({"calls": calls}).to_string()));
    }
    let work = |stop| {
        let reach = reach.clone();
        async move {
            let ran = plan.run(&reach, &stop).await;
            claim.done(ran.settled);
            ran.into_result()
        }
    };
    let ran = change.carry_out(&reach, &format!("PATCH {}", class.name), class, work).await;
    let settled = ran.map_err(halted)?;
    // It is done, whether it can be shown or not.
    let (settled, (record, etag)) = match shown(gateway, &reach, class, uuid).await {
        Ok(Some(shown)) => (settled, shown),
        Ok(None) | Err(_) => (Settled::Pending, before),
    };
    let ignored = match settled {
        Settled::Seen if !body.is_empty() => {
            patch::ignored(class, &body, &serde_json::from_slice(&record).unwrap_or_default())
        }
        _ => Vec::new(),
    };
    Ok(change.done(answer::ignored(&ignored, versioned(settled, etag, json(record)))))
}

/// What a client is told of a patch that came to a halt.
#[expect(clippy::boxed_local, reason = "as it comes")]
fn halted(halted: Box<patch::Halted>) -> Problem {
    let patch::Halted { applied, failed, unknown, not_tried, lost, error } = *halted;
    let problem = Problem::from(&error);
    let problem = match (applied.is_empty() && lost.is_empty(), error.code()) {
        // Others have changed the same key at the same time, and their value stands.
        (true, Some("MAP_DUPLICATE_KEY")) => problem.repeatable(),
        (true, _) => problem,
        (false, _) => problem.not_repeatable(),
    };
    problem.with_progress(Progress { applied, failed, unknown, not_tried, lost })
}

/// Destroys an object.
pub async fn destroy(
    Extension(collection): Extension<&'static Collection>,
    change: Change<TargetQuery>,
    prefer: PreferWait,
) -> Result<Response, Problem> {
    let class = class_of(collection);
    let Target { reach, reference, claim } = change.target(class).await?;
    let gateway = &change.gateway;
    let call = create::destructor(class).expect("only classes with a destructor are routed here");
    if create::runs_as_task(call) {
        let work = start(gateway, &reach, call, create::own(&reference), claim);
        let task: Uuid = change.carry_out(&reach, &call.wire_name, class, |_| work).await?;
        return started(gateway, &reach, task, prefer.0, |_| answer::nothing()).await;
    }
    let work = make(&reach, call, create::own(&reference), None, claim);
    let (_, settled) = change.carry_out(&reach, &call.wire_name, class, |_| work).await?;
    Ok(change.done(answer::settled(settled, answer::nothing())))
}

/// Destroys a VM, and its disks if the client says so.
pub async fn destroy_machine(
    Extension(collection): Extension<&'static Collection>,
    change: Change<DestroyVmQuery>,
    prefer: PreferWait,
) -> Result<Response, Problem> {
    let class = class_of(collection);
    let Target { reach, reference, claim } = change.target(class).await?;
    let gateway = &change.gateway;
    let disks = match change.query.disks {
        DisksChoice::Keep => Disks::Keep,
        DisksChoice::Delete => Disks::Delete,
    };
    let work = {
        let (gateway, reach) = (gateway.clone(), reach.clone());
        async move {
            let task = destroy_vm(&reach, &gateway.tasks, &reference, disks).await;
            match &task {
                Ok(task) => claim.started(&gateway, *task),
                Err(error) => claim.failed(error),
            }
            task
        }
    };
    let task: Uuid = change.carry_out(&reach, "VM.destroy", class, |_| work).await?;
    started(gateway, &reach, task, prefer.0, |_| answer::nothing()).await
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
    if !xenapi_mirror::inventory::is_mirrored(class) {
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
        let etag = EtagBuilder::of_object(&reading, object).etag(gateway);
        (object.record().json().to_vec(), Some(etag))
    })
}
