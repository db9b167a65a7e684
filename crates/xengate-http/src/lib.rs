//! Requests and representations.
//!
//! `api/table.rs` is the table of contents: every endpoint in one list. A handler takes what it needs as
//! arguments (`extract`), so that it cannot be written without its checks, and answers a
//! representation or a [`problem::Problem`]. `middleware.rs` is what happens to every request,
//! `connection.rs` where requests come from.

pub mod answer;
pub mod api;
pub mod compression;
pub mod connection;
mod cors;
pub mod costly;
pub mod extract;
pub mod formats;
pub mod harmless;
pub mod in_flight;
pub mod listing;
pub mod middleware;
pub mod negotiation;
pub mod openapi;
pub mod page;
pub mod problem;
pub mod reading;
pub mod representation;
pub mod request_id;
pub mod response_cache;
pub mod revision;
pub mod route;
pub mod router;
pub mod scope;
pub mod sort_snapshots;
pub mod telemetry;
pub mod tls;
pub mod unsent_budget;
pub mod validators;
pub mod write_lock;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::api::events::streams::Events;
use self::costly::Costly;
use self::response_cache::ResponseCache;
use self::telemetry::Telemetry;
use self::unsent_budget::UnsentBudget;
use xenapi_mirror::inventory::Inventory;
use xenapi_mirror::metrics::Metrics;
use xengate_config::Config;
use xengate_core::auth::Authority;
use xengate_core::ops::{Tasks, Writes};

/// How many characters name a run of the gateway.
const BOOT_ID_LENGTH: usize = 12;

/// What routes work with; their state is an `Arc` of it.
#[derive(Debug)]
pub struct Gateway {
    /// What the operator wrote.
    pub config: Arc<Config>,
    /// The mirrors of the backends.
    pub inventory: Arc<Inventory>,
    /// What the backends' hosts measure.
    pub metrics: Arc<Metrics>,
    /// Who may pass.
    pub authority: Arc<Authority>,
    /// What the gateway has started on the backends.
    pub tasks: Arc<Tasks>,
    /// The changes that are under way.
    pub writes: Writes,
    /// Large bodies that many clients get.
    pub bodies: Arc<ResponseCache>,
    /// The streams of events.
    pub events: Arc<Events>,
    /// What is counted about requests.
    pub telemetry: Arc<Telemetry>,
    /// Names this run of the gateway: revisions of another mean nothing to it.
    pub boot_id: Arc<str>,
    /// Where queries are worked on that take long.
    pub costly: Arc<Costly>,
    /// Orders that are kept for the pages to come.
    pub pins: sort_snapshots::SortSnapshots,
    /// Who may change a version of an object now.
    pub turns: Arc<write_lock::ObjectLocks>,
    /// The gateway is about to end.
    pub stopping: CancellationToken,
}

impl Gateway {
    /// A gateway of these parts.
    pub fn new(
        config: Arc<Config>,
        inventory: Arc<Inventory>,
        authority: Arc<Authority>,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        let mut boot_id = Uuid::new_v4().simple().to_string();
        boot_id.truncate(BOOT_ID_LENGTH);
        let bodies = Arc::new(ResponseCache::new(
            config.limits.max_cached,
            UnsentBudget::new(config.limits.max_unsent),
        ));
        let stopping = CancellationToken::new();
        let metrics = Arc::<Metrics>::default();
        let costly = Arc::new(Costly::new(&config.limits));
        let events = Arc::new(Events::new(
            inventory.clone(),
            authority.clone(),
            metrics.clone(),
            costly.clone(),
            &boot_id,
            &config.limits,
            stopping.clone(),
        ));
        Self {
            config,
            inventory,
            metrics,
            authority,
            tasks: Tasks::new(),
            writes: Writes::default(),
            telemetry,
            costly,
            pins: sort_snapshots::SortSnapshots::default(),
            turns: Arc::default(),
            bodies,
            events,
            boot_id: boot_id.into(),
            stopping,
        }
    }
}
