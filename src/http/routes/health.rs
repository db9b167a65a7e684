//! `GET /livez` and `GET /readyz`: for whoever restarts the gateway, and for whoever sends it
//! requests. Public.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;

use crate::http::Gateway;
use crate::http::extract::{AcceptsJson, NoQuery};
use crate::http::representation::json;
use crate::inventory::Mirror;

/// That the process answers.
#[derive(Debug, Serialize)]
pub struct Liveness {
    /// `true`.
    pub live: bool,
}

/// Whether logins can be taken.
#[derive(Debug, Serialize)]
pub struct Readiness {
    /// Some backend can be logged in to, and the gateway is not about to end.
    pub ready: bool,
    /// Every backend, in the order of their names.
    pub backends: Vec<BackendReadiness>,
}

/// How one backend stands.
#[derive(Debug, Serialize)]
pub struct BackendReadiness {
    /// The name it is configured under.
    pub name: String,
    /// `waiting`, `syncing`, `live`, `stale` or `down`.
    pub state: &'static str,
    /// Whether it answered when it was last asked anything.
    pub reachable: bool,
    /// Why the state is not better.
    pub reason: Option<String>,
}

/// The process answers, so it lives; what the backends do is no reason to restart it.
pub async fn livez(_: AcceptsJson, _: NoQuery) -> Response {
    document(&Liveness { live: true })
}

/// 200 while logins can be taken, 503 while not; the body says why.
pub async fn readyz(State(gateway): State<Arc<Gateway>>, _: AcceptsJson, _: NoQuery) -> Response {
    let mirrors = gateway.inventory.mirrors().values();
    let backends: Vec<_> = mirrors.map(|mirror| BackendReadiness::of(mirror)).collect();
    let ready =
        !gateway.stopping.is_cancelled() && backends.iter().any(|backend| backend.reachable);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, document(&Readiness { ready, backends })).into_response()
}

impl BackendReadiness {
    fn of(mirror: &Mirror) -> Self {
        let status = mirror.status();
        Self {
            name: mirror.name().to_owned(),
            state: status.state.name(),
            reachable: status.reachable,
            reason: status.reason,
        }
    }
}

fn document(document: &impl Serialize) -> Response {
    json(serde_json::to_vec(document).expect("strings and booleans are always JSON"))
}
