//! A request that changes something, and what is known of the change while it is answered.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::Gateway;
use crate::problem::{Code, Problem};
use xengate_core::ops::{Outcome, Reach, Work, Write, WriteError};

/// What is known of the change that a request makes; an extension of requests that may make one.
/// Whoever breaks off the answer says what is known.
#[derive(Debug, Default)]
pub struct Underway(Mutex<Option<Begun>>);

/// A change of which the first call may have been sent.
#[derive(Debug, Clone)]
struct Begun {
    operation: String,
    object: Option<(&'static str, Uuid)>,
    task: Option<Uuid>,
}

impl Underway {
    /// Whether anything may have been sent.
    pub fn has_begun(&self) -> bool {
        self.0.lock().is_some()
    }

    /// What a client is told that is not answered in time; none if nothing was sent.
    pub fn problem(&self) -> Option<Problem> {
        let Begun { operation, object, task } = self.0.lock().clone()?;
        let mut detail = format!(
            "the request took too long; {operation} was begun, goes on, and what comes of it is not \
             known yet"
        );
        if let Some(task) = task {
            detail.push_str(&format!(": see /tasks/{task}"));
        }
        let task = task.map(|task| task.to_string());
        let params = [operation].into_iter().chain(task);
        let problem = Problem::new(Code::OutcomeUnknown, detail).with_params(params);
        Some(match object {
            Some((class, uuid)) => problem.with_object(class, &uuid.to_string()),
            None => problem,
        })
    }
}

/// A request that changes something.
#[derive(Debug, Clone)]
pub struct Writing {
    underway: Arc<Underway>,
}

impl<S: Sync> FromRequestParts<S> for Writing {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let underway = parts.extensions.get::<Arc<Underway>>().cloned().unwrap_or_default();
        Ok(Self { underway })
    }
}

impl Writing {
    /// Carries `work` out to its end, whatever becomes of the request: see [`Writes`].
    ///
    /// [`Writes`]: xengate_core::ops::Writes
    pub async fn carry_out<T: Outcome, E: WriteError, F: Work<T, E>>(
        &self,
        gateway: &Gateway,
        reach: &Reach,
        (operation, object): (&str, Option<(&'static str, Uuid)>),
        work: impl FnOnce(CancellationToken) -> F,
    ) -> Result<T, E> {
        let operation = operation.to_owned();
        let begun = Begun { operation: operation.clone(), object, task: None };
        *self.underway.0.lock() = Some(begun);
        let object = object.map(|(_, uuid)| uuid);
        let write = Write { operation, object };
        let done = gateway.writes.carry_out(reach, write, work).await;
        if let (Ok(done), Some(begun)) = (&done, &mut *self.underway.0.lock()) {
            begun.task = done.task();
        }
        done
    }

    /// Notes that a task does it.
    pub fn started(&self, operation: &str, object: Option<(&'static str, Uuid)>, task: Uuid) {
        let operation = operation.to_owned();
        *self.underway.0.lock() = Some(Begun { operation, object, task: Some(task) });
    }
}
