//! A backend's record as a [`Record`]: typed, with uuids for refs, in the datamodel's order.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::record::{FIRST_FIELD, Record, RecordBuilder};
use super::refs::{RefId, RefIndex};
use super::value::{Hidden, Links, Zoneless, fields_shown, write_field, write_unknown};
use xenapi_model::{Class, datamodel};

/// Why a record could not be encoded; nothing of it is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum EncodeError {
    /// It is not a JSON object.
    #[error("not a JSON object")]
    NotAnObject,
    /// It has no uuid, or one that is none.
    #[error("no uuid, or a malformed one")]
    NoUuid,
}

/// An encoded record, and what is needed to encode it again when a ref's target comes or goes.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) uuid: Uuid,
    pub(super) record: Record,
    pub(super) sources: Sources,
    /// The refs that the record shows.
    pub(super) shown: Vec<RefId>,
}

/// The backend's own JSON of those fields that show a ref.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    text: Box<str>,
    /// Slot and end in `text` of each, by slot.
    ends: Box<[(u16, u32)]>,
}

impl Sources {
    fn of_slot(&self, slot: usize) -> Option<&str> {
        let index = self.ends.binary_search_by_key(&slot, |(slot, _)| usize::from(*slot)).ok()?;
        let start = if index == 0 { 0 } else { self.ends[index - 1].1 as usize };
        self.text.get(start..self.ends[index].1 as usize)
    }

    pub(super) fn size(&self) -> usize {
        self.text.len() + size_of_val(&*self.ends)
    }
}

/// Encodes records of one backend; its buffers serve one record after the other.
#[derive(Debug)]
pub(super) struct Encoder {
    backend: Box<str>,
    builder: RecordBuilder,
    source_text: String,
    source_ends: Vec<(u16, u32)>,
    /// By class: the field that came at each place last time. Records of a class come in one order.
    orders: Vec<Vec<u16>>,
    zoneless: Zoneless,
}

impl Encoder {
    pub(super) fn new(backend: &str) -> Self {
        Self {
            backend: backend.into(),
            builder: RecordBuilder::default(),
            source_text: String::new(),
            source_ends: Vec::new(),
            orders: vec![Vec::new(); datamodel().classes.len()],
            zoneless: Zoneless::default(),
        }
    }

    /// One for a backend whose dates are by UTC, though they do not say so.
    pub(super) fn in_utc(backend: &str) -> Self {
        Self { zoneless: Zoneless::Utc, ..Self::new(backend) }
    }

    /// Encodes a record as the backend sent it.
    pub(super) fn encode(
        &mut self,
        class: &'static Class,
        json: &str,
        refs: &mut RefIndex,
    ) -> Result<Encoded, EncodeError> {
        let mut found = Found { fields: vec![None; class.fields.len()], extras: Vec::new() };
        let order = &mut self.orders[usize::from(class.id.0)];
        serde_json::Deserializer::from_str(json)
            .deserialize_map(RecordVisitor { class, order, found: &mut found })
            .map_err(|_| EncodeError::NotAnObject)?;
        let uuid = class
            .field_index("uuid")
            .and_then(|index| found.fields[index])
            .and_then(|text| Uuid::try_parse(text.trim_matches('"')).ok())
            .ok_or(EncodeError::NoUuid)?;
        let mut links = Links { refs, shown: Vec::new(), zoneless: self.zoneless };
        self.start(uuid);
        for (index, (field, shown)) in class.fields.iter().zip(fields_shown(class)).enumerate() {
            match (found.fields[index], *shown) {
                (Some(text), Some(hidden)) => {
                    self.write(FIRST_FIELD + index, &field.name, text, &mut links, |l, out| {
                        write_field(&field.ty, hidden, text, l, out)
                    });
                }
                _ => self.builder.copy(None),
            }
        }
        for (place, (name, text)) in found.extras.iter().enumerate() {
            let slot = FIRST_FIELD + class.fields.len() + place;
            self.write(slot, name, text, &mut links, |l, out| {
                write_unknown(text, l, out);
                true
            });
        }
        let shown = links.shown;
        Ok(self.finish(uuid, shown))
    }

    /// Encodes a record again, with its refs as they resolve now.
    pub(super) fn again(
        &mut self,
        class: &'static Class,
        uuid: Uuid,
        record: &Record,
        sources: &Sources,
        refs: &mut RefIndex,
    ) -> Encoded {
        let mut links = Links { refs, shown: Vec::new(), zoneless: self.zoneless };
        self.start(uuid);
        for slot in FIRST_FIELD..record.slots() {
            let Some(text) = sources.of_slot(slot) else {
                self.builder.copy(record.slot(slot));
                continue;
            };
            match class.fields.get(slot - FIRST_FIELD) {
                Some(field) => {
                    let hidden = Hidden::of(&class.name, &field.name);
                    self.write(slot, &field.name, text, &mut links, |l, out| {
                        write_field(&field.ty, hidden, text, l, out)
                    });
                }
                None => {
                    let name = record.slot(slot).and_then(slot_name).unwrap_or_default();
                    self.write(slot, name, text, &mut links, |l, out| {
                        write_unknown(text, l, out);
                        true
                    });
                }
            }
        }
        let shown = links.shown;
        self.finish(uuid, shown)
    }

    fn start(&mut self, uuid: Uuid) {
        self.source_text.clear();
        self.source_ends.clear();
        self.builder.start(uuid, &self.backend);
    }

    /// Writes a slot, and keeps its source when it shows a ref.
    fn write(
        &mut self,
        slot: usize,
        name: &str,
        source: &str,
        links: &mut Links<'_>,
        write: impl FnOnce(&mut Links<'_>, &mut Vec<u8>) -> bool,
    ) {
        let before = links.shown.len();
        self.builder.slot(name, |out| write(links, out));
        if links.shown.len() > before {
            self.source_text.push_str(source);
            let end = u32::try_from(self.source_text.len()).unwrap_or(u32::MAX);
            self.source_ends.push((u16::try_from(slot).unwrap_or(u16::MAX), end));
        }
    }

    fn finish(&mut self, uuid: Uuid, shown: Vec<RefId>) -> Encoded {
        let sources = Sources {
            text: self.source_text.as_str().into(),
            ends: self.source_ends.as_slice().into(),
        };
        Encoded { uuid, record: self.builder.finish(), sources, shown }
    }
}

/// The name in `"name":value`.
fn slot_name(slot: &[u8]) -> Option<&str> {
    let end = memchr::memmem::find(slot, b"\":")?;
    std::str::from_utf8(slot.get(1..end)?).ok()
}

/// The fields found in a record, as JSON text.
struct Found<'de> {
    fields: Vec<Option<&'de str>>,
    extras: Vec<(String, &'de str)>,
}

struct RecordVisitor<'a, 'de> {
    class: &'static Class,
    order: &'a mut Vec<u16>,
    found: &'a mut Found<'de>,
}

/// How many fields beyond the datamodel's a record may have; a server a few releases ahead has a
/// handful more, and the rest is left out.
const MAX_EXTRAS: usize = 64;

impl<'de> Visitor<'de> for RecordVisitor<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { class, order, found } = self;
        let mut place = 0;
        loop {
            let hint = order.get(place).copied();
            let Some(name) = map.next_key_seed(NameSeed { class, hint })? else { break };
            let value: &RawValue = map.next_value()?;
            match name {
                Name::Field(index) => {
                    found.fields[usize::from(index)] = Some(value.get());
                    if let Some(known) = order.get_mut(place) {
                        *known = index;
                    } else if order.len() < class.fields.len() {
                        order.push(index);
                    }
                    place += 1;
                }
                // `backend` is ours, and a name that JSON must escape is no field's.
                Name::Other(name) => {
                    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
                    let room = found.extras.len() < MAX_EXTRAS;
                    let known = found.extras.iter_mut().find(|(known, _)| *known == name);
                    match known {
                        // The last one counts, as it does for the fields.
                        Some((_, known)) => *known = value.get(),
                        None if plain && room && name != "backend" => {
                            found.extras.push((name, value.get()));
                        }
                        None => {}
                    }
                }
            }
        }
        Ok(())
    }
}

enum Name {
    Field(u16),
    Other(String),
}

/// Reads a field's name as its index, trying first the one that is expected here.
struct NameSeed {
    class: &'static Class,
    hint: Option<u16>,
}

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Name, E> {
        if let Some(index) = self.hint
            && self.class.fields[usize::from(index)].name == name
        {
            return Ok(Name::Field(index));
        }
        match self.class.field_index(name) {
            Some(index) => u16::try_from(index).map(Name::Field).map_err(E::custom),
            None => Ok(Name::Other(name.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xenapi_model::ClassId;

    fn class(name: &str) -> &'static Class {
        datamodel().class(name).expect("a class of the datamodel")
    }

    const CONSOLE: &str = r#"{"uuid":"3296f831-db41-ead6-4a65-c2bc25e19dc7","protocol":"rfb",
        "location":"https://h/console?ref=OpaqueRef:me","VM":"OpaqueRef:vm","other_config":{},
        "later":"OpaqueRef:vm","backend":"forged"}"#;

    #[test]
    fn a_record_is_encoded_and_encoded_again_when_its_refs_resolve() {
        let (mut encoder, mut refs) = (Encoder::new("lab"), RefIndex::default());
        let first = encoder.encode(class("console"), CONSOLE, &mut refs).expect("encodes");
        let text = std::str::from_utf8(first.record.json()).expect("UTF-8");
        assert_eq!(
            text,
            "{\"uuid\":\"3296f831-db41-ead6-4a65-c2bc25e19dc7\",\"backend\":\"lab\",\
             \"protocol\":\"rfb\",\"location\":\"https://h/console?uuid=\",\"VM\":null,\
             \"other_config\":{},\"later\":null}"
        );
        for (name, uuid) in [("OpaqueRef:me", 1), ("OpaqueRef:vm", 2)] {
            let id = refs.intern(name);
            refs.set_target(id, Some((ClassId(0), Uuid::from_u128(uuid))));
        }
        let again =
            encoder.again(class("console"), first.uuid, &first.record, &first.sources, &mut refs);
        let vm = Some(Uuid::from_u128(2));
        assert_eq!(again.record.uuid(class("console"), "VM"), vm);
        let text = std::str::from_utf8(again.record.json()).expect("UTF-8");
        assert!(text.contains("uuid=00000000-0000-0000-0000-000000000001"), "{text}");
        assert!(text.ends_with("\"later\":\"00000000-0000-0000-0000-000000000002\"}"), "{text}");
        assert_eq!(again.shown, first.shown);
    }

    #[test]
    fn absent_fields_are_absent_and_any_order_is_taken() {
        let (mut encoder, mut refs) = (Encoder::new("lab"), RefIndex::default());
        let uuid = "00000000-0000-0000-0000-000000000007";
        for json in [
            format!("{{\"power_state\":\"Running\",\"uuid\":\"{uuid}\",\"name_label\":\"a\"}}"),
            format!("{{\"name_label\":\"a\",\"power_state\":\"Running\",\"uuid\":\"{uuid}\"}}"),
        ] {
            let encoded = encoder.encode(class("VM"), &json, &mut refs).expect("encodes");
            let text = std::str::from_utf8(encoded.record.json()).expect("UTF-8");
            assert_eq!(
                text,
                format!(
                    "{{\"uuid\":\"{uuid}\",\"backend\":\"lab\",\"name_label\":\"a\",\
                     \"power_state\":\"Running\"}}"
                )
            );
            assert_eq!(encoded.record.text(class("VM"), "power_state"), Some("Running"));
            assert_eq!(encoded.record.text(class("VM"), "uuid"), Some(uuid));
            assert_eq!(encoded.record.field_named(class("VM"), "domid"), None);
        }
    }

    #[test]
    fn of_a_field_that_comes_twice_the_last_counts() {
        let (mut encoder, mut refs) = (Encoder::new("lab"), RefIndex::default());
        let uuid = "00000000-0000-0000-0000-000000000007";
        let json = format!(
            "{{\"uuid\":\"x\",\"name_label\":\"a\",\"later\":1,\"name_label\":\"b\",\"later\":2,\
             \"uuid\":\"{uuid}\",\"domid\":1,\"domid\":\"none\"}}"
        );
        let encoded = encoder.encode(class("VM"), &json, &mut refs).expect("encodes");
        let text = std::str::from_utf8(encoded.record.json()).expect("UTF-8");
        let want =
            format!("{{\"uuid\":\"{uuid}\",\"backend\":\"lab\",\"name_label\":\"b\",\"later\":2}}");
        assert_eq!(text, want, "and a last value that cannot be read is none");
    }

    #[test]
    fn secrets_do_not_get_in() {
        let (mut encoder, mut refs) = (Encoder::new("lab"), RefIndex::default());
        let uuid = "00000000-0000-0000-0000-000000000007";
        let json = format!("{{\"uuid\":\"{uuid}\",\"cluster_token\":\"hunter2\"}}");
        let encoded = encoder.encode(class("Cluster"), &json, &mut refs).expect("encodes");
        let text = std::str::from_utf8(encoded.record.json()).expect("UTF-8");
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let (mut encoder, mut refs) = (Encoder::new("lab"), RefIndex::default());
        for (json, error) in [
            ("[]", EncodeError::NotAnObject),
            ("", EncodeError::NotAnObject),
            ("{\"uuid\":", EncodeError::NotAnObject),
            ("{}", EncodeError::NoUuid),
            ("{\"uuid\":\"x\"}", EncodeError::NoUuid),
        ] {
            assert_eq!(encoder.encode(class("VM"), json, &mut refs).err(), Some(error), "{json}");
        }
    }
}
