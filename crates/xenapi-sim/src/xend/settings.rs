//! Settings of a VM that the Xen-API dialect can change, and VMs made by it.

use super::arguments::{int, text, truth};
use super::life::{Done, Life, Trouble};
use super::machine::Machine;
use super::value::Value;
use crate::protocol::Arg;

/// `set_…`, `add_to_…` and `remove_from_…`; `args` are those behind the ref.
pub(super) fn change(life: &mut Life<'_>, index: usize, call: &str, args: &[Arg]) -> Done {
    if call == "set_name_label" {
        return life.rename(index, &text(args, 0)?);
    }
    let vm = &mut life.world.machines[index];
    match call {
        "set_PV_args" => vm.args = text(args, 0)?.into_bytes(),
        "set_PV_kernel" => vm.kernel = text(args, 0)?,
        "set_actions_after_shutdown" => vm.on_poweroff = text(args, 0)?,
        "set_actions_after_reboot" => vm.on_reboot = text(args, 0)?,
        "set_actions_after_crash" => vm.on_crash = text(args, 0)?,
        "set_auto_power_on" => vm.auto_power_on = truth(args, 0),
        "set_memory_static_max" => {
            set_memory(vm, |vm, value| vm.memory_static_max = value, int(args, 0)?)?
        }
        "set_memory_static_min" => {
            set_memory(vm, |vm, value| vm.memory_static_min = value, int(args, 0)?)?
        }
        "set_memory_dynamic_max" => {
            set_memory(vm, |vm, value| vm.memory_dynamic_max = value, int(args, 0)?)?
        }
        "set_memory_dynamic_min" => {
            set_memory(vm, |vm, value| vm.memory_dynamic_min = value, int(args, 0)?)?
        }
        // Ints come as text, and these are kept as they come.
        "set_VCPUs_max" if vm.domid.is_some() => {
            let before = std::mem::replace(&mut vm.vcpus_max, int(args, 0)?);
            vm.vcpus_before.get_or_insert(before);
        }
        "set_VCPUs_max" => {
            vm.vcpus_max = int(args, 0)?;
            vm.text.vcpus = true;
        }
        "set_VCPUs_at_startup" => {
            _ = int(args, 0)?;
            vm.text.vcpus |= vm.domid.is_none();
        }
        "set_VCPUs_params" => vm.text.params = true,
        "add_to_VCPUs_params" | "add_to_VCPUs_params_live" => {
            vm.text.params = true;
            match text(args, 0)?.as_str() {
                "weight" => vm.weight = int(args, 1)?,
                "cap" => vm.cap = int(args, 1)?,
                other => {
                    let number = other.strip_prefix("cpumap").and_then(|n| n.parse::<usize>().ok());
                    let slot = number.and_then(|number| vm.affinity.get_mut(number));
                    let cpus = text(args, 1)?;
                    *slot.ok_or(Trouble::Todo)? =
                        cpus.split(',').filter_map(|cpu| cpu.parse().ok()).collect();
                }
            }
        }
        "set_other_config" => {
            let Some(Arg::Struct(members)) = args.first() else {
                return Err(Trouble::Internal("not a dictionary".into()));
            };
            vm.other_config =
                members.iter().map(|(key, value)| (key.clone(), bytes(value))).collect();
        }
        "add_to_other_config" => {
            let (key, value) = (text(args, 0)?, bytes(args.get(1).unwrap_or(&Arg::Nil)));
            vm.other_config.retain(|(known, _)| *known != key);
            vm.other_config.push((key, value));
        }
        "remove_from_other_config" => {
            let key = text(args, 0)?;
            vm.other_config.retain(|(known, _)| *known != key);
        }
        _ => return Err(Trouble::Todo),
    }
    Ok(())
}

fn bytes(value: &Arg) -> Vec<u8> {
    match value {
        Arg::String(text) => text.clone().into_bytes(),
        other => other.to_string().into_bytes(),
    }
}

/// Sets one of a VM's memory limits, unless that leaves them out of order.
fn set_memory(vm: &mut Machine, set: fn(&mut Machine, i64), value: i64) -> Done {
    let mut after = vm.clone();
    set(&mut after, value);
    let order = [
        ("memory_static_min", after.memory_static_min),
        ("memory_dynamic_min", after.memory_dynamic_min),
        ("memory_dynamic_max", after.memory_dynamic_max),
        ("memory_static_max", after.memory_static_max),
    ];
    for pair in order.windows(2) {
        if let [(less, small), (more, large)] = pair
            && small > large
        {
            let text =
                format!("Invalid Configuration: {less} must be less than or equal to {more}");
            return Err(Trouble::Text(text));
        }
    }
    *vm = after;
    Ok(())
}

/// `VM.create`.
pub(super) fn create(life: &mut Life<'_>, record: &Arg) -> Result<Value, Trouble> {
    let Arg::Struct(members) = record else {
        return Err(Trouble::Internal("not a dictionary".into()));
    };
    let member = |name: &str| {
        let found = members.iter().find(|(member, _)| member == name);
        found.map(|(_, value)| std::slice::from_ref(value))
    };
    let number =
        |name: &str, otherwise: i64| member(name).map_or(Ok(otherwise), |value| int(value, 0));
    let name = member("name_label").map_or(Ok(String::new()), |value| text(value, 0))?;
    life.check_name(&name, None)?;
    let uuid = || life.identifiers.uuid().to_string();
    let mut vm = Machine::new(uuid(), name, uuid());
    vm.memory_static_max = number("memory_static_max", vm.memory_static_max)?;
    vm.memory_static_min = number("memory_static_min", 0)?;
    vm.memory_dynamic_max = number("memory_dynamic_max", vm.memory_static_max)?;
    vm.memory_dynamic_min = number("memory_dynamic_min", vm.memory_dynamic_max)?;
    vm.vcpus_max = number("VCPUs_max", 1)?.clamp(1, 128);
    vm.vcpus_online = vm.vcpus_max;
    vm.affinity.resize(usize::try_from(vm.vcpus_max).unwrap_or(1), Vec::new());
    if let Some(kernel) = member("PV_kernel") {
        vm.kernel = text(kernel, 0)?;
    }
    if let Some(args) = member("PV_args") {
        vm.args = text(args, 0)?.into_bytes();
    }
    set_memory(&mut vm, |_, _| {}, 0)?;
    let made = vm.uuid.clone();
    life.world.machines.push(vm);
    Ok(made.into())
}
