//! Calls that the simulator does not carry out: they check what they are given, change nothing and
//! answer something that such a call might answer.
//!
//! `tests/fixtures/sim/believable.txt` lists them.

use crate::database::{NULL, Value};
use crate::edit::Edit;
use crate::protocol::Failure;
use crate::state::State;
use xenapi_model::{Class, Type, datamodel};

use super::request::{Request, void};

/// Answers such a call.
pub(super) fn answer(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    for (param, value) in request.known.params.iter().zip(&request.args) {
        check(edit, &param.ty, value)?;
    }
    let result = request.known.result.as_ref();
    // What answers with a VM, given one, answers with that.
    let given = request.known.params.iter().position(|param| Some(&param.ty) == result);
    if let (Some(index), Some(Type::Ref(_))) = (given, result) {
        return Ok(request.value(index));
    }
    Ok(result.map_or_else(void, |ty| plausible(edit, ty)))
}

/// A ref that names nothing is refused, except for the one that is meant to.
fn check(edit: &Edit<'_>, ty: &Type, value: &Value) -> Result<(), Failure> {
    let (Type::Ref(class), Some(reference)) = (ty, value.as_text()) else { return Ok(()) };
    let class = datamodel().get(*class);
    // The other pool's sessions are none of ours.
    if &**reference == NULL || class.name == "session" || edit.has(&class.name, reference) {
        return Ok(());
    }
    Err(Failure::new("HANDLE_INVALID", [&*class.name, reference]))
}

fn plausible(edit: &Edit<'_>, ty: &Type) -> Value {
    match ty {
        // Somebody's session is for nobody else.
        Type::Ref(class) if datamodel().get(*class).name == "session" => Value::text(NULL),
        Type::Ref(class) => {
            let some = edit.db.table(*class).iter().next();
            some.map_or_else(|| Value::text(NULL), |some| Value::Text(some.reference().clone()))
        }
        Type::Record(class) => record(edit, datamodel().get(*class)),
        Type::DateTime => edit.now(),
        ty => Value::empty(ty, datamodel()),
    }
}

fn record(edit: &Edit<'_>, class: &'static Class) -> Value {
    let field = |field: &'static xenapi_model::Field| {
        (Value::text(field.name.as_str()), plausible(edit, &field.ty))
    };
    Value::Map(class.fields.iter().map(field).collect())
}

/// Calls that are answered this way, by their wire names.
#[cfg(test)]
pub(super) fn calls() -> impl Iterator<Item = &'static xenapi_model::Call> {
    let calls = datamodel()
        .classes
        .iter()
        .flat_map(|class| class.calls.iter().map(move |call| (class, call)));
    calls.filter(|(class, call)| super::effect::is_believable(class, call)).map(|(_, call)| call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_without_an_effect_are_listed() {
        let wanted: String = calls().map(|call| format!("{}\n", call.wire_name)).collect();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/sim/believable.txt");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(path, &wanted).expect("the list written");
        }
        let listed = std::fs::read_to_string(path).expect("the list");
        assert!(listed == wanted, "BLESS=1 writes the list anew");
    }
}
