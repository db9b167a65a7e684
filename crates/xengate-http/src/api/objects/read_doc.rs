//! Operations that read collections: lists, single objects and their sub-resources.

use std::sync::Arc;

use axum::handler::Handler;
use utoipa::openapi::{Ref, RefOr, Response, ResponseBuilder};

use super::read::class_of;
use super::records_doc;
use crate::Gateway;
use crate::api::actions::naming;
use crate::api::catalog::collections::{Collection, Source, View};
use crate::openapi::answers;
use crate::openapi::description::Description;
use crate::openapi::endpoint::{Endpoint, With};
use crate::openapi::failures;
use crate::openapi::failures::Failure;
use crate::openapi::parameters;
use crate::openapi::parts::Parts;
use xenapi_model::Class;

/// `GET /{collection}`.
pub(crate) fn list<H, T>(collection: &'static Collection, handler: H) -> Endpoint
where
    H: Handler<T, Arc<Gateway>>,
    T: 'static,
{
    let class = class_of(collection);
    // A class without that call is listed from its events all the same.
    let call = class.call("get_all_records").or_else(|| class.call("get_record"));
    Endpoint::get(
        &format!("/{}", collection.path),
        &naming::list(collection),
        &class.name,
        With(collection, handler),
        move |parts| describe_list(parts, collection, class),
    )
    .makes(call.map(|call| call.wire_name.clone()))
}

fn describe_list(parts: &mut Parts, collection: &Collection, class: &Class) -> Description {
    let (_, many) = nouns(collection);
    let body = records_doc::list(parts, class);
    let page = format!("A page of {many}.");
    let description = match (collection.view, collection.class) {
        (View::Machines, _) => Some(
            "Control domains are VMs too; templates and snapshots have collections of their own. \
             With `Accept: text/plain` and a `view` the list is what xend's own `xm list` prints.",
        ),
        (View::Templates, _) => Some("VMs to clone from: `is_a_template`, and not a snapshot."),
        (View::Snapshots, _) => Some("Snapshots of VMs and of templates: `is_a_snapshot`."),
        (View::All, "task") => Some(
            "Those of the pools, and those that the gateway started and keeps for an hour after \
             their end: the caller's own, and for pool operators everyone's.",
        ),
        (View::All, _) => None,
    };
    let expands = collection.source == Source::Mirror;
    let mut parameters = parameters::of_list(parts, expands);
    parameters.extend(versions(parts, collection));
    let printed = collection.view == View::Machines;
    if printed {
        parameters.extend(parameters::of_xm(parts));
    }
    let found = answers::page(parts, &page, body);
    let found = if printed { answers::printed(found) } else { found };
    let failures = if printed { &PRINTED_FAILURES } else { &LIST_FAILURES };
    let responses = responses(parts, collection, found, failures);
    Description {
        description: description.map(str::to_owned),
        deprecated: records_doc::is_deprecated(class),
        parameters,
        ..Description::of(format!("List {many}"), responses)
    }
}

/// `GET /{collection}/{uuid}`.
pub(crate) fn object<H, T>(collection: &'static Collection, handler: H) -> Endpoint
where
    H: Handler<T, Arc<Gateway>>,
    T: 'static,
{
    let class = class_of(collection);
    Endpoint::get(
        &format!("/{}/{{uuid}}", collection.path),
        &naming::of_one("get", collection),
        &class.name,
        With(collection, handler),
        move |parts| describe_object(parts, collection, class),
    )
    .makes([format!("{}.get_record", class.name)])
}

fn describe_object(parts: &mut Parts, collection: &Collection, class: &Class) -> Description {
    let (one, _) = nouns(collection);
    let body = records_doc::record(parts, class);
    let (view, name) = (collection.view, collection.class);
    let description = match (view, name) {
        (View::Machines, _) => Some(
            "Answers for templates and snapshots too: a VM keeps its path when it is marked. A \
                 domain of xend's legacy dialect is also there as `application/sxp`, and as \
                 `xend_sxp` in JSON.",
        ),
        (_, "task") => Some("With `wait` once it has ended, or the wait is over."),
        _ => None,
    };
    let mut parameters = parameters::of_object(parts);
    if name == "task" {
        parameters.push(parameters::wait(parts));
    }
    parameters.extend(parameters::of_record(parts, collection.source == Source::Mirror));
    parameters.extend(versions(parts, collection));
    let found = answers::answer(parts, "The record.", Some(body));
    let responses = responses(parts, collection, found, &OBJECT_FAILURES);
    Description {
        description: description.map(str::to_owned),
        deprecated: records_doc::is_deprecated(class),
        parameters,
        ..Description::of(format!("Read one {one}"), responses)
    }
}

const OBJECT_FAILURES: [Failure; 2] = [failures::NOT_FOUND, failures::AMBIGUOUS];
const LIST_FAILURES: [Failure; 3] =
    [failures::UNKNOWN_BACKEND, failures::ANOTHER_BOOT, failures::EXPIRED];

/// A name may be printed that no VM has.
const PRINTED_FAILURES: [Failure; 3] =
    [failures::NOT_FOUND, failures::ANOTHER_BOOT, failures::EXPIRED];

/// How new an answer must be, and what the client has, where answers have versions.
fn versions(parts: &mut Parts, collection: &Collection) -> Vec<Ref> {
    match collection.source {
        Source::Mirror => parameters::of_versions(parts),
        Source::ReadThrough => vec![parameters::min_revision(parts)],
    }
}

fn responses(
    parts: &mut Parts,
    collection: &Collection,
    found: ResponseBuilder,
    more: &[Failure],
) -> Vec<(u16, RefOr<Response>)> {
    match collection.source {
        Source::Mirror => mirrored(parts, found, more),
        Source::ReadThrough => {
            let found = answers::revision(parts, found).build();
            let expired = more.iter().filter(|failure| failure.status() == 410).copied();
            let failures: Vec<Failure> = failures::OF_CALL.into_iter().chain(expired).collect();
            answers::with(parts, (200, found), &failures)
        }
    }
}

/// The responses of a read that the live mirror answers.
pub(crate) fn mirrored(
    parts: &mut Parts,
    found: ResponseBuilder,
    more: &[Failure],
) -> Vec<(u16, RefOr<Response>)> {
    let found = answers::versions(parts, found);
    let found = answers::freshness(parts, found).build();
    let failures = [&failures::OF_SESSION[..], &failures::OF_MIRROR, more].concat();
    let mut responses = answers::with(parts, (200, found), &failures);
    responses.push(answers::not_modified(parts));
    responses
}

/// What one object and several are called: `GPU group`, `GPU groups`.
pub(crate) fn nouns(collection: &Collection) -> (String, String) {
    let one = match collection.view {
        View::Templates => "VM template".to_owned(),
        View::Snapshots => "VM snapshot".to_owned(),
        View::Machines | View::All => collection.class.replace('_', " "),
    };
    // The path has the plural, the class the capitals.
    let (front, last) = one.rsplit_once(' ').unwrap_or(("", &one));
    let plural = collection.path.rsplit('-').next().unwrap_or_default();
    let plural = match plural.strip_prefix(&last.to_ascii_lowercase()) {
        Some(ending) => format!("{last}{ending}"),
        None => plural.to_owned(),
    };
    let many = if front.is_empty() { plural } else { format!("{front} {plural}") };
    (one, many)
}
