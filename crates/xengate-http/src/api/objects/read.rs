//! `GET /{collection}` and `GET /{collection}/{uuid}` for every collection that is mirrored.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, header};
use serde::Deserialize;

use crate::Gateway;
use crate::api::catalog::collections;
use crate::api::catalog::collections::Collection;
use crate::extract::{AcceptsObject, Authenticated, NamesBackend, NamesRevision, Read, SXP};
use crate::listing::{Asked, Listing, Projection};
use crate::page::{BackendSlice, Objects};
use crate::problem::{Code, Problem};
use crate::representation::json;
use crate::revision::{Revision, reached};
use crate::scope::Scope;
use crate::validators::{EtagBuilder, Preconditions};
use xenapi_mirror::inventory::{Object, View};
use xenapi_model::{Class, datamodel};
use xengate_core::ops::{OpError, Version, is_gone};

/// The query of one object.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectQuery {
    /// The backend that has the object, where several have one of its uuid.
    pub backend: Option<String>,
    /// What the answer must show at least.
    pub min_revision: Option<Revision>,
}

/// The query of one object's record.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordQuery {
    /// The backend that has the object, where several have one of its uuid.
    pub backend: Option<String>,
    /// What the answer must show at least.
    pub min_revision: Option<Revision>,
    /// Which fields.
    pub fields: Option<String>,
    /// With which other objects.
    pub expand: Option<String>,
}

/// The query of what is done to an object.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetQuery {
    /// The backend that has the object, where several have one of its uuid.
    pub backend: Option<String>,
}

impl NamesBackend for ObjectQuery {
    fn backend(&self) -> Option<&str> {
        self.backend.as_deref()
    }
}

impl NamesRevision for ObjectQuery {
    fn min_revision(&self) -> Option<&Revision> {
        self.min_revision.as_ref()
    }
}

impl NamesBackend for RecordQuery {
    fn backend(&self) -> Option<&str> {
        self.backend.as_deref()
    }
}

impl NamesRevision for RecordQuery {
    fn min_revision(&self) -> Option<&Revision> {
        self.min_revision.as_ref()
    }
}

impl NamesBackend for TargetQuery {
    fn backend(&self) -> Option<&str> {
        self.backend.as_deref()
    }
}

/// The class of a collection.
pub(crate) fn class_of(collection: &Collection) -> &'static Class {
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
    Authenticated(caller): Authenticated,
    validators: Preconditions,
    asked: Asked,
) -> Result<Response, Problem> {
    let (class, view) = class_and_view(collection);
    let listing = Listing::new(collection.path, class, asked)?;
    reached(&gateway, listing.min_revision()).await?;
    let scope = Scope::of_classes(&gateway, &caller, listing.backend(), listing.reads()).await?;
    if is_gone(class) {
        refuse_if_gone(&scope, class)?;
    }
    let tables = scope.readings().iter().map(|(_, reading)| reading.snapshot.view(class, view));
    let stamp = tables.fold(EtagBuilder::of_list(&scope, collection.path), EtagBuilder::table);
    let etag = listing.stamped(stamp, scope.snapshots()).etag(&gateway);
    let shelves: Vec<BackendSlice<'_>> =
        scope.shelves(|snapshot| Objects::Table(snapshot.view(class, view))).collect();
    let known = (&validators, &etag);
    let mut response = listing.answer(&gateway, &caller, known, &shelves, scope.partial()).await?;
    scope.mark(&mut response);
    Ok(response)
}

/// A class that is gone has no list on backends that have lost it, all of them.
fn refuse_if_gone(scope: &Scope, class: &Class) -> Result<(), Problem> {
    let mut why = None;
    for snapshot in scope.snapshots() {
        match Version::of(snapshot).lacks_class(class, snapshot) {
            Some(lacks) => why = Some(lacks),
            None => return Ok(()),
        }
    }
    match why {
        Some(why) => {
            Err(OpError::NotSupported { what: class.name.clone(), why, pointer: None }.into())
        }
        None => Ok(()),
    }
}

/// One object of the collection's class, whatever view it belongs to.
pub async fn get(
    Extension(collection): Extension<&'static Collection>,
    read: Read<RecordQuery, AcceptsObject>,
) -> Result<Response, Problem> {
    let (class, _) = class_and_view(collection);
    let Read { gateway, query, accepts, .. } = &read;
    let showing = Projection::new(class, &query.fields, &query.expand)?;
    let found = read.find(class.id, showing.classes()).await?;
    let (reading, object) = (&*found.reading, &found.object);
    let mut stamp = EtagBuilder::of_object(reading, object);
    let whole = query.fields.is_none() && query.expand.is_none();
    if let Some(raw) = object.raw().filter(|_| whole || *accepts == AcceptsObject::Sxp) {
        // xend's own form changes from poll to poll, which makes no new version of the object.
        stamp = stamp.shaped(&raw);
    }
    if *accepts == AcceptsObject::Sxp {
        let text = sxp(object)?;
        return read.answer(&found, &stamp.shaped(&SXP), || text);
    }
    let etag = showing.stamped(stamp, &reading.snapshot, class).etag(gateway);
    let response = match read.validators.not_modified(&etag)? {
        Some(response) => response,
        None => {
            let document =
                showing.document(gateway, &read.caller, &reading.snapshot, object).await?;
            etag.on(json(if whole { with_sxp(document, object) } else { document }))
        }
    };
    Ok(found.mark(response))
}

/// The document, and with it the form that xend itself has of the object, if there is one.
fn with_sxp(document: Bytes, object: &Object) -> Bytes {
    match (object.raw(), document.strip_suffix(b"}")) {
        (Some(raw), Some(start)) => {
            Bytes::from([start, b",\"xend_sxp\":", raw.as_bytes(), b"}"].concat())
        }
        _ => document,
    }
}

/// The object as xend describes it.
fn sxp(object: &Object) -> Result<Response, Problem> {
    let none = || Problem::new(Code::NotAcceptable, "there is no s-expression of this object");
    let mut response = Body::from(object.sxp().ok_or_else(none)?).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(SXP));
    Ok(response)
}
