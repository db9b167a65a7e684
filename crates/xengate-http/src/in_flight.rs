//! Requests that are worked on, and those that wait.
//!
//! Waiting is not working: a request that waits for a task, a revision or a turn gives its place
//! among those that are worked on to another and takes one among those that wait, for as long as it
//! goes on. Of both there are so many, and a user has a share of them.
//!
//! A request's place is a task-local: what waits is deep below the shell, which gave the place and
//! takes it back.

use std::cell::{Cell, OnceCell};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use crate::problem::{Code, Problem};
use crate::route::Route;
use xengate_config::Limits;
use xengate_core::auth::{GatewaySession, Held, Shares};

tokio::task_local! {
    static PLACE: Place;
}

/// All requests that are worked on or wait.
#[derive(Debug)]
pub struct InFlight {
    working: Held,
    most_working: usize,
    most_working_of_user: usize,
    waiting: Held,
    most_waiting: usize,
    most_waiting_of_session: usize,
    most_waiting_of_user: usize,
}

/// One request's place; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    all: Arc<InFlight>,
    /// Whose request it is, once that is known.
    session: OnceCell<Arc<GatewaySession>>,
    works: Cell<bool>,
    /// Whether it counts among those of its user that are worked on.
    works_for_user: Cell<bool>,
    waits: Cell<bool>,
    /// The route that answers the request, once one does.
    route: Cell<Option<Route>>,
}

/// There is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// Among those that are worked on.
    #[error("the gateway works on as many requests as it may")]
    Working,
    /// Among those of the user that are worked on.
    #[error("the gateway works on as many requests of this user, in all sessions, as it may")]
    WorkingOfUser,
    /// Among those that wait.
    #[error("as many requests wait as may")]
    Waiting,
    /// Among those of the session that wait.
    #[error(
        "as many requests of this session wait as may; ask for its tasks without wait, or listen to /events"
    )]
    WaitingOfSession,
    /// Among those of the user that wait.
    #[error(
        "as many requests of this user, in all sessions, wait as may; ask for tasks without wait, or listen to /events"
    )]
    WaitingOfUser,
}

impl InFlight {
    /// None yet.
    pub fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            working: Held::default(),
            most_working: limits.max_concurrent_requests,
            most_working_of_user: limits.max_concurrent_requests_per_user,
            waiting: Held::default(),
            most_waiting: limits.max_waiting_requests,
            most_waiting_of_session: limits.max_waiting_requests_per_session,
            most_waiting_of_user: limits.max_waiting_requests_per_user,
        })
    }

    /// Requests that are worked on.
    pub fn working(&self) -> usize {
        self.working.count()
    }

    /// The most that may be.
    pub fn most_working(&self) -> usize {
        self.most_working
    }

    /// Requests that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.count()
    }

    /// The most that may.
    pub fn most_waiting(&self) -> usize {
        self.most_waiting
    }

    /// A place among those that are worked on.
    pub(super) fn place(self: &Arc<Self>) -> Result<Place, NoPlace> {
        if !self.working.take(1, self.most_working) {
            return Err(NoPlace::Working);
        }
        let place = self.aside();
        place.works.set(true);
        Ok(place)
    }

    /// A place beside them, which counts nowhere.
    pub(super) fn aside(self: &Arc<Self>) -> Place {
        Place {
            all: self.clone(),
            session: OnceCell::new(),
            works: Cell::new(false),
            works_for_user: Cell::new(false),
            waits: Cell::new(false),
            route: Cell::new(None),
        }
    }
}

impl Place {
    /// Works on a request in this place.
    pub(super) fn hold<T>(self, work: impl Future<Output = T>) -> impl Future<Output = T> {
        PLACE.scope(self, work)
    }

    fn belongs_to(&self, session: &Arc<GatewaySession>) -> Result<(), NoPlace> {
        if self.session.set(session.clone()).is_err() || !self.works.get() {
            return Ok(());
        }
        if !session.shares().working.take(1, self.all.most_working_of_user) {
            return Err(NoPlace::WorkingOfUser);
        }
        self.works_for_user.set(true);
        Ok(())
    }

    fn wait(&self) -> Result<(), NoPlace> {
        let Some(session) = self.session.get().filter(|_| !self.waits.get()) else { return Ok(()) };
        let (all, shares) = (&self.all, session.shares());
        if !session.waiting().take(1, all.most_waiting_of_session) {
            return Err(NoPlace::WaitingOfSession);
        }
        if !shares.waiting.take(1, all.most_waiting_of_user) {
            session.waiting().give_back(1);
            return Err(NoPlace::WaitingOfUser);
        }
        if !all.waiting.take(1, all.most_waiting) {
            session.waiting().give_back(1);
            shares.waiting.give_back(1);
            return Err(NoPlace::Waiting);
        }
        self.waits.set(true);
        self.stop_working();
        Ok(())
    }

    fn stop_working(&self) {
        if self.works.take() {
            self.all.working.give_back(1);
        }
        if let Some(session) = self.session.get().filter(|_| self.works_for_user.take()) {
            session.shares().working.give_back(1);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.stop_working();
        if let Some(session) = self.session.get().filter(|_| self.waits.take()) {
            session.waiting().give_back(1);
            session.shares().waiting.give_back(1);
            self.all.waiting.give_back(1);
        }
    }
}

/// Notes whose request this task works on, who has a share of those that are worked on.
pub(super) fn belongs_to(session: &Arc<GatewaySession>) -> Result<(), NoPlace> {
    // What is no request's task has no place.
    PLACE.try_with(|place| place.belongs_to(session)).unwrap_or(Ok(()))
}

/// Whose request this task works on, as far as that is known.
pub(super) fn user() -> Option<Arc<Shares>> {
    let user = |place: &Place| Some(place.session.get()?.shares().clone());
    PLACE.try_with(user).ok().flatten()
}

/// Notes the route that answers the request this task works on.
pub(super) fn answered_by(route: Route) {
    let _ = PLACE.try_with(|place| place.route.set(Some(route)));
}

/// The route that answers the request this task works on, if one does.
pub(super) fn route() -> Option<Route> {
    PLACE.try_with(|place| place.route.get()).ok().flatten()
}

/// Waits for something. What is there at once is not waited for; else the request counts among those
/// that wait from then on, and there has to be a place for it.
pub(super) async fn waiting<T>(what: impl Future<Output = T>) -> Result<T, NoPlace> {
    let mut what = pin!(what);
    let at_once = poll_fn(|cx| match what.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Poll::Ready(None),
    });
    if let Some(done) = at_once.await {
        return Ok(done);
    }
    PLACE.try_with(Place::wait).unwrap_or(Ok(()))?;
    Ok(what.await)
}

impl From<NoPlace> for Problem {
    fn from(no_place: NoPlace) -> Self {
        let code = match no_place {
            NoPlace::Working | NoPlace::Waiting => Code::Overloaded,
            NoPlace::WorkingOfUser | NoPlace::WaitingOfSession | NoPlace::WaitingOfUser => {
                Code::TooMuchAtOnce
            }
        };
        Self::new(code, no_place.to_string())
    }
}
