//! The document as a tree that can be changed, and whose text never changes, so that two builds
//! can be compared byte for byte.
//!
//! utoipa keeps extensions in a hash map; everything else is already in a fixed order, which a
//! sorted map would lose (fields stand in the datamodel's order).

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Number, Value};
use utoipa::openapi::OpenApi;

/// A value of the document; an object keeps its order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    /// A string, a number, true, false or null.
    Leaf(Value),
    /// An array.
    Array(Vec<Node>),
    /// An object.
    Object(Vec<(String, Node)>),
}

impl Node {
    /// The document as a tree.
    pub(crate) fn of(document: &OpenApi) -> Self {
        let unsorted =
            serde_json::to_string(document).expect("string keys and finite numbers only");
        serde_json::from_str(&unsorted).expect("this was just written")
    }

    /// A string.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Leaf(Value::String(text.into()))
    }

    /// The members of an object, none of anything else.
    pub(crate) fn members(&self) -> &[(String, Self)] {
        match self {
            Self::Object(members) => members,
            _ => &[],
        }
    }

    /// The members of an object, to be changed.
    pub(crate) fn members_mut(&mut self) -> Option<&mut Vec<(String, Self)>> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The member of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        self.members().iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// The member of this name, to be changed.
    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Self> {
        let members = self.members_mut()?;
        members.iter_mut().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// Takes the member of this name out.
    pub(crate) fn remove(&mut self, name: &str) -> Option<Self> {
        let members = self.members_mut()?;
        let place = members.iter().position(|(own, _)| own == name)?;
        Some(members.remove(place).1)
    }

    /// Puts a member in, at the end or over the one of this name.
    pub(crate) fn set(&mut self, name: &str, value: Self) {
        match self.get_mut(name) {
            Some(there) => *there = value,
            None => {
                self.members_mut()
                    .into_iter()
                    .for_each(|m| m.push((name.to_owned(), value.clone())));
            }
        }
    }

    /// The items of an array, none of anything else.
    pub(crate) fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) => items,
            _ => &[],
        }
    }

    /// A string.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Leaf(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// Every value in it, itself first.
    pub(crate) fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Self)) {
        visit(self);
        match self {
            Self::Leaf(_) => {}
            Self::Array(items) => items.iter().for_each(|item| item.walk(visit)),
            Self::Object(members) => members.iter().for_each(|(_, value)| value.walk(visit)),
        }
    }
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
