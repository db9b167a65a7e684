//! The table of contents: every route.

use std::sync::Arc;

use axum::routing::{get, post};
use axum::{Extension, Router};

use super::Gateway;
use super::collections::{self, Source};
use super::relations::relations;
use super::routes::{backends, docs, health, objects, related, sessions, vms};
use super::shell::{method_not_allowed, not_found};

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
        .merge(mirrored())
        .merge(related())
        .route("/vms/{uuid}/metrics", get(vms::metrics))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(gateway)
}

/// `/{collection}` and `/{collection}/{uuid}`, for each that is mirrored.
fn mirrored() -> Router<Arc<Gateway>> {
    let mirrored = collections::collections().iter();
    let mirrored = mirrored.filter(|collection| collection.source == Source::Mirror);
    mirrored.fold(Router::new(), |router, collection| {
        let this = Extension(collection);
        let path = collection.path;
        router
            .route(&format!("/{path}"), get(objects::list).layer(this))
            .route(&format!("/{path}/{{uuid}}"), get(objects::get).layer(this))
    })
}

/// `/{collection}/{uuid}/{relation}`, for each relation of the datamodel.
fn related() -> Router<Arc<Gateway>> {
    relations().iter().fold(Router::new(), |router, relation| {
        let path = format!("/{}/{{uuid}}/{}", relation.parent.path, relation.path);
        router.route(&path, get(related::list).layer(Extension(relation)))
    })
}
