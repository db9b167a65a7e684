//! How the tests read the document.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use xengate::http::api;

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

pub(crate) fn document() -> Value {
    serde_json::from_str(api::document().json()).expect("the document is JSON")
}

/// Every operation with its method and path.
pub(crate) fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let mut operations = Vec::new();
    for (path, item) in paths {
        for method in METHODS {
            if let Some(operation) = item.get(method) {
                operations.push((format!("{method} {path}"), operation));
            }
        }
    }
    operations
}

/// The statuses that an operation says it may fail with.
pub(crate) fn problem_statuses(operation: &Value) -> BTreeSet<u64> {
    let statuses = operation["x-problem-statuses"].as_array();
    statuses.into_iter().flatten().map(|status| status.as_u64().expect("a number")).collect()
}

/// Visits every value of the document with its JSON pointer.
pub(crate) fn walk<'a>(value: &'a Value, pointer: &str, visit: &mut dyn FnMut(&str, &'a Value)) {
    visit(pointer, value);
    let child = |key: &str| format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, value)| walk(value, &child(key), visit));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, v)| walk(v, &child(&i.to_string()), visit));
        }
        _ => {}
    }
}

/// Follows a `$ref` within the document.
pub(crate) fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(target) => {
            let pointer = target.strip_prefix('#').expect("refs stay within the document");
            document.pointer(pointer).unwrap_or_else(|| panic!("{target} leads nowhere"))
        }
        None => value,
    }
}

/// The schema with the document's components in reach of its refs.
pub(crate) fn standalone(document: &Value, schema: &Value) -> Value {
    json!({"allOf": [schema], "components": {"schemas": document["components"]["schemas"]}})
}

/// Every schema of the document, by JSON pointer: components, bodies, parameters, headers.
pub(crate) fn schemas(document: &Value) -> BTreeMap<String, Value> {
    let mut schemas = BTreeMap::new();
    walk(document, "", &mut |pointer, value| {
        let component = pointer.strip_prefix("/components/schemas/");
        let is_component = component.is_some_and(|name| !name.contains('/'));
        let in_schema = component.is_some_and(|name| name.contains('/'));
        if is_component || (pointer.ends_with("/schema") && !in_schema) {
            schemas.insert(pointer.to_owned(), value.clone());
        }
    });
    schemas
}

/// The calls that an operation, or a part of its body, says it stands for.
pub(crate) fn calls(part: &Value) -> Vec<&'static xengate::datamodel::Call> {
    let names = match &part["x-xen-call"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        name => name.as_str().into_iter().collect::<Vec<_>>(),
    };
    let call = |name: &&str| xengate::datamodel::datamodel().call(name).map(|(_, call)| call);
    names.iter().map(|name| call(name).unwrap_or_else(|| panic!("{name} is no call"))).collect()
}

/// Every reference leads somewhere, and every component is named.
pub(crate) fn hangs_together(document: &Value) {
    let mut named = BTreeSet::new();
    walk(document, "", &mut |pointer, value| {
        if let Some(target) = value.get("$ref").and_then(Value::as_str) {
            resolve(document, value);
            let own = target.strip_prefix('#').unwrap_or_default();
            // A component that only names itself is not used.
            if !format!("{pointer}/").starts_with(&format!("{own}/")) {
                named.insert(own.to_owned());
            }
        }
    });
    for (kind, components) in document["components"].as_object().expect("components") {
        for name in components.as_object().expect("components by name").keys() {
            let pointer = format!("/components/{kind}/{name}");
            assert!(kind == "securitySchemes" || named.contains(&pointer), "{pointer} is not used");
        }
    }
}
