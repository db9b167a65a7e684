//! The way into each backend and out of it: how many passwords are tried at once, and how sessions
//! are logged out.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::places::{Crowded, Place, Places};
use super::users::Users;
use xenapi_client::{Backend, Session};
use xengate_telemetry::request_span::carried;

/// Logouts at once from a backend.
const LEAVING: usize = 8;

/// How long a session stays open for what is under way in it, and how many of a backend do: each
/// counts among those that the backend has room for.
const HELD_FOR: Duration = Duration::from_secs(120);
const MOST_HELD: usize = 64;

/// How long a logout may take.
const LEAVE_TIME: Duration = Duration::from_secs(10);

/// The doors of all backends, and the tasks that go through them.
pub(super) struct BackendGates {
    doors: BTreeMap<Arc<str>, LoginQueue>,
    /// Whatever must not be lost when a request is: joined at shutdown.
    pub(super) tasks: TaskTracker,
    /// Nothing is waited for any more.
    pub(super) closing: CancellationToken,
    runtime: Handle,
    /// Who may go through the doors of backends that check no passwords.
    pub(super) users: Users,
}

/// One backend's.
pub(super) struct LoginQueue {
    pub(super) backend: Arc<Backend>,
    places: Arc<Places>,
    leaving: Semaphore,
    held: Semaphore,
}

impl BackendGates {
    /// Of these backends. Tasks run on the runtime this is called on.
    pub(super) fn new(backends: BTreeMap<String, Arc<Backend>>, users: Users) -> Self {
        let door = |(name, backend): (String, _)| {
            let door = LoginQueue {
                backend,
                places: Arc::default(),
                leaving: Semaphore::new(LEAVING),
                held: Semaphore::new(MOST_HELD),
            };
            (Arc::from(name), door)
        };
        Self {
            doors: backends.into_iter().map(door).collect(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            runtime: Handle::current(),
            users,
        }
    }

    /// The backends' names, in order.
    pub(super) fn names(&self) -> impl ExactSizeIterator<Item = &Arc<str>> {
        self.doors.keys()
    }

    /// The door of the backend of this name.
    pub(super) fn get(&self, name: &str) -> Option<&LoginQueue> {
        self.doors.get(name)
    }

    /// Runs `task` to its end, whatever becomes of the request that began it.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.tasks.spawn_on(carried(task), &self.runtime)
    }

    /// Logs a session out, in the background: once nothing is under way in it, within bounds.
    pub(super) fn see_off(self: &Arc<Self>, session: Arc<Session>) -> JoinHandle<()> {
        let doors = Arc::clone(self);
        self.spawn(async move {
            let Some(door) = doors.get(session.backend()) else { return };
            if session.is_held()
                && let Ok(_place) = door.held.try_acquire()
            {
                let released = tokio::time::timeout(HELD_FOR, session.released());
                let _ = doors.closing.run_until_cancelled(released).await;
            }
            let Ok(_turn) = door.leaving.acquire().await else { return };
            let logout = door.backend.logout(&session);
            if tokio::time::timeout(LEAVE_TIME, Box::pin(logout)).await.is_err() {
                tracing::warn!(backend = session.backend(), "a logout got no answer in time");
            }
        })
    }
}

impl LoginQueue {
    /// A place among those whose password is being tried.
    pub(super) async fn enter(&self, name: &str, proven: bool) -> Result<Place, Crowded> {
        self.places.enter(name, proven).await
    }

    /// Notes how long the backend took to let somebody in.
    pub(super) fn took(&self, name: &str, time: Duration) {
        self.places.took(name, time);
    }
}

/// A backend session nobody has taken yet. Whoever drops it instead logs it out, so that a login
/// given up by its client, or late, leaves nothing behind at the backend.
pub(super) struct Unclaimed {
    session: Option<Arc<Session>>,
    doors: Arc<BackendGates>,
}

impl Unclaimed {
    pub(super) fn new(session: Arc<Session>, doors: &Arc<BackendGates>) -> Self {
        Self { session: Some(session), doors: Arc::clone(doors) }
    }

    /// The session, whose logout is now the taker's to see to.
    pub(super) fn claim(mut self) -> Arc<Session> {
        self.session.take().expect("it is taken out here only, and this takes self")
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.doors.see_off(session);
        }
    }
}

impl fmt::Debug for BackendGates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendGates")
            .field("backends", &self.doors.keys())
            .field("tasks", &self.tasks.len())
            .finish_non_exhaustive()
    }
}
