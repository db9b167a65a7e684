//! How much memory and how many VCPUs a VM has.

use crate::database::{Text, Value};
use crate::edit::Edit;
use crate::protocol::Failure;

use super::super::effect::{Carry, Effect};
use super::super::request::{Request, void};

/// The four limits, from the lowest.
const LIMITS: [&str; 4] =
    ["memory_static_min", "memory_dynamic_min", "memory_dynamic_max", "memory_static_max"];

const TOO_MANY: &str = "VCPU values must satisfy: 0 < VCPUs_at_startup ≤ VCPUs_max";

/// What a call of this group changes.
pub(super) fn effect(call: &str) -> Option<Effect> {
    Some(match call {
        "set_memory_limits" => limits(|edit, request| {
            let [static_min, static_max, dynamic_min, dynamic_max] =
                [1, 2, 3, 4].map(|index| request.int(index));
            set_limits(edit, request, [static_min, dynamic_min, dynamic_max, static_max])
        }),
        "set_memory" => limits(|edit, request| {
            let (value, now) = (request.int(1), limits_of(edit, request.text(0)));
            set_limits(edit, request, [now[0], value, value, value])
        }),
        "set_memory_dynamic_range" => dynamic(|edit, request| {
            let now = limits_of(edit, request.text(0));
            set_limits(edit, request, [now[0], request.int(1), request.int(2), now[3]])
        }),
        "set_memory_dynamic_min" => dynamic(|edit, request| {
            let now = limits_of(edit, request.text(0));
            set_limits(edit, request, [now[0], request.int(1), now[2], now[3]])
        }),
        "set_memory_dynamic_max" => dynamic(|edit, request| {
            let now = limits_of(edit, request.text(0));
            set_limits(edit, request, [now[0], now[1], request.int(1), now[3]])
        }),
        "set_memory_static_range" => fixed(|edit, request| {
            let now = limits_of(edit, request.text(0));
            set_limits(edit, request, [request.int(1), now[1], now[2], request.int(2)])
        }),
        "set_memory_static_min" => fixed(|edit, request| {
            let now = limits_of(edit, request.text(0));
            set_limits(edit, request, [request.int(1), now[1], now[2], now[3]])
        }),
        "set_memory_static_max" => fixed(|edit, request| {
            let now = limits_of(edit, request.text(0));
            set_limits(edit, request, [now[0], now[1], now[2], request.int(1)])
        }),
        "set_VCPUs_max" => Effect::Operation("changing_VCPUs", set_vcpus_max),
        "set_VCPUs_at_startup" => Effect::Operation("changing_VCPUs", set_vcpus_at_startup),
        "set_VCPUs_number_live" => Effect::Operation("changing_VCPUs_live", set_vcpus_live),
        "set_HVM_shadow_multiplier" => {
            Effect::Operation("changing_shadow_memory", set_shadow_multiplier)
        }
        "set_shadow_multiplier_live" => {
            Effect::Operation("changing_shadow_memory_live", set_shadow_multiplier)
        }
        "wait_memory_target_live" => Effect::Operation("awaiting_memory_live", |_, _| Ok(void())),
        _ => return None,
    })
}

fn limits(carry: Carry) -> Effect {
    Effect::Operation("changing_memory_limits", carry)
}

fn dynamic(carry: Carry) -> Effect {
    Effect::Operation("changing_dynamic_range", carry)
}

fn fixed(carry: Carry) -> Effect {
    Effect::Operation("changing_static_range", carry)
}

fn limits_of(edit: &Edit<'_>, vm: &str) -> [i64; 4] {
    LIMITS.map(|limit| edit.int("VM", vm, limit))
}

fn set_limits(edit: &mut Edit<'_>, request: &Request, limits: [i64; 4]) -> Result<Value, Failure> {
    let vm = request.object(edit, 0, "VM")?;
    if edit.flag("VM", &vm, "is_control_domain") && limits[1..].windows(2).any(|w| w[0] != w[1]) {
        return Err(Failure::new("MEMORY_CONSTRAINT_VIOLATION_MAXPIN", ["control domain"]));
    }
    if limits[0] < 0 || !limits.is_sorted() {
        return Err(Failure::new::<&str>("MEMORY_CONSTRAINT_VIOLATION_ORDER", []));
    }
    for (limit, value) in LIMITS.into_iter().zip(limits) {
        edit.set("VM", &vm, limit, Value::Int(value));
    }
    edit.set("VM", &vm, "memory_target", Value::Int(limits[1]));
    match &**edit.text("VM", &vm, "power_state") {
        "Running" if edit.flag("VM", &vm, "is_control_domain") => {
            edit.set("VM", &vm, "requires_reboot", Value::Bool(true));
        }
        // The balloon driver gives or takes what it was asked for.
        "Running" => {
            edit.set("VM", &vm, "memory_target", Value::Int(limits[2]));
            let metrics = edit.text("VM", &vm, "metrics").clone();
            edit.set("VM_metrics", &metrics, "memory_actual", Value::Int(limits[2]));
        }
        _ => {}
    }
    Ok(void())
}

fn set_vcpus_max(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let (vm, value) = (request.object(edit, 0, "VM")?, request.int(1));
    if value < 1 || value < edit.int("VM", &vm, "VCPUs_at_startup") {
        return Err(Failure::new("INVALID_VALUE", [TOO_MANY, &value.to_string()]));
    }
    edit.set("VM", &vm, "VCPUs_max", Value::Int(value));
    Ok(void())
}

fn set_vcpus_at_startup(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let (vm, value) = (request.object(edit, 0, "VM")?, request.int(1));
    if value < 1 || value > edit.int("VM", &vm, "VCPUs_max") {
        return Err(Failure::new("INVALID_VALUE", [TOO_MANY, &value.to_string()]));
    }
    edit.set("VM", &vm, "VCPUs_at_startup", Value::Int(value));
    Ok(void())
}

fn set_vcpus_live(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let (vm, value) = (request.object(edit, 0, "VM")?, request.int(1));
    if value < 1 || value > edit.int("VM", &vm, "VCPUs_max") {
        return Err(Failure::new("INVALID_VALUE", [TOO_MANY, &value.to_string()]));
    }
    let metrics = edit.text("VM", &vm, "metrics").clone();
    edit.set("VM", &vm, "VCPUs_at_startup", Value::Int(value));
    edit.set("VM_metrics", &metrics, "VCPUs_number", Value::Int(value));
    Ok(void())
}

fn set_shadow_multiplier(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vm: Text = request.object(edit, 0, "VM")?;
    match request.value(1) {
        Value::Float(factor) if factor >= 1.0 => {
            edit.set("VM", &vm, "HVM_shadow_multiplier", Value::Float(factor));
            Ok(void())
        }
        other => {
            let text = "HVM_shadow_multiplier should be >= 1";
            Err(Failure::new("INVALID_VALUE", [text, &other.marshalled()]))
        }
    }
}
