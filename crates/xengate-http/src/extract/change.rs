//! What every change begins and ends with: its turn, the object and whether it is as the client wants
//! it, the claim to what comes of it; and the revision from which on that shows.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::Response;
use http::request::Parts;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Authenticated, ObjectUuid, Query, Writing};
use crate::Gateway;
use crate::in_flight::NoPlace;
use crate::problem::Problem;
use crate::revision::Revision;
use crate::scope::Scope;
use crate::validators::Preconditions;
use crate::write_lock::{ObjectLock, WriteGuard};
use xenapi_model::{Class, ClassId};
use xengate_core::auth::Caller;
use xengate_core::ops::{Outcome, Reach, Work, WriteError};

/// The query of what is done on one backend.
pub trait NamesBackend {
    /// The backend that has the object, where several have one of its uuid.
    fn backend(&self) -> Option<&str>;
}

/// A change of one object; with `()` for `T`, one that is about no object that is there.
#[derive(Debug)]
pub struct Change<Q, T = ObjectUuid> {
    /// What it works with.
    pub gateway: Arc<Gateway>,
    /// Who changes.
    pub caller: Caller,
    of: T,
    /// How it is to be done.
    pub query: Q,
    /// Which version is to be changed.
    pub validators: Preconditions,
    /// What is known of the change.
    pub writing: Writing,
}

/// What is changed.
#[derive(Debug)]
pub struct Target {
    /// The caller on the backend that has it.
    pub reach: Reach,
    /// Its ref there.
    pub reference: Arc<str>,
    /// The turn that the change has, until it is seen what came of it.
    pub claim: WriteGuard,
}

impl<Q, T> FromRequestParts<Arc<Gateway>> for Change<Q, T>
where
    Q: DeserializeOwned + Send,
    T: FromRequestParts<Arc<Gateway>> + Send,
    Problem: From<T::Rejection>,
{
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        gateway: &Arc<Gateway>,
    ) -> Result<Self, Problem> {
        let Authenticated(caller) = Authenticated::from_request_parts(parts, gateway).await?;
        let of = T::from_request_parts(parts, gateway).await?;
        let Query(query) = Query::from_request_parts(parts, gateway).await?;
        let Ok(validators) = Preconditions::from_request_parts(parts, gateway).await;
        let Ok(writing) = Writing::from_request_parts(parts, gateway).await;
        Ok(Self { gateway: gateway.clone(), caller, of, query, validators, writing })
    }
}

impl<Q, T> Change<Q, T> {
    /// The answer, with a revision that shows what was done.
    #[must_use]
    pub fn done(&self, response: Response) -> Response {
        Revision::after(&self.gateway, response)
    }
}

impl<Q: NamesBackend> Change<Q, ()> {
    /// The caller on the backend that is named, or on the only one there is.
    pub async fn backend(&self) -> Result<Reach, Problem> {
        Scope::backend(&self.gateway, &self.caller, self.query.backend()).await
    }

    /// Carries `work` out to its end, whatever becomes of the request.
    pub async fn carry_out<T: Outcome, E: WriteError, F: Work<T, E>>(
        &self,
        reach: &Reach,
        operation: &str,
        work: impl FnOnce(CancellationToken) -> F,
    ) -> Result<T, E> {
        self.writing.carry_out(&self.gateway, reach, (operation, None), work).await
    }
}

impl<Q: NamesBackend> Change<Q> {
    /// The object.
    pub fn uuid(&self) -> Uuid {
        self.of.0
    }

    /// Its turn, where the request has conditions.
    pub async fn turn(&self, class: ClassId) -> Result<Option<ObjectLock>, NoPlace> {
        self.gateway.turns.conditional(&self.validators, class, self.uuid()).await
    }

    /// The object of this class, if it is as the client wants it.
    pub async fn target(&self, class: &Class) -> Result<Target, Problem> {
        let turn = self.turn(class.id).await?;
        let (reach, reference) = self.find(class).await?;
        let claim = WriteGuard::new(turn, &reach);
        Ok(Target { reach, reference, claim })
    }

    /// The same for a patch, which has a turn whatever the conditions.
    pub async fn target_of_patch(&self, class: &Class) -> Result<Target, Problem> {
        let turn = self.gateway.turns.of(class.id, self.uuid()).await?;
        let (reach, reference) = self.find(class).await?;
        let claim = WriteGuard::of_patch(turn, &reach, &self.validators);
        Ok(Target { reach, reference, claim })
    }

    async fn find(&self, class: &Class) -> Result<(Reach, Arc<str>), Problem> {
        let (gateway, caller, backend) = (&self.gateway, &self.caller, self.query.backend());
        Scope::target(gateway, caller, backend, class, self.uuid(), &self.validators).await
    }

    /// Carries `work` on the object out to its end, whatever becomes of the request.
    pub async fn carry_out<T: Outcome, E: WriteError, F: Work<T, E>>(
        &self,
        reach: &Reach,
        operation: &str,
        class: &'static Class,
        work: impl FnOnce(CancellationToken) -> F,
    ) -> Result<T, E> {
        let what = (operation, Some((&*class.name, self.uuid())));
        self.writing.carry_out(&self.gateway, reach, what, work).await
    }
}
