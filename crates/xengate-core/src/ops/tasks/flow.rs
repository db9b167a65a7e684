//! Flows of several calls, as tasks of the gateway's own.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::entry::{Entry, Progress, Work};
use super::outcome::{Left, Outcome, Status, now};
use super::{MOST_FLOWS, Tasks};
use crate::ops::arguments::Arguments;
use crate::ops::error::OpError;
use crate::ops::reach::Reach;
use crate::ops::typed::is_ref;
use xenapi_model::Call;
use xengate_telemetry::request_span::{RequestSpan, carried};

/// How long one step of a flow may take: disks are copied in hours, not in days.
const STEP_WITHIN: Duration = Duration::from_secs(24 * 3600);
/// How long a step may take to end once it has been cancelled.
const CANCEL_WITHIN: Duration = Duration::from_secs(60);

/// A flow that runs.
#[derive(Debug, Clone)]
pub(in crate::ops) struct Flow {
    /// On whose behalf.
    pub(in crate::ops) reach: Reach,
    tasks: Arc<Tasks>,
    cancelled: CancellationToken,
    progress: Arc<Progress>,
}

/// A flow that ended before it was done.
#[derive(Debug)]
pub(in crate::ops) struct Broken {
    /// Why.
    pub(in crate::ops) error: Arc<OpError>,
    /// What it made and could not take back.
    pub(in crate::ops) left: Vec<Left>,
}

impl Tasks {
    /// Runs `work` as a task called `name`; its result is the task's.
    pub(in crate::ops) fn run<F>(
        self: &Arc<Self>,
        reach: &Reach,
        name: &str,
        work: impl FnOnce(Flow) -> F,
    ) -> Result<Uuid, OpError>
    where
        F: Future<Output = Result<Value, Broken>> + Send + 'static,
    {
        let turn = self.flows.clone().try_acquire_owned();
        let turn = turn.map_err(|_| OpError::Busy(MOST_FLOWS))?;
        let (cancelled, progress) = (self.stop.child_token(), Arc::new(Progress::default()));
        let entry = Arc::new(Entry {
            uuid: Uuid::new_v4(),
            backend: reach.mirror.name().into(),
            owner: reach.session.username().to_owned(),
            name: name.to_owned(),
            created: now(),
            since: Instant::now(),
            work: Work::Flow { cancelled: cancelled.clone(), progress: progress.clone() },
            outcome: watch::Sender::new(None),
            request: RequestSpan::current(),
        });
        self.registry.lock().add(&entry, entry.since);
        let tasks = self.clone();
        let flow = Flow { reach: reach.clone(), tasks: tasks.clone(), cancelled, progress };
        let uuid = entry.uuid;
        let work = work(flow);
        let hold = reach.session.hold();
        self.running_flows.spawn(carried(async move {
            let outcome = outcome(&entry, work.await);
            tasks.end(&entry, outcome);
            drop((turn, hold));
        }));
        Ok(uuid)
    }
}

fn outcome(entry: &Entry, result: Result<Value, Broken>) -> Outcome {
    match result {
        Ok(result) => {
            let mut record = entry.sketch(Status::Success, 1.0).record();
            record.insert("result".to_owned(), result);
            Outcome { status: Status::Success, record, error: None, left: Vec::new() }
        }
        Err(Broken { error, left }) => {
            let status = match *error {
                OpError::Cancelled => Status::Cancelled,
                _ => Status::Failure,
            };
            let Work::Flow { progress, .. } = &entry.work else { unreachable!("it is a flow") };
            let mut record = entry.sketch(status, progress.get()).record();
            if let OpError::Failure { failure, .. } = &*error {
                // A ref that is still one names nothing that is known.
                let shown = |text: &String| if is_ref(text) { String::new() } else { text.clone() };
                let info = std::iter::once(&failure.code).chain(&failure.params);
                record.insert("error_info".to_owned(), info.map(shown).collect());
            }
            Outcome { status, record, error: Some(error), left }
        }
    }
}

impl Flow {
    /// Says how far it is, from 0 to 1.
    pub(in crate::ops) fn progress(&self, part: f64) {
        self.progress.set(part);
    }

    /// Cancelled once it shall end.
    pub(in crate::ops) fn stopped(&self) -> &CancellationToken {
        &self.cancelled
    }

    /// Whether it shall end.
    pub(in crate::ops) fn check(&self) -> Result<(), Arc<OpError>> {
        if self.cancelled.is_cancelled() { Err(Arc::new(OpError::Cancelled)) } else { Ok(()) }
    }

    /// Makes a call that may take long, as a task of the backend's, and waits for its end. The
    /// result is as clients see it.
    pub(in crate::ops) async fn carry_out(
        &self,
        call: &'static Call,
        arguments: impl Into<Arguments>,
    ) -> Result<Value, Arc<OpError>> {
        self.check()?;
        let uuid = self.reach.start(call, arguments, &self.tasks).await?;
        let backend = self.reach.mirror.name();
        let entry = self.tasks.registry.lock().get(backend, uuid, Instant::now());
        let Some(entry) = entry else { return Err(Arc::new(OpError::Lost)) };
        let mut outcome = entry.outcome.subscribe();
        let ended = tokio::select! {
            ended = outcome.wait_for(Option::is_some) => ended.map(|outcome| outcome.clone()).ok(),
            () = self.cancelled.cancelled() => None,
            () = sleep(STEP_WITHIN) => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                // It may end by itself meanwhile, or not listen: then nobody waits any longer.
                let _ = self.tasks.cancel(&self.reach, uuid).await;
                let wait = timeout(CANCEL_WITHIN, outcome.wait_for(Option::is_some)).await;
                wait.ok().and_then(|ended| ended.ok()).and_then(|outcome| outcome.clone())
            }
        };
        self.tasks.registry.lock().remove(backend, uuid);
        match ended {
            Some(outcome) => match &outcome.error {
                Some(error) => Err(error.clone()),
                None => Ok(outcome.record.get("result").cloned().unwrap_or_default()),
            },
            // Cancelled or not, the backend may still be at it.
            None => Err(Arc::new(OpError::TooLong(call.wire_name.clone()))),
        }
    }
}
