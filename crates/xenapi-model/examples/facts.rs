//! Makes `facts.json` from the Xen-API's datamodel as one JSON document, with what is false, empty
//! or derived left out, and a class's fields and calls a line each, so that a diff can be read:
//!
//! `cargo run -p xenapi-model --example facts -- from datamodel.json > crates/xenapi-model/src/facts.json`

use std::error::Error;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::Value;

const ABOUT: &str = "The Xen-API as facts, derived from the datamodel of xapi-project/xen-api, August 2026, by `cargo run -p xenapi-model --example facts -- from datamodel.json`. Defaults that are false, empty or null are left out.";

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [from, path] = &args[..] else {
        return Err("facts from DATAMODEL.JSON".into());
    };
    if from != "from" {
        return Err("facts from DATAMODEL.JSON".into());
    }
    let datamodel: Node = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    print!("{}", facts(&datamodel));
    Ok(())
}

/// The whole document.
fn facts(datamodel: &Node) -> String {
    let part = |name: &str| datamodel.get(name).unwrap_or(&Node::Plain(Value::Null)).clone();
    let roles = part("roles");
    let lines = |node: Node| node.items().iter().map(|one| text(&clean(one, &[]))).collect();
    let named = |node: Node| node.members().iter().map(|(name, one)| member(name, one)).collect();
    // A release without a name has one of null.
    let releases = part("releases").items().iter().map(text).collect();
    let classes = part("classes");
    let classes = classes.members().iter().map(|(name, class)| self::class(name, class, &roles));
    [
        "{\n".to_owned(),
        format!("\"about\":{},\n", text(&Node::Plain(ABOUT.into()))),
        block("releases", '[', releases, "],\n"),
        format!("\"roles\":{},\n", text(&roles)),
        block("classes", '{', classes.collect(), "},\n"),
        block("enums", '{', named(part("enums")), "},\n"),
        block("relations", '[', lines(part("relations")), "],\n"),
        block("errors", '{', named(part("errors")), "},\n"),
        block("http_handlers", '[', lines(part("http_handlers")), "]}\n"),
    ]
    .concat()
}

fn block(name: &str, open: char, lines: Vec<String>, close: &str) -> String {
    format!("\"{name}\":{open}\n{}\n{close}", lines.join(",\n"))
}

fn class(name: &str, class: &Node, roles: &Node) -> String {
    let own = class.members().iter().filter(|(key, _)| !["fields", "calls"].contains(&&**key));
    let own = text(&clean(&Node::Object(own.cloned().collect()), &[]));
    let own = own.trim_end_matches('}');
    let of = |key: &str| class.get(key).map(Node::members).unwrap_or_default().iter();
    // No default is another fact than one of null.
    let fields = of("fields").map(|(name, field)| member(name, &clean(field, &["default"])));
    let calls = of("calls").map(|(call, node)| {
        let wire_name = format!("{name}.{call}");
        member(call, &self::call(node, &wire_name, roles))
    });
    let lines = |lines: Vec<String>| lines.join(",\n");
    let (fields, calls) = (lines(fields.collect()), lines(calls.collect()));
    format!("\"{name}\":{own},\"fields\":{{\n{fields}}},\"calls\":{{\n{calls}}}}}")
}

/// A call: its roles by their numbers, always said; its session only where it takes none; its name
/// only where that is not its class's and its own.
fn call(call: &Node, wire_name: &str, roles: &Node) -> Node {
    let number = |role: &Node| roles.items().iter().position(|known| text(known) == text(role));
    let mut own = Vec::new();
    for (key, value) in call.members() {
        let value = match &**key {
            "wire_name" if *value == Node::Plain(wire_name.into()) => continue,
            "session" => continue,
            "params" => {
                let params = value.items().iter().map(|param| clean(param, &["default"]));
                Node::Array(params.collect())
            }
            "roles" => {
                let numbers = value.items().iter().filter_map(number);
                Node::Array(numbers.map(|number| Node::Plain(number.into())).collect())
            }
            _ => value.clone(),
        };
        if !value.is_nothing() {
            own.push((key.clone(), value));
        }
    }
    if call.get("session") == Some(&Node::Plain(false.into())) {
        own.push(("session".to_owned(), Node::Plain(false.into())));
    }
    if !own.iter().any(|(key, _)| key == "roles") {
        own.push(("roles".to_owned(), Node::Array(Vec::new())));
    }
    Node::Object(own)
}

/// Without the members that say nothing, but for these.
fn clean(node: &Node, keep: &[&str]) -> Node {
    let Node::Object(members) = node else { return node.clone() };
    let says = |(key, value): &&(String, Node)| keep.contains(&&**key) || !value.is_nothing();
    Node::Object(members.iter().filter(says).cloned().collect())
}

fn member(name: &str, value: &Node) -> String {
    format!("\"{name}\":{}", text(value))
}

fn text(node: &Node) -> String {
    serde_json::to_string(node).expect("JSON that was read can be written")
}

/// JSON whose members keep their order, which is a fact too.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    Plain(Value),
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    fn members(&self) -> &[(String, Node)] {
        if let Self::Object(members) = self { members } else { &[] }
    }

    fn items(&self) -> &[Node] {
        if let Self::Array(items) = self { items } else { &[] }
    }

    fn get(&self, name: &str) -> Option<&Self> {
        self.members().iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// False, null or empty; an empty text says something.
    fn is_nothing(&self) -> bool {
        match self {
            Self::Plain(value) => value.is_null() || *value == false,
            Self::Array(items) => items.is_empty(),
            Self::Object(members) => members.is_empty(),
        }
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(value) => value.serialize(serializer),
            Self::Array(items) => serializer.collect_seq(items),
            Self::Object(members) => {
                serializer.collect_map(members.iter().map(|(key, value)| (key, value)))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NodeVisitor;
        impl<'de> Visitor<'de> for NodeVisitor {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Plain(Value::Null))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
                Ok(Node::Plain(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
                Ok(Node::Plain(value.into()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
                Ok(Node::Plain(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
                Ok(Node::Plain(value.into()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Node, E> {
                Ok(Node::Plain(value.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
                let mut all = Vec::new();
                while let Some(item) = items.next_element()? {
                    all.push(item);
                }
                Ok(Node::Array(all))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
                let mut all = Vec::new();
                while let Some(member) = members.next_entry()? {
                    all.push(member);
                }
                Ok(Node::Object(all))
            }
        }
        deserializer.deserialize_any(NodeVisitor)
    }
}
