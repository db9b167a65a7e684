//! Queries that take long: off the workers, a few at a time, by turns of their users.
//!
//! What a query costs is known before it is asked ([`Cost`]). What costs more than one may is refused;
//! what costs much is done on threads that answer nobody else, in slices, so that no user keeps others
//! waiting for longer than one of them. Of a client that has gone the next slice is not done.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::problem::{Code, Problem};
use xenapi_client::fair::{Bounds, Full, Places, Sharer};
use xenapi_mirror::inventory::query::Cost;
use xengate_config::Limits;

/// What costs more is not done on the workers, in steps: some milliseconds.
const MUCH: u64 = 100_000;

/// What is done in one slice, in steps.
pub const SLICE: u64 = 500_000;

/// How many slices may wait for their turn, and of one user.
const MOST_WAITING: usize = 256;
const MOST_WAITING_OF_ONE: usize = 64;

/// Where queries are worked on that take long.
#[derive(Debug)]
pub struct Costly {
    places: Arc<Places>,
    most: u64,
}

impl Costly {
    /// One for each two processors, of which a user has one.
    pub fn new(limits: &Limits) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let places = Places::new(Bounds {
            size: (processors / 2).max(1),
            most_of_one: 1,
            most_waiting: MOST_WAITING,
            most_waiting_of_one: MOST_WAITING_OF_ONE,
        });
        Self { places, most: limits.max_query_cost }
    }

    /// Whether a query costs more than one may.
    pub fn is_too_much(&self, cost: &Cost) -> bool {
        cost.steps > self.most
    }

    /// Whether a query costs so much that it is to be worked on here.
    pub fn is_much(cost: &Cost) -> bool {
        cost.steps > MUCH
    }

    /// Refuses what costs more than a query may.
    pub fn permit(&self, cost: &Cost) -> Result<(), Problem> {
        if !self.is_too_much(cost) {
            return Ok(());
        }
        let (steps, most) = (cost.steps, self.most);
        let advice = cost.advice().map(|advice| format!(": {advice}")).unwrap_or_default();
        let detail = format!(
            "the query would take about {steps} steps, and {most} are permitted \
             (limits.max_query_cost){advice}"
        );
        Err(Problem::new(Code::QueryTooCostly, detail)
            .with_params([steps.to_string(), most.to_string()]))
    }

    /// Does work slice by slice, each in the user's turn, until it is done.
    pub async fn work<T, W>(&self, user: Sharer, mut work: W) -> Result<T, Problem>
    where
        T: Send + 'static,
        W: FnMut() -> ControlFlow<T> + Send + 'static,
    {
        loop {
            let place = self.places.place(user).await.map_err(no_place)?;
            let slice = tokio::task::spawn_blocking(move || {
                let done = work();
                drop(place);
                (done, work)
            });
            match slice.await {
                Ok((ControlFlow::Break(done), _)) => return Ok(done),
                Ok((ControlFlow::Continue(()), again)) => work = again,
                Err(error) => {
                    tracing::error!(%error, "a costly query could not be answered");
                    return Err(Problem::from(Code::Internal));
                }
            }
        }
    }

    /// Does work that is done at once.
    pub async fn work_once<T: Send + 'static>(
        &self,
        user: Sharer,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let mut work = Some(work);
        self.work(user, move || match work.take() {
            Some(work) => ControlFlow::Break(work()),
            None => ControlFlow::Continue(()),
        })
        .await
    }
}

fn no_place(full: Full) -> Problem {
    match full {
        Full::OfUser(waiting) => {
            let detail = format!("{waiting} costly queries of this user wait already");
            Problem::new(Code::TooMuchAtOnce, detail)
        }
        Full::Waiting(waiting) => {
            Problem::new(Code::Overloaded, format!("{waiting} costly queries wait already"))
        }
    }
}
