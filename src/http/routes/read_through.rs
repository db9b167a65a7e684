//! Collections that are never mirrored: secrets, roles and users, read in the caller's own session.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use uuid::Uuid;

use super::objects::{ListQuery, ObjectQuery, class_of};
use crate::auth::Caller;
use crate::datamodel::Class;
use crate::http::Gateway;
use crate::http::collections::Collection;
use crate::http::extract::{AcceptsJson, ObjectUuid, Query};
use crate::http::page;
use crate::http::problem::{Code, Problem};
use crate::http::representation::json;
use crate::http::revision::{Revision, reached};
use crate::http::scope::Scope;
use crate::ops::{OpError, Reach};

/// All objects of the class that the caller may read, on one backend.
pub async fn list(
    State(gateway): State<Arc<Gateway>>,
    Extension(collection): Extension<&'static Collection>,
    caller: Caller,
    _: AcceptsJson,
    Query(query): Query<ListQuery>,
) -> Result<Response, Problem> {
    let limit = page::limit(query.limit)?;
    let identity = format!("{}?{}", collection.path, query.backend.as_deref().unwrap_or_default());
    let from = query.cursor.map(|cursor| page::position(&identity, &cursor)).transpose()?;
    reached(&gateway, query.min_revision.as_ref()).await?;
    let revision = Revision::last(&gateway);
    let reach = Scope::backend(&gateway, &caller, query.backend.as_deref()).await?;
    let records = reach.records(class_of(collection)).await?;
    let total = records.len();
    let behind = |uuid: &Uuid| from.as_ref().is_none_or(|from| *uuid > from.uuid);
    let mut rest = records.into_iter().filter(|(uuid, _)| behind(uuid)).peekable();
    let mut items = Vec::new();
    let mut last = None;
    while let (true, Some((uuid, record))) = (items.len() < limit, rest.next()) {
        items.push(record);
        last = Some(uuid);
    }
    let next = last.filter(|_| rest.peek().is_some()).map(|uuid| {
        let backend = reach.mirror.name().to_owned();
        page::cursor(&identity, &page::Position { backend, uuid })
    });
    let list = serde_json::json!({"items": items, "total": total, "next": next});
    let mut response = json(list.to_string());
    revision.mark(&mut response);
    Ok(response)
}

/// One object, read in the caller's own session.
pub async fn get(
    State(gateway): State<Arc<Gateway>>,
    Extension(collection): Extension<&'static Collection>,
    caller: Caller,
    ObjectUuid(uuid): ObjectUuid,
    _: AcceptsJson,
    Query(query): Query<ObjectQuery>,
) -> Result<Response, Problem> {
    reached(&gateway, query.min_revision.as_ref()).await?;
    let revision = Revision::last(&gateway);
    let reach = Scope::backend(&gateway, &caller, query.backend.as_deref()).await?;
    let record = record(&reach, class_of(collection), uuid).await?;
    let record = record.ok_or_else(|| Problem::new(Code::NotFound, "no object of this uuid"))?;
    let mut response = json(record);
    revision.mark(&mut response);
    Ok(response)
}

/// The record of one object, if there is one.
pub(super) async fn record(
    reach: &Reach,
    class: &'static Class,
    uuid: Uuid,
) -> Result<Option<Vec<u8>>, OpError> {
    let record = reach.record(class, uuid).await?;
    Ok(record.map(|record| record.to_string().into_bytes()))
}
