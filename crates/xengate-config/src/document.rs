//! Where in a TOML document a key stands.

use std::fmt;
use std::ops::Range;

use toml::de::{DeArray, DeTable, DeValue};

/// A step on the way to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A key of a table.
    Key(String),
    /// An element of an array.
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// What is wrong with a setting that parses, and the way to it.
#[derive(Debug)]
pub(super) struct Complaint {
    pub(super) path: Vec<Step>,
    pub(super) text: String,
}

impl Complaint {
    /// A complaint about the value at hand.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { path: Vec::new(), text: text.into() }
    }

    /// The same, seen from the table or array that holds that value under `step`.
    #[must_use]
    pub(super) fn at(mut self, step: impl Into<Step>) -> Self {
        self.path.insert(0, step.into());
        self
    }
}

/// A way through a document, as it is shown: `backends.lab.uris[1]`.
pub(super) struct Path<'a>(pub(super) &'a [Step]);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if place == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Where the value at `path` stands: its key, or the innermost table of the path that is there.
pub(super) fn position(document: &DeTable<'_>, path: &[Step]) -> Option<usize> {
    let (first, rest) = path.split_first()?;
    let Step::Key(name) = first else { return None };
    let (key, value) = document.iter().find(|(key, _)| key.get_ref() == name)?;
    Some(position_in(value.get_ref(), rest).unwrap_or(key.span().start))
}

fn position_in(value: &DeValue<'_>, path: &[Step]) -> Option<usize> {
    let (first, rest) = path.split_first()?;
    match (value, first) {
        (DeValue::Table(table), Step::Key(_)) => position(table, path),
        (DeValue::Array(array), Step::Index(index)) => {
            let element = array.get(*index)?;
            Some(position_in(element.get_ref(), rest).unwrap_or(element.span().start))
        }
        _ => None,
    }
}

/// The way to the key or value that holds the byte at `offset`.
pub(super) fn path_at(document: &DeTable<'_>, offset: usize) -> Vec<Step> {
    let mut path = Vec::new();
    find(document, offset, &mut path);
    path
}

fn find(table: &DeTable<'_>, offset: usize, path: &mut Vec<Step>) -> bool {
    for (key, value) in table {
        path.push(Step::Key(key.get_ref().to_string()));
        if contains(&key.span(), offset) || find_in(value.get_ref(), &value.span(), offset, path) {
            return true;
        }
        path.pop();
    }
    false
}

fn find_in(value: &DeValue<'_>, span: &Range<usize>, offset: usize, path: &mut Vec<Step>) -> bool {
    match value {
        // A table's span is its header's; its keys stand outside it.
        DeValue::Table(table) => find(table, offset, path) || contains(span, offset),
        DeValue::Array(array) => {
            for (index, element) in array.iter().enumerate() {
                path.push(Step::Index(index));
                if find_in(element.get_ref(), &element.span(), offset, path) {
                    return true;
                }
                path.pop();
            }
            contains(span, offset)
        }
        _ => contains(span, offset),
    }
}

fn contains(span: &Range<usize>, offset: usize) -> bool {
    span.contains(&offset)
}

/// Takes out the innermost key or element that holds the byte at `offset`; what is left keeps its
/// places. Whether there was one.
pub(super) fn remove_at(table: &mut DeTable<'_>, offset: usize) -> bool {
    let mut whole = None;
    for (key, value) in table.iter_mut() {
        let inside = match value.get_mut() {
            DeValue::Table(table) => remove_at(table, offset),
            DeValue::Array(array) => remove_element(array, offset),
            _ => false,
        };
        if inside {
            return true;
        }
        if contains(&key.span(), offset) || contains(&value.span(), offset) {
            whole = Some(key.clone());
            break;
        }
    }
    whole.is_some_and(|key| table.remove(&key).is_some())
}

fn remove_element(array: &mut DeArray<'_>, offset: usize) -> bool {
    let mut whole = None;
    for (index, element) in array.iter_mut().enumerate() {
        let inside = match element.get_mut() {
            DeValue::Table(table) => remove_at(table, offset),
            DeValue::Array(array) => remove_element(array, offset),
            _ => false,
        };
        if inside {
            return true;
        }
        if contains(&element.span(), offset) {
            whole = Some(index);
            break;
        }
    }
    let Some(whole) = whole else { return false };
    let elements = std::mem::replace(array, DeArray::new());
    for (_, element) in elements.into_iter().enumerate().filter(|(index, _)| *index != whole) {
        array.push(element);
    }
    true
}
