//! Objects made and destroyed without further ado: every class's constructor and destructor, and
//! calls such as `PVS_site.introduce` and `Bond.destroy` that come to the same.

use crate::database::{NULL, Text, Value};
use crate::edit::Edit;
use crate::operations;
use crate::protocol::Failure;
use crate::state::State;
use xenapi_model::{Call, CallKind, Class, Type, datamodel};

use super::effect::Effect;
use super::request::{Request, object, void};

/// What makes an object of a parameter list, apart from constructors.
const MAKERS: [&str; 5] =
    ["create", "introduce", "introduce_bundle", "introduce_remote_pool", "pool_introduce"];

/// What unmakes one.
const UNMAKERS: [&str; 6] =
    ["destroy", "forget", "db_forget", "force_destroy", "pool_destroy", "pool_force_destroy"];

/// What a call of any class changes, if it makes or unmakes an object.
pub(super) fn effect(class: &Class, call: &Call) -> Option<Effect> {
    let is_own = |ty: &Type| *ty == Type::Ref(class.id);
    match call.kind {
        CallKind::Create => Some(Effect::AtOnce(create)),
        CallKind::Destroy => Some(Effect::AtOnce(destroy)),
        CallKind::Custom if !class.in_database => None,
        CallKind::Custom if call.result.as_ref().is_some_and(is_own) => {
            let makes = MAKERS.contains(&call.name.as_str());
            makes.then_some(Effect::AtOnce(introduce))
        }
        CallKind::Custom if call.result.is_none() => {
            let of_one = matches!(&call.params[..], [only] if is_own(&only.ty));
            (of_one && UNMAKERS.contains(&call.name.as_str())).then_some(Effect::AtOnce(destroy))
        }
        _ => None,
    }
}

/// A class's constructor.
pub(super) fn create(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let fields = record(request);
    check_refs(edit, request.class, &fields)?;
    Ok(Value::Text(add(edit, request.class, &fields)))
}

/// A call whose parameters are named as the fields that they go to.
fn introduce(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let fields = named(request);
    check_refs(edit, request.class, &fields)?;
    let uuid = request.known.params.iter().position(|param| param.name == "uuid");
    let uuid = uuid.map(|index| request.text(index).clone()).filter(|uuid| !uuid.is_empty());
    let Some(uuid) = uuid else { return Ok(Value::Text(add(edit, request.class, &fields))) };
    let class = request.class.name.as_str();
    if edit.by_uuid(class, &uuid).is_some() {
        return Err(Failure::new("DB_UNIQUENESS_CONSTRAINT_VIOLATION", [class, "uuid", &uuid]));
    }
    let reference = edit.identifiers.reference();
    Ok(Value::Text(edit.add_known(class, reference, uuid, &fields)))
}

/// A class's destructor.
pub(super) fn destroy(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let reference = object(edit.db, request)?.reference().clone();
    edit.destroy(&request.class.name, &reference);
    Ok(void())
}

/// The fields that a constructor was given.
pub(super) fn record(request: &Request) -> Vec<(&'static str, Value)> {
    let Some(Value::Map(given)) = request.args.first() else { return Vec::new() };
    let field = |(name, value): &(Value, Value)| {
        let field = request.class.field(name.as_text()?)?;
        Some((field.name.as_str(), value.clone()))
    };
    given.iter().filter_map(field).collect()
}

/// The parameters that are fields, whatever the case of their names.
pub(super) fn named(request: &Request) -> Vec<(&'static str, Value)> {
    let params = request.known.params.iter().zip(&request.args);
    let field = |(param, value): (&'static xenapi_model::Param, &Value)| {
        let mut fields = request.class.fields.iter();
        let same = |field: &&'static xenapi_model::Field| {
            field.name.eq_ignore_ascii_case(&param.name) && field.ty == param.ty
        };
        fields.find(same).filter(|f| f.name != "uuid").map(|f| (f.name.as_str(), value.clone()))
    };
    params.filter_map(field).collect()
}

/// Makes an object, and says what may be done with it and with what it hangs on.
pub(super) fn add(edit: &mut Edit<'_>, class: &Class, fields: &[(&str, Value)]) -> Text {
    let reference = edit.add(&class.name, fields);
    operations::refresh(edit, &class.name, &reference);
    reference
}

/// What is to be part of something else needs that to be there.
pub(super) fn check_refs(
    edit: &Edit<'_>,
    class: &Class,
    fields: &[(&str, Value)],
) -> Result<(), Failure> {
    for (name, value) in fields {
        let Some(Type::Ref(target)) = class.field(name).map(|field| &field.ty) else { continue };
        let target = datamodel().get(*target);
        let Some(reference) = value.as_text() else { continue };
        if &**reference != NULL && !reference.is_empty() && !edit.has(&target.name, reference) {
            return Err(Failure::new("HANDLE_INVALID", [&*target.name, reference]));
        }
    }
    Ok(())
}
