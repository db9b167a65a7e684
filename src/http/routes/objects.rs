//! `GET /{collection}` and `GET /{collection}/{uuid}` for every collection that is mirrored.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use serde::Deserialize;

use crate::auth::Caller;
use crate::datamodel::{Class, datamodel};
use crate::http::Gateway;
use crate::http::collections::{self, Collection};
use crate::http::extract::{AcceptsJson, AcceptsObject, ObjectUuid, Query, SXP};
use crate::http::page;
use crate::http::problem::{Code, Problem};
use crate::http::representation::{Page, json};
use crate::http::scope::{Scope, mark};
use crate::inventory::{Object, View};

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
}

/// The query of one object.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectQuery {
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
    Query(query): Query<ListQuery>,
) -> Result<Response, Problem> {
    let limit = page::limit(query.limit)?;
    // A cursor is good for this collection and this choice of backend.
    let identity = format!("{}?{}", collection.path, query.backend.as_deref().unwrap_or_default());
    let from = query.cursor.map(|cursor| page::position(&identity, &cursor)).transpose()?;
    let scope = Scope::of(&gateway, &caller, query.backend.as_deref()).await?;
    let (class, view) = class_and_view(collection);
    let page = Page::of(&scope, class, view, from.as_ref(), limit);
    let next = page.next.as_ref().map(|position| page::cursor(&identity, position));
    let mut response = json(page.json(next.as_deref(), scope.partial()));
    scope.mark(&mut response);
    Ok(response)
}

/// One object of the collection's class, whatever view it belongs to.
pub async fn get(
    State(gateway): State<Arc<Gateway>>,
    Extension(collection): Extension<&'static Collection>,
    caller: Caller,
    ObjectUuid(uuid): ObjectUuid,
    accepts: AcceptsObject,
    Query(query): Query<ObjectQuery>,
) -> Result<Response, Problem> {
    let scope = Scope::of(&gateway, &caller, query.backend.as_deref()).await?;
    let (class, _) = class_and_view(collection);
    let (reading, object) = scope.object(class.id, uuid)?;
    let mut response = match accepts {
        AcceptsObject::Json => json(whole(object)),
        AcceptsObject::Sxp => sxp(object)?,
    };
    mark(&mut response, std::iter::once((object.backend(), reading)));
    Ok(response)
}

/// The object's record, and with it the form that xend itself has of it, if there is one.
fn whole(object: &Object) -> Vec<u8> {
    let record = object.record().json();
    match (object.raw(), record.strip_suffix(b"}")) {
        (Some(raw), Some(start)) => [start, b",\"xend_sxp\":", raw.as_bytes(), b"}"].concat(),
        _ => record.to_vec(),
    }
}

/// The object as xend describes it.
fn sxp(object: &Object) -> Result<Response, Problem> {
    let none = || Problem::new(Code::NotAcceptable, "there is no s-expression of this object");
    let mut response = Body::from(object.sxp().ok_or_else(none)?).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(SXP));
    Ok(response)
}
