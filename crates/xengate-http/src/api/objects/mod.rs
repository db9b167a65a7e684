//! Objects of the Xen-API: reading them, making, changing and destroying them.

pub mod inputs_doc;
pub mod provision_doc;
pub mod read;
pub mod read_doc;
pub mod read_through;
pub mod records_doc;
pub mod related;
pub mod related_doc;
pub mod write;
pub mod write_doc;
pub mod xm_list;

use self::{read_doc as reads, write_doc as writes};
use super::catalog::collections::{Collection, Source, View};
use crate::openapi::endpoint::Endpoint;
use xengate_core::ops::create::{constructor, destructor};
use xengate_core::ops::patch::writable;

/// What clients can do with a collection and its objects: as much as the datamodel lets them.
pub(crate) fn endpoints(collection: &'static Collection) -> Vec<Endpoint> {
    let class = read::class_of(collection);
    let list = match (collection.view, collection.source) {
        // The Xen-API does not list users.
        _ if !class.get_all && !class.gen_events => None,
        (View::Machines, _) => Some(reads::list(collection, xm_list::list)),
        (_, Source::Mirror) => Some(reads::list(collection, read::list)),
        (_, Source::ReadThrough) => Some(reads::list(collection, read_through::list)),
    };
    let object = match collection.source {
        Source::Mirror => reads::object(collection, read::get),
        Source::ReadThrough => reads::object(collection, read_through::get),
    };
    let is_part = matches!(collection.view, View::Templates | View::Snapshots);
    let create =
        constructor(class).filter(|_| !is_part).map(|call| writes::create(collection, call));
    let change = writable(class).next().map(|_| writes::change(collection));
    let destroy = destructor(class).map(|call| writes::destroy(collection, call));
    [list, Some(object), create, change, destroy].into_iter().flatten().collect()
}
