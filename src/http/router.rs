//! The table of contents: every route.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use super::Gateway;
use super::routes::health;
use super::shell::{method_not_allowed, not_found};

/// Every route of the gateway. What happens to all of them alike is the shell's.
pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(gateway)
}
