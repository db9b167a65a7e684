//! Writes that outlive who asked for them.
//!
//! Once the first call of a write may have been sent, all of it runs in a task of its own: a client
//! that leaves, a deadline of its request or a signal cuts nothing in the middle. Each is bounded in
//! time and joined at shutdown, holds its caller's session open, and is logged with who did what to
//! which object and what came of it; never with a value. What it logs bears its request's id. The
//! request has a line of its own: it says where it came from and what its client was told, which may
//! be earlier.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinError;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::error::OpError;
use super::reach::{Done, Reach, Settled};
use xengate_telemetry::request_span::carried;

/// How long a write goes on with further calls. Each call has a deadline of its own.
const LONGEST: Duration = Duration::from_secs(300);
/// How long before the end of the time for shutting down a write begins no further calls, so that
/// the one that runs, and what it may have to put back, can still end.
const LAST_CALLS: Duration = Duration::from_secs(2);

/// The writes that are under way.
#[derive(Debug, Default)]
pub struct Writes {
    running: TaskTracker,
    /// No further calls are begun.
    stop: CancellationToken,
    /// Nothing is waited for any more.
    over: CancellationToken,
}

/// A write, as it is logged.
#[derive(Debug, Clone)]
pub struct Write {
    /// `VM.start`, `PATCH VM`.
    pub operation: String,
    /// What it is done to, if that is one object.
    pub object: Option<Uuid>,
}

/// Something that came of a write.
pub trait Outcome: Send + 'static {
    /// The task that was started.
    fn task(&self) -> Option<Uuid> {
        None
    }
}

/// Something that a write fails with; to be logged, and the gateway's own errors among it.
pub trait WriteError: From<OpError> + fmt::Display + Send + 'static {}

impl<E: From<OpError> + fmt::Display + Send + 'static> WriteError for E {}

/// The work of a write.
pub trait Work<T: Outcome, E: WriteError>: Future<Output = Result<T, E>> + Send + 'static {}

impl<T: Outcome, E: WriteError, F: Future<Output = Result<T, E>> + Send + 'static> Work<T, E>
    for F
{
}

impl Outcome for () {}

impl Outcome for Settled {}

impl Outcome for (Done, Settled) {}

impl Outcome for Uuid {
    fn task(&self) -> Option<Uuid> {
        Some(*self)
    }
}

impl Writes {
    /// Carries `work` out to its end, whatever becomes of who waits for it. `work` is given a token
    /// that says when no further calls may be begun.
    pub async fn carry_out<T: Outcome, E: WriteError, F: Work<T, E>>(
        &self,
        reach: &Reach,
        write: Write,
        work: impl FnOnce(CancellationToken) -> F,
    ) -> Result<T, E> {
        let (stop, over) = (self.stop.child_token(), self.over.clone());
        let work = work(stop.clone());
        let hold = reach.session.hold();
        let (backend, user) = (reach.mirror.name().to_owned(), reach.session.username().to_owned());
        let (tell, told) = oneshot::channel();
        let running = self.running.spawn(carried(async move {
            let begun = Instant::now();
            let ended = over.run_until_cancelled(bounded(work, &stop, begun + LONGEST)).await;
            drop(hold);
            let result =
                ended.unwrap_or_else(|| Err(OpError::Interrupted(write.operation.clone()).into()));
            log(&backend, &user, &write, begun, &result);
            // Who asked may be there no longer.
            let _ = tell.send(result);
        }));
        match told.await {
            Ok(result) => result,
            Err(_) => match running.await.map_err(JoinError::try_into_panic) {
                Err(Ok(panic)) => std::panic::resume_unwind(panic),
                // The runtime ends.
                _ => Err(OpError::Interrupted(String::new()).into()),
            },
        }
    }

    /// Waits until `until` for what runs, and for the calls that run then a little longer. What is
    /// not done by then is cut off, and the log says so.
    pub async fn shutdown(&self, until: Instant) {
        self.running.close();
        let until = until.max(Instant::now() + LAST_CALLS);
        let soon = until - LAST_CALLS;
        if timeout_at(soon, self.running.wait()).await.is_ok() {
            return;
        }
        self.stop.cancel();
        if timeout_at(until, self.running.wait()).await.is_err() {
            self.over.cancel();
            self.running.wait().await;
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.running.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }
}

/// Carries `work` out, telling it to stop when its time is up.
async fn bounded<F: Future>(work: F, stop: &CancellationToken, until: Instant) -> F::Output {
    let mut work = std::pin::pin!(work);
    if let Ok(done) = timeout_at(until, work.as_mut()).await {
        return done;
    }
    stop.cancel();
    work.await
}

fn log<T: Outcome, E: fmt::Display>(
    backend: &str,
    user: &str,
    write: &Write,
    begun: Instant,
    result: &Result<T, E>,
) {
    let Write { operation, object } = write;
    let object = object.map(tracing::field::display);
    let millis = begun.elapsed().as_millis();
    match result {
        Ok(done) => {
            let task = done.task().map(tracing::field::display);
            // How a task ends is told when it has ended.
            let outcome = if task.is_some() { "started" } else { "done" };
            tracing::info!(backend, user, operation, object, task, outcome, millis, "carried out");
        }
        Err(error) => {
            let outcome = tracing::field::display(error);
            tracing::info!(backend, user, operation, object, outcome, millis, "carried out");
        }
    }
}
