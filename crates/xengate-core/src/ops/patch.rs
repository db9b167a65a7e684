//! Changing fields: a JSON merge patch as the calls that carry it out.
//!
//! A patch is planned whole before anything is sent: every field, every value, every permission.
//! Keys of maps and members of sets are added and removed one by one, so that two clients that
//! change different ones do not overwrite each other; a VM's memory and VCPUs are changed together
//! and in an order that XAPI accepts. The calls are not one transaction: fields that have been changed
//! when one fails stay so, and that is told; of the one that failed, what was done is taken back.

mod hidden;
mod ignored;
mod machine;
mod members;
mod place;
mod run;
mod writable;

use std::sync::Arc;

use serde_json::{Map, Value};

pub(super) use hidden::still_hidden;
pub use ignored::ignored;
pub use run::{Halted, Ran};
pub use writable::{Writing, internal, writable, writing};

use super::arguments::{ArgumentError, Arguments, argument, below};
use super::error::OpError;
use super::lookup::Lookup;
use super::reach::Reach;
use place::Place;
use xenapi_model::{Call, Class, Field, Type};
use xenapi_wire::Arg;

/// The calls that carry a patch out.
#[derive(Debug)]
pub struct Plan {
    class: &'static Class,
    reference: Arc<str>,
    steps: Vec<Step>,
}

/// What serves one field, or several that change together.
#[derive(Debug)]
struct Step {
    fields: Vec<&'static str>,
    act: Act,
}

/// What a step does.
#[derive(Debug)]
enum Act {
    /// One call.
    Call(Invocation),
    /// Adds a key or a member that is believed not to be there; a key that is, is replaced.
    Add { place: Place, add: Invocation, remove: Invocation },
    /// Removes a key or a member; `back` puts it back.
    Remove { place: Place, remove: Invocation, back: Option<Invocation> },
    /// Removes a key and adds it anew; should that fail, with its old value.
    Replace { place: Place, remove: Invocation, add: Invocation, old: Option<Invocation> },
}

/// A call with its arguments.
#[derive(Debug, Clone)]
struct Invocation {
    call: &'static Call,
    arguments: Arguments,
}

impl Act {
    fn invocations(&self) -> impl Iterator<Item = &Invocation> {
        let (first, second) = match self {
            Self::Call(call) => (call, None),
            Self::Add { add, .. } => (add, None),
            Self::Remove { remove, .. } => (remove, None),
            Self::Replace { remove, add, .. } => (remove, Some(add)),
        };
        std::iter::once(first).chain(second)
    }
}

/// Plans the patch `body` for the object of `class` with this record and ref.
pub fn plan(
    class: &'static Class,
    current: &Map<String, Value>,
    reference: &Arc<str>,
    body: &Map<String, Value>,
    refs: &dyn Lookup,
) -> Result<Plan, OpError> {
    for name in body.keys() {
        let pointer = below("", name);
        let Some(field) = class.field(name) else {
            let what = format!("{} has no field of this name", class.name);
            return Err(ArgumentError::new(&pointer, what).into());
        };
        if writing(class, field).is_none() {
            return Err(ArgumentError::new(&pointer, "cannot be changed").into());
        }
        if !current.contains_key(name) {
            return Err(OpError::NotSupported {
                what: format!("{}.{name}", class.name),
                why: "its version does not know the field".to_owned(),
                pointer: Some(pointer),
            });
        }
    }
    let mut drafting = Drafting { current, reference, body, refs, steps: Vec::new() };
    let mut machine = false;
    for (field, writing) in writable(class).filter(|(field, _)| body.contains_key(&field.name)) {
        match writing {
            Writing::Together if machine => {}
            Writing::Together => {
                machine = true;
                machine::plan(&mut drafting, class)?;
            }
            Writing::Set(call) => drafting.set(field, call)?,
            Writing::Keys { add, remove, set } => {
                drafting.keys((class, field), add, remove, set)?
            }
            Writing::Members { add, remove } => drafting.members((class, field), add, remove)?,
        }
    }
    Ok(Plan { class, reference: reference.clone(), steps: drafting.steps })
}

/// A plan in the making.
struct Drafting<'a> {
    current: &'a Map<String, Value>,
    reference: &'a Arc<str>,
    body: &'a Map<String, Value>,
    refs: &'a dyn Lookup,
    steps: Vec<Step>,
}

impl Drafting<'_> {
    /// A call on the object with more arguments.
    fn invocation(
        &self,
        call: &'static Call,
        arguments: impl IntoIterator<Item = Arguments>,
    ) -> Invocation {
        let mut all = Arguments::from(vec![Arg::from(&**self.reference)]);
        arguments.into_iter().for_each(|arguments| all.append(arguments));
        Invocation { call, arguments: all }
    }

    /// Where a key or a member of a field is, about which the body speaks at `pointer`.
    fn place(
        &self,
        class: &'static Class,
        field: &Field,
        pointer: String,
        name: &Arguments,
    ) -> Place {
        let getter = class.call(&format!("get_{}", field.name));
        let name = name.values.first().cloned().unwrap_or(Arg::Nil);
        Place { pointer, reference: self.reference.clone(), getter, name }
    }

    fn step(&mut self, field: &'static str, act: Act) {
        self.steps.push(Step { fields: vec![field], act });
    }

    /// The new value of the field, as the client gave it.
    fn given(&self, field: &Field) -> &Value {
        self.body.get(&field.name).unwrap_or(&Value::Null)
    }

    /// Sets a field to its new value.
    fn set(&mut self, field: &'static Field, call: &'static Call) -> Result<(), OpError> {
        let pointer = below("", &field.name);
        let merged;
        let json = match (&field.ty, self.given(field)) {
            (Type::Map(..), Value::Null) => &Value::Object(Map::new()),
            (Type::Map(..), Value::Object(patch)) => {
                merged = members::merged(self.current.get(&field.name), patch);
                &merged
            }
            (Type::Set(_), Value::Null) => &Value::Array(Vec::new()),
            (_, json) => json,
        };
        let value = argument(&field.ty, json, &pointer, self.refs)?;
        let act = Act::Call(self.invocation(call, [value]));
        self.step(&field.name, act);
        Ok(())
    }
}

impl Plan {
    /// Whether nothing has to be done.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether the caller may make all of its calls and the backend has them, as far as can be
    /// known without sending any.
    pub fn check(&self, reach: &Reach) -> Result<(), OpError> {
        for step in &self.steps {
            for Invocation { call, arguments } in step.act.invocations() {
                let checked = reach.check(call, arguments);
                checked.map_err(|error| error.within(&below("", step.fields[0])))?;
            }
        }
        Ok(())
    }

    /// The calls it makes, in their order, by their names on the wire.
    pub fn calls(&self) -> impl Iterator<Item = &'static str> {
        self.steps
            .iter()
            .flat_map(|step| step.act.invocations().map(|invocation| &*invocation.call.wire_name))
    }
}

#[cfg(test)]
mod tests;
