//! `GET /{collection}/{uuid}/{relation}`: the objects that belong to another.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use uuid::Uuid;

use super::objects::ListQuery;
use crate::auth::Caller;
use crate::datamodel::{Class, datamodel};
use crate::http::Gateway;
use crate::http::extract::{AcceptsJson, ObjectUuid, Query};
use crate::http::page::{self, Position};
use crate::http::problem::Problem;
use crate::http::relations::{Members, Relation};
use crate::http::representation::{Page, json};
use crate::http::revision::reached;
use crate::http::scope::Scope;
use crate::http::validators::{Stamp, Validators};
use crate::inventory::{Object, Snapshot};

/// A page of the objects that belong to this one, in the order of their uuids.
pub async fn list(
    State(gateway): State<Arc<Gateway>>,
    Extension(relation): Extension<&'static Relation>,
    caller: Caller,
    ObjectUuid(uuid): ObjectUuid,
    _: AcceptsJson,
    validators: Validators,
    Query(query): Query<ListQuery>,
) -> Result<Response, Problem> {
    let limit = page::limit(query.limit)?;
    let Relation { parent, path, target, members } = relation;
    let identity = format!("{}/{uuid}/{path}", parent.path);
    let from = query.cursor.map(|cursor| page::position(&identity, &cursor)).transpose()?;
    reached(&gateway, query.min_revision.as_ref()).await?;
    let scope = Scope::of(&gateway, &caller, query.backend.as_deref()).await?;
    let (reading, object) = scope.object(class(parent.class).id, uuid)?;
    let target = class(target.class);
    let etag = Stamp::of_object(reading, object)
        .table(reading.snapshot.class(target.id))
        .shaped(&(path, limit, &from))
        .etag(&gateway);
    let mut response = validators.answer(&etag, || {
        let related = related(&reading.snapshot, object, target, *members);
        let page = page_of(&related, from.as_ref(), limit);
        let next = page.next.as_ref().map(|position| page::cursor(&identity, position));
        json(page.json(next.as_deref(), &[]))
    })?;
    scope.mark_one(&mut response, object.backend(), reading);
    Ok(response)
}

fn class(name: &str) -> &'static Class {
    datamodel().class(name).expect("relations name known classes")
}

/// The related objects by uuid.
fn related<'a>(
    snapshot: &'a Snapshot,
    object: &Object,
    class: &Class,
    members: Members,
) -> BTreeMap<Uuid, &'a Arc<Object>> {
    let table = snapshot.class(class.id);
    match members {
        Members::All => table.iter().map(|object| (object.uuid(), object)).collect(),
        Members::Named(field) => object
            .record()
            .uuids(object.class(), field)
            .into_iter()
            .filter_map(|uuid| Some((uuid, table.get(&uuid)?)))
            .collect(),
    }
}

fn page_of<'a>(
    related: &BTreeMap<Uuid, &'a Arc<Object>>,
    from: Option<&Position>,
    limit: usize,
) -> Page<'a> {
    use std::ops::Bound::{Excluded, Unbounded};
    let start = from.map_or(Unbounded, |from| Excluded(from.uuid));
    let mut behind = related.range((start, Unbounded)).map(|(_, object)| *object);
    let items: Vec<&Arc<Object>> = behind.by_ref().take(limit).collect();
    let next = match (items.last(), behind.next()) {
        (Some(last), Some(_)) => {
            Some(Position { backend: last.backend().to_owned(), uuid: last.uuid() })
        }
        _ => None,
    };
    Page { items, total: related.len(), next }
}
