//! Readers of what XAPI's RRD daemon answers: `rrd_updates` and whole RRDs, as XML and as JSON.
//!
//! Strict about what could make a number wrong, lenient about all else: a value that is no number is
//! unknown (NaN), a row that does not fit its columns is not used, a body that breaks off is refused.

mod archive;
pub mod invariants;
mod json;
mod updates;
mod xml;

#[cfg(test)]
mod tests;

pub use archive::{Archive, Rra, Source};
pub use updates::{Column, Updates};

/// Why a body cannot be read; the texts hold nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Nothing at all.
    #[error("the answer is empty")]
    Empty,
    /// Something else, such as a page for people.
    #[error("the answer holds no measurements")]
    NotRrd,
    /// It breaks off.
    #[error("the answer ends in the middle")]
    Truncated,
    /// It is neither XML nor JSON, from some place on.
    #[error("the answer is malformed near byte {0}")]
    Malformed(u64),
    /// More columns or rows than any host has.
    #[error("the answer has too many columns or rows")]
    TooWide,
}

/// More columns than any host has; a wider reply is refused.
const MOST_COLUMNS: usize = 500_000;

/// More rows than any archive has; a longer reply is refused.
const MOST_ROWS: usize = 20_000;

/// More archives than any RRD has.
const MOST_ARCHIVES: usize = 64;

/// The later and earlier ends of what can be a time, in seconds since 1970.
const TIMES: std::ops::Range<i64> = 1..100_000_000_000;

/// What a body is written in.
enum Form<'a> {
    Xml(&'a [u8]),
    Json(&'a [u8]),
}

/// Deeper than either document.
const DEEPEST: usize = 16;

/// What is met on the way through a document, with the path of what it is about.
enum Met<'a> {
    /// An element, an object or a list begins.
    Open(&'a str),
    /// It ends; with the text in it, if it has that.
    Close(&'a str, &'a str),
}

fn form(body: &[u8]) -> Result<Form<'_>, Unreadable> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => Err(Unreadable::Empty),
        Some(b'<') => Ok(Form::Xml(body)),
        Some(b'{') => Ok(Form::Json(body)),
        Some(_) => Err(Unreadable::NotRrd),
    }
}

/// A number as RRDs have it; NaN when it is not known, infinite, or no number at all.
fn number(text: &str) -> f64 {
    match text.trim().parse::<f64>() {
        Ok(number) if number.is_finite() => number,
        _ => f64::NAN,
    }
}

/// A whole number, however it is spelt: `5`, `5.0`, `1790002000.25`.
fn whole(number: f64) -> Option<i64> {
    // Beyond 2^53 neighbouring numbers can no longer be told apart.
    (number.abs() < 9_007_199_254_740_992.0).then_some(number.floor() as i64)
}

/// A number that is a time.
fn time(number: f64) -> Option<i64> {
    whole(number).filter(|time| TIMES.contains(time))
}

/// A number that can be so many seconds between rows.
fn step(number: f64) -> Option<i64> {
    whole(number).filter(|step| (1..=366 * 86_400).contains(step))
}
