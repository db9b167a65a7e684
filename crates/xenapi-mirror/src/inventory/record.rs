//! A record as the JSON that clients get, with the place of each field.
//!
//! A record is encoded once, when it changes. A read is then a copy of its bytes, and a selection
//! of fields a few copies.

use uuid::Uuid;

use xenapi_model::Class;

/// The slot of `uuid`, which always comes first.
const UUID_SLOT: usize = 0;
/// The slot of `backend`, which always comes second.
const BACKEND_SLOT: usize = 1;
/// The slot of the class's first field; fields the datamodel does not know follow the last one.
pub(super) const FIRST_FIELD: usize = 2;

/// A record: `{"uuid":…,"backend":…,` and its fields in the datamodel's order `}`.
///
/// Slot *i* holds the bytes `"name":value` between `offsets[i]` and `offsets[i + 1]`, with one more
/// byte behind it: a comma or the closing brace. An absent field has an empty slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    bytes: Box<[u8]>,
    offsets: Box<[u32]>,
}

/// Where a field's value stands in the records of its class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Slot {
    index: usize,
    /// The length of `"name":`.
    name: usize,
}

impl Slot {
    pub(super) fn of_uuid() -> Self {
        Self { index: UUID_SLOT, name: "\"uuid\":".len() }
    }

    pub(super) fn of_backend() -> Self {
        Self { index: BACKEND_SLOT, name: "\"backend\":".len() }
    }

    /// The slot of the class's field at `index`.
    pub(super) fn of_field(class: &Class, index: usize) -> Self {
        let name = &class.fields[index].name;
        // The uuid stands in a slot of its own.
        if name == "uuid" {
            return Self::of_uuid();
        }
        Self { index: FIRST_FIELD + index, name: name.len() + 3 }
    }
}

impl Record {
    /// The whole record: one JSON object.
    pub fn json(&self) -> &[u8] {
        &self.bytes
    }

    /// The JSON of the class's field at `index`, if this record has it.
    pub fn field(&self, class: &Class, index: usize) -> Option<&[u8]> {
        self.value(Slot::of_field(class, index))
    }

    /// The JSON of the value in `slot`, if this record has it.
    pub(super) fn value(&self, slot: Slot) -> Option<&[u8]> {
        self.slot(slot.index)?.get(slot.name..)
    }

    /// The first byte of the value in `slot`, if there is one, or of whatever is there.
    pub(super) fn peek(&self, slot: Slot) -> Option<u8> {
        let start = *self.offsets.get(slot.index)? as usize;
        self.bytes.get(start + slot.name).copied()
    }

    /// `"name":value` of the slot, if this record has it.
    pub(super) fn member(&self, slot: Slot) -> Option<&[u8]> {
        self.slot(slot.index)
    }

    /// `"name":value` of a field that the datamodel does not know, if this record has it.
    pub(super) fn further(&self, class: &Class, name: &str) -> Option<&[u8]> {
        (FIRST_FIELD + class.fields.len()..self.slots()).find_map(|slot| {
            let member = self.slot(slot)?;
            let rest = member.strip_prefix(b"\"")?.strip_prefix(name.as_bytes())?;
            rest.starts_with(b"\":").then_some(member)
        })
    }

    /// The JSON of the field called `name`, if the datamodel knows it and this record has it.
    pub fn field_named(&self, class: &Class, name: &str) -> Option<&[u8]> {
        self.field(class, class.field_index(name)?)
    }

    /// The text of a field that holds a JSON string without escapes: a uuid, an enum value.
    pub fn text(&self, class: &Class, name: &str) -> Option<&str> {
        let json = std::str::from_utf8(self.field_named(class, name)?).ok()?;
        json.strip_prefix('"')?.strip_suffix('"').filter(|text| !text.contains('\\'))
    }

    /// The uuid that a ref field holds.
    pub fn uuid(&self, class: &Class, name: &str) -> Option<Uuid> {
        Uuid::try_parse(self.text(class, name)?).ok()
    }

    /// The uuids that a field with a set of refs holds.
    pub fn uuids(&self, class: &Class, name: &str) -> Vec<Uuid> {
        let json = self.field_named(class, name).unwrap_or_default();
        serde_json::from_slice(json).unwrap_or_default()
    }

    /// Whether a bool field is true.
    pub fn is_true(&self, class: &Class, name: &str) -> bool {
        self.field_named(class, name) == Some(b"true")
    }

    /// The name of the backend it belongs to.
    pub fn backend(&self) -> &str {
        let value = self.slot(BACKEND_SLOT).and_then(|slot| slot.get("\"backend\":\"".len()..));
        let name = value.and_then(|value| value.strip_suffix(b"\""));
        name.and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default()
    }

    /// The names of the fields in which it differs from `before`, in the class's order; fields that
    /// the datamodel does not know follow.
    pub fn changed<'a>(&'a self, before: &'a Self, class: &'a Class) -> Vec<&'a str> {
        let known = class.fields.iter().enumerate();
        let known =
            known.filter(|(index, _)| self.field(class, *index) != before.field(class, *index));
        let known = known.map(|(_, field)| field.name.as_str());
        let (now, then) = (self.extras(class), before.extras(class));
        let differ = now.iter().filter(|extra| !then.contains(extra));
        let went = then.iter().filter(|(name, _)| now.iter().all(|(other, _)| other != name));
        known.chain(differ.chain(went).map(|(name, _)| *name)).collect()
    }

    /// The fields that the datamodel does not know: names and values.
    fn extras(&self, class: &Class) -> Vec<(&str, &[u8])> {
        let slots = (FIRST_FIELD + class.fields.len()).min(self.slots())..self.slots();
        let extras = slots.filter_map(|slot| {
            let slot = self.slot(slot)?;
            let end = memchr::memmem::find(slot, b"\":")?;
            Some((std::str::from_utf8(slot.get(1..end)?).ok()?, &slot[end + 2..]))
        });
        extras.collect()
    }

    /// `"name":value` of the slot, if the record has it.
    pub(super) fn slot(&self, slot: usize) -> Option<&[u8]> {
        let start = *self.offsets.get(slot)? as usize;
        let end = *self.offsets.get(slot + 1)? as usize;
        if start == end { None } else { Some(&self.bytes[start..end - 1]) }
    }

    /// How many slots there are, absent ones included.
    pub(super) fn slots(&self) -> usize {
        self.offsets.len() - 1
    }

    /// What the record takes in memory, beside its place in a table.
    pub fn size(&self) -> usize {
        self.bytes.len() + self.offsets.len() * size_of::<u32>()
    }
}

/// Builds a [`Record`], slot by slot.
#[derive(Debug, Default)]
pub(super) struct RecordBuilder {
    bytes: Vec<u8>,
    offsets: Vec<u32>,
}

impl RecordBuilder {
    /// Starts a record anew, with its first two slots; memory is kept from record to record.
    pub(super) fn start(&mut self, uuid: Uuid, backend: &str) {
        self.bytes.clear();
        self.offsets.clear();
        self.bytes.push(b'{');
        debug_assert_eq!((UUID_SLOT, BACKEND_SLOT), (0, 1));
        self.slot("uuid", |out| {
            let mut buffer = Uuid::encode_buffer();
            out.push(b'"');
            out.extend_from_slice(uuid.hyphenated().encode_lower(&mut buffer).as_bytes());
            out.push(b'"');
            true
        });
        // The name of a backend has no character that JSON would escape; config sees to it.
        self.slot("backend", |out| {
            out.push(b'"');
            out.extend_from_slice(backend.as_bytes());
            out.push(b'"');
            true
        });
    }

    /// Adds a slot; `write` writes the value, or says that there is none.
    pub(super) fn slot(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>) -> bool) {
        self.mark();
        let start = self.bytes.len();
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b"\":");
        if write(&mut self.bytes) {
            self.bytes.push(b',');
        } else {
            self.bytes.truncate(start);
        }
    }

    /// Adds a slot from its ready bytes, or an empty one.
    pub(super) fn copy(&mut self, slot: Option<&[u8]>) {
        self.mark();
        if let Some(bytes) = slot {
            self.bytes.extend_from_slice(bytes);
            self.bytes.push(b',');
        }
    }

    fn mark(&mut self) {
        // A record beyond 4 GiB cannot arrive: a reply's limit is far below.
        self.offsets.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
    }

    /// The record so far.
    pub(super) fn finish(&mut self) -> Record {
        self.mark();
        if let Some(last) = self.bytes.last_mut() {
            *last = b'}';
        }
        Record { bytes: self.bytes.as_slice().into(), offsets: self.offsets.as_slice().into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xenapi_model::datamodel;

    fn record(
        name: &str,
        state: Option<&str>,
        extras: &[(&str, &str)],
    ) -> (Record, &'static Class) {
        let class = datamodel().class("VM").expect("a class");
        let mut builder = RecordBuilder::default();
        builder.start(Uuid::from_u128(7), "lab");
        for field in &class.fields {
            let value = match field.name.as_str() {
                "name_label" => Some(name),
                "power_state" => state,
                _ => None,
            };
            builder.slot(&field.name, |out| {
                out.extend_from_slice(value.unwrap_or_default().as_bytes());
                value.is_some()
            });
        }
        for (name, value) in extras {
            builder.slot(name, |out| {
                out.extend_from_slice(value.as_bytes());
                true
            });
        }
        (builder.finish(), class)
    }

    #[test]
    fn what_changed_is_told_by_name() {
        let (one, class) = record("\"a\"", Some("\"Running\""), &[("later", "1"), ("new", "2")]);
        assert!(one.changed(&one.clone(), class).is_empty());
        let (other, _) = record("\"b\"", None, &[("new", "2"), ("later", "3")]);
        let mut changed = one.changed(&other, class);
        changed.sort_unstable();
        assert_eq!(changed, ["later", "name_label", "power_state"]);
        let (bare, _) = record("\"a\"", Some("\"Running\""), &[("later", "1")]);
        assert_eq!(one.changed(&bare, class), ["new"]);
        assert_eq!(bare.changed(&one, class), ["new"]);
    }
}
