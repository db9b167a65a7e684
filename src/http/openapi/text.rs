//! The document as text in an order that never changes, so that two builds can be compared byte
//! for byte.
//!
//! utoipa keeps extensions in a hash map; everything else is already in a fixed order, which a
//! sorted map would lose (fields stand in the datamodel's order).

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Number, Value};
use utoipa::openapi::OpenApi;

/// How the text is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// On one line, for programs: half as long.
    Compact,
    /// Indented, with a newline at its end.
    Indented,
}

/// The document as text.
pub(super) fn render(document: &OpenApi, layout: Layout) -> String {
    let unsorted = serde_json::to_string(document).expect("string keys and finite numbers only");
    let node: Node = serde_json::from_str(&unsorted).expect("this was just written");
    match layout {
        Layout::Compact => serde_json::to_string(&node),
        Layout::Indented => serde_json::to_string_pretty(&node).map(|text| text + "\n"),
    }
    .expect("a node has string keys only")
}

/// JSON whose objects keep their order.
enum Node {
    Leaf(Value),
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Leaf(value) => value.serialize(serializer),
            Self::Array(items) => items.serialize(serializer),
            Self::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (key, value) in members {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Leaf(Value::Null))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Leaf(Number::from_f64(value).map_or(Value::Null, Value::Number)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Node::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut members: Vec<(String, Node)> = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        // Stable: only extensions move, behind the rest and among themselves by name.
        members.sort_by(|(a, _), (b, _)| extension(a).cmp(&extension(b)));
        Ok(Node::Object(members))
    }
}

fn extension(key: &str) -> Option<&str> {
    key.starts_with("x-").then_some(key)
}

#[cfg(test)]
mod tests {
    use utoipa::openapi::extensions::ExtensionsBuilder;
    use utoipa::openapi::{InfoBuilder, OpenApiBuilder};

    use super::*;

    #[test]
    fn extensions_come_last_and_sorted() {
        let names = ["x-d", "x-a", "x-e", "x-c", "x-b"];
        let extensions = names.iter().fold(ExtensionsBuilder::new(), |e, name| e.add(*name, 1));
        let info = InfoBuilder::new().title("t").version("1").extensions(Some(extensions.build()));
        let text = render(&OpenApiBuilder::new().info(info).build(), Layout::Indented);
        let found: Vec<_> =
            text.lines().filter_map(|line| line.trim().strip_suffix(": 1,")).collect();
        assert_eq!(found, ["\"x-a\"", "\"x-b\"", "\"x-c\"", "\"x-d\""]);
        assert!(text.ends_with("}\n") && text.contains("\"x-e\": 1\n"));
    }
}
