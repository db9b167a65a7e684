//! Settings of VMs that XAPI looks at before it stores them.

use crate::database::{NULL, Value};
use crate::edit::Edit;
use crate::operations;
use crate::protocol::Failure;
use crate::state::State;

use super::super::effect::{Effect, plain_field, set_field};
use super::super::request::{Request, not_implemented, void};
use super::check_halted;

/// What a call of this group changes.
pub(super) fn effect(call: &str) -> Option<Effect> {
    Some(match call {
        "set_start_delay" | "set_shutdown_delay" | "set_order" => Effect::AtOnce(set_natural),
        "set_blocked_operations"
        | "add_to_blocked_operations"
        | "remove_from_blocked_operations"
        | "set_snapshot_schedule"
        | "set_ha_restart_priority" => Effect::AtOnce(set_and_refresh),
        "set_appliance" => Effect::AtOnce(set_appliance),
        "set_ha_always_run" => Effect::AtOnce(|_, edit, request| {
            let vm = request.object(edit, 0, "VM")?;
            let priority = if request.flag(1) { "restart" } else { "" };
            edit.set("VM", &vm, "ha_restart_priority", Value::text(priority));
            Ok(void())
        }),
        "set_protection_policy" => {
            Effect::AtOnce(|_, _, _| Err(Failure::new::<&str>("MESSAGE_REMOVED", [])))
        }
        "set_bios_strings" => Effect::AtOnce(set_bios_strings),
        "copy_bios_strings" => Effect::AtOnce(copy_bios_strings),
        "set_HVM_boot_policy" => Effect::AtOnce(|_, edit, request| {
            let vm = request.object(edit, 0, "VM")?;
            let kind = if request.text(1).is_empty() { "pv" } else { "hvm" };
            let fields =
                [("HVM_boot_policy", request.value(1)), ("domain_type", Value::text(kind))];
            edit.set_all("VM", &vm, &fields);
            Ok(void())
        }),
        "set_domain_type" => Effect::AtOnce(|_, edit, request| {
            let vm = request.object(edit, 0, "VM")?;
            check_halted(edit, &vm)?;
            edit.set("VM", &vm, "domain_type", request.value(1));
            Ok(void())
        }),
        "set_NVRAM_EFI_variables" => Effect::AtOnce(|_, edit, request| {
            let vm = request.object(edit, 0, "VM")?;
            edit.put("VM", &vm, "NVRAM", "EFI-variables", request.value(1));
            Ok(void())
        }),
        "set_suspend_VDI" => Effect::AtOnce(set_suspend_vdi),
        _ => return None,
    })
}

fn store(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    match plain_field(request.class, request.known) {
        Some((change, field)) => set_field(edit, request, change, field),
        None => Err(not_implemented(request.known)),
    }
}

fn set_natural(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let value = request.int(1);
    if value < 0 {
        let field = request.known.name.strip_prefix("set_").unwrap_or_default();
        let text = format!("{field} must be non-negative");
        return Err(Failure::new("INVALID_VALUE", [text, value.to_string()]));
    }
    store(edit, request)
}

fn set_and_refresh(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vm = request.object(edit, 0, "VM")?;
    store(edit, request)?;
    operations::refresh(edit, "VM", &vm);
    Ok(void())
}

fn set_appliance(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vm = request.object(edit, 0, "VM")?;
    let appliance = request.optional(edit, 1, "VM_appliance")?;
    let before = edit.target("VM", &vm, "appliance");
    if edit.flag("VM", &vm, "is_control_domain") {
        let text = "Control domains cannot be added to appliances";
        return Err(Failure::new("OPERATION_NOT_ALLOWED", [text]));
    }
    let after = appliance.map_or_else(|| Value::text(NULL), Value::Text);
    edit.set("VM", &vm, "appliance", after);
    operations::refresh(edit, "VM", &vm);
    if let Some(before) = before {
        operations::refresh(edit, "VM_appliance", &before);
    }
    Ok(void())
}

fn set_bios_strings(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vm = request.object(edit, 0, "VM")?;
    if !edit.pairs("VM", &vm, "bios_strings").is_empty() {
        return Err(Failure::new::<&str>("VM_BIOS_STRINGS_ALREADY_SET", []));
    }
    store(edit, request)
}

fn copy_bios_strings(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let (vm, host) = (request.object(edit, 0, "VM")?, request.object(edit, 1, "host")?);
    if !edit.pairs("VM", &vm, "bios_strings").is_empty() {
        return Err(Failure::new::<&str>("VM_BIOS_STRINGS_ALREADY_SET", []));
    }
    let strings = Value::Map(edit.pairs("host", &host, "bios_strings").to_vec());
    edit.set("VM", &vm, "bios_strings", strings);
    Ok(void())
}

fn set_suspend_vdi(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let (vm, vdi) = (request.object(edit, 0, "VM")?, request.object(edit, 1, "VDI")?);
    let state = edit.text("VM", &vm, "power_state").to_lowercase();
    if state != "suspended" {
        return Err(Failure::new("VM_BAD_POWER_STATE", [&*vm, "suspended", &state]));
    }
    edit.set("VM", &vm, "suspend_VDI", Value::Text(vdi));
    Ok(void())
}
