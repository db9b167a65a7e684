//! The table of contents: every route.

use std::sync::Arc;

use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Router};

use super::Gateway;
use super::collections::{self, Source, View};
use super::relations::relations;
use super::routes::{
    actions, backends, docs, events, health, metrics, objects, permissions, read_through, related,
    sessions, tasks, vms, writes, xm_list,
};
use super::shell::{method_not_allowed, not_found};
use crate::datamodel::datamodel;
use crate::ops::actions::On;
use crate::ops::actions::actions as actions_of;
use crate::ops::{create, patch};

/// Every route of the gateway. What happens to all of them alike is the shell's.
pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .merge(docs::router())
        .route("/sessions", post(sessions::create))
        .route("/sessions/current", get(sessions::current).delete(sessions::end))
        .route("/sessions/current/backends", post(sessions::add_backends))
        .route("/backends", get(backends::list))
        .route("/events", get(events::stream))
        .route("/events/tickets", post(events::ticket))
        .merge(collections(&gateway))
        .merge(calls_only())
        .route("/tasks/{uuid}/actions/cancel", post(tasks::cancel))
        .route("/sessions/current/permissions", get(permissions::list))
        .merge(related())
        .merge(measured())
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(gateway)
}

/// The collections: every class that has objects, with what the datamodel lets clients do to them.
fn collections(gateway: &Arc<Gateway>) -> Router<Arc<Gateway>> {
    collections::collections().iter().fold(Router::new(), |router, collection| {
        let class = datamodel().class(collection.class).expect("collections name known classes");
        let path = |rest: &str| format!("/{}{rest}", collection.path);
        let all = match (collection.class, collection.source) {
            ("task", _) => get(tasks::list),
            // The Xen-API does not list users.
            _ if !class.get_all && !class.gen_events => MethodRouter::new(),
            (_, Source::Mirror) => get(objects::list),
            (_, Source::ReadThrough) => get(read_through::list),
        };
        let one = match (collection.class, collection.source) {
            ("task", _) => get(tasks::get).delete(tasks::destroy),
            (_, Source::Mirror) => get(objects::get),
            (_, Source::ReadThrough) => get(read_through::get),
        };
        let makes = collection.view != View::Templates
            && collection.view != View::Snapshots
            && collection.class != "task"
            && create::constructor(class).is_some();
        let all = match collection.view {
            View::Machines => all.layer(from_fn_with_state(gateway.clone(), xm_list::or_text)),
            _ => all,
        };
        let all = if makes { all.post(writes::create) } else { all };
        let one =
            if patch::writable(class).next().is_some() { one.patch(writes::change) } else { one };
        let one = match collection.class {
            "VM" => one.delete(writes::destroy_machine),
            "task" => one,
            _ if create::destructor(class).is_some() => one.delete(writes::destroy),
            _ => one,
        };
        let on = |on| actions_of(class).any(|action| action.on == on);
        let this = Extension(collection);
        let mut router =
            router.route(&path(""), all.layer(this)).route(&path("/{uuid}"), one.layer(this));
        if on(On::Object) && collection.class != "task" {
            let action = post(actions::of_object).layer(this);
            router = router.route(&path("/{uuid}/actions/{call}"), action);
        }
        if on(On::Collection) {
            let action = post(actions::of_collection).layer(this);
            router = router.route(&path("/actions/{call}"), action);
        }
        router
    })
}

/// What is measured: samples, sources and histories.
fn measured() -> Router<Arc<Gateway>> {
    ["vms", "hosts", "srs"].iter().fold(Router::new(), |router, path| {
        let collection = collections::collections().iter().find(|one| one.path == *path);
        let collection = collection.expect("VMs, hosts and SRs have collections");
        let this = Extension(collection);
        let live = if *path == "vms" { get(vms::metrics) } else { get(metrics::live) };
        let path = |rest: &str| format!("/{path}/{{uuid}}/metrics{rest}");
        router
            .route(&path(""), live.layer(this))
            .route(&path("/sources"), get(metrics::sources).layer(this))
            .route(&path("/history"), get(metrics::history).layer(this))
    })
}

/// The calls of classes that have nothing else.
fn calls_only() -> Router<Arc<Gateway>> {
    collections::calls_only().iter().fold(Router::new(), |router, collection| {
        let action = post(actions::of_collection).layer(Extension(collection));
        router.route(&format!("/{}/actions/{{call}}", collection.path), action)
    })
}

/// `/{collection}/{uuid}/{relation}`, for each relation of the datamodel.
fn related() -> Router<Arc<Gateway>> {
    relations().iter().fold(Router::new(), |router, relation| {
        let path = format!("/{}/{{uuid}}/{}", relation.parent.path, relation.path);
        router.route(&path, get(related::list).layer(Extension(relation)))
    })
}
