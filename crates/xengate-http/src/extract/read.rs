//! What every read of an object begins and ends with: the revision that is waited for, what the
//! caller may see, the object; and the tag, the client's conditions and how old the answer may be.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::Response;
use http::request::Parts;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{AcceptsJson, Authenticated, NamesBackend, ObjectUuid, Query};
use crate::Gateway;
use crate::problem::Problem;
use crate::revision::{Revision, reached};
use crate::scope::Scope;
use crate::validators::{EtagBuilder, Preconditions};
use xenapi_mirror::inventory::{Object, Reading};
use xenapi_model::ClassId;
use xengate_core::auth::Caller;
use xengate_core::ops::Reach;

impl From<Infallible> for Problem {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// The query of a read.
pub trait NamesRevision: NamesBackend {
    /// What the answer must show at least.
    fn min_revision(&self) -> Option<&Revision>;
}

/// A read of one object; `A` is what the client accepts.
#[derive(Debug)]
pub struct Read<Q, A = AcceptsJson> {
    /// What it works with.
    pub gateway: Arc<Gateway>,
    /// Who reads.
    pub caller: Caller,
    /// The object.
    pub uuid: Uuid,
    /// In which form it is wanted.
    pub accepts: A,
    /// What the client has already.
    pub validators: Preconditions,
    /// What is wanted of it.
    pub query: Q,
}

/// The object of a read, with what it was found in.
#[derive(Debug)]
pub struct Found {
    scope: Scope,
    /// What is mirrored of its backend.
    pub reading: Arc<Reading>,
    /// The object.
    pub object: Arc<Object>,
}

impl<Q, A> FromRequestParts<Arc<Gateway>> for Read<Q, A>
where
    Q: DeserializeOwned + Send,
    A: FromRequestParts<Arc<Gateway>> + Send,
    Problem: From<A::Rejection>,
{
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        gateway: &Arc<Gateway>,
    ) -> Result<Self, Problem> {
        let Authenticated(caller) = Authenticated::from_request_parts(parts, gateway).await?;
        let ObjectUuid(uuid) = ObjectUuid::from_request_parts(parts, gateway).await?;
        let accepts = A::from_request_parts(parts, gateway).await?;
        let Ok(validators) = Preconditions::from_request_parts(parts, gateway).await;
        let Query(query) = Query::from_request_parts(parts, gateway).await?;
        Ok(Self { gateway: gateway.clone(), caller, uuid, accepts, validators, query })
    }
}

impl<Q: NamesRevision, A> Read<Q, A> {
    /// The object of this class, once the revision that is asked for is reached. `also` are other
    /// classes that are read for the answer.
    pub async fn find(
        &self,
        class: ClassId,
        also: impl IntoIterator<Item = ClassId>,
    ) -> Result<Found, Problem> {
        reached(&self.gateway, self.query.min_revision()).await?;
        let reads = std::iter::once(class).chain(also);
        let backend = self.query.backend();
        let scope = Scope::of_classes(&self.gateway, &self.caller, backend, reads).await?;
        let (reading, object) = scope.object(class, self.uuid)?;
        let (reading, object) = (reading.clone(), object.clone());
        Ok(Found { scope, reading, object })
    }

    /// The caller on the object's backend.
    pub fn reach(&self, found: &Found) -> Result<Reach, Problem> {
        Scope::reach(&self.gateway, &self.caller, found.object.backend())
    }

    /// The answer that `make` makes, unless the client has it.
    pub fn answer(
        &self,
        found: &Found,
        stamp: &EtagBuilder,
        make: impl FnOnce() -> Response,
    ) -> Result<Response, Problem> {
        let response = self.validators.answer(&stamp.etag(&self.gateway), make)?;
        Ok(found.mark(response))
    }
}

impl Found {
    /// The answer, with its revision and how old it may be.
    #[must_use]
    pub fn mark(&self, mut response: Response) -> Response {
        self.scope.mark_one(&mut response, self.object.backend(), &self.reading);
        response
    }
}
