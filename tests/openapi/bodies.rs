//! What clients give is closed, and what they get is open.

use std::collections::BTreeSet;

use serde_json::Value;

use super::reading::{document, operations, resolve, walk};

#[test]
fn what_clients_give_is_closed() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    let mut bodies = 0;
    for (at, operation) in operations(&document) {
        let content = operation["requestBody"]["content"].as_object();
        for (media, body) in content.into_iter().flatten() {
            let schema = resolve(&document, &body["schema"]);
            let one_of = schema["oneOf"].as_array();
            let parts = one_of.map_or_else(|| vec![schema], |parts| parts.iter().collect());
            for part in parts {
                let part = resolve(&document, part);
                assert_eq!(part["additionalProperties"], false, "{at} {media}");
                walk(part, "", &mut |within, value| {
                    assert!(value.get("x-extensible-enum").is_none(), "{at}{within}: open");
                    let is_member = within.ends_with("/default") && !within.contains("/properties");
                    assert!(!is_member, "{at}{within}: generated clients would send it");
                });
                bodies += 1;
            }
        }
    }
    assert!(bodies > 300, "only {bodies} bodies seen");
    // What a body is called must not be what something else is called already.
    for name in schemas.keys().filter(|name| name.ends_with("Changes")) {
        assert_eq!(schemas[name]["additionalProperties"], false, "{name}");
    }
}

/// Whether a schema is of an object with members, and not of a map.
fn has_members(schema: &Value) -> bool {
    let members = schema["properties"].as_object().is_some_and(|members| !members.is_empty());
    members && schema["type"] == "object"
}

#[test]
fn what_clients_get_is_open() {
    let document = document();
    let mut seen = BTreeSet::new();
    let mut open = 0;
    let mut next: Vec<&Value> = Vec::new();
    for (_, operation) in operations(&document) {
        for response in operation["responses"].as_object().expect("responses").values() {
            let content = resolve(&document, response)["content"].as_object();
            next.extend(content.into_iter().flatten().map(|(_, body)| &body["schema"]));
        }
    }
    while let Some(schema) = next.pop() {
        walk(schema, "", &mut |within, part| {
            if let Some(name) = part.get("$ref").and_then(Value::as_str) {
                if seen.insert(name) {
                    next.push(resolve(&document, part));
                }
            } else if has_members(part) {
                let more = &part["additionalProperties"];
                assert!(*more == true, "{within}: {part}");
                open += 1;
            }
        });
    }
    assert!(open > 150, "only {open} objects seen");
}
