//! Parameters that operations share.

use serde_json::json;
use utoipa::Number;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::ObjectBuilder;
use utoipa::openapi::{Ref, Required, Type};

use super::parts::Parts;
use super::shapes::{Shape, boolean, string, uuid};
use crate::http::extract::LONGEST_WAIT;
use crate::http::page;

/// What says where a page of a list begins and ends, and whose objects it has.
pub(super) fn of_list(parts: &mut Parts) -> Vec<Ref> {
    vec![
        parts.parameter("limit", limit),
        parts.parameter("cursor", cursor),
        parts.parameter("backend", backend),
    ]
}

/// Which backend's objects, where not those of all.
pub(super) fn of_reads_backend(parts: &mut Parts) -> Ref {
    parts.parameter("backend", backend)
}

/// What says which object is meant.
pub(super) fn of_object(parts: &mut Parts) -> Vec<Ref> {
    let uuid = || {
        ParameterBuilder::new()
            .name("uuid")
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .description(Some("The object's uuid."))
            .schema(Some(uuid()))
            .build()
    };
    vec![parts.parameter("uuid", uuid), parts.parameter("backend", backend)]
}

/// What says which backend is meant, where no object does.
pub(super) fn of_backend(parts: &mut Parts) -> Ref {
    let text = "The backend to do it on; needed where the session is logged in to several.";
    parts.parameter("target_backend", || query("backend", string(), text))
}

/// `Prefer: wait=N`.
pub(super) fn prefer(parts: &mut Parts) -> Ref {
    parts.parameter("prefer", || {
        let text = format!(
            "`wait=N` (RFC 7240) waits up to so many seconds, {LONGEST_WAIT} at most, for the task \
             to end, and answers how it did."
        );
        // No pattern: preferences of other kinds are no error (RFC 7240).
        let shape = ObjectBuilder::new().schema_type(Type::String).examples(["wait=30"]);
        ParameterBuilder::new()
            .name("Prefer")
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(text))
            .schema(Some(shape))
            .build()
    })
}

/// How long to wait for a task.
pub(super) fn wait(parts: &mut Parts) -> Ref {
    let shape = integer(0, LONGEST_WAIT).default(Some(json!(0)));
    let text = "Seconds to wait for the task to end.";
    parts.parameter("wait", || query("wait", shape.into(), text))
}

/// Whether to check a change only.
pub(super) fn dry_run(parts: &mut Parts) -> Ref {
    let text = "Check the change and answer the calls that it would take, without making any.";
    parts.parameter("dry_run", || query("dry_run", boolean(), text))
}

/// What becomes of a VM's disks.
pub(super) fn disks(parts: &mut Parts) -> Ref {
    let shape = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(["keep", "delete"]))
        .default(Some(json!("keep")));
    let text = "What becomes of the VM's disks: `delete` has those destroyed that no other VM has.";
    parts.parameter("disks", || query("disks", shape.into(), text))
}

fn limit() -> Parameter {
    let shape = integer(1, page::MAX_LIMIT).default(Some(json!(page::DEFAULT_LIMIT)));
    query("limit", shape.into(), "How many items a page has at most.")
}

fn cursor() -> Parameter {
    query("cursor", string(), "Where the page begins: `next` of the page before.")
}

fn backend() -> Parameter {
    query("backend", string(), "Look on this backend only.")
}

fn integer(minimum: impl Into<Number>, maximum: impl Into<Number>) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(minimum)).maximum(Some(maximum))
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
