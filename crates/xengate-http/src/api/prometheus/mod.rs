//! `GET /metrics`: the gateway's own metrics. `GET /metrics/xen`: those of the pools behind it.

mod backends;
pub mod doc;
pub mod families;
pub mod format;
pub mod gateway;
pub mod pool;
mod process;
mod text_0_0_4;
pub mod write;

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use self::format::Format;
use self::gateway::Own;
use self::pool::Fleet;
use crate::Gateway;
use crate::extract::{FleetScraper, NoQuery, Scraper};
use crate::problem::{Code, Problem};

/// What the gateway counts about itself.
pub async fn own(
    State(gateway): State<Arc<Gateway>>,
    _: Scraper,
    format: Format,
    _: NoQuery,
) -> Result<Response, Problem> {
    write::write(Own(gateway), format)
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
    tokio::task::spawn_blocking(move || write::write(fleet, format))
        .await
        .map_err(|_| Problem::new(Code::Internal, "the metrics could not be written"))?
}
