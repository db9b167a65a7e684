//! A task that the gateway started.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::outcome::{Outcome, Sketch, Status};
use crate::ops::arguments::Named;
use xenapi_client::{Hold, Session};
use xengate_telemetry::request_span::RequestSpan;

/// A task that the gateway started.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) uuid: Uuid,
    pub(super) backend: Arc<str>,
    /// The user who started it, by the name the backend knows.
    pub(super) owner: String,
    /// `Async.VM.start`.
    pub(super) name: String,
    pub(super) created: SystemTime,
    pub(super) since: Instant,
    pub(super) work: Work,
    /// How it ended; waiters watch this.
    pub(super) outcome: watch::Sender<Option<Arc<Outcome>>>,
    /// The request that started it, for what is logged of its end.
    pub(super) request: Option<Arc<RequestSpan>>,
}

/// What a task is.
#[derive(Debug)]
pub(super) enum Work {
    /// A task of the backend's.
    Backends {
        reference: Arc<str>,
        named: Named,
        /// The mirror has shown it.
        seen: AtomicBool,
        /// Whose, held open until the backend has been told to forget the task.
        session: Mutex<Option<(Arc<Session>, Hold)>>,
    },
    /// A flow of calls, that can be cancelled.
    Flow { cancelled: CancellationToken, progress: Arc<Progress> },
}

/// How far a flow is, in thousandths.
#[derive(Debug, Default)]
pub(super) struct Progress(AtomicU64);

impl Progress {
    pub(super) fn set(&self, part: f64) {
        // Clamped, so the cast keeps the value.
        self.0.store((part.clamp(0.0, 1.0) * 1000.0) as u64, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> f64 {
        self.0.load(Ordering::Relaxed) as f64 / 1000.0
    }
}

impl Entry {
    /// Whether it has ended.
    pub(super) fn is_final(&self) -> bool {
        self.outcome.borrow().is_some()
    }

    /// Its record, made up: for as long as the mirror has none.
    pub(super) fn sketch(&self, status: Status, progress: f64) -> Sketch<'_> {
        Sketch {
            uuid: self.uuid,
            backend: &self.backend,
            name: &self.name,
            created: self.created,
            status,
            progress,
        }
    }
}
