//! Calls that change something: the setters of plain fields, and the calls of the groups beside
//! this file.

use crate::database::Value;
use crate::edit::Edit;
use crate::operations::Lock;
use crate::protocol::Failure;
use crate::state::State;
use xenapi_model::{Call, CallKind, Class, Type};

use super::request::{self, Request, not_implemented, only_reads, void};
use super::{
    appliance, believable, blob, data_source, event, host, message, network, object, people, pool,
    schedule, session, sr, task, vbd, vdi, vif, vm,
};

/// What a call does to the database.
#[derive(Clone, Copy)]
pub(super) enum Effect {
    /// `set_`, `add_to_`, `remove_from_`, `add_`, `remove_` of a field, by its place.
    Field(Change, usize),
    /// Something that is over at once.
    AtOnce(fn(&State, &mut Edit<'_>, &Request) -> Result<Value, Failure>),
    /// Something that may take its time, and keeps the first argument's object busy with this
    /// operation meanwhile.
    Operation(&'static str, Carry),
    /// The same with other objects, or with none.
    Locked(Begin, Carry),
}

/// How a change that takes its time is carried out in the end.
pub(super) type Carry = fn(&mut Edit<'_>, &Request) -> Result<Value, Failure>;

/// What a change keeps busy meanwhile, or why it cannot be begun.
pub(super) type Begin = fn(&Edit<'_>, &Request) -> Result<Vec<Lock>, Failure>;

/// How a field's setter changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Set,
    AddToMap,
    RemoveFromMap,
    AddToSet,
    RemoveFromSet,
}

/// What a call does; `None` when it only reads.
pub(super) fn of(class: &'static Class, call: &'static Call) -> Option<Effect> {
    let own = own(class, call);
    if own.is_some() || only_reads(call.kind) || reads_a_field(class, call) {
        return own;
    }
    let setter = plain_field(class, call).map(|(change, field)| Effect::Field(change, field));
    Some(setter.unwrap_or(Effect::AtOnce(believable::answer)))
}

/// Whether a call is only answered, not carried out.
#[cfg(test)]
pub(super) fn is_believable(class: &'static Class, call: &'static Call) -> bool {
    let special = matches!(&*call.wire_name, "session.login_with_password" | "event.from");
    !special
        && own(class, call).is_none()
        && !only_reads(call.kind)
        && !reads_a_field(class, call)
        && plain_field(class, call).is_none()
        // Nobody but another host of the pool gets as far as that.
        && !call.pool_internal
}

/// What the files beside this one know of a call.
fn own(class: &Class, call: &Call) -> Option<Effect> {
    let name = call.name.as_str();
    let own = match class.name.as_str() {
        "Bond" => network::bond_effect(name),
        "PBD" => sr::pbd_effect(name),
        "PIF" => network::pif_effect(name),
        "SR" => sr::effect(name),
        "VBD" => vbd::effect(name),
        "VDI" => vdi::effect(name),
        "VIF" => vif::effect(name),
        "VLAN" => network::vlan_effect(name),
        "VM" => vm::effect(name),
        "VMSS" => schedule::effect(name),
        "VM_appliance" => appliance::effect(name),
        "console" if matches!(name, "create" | "destroy") => {
            Some(Effect::AtOnce(|_, _, request| Err(not_implemented(request.known))))
        }
        "event" => event::effect(name),
        "host_patch" if name == "apply" => {
            Some(Effect::AtOnce(|_, _, _| Err(Failure::new::<&str>("MESSAGE_DEPRECATED", []))))
        }
        "host" => host::effect(name),
        "message" => message::effect(name),
        "network" => network::effect(name),
        "pool" => pool::effect(name),
        "role" => people::role_effect(name),
        "session" => session::effect(name),
        "subject" => people::subject_effect(name),
        "task" => task::effect(name),
        _ => None,
    };
    own.or_else(|| blob::effect(&class.name, name))
        .or_else(|| data_source::effect(&class.name, name))
        .or_else(|| object::effect(class, call))
}

/// Whether a call of its own is a getter all the same.
fn reads_a_field(class: &Class, call: &Call) -> bool {
    let field = call.name.strip_prefix("get_").and_then(|name| class.field(name));
    let of_one = matches!(&call.params[..], [only] if only.ty == Type::Ref(class.id));
    of_one && field.is_some_and(|field| Some(&field.ty) == call.result.as_ref())
}

/// The field that a setter writes. Setters that do more than store a value have another name or
/// another type than the field, or a file of their own.
pub(super) fn plain_field(class: &Class, known: &Call) -> Option<(Change, usize)> {
    let setter = matches!(
        known.kind,
        CallKind::Custom | CallKind::FieldSet | CallKind::FieldAdd | CallKind::FieldRemove
    );
    if !setter || known.result.is_some() || !matches!(known.params.first()?.ty, Type::Ref(_)) {
        return None;
    }
    let argument = |index: usize| known.params.get(index).map(|param| &param.ty);
    let field = |name: &str| Some((class.field_index(name)?, &class.field(name)?.ty));
    let name = known.name.as_str();
    let count = known.params.len();
    if let Some((field, ty)) = name.strip_prefix("set_").and_then(field) {
        return (count == 2 && argument(1) == Some(ty)).then_some((Change::Set, field));
    }
    let to_map = name.strip_prefix("add_to_").and_then(field);
    if let Some((field, Type::Map(key, value))) = to_map {
        let fits = count == 3 && argument(1) == Some(key) && argument(2) == Some(value);
        return fits.then_some((Change::AddToMap, field));
    }
    let from_map = name.strip_prefix("remove_from_").and_then(field);
    if let Some((field, Type::Map(key, _))) = from_map {
        return (count == 2 && argument(1) == Some(key)).then_some((Change::RemoveFromMap, field));
    }
    let members = [("add_to_", Change::AddToSet), ("remove_from_", Change::RemoveFromSet)]
        .into_iter()
        .chain([("add_", Change::AddToSet), ("remove_", Change::RemoveFromSet)]);
    // `Caller.add_group` adds to `groups`.
    let listed = |name: &str| {
        let plural = name.strip_suffix('y').map_or(format!("{name}s"), |stem| format!("{stem}ies"));
        field(name).or_else(|| field(&plural))
    };
    for (prefix, change) in members {
        if let Some((field, Type::Set(of))) = name.strip_prefix(prefix).and_then(listed) {
            return (count == 2 && argument(1) == Some(of)).then_some((change, field));
        }
    }
    None
}

/// Writes a field as its setter does.
pub(super) fn set_field(
    edit: &mut Edit<'_>,
    request: &Request,
    change: Change,
    field: usize,
) -> Result<Value, Failure> {
    let class = request.class;
    let mut value = request::object(edit.db, request)?.fields()[field].clone();
    let argument = request.args[1].clone();
    match (&mut value, change) {
        (value, Change::Set) => *value = argument,
        (Value::Map(pairs), Change::AddToMap) => {
            if argument.as_text().is_some_and(|key| key.is_empty()) {
                let text = "Xapi_database.Db_exn.Empty_key_in_map";
                return Err(Failure::new("INTERNAL_ERROR", [text]));
            }
            if pairs.iter().any(|(key, _)| *key == argument) {
                let key = argument.marshalled();
                let params = [&class.name, &class.fields[field].name, &**request.text(0), &key];
                return Err(Failure::new("MAP_DUPLICATE_KEY", params));
            }
            pairs.insert(0, (argument, request.args[2].clone()));
        }
        (Value::Map(pairs), _) => pairs.retain(|(key, _)| *key != argument),
        (Value::Set(items), Change::AddToSet) => {
            if !items.contains(&argument) {
                items.insert(0, argument);
            }
        }
        (Value::Set(items), _) => items.retain(|item| *item != argument),
        _ => return Err(not_implemented(request.known)),
    }
    edit.db.set(class, request.text(0), field, value).map_err(|_| request.handle_invalid())?;
    Ok(void())
}
