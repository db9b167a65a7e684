//! What the gateway counts about the requests it answers.

mod requests;

pub use self::requests::{Answered, Requests};

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use crate::in_flight::InFlight;
use crate::unsent_budget::UnsentBudget;
use xengate_telemetry::{Counter, Gauge};

/// Counts and gauges of the HTTP side. Those of a backend are the backend's own.
#[derive(Debug)]
pub struct Telemetry {
    /// Since when there is anything to count.
    pub started: SystemTime,
    /// Requests by route.
    pub requests: Requests,
    /// Client connections that are open.
    pub connections: Gauge,
    /// Client connections that were accepted.
    pub accepted: Counter,
    /// Requests that were refused, by the limit they met.
    pub refused: Refused,
    /// Requests that ran into a bug.
    pub panics: Counter,
    /// How full the shell is.
    pub load: OnceLock<Load>,
}

/// Requests that were refused before their route was asked, or whose answer was not sent.
#[derive(Debug, Default)]
pub struct Refused {
    /// `limits.max_header`.
    pub header: Counter,
    /// `limits.max_body`, as far as its length was said.
    pub body: Counter,
    /// `limits.max_concurrent_requests`.
    pub concurrency: Counter,
    /// `limits.max_unsent`.
    pub unsent: Counter,
    /// `limits.request_timeout`.
    pub timeout: Counter,
    /// `limits.max_connections_per_address`: connections, whatever they would have asked.
    pub connections: Counter,
}

/// What is full, and how much of it.
#[derive(Debug)]
pub struct Load {
    pub(super) in_flight: Arc<InFlight>,
    pub(super) room: UnsentBudget,
}

impl Telemetry {
    /// Counts requests to these paths, written as the router takes them.
    pub fn new<'a>(paths: impl IntoIterator<Item = &'a str>) -> Arc<Self> {
        Arc::new(Self {
            started: SystemTime::now(),
            requests: Requests::new(paths),
            connections: Gauge::default(),
            accepted: Counter::default(),
            refused: Refused::default(),
            panics: Counter::default(),
            load: OnceLock::new(),
        })
    }
}

impl Load {
    /// Requests that are worked on, and those that wait.
    pub fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }

    /// Bytes of answers that clients have not taken yet, and of those kept for who asks next.
    pub fn unsent(&self) -> u64 {
        self.room.taken()
    }

    /// The most there may be.
    pub fn max_unsent(&self) -> u64 {
        self.room.whole()
    }
}

impl Refused {
    /// Each with the name of its limit.
    pub fn all(&self) -> [(&'static str, &Counter); 6] {
        [
            ("max_header", &self.header),
            ("max_body", &self.body),
            ("max_concurrent_requests", &self.concurrency),
            ("max_unsent", &self.unsent),
            ("request_timeout", &self.timeout),
            ("max_connections_per_address", &self.connections),
        ]
    }
}
