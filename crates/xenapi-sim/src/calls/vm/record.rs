//! VMs as records: made, unmade, and turned into templates and back.

use crate::database::{NULL, Text, Value};
use crate::edit::Edit;
use crate::operations;
use crate::protocol::Failure;
use crate::state::State;

use super::super::effect::Effect;
use super::super::object::{add, record};
use super::super::request::{Request, void};
use super::template;

/// What a VM needs beside its memory.
const OVERHEAD: i64 = 13_631_488;

/// What a call of this group changes.
pub(super) fn effect(call: &str) -> Option<Effect> {
    Some(match call {
        "create" => Effect::AtOnce(create),
        "destroy" => Effect::Operation("destroy", destroy),
        "provision" => Effect::Operation("provision", template::provision),
        "set_is_a_template" => Effect::AtOnce(set_is_a_template),
        "set_is_default_template" => Effect::AtOnce(set_is_default_template),
        _ => return None,
    })
}

/// The record is all there is: what it says is checked when the VM starts.
fn create(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let mut fields = record(request);
    let given = |name: &str| fields.iter().find(|(known, _)| *known == name).map(|(_, v)| v);
    let mut other_config = match given("other_config") {
        Some(Value::Map(pairs)) => pairs.clone(),
        _ => Vec::new(),
    };
    let seed = Value::text("mac_seed");
    if !other_config.iter().any(|(key, _)| *key == seed) {
        other_config.insert(0, (seed, Value::Text(edit.identifiers.uuid())));
    }
    let hvm = given("HVM_boot_policy").and_then(Value::as_text).is_some_and(|p| !p.is_empty());
    let kind = match given("domain_type").and_then(Value::as_text).map(|kind| &**kind) {
        None | Some("unspecified") => Value::text(if hvm { "hvm" } else { "pv" }),
        Some(kind) => Value::text(kind),
    };
    let platform_version = match given("hardware_platform_version") {
        Some(Value::Int(version)) if *version > 0 => *version,
        _ => i64::from(given("has_vendor_device") == Some(&Value::Bool(true))) * 2,
    };
    let idle = Value::Map(vec![(Value::Int(0), Value::Float(0.0))]);
    let metrics = edit.add("VM_metrics", &[("VCPUs_utilisation", idle)]);
    fields.retain(|(name, _)| {
        !matches!(*name, "power_state" | "suspend_VDI" | "last_booted_record" | "is_vmss_snapshot")
    });
    fields.extend([
        ("other_config", Value::Map(other_config)),
        ("domain_type", kind),
        ("hardware_platform_version", Value::Int(platform_version)),
        ("power_state", Value::text("Halted")),
        ("resident_on", Value::text(NULL)),
        ("memory_overhead", Value::Int(OVERHEAD)),
        ("domid", Value::Int(-1)),
        ("metrics", Value::Text(metrics)),
        ("blocked_operations", Value::Map(Vec::new())),
        ("bios_strings", Value::Map(Vec::new())),
        ("protection_policy", Value::text(NULL)),
        ("snapshot_schedule", Value::text(NULL)),
    ]);
    Ok(Value::Text(add(edit, request.class, &fields)))
}

fn destroy(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vm = request.object(edit, 0, "VM")?;
    remove(edit, &vm);
    Ok(void())
}

/// Removes a VM with all that is its own; its disks stay.
pub(in crate::calls) fn remove(edit: &mut Edit<'_>, vm: &Text) {
    let parent = Value::Text(edit.text("VM", vm, "parent").clone());
    for child in edit.texts("VM", vm, "children") {
        edit.set("VM", &child, "parent", parent.clone());
    }
    if let Some(image) = edit.target("VM", vm, "suspend_VDI") {
        edit.destroy("VDI", &image);
    }
    for (class, field, metrics) in [
        ("VBD", "VBDs", Some("VBD_metrics")),
        ("VIF", "VIFs", Some("VIF_metrics")),
        ("VGPU", "VGPUs", None),
        ("VUSB", "VUSBs", None),
        ("VTPM", "VTPMs", None),
        ("console", "consoles", None),
    ] {
        for part in edit.texts("VM", vm, field) {
            let vdi = (class == "VBD").then(|| edit.target("VBD", &part, "VDI")).flatten();
            if let Some(metrics) = metrics {
                let measured = edit.text(class, &part, "metrics").clone();
                edit.destroy(metrics, &measured);
            }
            edit.destroy(class, &part);
            if let Some(vdi) = vdi {
                operations::refresh(edit, "VDI", &vdi);
            }
        }
    }
    for (class, field) in [("VM_metrics", "metrics"), ("VM_guest_metrics", "guest_metrics")] {
        let measured = edit.text("VM", vm, field).clone();
        edit.destroy(class, &measured);
    }
    let appliance = edit.target("VM", vm, "appliance");
    edit.destroy("VM", vm);
    if let Some(appliance) = appliance {
        operations::refresh(edit, "VM_appliance", &appliance);
    }
}

fn set_is_a_template(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vm = request.object(edit, 0, "VM")?;
    if request.flag(1) {
        operations::check(edit, "VM", &vm, "make_into_template")?;
    } else {
        edit.set("VM", &vm, "is_default_template", Value::Bool(false));
    }
    edit.set("VM", &vm, "is_a_template", Value::Bool(request.flag(1)));
    operations::refresh(edit, "VM", &vm);
    Ok(void())
}

fn set_is_default_template(
    _: &State,
    edit: &mut Edit<'_>,
    request: &Request,
) -> Result<Value, Failure> {
    let vm = request.object(edit, 0, "VM")?;
    if request.flag(1) && !edit.flag("VM", &vm, "is_a_template") {
        operations::check(edit, "VM", &vm, "make_into_template")?;
        edit.set("VM", &vm, "is_a_template", Value::Bool(true));
    }
    edit.set("VM", &vm, "is_default_template", Value::Bool(request.flag(1)));
    operations::refresh(edit, "VM", &vm);
    Ok(void())
}
