//! xend's records, with what the rest of the gateway relies on set right.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::records::Found;
use xenapi_model::without_console_passwords;

/// Classes whose metrics have the very uuid of the object they are about: a ref of theirs is told
/// from its by the class before it.
const WITH_METRICS: [&str; 3] = ["VBD", "VIF", "PIF"];
const METRICS: [&str; 3] = ["VBD_metrics", "VIF_metrics", "PIF_metrics"];

/// The fields of the datamodel that the records of a xend 4.4 have; of the classes that none was
/// seen of, those that it has a call to read.
const FIELDS: &str = include_str!("fields.txt");

/// Whether the records of a class have this field.
pub(super) fn has_field(class: &str, field: &str) -> bool {
    FIELDS.lines().any(|known| known.split_once('.') == Some((class, field)))
}

/// The ref of a record, as the gateway keeps it.
fn kept(class: &str, reference: &str) -> String {
    match METRICS.contains(&class) {
        true => format!("{class}/{reference}"),
        false => reference.to_owned(),
    }
}

/// The ref as xend knows it.
pub(super) fn bare(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((class, bare)) if METRICS.contains(&class) => bare,
        _ => reference,
    }
}

/// One of the records of a class. Where xend has none any more, because the object went while it was
/// asked, there is none.
pub(super) fn found(class: &'static str, reference: &str, json: &RawValue) -> Found {
    let record = if json.get() == "null" { None } else { Some(record(class, reference, json)) };
    Found { class, reference: kept(class, reference), record, raw: None }
}

/// The members of a map in their order, those that come twice included.
pub(super) struct Pairs<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of records")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Members).map(Pairs)
    }
}

/// Of several objects with one ref the one that lives: a domain that is dying hides no successor of
/// its uuid. Of several that do, the last.
pub(crate) fn one_each(found: Vec<Found>) -> Vec<Found> {
    let mut places: HashMap<(&'static str, String), usize> = HashMap::new();
    let mut kept: Vec<Found> = Vec::with_capacity(found.len());
    for object in found {
        match places.entry((object.class, object.reference.clone())) {
            Entry::Vacant(place) => {
                place.insert(kept.len());
                kept.push(object);
            }
            Entry::Occupied(place) => {
                let other = &mut kept[*place.get()];
                if life(&object) >= life(other) {
                    *other = object;
                }
            }
        }
    }
    kept
}

/// Whether a VM's domain may be on its way out: it has ended, and is there all the same.
pub(super) fn may_be_dying(found: &Found) -> bool {
    life(found) == 1
}

/// How much an object lives: not at all, as a domain that is dying or has ended, or well.
fn life(found: &Found) -> u8 {
    let record = found.record.as_deref().unwrap_or_default();
    let record: Map<String, Value> = serde_json::from_str(record).unwrap_or_default();
    let text = |name: &str| record.get(name).and_then(Value::as_str);
    let is = |word: &str| {
        let state = record.get("state").and_then(Value::as_array);
        state.is_some_and(|words| words.iter().any(|known| known == word))
    };
    let ended = matches!(text("power_state"), Some("Halted" | "Unknown"));
    let has_domain = record.get("domid").is_some_and(|domid| domid != "-1" && domid != -1);
    match () {
        () if found.record.is_none() => 0,
        () if is("dying") || (ended && has_domain) => 1,
        () if is("shutdown") || ended => 2,
        () => 3,
    }
}

fn record(class: &str, reference: &str, json: &RawValue) -> String {
    let as_it_is = || json.get().to_owned();
    let of_metrics = METRICS.contains(&class);
    if class != "task" && !of_metrics && !WITH_METRICS.contains(&class) {
        return as_it_is();
    }
    let Ok(mut record) = serde_json::from_str::<Map<String, Value>>(json.get()) else {
        return as_it_is();
    };
    if class == "task" {
        // Whoever has a session's ref has the session.
        record.remove("session");
        if let Some(Value::Array(texts)) = record.get_mut("error_info") {
            for text in texts {
                if let Value::String(text) = text {
                    *text = without_console_passwords(text);
                }
            }
        }
    }
    if of_metrics {
        record.entry("uuid").or_insert_with(|| reference.into());
    } else if let Some(Value::String(metrics)) = record.get_mut("metrics")
        && !metrics.is_empty()
    {
        *metrics = kept(&format!("{class}_metrics"), metrics);
    }
    Value::Object(record).to_string()
}

/// The ref of a VM's metrics.
pub(super) fn metrics(vm: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Metrics {
        metrics: Option<String>,
    }
    let vm: Metrics = serde_json::from_str(vm).ok()?;
    vm.metrics.filter(|reference| !reference.is_empty())
}

#[cfg(test)]
mod tests {
    use crate::legacy::FIELDS as OF_LEGACY;
    use xenapi_model::datamodel;

    use super::*;

    #[test]
    fn the_fields_are_the_datamodels() {
        for line in FIELDS.lines().chain(OF_LEGACY.lines()) {
            let (class, field) = line.split_once('.').expect(line);
            let class = datamodel().class(class).expect(line);
            assert!(class.fields.iter().any(|known| known.name == field), "{line}");
        }
        assert!(has_field("VM", "PCI_bus") && !has_field("VM", "allowed_operations"));
        assert!(!has_field("VM_metrics", "VM") && !has_field("", ""));
    }

    fn shown(class: &'static str, json: &str) -> Found {
        let json = RawValue::from_string(json.to_owned()).expect("JSON");
        found(class, "u", &json)
    }

    #[test]
    fn a_task_does_not_tell_its_session() {
        let task = shown("task", r#"{"uuid":"u","session":"secret","type":null}"#);
        assert_eq!(task.record.as_deref(), Some(r#"{"type":null,"uuid":"u"}"#));
        let failed = r#"{"uuid":"u","error_info":["INTERNAL ERROR","(vncpasswd s3cret)"]}"#;
        let failed = shown("task", failed).record.expect("a record");
        assert!(failed.contains("(vncpasswd ***)"), "{failed}");
    }

    #[test]
    fn metrics_are_told_from_what_they_are_about() {
        let vif = shown("VIF", r#"{"uuid":"u","metrics":"u"}"#);
        assert_eq!(vif.reference, "u");
        assert!(vif.record.expect("a record").contains(r#""metrics":"VIF_metrics/u""#));
        let metrics = shown("VIF_metrics", r#"{"io_read_kbs":0.0}"#);
        assert_eq!(metrics.reference, "VIF_metrics/u");
        assert!(metrics.record.expect("a record").contains(r#""uuid":"u""#));
        assert_eq!((bare("VIF_metrics/u"), bare("u"), bare("a/b")), ("u", "u", "a/b"));
        let none = shown("VIF", r#"{"uuid":"u","metrics":""}"#);
        assert!(none.record.expect("a record").contains(r#""metrics":"""#));
    }

    #[test]
    fn of_two_objects_of_one_ref_the_living_is_kept() {
        let vm = |state: &str, domid: i64| {
            shown("VM", &format!(r#"{{"uuid":"u","power_state":"{state}","domid":"{domid}"}}"#))
        };
        let kept = |found: Vec<Found>| {
            let mut kept = one_each(found);
            assert_eq!(kept.len(), 1);
            kept.remove(0).record.expect("a record")
        };
        for (one, other, domid) in [
            (vm("Halted", 3), vm("Running", 4), 4),
            (vm("Running", 4), vm("Halted", 3), 4),
            (vm("Halted", 3), vm("Halted", -1), -1),
            (vm("Running", 4), vm("Running", 5), 5),
        ] {
            assert!(kept(vec![one, other]).contains(&format!(r#""domid":"{domid}""#)), "{domid}");
        }
        let metrics =
            |state: &str| shown("VM_metrics", &format!(r#"{{"uuid":"u","state":[{state}]}}"#));
        let living = kept(vec![metrics(r#""running""#), metrics(r#""dying""#)]);
        assert!(living.contains("running"));
        let pairs: Pairs<'_> = serde_json::from_str(r#"{"a":1,"a":2,"b":null}"#).expect("a map");
        assert_eq!(pairs.0.len(), 3);
    }

    #[test]
    fn what_went_meanwhile_has_no_record_and_the_rest_is_untouched() {
        assert!(shown("VM", "null").record.is_none());
        let odd = r#"{"uuid":"u","platform":{"pci":[]}}"#;
        assert_eq!(shown("VM", odd).record.as_deref(), Some(odd));
    }
}
