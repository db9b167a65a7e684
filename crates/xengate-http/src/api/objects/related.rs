//! `GET /{collection}/{uuid}/{relation}`: the objects that belong to another.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use uuid::Uuid;

use crate::Gateway;
use crate::api::catalog::relations::{Members, Relation};
use crate::extract::{Authenticated, ObjectUuid};
use crate::listing::{Asked, Listing};
use crate::page::{BackendSlice, Objects};
use crate::problem::Problem;
use crate::revision::reached;
use crate::scope::Scope;
use crate::validators::{EtagBuilder, Preconditions};
use xenapi_mirror::inventory::{Object, Snapshot};
use xenapi_model::{Class, datamodel};

/// A page of the objects that belong to this one.
pub async fn list(
    State(gateway): State<Arc<Gateway>>,
    Extension(relation): Extension<&'static Relation>,
    Authenticated(caller): Authenticated,
    ObjectUuid(uuid): ObjectUuid,
    validators: Preconditions,
    asked: Asked,
) -> Result<Response, Problem> {
    let Relation { parent, path, target, members } = relation;
    let target = class(target.class);
    let listing = Listing::new(&format!("{}/{uuid}/{path}", parent.path), target, asked)?;
    reached(&gateway, listing.min_revision()).await?;
    let parent = class(parent.class);
    let reads = listing.reads().chain([parent.id]);
    let scope = Scope::of_classes(&gateway, &caller, listing.backend(), reads).await?;
    let (reading, object) = scope.object(parent.id, uuid)?;
    let snapshot = &reading.snapshot;
    let stamp =
        EtagBuilder::of_object(reading, object).table(snapshot.class(target.id)).shaped(path);
    let etag = listing.stamped(stamp, std::iter::once(&**snapshot)).etag(&gateway);
    let related = related(snapshot, object, target, *members);
    let backend = object.backend().into();
    let shelf = BackendSlice { backend: &backend, snapshot, objects: Objects::These(&related) };
    let known = (&validators, &etag);
    let mut response = listing.answer(&gateway, &caller, known, &[shelf], &[]).await?;
    scope.mark_one(&mut response, object.backend(), reading);
    Ok(response)
}

fn class(name: &str) -> &'static Class {
    datamodel().class(name).expect("relations name known classes")
}

/// The related objects by uuid.
fn related(
    snapshot: &Snapshot,
    object: &Object,
    class: &Class,
    members: Members,
) -> BTreeMap<Uuid, Arc<Object>> {
    let table = snapshot.class(class.id);
    match members {
        Members::All => table.iter().map(|object| (object.uuid(), object.clone())).collect(),
        Members::Named(field) => object
            .record()
            .uuids(object.class(), field)
            .into_iter()
            .filter_map(|uuid| Some((uuid, table.get(&uuid)?.clone())))
            .collect(),
    }
}
