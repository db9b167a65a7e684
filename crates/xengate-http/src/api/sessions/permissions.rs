//! `GET /sessions/current/permissions`: what the caller may do, by backend.

use axum::response::Response;
use serde_json::{Value, json};

use crate::extract::{AcceptsJson, Authenticated, NoQuery};
use crate::representation;
use xengate_core::auth::roles;

/// The calls each of the caller's backends lets them make.
pub async fn list(Authenticated(caller): Authenticated, _: AcceptsJson, _: NoQuery) -> Response {
    let backends = caller.readable_backends().filter_map(|backend| {
        let session = caller.session_for(backend)?;
        let permissions = roles::permissions(&session.access);
        let keys: Vec<Value> = permissions
            .keys
            .iter()
            .map(|key| json!({"call": key.call, "key": key.key, "allowed": key.allowed}))
            .collect();
        Some(json!({
            "name": backend,
            "is_local_superuser": permissions.is_local_superuser,
            "role": permissions.role,
            "calls": permissions.calls,
            "keys": keys,
        }))
    });
    let backends: Vec<Value> = backends.collect();
    representation::json(json!({"backends": backends}).to_string())
}
