//! What is done with VMs.

mod copies;
mod domain;
mod power;
mod questions;
mod record;
mod revert;
mod settings;
mod size;
mod template;

use crate::database::{Text, Value};
use crate::edit::Edit;
use crate::protocol::Failure;

use super::effect::Effect;
pub(super) use domain::device_name;
pub(super) use power::halt;
pub(super) use record::remove;

/// What a call of this class changes.
pub(super) fn effect(call: &str) -> Option<Effect> {
    power::effect(call)
        .or_else(|| record::effect(call))
        .or_else(|| copies::effect(call))
        .or_else(|| size::effect(call))
        .or_else(|| settings::effect(call))
        .or_else(|| questions::effect(call))
}

/// What a host has left for VMs.
pub(super) fn free_memory(edit: &Edit<'_>, host: &Text) -> i64 {
    domain::free_memory(edit, host, "")
}

/// Starts a VM on a host that suits it.
pub(super) fn start_anywhere(
    edit: &mut Edit<'_>,
    vm: &Text,
    paused: bool,
) -> Result<Value, Failure> {
    let host = domain::suitable_host(edit, vm)?;
    power::run(edit, vm, &host, paused)
}

/// A host that a VM could move to from this one.
pub(super) fn other_host(edit: &Edit<'_>, vm: &Text, host: &Text) -> Result<Text, Failure> {
    let mut hosts = domain::possible_hosts(edit, vm);
    hosts.retain(|other| other != host);
    hosts.into_iter().next().ok_or_else(|| Failure::new::<&str>("NO_HOSTS_AVAILABLE", []))
}

/// Moves a VM to any other host.
pub(super) fn leave(edit: &mut Edit<'_>, vm: &Text) -> Result<(), Failure> {
    let from = edit.text("VM", vm, "resident_on").clone();
    let host = other_host(edit, vm, &from)?;
    domain::relocate(edit, vm, &host);
    Ok(())
}

/// What only a halted VM lets be done.
pub(super) fn check_halted(edit: &Edit<'_>, vm: &str) -> Result<(), Failure> {
    match edit.text("VM", vm, "power_state").to_lowercase().as_str() {
        "halted" => Ok(()),
        state => Err(Failure::new("VM_BAD_POWER_STATE", [vm, "halted", state])),
    }
}
