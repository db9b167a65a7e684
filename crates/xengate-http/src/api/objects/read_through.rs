//! Collections that are never mirrored: secrets, roles and users, read in the caller's own session.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde_json::Value;
use uuid::Uuid;

use crate::Gateway;
use crate::api::catalog::collections::Collection;
use crate::api::objects::read::{RecordQuery, class_of};
use crate::extract::{AcceptsJson, Authenticated, ObjectUuid, Query};
use crate::listing::{Asked, Listing, Projection};
use crate::page::{BackendSlice, Objects};
use crate::problem::{Code, Problem};
use crate::representation::json;
use crate::revision::{Revision, reached};
use crate::scope::Scope;
use xenapi_mirror::inventory::{Object, of_document};
use xenapi_model::Class;
use xengate_core::ops::{OpError, Reach};

/// All objects of the class that the caller may read, on one backend.
pub async fn list(
    State(gateway): State<Arc<Gateway>>,
    Extension(collection): Extension<&'static Collection>,
    Authenticated(caller): Authenticated,
    asked: Asked,
) -> Result<Response, Problem> {
    let class = class_of(collection);
    let listing = Listing::new(collection.path, class, asked)?;
    reached(&gateway, listing.min_revision()).await?;
    let revision = Revision::last(&gateway);
    let reach = Scope::backend(&gateway, &caller, listing.backend()).await?;
    let records = reach.records(class).await?;
    let backend: Arc<str> = reach.mirror.name().into();
    let object = |(uuid, record): (Uuid, Value)| {
        Some((uuid, of_document(class, uuid, &backend, record.as_object()?)))
    };
    let objects: BTreeMap<Uuid, Arc<Object>> = records.into_iter().filter_map(object).collect();
    let snapshot = reach.snapshot()?;
    let objects = Objects::These(&objects);
    let shelf = BackendSlice { backend: &backend, snapshot: &snapshot, objects };
    let mut response = listing.answer_anew(&gateway, &caller, &[shelf]).await?;
    revision.mark(&mut response);
    Ok(response)
}

/// One object, read in the caller's own session.
pub async fn get(
    State(gateway): State<Arc<Gateway>>,
    Extension(collection): Extension<&'static Collection>,
    Authenticated(caller): Authenticated,
    ObjectUuid(uuid): ObjectUuid,
    _: AcceptsJson,
    Query(query): Query<RecordQuery>,
) -> Result<Response, Problem> {
    let class = class_of(collection);
    let showing = Projection::new(class, &query.fields, &query.expand)?;
    reached(&gateway, query.min_revision.as_ref()).await?;
    let revision = Revision::last(&gateway);
    let reach = Scope::backend(&gateway, &caller, query.backend.as_deref()).await?;
    let record = reach.record(class, uuid).await?;
    let record = record.as_ref().and_then(Value::as_object);
    let record = record.ok_or_else(|| Problem::new(Code::NotFound, "no object of this uuid"))?;
    let object = of_document(class, uuid, reach.mirror.name(), record);
    let document = showing.document(&gateway, &caller, &reach.snapshot()?, &object).await?;
    let mut response = json(document);
    revision.mark(&mut response);
    Ok(response)
}

/// The record of one object, if there is one.
pub(crate) async fn record(
    reach: &Reach,
    class: &'static Class,
    uuid: Uuid,
) -> Result<Option<Vec<u8>>, OpError> {
    let record = reach.record(class, uuid).await?;
    Ok(record.map(|record| record.to_string().into_bytes()))
}
