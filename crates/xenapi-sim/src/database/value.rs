//! What a field holds.

use std::sync::Arc;

use serde_json::Value as Json;

use xenapi_model::{Datamodel, Type};

/// Text that many records share.
pub type Text = Arc<str>;

/// The ref that names no object.
pub const NULL: &str = "OpaqueRef:NULL";

/// The instant that stands for "never".
pub(super) const NEVER: &str = "19700101T00:00:00Z";

/// The value of a field. Strings, enums and refs are all text, as they are in XAPI's own database;
/// the datamodel tells them apart.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A string, an enum's value or a ref.
    Text(Text),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// A bool.
    Bool(bool),
    /// An instant such as `20261122T07:25:54Z`.
    DateTime(Text),
    /// A set, in the order XAPI keeps it: newest member first.
    Set(Vec<Value>),
    /// A map, newest key first.
    Map(Vec<(Value, Value)>),
}

impl Value {
    /// A string, an enum's value or a ref.
    pub fn text(text: impl Into<Text>) -> Self {
        Self::Text(text.into())
    }

    /// An instant.
    pub fn date_time(text: impl Into<Text>) -> Self {
        Self::DateTime(text.into())
    }

    /// A set of texts.
    pub fn texts<T: Into<Text>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::Set(texts.into_iter().map(Self::text).collect())
    }

    /// A map from text to text.
    pub fn pairs<K: Into<Text>, V: Into<Text>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        Self::Map(pairs.into_iter().map(|(k, v)| (Self::text(k), Self::text(v))).collect())
    }

    /// The text of a string, enum or ref.
    pub fn as_text(&self) -> Option<&Text> {
        match self {
            Self::Text(text) | Self::DateTime(text) => Some(text),
            _ => None,
        }
    }

    /// What a field of this type holds when nothing was said.
    pub fn empty(ty: &Type, model: &Datamodel) -> Self {
        match ty {
            Type::String | Type::Secret | Type::Record(_) => Self::text(""),
            Type::Int => Self::Int(0),
            Type::Float => Self::Float(0.0),
            Type::Bool => Self::Bool(false),
            Type::DateTime => Self::date_time(NEVER),
            Type::Enum(id) => {
                Self::text(model.enumeration(*id).values.first().map_or("", String::as_str))
            }
            Type::Ref(_) => Self::text(NULL),
            Type::Set(_) => Self::Set(Vec::new()),
            Type::Map(..) => Self::Map(Vec::new()),
            Type::Option(inner) => Self::empty(inner, model),
        }
    }

    /// A field's default as the datamodel writes it: plain JSON, or tagged (`{"enum": …}`).
    pub fn of_default(default: &Json, ty: &Type) -> Option<Self> {
        Some(match (default, ty) {
            (Json::Object(tagged), _) => {
                let (tag, inner) = tagged.iter().next()?;
                match (tag.as_str(), inner, ty) {
                    ("set", Json::Array(items), Type::Set(of)) => Self::Set(
                        items.iter().map(|i| Self::of_default(i, of)).collect::<Option<_>>()?,
                    ),
                    ("map", Json::Array(pairs), Type::Map(key, value)) => {
                        let pair = |pair: &Json| {
                            let (k, v) = (pair.get(0)?, pair.get(1)?);
                            Some((Self::of_default(k, key)?, Self::of_default(v, value)?))
                        };
                        Self::Map(pairs.iter().map(pair).collect::<Option<_>>()?)
                    }
                    ("int", Json::String(digits), Type::Int) => Self::Int(digits.parse().ok()?),
                    ("datetime", Json::String(instant), _) => Self::date_time(instant.as_str()),
                    (_, Json::String(text), _) => Self::text(text.as_str()),
                    _ => return None,
                }
            }
            (Json::String(text), Type::DateTime) => Self::date_time(text.as_str()),
            (Json::String(text), _) => Self::text(text.as_str()),
            (Json::Bool(bool), _) => Self::Bool(*bool),
            (Json::Number(number), Type::Float) => Self::Float(number.as_f64()?),
            (Json::Number(number), _) => Self::Int(number.as_i64()?),
            _ => return None,
        })
    }

    /// The text that a filter of `get_all_records_where` compares.
    pub fn marshalled(&self) -> String {
        match self {
            Self::Text(text) | Self::DateTime(text) => text.to_string(),
            Self::Int(int) => int.to_string(),
            Self::Float(float) => float.to_string(),
            Self::Bool(bool) => bool.to_string(),
            Self::Set(items) => {
                let items: Vec<_> = items.iter().map(|i| format!("'{}'", i.marshalled())).collect();
                format!("({})", items.join(" "))
            }
            Self::Map(pairs) => {
                let pair =
                    |(k, v): &(Self, Self)| format!("('{}' '{}')", k.marshalled(), v.marshalled());
                let pairs: Vec<_> = pairs.iter().map(pair).collect();
                format!("({})", pairs.join(" "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xenapi_model::datamodel;

    #[test]
    fn every_default_of_the_datamodel_is_understood() {
        let model = datamodel();
        for class in &model.classes {
            for field in &class.fields {
                if let Some(default) = &field.default {
                    let value = Value::of_default(default, &field.ty);
                    assert!(value.is_some(), "{}.{}: {default}", class.name, field.name);
                }
            }
        }
    }
}
