//! Operations that list what belongs to an object.

use super::related;
use super::{inputs_doc, records_doc};
use crate::api::actions::naming;
use crate::api::catalog::collections::Collection;
use crate::api::catalog::relations::{Members, Relation, relations};
use crate::api::objects::read_doc::{mirrored, nouns};
use crate::openapi::answers::page;
use crate::openapi::description::Description;
use crate::openapi::endpoint::{Endpoint, With};
use crate::openapi::failures;
use crate::openapi::parameters;
use crate::openapi::parts::Parts;
use xenapi_model::{Class, Field, datamodel};

/// The lists below the objects of a collection.
pub(crate) fn endpoints(collection: &'static Collection) -> Vec<Endpoint> {
    relations().iter().filter(|relation| relation.parent == collection).map(list).collect()
}

fn class(name: &str) -> &'static Class {
    datamodel().class(name).expect("relations name known classes")
}

fn field_of(relation: &Relation) -> Option<&'static Field> {
    match &relation.members {
        Members::Named(field) => class(relation.parent.class).field(field),
        Members::All => None,
    }
}

fn list(relation: &'static Relation) -> Endpoint {
    let Relation { parent, path, target, .. } = relation;
    let calls = match field_of(relation) {
        Some(field) => vec![
            format!("{}.get_{}", parent.class, field.name),
            format!("{}.get_record", target.class),
        ],
        None => vec![format!("{}.get_all_records", target.class)],
    };
    Endpoint::get(
        &format!("/{}/{{uuid}}/{path}", parent.path),
        &naming::related(relation),
        parent.class,
        With(relation, related::list),
        move |parts| describe(parts, relation),
    )
    .makes(calls)
}

fn describe(parts: &mut Parts, relation: &Relation) -> Description {
    let Relation { parent, path, target, .. } = relation;
    let (parent_class, target_class) = (class(parent.class), class(target.class));
    let (one, _) = nouns(parent);
    let (_, many) = nouns(target);
    let field = field_of(relation);
    let summary = match field.filter(|_| *path != target.path) {
        Some(field) => format!("List the {many} that `{}` of one {one} names", field.name),
        None => format!("List the {many} of one {one}"),
    };
    let body = records_doc::list(parts, target_class);
    let found = page(parts, &format!("A page of {many}."), body);
    let failures = [failures::NOT_FOUND, failures::AMBIGUOUS, failures::EXPIRED];
    let mut parameters = parameters::of_object(parts);
    parameters.extend(parameters::of_page(parts, true));
    parameters.extend(parameters::of_versions(parts));
    Description {
        description: field
            .and_then(|field| inputs_doc::of_field(parent_class, field))
            .map(str::to_owned),
        deprecated: records_doc::is_deprecated(parent_class)
            || records_doc::is_deprecated(target_class),
        parameters,
        ..Description::of(summary, mirrored(parts, found, &failures))
    }
}
