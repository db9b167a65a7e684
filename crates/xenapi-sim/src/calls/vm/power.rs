//! Starting, stopping and moving VMs.

use crate::database::{NULL, Text, Value};
use crate::edit::Edit;
use crate::operations::Lock;
use crate::protocol::Failure;

use super::super::effect::Effect;
use super::super::message::tell;
use super::super::request::{Request, void};
use super::domain;

/// What a call of this group changes.
pub(super) fn effect(call: &str) -> Option<Effect> {
    Some(match call {
        "start" => Effect::Locked(|edit, request| begin(edit, request, "start"), start),
        "start_on" => Effect::Locked(|edit, request| begin(edit, request, "start_on"), start_on),
        "resume" => Effect::Locked(|edit, request| begin(edit, request, "resume"), resume),
        "resume_on" => Effect::Locked(|edit, request| begin(edit, request, "resume_on"), resume_on),
        "pause" => Effect::Operation("pause", pause),
        "unpause" => Effect::Operation("unpause", unpause),
        "suspend" => Effect::Operation("suspend", suspend),
        "clean_shutdown" => Effect::Operation("clean_shutdown", shutdown),
        "hard_shutdown" => Effect::Operation("hard_shutdown", shutdown),
        "shutdown" => Effect::Operation("shutdown", shutdown),
        "clean_reboot" => Effect::Operation("clean_reboot", reboot),
        "hard_reboot" => Effect::Operation("hard_reboot", reboot),
        "power_state_reset" => Effect::Operation("power_state_reset", power_state_reset),
        "pool_migrate" => Effect::Operation("pool_migrate", pool_migrate),
        _ => return None,
    })
}

/// A VM that starts takes its devices with it.
fn begin(
    edit: &Edit<'_>,
    request: &Request,
    operation: &'static str,
) -> Result<Vec<Lock>, Failure> {
    let vm = request.object(edit, 0, "VM")?;
    let mut locks = vec![Lock::new("VM", &vm, operation)];
    for vbd in edit.texts("VM", &vm, "VBDs") {
        if !edit.flag("VBD", &vbd, "empty") {
            locks.push(Lock::new("VBD", &vbd, "attach"));
        }
    }
    let vifs = edit.texts("VM", &vm, "VIFs");
    locks.extend(vifs.iter().map(|vif| Lock::new("VIF", vif, "attach")));
    Ok(locks)
}

fn start(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vm = request.object(edit, 0, "VM")?;
    let host = domain::suitable_host(edit, &vm)?;
    run(edit, &vm, &host, request.flag(1))
}

fn start_on(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vm = request.object(edit, 0, "VM")?;
    let host = request.object(edit, 1, "host")?;
    domain::check_host(edit, &vm, &host)?;
    run(edit, &vm, &host, request.flag(2))
}

pub(super) fn run(
    edit: &mut Edit<'_>,
    vm: &Text,
    host: &Text,
    paused: bool,
) -> Result<Value, Failure> {
    domain::build(edit, vm, host);
    set_state(edit, vm, paused);
    tell(edit, "VM_STARTED", vm, &format!("started on host: {}", named(edit, host)));
    Ok(void())
}

fn set_state(edit: &mut Edit<'_>, vm: &Text, paused: bool) {
    edit.set("VM", vm, "power_state", Value::text(if paused { "Paused" } else { "Running" }));
    if !paused {
        domain::boot(edit, vm);
    }
}

fn named(edit: &Edit<'_>, host: &str) -> String {
    format!("{} (uuid: {})", edit.text("host", host, "name_label"), edit.text("host", host, "uuid"))
}

fn resume(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vm = request.object(edit, 0, "VM")?;
    let host = domain::suitable_host(edit, &vm)?;
    wake(edit, &vm, &host, request.flag(1))
}

fn resume_on(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vm = request.object(edit, 0, "VM")?;
    let host = request.object(edit, 1, "host")?;
    domain::check_host(edit, &vm, &host)?;
    wake(edit, &vm, &host, request.flag(2))
}

fn wake(edit: &mut Edit<'_>, vm: &Text, host: &Text, paused: bool) -> Result<Value, Failure> {
    let image = edit.target("VM", vm, "suspend_VDI");
    let image = image.ok_or_else(|| Failure::new("VM_HAS_NO_SUSPEND_VDI", [&**vm]))?;
    domain::build(edit, vm, host);
    set_state(edit, vm, paused);
    edit.set("VM", vm, "suspend_VDI", Value::text(NULL));
    edit.destroy("VDI", &image);
    tell(edit, "VM_RESUMED", vm, &format!("resumed on host: {}", named(edit, host)));
    Ok(void())
}

fn pause(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vm = request.object(edit, 0, "VM")?;
    edit.set("VM", &vm, "power_state", Value::text("Paused"));
    tell(edit, "VM_PAUSED", &vm, "paused");
    Ok(void())
}

fn unpause(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vm = request.object(edit, 0, "VM")?;
    set_state(edit, &vm, false);
    tell(edit, "VM_UNPAUSED", &vm, "unpaused");
    Ok(void())
}

/// The memory goes into a disk of its own, in the SR that the VM or the pool has for it.
fn suspend(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vm = request.object(edit, 0, "VM")?;
    let image = domain::save(edit, &vm)?;
    domain::take_down(edit, &vm);
    edit.set("VM", &vm, "suspend_VDI", Value::Text(image));
    edit.set("VM", &vm, "power_state", Value::text("Suspended"));
    tell(edit, "VM_SUSPENDED", &vm, "suspended");
    Ok(void())
}

fn shutdown(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vm = request.object(edit, 0, "VM")?;
    halt(edit, &vm);
    tell(edit, "VM_SHUTDOWN", &vm, "shutdown");
    Ok(void())
}

/// Leaves nothing of a VM's domain.
pub(in crate::calls) fn halt(edit: &mut Edit<'_>, vm: &Text) {
    if let Some(image) = edit.target("VM", vm, "suspend_VDI") {
        edit.destroy("VDI", &image);
        edit.set("VM", vm, "suspend_VDI", Value::text(NULL));
    }
    domain::take_down(edit, vm);
    domain::unplug(edit, vm);
    edit.set("VM", vm, "power_state", Value::text("Halted"));
}

fn reboot(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vm = request.object(edit, 0, "VM")?;
    let host = match edit.target("VM", &vm, "resident_on") {
        Some(host) => host,
        None => domain::suitable_host(edit, &vm)?,
    };
    domain::take_down(edit, &vm);
    domain::unplug(edit, &vm);
    domain::build(edit, &vm, &host);
    set_state(edit, &vm, false);
    tell(edit, "VM_REBOOTED", &vm, "rebooted");
    Ok(void())
}

/// For VMs whose host has died; one that lives is left alone.
fn power_state_reset(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vm = request.object(edit, 0, "VM")?;
    if edit.flag("VM", &vm, "is_control_domain") {
        return Err(Failure::new("CANNOT_RESET_CONTROL_DOMAIN", [&*vm]));
    }
    if let Some(host) = edit.target("VM", &vm, "resident_on") {
        let metrics = edit.text("host", &host, "metrics");
        if edit.flag("host_metrics", metrics, "live") {
            return Err(Failure::new("HOST_IS_LIVE", [&*host]));
        }
    }
    halt(edit, &vm);
    Ok(void())
}

fn pool_migrate(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vm = request.object(edit, 0, "VM")?;
    let host = request.object(edit, 1, "host")?;
    domain::check_host(edit, &vm, &host)?;
    let from = edit.text("VM", &vm, "resident_on").clone();
    domain::relocate(edit, &vm, &host);
    let body = format!("migrated from {} to {}", named(edit, &from), named(edit, &host));
    tell(edit, "VM_MIGRATED", &vm, &body);
    Ok(void())
}
