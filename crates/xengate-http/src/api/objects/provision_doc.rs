//! What making and destroying a VM takes beyond what it takes for other objects.

use serde_json::json;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder};

use super::{inputs_doc, write_doc};
use crate::api::actions::doc::json_body;
use crate::api::tasks;
use crate::openapi::description::Description;
use crate::openapi::endpoint::{Access, Endpoint, access_to_all};
use crate::openapi::parameters;
use crate::openapi::parts::Parts;
use crate::openapi::shapes::{Shape, array, boolean, described, or_null_shape, string, whole_ref};
use xenapi_model::{Class, Roles, datamodel};
use xengate_core::ops::patch::writable;

/// More disks or NICs than any VM can have.
const MOST_DEVICES: usize = 255;

/// The calls that every provisioning makes.
const PROVISIONING: [&str; 2] = ["VM.clone", "VM.provision"];
/// Those that it makes if it is told to.
const OPTIONAL: [&str; 5] = ["VM.copy", "VDI.create", "VBD.create", "VIF.create", "VM.start"];

/// `POST /vms`: from a template, or from nothing.
pub(crate) fn provisions(from_nothing: Endpoint) -> Endpoint {
    let provisioning = PROVISIONING.map(str::to_owned);
    let access = either(from_nothing.access, access_to_all(&provisioning));
    let calls =
        [from_nothing.calls.clone(), provisioning.into(), OPTIONAL.map(str::to_owned).into()];
    from_nothing.calls(calls.concat()).open_to(access)
}

/// What the document says of it.
pub(crate) fn provision(
    parts: &mut Parts,
    from_nothing: Description,
    fields: ObjectBuilder,
) -> Description {
    let scratch = parts.schema("VmFromScratch", |_| {
        fields.description(Some("A VM without disks or NICs, as `VM.create` makes it.")).into()
    });
    let template = from_template(parts);
    let body = parts.schema("VmCreate", |_| {
        let either = OneOfBuilder::new().item(template).item(scratch);
        either.description(Some("From a template, or from nothing.")).into()
    });
    let (mut responses, mut parameters) =
        (from_nothing.responses.clone(), from_nothing.parameters.clone());
    responses.push(tasks::doc::started(parts));
    parameters.push(parameters::prefer(parts));
    Description {
        parameters,
        responses,
        body: Some(json_body(body, true)),
        description: Some(
            "With a `template` a task clones or (to another `sr`) copies it, provisions it, changes \
             fields, adds disks and NICs and starts the VM, which is the task's `result`: 202 with \
             the task, or 201 with the VM once it was waited for (`Prefer: wait=N`). When a step \
             fails, what the task has made is taken back; what cannot be is told in \
             `left_behind`. Without one the VM is made as the fields say, and answered with a 201."
                .into(),
        ),
        ..from_nothing
    }
}

/// Whoever may do the one or the other.
fn either(one: Access, other: Access) -> Access {
    match (one, other) {
        (Access::Roles(one), Access::Roles(other)) => Access::Roles(Roles(one.0 | other.0)),
        (one, _) => one,
    }
}

fn from_template(parts: &mut Parts) -> Shape {
    let disk = new_disk(parts);
    parts.schema("VmFromTemplate", |_| {
        let class = class();
        let few = |items: Shape| match array(items) {
            RefOr::T(utoipa::openapi::Schema::Array(mut array)) => {
                array.max_items = Some(MOST_DEVICES);
                RefOr::T(utoipa::openapi::Schema::Array(array))
            }
            other => other,
        };
        let sr = "The storage repository to copy all disks to; unless given, they are cloned \
                  where they are, and those that the template orders without saying where are \
                  made in the pool's default one.";
        let start = "Whether to start the VM; not unless given.";
        let order = [
            ("template", described(whole_ref("VM"), "The template, or a snapshot.")),
            ("name_label", described(string(), "The VM's name.")),
            ("sr", described(or_null_shape(whole_ref("SR")), sr)),
            ("networks", described(few(whole_ref("network")), "Networks to have a NIC on each.")),
            ("disks", described(few(disk), "Disks beside those of the template.")),
            ("start", described(boolean(), start)),
        ];
        let fields = writable(class).filter(|(field, _)| field.name != "name_label");
        let fields = fields.map(|(field, writing)| {
            (field.name.as_str(), write_doc::change_of(class, field, writing))
        });
        let members: Vec<_> = order.into_iter().chain(fields).collect();
        inputs_doc::body(members, &["template", "name_label"])
            .description(Some("A VM from a template; fields not named are the template's."))
            .examples([json!({
                "template": "4f1a6c5e-9f0b-4c8d-8a51-2f7de0c3b944",
                "name_label": "web-2",
                "networks": ["8d2e7f60-1c4b-4d3a-9b5e-6f708192a3b4"],
                "disks": [{"virtual_size": 21_474_836_480_u64, "name_label": "data"}],
                "memory_static_max": 4_294_967_296_u64,
                "start": true,
            })])
            .into()
    })
}

fn new_disk(parts: &mut Parts) -> Shape {
    parts.schema("DiskCreate", |_| {
        let size =
            ObjectBuilder::new().schema_type(utoipa::openapi::Type::Integer).minimum(Some(1));
        let sr = "Where; unless given, the VM's `sr` or else the pool's default one.";
        let bootable = "Whether the VM boots from it; unless given, the first disk of a VM is.";
        inputs_doc::body(
            [
                ("sr", described(whole_ref("SR"), sr)),
                ("virtual_size", described(size.into(), "In bytes.")),
                (
                    "name_label",
                    described(
                        string(),
                        "Its name; the VM's unless given, numbered from the second on.",
                    ),
                ),
                ("name_description", described(string(), "What it is for.")),
                ("bootable", described(boolean(), bootable)),
            ],
            &["virtual_size"],
        )
        .description(Some("A disk for a new VM."))
        .into()
    })
}

/// `DELETE /vms/{uuid}`: with its disks, or without.
pub(crate) fn destroys(endpoint: Endpoint) -> Endpoint {
    endpoint.makes(["VM.destroy"]).calls(["VM.destroy", "VDI.destroy"])
}

/// What the document says of it.
pub(crate) fn destroy(parts: &mut Parts, description: Description) -> Description {
    let (mut parameters, mut responses) =
        (description.parameters.clone(), description.responses.clone());
    parameters.extend([parameters::disks(parts), parameters::prefer(parts)]);
    responses.push(tasks::doc::started(parts));
    Description {
        parameters,
        responses,
        description: Some(
            "A task does it: 204 when it was waited for and has succeeded. Disks stay unless they \
             are to be deleted, which takes the right to `VDI.destroy` too; the task's `result` \
             then lists the uuids of those `deleted` and those `kept` because other VMs have them."
                .into(),
        ),
        ..description
    }
}

fn class() -> &'static Class {
    datamodel().class("VM").expect("the Xen-API has VMs")
}
