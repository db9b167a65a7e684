//! SXP: the nested lists in which xend's legacy dialect describes a domain.
//!
//! ```text
//! ['domain', ['domid', 8], ['name', 'web01'], ['cpu_time', 0.72], ['image', ['linux', …]]]
//! ```
//!
//! - [`read`] takes the JSON that [`xmlrpc::to_json`](super::xmlrpc::to_json) makes of a value,
//!   [`read_reply`] that of a whole legacy reply, faults and all. Nothing is lost and nothing is
//!   guessed: nil, maps, ints beyond 64 bits (which stay text) and odd characters all have a form.
//! - [`Sxp`]'s methods look things up as xend's own client does: an *element* is a list whose first
//!   item is its name, and its *value* is the item behind the name.
//! - [`Sxp::show`] and [`Sxp::pretty`] write the text, the latter as `xm list --long` prints it.
//! - `Sxp` serializes to the JSON it was read from, and becomes an [`Arg`] to be sent.

mod lookup;
mod print;
mod python;
mod read;
#[cfg(test)]
mod tests;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::Arg;

pub use python::{repr, text_of_float, unescape};
pub use read::{read, read_reply};

/// A value as xend's legacy dialect has them.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Sxp {
    /// Python's `None`.
    #[default]
    Nil,
    /// A bool.
    Bool(bool),
    /// An int.
    Int(i64),
    /// A float.
    Double(f64),
    /// A string; also an int that does not fit, as its digits.
    Text(String),
    /// A list.
    List(Vec<Sxp>),
    /// A dictionary, in the order it came.
    Map(Vec<(String, Sxp)>),
}

impl Sxp {
    /// The element `(name value)`.
    pub fn pair(name: &str, value: impl Into<Sxp>) -> Self {
        Sxp::List(vec![name.into(), value.into()])
    }
}

impl From<&str> for Sxp {
    fn from(text: &str) -> Self {
        Sxp::Text(text.to_owned())
    }
}

impl From<String> for Sxp {
    fn from(text: String) -> Self {
        Sxp::Text(text)
    }
}

impl From<i64> for Sxp {
    fn from(int: i64) -> Self {
        Sxp::Int(int)
    }
}

impl From<f64> for Sxp {
    fn from(float: f64) -> Self {
        Sxp::Double(float)
    }
}

impl From<bool> for Sxp {
    fn from(bool: bool) -> Self {
        Sxp::Bool(bool)
    }
}

impl From<Vec<Sxp>> for Sxp {
    fn from(items: Vec<Sxp>) -> Self {
        Sxp::List(items)
    }
}

impl From<Sxp> for Arg {
    fn from(sxp: Sxp) -> Self {
        match sxp {
            Sxp::Nil => Arg::Nil,
            Sxp::Bool(bool) => Arg::Bool(bool),
            Sxp::Int(int) => Arg::Int(int),
            Sxp::Double(float) => Arg::Float(float),
            Sxp::Text(text) => Arg::String(text),
            Sxp::List(items) => Arg::Array(items.into_iter().map(Arg::from).collect()),
            Sxp::Map(members) => {
                let member = |(name, value)| (name, Arg::from(value));
                Arg::Struct(members.into_iter().map(member).collect())
            }
        }
    }
}

impl Serialize for Sxp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Sxp::Nil => serializer.serialize_unit(),
            Sxp::Bool(bool) => serializer.serialize_bool(*bool),
            Sxp::Int(int) => serializer.serialize_i64(*int),
            Sxp::Double(float) => serializer.serialize_f64(*float),
            Sxp::Text(text) => serializer.serialize_str(text),
            Sxp::List(items) => serializer.collect_seq(items),
            Sxp::Map(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}
