//! What classes, fields and calls mean, in a sentence each.
//!
//! The text is the project's own and lives beside the facts, in `descriptions.json`. Classes that
//! few people use have none yet.

use std::collections::BTreeMap;
use std::sync::OnceLock;

/// What one class, its fields and its calls mean.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// What an object of the class is.
    pub summary: String,
    /// What each field holds, units included.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    /// What each call does.
    #[serde(default)]
    pub calls: BTreeMap<String, String>,
}

/// The descriptions of this class, when it has any.
pub fn describe(class: &str) -> Option<&'static Description> {
    descriptions().get(class)
}

fn descriptions() -> &'static BTreeMap<String, Description> {
    static DESCRIPTIONS: OnceLock<BTreeMap<String, Description>> = OnceLock::new();
    DESCRIPTIONS.get_or_init(|| {
        serde_json::from_str(include_str!("descriptions.json"))
            .expect("descriptions.json is well formed")
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Call, CallKind, datamodel};
    use super::*;

    /// Classes of which every field and call is described.
    #[rustfmt::skip]
    const COMPLETE: &[&str] = &[
        "VM", "VM_metrics", "VM_guest_metrics", "host", "pool", "SR", "VDI", "VBD", "PBD",
        "network", "VIF", "PIF", "task", "message", "console",
    ];

    /// Calls that people meet: derived ones follow from their field, the rest is not published.
    fn needs_words(call: &Call) -> bool {
        call.kind == CallKind::Custom && !call.hidden && !call.pool_internal
    }

    #[test]
    fn every_described_name_is_in_the_datamodel() {
        for (name, description) in descriptions() {
            let class = datamodel().class(name).unwrap_or_else(|| panic!("{name} is no class"));
            for field in description.fields.keys() {
                assert!(class.field(field).is_some(), "{name}.{field} is no field");
            }
            for call in description.calls.keys() {
                assert!(class.call(call).is_some(), "{name}.{call} is no call");
            }
        }
    }

    #[test]
    fn the_classes_people_use_are_described_completely() {
        for name in COMPLETE {
            let class = datamodel().class(name).expect("a class");
            let description = describe(name).unwrap_or_else(|| panic!("{name} has no description"));
            let fields = class.fields.iter().map(|field| &field.name);
            let missing: Vec<_> =
                fields.filter(|field| !description.fields.contains_key(*field)).collect();
            assert!(missing.is_empty(), "{name}: fields without a description: {missing:?}");
            let calls = class.calls.iter().filter(|call| needs_words(call)).map(|call| &call.name);
            let missing: Vec<_> =
                calls.filter(|call| !description.calls.contains_key(*call)).collect();
            assert!(missing.is_empty(), "{name}: calls without a description: {missing:?}");
        }
    }

    #[test]
    fn each_description_is_one_plain_sentence() {
        for (name, description) in descriptions() {
            let texts = description.fields.iter().chain(&description.calls);
            let texts = texts.map(|(item, text)| (format!("{name}.{item}"), text));
            for (item, text) in texts.chain([(name.clone(), &description.summary)]) {
                assert!(text.ends_with('.'), "{item} does not end with a full stop: {text:?}");
                assert_eq!(text.trim(), text, "{item}");
                assert!(text.len() <= 300, "{item} is longer than a sentence should be");
            }
        }
    }
}
