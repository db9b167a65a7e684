//! Calls and replies as bytes, in XML-RPC and in both versions of JSON-RPC.
//!
//! None of this is shared with the gateway's own readers and writers: a mistake made twice would
//! pass every test.

mod body;
mod escape;
mod json;
mod number;
mod output;
mod writer;
mod xml;

use std::fmt;

pub(crate) use body::Body;
pub(crate) use escape::{json as escape_json, xml as escape_xml};
pub(crate) use json::read as read_json;
pub(crate) use number::general;
pub(crate) use output::Output;
pub use writer::{Integers, JsonWriter};
pub(crate) use xml::read as read_xml;
#[cfg(test)]
pub(crate) use xml::read_reply;

/// An argument as it came.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Arg {
    Int(i64),
    Bool(bool),
    Float(f64),
    String(String),
    DateTime(String),
    Base64(String),
    Array(Vec<Arg>),
    Struct(Vec<(String, Arg)>),
    Nil,
}

/// As XAPI prints a value in its complaints.
impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(int) => write!(f, "I({int})"),
            Self::Bool(bool) => write!(f, "B({bool})"),
            Self::Float(float) => write!(f, "F({})", number::general(*float, 6)),
            Self::String(text) => write!(f, "S({text})"),
            Self::DateTime(text) => write!(f, "D({text})"),
            Self::Base64(text) => write!(f, "B64({text})"),
            Self::Array(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index == 0 { "" } else { ";" })?;
                }
                f.write_str("]")
            }
            Self::Struct(members) => {
                f.write_str("{")?;
                for (index, (name, value)) in members.iter().enumerate() {
                    write!(f, "{}{name}:{value}", if index == 0 { "" } else { ";" })?;
                }
                f.write_str("}")
            }
            Self::Nil => f.write_str("N"),
        }
    }
}

/// How a call was written, and so how its reply is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Form {
    /// XML-RPC.
    Xml,
    /// JSON-RPC 1.0 with this id.
    Json1(Arg),
    /// JSON-RPC 2.0 with this id.
    Json2(Arg),
}

/// A call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) args: Vec<Arg>,
    pub(crate) form: Form,
}

/// Why a body is no call: the exception that XAPI prints into its HTML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadCall(pub(crate) String);

/// A failure of the Xen-API: a code and its parameters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}")]
pub struct Failure {
    /// `VM_BAD_POWER_STATE`.
    pub code: String,
    /// Its parameters.
    pub params: Vec<String>,
}

impl Failure {
    /// A failure with these parameters.
    pub fn new<P: Into<String>>(code: &str, params: impl IntoIterator<Item = P>) -> Self {
        Self { code: code.into(), params: params.into_iter().map(Into::into).collect() }
    }

    /// What becomes of an OCaml exception `Failure text`.
    pub(crate) fn internal(text: &str) -> Self {
        Self::new("INTERNAL_ERROR", [format!("Failure({})", ocaml_string(text))])
    }
}

/// A string as OCaml prints it in an exception.
pub(crate) fn ocaml_string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for byte in text.bytes() {
        match byte {
            b'"' => quoted.push_str("\\\""),
            b'\\' => quoted.push_str("\\\\"),
            b'\n' => quoted.push_str("\\n"),
            b'\t' => quoted.push_str("\\t"),
            b'\r' => quoted.push_str("\\r"),
            b'\x08' => quoted.push_str("\\b"),
            b' '..=b'~' => quoted.push(char::from(byte)),
            _ => quoted.push_str(&format!("\\{byte:03}")),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_printed_as_ocaml_prints_them() {
        let arg = Arg::Struct(vec![
            ("a".into(), Arg::Array(vec![Arg::Int(5), Arg::Nil, Arg::Bool(true)])),
            ("b".into(), Arg::Float(0.5)),
        ]);
        assert_eq!(arg.to_string(), "{a:[I(5);N;B(true)];b:F(0.5)}");
        let failure = Failure::internal("Expected string, got 'S(\"é)'");
        assert_eq!(failure.params, ["Failure(\"Expected string, got 'S(\\\"\\195\\169)'\")"]);
    }
}
