//! Operations that read collections: lists, single objects and their sub-resources.

use serde_json::json;
use utoipa::openapi::path::{HttpMethod, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::ObjectBuilder;
use utoipa::openapi::{Ref, RefOr, Required, Response};

use super::answers::{self, Failure};
use super::operation::{Access, Operation};
use super::parts::Parts;
use super::records;
use super::shapes::{Shape, string, uuid};
use crate::datamodel::{Class, Roles, State, datamodel};
use crate::http::collections::{Collection, View};
use crate::http::page;

/// The operations of a collection: its list and its objects.
pub(super) fn operations(parts: &mut Parts, collection: &Collection) -> Vec<Operation> {
    let class = datamodel().class(collection.class).expect("collections name classes only");
    let mut operations = vec![list(parts, collection, class), object(parts, collection, class)];
    if collection.class == "VM" && collection.view == View::Machines {
        operations.push(vm_metrics(parts));
    }
    operations
}

fn list(parts: &mut Parts, collection: &Collection, class: &Class) -> Operation {
    let (_, many) = nouns(collection);
    let body = records::list(parts, class);
    let page = format!("A page of {many}.");
    let description = match collection.view {
        View::Machines => Some(
            "Control domains are VMs too; templates and snapshots have collections of their own.",
        ),
        View::Templates => Some("VMs to clone from: `is_a_template`, and not a snapshot."),
        View::Snapshots => Some("Snapshots of VMs and of templates: `is_a_snapshot`."),
        View::All => None,
    };
    // A class without that call is listed from its events all the same.
    let call = class.call("get_all_records").or_else(|| class.call("get_record"));
    let calls: Vec<_> = call.map(|call| call.wire_name.clone()).into_iter().collect();
    Operation {
        method: HttpMethod::Get,
        path: format!("/{}", collection.path),
        id: format!("list{}", collection.many),
        tag: class.name.clone(),
        access: access(&calls),
        calls,
        summary: format!("List {many}"),
        description: description.map(str::to_owned),
        deprecated: is_deprecated(class),
        parameters: vec![
            parts.parameter("limit", limit),
            parts.parameter("cursor", cursor),
            parts.parameter("backend", backend),
        ],
        body: None,
        responses: responses(parts, &page, body, &[answers::UNKNOWN_BACKEND]),
    }
}

fn object(parts: &mut Parts, collection: &Collection, class: &Class) -> Operation {
    let (one, _) = nouns(collection);
    let body = records::record(parts, class);
    let description = (collection.view == View::Machines).then_some(
        "Answers for templates and snapshots too: a VM keeps its path when it is marked.",
    );
    let calls = vec![format!("{}.get_record", class.name)];
    Operation {
        method: HttpMethod::Get,
        path: format!("/{}/{{uuid}}", collection.path),
        id: format!("get{}", collection.one),
        tag: class.name.clone(),
        access: access(&calls),
        calls,
        summary: format!("Read one {one}"),
        description: description.map(str::to_owned),
        deprecated: is_deprecated(class),
        parameters: object_parameters(parts),
        body: None,
        responses: responses(parts, "The record.", body, &OBJECT_FAILURES),
    }
}

fn vm_metrics(parts: &mut Parts) -> Operation {
    let body = records::vm_metrics(parts);
    let calls = vec!["VM_metrics.get_record".to_owned(), "VM_guest_metrics.get_record".to_owned()];
    Operation {
        method: HttpMethod::Get,
        path: "/vms/{uuid}/metrics".into(),
        id: "getVmMetrics".into(),
        tag: "VM".into(),
        access: access(&calls),
        calls,
        summary: "Read a VM's metrics".into(),
        description: Some(
            "The VM's VM_metrics record, and under `guest` its VM_guest_metrics record. A VM \
             without a metrics record (a template, for one) answers 404."
                .into(),
        ),
        deprecated: false,
        parameters: object_parameters(parts),
        body: None,
        responses: responses(parts, "The metrics.", body, &OBJECT_FAILURES),
    }
}

const OBJECT_FAILURES: [Failure; 2] = [answers::NOT_FOUND, answers::AMBIGUOUS];

fn responses(
    parts: &mut Parts,
    description: &str,
    body: Shape,
    more: &[Failure],
) -> Vec<(u16, RefOr<Response>)> {
    let success = answers::answer(parts, description, Some(body));
    let success = answers::freshness(parts, success).build();
    answers::with(parts, (200, success), &[&answers::OF_SESSION, more].concat())
}

/// The roles that may make all of these calls.
pub(super) fn access(calls: &[String]) -> Access {
    let roles = calls.iter().map(|name| {
        let (_, call) = datamodel().call(name).expect("operations name the datamodel's calls");
        call.roles.0
    });
    Access::Roles(Roles(roles.fold(u8::MAX, |all, roles| all & roles)))
}

fn is_deprecated(class: &Class) -> bool {
    matches!(class.lifecycle.state, State::Deprecated | State::Removed)
}

/// What one object and several are called: `GPU group`, `GPU groups`.
fn nouns(collection: &Collection) -> (String, String) {
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

fn object_parameters(parts: &mut Parts) -> Vec<Ref> {
    vec![parts.parameter("uuid", uuid_in_path), parts.parameter("backend", backend)]
}

fn query(name: &str, shape: Shape, description: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(shape))
        .build()
}

fn limit() -> Parameter {
    let shape = ObjectBuilder::new()
        .schema_type(utoipa::openapi::Type::Integer)
        .minimum(Some(1))
        .maximum(Some(page::MAX_LIMIT))
        .default(Some(json!(page::DEFAULT_LIMIT)));
    query("limit", shape.into(), "How many items a page has at most.")
}

fn cursor() -> Parameter {
    query("cursor", string(), "Where the page begins: `next` of the page before.")
}

fn backend() -> Parameter {
    query("backend", string(), "Look on this backend only.")
}

fn uuid_in_path() -> Parameter {
    ParameterBuilder::new()
        .name("uuid")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some("The object's uuid."))
        .schema(Some(uuid()))
        .build()
}
