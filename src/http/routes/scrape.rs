//! `GET /metrics`: the gateway's own metrics.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use crate::http::Gateway;
use crate::http::exposition::{self, Format, Own};
use crate::http::extract::{NoQuery, Scraper};
use crate::http::problem::Problem;

/// What the gateway counts about itself.
pub async fn own(
    State(gateway): State<Arc<Gateway>>,
    _: Scraper,
    format: Format,
    _: NoQuery,
) -> Result<Response, Problem> {
    exposition::write(Own(gateway), format)
}
