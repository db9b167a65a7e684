//! Operations that list what belongs to an object.

use utoipa::openapi::path::HttpMethod;

use super::{inputs_doc, records_doc};
use crate::api::actions::naming;
use crate::api::catalog::collections::Collection;
use crate::api::catalog::relations::{Members, Relation, relations};
use crate::api::objects::read_doc::{mirrored, nouns};
use crate::openapi::answers::page;
use crate::openapi::failures;
use crate::openapi::operation::{Operation, access_to_all};
use crate::openapi::parameters;
use crate::openapi::parts::Parts;
use xenapi_model::datamodel;

/// The lists below the objects of a collection.
pub(crate) fn operations(parts: &mut Parts, collection: &Collection) -> Vec<Operation> {
    let below = relations().iter().filter(|relation| relation.parent == collection);
    below.map(|relation| list(parts, relation)).collect()
}

fn list(parts: &mut Parts, relation: &Relation) -> Operation {
    let class = |name| datamodel().class(name).expect("relations name known classes");
    let Relation { parent, path, target, members } = relation;
    let (parent_class, target_class) = (class(parent.class), class(target.class));
    let (one, _) = nouns(parent);
    let (_, many) = nouns(target);
    let field = match members {
        Members::Named(field) => parent_class.field(field),
        Members::All => None,
    };
    let summary = match field.filter(|_| *path != target.path) {
        Some(field) => format!("List the {many} that `{}` of one {one} names", field.name),
        None => format!("List the {many} of one {one}"),
    };
    let named = field.map(|field| format!("{}.get_{}", parent.class, field.name));
    let calls = match named {
        Some(named) => vec![named, format!("{}.get_record", target.class)],
        None => vec![format!("{}.get_all_records", target.class)],
    };
    let body = records_doc::list(parts, target_class);
    let found = page(parts, &format!("A page of {many}."), body);
    let failures = [failures::NOT_FOUND, failures::AMBIGUOUS, failures::EXPIRED];
    let mut parameters = parameters::of_object(parts);
    parameters.extend(parameters::of_page(parts, true));
    parameters.extend(parameters::of_versions(parts));
    Operation {
        access: access_to_all(&calls),
        calls,
        description: field
            .and_then(|field| inputs_doc::of_field(parent_class, field))
            .map(str::to_owned),
        deprecated: records_doc::is_deprecated(parent_class)
            || records_doc::is_deprecated(target_class),
        parameters,
        responses: mirrored(parts, found, &failures),
        ..Operation::own(
            HttpMethod::Get,
            &format!("/{}/{{uuid}}/{path}", parent.path),
            &naming::related(relation),
            parent.class,
            &summary,
        )
    }
}
