//! `GET /metrics`: the gateway's own metrics. `GET /metrics/xen`: those of the pools behind it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use crate::http::Gateway;
use crate::http::exposition::{self, Format, Own};
use crate::http::extract::{FleetScraper, NoQuery, Scraper};
use crate::http::fleet::Fleet;
use crate::http::problem::{Code, Problem};

/// What the gateway counts about itself.
pub async fn own(
    State(gateway): State<Arc<Gateway>>,
    _: Scraper,
    format: Format,
    _: NoQuery,
) -> Result<Response, Problem> {
    exposition::write(Own(gateway), format)
}

/// What is known of the pools, and what their hosts measure.
pub async fn fleet(
    State(gateway): State<Arc<Gateway>>,
    _: FleetScraper,
    format: Format,
    _: NoQuery,
) -> Result<Response, Problem> {
    let fleet = Fleet::gather(&gateway).await?;
    // Thousands of VMs take long enough to be in others' way.
    tokio::task::spawn_blocking(move || exposition::write(fleet, format))
        .await
        .map_err(|_| Problem::new(Code::Internal, "the metrics could not be written"))?
}
