//! The record that a constructor takes.

use serde_json::{Map, Value};

use super::{ArgumentError, Reader, below, missing};
use crate::ops::defaults;
use xenapi_model::{ClassId, Field, Qualifier, State, datamodel};
use xenapi_wire::Arg;

impl Reader<'_> {
    /// The record of a new object: what the client gave, and defaults for the rest. XAPI refuses a
    /// record that lacks a field of the constructor's, and ignores fields it does not know.
    pub(super) fn record(
        &mut self,
        class: ClassId,
        given: &Map<String, Value>,
        pointer: &str,
    ) -> Result<Arg, ArgumentError> {
        let class = datamodel().get(class);
        if let Some(name) = given.keys().find(|name| !class.field(name).is_some_and(of_constructor))
        {
            let what = match class.field(name) {
                Some(_) => format!("is kept by the backend: a new {} takes no such", class.name),
                None => format!("{} has no field of this name", class.name),
            };
            return Err(ArgumentError::new(&below(pointer, name), what));
        }
        let mut members = Vec::new();
        for field in class.fields.iter().filter(|field| of_constructor(field)) {
            let pointer = below(pointer, &field.name);
            let value = match given.get(&field.name) {
                Some(json) => self.value(&field.ty, json, &pointer)?,
                None => {
                    let json = defaults::of_field(class, field, given);
                    let json = json.ok_or_else(|| missing(&pointer))?;
                    self.value(&field.ty, &json, &pointer)?
                }
            };
            members.push((field.name.clone(), value));
        }
        Ok(Arg::Struct(members))
    }
}

/// Whether a constructor takes the field.
pub fn of_constructor(field: &Field) -> bool {
    field.qualifier != Qualifier::Runtime && field.lifecycle.state != State::Removed
}
