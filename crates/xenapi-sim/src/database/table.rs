//! The objects of one class.

use std::collections::{BTreeMap, HashMap, VecDeque};

use xenapi_model::{Class, datamodel};

use super::{Text, Value};

/// An object: its ref, its fields in the datamodel's order, and when it was made and changed.
#[derive(Debug)]
pub(crate) struct Object {
    reference: Text,
    created: u64,
    modified: u64,
    fields: Box<[Value]>,
}

impl Object {
    pub(super) fn new(reference: Text, generation: u64, fields: Box<[Value]>) -> Self {
        Self { reference, created: generation, modified: generation, fields }
    }

    /// Its ref.
    pub(crate) fn reference(&self) -> &Text {
        &self.reference
    }

    /// The generation that made it.
    pub(crate) fn created(&self) -> u64 {
        self.created
    }

    /// The generation that last changed it.
    pub(crate) fn modified(&self) -> u64 {
        self.modified
    }

    /// Its fields, in the datamodel's order.
    pub(crate) fn fields(&self) -> &[Value] {
        &self.fields
    }

    pub(super) fn change(&mut self, generation: u64, change: impl FnOnce(&mut [Value])) {
        change(&mut self.fields);
        self.modified = generation;
    }
}

/// An object that is gone.
#[derive(Debug)]
pub(crate) struct Deleted {
    /// The generation that made it.
    pub(crate) created: u64,
    /// The generation that removed it.
    pub(crate) deleted: u64,
    /// Its ref.
    pub(crate) reference: Text,
}

/// The objects of one class.
#[derive(Debug)]
pub(crate) struct Table {
    rows: BTreeMap<Text, Object>,
    uuids: HashMap<Text, Text>,
    deleted: VecDeque<Deleted>,
    defaults: Box<[Value]>,
    uuid_field: Option<usize>,
    /// Built into XAPI rather than kept in its database: no events, not counted.
    built_in: bool,
}

/// XAPI forgets older deletions than these, down to half of it.
const DELETIONS_KEPT: usize = 512;

impl Table {
    pub(super) fn new(class: &Class) -> Self {
        let default = |field: &xenapi_model::Field| {
            let given = field.default.as_ref().and_then(|d| Value::of_default(d, &field.ty));
            given.unwrap_or_else(|| Value::empty(&field.ty, datamodel()))
        };
        Self {
            rows: BTreeMap::new(),
            uuids: HashMap::new(),
            deleted: VecDeque::new(),
            defaults: class.fields.iter().map(default).collect(),
            uuid_field: class.field_index("uuid"),
            built_in: class.name == "role",
        }
    }

    /// The object with this ref.
    pub(crate) fn get(&self, reference: &str) -> Option<&Object> {
        self.rows.get(reference)
    }

    /// The object with this uuid.
    pub(crate) fn by_uuid(&self, uuid: &str) -> Option<&Object> {
        self.uuids.get(uuid).and_then(|reference| self.rows.get(reference))
    }

    /// Whether its objects are built into XAPI: no events tell of them, and no count.
    pub(crate) fn is_built_in(&self) -> bool {
        self.built_in
    }

    /// How many objects there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// All objects in the order of their refs. XAPI lists them backwards in replies and forwards
    /// in events.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Object> {
        self.rows.values()
    }

    /// Objects deleted after `since`, latest first.
    pub(crate) fn deleted(&self, since: u64) -> impl Iterator<Item = &Deleted> {
        self.deleted.iter().take_while(move |gone| gone.deleted > since)
    }

    /// What a new object's fields hold.
    pub(super) fn defaults(&self) -> &[Value] {
        &self.defaults
    }

    pub(super) fn get_mut(&mut self, reference: &str) -> Option<&mut Object> {
        self.rows.get_mut(reference)
    }

    pub(super) fn insert(&mut self, object: Object) -> Option<Object> {
        let reference = object.reference.clone();
        let replaced = self.rows.insert(reference.clone(), object);
        self.reindex(&reference);
        replaced
    }

    /// Notes an object's uuid.
    pub(super) fn reindex(&mut self, reference: &Text) {
        let uuid =
            self.uuid_field.and_then(|field| self.rows.get(reference)?.fields[field].as_text());
        if let Some(uuid) = uuid {
            self.uuids.insert(uuid.clone(), reference.clone());
        }
    }

    pub(super) fn remove(&mut self, reference: &str, generation: u64) {
        let Some(object) = self.rows.remove(reference) else { return };
        if let Some(uuid) = self.uuid_field.and_then(|field| object.fields[field].as_text()) {
            self.uuids.remove(uuid);
        }
        let Object { reference, created, .. } = object;
        self.deleted.push_front(Deleted { created, deleted: generation, reference });
        if self.deleted.len() >= DELETIONS_KEPT {
            self.deleted.truncate(DELETIONS_KEPT / 2);
        }
    }
}
