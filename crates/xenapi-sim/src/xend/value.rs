//! Values as Python writes them: byte strings go out raw, whatever is in them.

use std::io::Write;

/// A value of either dialect.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Nil,
    Bool(bool),
    Int(i64),
    Double(f64),
    Date(String),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Bytes(text.as_bytes().to_vec())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Bytes(text.into_bytes())
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl From<i64> for Value {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl From<bool> for Value {
    fn from(bool: bool) -> Self {
        Self::Bool(bool)
    }
}

impl From<f64> for Value {
    fn from(float: f64) -> Self {
        Self::Double(float)
    }
}

impl Value {
    pub(super) fn list<T: Into<Value>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }

    /// What the Xen-API dialect makes of it: ints are strings.
    pub(super) fn stringified(self) -> Self {
        match self {
            Self::Int(int) => int.to_string().into(),
            Self::List(items) => Self::List(items.into_iter().map(Self::stringified).collect()),
            Self::Map(members) => {
                Self::Map(members.into_iter().map(|(name, v)| (name, v.stringified())).collect())
            }
            other => other,
        }
    }

    /// A member of a map.
    pub(super) fn member(&self, name: &str) -> Option<&Value> {
        let Self::Map(members) = self else { return None };
        members.iter().find(|(member, _)| member == name).map(|(_, value)| value)
    }
}

/// The element `[name, value]` of SXP.
pub(super) fn pair(name: &str, value: impl Into<Value>) -> Value {
    Value::List(vec![name.into(), value.into()])
}

/// A result, in an envelope that `xmlrpclib` writes.
pub(super) fn response(value: &Value) -> Vec<u8> {
    let mut out = b"<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n".to_vec();
    write(value, &mut out);
    out.extend_from_slice(b"</param>\n</params>\n</methodResponse>\n");
    out
}

/// A fault.
pub(super) fn fault(code: i64, text: &str) -> Vec<u8> {
    let fault =
        Value::Map(vec![("faultCode".into(), code.into()), ("faultString".into(), text.into())]);
    let mut out = b"<?xml version='1.0'?>\n<methodResponse>\n<fault>\n".to_vec();
    write(&fault, &mut out);
    out.extend_from_slice(b"</fault>\n</methodResponse>\n");
    out
}

fn write(value: &Value, out: &mut Vec<u8>) {
    let mut scalar = |tag: &str, text: &[u8]| {
        for part in [b"<value><", tag.as_bytes(), b">", text, b"</", tag.as_bytes()] {
            out.extend_from_slice(part);
        }
        out.extend_from_slice(b"></value>\n");
    };
    match value {
        // The one value that gets no newline.
        Value::Nil => out.extend_from_slice(b"<value><nil/></value>"),
        Value::Bool(bool) => scalar("boolean", if *bool { b"1" } else { b"0" }),
        Value::Int(int) => scalar("int", int.to_string().as_bytes()),
        Value::Double(float) => scalar("double", format!("{float:?}").as_bytes()),
        Value::Date(date) => scalar("dateTime.iso8601", date.as_bytes()),
        Value::Bytes(bytes) => scalar("string", &escaped(bytes)),
        Value::List(items) => {
            out.extend_from_slice(b"<value><array><data>\n");
            items.iter().for_each(|item| write(item, out));
            out.extend_from_slice(b"</data></array></value>\n");
        }
        Value::Map(members) => {
            out.extend_from_slice(b"<value><struct>\n");
            for (name, value) in members {
                out.extend_from_slice(b"<member>\n<name>");
                out.extend_from_slice(&escaped(name.as_bytes()));
                out.extend_from_slice(b"</name>\n");
                write(value, out);
                out.extend_from_slice(b"</member>\n");
            }
            out.extend_from_slice(b"</struct></value>\n");
        }
    }
}

fn escaped(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            byte => out.push(*byte),
        }
    }
    out
}

/// What becomes of a reply that is one string: Python's escapes, without the quotes.
pub(super) fn escaped_by_repr(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for byte in bytes {
        // Writing to a Vec cannot fail.
        _ = match byte {
            b'\n' => out.write_all(b"\\n"),
            b'\t' => out.write_all(b"\\t"),
            b'\r' => out.write_all(b"\\r"),
            b'\\' => out.write_all(b"\\\\"),
            b' '..=b'~' => out.write_all(&[*byte]),
            _ => write!(out, "\\x{byte:02x}"),
        };
    }
    out
}
