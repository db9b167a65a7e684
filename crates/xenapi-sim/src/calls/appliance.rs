//! Appliances: VMs that start and stop together, in the order that they are given.

use crate::database::Text;
use crate::database::Value;
use crate::edit::Edit;
use crate::operations;
use crate::protocol::Failure;
use crate::state::State;

use super::effect::Effect;
use super::request::{Request, void};
use super::vm;

/// What a call of this class changes.
pub(super) fn effect(call: &str) -> Option<Effect> {
    Some(match call {
        "start" => Effect::Operation("start", start),
        "clean_shutdown" => Effect::Operation("clean_shutdown", stop),
        "hard_shutdown" => Effect::Operation("hard_shutdown", stop),
        "shutdown" => Effect::Operation("shutdown", stop),
        "destroy" => Effect::AtOnce(destroy),
        _ => return None,
    })
}

fn members(edit: &Edit<'_>, appliance: &str) -> Vec<Text> {
    let mut vms = edit.texts("VM_appliance", appliance, "VMs");
    vms.sort_by_key(|vm| edit.int("VM", vm, "order"));
    vms
}

/// What could not be done is told in the end; the others are done all the same.
fn partly(appliance: &str, failed: &[Text]) -> Result<Value, Failure> {
    if failed.is_empty() {
        return Ok(void());
    }
    let text = format!("VM_appliance {appliance}: {}", failed.join(" "));
    Err(Failure::new("OPERATION_PARTIALLY_FAILED", [text]))
}

fn start(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let appliance = request.object(edit, 0, "VM_appliance")?;
    let mut failed = Vec::new();
    for vm in members(edit, &appliance) {
        if &**edit.text("VM", &vm, "power_state") != "Halted" {
            continue;
        }
        let allowed = operations::check(edit, "VM", &vm, "start");
        if allowed.and_then(|()| vm::start_anywhere(edit, &vm, request.flag(1))).is_err() {
            failed.push(vm.clone());
        }
        operations::refresh(edit, "VM", &vm);
    }
    partly(&appliance, &failed)
}

fn stop(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let appliance = request.object(edit, 0, "VM_appliance")?;
    let mut failed = Vec::new();
    for vm in members(edit, &appliance).into_iter().rev() {
        if &**edit.text("VM", &vm, "power_state") == "Halted" {
            continue;
        }
        match operations::check(edit, "VM", &vm, "hard_shutdown") {
            Ok(()) => vm::halt(edit, &vm),
            Err(_) => failed.push(vm.clone()),
        }
        operations::refresh(edit, "VM", &vm);
    }
    partly(&appliance, &failed)
}

fn destroy(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let appliance = request.object(edit, 0, "VM_appliance")?;
    for vm in members(edit, &appliance) {
        edit.set("VM", &vm, "appliance", Value::text(crate::database::NULL));
        operations::refresh(edit, "VM", &vm);
    }
    edit.destroy("VM_appliance", &appliance);
    Ok(void())
}
