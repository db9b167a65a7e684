//! What is asked of one value.

use std::cmp::Ordering;

use super::glob::Glob;
use super::json;
use crate::inventory::Moment;

/// A question to a value's JSON.
#[derive(Debug, Clone)]
pub(super) enum Check {
    /// There is none.
    Null,
    /// It is this bool.
    Bool(bool),
    /// It is an int that compares so.
    Int(Compare, i64),
    /// It is a float that compares so.
    Float(Compare, f64),
    /// It is a date that compares so.
    Date(Compare, Day),
    /// It is a text that compares so.
    Text(Compare, Box<str>),
    /// It is a text that fits.
    Like(Glob),
    /// One of these holds.
    OneOf(Box<[Check]>),
    /// It is an array, and this holds of one of its elements.
    Element(Box<Check>),
    /// It is an object with this key.
    Key(Box<str>),
    /// It is an array or an object with nothing in it.
    Empty,
}

/// How a value compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Compare {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

/// A day or an instant, in the spelling of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Day {
    /// `2026-01-31`: what is on the day equals it.
    Whole(Box<str>),
    /// `2026-01-31T07:25:54.5`, without zeros at the end of a fraction.
    Instant(Box<str>),
}

impl Day {
    /// An instant.
    pub(super) fn at(moment: Moment) -> Self {
        Self::Instant(moment.to_string().into())
    }

    /// How a date of a record compares with it.
    fn compare(&self, date: &str) -> Ordering {
        match self {
            Self::Whole(day) => date.get(..day.len()).unwrap_or(date).cmp(day),
            Self::Instant(instant) => bare(date).cmp(instant),
        }
    }
}

/// A date without its Z and without zeros at the end of a fraction: such texts sort as dates do.
pub(super) fn bare(date: &str) -> &str {
    let date = date.strip_suffix('Z').unwrap_or(date);
    if date.contains('.') { date.trim_end_matches('0').trim_end_matches('.') } else { date }
}

impl Check {
    /// Whether it holds; null counts as no value.
    pub(super) fn holds(&self, value: Option<&[u8]>) -> bool {
        let Some(value) = value.filter(|value| *value != b"null") else {
            return match self {
                Self::Null => true,
                Self::OneOf(checks) => checks.iter().any(|check| matches!(check, Self::Null)),
                _ => false,
            };
        };
        match self {
            Self::Null => false,
            Self::Bool(wanted) => value == if *wanted { &b"true"[..] } else { &b"false"[..] },
            Self::Int(compare, wanted) => {
                json::int(value).is_some_and(|value| compare.holds(value.cmp(wanted)))
            }
            Self::Float(compare, wanted) => json::float(value)
                .and_then(|value| value.partial_cmp(wanted))
                .is_some_and(|ordering| compare.holds(ordering)),
            Self::Date(compare, wanted) => {
                json::text(value).is_some_and(|date| compare.holds(wanted.compare(&date)))
            }
            Self::Text(compare, wanted) => {
                json::text(value).is_some_and(|text| compare.holds((*text).cmp(wanted)))
            }
            Self::Like(glob) => json::text(value).is_some_and(|text| glob.matches(&text)),
            Self::OneOf(checks) => checks.iter().any(|check| check.holds(Some(value))),
            Self::Element(check) => json::elements(value).any(|element| check.holds(Some(element))),
            Self::Key(key) => json::member(value, key).is_some(),
            Self::Empty => json::is_empty(value),
        }
    }
}
