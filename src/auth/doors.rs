//! The way into each backend and out of it: how many passwords are tried at once, and how sessions
//! are logged out.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::users::Users;
use crate::backend::{Backend, Session};

/// Passwords tried at once on a backend, for strangers and for the proven each. The proven have
/// places of their own, so that wrong passwords, which take XAPI seconds, are not in their way.
const AT_ONCE: usize = 4;

/// Logins that wait for such a place, of either sort.
const QUEUE: usize = 32;

/// How long they wait.
const PATIENCE: Duration = Duration::from_secs(5);

/// Logouts at once from a backend.
const LEAVING: usize = 8;

/// How long a logout may take.
const LEAVE_TIME: Duration = Duration::from_secs(10);

/// The doors of all backends, and the tasks that go through them.
pub(super) struct Doors {
    doors: BTreeMap<Arc<str>, Door>,
    /// Whatever must not be lost when a request is: joined at shutdown.
    pub(super) tasks: TaskTracker,
    runtime: Handle,
    /// Who may go through the doors of backends that check no passwords.
    pub(super) users: Users,
}

/// One backend's.
pub(super) struct Door {
    pub(super) backend: Arc<Backend>,
    strangers: Queue,
    proven: Queue,
    leaving: Semaphore,
}

struct Queue {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// Too many logins are at the backend already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Crowded;

impl Doors {
    /// Of these backends. Tasks run on the runtime this is called on.
    pub(super) fn new(backends: BTreeMap<String, Arc<Backend>>, users: Users) -> Self {
        let door = |(name, backend): (String, _)| {
            let door = Door {
                backend,
                strangers: Queue::new(),
                proven: Queue::new(),
                leaving: Semaphore::new(LEAVING),
            };
            (Arc::from(name), door)
        };
        Self {
            doors: backends.into_iter().map(door).collect(),
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
            users,
        }
    }

    /// The backends' names, in order.
    pub(super) fn names(&self) -> impl ExactSizeIterator<Item = &Arc<str>> {
        self.doors.keys()
    }

    /// The door of the backend of this name.
    pub(super) fn get(&self, name: &str) -> Option<&Door> {
        self.doors.get(name)
    }

    /// Runs `task` to its end, whatever becomes of the request that began it.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.tasks.spawn_on(task, &self.runtime)
    }

    /// Logs a session out, in the background.
    pub(super) fn see_off(self: &Arc<Self>, session: Arc<Session>) -> JoinHandle<()> {
        let doors = Arc::clone(self);
        self.spawn(async move {
            let Some(door) = doors.get(session.backend()) else { return };
            let Ok(_turn) = door.leaving.acquire().await else { return };
            let logout = door.backend.logout(&session);
            if tokio::time::timeout(LEAVE_TIME, Box::pin(logout)).await.is_err() {
                tracing::warn!(backend = session.backend(), "a logout got no answer in time");
            }
        })
    }
}

impl Door {
    /// A place among those whose password is being tried.
    pub(super) async fn enter(&self, proven: bool) -> Result<OwnedSemaphorePermit, Crowded> {
        let queue = if proven { &self.proven } else { &self.strangers };
        queue.enter().await
    }
}

impl Queue {
    fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE)), waiting: AtomicUsize::new(0) }
    }

    async fn enter(&self) -> Result<OwnedSemaphorePermit, Crowded> {
        if let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(permit);
        }
        let _waiting = Waiting::begin(&self.waiting)?;
        match tokio::time::timeout(PATIENCE, Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Crowded),
        }
    }
}

/// One that waits; dropped, it has left the queue.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Result<Self, Crowded> {
        waiting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < QUEUE).then_some(n + 1))
            .map(|_| Self(waiting))
            .map_err(|_| Crowded)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A backend session nobody has taken yet. Whoever drops it instead logs it out, so that a login
/// given up by its client, or late, leaves nothing behind at the backend.
pub(super) struct Unclaimed {
    session: Option<Arc<Session>>,
    doors: Arc<Doors>,
}

impl Unclaimed {
    pub(super) fn new(session: Arc<Session>, doors: &Arc<Doors>) -> Self {
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

impl fmt::Debug for Doors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doors")
            .field("backends", &self.doors.keys())
            .field("tasks", &self.tasks.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_place_is_waited_for_and_not_for_ever() {
        let queue = Queue::new();
        let mut inside = Vec::new();
        for _ in 0..AT_ONCE {
            inside.push(queue.enter().await.expect("a place"));
        }
        let began = tokio::time::Instant::now();
        assert_eq!(queue.enter().await.map(drop), Err(Crowded));
        assert_eq!(began.elapsed(), PATIENCE);
        let (entered, ()) = tokio::join!(queue.enter(), async { drop(inside.pop()) });
        assert!(entered.is_ok());
        assert_eq!(queue.waiting.load(Ordering::Acquire), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_queue_is_bounded_and_who_gives_up_leaves_it() {
        let queue = Queue::new();
        let mut inside = Vec::new();
        for _ in 0..AT_ONCE {
            inside.push(queue.enter().await.expect("a place"));
        }
        let mut waiting: Vec<_> = (0..QUEUE).map(|_| Box::pin(queue.enter())).collect();
        for one in &mut waiting {
            assert!(tokio::time::timeout(Duration::ZERO, one).await.is_err());
        }
        let began = tokio::time::Instant::now();
        assert_eq!(queue.enter().await.map(drop), Err(Crowded));
        assert_eq!(began.elapsed(), Duration::ZERO, "told at once");
        drop(waiting.pop());
        assert!(tokio::time::timeout(Duration::ZERO, queue.enter()).await.is_err(), "waits again");
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_are_not_in_the_way_of_the_proven() {
        let config = crate::config::BackendConfig::new(vec!["http://127.0.0.1:1".to_owned()]);
        let backend = Backend::new("lab", &config).expect("a backend");
        let users = Users::new(&[]).expect("no users");
        let doors = Doors::new(BTreeMap::from([("lab".to_owned(), backend)]), users);
        let door = doors.get("lab").expect("a door");
        let mut inside = Vec::new();
        for _ in 0..AT_ONCE {
            inside.push(door.enter(false).await.expect("a place"));
        }
        assert!(tokio::time::timeout(Duration::ZERO, door.enter(false)).await.is_err());
        for _ in 0..AT_ONCE {
            let entered = tokio::time::timeout(Duration::ZERO, door.enter(true)).await;
            inside.push(entered.expect("at once").expect("a place"));
        }
        assert!(tokio::time::timeout(Duration::ZERO, door.enter(true)).await.is_err());
    }
}
