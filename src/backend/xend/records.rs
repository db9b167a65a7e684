//! xend's records, with what the rest of the gateway relies on set right.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::backend::Found;

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

#[cfg(test)]
mod tests {
    use crate::backend::legacy::FIELDS as OF_LEGACY;
    use crate::datamodel::datamodel;

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
    fn what_went_meanwhile_has_no_record_and_the_rest_is_untouched() {
        assert!(shown("VM", "null").record.is_none());
        let odd = r#"{"uuid":"u","platform":{"pci":[]}}"#;
        assert_eq!(shown("VM", odd).record.as_deref(), Some(odd));
    }
}
