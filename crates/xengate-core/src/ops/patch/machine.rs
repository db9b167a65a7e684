//! A VM's memory and VCPUs: fields that must fit together whenever XAPI looks.

use serde_json::Value;

use super::{Act, Drafting, Step};
use crate::ops::arguments::{ArgumentError, argument, below};
use crate::ops::error::OpError;
use xenapi_model::{Class, Field, Type};
use xenapi_wire::Arg;

/// The fields, in the order in which none may be above the next.
const MEMORY: [&str; 4] =
    ["memory_static_min", "memory_dynamic_min", "memory_dynamic_max", "memory_static_max"];
const VCPUS: [&str; 2] = ["VCPUs_at_startup", "VCPUs_max"];

const MEMORY_CALLS: &[&str] = &["VM.set_memory_limits", "VM.set_memory_dynamic_range"];
const VCPUS_CALLS: &[&str] =
    &["VM.set_VCPUs_max", "VM.set_VCPUs_at_startup", "VM.set_VCPUs_number_live"];

/// Whether a field is one of those that are planned here.
pub(super) fn is_of_machine(class: &Class, field: &Field) -> bool {
    let name = field.name.as_str();
    class.name == "VM" && (MEMORY.contains(&name) || VCPUS.contains(&name))
}

/// The calls that change this field.
pub(super) fn calls(field: &str) -> &'static [&'static str] {
    if MEMORY.contains(&field) { MEMORY_CALLS } else { VCPUS_CALLS }
}

/// Plans what the patch says of memory and VCPUs.
pub(super) fn plan(drafting: &mut Drafting<'_>, class: &'static Class) -> Result<(), OpError> {
    memory(drafting, class)?;
    match drafting.refs.has_one_count_of_vcpus() {
        true => one_count_of_vcpus(drafting, class),
        false => vcpus(drafting, class),
    }
}

/// Where the most there may be and how many there are at startup are one number.
fn one_count_of_vcpus(drafting: &mut Drafting<'_>, class: &'static Class) -> Result<(), OpError> {
    let [startup, most] = VCPUS;
    let mut given = Vec::new();
    for name in VCPUS {
        let Some(json) = drafting.body.get(name) else { continue };
        let pointer = below("", name);
        let value = argument(&Type::Int, json, &pointer, drafting.refs)?;
        match value.values.first() {
            Some(Arg::Int(value)) if *value >= 1 => given.push((name, *value)),
            _ => return Err(ArgumentError::new(&pointer, "must be at least 1").into()),
        }
    }
    let value =
        |wanted: &str| given.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
    let old = drafting.current.get(most).and_then(Value::as_i64);
    let now = value(most).or(old);
    if value(startup).is_some_and(|startup| Some(startup) != now) {
        return Err(OpError::NotSupported {
            what: format!("VM.{startup} of its own"),
            why: format!("there is one number of VCPUs, and {most} sets it"),
            pointer: Some(below("", startup)),
        });
    }
    // What it is already need not be set.
    if let Some(number) = value(most).filter(|value| Some(*value) != old) {
        let fields = given.iter().map(|(name, _)| *name).collect();
        push(drafting, class, ("set_VCPUs_max", vec![number]), fields);
    }
    Ok(())
}

fn memory(drafting: &mut Drafting<'_>, class: &'static Class) -> Result<(), OpError> {
    let Some(limits) = Limits::of(drafting, &MEMORY)? else { return Ok(()) };
    let [static_min, dynamic_min, dynamic_max, static_max] = limits.new;
    let fixed = limits.old[0] == static_min && limits.old[3] == static_max;
    let step = match fixed {
        true => ("set_memory_dynamic_range", vec![dynamic_min, dynamic_max]),
        // All four at once, so that there is no order in which to get them wrong.
        false => ("set_memory_limits", vec![static_min, static_max, dynamic_min, dynamic_max]),
    };
    push(drafting, class, step, limits.given);
    Ok(())
}

fn vcpus(drafting: &mut Drafting<'_>, class: &'static Class) -> Result<(), OpError> {
    let Some(limits) = Limits::of(drafting, &VCPUS)? else { return Ok(()) };
    let [startup, max] = limits.new;
    if startup == 0 {
        let name = limits.given.first().copied().unwrap_or_default();
        return Err(ArgumentError::new(&below("", name), "must be at least 1").into());
    }
    let running = drafting.current.get("power_state").and_then(Value::as_str) == Some("Running");
    let hot = if running { "set_VCPUs_number_live" } else { "set_VCPUs_at_startup" };
    let mut steps = Vec::new();
    for (name, call, value) in
        [("VCPUs_max", "set_VCPUs_max", max), ("VCPUs_at_startup", hot, startup)]
    {
        if limits.given.contains(&name) {
            steps.push((name, (call, vec![value])));
        }
    }
    // Never more at startup than there may be, on the way either.
    if max < limits.old[1] {
        steps.reverse();
    }
    for (name, step) in steps {
        push(drafting, class, step, vec![name]);
    }
    Ok(())
}

fn push(
    drafting: &mut Drafting<'_>,
    class: &'static Class,
    (call, values): (&str, Vec<i64>),
    fields: Vec<&'static str>,
) {
    let call = class.call(call).expect("the datamodel has the call; a test makes all of them");
    let values: Vec<Arg> = values.into_iter().map(Arg::Int).collect();
    let act = Act::Call(drafting.invocation(call, [values.into()]));
    drafting.steps.push(Step { fields, act });
}

/// Amounts that must not decrease from one field to the next.
struct Limits<const N: usize> {
    old: [i64; N],
    new: [i64; N],
    /// The fields that the patch names.
    given: Vec<&'static str>,
}

impl<const N: usize> Limits<N> {
    /// The amounts before and after the patch; `None` if that does not touch them.
    fn of(
        drafting: &Drafting<'_>,
        fields: &'static [&'static str; N],
    ) -> Result<Option<Self>, OpError> {
        let mut limits = Self { old: [0; N], new: [0; N], given: Vec::new() };
        for (index, name) in fields.iter().copied().enumerate() {
            let old = drafting.current.get(name).and_then(Value::as_i64).unwrap_or_default();
            (limits.old[index], limits.new[index]) = (old, old);
            let Some(json) = drafting.body.get(name) else { continue };
            let pointer = below("", name);
            let value = argument(&Type::Int, json, &pointer, drafting.refs)?;
            match value.values.first() {
                Some(Arg::Int(value)) if *value >= 0 => limits.new[index] = *value,
                _ => return Err(ArgumentError::new(&pointer, "must not be negative").into()),
            }
            limits.given.push(name);
        }
        if limits.given.is_empty() {
            return Ok(None);
        }
        for index in 1..N {
            if limits.new[index - 1] > limits.new[index] {
                let (low, high) = (fields[index - 1], fields[index]);
                return Err(match drafting.body.contains_key(low) {
                    true => ArgumentError::new(&below("", low), format!("is above {high}")),
                    false => ArgumentError::new(&below("", high), format!("is below {low}")),
                }
                .into());
            }
        }
        Ok(Some(limits))
    }
}
