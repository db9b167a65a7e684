//! Tasks: what runs, how far it is, how it ended.
//!
//! A call in its `Async.` form is a task of the backend's. The gateway follows those it started
//! until the mirror shows how they ended, keeps that for an hour, and has the backend forget them,
//! so that a client that comes late still learns what became of its call. Flows of several calls
//! are tasks of the gateway's own, in the same form. All of it is lost when the gateway ends.
//!
//! What is kept belongs to who started it and to pool operators; tasks that the backend still has
//! are for everyone to see, as they are on the backend.

mod entry;
mod flow;
mod follow;
mod outcome;
mod registry;
mod view;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

pub(super) use flow::{Broken, Flow};
pub use outcome::{Left, Status};
pub use view::{TaskVersion, TaskView};

use super::error::OpError;
use super::reach::Reach;
use crate::auth::roles;
use entry::{Entry, Work};
use registry::Registry;
use xenapi_client::Session;
use xenapi_mirror::inventory::Mirror;
use xenapi_model::{Call, Class, datamodel};

/// How many flows of calls may run at a time.
const MOST_FLOWS: usize = 64;
/// How long shutting down waits for flows to undo what they have begun.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(10);
/// How long shutting down waits for calls that are under way by then.
const LAST_CALLS: Duration = Duration::from_secs(1);
/// Who may see and end what others started.
const OPERATOR: &str = "pool-operator";

/// The tasks that the gateway started.
#[derive(Debug)]
pub struct Tasks {
    registry: Mutex<Registry>,
    flows: Arc<Semaphore>,
    /// One at a time: clients' calls come first.
    cleaning: Semaphore,
    running_flows: TaskTracker,
    /// Cancels the flows.
    stop: CancellationToken,
    followers: TaskTracker,
    /// Ends the followers, which the flows need until they have ended.
    over: CancellationToken,
}

impl Tasks {
    /// No tasks yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            registry: Mutex::default(),
            flows: Arc::new(Semaphore::new(MOST_FLOWS)),
            cleaning: Semaphore::new(1),
            running_flows: TaskTracker::new(),
            stop: CancellationToken::new(),
            followers: TaskTracker::new(),
            over: CancellationToken::new(),
        })
    }

    /// A task as it stands: one that the gateway keeps, or one of the backend's.
    pub fn view(&self, mirror: &Mirror, uuid: Uuid, viewer: &Session) -> Option<TaskView> {
        match self.entry(mirror.name(), uuid, viewer) {
            Some(entry) => Some(view::of_entry(&entry, mirror)),
            None => view::of_mirror(mirror, uuid),
        }
    }

    /// The same, once it has ended or `patience` has passed.
    pub async fn wait(
        &self,
        mirror: &Mirror,
        uuid: Uuid,
        viewer: &Session,
        patience: Duration,
    ) -> Option<TaskView> {
        if let Some(entry) = self.entry(mirror.name(), uuid, viewer) {
            let mut outcome = entry.outcome.subscribe();
            // Whether it ended in time shows in the view.
            let _ = timeout(patience, outcome.wait_for(Option::is_some)).await;
            return Some(view::of_entry(&entry, mirror));
        }
        let until = Instant::now() + patience;
        let mut changes = mirror.changes();
        let mut last = view::of_mirror(mirror, uuid)?;
        while !last.status.is_final() {
            let Ok(Ok(())) = timeout_at(until, changes.changed()).await else { break };
            // One that is gone by now has been seen for the last time.
            let Some(now) = view::of_mirror(mirror, uuid) else { break };
            last = now;
        }
        Some(last)
    }

    /// What is kept of a backend's tasks that its mirror does not show (any more), newest first.
    pub fn kept(&self, mirror: &Mirror, viewer: &Session) -> Vec<TaskView> {
        let entries = self.registry.lock().of(mirror.name(), Instant::now());
        let operator = roles::is_at_least(&viewer.access, OPERATOR);
        let shown = |entry: &&Arc<Entry>| {
            (operator || entry.owner == viewer.username())
                && view::object_of(mirror, entry).is_none_or(|(task, _)| task.uuid() != entry.uuid)
        };
        entries.iter().filter(shown).map(|entry| view::of_entry(entry, mirror)).collect()
    }

    /// Asks a task to end before it is done. Whether it does shows in the task.
    pub async fn cancel(&self, reach: &Reach, uuid: Uuid) -> Result<(), OpError> {
        let entry = self.entry(reach.mirror.name(), uuid, &reach.session);
        match entry.as_ref().map(|entry| &entry.work) {
            Some(_) if entry.as_ref().is_some_and(|entry| entry.is_final()) => {
                Err(OpError::Conflict("the task has ended already"))
            }
            Some(Work::Flow { cancelled, .. }) => {
                cancelled.cancel();
                Ok(())
            }
            Some(Work::Backends { reference, .. }) => self.tell(reach, "cancel", reference).await,
            None => match view::object(&reach.mirror, uuid) {
                Some((object, _)) => self.tell(reach, "cancel", object.reference()).await,
                None => Err(OpError::NotFound("task")),
            },
        }
    }

    /// Forgets a task, here and on the backend.
    pub async fn destroy(&self, reach: &Reach, uuid: Uuid) -> Result<(), OpError> {
        let backend = reach.mirror.name();
        if let Some(entry) = self.entry(backend, uuid, &reach.session) {
            match (&entry.work, entry.is_final()) {
                (Work::Flow { .. }, false) => {
                    return Err(OpError::Conflict("the task still runs; cancel it first"));
                }
                // Once it has ended, the backend is told anyway.
                (_, true) => {}
                (Work::Backends { reference, .. }, false) => {
                    self.tell(reach, "destroy", reference).await?;
                }
            }
            self.registry.lock().remove(backend, uuid);
            return Ok(());
        }
        match view::object(&reach.mirror, uuid) {
            Some((object, _)) => self.tell(reach, "destroy", object.reference()).await,
            None => Err(OpError::NotFound("task")),
        }
    }

    /// Whether nothing that the gateway started runs any more, as far as it knows.
    pub fn is_idle(&self) -> bool {
        self.running_flows.is_empty() && self.registry.lock().follows_nothing()
    }

    /// Cancels the flows and waits, bounded, until they have undone what they had begun.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.running_flows.close();
        if timeout(SHUTDOWN_PATIENCE, self.running_flows.wait()).await.is_err() {
            tracing::warn!("a flow of calls did not end in time and is left as it is");
        }
        self.over.cancel();
        self.followers.close();
        if timeout(LAST_CALLS, self.followers.wait()).await.is_err() {
            tracing::debug!("some tasks are left for the backend to forget");
        }
    }

    async fn tell(&self, reach: &Reach, name: &str, reference: &str) -> Result<(), OpError> {
        let call = class().call(name).expect("tasks can be cancelled and destroyed");
        reach.call(call, vec![reference.into()]).await.map(drop)
    }

    /// A task that the gateway keeps, if `viewer` may see it.
    fn entry(&self, backend: &str, uuid: Uuid, viewer: &Session) -> Option<Arc<Entry>> {
        let entry = self.registry.lock().get(backend, uuid, Instant::now())?;
        let allowed =
            entry.owner == viewer.username() || roles::is_at_least(&viewer.access, OPERATOR);
        allowed.then_some(entry)
    }
}

/// The class of tasks.
pub(super) fn class() -> &'static Class {
    datamodel().class("task").expect("the datamodel has tasks")
}

/// The call that a task of this name carries out: `Async.VM.start`.
fn call_named(name: &str) -> Option<&'static Call> {
    datamodel().call(name.strip_prefix("Async.")?).map(|(_, call)| call)
}
