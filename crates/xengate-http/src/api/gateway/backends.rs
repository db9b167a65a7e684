//! `GET /backends`: which pools there are, what they are and how their mirrors stand.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use crate::Gateway;
use crate::extract::{AcceptsJson, Authenticated, NoQuery};
use crate::problem::Problem;
use crate::representation::json;
use xenapi_client::{HostSoftware, Pace};
use xenapi_mirror::inventory::{Mirror, Object, Snapshot, is_mirrored};
use xenapi_model::{Class, datamodel};
use xengate_core::ops::actions::actions;
use xengate_core::ops::{Lacking, Version};

/// All backends.
#[derive(Debug, Serialize)]
pub struct BackendList {
    /// In the order of their names.
    pub items: Vec<BackendView>,
    /// How many there are.
    pub total: usize,
}

/// One backend. What its objects tell is there only for callers who may read them.
#[derive(Debug, Serialize)]
pub struct BackendView {
    /// The name it is configured under.
    pub name: String,
    /// What it speaks; `auto` while that is not known.
    pub kind: &'static str,
    /// `waiting`, `syncing`, `live`, `stale` or `down`.
    pub state: &'static str,
    /// Whether it answered when it was last asked anything.
    pub reachable: bool,
    /// Why the state is not better.
    pub reason: Option<String>,
    /// Whether the caller is logged in to it.
    pub logged_in: bool,
    /// The product it runs: `XCP-ng`.
    pub product: Option<String>,
    /// That product's version.
    pub version: Option<String>,
    /// The version of the Xen-API it speaks: `2.23`.
    pub api_version: Option<String>,
    /// The pool's uuid.
    pub pool: Option<String>,
    /// What its kind can do: `events`, `tasks`, `roles`.
    pub capabilities: Vec<&'static str>,
    /// What its version has not.
    pub lacks: Option<Lacking>,
    /// How many objects of each class are mirrored; classes without any are left out.
    pub objects: Option<BTreeMap<&'static str, usize>>,
}

/// All backends, those the caller is not logged in to included.
pub async fn list(
    State(gateway): State<Arc<Gateway>>,
    Authenticated(caller): Authenticated,
    _: AcceptsJson,
    _: NoQuery,
) -> Result<Response, Problem> {
    let items: Vec<BackendView> = gateway
        .inventory
        .mirrors()
        .values()
        .map(|mirror| BackendView::of(mirror, caller.access(mirror.name()).is_ok()))
        .collect();
    let list = BackendList { total: items.len(), items };
    Ok(json(serde_json::to_vec(&list).expect("strings and numbers are always JSON")))
}

impl BackendView {
    fn of(mirror: &Mirror, logged_in: bool) -> Self {
        let status = mirror.status();
        let reading = mirror.reading().filter(|_| logged_in);
        if let Some(host) = datamodel().class("host").filter(|_| logged_in) {
            mirror.note(&[host.id]);
        }
        let snapshot = reading.as_ref().map(|reading| &*reading.snapshot);
        let software = snapshot
            .and_then(coordinator)
            .map(|host| HostSoftware::of_record(host.record().json()))
            .unwrap_or_default();
        let capabilities = mirror.backend().capabilities().iter();
        Self {
            name: mirror.name().to_owned(),
            kind: mirror.backend().description().kind.name(),
            state: status.state.name(),
            reachable: status.reachable,
            reason: status.reason,
            logged_in,
            api_version: software.api_version(),
            product: software.product,
            version: software.version,
            pool: snapshot.and_then(pool).map(|pool| pool.uuid().to_string()),
            capabilities: capabilities.map(|capability| capability.name()).collect(),
            lacks: snapshot.map(|snapshot| lacking(mirror, snapshot)),
            objects: snapshot.map(counts),
        }
    }
}

fn pool(snapshot: &Snapshot) -> Option<&Arc<Object>> {
    snapshot.class(datamodel().class("pool")?.id).iter().next()
}

/// The pool's coordinator; without a pool, any host.
fn coordinator(snapshot: &Snapshot) -> Option<&Arc<Object>> {
    let hosts = snapshot.class(datamodel().class("host")?.id);
    pool(snapshot)
        .and_then(|pool| hosts.get(&pool.record().uuid(pool.class(), "master")?))
        .or_else(|| hosts.iter().next())
}

fn counts(snapshot: &Snapshot) -> BTreeMap<&'static str, usize> {
    let mirrored = datamodel().classes.iter().filter(|class| is_mirrored(class));
    mirrored
        .map(|class| (class.name.as_str(), snapshot.class(class.id).len()))
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// What the backend has not: by its kind, or else by its version.
fn lacking(mirror: &Mirror, snapshot: &Snapshot) -> Lacking {
    if !mirror.is_polled() {
        return Version::of(snapshot).lacking(snapshot);
    }
    let backend = mirror.backend();
    let read = |class: &Class| {
        let mut paces = [Pace::Quick, Pace::Slow].into_iter();
        paces.any(|pace| backend.polls(pace).iter().any(|of| of.contains(&class.name.as_str())))
    };
    let classes = datamodel().classes.iter().filter(|class| is_mirrored(class));
    let (there, missing): (Vec<_>, Vec<_>) = classes.partition(|class| read(class));
    let fields = there.iter().flat_map(|class| {
        let fields = class.fields.iter().map(|field| field.name.as_str());
        fields.map(|field| (class.name.as_str(), field))
    });
    let fields = fields.filter(|(class, field)| backend.has_field(class, field) == Some(false));
    let fields = fields.map(|(class, field)| format!("{class}.{field}")).collect();
    let calls = there.into_iter().flat_map(actions).map(|action| action.call.wire_name.as_str());
    Lacking {
        classes: missing.into_iter().map(|class| class.name.as_str()).collect(),
        fields,
        calls: calls.filter(|call| backend.has(call) == Some(false)).collect(),
    }
}
