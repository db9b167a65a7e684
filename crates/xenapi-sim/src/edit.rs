//! Objects read and written by the names of their classes and fields.

use std::sync::LazyLock;

use xenapi_model::{Class, datamodel};

use super::clock::Clock;
use super::database::{Database, NULL, Object, Text, Value};
use super::identifiers::Identifiers;

/// A hand on the database, for as long as nobody else has one.
#[derive(Debug)]
pub(crate) struct Edit<'a> {
    pub(crate) db: &'a mut Database,
    pub(crate) identifiers: &'a Identifiers,
    pub(crate) clock: &'a Clock,
}

/// Fields of an object, by their names.
pub(crate) type Fields<'a> = &'a [(&'a str, Value)];

static NOTHING: LazyLock<Text> = LazyLock::new(|| "".into());

impl Edit<'_> {
    /// Whether a class has an object of this ref.
    pub(crate) fn has(&self, class: &str, reference: &str) -> bool {
        self.db.table(known(class).id).get(reference).is_some()
    }

    /// A field; `None` when there is no such object.
    pub(crate) fn get(&self, class: &str, reference: &str, name: &str) -> Option<&Value> {
        let class = known(class);
        let object = self.db.table(class.id).get(reference)?;
        Some(&object.fields()[field(class, name)])
    }

    /// A string, an enum's value, a ref or an instant; empty when there is no such object.
    pub(crate) fn text(&self, class: &str, reference: &str, name: &str) -> &Text {
        self.get(class, reference, name).and_then(Value::as_text).unwrap_or(&NOTHING)
    }

    /// The object that a field names, if there is one.
    pub(crate) fn target(&self, class: &str, reference: &str, name: &str) -> Option<Text> {
        let target = self.text(class, reference, name);
        (!target.is_empty() && &**target != NULL).then(|| target.clone())
    }

    /// A number; 0 when there is no such object.
    pub(crate) fn int(&self, class: &str, reference: &str, name: &str) -> i64 {
        match self.get(class, reference, name) {
            Some(Value::Int(int)) => *int,
            _ => 0,
        }
    }

    /// A bool; false when there is no such object.
    pub(crate) fn flag(&self, class: &str, reference: &str, name: &str) -> bool {
        matches!(self.get(class, reference, name), Some(Value::Bool(true)))
    }

    /// The texts of a set.
    pub(crate) fn texts(&self, class: &str, reference: &str, name: &str) -> Vec<Text> {
        match self.get(class, reference, name) {
            Some(Value::Set(items)) => items.iter().filter_map(Value::as_text).cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// The pairs of a map.
    pub(crate) fn pairs(&self, class: &str, reference: &str, name: &str) -> &[(Value, Value)] {
        match self.get(class, reference, name) {
            Some(Value::Map(pairs)) => pairs,
            _ => &[],
        }
    }

    /// What a map has under a key.
    pub(crate) fn entry(
        &self,
        class: &str,
        reference: &str,
        name: &str,
        key: &str,
    ) -> Option<&Text> {
        let pairs = self.pairs(class, reference, name).iter();
        let mut found = pairs.filter(|(known, _)| known.as_text().is_some_and(|k| **k == *key));
        found.next().and_then(|(_, value)| value.as_text())
    }

    /// The object of this uuid.
    pub(crate) fn by_uuid(&self, class: &str, uuid: &str) -> Option<Text> {
        self.db.table(known(class).id).by_uuid(uuid).map(|object| object.reference().clone())
    }

    /// How many objects a class has.
    pub(crate) fn count(&self, class: &str) -> usize {
        self.db.table(known(class).id).len()
    }

    /// The refs of a class's objects.
    pub(crate) fn all(&self, class: &str) -> Vec<Text> {
        self.db.table(known(class).id).iter().map(|object| object.reference().clone()).collect()
    }

    /// The first object of a class, in the order of refs.
    pub(crate) fn first(&self, class: &str) -> Option<Text> {
        self.db.table(known(class).id).iter().next().map(|object| object.reference().clone())
    }

    /// Every field of an object.
    pub(crate) fn record(
        &self,
        class: &str,
        reference: &str,
    ) -> Option<Vec<(&'static str, Value)>> {
        let class = known(class);
        let object = self.db.table(class.id).get(reference)?;
        let names = class.fields.iter().map(|field| field.name.as_str());
        Some(names.zip(object.fields().iter().cloned()).collect())
    }

    /// The generation that made an object.
    pub(crate) fn created(&self, class: &str, reference: &str) -> u64 {
        self.db.table(known(class).id).get(reference).map_or(0, Object::created)
    }

    /// Writes a field. An object that is gone stays gone: what ended it came first.
    pub(crate) fn set(&mut self, class: &str, reference: &str, name: &str, value: Value) {
        let class = known(class);
        _ = self.db.set(class, reference, field(class, name), value);
    }

    /// Writes fields.
    pub(crate) fn set_all(&mut self, class: &str, reference: &str, fields: Fields<'_>) {
        for (name, value) in fields {
            self.set(class, reference, name, value.clone());
        }
    }

    /// Puts something under a key of a map, whatever was there.
    pub(crate) fn put(
        &mut self,
        class: &str,
        reference: &str,
        name: &str,
        key: &str,
        value: Value,
    ) {
        let mut pairs = self.pairs(class, reference, name).to_vec();
        let found = pairs.iter_mut().find(|(k, _)| k.as_text().is_some_and(|k| **k == *key));
        match found {
            Some((_, old)) => *old = value,
            None => pairs.insert(0, (Value::text(key), value)),
        }
        self.set(class, reference, name, Value::Map(pairs));
    }

    /// Takes a key out of a map.
    pub(crate) fn take(&mut self, class: &str, reference: &str, name: &str, key: &str) {
        let mut pairs = self.pairs(class, reference, name).to_vec();
        pairs.retain(|(k, _)| k.as_text().is_none_or(|k| **k != *key));
        self.set(class, reference, name, Value::Map(pairs));
    }

    /// Makes an object and returns its ref.
    pub(crate) fn add(&mut self, class: &str, fields: Fields<'_>) -> Text {
        let reference = self.identifiers.reference();
        self.add_as(class, reference, fields)
    }

    /// Makes an object with this ref, which other objects may name already.
    pub(crate) fn add_as(&mut self, class: &str, reference: Text, fields: Fields<'_>) -> Text {
        let uuid = self.identifiers.uuid();
        self.add_known(class, reference, uuid, fields)
    }

    /// Makes an object with this ref and this uuid.
    pub(crate) fn add_known(
        &mut self,
        class: &str,
        reference: Text,
        uuid: Text,
        fields: Fields<'_>,
    ) -> Text {
        let class = known(class);
        let fields = fields.iter().map(|(name, value)| (field(class, name), value.clone()));
        self.db.create(class, reference.clone(), uuid, fields);
        reference
    }

    /// Removes an object, if it is there.
    pub(crate) fn destroy(&mut self, class: &str, reference: &str) {
        _ = self.db.destroy(known(class), reference);
    }

    /// The wall time.
    pub(crate) fn now(&self) -> Value {
        Value::date_time(self.clock.date_time(0))
    }

    /// The wall time so long ago.
    pub(crate) fn ago(&self, seconds: u64) -> Value {
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        Value::date_time(self.clock.date_time(-seconds))
    }

    /// A number below `bound`.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.identifiers.below(bound)
    }
}

fn known(name: &str) -> &'static Class {
    datamodel().class(name).expect("the simulator names known classes")
}

fn field(class: &Class, name: &str) -> usize {
    class.field_index(name).expect("the simulator names known fields")
}
