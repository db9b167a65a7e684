//! Parameters that operations share.

use serde_json::json;
use utoipa::Number;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::ObjectBuilder;
use utoipa::openapi::{Ref, Required, Type};

use crate::extract::LONGEST_WAIT;
use crate::openapi::parts::Parts;
use crate::openapi::shapes::{Shape, array, boolean, string, uuid};
use crate::page;
use xengate_core::xm;

/// What says which objects a list has, how it shows them, and whose they are.
pub(crate) fn of_list(parts: &mut Parts, expands: bool) -> Vec<Ref> {
    let mut parameters = of_page(parts, expands);
    parameters.push(parts.parameter("backend", backend));
    parameters
}

/// What says which objects a list has, and how it shows them.
pub(crate) fn of_page(parts: &mut Parts, expands: bool) -> Vec<Ref> {
    let mut parameters = vec![parts.parameter("filter", filter), parts.parameter("sort", sort)];
    parameters.extend(of_record(parts, expands));
    parameters.extend([parts.parameter("limit", limit), parts.parameter("cursor", cursor)]);
    parameters
}

/// What says how an object is shown.
pub(crate) fn of_record(parts: &mut Parts, expands: bool) -> Vec<Ref> {
    let fields = parts.parameter("fields", fields);
    let expand = expands.then(|| parts.parameter("expand", expand));
    std::iter::once(fields).chain(expand).collect()
}

/// Which backend's objects, where not those of all.
pub(crate) fn of_reads_backend(parts: &mut Parts) -> Ref {
    parts.parameter("backend", backend)
}

/// What says which object is meant.
pub(crate) fn of_object(parts: &mut Parts) -> Vec<Ref> {
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

/// What says how new an answer must be, and which version the client has.
pub(crate) fn of_versions(parts: &mut Parts) -> Vec<Ref> {
    vec![min_revision(parts), if_none_match(parts)]
}

/// What says how new an answer must be.
pub(crate) fn min_revision(parts: &mut Parts) -> Ref {
    let text = "A value of `Xen-Revision`: the answer shows at least what that one did. It is \
                waited for, up to 10 seconds.";
    let shape = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^[0-9a-f]{12}-[0-9]{1,19}$"))
        .examples(["0f3c9a71be42-1207"]);
    parts.parameter("min_revision", || query("min_revision", shape.into(), text))
}

/// What says which version of the object is to be changed.
pub(crate) fn if_match(parts: &mut Parts) -> Ref {
    parts.parameter("if_match", || {
        let text = "Do it only to the version of the object that has this `ETag`, in whichever \
                    form it was read; else 412, and nothing is sent. `*` is any version.";
        header("If-Match", text)
    })
}

/// Which version the client has.
pub(crate) fn if_none_match(parts: &mut Parts) -> Ref {
    let text = "The `ETag` of an answer that the client has: 304 when it is still the one.";
    parts.parameter("if_none_match", || header("If-None-Match", text))
}

fn header(name: &str, description: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(string()))
        .build()
}

/// What says which backend is meant, where no object does.
pub(crate) fn of_backend(parts: &mut Parts) -> Ref {
    let text = "The backend to do it on; needed where the session is logged in to several.";
    parts.parameter("target_backend", || query("backend", string(), text))
}

/// `Prefer: wait=N`.
pub(crate) fn prefer(parts: &mut Parts) -> Ref {
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
pub(crate) fn wait(parts: &mut Parts) -> Ref {
    let shape = integer(0, LONGEST_WAIT).default(Some(json!(0)));
    let text = "Seconds to wait for the task to end.";
    parts.parameter("wait", || query("wait", shape.into(), text))
}

/// Whether to check a change only.
pub(crate) fn dry_run(parts: &mut Parts) -> Ref {
    let text = "Check the change and answer the calls that it would take, without making any.";
    parts.parameter("dry_run", || query("dry_run", boolean(), text))
}

/// What becomes of a VM's disks.
pub(crate) fn disks(parts: &mut Parts) -> Ref {
    let shape = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(["keep", "delete"]))
        .default(Some(json!("keep")));
    let text = "What becomes of the VM's disks: `delete` has those destroyed that no other VM has.";
    parts.parameter("disks", || query("disks", shape.into(), text))
}

/// What says which VMs are printed as xm prints them, and how.
pub(crate) fn of_xm(parts: &mut Parts) -> Vec<Ref> {
    let one_of = |names: &[&str]| -> Shape {
        let names = names.iter().copied();
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).into()
    };
    let view = "What xend's own `xm` prints, as `text/plain` and unpaged: `brief` (or `list`) is \
                `xm list`, `long` and `label` its options, `vcpus` is `xm vcpu-list`. With it only \
                `state`, `name`, `pool` and `backend` are taken, and `Accept` must not name JSON alone.";
    let state = "With `view`: only VMs in this power state, as xm chooses them: what is blocked is \
                 running to it, and what is shut down or dying is halted.";
    let name = "With `view`: only VMs of this name, domid or uuid, looked for in this order. Given \
                more than once, they are printed in that order. Not with a `state` or a `pool`.";
    let pool = "With `view`: only VMs that run in the pool of CPUs of this name, as xm's `--pool`.";
    vec![
        parts.parameter("xm_view", || query("view", one_of(&xm::View::NAMES), view)),
        parts.parameter("xm_state", || query("state", one_of(&xm::State::NAMES), state)),
        parts.parameter("xm_name", || query("name", array(string()), name)),
        parts.parameter("xm_pool", || query("pool", string(), pool)),
    ]
}

/// What of the document is wanted.
pub(crate) fn of_document(parts: &mut Parts) -> Vec<Ref> {
    let tags = "Only operations with these tags, with commas between them (`VM,task`), and what \
                they name.";
    let brief = "As people read it: without what is done more simply in another way \
                 (`x-first-way`), and without naming what `expanded` may hold.";
    vec![
        parts.parameter("document_tags", || query("tags", string(), tags)),
        parts.parameter("document_brief", || query("brief", boolean(), brief)),
    ]
}

fn filter() -> Parameter {
    let text = "Which objects, as a condition on their fields: see *Filters* above. A 400 says the \
                column and what was expected there.";
    query("filter", text_of(r#"power_state = Running and name_label ~ "web-*""#), text)
}

fn sort() -> Parameter {
    let text = "Up to 8 fields with commas between them, each with a minus before it for the largest \
                first. Keys of maps and fields behind refs are named as in a filter. Values compare \
                by their types; objects without one come last; equal ones by backend and uuid. The \
                order is kept for the pages to come while they are asked for, else for 5 minutes.";
    query("sort", text_of("-memory_static_max,name_label"), text)
}

fn fields() -> Parameter {
    let text = "Which fields, with commas between them; `uuid` and `backend` always come along. \
                Without it, all.";
    query("fields", text_of("name_label,power_state"), text)
}

fn expand() -> Parameter {
    let text = "Refs to follow, with commas between the paths and up to 4 refs in each. What they \
                lead to stands once under `expanded`; the fields keep their uuids. Up to 10,000 \
                objects and 16 MiB may come along. For JSON and lines of JSON only.";
    query("expand", text_of("VBDs.VDI,resident_on"), text)
}

fn text_of(example: &str) -> Shape {
    ObjectBuilder::new().schema_type(Type::String).max_length(Some(4096)).examples([example]).into()
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

/// A parameter in the query that may be left out.
pub(crate) fn query(name: &str, shape: Shape, description: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(shape))
        .build()
}
