//! What is wrong with a query.

use std::borrow::Cow;
use std::fmt;

/// At most this much of a query is said back.
const LONGEST_ECHO: usize = 64;

/// What is wrong with a query, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryError {
    /// Where: the number of the character, from 1.
    pub column: usize,
    /// What stands there.
    pub what: String,
    /// What should.
    pub expected: Option<String>,
}

impl std::error::Error for QueryError {}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.what)?;
        match &self.expected {
            Some(expected) => write!(f, "; expected {expected}"),
            None => Ok(()),
        }
    }
}

/// The same while the text is still being read: its place is a byte's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) at: usize,
    pub(super) what: Cow<'static, str>,
    pub(super) expected: Option<Cow<'static, str>>,
    /// The class has no such field; another may.
    pub(super) no_field: bool,
}

impl Wrong {
    pub(super) fn new(at: usize, what: impl Into<Cow<'static, str>>) -> Self {
        Self { at, what: what.into(), expected: None, no_field: false }
    }

    pub(super) fn expected(self, expected: impl Into<Cow<'static, str>>) -> Self {
        Self { expected: Some(expected.into()), ..self }
    }

    /// The error about `text`.
    pub(super) fn within(self, text: &str) -> QueryError {
        let before = text.get(..self.at).unwrap_or(text);
        QueryError {
            column: before.chars().count() + 1,
            what: self.what.into_owned(),
            expected: self.expected.map(Cow::into_owned),
        }
    }
}

/// A part of a query, as it may stand in a text.
pub(super) fn echo(text: &str) -> String {
    let mut shown: String = text.chars().take(LONGEST_ECHO).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

/// The name most like `name`, if one is like it.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > LONGEST_ECHO {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    let distance = |known: &str| strsim::damerau_levenshtein(&lower, &known.to_ascii_lowercase());
    let allowed = 1 + name.len() / 5;
    let near = known.map(|known| (distance(known), known)).min_by_key(|(distance, _)| *distance);
    near.filter(|(distance, _)| *distance <= allowed).map(|(_, known)| known)
}
