//! The table of contents: every route.

use std::sync::Arc;

use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Router};

use super::Gateway;
use crate::api::catalog::collections;
use crate::api::catalog::collections::{Source, View};
use crate::api::catalog::relations::relations;
use crate::api::gateway::{backends, docs, health};
use crate::api::objects::{read, read_through, related, write, xm_list};
use crate::api::samples::vm;
use crate::api::sessions::permissions;
use crate::api::{actions, events, prometheus, samples, sessions, tasks};
use crate::shell::{method_not_allowed, not_found};
use xenapi_model::datamodel;
use xengate_core::ops::actions::On;
use xengate_core::ops::actions::actions as actions_of;
use xengate_core::ops::{create, patch};

/// Routes, and the paths they are at.
#[derive(Debug, Default)]
pub struct Routes {
    router: Router<Arc<Gateway>>,
    paths: Vec<String>,
}

impl Routes {
    /// The same with one more path.
    #[must_use]
    pub fn route(mut self, path: &str, methods: MethodRouter<Arc<Gateway>>) -> Self {
        self.paths.push(path.to_owned());
        self.router = self.router.route(path, methods);
        self
    }

    /// The same with others.
    #[must_use]
    pub fn merge(mut self, others: Self) -> Self {
        self.paths.extend(others.paths);
        self.router = self.router.merge(others.router);
        self
    }

    /// The paths, as the router takes them.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(String::as_str)
    }

    /// The routes at work, with what they work with.
    pub fn answered_by(self, gateway: Arc<Gateway>) -> Router {
        self.router
            .fallback(not_found)
            .method_not_allowed_fallback(method_not_allowed)
            .with_state(gateway)
    }
}

/// Every route of the gateway. What happens to all of them alike is the shell's.
pub fn routes() -> Routes {
    Routes::default()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .merge(docs::routes())
        .route("/metrics", get(prometheus::own))
        .route("/metrics/xen", get(prometheus::fleet))
        .route("/sessions", post(sessions::create))
        .route("/sessions/current", get(sessions::current).delete(sessions::end))
        .route("/sessions/current/backends", post(sessions::add_backends))
        .route("/backends", get(backends::list))
        .route("/events", get(events::stream))
        .route("/events/tickets", post(events::ticket))
        .merge(collections())
        .merge(calls_only())
        .route("/tasks/{uuid}/actions/cancel", post(tasks::cancel))
        .route("/sessions/current/permissions", get(permissions::list))
        .merge(related())
        .merge(measured())
}

/// The collections: every class that has objects, with what the datamodel lets clients do to them.
fn collections() -> Routes {
    collections::collections().iter().fold(Routes::default(), |router, collection| {
        let class = datamodel().class(collection.class).expect("collections name known classes");
        let path = |rest: &str| format!("/{}{rest}", collection.path);
        let all = match (collection.class, collection.source) {
            ("task", _) => get(tasks::list),
            // The Xen-API does not list users.
            _ if !class.get_all && !class.gen_events => MethodRouter::new(),
            _ if collection.view == View::Machines => get(xm_list::list),
            (_, Source::Mirror) => get(read::list),
            (_, Source::ReadThrough) => get(read_through::list),
        };
        let one = match (collection.class, collection.source) {
            ("task", _) => get(tasks::get).delete(tasks::destroy),
            (_, Source::Mirror) => get(read::get),
            (_, Source::ReadThrough) => get(read_through::get),
        };
        let makes = collection.view != View::Templates
            && collection.view != View::Snapshots
            && collection.class != "task"
            && create::constructor(class).is_some();
        let all = if makes { all.post(write::create) } else { all };
        let one =
            if patch::writable(class).next().is_some() { one.patch(write::change) } else { one };
        let one = match collection.class {
            "VM" => one.delete(write::destroy_machine),
            "task" => one,
            _ if create::destructor(class).is_some() => one.delete(write::destroy),
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
fn measured() -> Routes {
    ["vms", "hosts", "srs"].iter().fold(Routes::default(), |router, path| {
        let collection = collections::collections().iter().find(|one| one.path == *path);
        let collection = collection.expect("VMs, hosts and SRs have collections");
        let this = Extension(collection);
        let live = if *path == "vms" { get(vm::metrics) } else { get(samples::live) };
        let path = |rest: &str| format!("/{path}/{{uuid}}/metrics{rest}");
        router
            .route(&path(""), live.layer(this))
            .route(&path("/sources"), get(samples::sources).layer(this))
            .route(&path("/history"), get(samples::history).layer(this))
    })
}

/// The calls of classes that have nothing else.
fn calls_only() -> Routes {
    collections::calls_only().iter().fold(Routes::default(), |router, collection| {
        let action = post(actions::of_collection).layer(Extension(collection));
        router.route(&format!("/{}/actions/{{call}}", collection.path), action)
    })
}

/// `/{collection}/{uuid}/{relation}`, for each relation of the datamodel.
fn related() -> Routes {
    relations().iter().fold(Routes::default(), |router, relation| {
        let path = format!("/{}/{{uuid}}/{}", relation.parent.path, relation.path);
        router.route(&path, get(related::list).layer(Extension(relation)))
    })
}
