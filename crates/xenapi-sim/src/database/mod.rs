//! The pool's objects, as XAPI's database keeps them.
//!
//! A generation counts every write. Each object remembers the generations that made and last
//! changed it, and each table the latest deletions, which is all that `event.from` needs.

mod relations;
mod table;
mod value;

use std::collections::BTreeSet;

use xenapi_model::{Class, ClassId, datamodel};

use relations::far_ends;
pub(crate) use table::{Deleted, Object, Table};
pub use value::{NULL, Text, Value};

/// Why a write was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// No object of that class has the ref.
    #[error("no {class} has this ref")]
    NoSuchObject {
        /// The class that was asked for.
        class: &'static str,
    },
    /// The class has no such field.
    #[error("{class} has no field {field}")]
    NoSuchField {
        /// The class that was asked for.
        class: &'static str,
        /// The field that was asked for.
        field: String,
    },
}

/// The pool's objects.
#[derive(Debug)]
pub(crate) struct Database {
    tables: Vec<Table>,
    recent: BTreeSet<(u64, ClassId, Text)>,
    generation: u64,
}

impl Default for Database {
    fn default() -> Self {
        let tables = datamodel().classes.iter().map(Table::new).collect();
        Self { tables, recent: BTreeSet::new(), generation: 1 }
    }
}

impl Database {
    /// The objects of a class.
    pub(crate) fn table(&self, class: ClassId) -> &Table {
        &self.tables[usize::from(class.0)]
    }

    /// The generation that the next write gets.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Counts on from here, as in a pool that has lived for a while.
    #[cfg(test)]
    pub(crate) fn start_at(&mut self, generation: u64) {
        self.generation = generation;
    }

    /// Objects changed after `since`, oldest change first.
    pub(crate) fn recent(&self, since: u64) -> impl Iterator<Item = (ClassId, &Text)> {
        let from = (since.saturating_add(1), ClassId(0), Text::from(""));
        self.recent.range(from..).map(|(_, class, reference)| (*class, reference))
    }

    /// Makes an object; fields that are not named keep the datamodel's default.
    pub(crate) fn create(
        &mut self,
        class: &'static Class,
        reference: Text,
        uuid: Text,
        fields: impl IntoIterator<Item = (usize, Value)>,
    ) {
        let generation = self.generation;
        let mut values = self.table(class.id).defaults().to_vec();
        if let Some(field) = class.field_index("uuid") {
            values[field] = Value::Text(uuid);
        }
        for (field, value) in fields {
            values[field] = value;
        }
        let object = Object::new(reference.clone(), generation, values.into_boxed_slice());
        if let Some(replaced) = self.tables[usize::from(class.id.0)].insert(object) {
            self.recent.remove(&(replaced.modified(), class.id, reference.clone()));
        }
        self.note(generation, class, &reference);
        for end in far_ends(class.id) {
            let refs = self.refs_in(class, &reference, end.field);
            for far in refs {
                self.change_set(end.class, &far, end.far_field, |set| {
                    set.insert(0, Value::Text(reference.clone()));
                });
            }
        }
        self.generation += 1;
    }

    /// Writes one field. Writing what is there already is no write, as in XAPI.
    pub(crate) fn set(
        &mut self,
        class: &'static Class,
        reference: &str,
        field: usize,
        value: Value,
    ) -> Result<(), WriteError> {
        let object = self.tables[usize::from(class.id.0)]
            .get(reference)
            .ok_or(WriteError::NoSuchObject { class: &class.name })?;
        if object.fields()[field] == value {
            return Ok(());
        }
        let key = object.reference().clone();
        self.unlink(class, &key, |end| end == field);
        self.modify(class.id, &key, |fields| fields[field] = value);
        self.link(class, &key, |end| end == field);
        if class.fields[field].name == "uuid" {
            self.tables[usize::from(class.id.0)].reindex(&key);
        }
        self.generation += 1;
        Ok(())
    }

    /// Removes an object.
    pub(crate) fn destroy(
        &mut self,
        class: &'static Class,
        reference: &str,
    ) -> Result<(), WriteError> {
        let object = self.tables[usize::from(class.id.0)]
            .get(reference)
            .ok_or(WriteError::NoSuchObject { class: &class.name })?;
        let (key, modified) = (object.reference().clone(), object.modified());
        self.unlink(class, &key, |_| true);
        self.recent.remove(&(modified, class.id, key.clone()));
        self.tables[usize::from(class.id.0)].remove(reference, self.generation);
        self.generation += 1;
        Ok(())
    }

    /// Marks an object as changed though nothing in it was. Takes two generations and returns the
    /// first, so that a token that has passed it is strictly greater than one before it.
    pub(crate) fn touch(
        &mut self,
        class: &'static Class,
        reference: &str,
    ) -> Result<u64, WriteError> {
        let generation = self.generation;
        let object = self.table(class.id).get(reference);
        let key = object.ok_or(WriteError::NoSuchObject { class: &class.name })?.reference();
        let key = key.clone();
        self.modify(class.id, &key, |_| ());
        self.generation += 2;
        Ok(generation)
    }

    fn refs_in(&self, class: &Class, reference: &str, field: usize) -> Vec<Text> {
        let Some(object) = self.table(class.id).get(reference) else { return Vec::new() };
        match &object.fields()[field] {
            Value::Text(far) => vec![far.clone()],
            Value::Set(refs) => refs.iter().filter_map(|r| r.as_text().cloned()).collect(),
            _ => Vec::new(),
        }
    }

    fn link(&mut self, class: &Class, reference: &Text, which: impl Fn(usize) -> bool) {
        for end in far_ends(class.id).iter().filter(|end| which(end.field)) {
            for far in self.refs_in(class, reference, end.field) {
                self.change_set(end.class, &far, end.far_field, |set| {
                    let member = Value::Text(reference.clone());
                    if !set.contains(&member) {
                        set.insert(0, member);
                    }
                });
            }
        }
    }

    fn unlink(&mut self, class: &Class, reference: &Text, which: impl Fn(usize) -> bool) {
        for end in far_ends(class.id).iter().filter(|end| which(end.field)) {
            for far in self.refs_in(class, reference, end.field) {
                self.change_set(end.class, &far, end.far_field, |set| {
                    set.retain(|member| member.as_text() != Some(reference));
                });
            }
        }
    }

    fn change_set(
        &mut self,
        class: ClassId,
        reference: &Text,
        field: usize,
        change: impl FnOnce(&mut Vec<Value>),
    ) {
        self.modify(class, reference, |fields| {
            if let Value::Set(set) = &mut fields[field] {
                change(set);
            }
        });
    }

    /// Changes an object's fields and notes when; nothing happens when there is no such object.
    fn modify(&mut self, class: ClassId, reference: &Text, change: impl FnOnce(&mut [Value])) {
        let generation = self.generation;
        let Some(object) = self.tables[usize::from(class.0)].get_mut(reference) else { return };
        let before = object.modified();
        object.change(generation, change);
        let model = datamodel().get(class);
        self.recent.remove(&(before, class, reference.clone()));
        self.note(generation, model, reference);
    }

    fn note(&mut self, generation: u64, class: &Class, reference: &Text) {
        if class.gen_events && !self.table(class.id).is_built_in() {
            self.recent.insert((generation, class.id, reference.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(name: &str) -> &'static Class {
        datamodel().class(name).expect("a class")
    }

    fn field(class: &Class, name: &str) -> usize {
        class.field_index(name).expect("a field")
    }

    fn members(db: &Database, class: &Class, reference: &str, name: &str) -> Vec<String> {
        let object = db.table(class.id).get(reference).expect("an object");
        let Value::Set(set) = &object.fields()[field(class, name)] else { panic!("no set") };
        set.iter().filter_map(|v| v.as_text()).map(ToString::to_string).collect()
    }

    #[test]
    fn relations_follow_their_writable_end() {
        let mut db = Database::default();
        let (vm, vbd) = (class("VM"), class("VBD"));
        for name in ["v1", "v2"] {
            db.create(vm, name.into(), format!("uuid-{name}").into(), []);
        }
        let of = |name: &'static str| [(field(vbd, "VM"), Value::text(name))];
        db.create(vbd, "b1".into(), "uuid-b1".into(), of("v1"));
        db.create(vbd, "b2".into(), "uuid-b2".into(), of("v1"));
        assert_eq!(members(&db, vm, "v1", "VBDs"), ["b2", "b1"]);
        db.set(vbd, "b1", field(vbd, "VM"), Value::text("v2")).expect("a write");
        assert_eq!(members(&db, vm, "v1", "VBDs"), ["b2"]);
        assert_eq!(members(&db, vm, "v2", "VBDs"), ["b1"]);
        db.destroy(vbd, "b2").expect("a write");
        assert!(members(&db, vm, "v1", "VBDs").is_empty());
        assert!(db.table(vbd.id).get("b2").is_none());
    }

    #[test]
    fn generations_tell_what_changed() {
        let mut db = Database::default();
        let (vm, label) = (class("VM"), field(class("VM"), "name_label"));
        db.create(vm, "v1".into(), "u1".into(), []);
        db.create(vm, "v2".into(), "u2".into(), []);
        let before = db.generation() - 1;
        db.set(vm, "v1", label, Value::text("new")).expect("a write");
        db.set(vm, "v1", label, Value::text("new")).expect("no write");
        assert_eq!(db.generation() - 1, before + 1);
        let changed: Vec<_> = db.recent(before).map(|(_, r)| r.to_string()).collect();
        assert_eq!(changed, ["v1"]);
        let first = db.touch(vm, "v2").expect("a touch");
        assert_eq!(db.generation(), first + 2);
        assert!(db.touch(vm, "nope").is_err());
        db.destroy(vm, "v1").expect("a write");
        let table = db.table(vm.id);
        assert_eq!(
            table.deleted(before).map(|d| d.reference.to_string()).collect::<Vec<_>>(),
            ["v1"]
        );
        assert!(table.deleted(db.generation()).next().is_none());
    }
}
