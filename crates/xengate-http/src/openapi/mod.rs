//! The OpenAPI document: what every operation takes and answers, built from the datamodel.
//!
//! [`operations()`] is the list that everything else follows: the document, the one-line-per-operation
//! text that people review, and the tests that walk the API.

pub(crate) mod answers;
mod choice;
pub(crate) mod examples;
pub(crate) mod failures;
mod groups;
mod older;
pub(crate) mod operation;
pub(crate) mod parameters;
pub(crate) mod parts;
pub(crate) mod problem;
pub(crate) mod shapes;
pub(crate) mod text;
pub(crate) mod tree;

pub use self::choice::Choice;
pub use self::operation::{Access, Operation};

use std::collections::HashSet;
use std::sync::OnceLock;

use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Paths, ServerBuilder,
};

use self::parts::Parts;
use self::tree::Node;
use crate::api::catalog::collections::{calls_of, calls_only, collection_of, collections};
use crate::api::objects::{read_doc, related_doc, write_doc};
use crate::api::sessions::permissions_doc;
use crate::api::{actions, events, gateway, prometheus, samples, sessions, tasks};
use xenapi_model::{datamodel, describe};

/// A version of OpenAPI that the document can be had in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 3.1, as it is written.
    Newest,
    /// 3.0.3, for programs that do not know 3.1.
    Older,
}

struct Built {
    operations: Vec<Operation>,
    components: Components,
}

fn built() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut parts = Parts::default();
        let mut operations = sessions::doc::operations(&mut parts);
        operations.push(permissions_doc::operation(&mut parts));
        operations.extend(gateway::doc::operations(&mut parts));
        operations.extend(prometheus::doc::operations(&mut parts));
        operations.extend(events::doc::operations(&mut parts));
        for collection in collections() {
            let class = datamodel().class(collection.class).expect("collections name classes");
            operations.extend(read_doc::operations(&mut parts, collection, class));
            operations.extend(samples::doc::operations(&mut parts, collection, class));
            operations.extend(write_doc::operations(&mut parts, collection, class));
            if collection.class == "task" {
                operations.extend(tasks::doc::operations(&mut parts));
            }
            operations.extend(related_doc::operations(&mut parts, collection));
        }
        operations.extend(all_actions(&mut parts, &operations));
        Built { operations, components: parts.finish() }
    })
}

/// The calls that clients make by name, at each class's own collection.
fn all_actions(parts: &mut Parts, others: &[Operation]) -> Vec<Operation> {
    let taken: HashSet<&str> = others.iter().map(|operation| operation.id.as_str()).collect();
    let all = collections().iter().chain(calls_only());
    let own = all.filter(|one| calls_of(one.class) == Some(one));
    let actions = own.flat_map(|collection| {
        let class = datamodel().class(collection.class).expect("collections name classes");
        actions::doc::operations(parts, collection, class, &|id| taken.contains(id))
    });
    actions.collect()
}

/// Every operation, in the order in which people read them.
pub fn operations() -> &'static [Operation] {
    &built().operations
}

/// One line per operation: method, path, operationId, the least role that will do, calls.
pub fn operations_text() -> String {
    let mut lines: Vec<_> =
        operations().iter().map(|operation| (&operation.path, operation.line())).collect();
    lines.sort();
    lines.into_iter().map(|(_, line)| line + "\n").collect()
}

/// The document.
pub fn document() -> OpenApi {
    let mut components = built().components.clone();
    components.add_security_scheme(operation::SECURITY_SCHEME, security());
    components.add_security_scheme(operation::SCRAPER_SCHEME, prometheus::doc::security());
    let mut paths = Paths::new();
    for operation in operations() {
        let methods = vec![operation.method.clone()];
        paths.add_path_operation(&operation.path, methods, operation.document());
    }
    let info = InfoBuilder::new()
        .title("xengate")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(include_str!("info.md").trim_end()))
        .license(Some(
            LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build(),
        ));
    let server =
        ServerBuilder::new().url("/").description(Some("The gateway that serves this document"));
    let mut document = OpenApiBuilder::new()
        .info(info)
        .servers(Some([server.build()]))
        .tags(Some(tags()))
        .paths(paths)
        .components(Some(components))
        .build();
    document.extensions = Some(Extensions::from_iter([("x-tagGroups", groups())]));
    document
}

/// The document as text, in an order that never changes.
pub fn json() -> &'static str {
    static JSON: OnceLock<String> = OnceLock::new();
    JSON.get_or_init(|| text::render(&Node::of(&document()), text::Layout::Compact))
}

/// The same for people: indented, with a newline at its end.
pub fn pretty() -> String {
    text::render(&Node::of(&document()), text::Layout::Indented)
}

/// What is wanted of the document, in a version of OpenAPI, as text.
pub fn part(version: Version, choice: &Choice) -> String {
    let whole: Node = serde_json::from_str(json()).expect("this was just written");
    let part = if choice.is_all() { whole } else { choice.of(&whole) };
    let part = match version {
        Version::Newest => part,
        Version::Older => older::of(part),
    };
    text::render(&part, text::Layout::Compact)
}

/// Whether the document has operations with this tag.
pub fn has_tag(tag: &str) -> bool {
    operations().iter().any(|operation| operation.tag == tag)
}

/// The tags in groups.
fn groups() -> serde_json::Value {
    let tags = tags();
    groups::of(&tags.iter().map(|tag| tag.name.as_str()).collect::<Vec<_>>())
}

fn security() -> SecurityScheme {
    let text = "The token that `POST /sessions` answers.";
    let http = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
    SecurityScheme::Http(http.description(Some(text)).build())
}

fn tags() -> Vec<utoipa::openapi::Tag> {
    let tag = |name: &str, description: &str| {
        TagBuilder::new().name(name).description(Some(description)).build()
    };
    let own = gateway::doc::TAGS.iter().chain(events::doc::TAGS);
    let mut tags: Vec<_> = own.map(|(name, text)| tag(name, text)).collect();
    let mut classes: Vec<&str> = collections().iter().map(|collection| collection.class).collect();
    classes.dedup();
    let calls_only = calls_only().iter().map(|collection| collection.class);
    // Sessions have their place among the gateway's own.
    classes.extend(calls_only.filter(|class| *class != "session"));
    for class in classes {
        let what = if collection_of(class).is_some() { "Objects" } else { "Calls" };
        let fallback = format!("{what} of the Xen-API class `{class}`.");
        tags.push(tag(class, describe(class).map_or(&fallback, |words| &words.summary)));
    }
    tags
}
