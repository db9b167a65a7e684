//! The document in OpenAPI 3.0.3, for programs that do not know 3.1: its schemas are not quite JSON
//! Schema. Nothing is lost but the names that a map's keys may have.

use serde_json::Value;

use crate::openapi::tree::Node;

/// The document in OpenAPI 3.0.3.
pub(crate) fn of(mut document: Node) -> Node {
    document.set("openapi", Node::text("3.0.3"));
    if let Some(license) = document.get_mut("info").and_then(|info| info.get_mut("license")) {
        license.remove("identifier");
    }
    let schemas = document.get_mut("components").and_then(|all| all.get_mut("schemas"));
    for (_, component) in schemas.and_then(Node::members_mut).into_iter().flatten() {
        schema(component);
    }
    elsewhere(&mut document);
    document
}

/// Every schema that is not a component: outside of schemas, `schema` is nothing else.
fn elsewhere(node: &mut Node) {
    match node {
        Node::Leaf(_) => {}
        Node::Array(items) => items.iter_mut().for_each(elsewhere),
        Node::Object(members) => {
            for (name, value) in members {
                match name.as_str() {
                    "schema" => schema(value),
                    // Done, and an example is not to be looked into.
                    "schemas" => {}
                    _ => elsewhere(value),
                }
            }
        }
    }
}

fn schema(node: &mut Node) {
    if node.get("$ref").is_some() {
        return beside_a_ref(node);
    }
    nullable(node);
    node.remove("propertyNames");
    if let Some(Node::Array(examples)) = node.remove("examples")
        && let Some(first) = examples.into_iter().next()
    {
        node.set("example", first);
    }
    for (name, value) in node.members_mut().into_iter().flatten() {
        match (name.as_str(), value) {
            ("properties", Node::Object(members)) => {
                members.iter_mut().for_each(|(_, member)| schema(member));
            }
            ("items" | "additionalProperties" | "not", value @ Node::Object(_)) => schema(value),
            ("allOf" | "anyOf" | "oneOf", Node::Array(parts)) => parts.iter_mut().for_each(schema),
            _ => {}
        }
    }
}

/// In 3.0 what stands beside a `$ref` is not read.
fn beside_a_ref(node: &mut Node) {
    let Some(members) = node.members_mut().filter(|members| members.len() > 1) else { return };
    let (reference, mut rest): (Vec<_>, Vec<_>) =
        members.drain(..).partition(|(name, _)| name == "$ref");
    rest.insert(0, ("allOf".into(), Node::Array(vec![Node::Object(reference)])));
    *members = rest;
}

/// In 3.0 null is no type: a schema says beside its one type that it may be null.
fn nullable(node: &mut Node) {
    let null = Node::text("null");
    let is_null = |part: &Node| part.get("type") == Some(&null);
    let mut may_be_null = false;
    for of in ["anyOf", "oneOf"] {
        let Some(Node::Array(mut parts)) = node.get(of).cloned() else { continue };
        let before = parts.len();
        parts.retain(|part| !is_null(part));
        if parts.len() == before {
            continue;
        }
        may_be_null = true;
        if parts.len() == 1 {
            node.remove(of);
            node.set("allOf", Node::Array(parts));
        } else {
            node.set(of, Node::Array(parts));
        }
    }
    if let Some(Node::Array(mut types)) = node.get("type").cloned() {
        let before = types.len();
        types.retain(|one| *one != null);
        may_be_null |= types.len() < before;
        if types.len() == 1 {
            node.set("type", types.remove(0));
        } else {
            node.remove("type");
            let one = |name| Node::Object(vec![("type".to_owned(), name)]);
            node.set("anyOf", Node::Array(types.into_iter().map(one).collect()));
        }
    }
    if may_be_null {
        node.set("nullable", Node::Leaf(Value::Bool(true)));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn converted(value: &Value) -> Value {
        let mut node: Node = serde_json::from_str(&value.to_string()).expect("JSON");
        schema(&mut node);
        serde_json::to_value(&node).expect("JSON")
    }

    #[test]
    fn schemas_say_the_same_in_the_words_of_3_0() {
        let named = json!({"$ref": "#/components/schemas/Vm"});
        for (now, then) in [
            (json!({"type": ["string", "null"]}), json!({"type": "string", "nullable": true})),
            (
                json!({"type": ["string", "integer", "null"]}),
                json!({"anyOf": [{"type": "string"}, {"type": "integer"}], "nullable": true}),
            ),
            (
                json!({"anyOf": [named, {"type": "null"}], "description": "d"}),
                json!({"allOf": [named], "description": "d", "nullable": true}),
            ),
            (
                json!({"$ref": "#/components/schemas/Vm", "description": "d"}),
                json!({"allOf": [named], "description": "d"}),
            ),
            (named.clone(), named.clone()),
            (
                json!({"type": "string", "examples": ["a", "b"]}),
                json!({"type": "string", "example": "a"}),
            ),
            (
                json!({"type": "object", "properties": {"examples": {"type": ["array", "null"], "items": named}}}),
                json!({"type": "object", "properties": {"examples": {"type": "array", "items": named, "nullable": true}}}),
            ),
            (
                json!({"type": "object", "propertyNames": {"type": "string"}, "additionalProperties": true}),
                json!({"type": "object", "additionalProperties": true}),
            ),
        ] {
            assert_eq!(converted(&now), then);
        }
    }
}
