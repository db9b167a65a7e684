//! `GET /{collection}` and `GET /{collection}/{uuid}` for every collection that is mirrored.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use crate::auth::Caller;
use crate::datamodel::{Class, datamodel};
use crate::http::Gateway;
use crate::http::collections::{self, Collection};
use crate::http::extract::{AcceptsJson, ObjectUuid, Query};
use crate::http::page;
use crate::http::problem::Problem;
use crate::http::representation::{Page, json};
use crate::http::revision::{Revision, reached};
use crate::http::scope::Scope;
use crate::http::validators::{Stamp, Validators};
use crate::inventory::View;

/// The query of a list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// How many objects the page has at most.
    pub limit: Option<u64>,
    /// Where the page begins: `next` of the page before.
    pub cursor: Option<String>,
    /// Only this backend's objects.
    pub backend: Option<String>,
    /// What the answer must show at least.
    pub min_revision: Option<Revision>,
}

/// The query of one object.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectQuery {
    /// The backend that has the object, where several have one of its uuid.
    pub backend: Option<String>,
    /// What the answer must show at least.
    pub min_revision: Option<Revision>,
}

/// The query of what is done to an object.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetQuery {
    /// The backend that has the object, where several have one of its uuid.
    pub backend: Option<String>,
}

/// The class of a collection.
pub(super) fn class_of(collection: &Collection) -> &'static Class {
    datamodel().class(collection.class).expect("collections name known classes")
}

/// The class of a collection, and its view of that class.
fn class_and_view(collection: &Collection) -> (&'static Class, View) {
    let class = class_of(collection);
    let view = match collection.view {
        collections::View::All | collections::View::Machines => View::Plain,
        collections::View::Templates => View::Template,
        collections::View::Snapshots => View::Snapshot,
    };
    (class, view)
}

/// A page of the collection.
pub async fn list(
    State(gateway): State<Arc<Gateway>>,
    Extension(collection): Extension<&'static Collection>,
    caller: Caller,
    _: AcceptsJson,
    validators: Validators,
    Query(query): Query<ListQuery>,
) -> Result<Response, Problem> {
    let limit = page::limit(query.limit)?;
    // A cursor is good for this collection and this choice of backend.
    let identity = format!("{}?{}", collection.path, query.backend.as_deref().unwrap_or_default());
    let from = query.cursor.map(|cursor| page::position(&identity, &cursor)).transpose()?;
    reached(&gateway, query.min_revision.as_ref()).await?;
    let scope = Scope::of(&gateway, &caller, query.backend.as_deref()).await?;
    let (class, view) = class_and_view(collection);
    let tables = scope.readings().iter().map(|(_, reading)| reading.snapshot.view(class, view));
    let stamp = tables.fold(Stamp::of_list(&scope, collection.path), Stamp::table);
    let etag = stamp.shaped(&(limit, &from)).etag(&gateway);
    let mut response = validators.answer(&etag, || {
        let page = Page::of(&scope, class, view, from.as_ref(), limit);
        let next = page.next.as_ref().map(|position| page::cursor(&identity, position));
        json(page.json(next.as_deref(), scope.partial()))
    })?;
    scope.mark(&mut response);
    Ok(response)
}

/// One object of the collection's class, whatever view it belongs to.
pub async fn get(
    State(gateway): State<Arc<Gateway>>,
    Extension(collection): Extension<&'static Collection>,
    caller: Caller,
    ObjectUuid(uuid): ObjectUuid,
    _: AcceptsJson,
    validators: Validators,
    Query(query): Query<ObjectQuery>,
) -> Result<Response, Problem> {
    reached(&gateway, query.min_revision.as_ref()).await?;
    let scope = Scope::of(&gateway, &caller, query.backend.as_deref()).await?;
    let (class, _) = class_and_view(collection);
    let (reading, object) = scope.object(class.id, uuid)?;
    let etag = Stamp::of_object(reading, object).etag(&gateway);
    let mut response = validators.answer(&etag, || json(object.record().json().to_vec()))?;
    scope.mark_one(&mut response, object.backend(), reading);
    Ok(response)
}
