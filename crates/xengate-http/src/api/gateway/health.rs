//! `GET /livez` and `GET /readyz`: for whoever restarts the gateway, and for whoever sends it
//! requests. Public.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::Gateway;
use crate::extract::{AcceptsJson, NoQuery};
use crate::representation::json;
use xenapi_mirror::inventory::Cause;

/// That the process answers.
#[derive(Debug, Serialize)]
struct Liveness {
    status: &'static str,
}

/// Whether logins can be taken, and how every backend stands, in the order of their names.
#[derive(Debug, Serialize)]
struct Readiness {
    status: &'static str,
    backends: Vec<BackendReadiness>,
}

#[derive(Debug, Serialize)]
struct BackendReadiness {
    name: String,
    state: &'static str,
    detail: Option<&'static str>,
}

/// When to ask again whether the gateway is ready.
const COME_BACK: HeaderValue = HeaderValue::from_static("5");

/// The process answers, so it lives; what the backends do is no reason to restart it.
pub async fn livez(_: AcceptsJson, _: NoQuery) -> Response {
    document(&Liveness { status: "live" })
}

/// 200 while logins can be taken, 503 while not; the body says why.
pub async fn readyz(State(gateway): State<Arc<Gateway>>, _: AcceptsJson, _: NoQuery) -> Response {
    let mut reachable = false;
    let mut backends = Vec::new();
    for (name, mirror) in gateway.inventory.mirrors() {
        let status = mirror.status();
        reachable |= status.reachable;
        // The reason itself may name addresses and files; `GET /backends` and the log have it.
        let (state, detail) = (status.state.name(), status.cause.map(Cause::in_public));
        backends.push(BackendReadiness { name: name.clone(), state, detail });
    }
    if reachable && !gateway.stopping.is_cancelled() {
        return document(&Readiness { status: "ready", backends });
    }
    let body = document(&Readiness { status: "unready", backends });
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, COME_BACK)], body).into_response()
}

fn document(document: &impl Serialize) -> Response {
    json(serde_json::to_vec(document).expect("strings are always JSON"))
}
