//! The arguments of a call.

use std::fmt;

use secrecy::SecretString;

/// An argument of a call, in either dialect. Its `Debug` says what kind it is, never its value:
/// passwords and session refs are arguments too.
#[derive(Clone)]
pub enum Arg {
    /// A string, an enum's value or a ref.
    String(String),
    /// A string that must not be seen: a password, a session ref.
    Secret(SecretString),
    /// An int.
    Int(i64),
    /// A float. A value that is not finite has no form in either dialect.
    Float(f64),
    /// A bool.
    Bool(bool),
    /// A datetime in the form `20261122T07:25:54Z`; the `Z` may be missing.
    DateTime(String),
    /// A set.
    Array(Vec<Arg>),
    /// A map or a record.
    Struct(Vec<(String, Arg)>),
    /// No value. XAPI has none, xend takes it.
    Nil,
}

impl fmt::Debug for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Arg::String(_) => f.write_str("String(..)"),
            Arg::Secret(_) => f.write_str("Secret(..)"),
            Arg::Int(_) => f.write_str("Int(..)"),
            Arg::Float(_) => f.write_str("Float(..)"),
            Arg::Bool(_) => f.write_str("Bool(..)"),
            Arg::DateTime(_) => f.write_str("DateTime(..)"),
            Arg::Array(items) => write!(f, "Array({} items)", items.len()),
            Arg::Struct(members) => write!(f, "Struct({} members)", members.len()),
            Arg::Nil => f.write_str("Nil"),
        }
    }
}

impl From<&str> for Arg {
    fn from(text: &str) -> Self {
        Arg::String(text.to_owned())
    }
}

impl From<String> for Arg {
    fn from(text: String) -> Self {
        Arg::String(text)
    }
}

impl From<SecretString> for Arg {
    fn from(text: SecretString) -> Self {
        Arg::Secret(text)
    }
}

impl From<i64> for Arg {
    fn from(int: i64) -> Self {
        Arg::Int(int)
    }
}

impl From<f64> for Arg {
    fn from(float: f64) -> Self {
        Arg::Float(float)
    }
}

impl From<bool> for Arg {
    fn from(bool: bool) -> Self {
        Arg::Bool(bool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_value() {
        let arg = Arg::Struct(vec![
            ("sentinel-key".into(), Arg::Array(vec!["sentinel".into(), 4711_i64.into()])),
            ("secret".into(), Arg::Secret("sentinel".into())),
        ]);
        assert_eq!(format!("{arg:?}"), "Struct(2 members)");
        assert_eq!(format!("{:?}", Arg::from("sentinel")), "String(..)");
        assert_eq!(format!("{:?}", Arg::DateTime("sentinel".into())), "DateTime(..)");
    }
}
