//! Schedules of snapshots.

use crate::database::Value;
use crate::edit::Edit;
use crate::protocol::Failure;
use crate::state::State;

use super::effect::{Change, Effect, set_field};
use super::object;
use super::request::Request;

/// What a call of the class `VMSS` changes.
pub(super) fn effect(call: &str) -> Option<Effect> {
    Some(match call {
        "create" => Effect::AtOnce(create),
        "set_schedule" => Effect::AtOnce(set),
        "add_to_schedule" => Effect::AtOnce(add),
        _ => return None,
    })
}

/// What a schedule consists of.
fn is_known(key: &Value) -> bool {
    key.as_text().is_some_and(|key| matches!(&**key, "min" | "hour" | "days"))
}

fn check(value: Option<&Value>) -> Result<(), Failure> {
    let Some(Value::Map(pairs)) = value else { return Ok(()) };
    match pairs.iter().find(|(key, _)| !is_known(key)) {
        Some((key, value)) => {
            let text = |value: &Value| value.as_text().map(ToString::to_string).unwrap_or_default();
            Err(Failure::new("INVALID_VALUE", [format!("schedule:{}", text(key)), text(value)]))
        }
        None => Ok(()),
    }
}

fn create(state: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    check(request.entry(0, "schedule"))?;
    object::create(state, edit, request)
}

fn field(request: &Request) -> usize {
    request.class.field_index("schedule").unwrap_or_default()
}

fn set(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    check(request.args.get(1))?;
    set_field(edit, request, Change::Set, field(request))
}

/// XAPI means to put an old value back, and does not find it.
fn add(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    if !request.args.get(1).is_some_and(is_known) {
        return Err(Failure::new("INTERNAL_ERROR", ["Not_found"]));
    }
    set_field(edit, request, Change::AddToMap, field(request))
}
