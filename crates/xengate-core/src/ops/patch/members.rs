//! Maps by their keys, sets by their members.

use serde_json::{Map, Value};

use super::{Act, Drafting};
use crate::ops::arguments::{ArgumentError, Arguments, argument, below, key_argument};
use crate::ops::error::OpError;
use xenapi_model::{Call, Class, Field, Type};

impl Drafting<'_> {
    /// Changes a map: null removes a key, null for the whole map removes all.
    pub(super) fn keys(
        &mut self,
        (class, field): (&'static Class, &'static Field),
        add: &'static Call,
        remove: &'static Call,
        set: Option<&'static Call>,
    ) -> Result<(), OpError> {
        let pointer = below("", &field.name);
        let Type::Map(key_type, value_type) = &field.ty else { return Ok(()) };
        let nothing = Map::new();
        let current = self.current.get(&field.name).and_then(Value::as_object).unwrap_or(&nothing);
        let patch = match self.given(field) {
            Value::Object(patch) => patch.clone(),
            Value::Null => match set {
                Some(set) => return self.set(field, set),
                None => current.keys().map(|key| (key.clone(), Value::Null)).collect(),
            },
            _ => return Err(ArgumentError::new(&pointer, "must be an object, or null").into()),
        };
        for (name, json) in &patch {
            let pointer = below(&pointer, name);
            let key = key_argument(key_type, name, &pointer, self.refs)?;
            let taken = self.invocation(remove, [key.clone()]);
            let place = self.place(class, field, pointer.clone(), &key);
            let old =
                current.get(name).and_then(|old| argument(value_type, old, "", self.refs).ok());
            let old = old.map(|old| self.invocation(add, [key.clone(), old]));
            if json.is_null() {
                self.step(&field.name, Act::Remove { place, remove: taken, back: old });
                continue;
            }
            let value = argument(value_type, json, &pointer, self.refs)?;
            let added = self.invocation(add, [key, value]);
            match current.get(name) {
                Some(had) if had == json => {}
                Some(_) => {
                    let act = Act::Replace { place, remove: taken, add: added, old };
                    self.step(&field.name, act);
                }
                None => self.step(&field.name, Act::Add { place, add: added, remove: taken }),
            }
        }
        Ok(())
    }

    /// Changes a set: adds what is new, removes what is not given any more.
    pub(super) fn members(
        &mut self,
        (class, field): (&'static Class, &'static Field),
        add: &'static Call,
        remove: &'static Call,
    ) -> Result<(), OpError> {
        let pointer = below("", &field.name);
        let Type::Set(ty) = &field.ty else { return Ok(()) };
        let nothing = Vec::new();
        let current = self.current.get(&field.name).and_then(Value::as_array).unwrap_or(&nothing);
        let wanted = match self.given(field) {
            Value::Array(wanted) => wanted.clone(),
            Value::Null => Vec::new(),
            _ => return Err(ArgumentError::new(&pointer, "must be an array, or null").into()),
        };
        let mut values: Vec<(&Value, Arguments)> = Vec::with_capacity(wanted.len());
        for (index, json) in wanted.iter().enumerate() {
            let value = argument(ty, json, &format!("{pointer}/{index}"), self.refs)?;
            if !values.iter().any(|(known, _)| *known == json) {
                values.push((json, value));
            }
        }
        for gone in current.iter().filter(|member| !wanted.contains(member)) {
            let value = argument(ty, gone, &pointer, self.refs)?;
            let place = self.place(class, field, pointer.clone(), &value);
            let back = Some(self.invocation(add, [value.clone()]));
            let act = Act::Remove { place, remove: self.invocation(remove, [value]), back };
            self.step(&field.name, act);
        }
        for (_, value) in values.into_iter().filter(|(json, _)| !current.contains(json)) {
            let place = self.place(class, field, pointer.clone(), &value);
            let remove = self.invocation(remove, [value.clone()]);
            let act = Act::Add { place, add: self.invocation(add, [value]), remove };
            self.step(&field.name, act);
        }
        Ok(())
    }
}

/// A map that can only be set as a whole, with a patch merged into it.
pub(super) fn merged(current: Option<&Value>, patch: &Map<String, Value>) -> Value {
    let mut merged = current.and_then(Value::as_object).cloned().unwrap_or_default();
    for (key, value) in patch {
        match value {
            Value::Null => _ = merged.remove(key),
            value => _ = merged.insert(key.clone(), value.clone()),
        }
    }
    Value::Object(merged)
}
