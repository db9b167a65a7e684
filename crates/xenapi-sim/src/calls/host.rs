//! Hosts.

use crate::database::{Text, Value};
use crate::edit::Edit;
use crate::operations;
use crate::protocol::Failure;
use crate::state::State;

use super::effect::Effect;
use super::object::named;
use super::request::{Request, void};
use super::vm;

/// What a call of this class changes.
pub(super) fn effect(call: &str) -> Option<Effect> {
    Some(match call {
        "enable" => Effect::AtOnce(|_, edit, request| set_enabled(edit, request, true)),
        "disable" => Effect::AtOnce(|_, edit, request| set_enabled(edit, request, false)),
        "evacuate" => Effect::Operation("evacuate", evacuate),
        "shutdown" => Effect::Operation("shutdown", shut_down),
        "reboot" => Effect::Operation("reboot", reboot),
        "power_on" => Effect::Operation("power_on", power_on),
        "destroy" => Effect::AtOnce(destroy),
        "set_power_on_mode" => Effect::AtOnce(|_, edit, request| write_named(edit, request)),
        "enable_ssh" => Effect::AtOnce(|_, edit, request| set_ssh(edit, request, true)),
        "disable_ssh" => Effect::AtOnce(|_, edit, request| set_ssh(edit, request, false)),
        "enable_display" => Effect::AtOnce(|_, edit, r| set_display(edit, r, "enabled")),
        "disable_display" => Effect::AtOnce(|_, edit, r| set_display(edit, r, "disabled")),
        "compute_free_memory" => Effect::AtOnce(free_memory),
        "compute_memory_overhead" => Effect::AtOnce(|_, edit, request| {
            let host = request.object(edit, 0, "host")?;
            Ok(Value::Int(edit.int("host", &host, "memory_overhead")))
        }),
        "get_servertime" | "get_server_localtime" => Effect::AtOnce(|_, edit, request| {
            request.object(edit, 0, "host")?;
            Ok(edit.now())
        }),
        "assert_can_evacuate" => Effect::AtOnce(assert_can_evacuate),
        "get_vms_which_prevent_evacuation" => Effect::AtOnce(who_prevents_evacuation),
        "list_methods" => {
            Effect::AtOnce(|_, _, _| Err(Failure::new("NOT_IMPLEMENTED", ["list_method"])))
        }
        "get_log" | "dmesg_clear" => Effect::AtOnce(|_, edit, request| {
            request.object(edit, 0, "host")?;
            Err(Failure::new("NOT_IMPLEMENTED", [&*request.known.name]))
        }),
        _ => return None,
    })
}

fn set_enabled(edit: &mut Edit<'_>, request: &Request, on: bool) -> Result<Value, Failure> {
    let host = request.object(edit, 0, "host")?;
    let metrics = edit.text("host", &host, "metrics");
    if on && !edit.flag("host_metrics", metrics, "live") {
        return Err(Failure::new::<&str>("HOST_NOT_LIVE", []));
    }
    edit.set("host", &host, "enabled", Value::Bool(on));
    operations::refresh(edit, "host", &host);
    Ok(void())
}

fn residents(edit: &Edit<'_>, host: &str) -> Vec<Text> {
    let mut vms = edit.texts("host", host, "resident_VMs");
    vms.retain(|vm| !edit.flag("VM", vm, "is_control_domain"));
    vms
}

fn write_named(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let host = request.object(edit, 0, "host")?;
    edit.set_all("host", &host, &named(request));
    Ok(void())
}

fn set_ssh(edit: &mut Edit<'_>, request: &Request, on: bool) -> Result<Value, Failure> {
    let host = request.object(edit, 0, "host")?;
    edit.set("host", &host, "ssh_enabled", Value::Bool(on));
    Ok(void())
}

fn set_display(edit: &mut Edit<'_>, request: &Request, to: &str) -> Result<Value, Failure> {
    let host = request.object(edit, 0, "host")?;
    edit.set("host", &host, "display", Value::text(to));
    Ok(Value::text(to))
}

/// Every VM moves to another host; the host takes no new ones.
fn evacuate(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let host = request.object(edit, 0, "host")?;
    edit.set("host", &host, "enabled", Value::Bool(false));
    for vm in residents(edit, &host) {
        if let Err(failure) = vm::leave(edit, &vm) {
            edit.set("host", &host, "enabled", Value::Bool(true));
            operations::refresh(edit, "host", &host);
            return Err(failure);
        }
        operations::refresh(edit, "VM", &vm);
    }
    operations::refresh(edit, "host", &host);
    Ok(void())
}

fn assert_empty(edit: &Edit<'_>, host: &str) -> Result<(), Failure> {
    match residents(edit, host).first() {
        None => Ok(()),
        Some(_) => Err(Failure::new("HOST_IN_USE", [host])),
    }
}

fn set_live(edit: &mut Edit<'_>, host: &Text, live: bool) {
    let metrics = edit.text("host", host, "metrics").clone();
    edit.set("host_metrics", &metrics, "live", Value::Bool(live));
    edit.set("host", host, "enabled", Value::Bool(live));
    operations::refresh(edit, "host", host);
}

fn shut_down(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let host = request.object(edit, 0, "host")?;
    assert_empty(edit, &host)?;
    set_live(edit, &host, false);
    Ok(void())
}

fn reboot(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let host = request.object(edit, 0, "host")?;
    assert_empty(edit, &host)?;
    set_live(edit, &host, true);
    Ok(void())
}

fn power_on(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let host = request.object(edit, 0, "host")?;
    set_live(edit, &host, true);
    Ok(void())
}

/// Forgets a host that is gone for good, with its own parts.
fn destroy(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let host = request.object(edit, 0, "host")?;
    let metrics = edit.text("host", &host, "metrics").clone();
    if edit.flag("host_metrics", &metrics, "live") {
        return Err(Failure::new("HOST_IS_LIVE", [&*host]));
    }
    assert_empty(edit, &host)?;
    for (class, field) in [("PBD", "PBDs"), ("PIF", "PIFs"), ("host_cpu", "host_CPUs")] {
        for part in edit.texts("host", &host, field) {
            edit.destroy(class, &part);
        }
    }
    if let Some(domain) = edit.target("host", &host, "control_domain") {
        vm::remove(edit, &domain);
    }
    edit.destroy("host_metrics", &metrics);
    edit.destroy("host", &host);
    Ok(void())
}

fn free_memory(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let host = request.object(edit, 0, "host")?;
    Ok(Value::Int(vm::free_memory(edit, &host)))
}

fn assert_can_evacuate(
    _: &State,
    edit: &mut Edit<'_>,
    request: &Request,
) -> Result<Value, Failure> {
    let host = request.object(edit, 0, "host")?;
    match prevented(edit, &host).into_iter().next() {
        None => Ok(void()),
        Some((vm, _)) => Err(Failure::new("CANNOT_EVACUATE_HOST", [&*vm])),
    }
}

fn prevented(edit: &Edit<'_>, host: &Text) -> Vec<(Text, Failure)> {
    let stays = |vm: Text| {
        let elsewhere = vm::other_host(edit, &vm, host);
        elsewhere.err().map(|failure| (vm, failure))
    };
    residents(edit, host).into_iter().filter_map(stays).collect()
}

fn who_prevents_evacuation(
    _: &State,
    edit: &mut Edit<'_>,
    request: &Request,
) -> Result<Value, Failure> {
    let host = request.object(edit, 0, "host")?;
    let why = |(vm, failure): (Text, Failure)| {
        let whole = std::iter::once(failure.code).chain(failure.params);
        (Value::Text(vm), Value::texts(whole))
    };
    Ok(Value::Map(prevented(edit, &host).into_iter().map(why).collect()))
}
