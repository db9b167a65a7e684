//! Values of a filter, by the type of the field they are compared with.

use super::error::{Wrong, echo, nearest};
use super::syntax::Value;
use super::test::Day;
use crate::inventory::moment::{self, Moment};
use xenapi_model::Enumeration;

/// Units of sizes, as powers of 1024 and of 1000.
const UNITS: [(&str, u64); 10] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
    ("", 1),
];

/// A whole number, with a unit of size or without.
pub(super) fn int(value: &Value) -> Result<i64, Wrong> {
    let wrong = || {
        Wrong::new(value.at.0, echo(&value.text))
            .expected("a whole number, or a size such as 4GiB (KiB MiB GiB TiB, kB MB GB TB)")
    };
    let (digits, unit) = split_unit(&value.text);
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    if part.len() > 12 || digits.ends_with('.') {
        return Err(wrong());
    }
    // 1.5GiB is 15 × 1 GiB / 10, if that is whole.
    let number: i128 = format!("{whole}{part}").parse().map_err(|_| wrong())?;
    let bytes = number.checked_mul(i128::from(*factor)).ok_or_else(wrong)?;
    let scale = 10_i128.pow(u32::try_from(part.len()).map_err(|_| wrong())?);
    if bytes % scale != 0 {
        return Err(wrong());
    }
    i64::try_from(bytes / scale).map_err(|_| wrong())
}

/// A number.
pub(super) fn float(value: &Value) -> Result<f64, Wrong> {
    let number = value.text.parse().ok().filter(|number: &f64| number.is_finite());
    number
        .ok_or_else(|| Wrong::new(value.at.0, echo(&value.text)).expected("a number, such as 0.75"))
}

/// `true` or `false`.
pub(super) fn bool(value: &Value) -> Result<bool, Wrong> {
    match value.text.as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        text => Err(Wrong::new(value.at.0, echo(text)).expected("true or false")),
    }
}

/// An instant, or a day by UTC.
pub(super) fn date(value: &Value) -> Result<Day, Wrong> {
    moment::day(&value.text)
        .map(Day::Whole)
        .or_else(|| Moment::of_rfc3339(&value.text).map(Day::at))
        .ok_or_else(|| {
            Wrong::new(value.at.0, echo(&value.text))
                .expected("a date such as 2026-01-31 or 2026-01-31T07:25:54Z (RFC 3339)")
        })
}

/// A value of an enumeration. Quoted it may be one that a newer server has.
pub(super) fn of_enumeration<'v>(
    value: &'v Value,
    enumeration: &Enumeration,
) -> Result<&'v str, Wrong> {
    let values = || enumeration.values.iter().map(String::as_str);
    if value.quoted || values().any(|known| known == value.text) {
        return Ok(&value.text);
    }
    let expected = match nearest(&value.text, values()) {
        Some(near) => format!("a value of {}; did you mean {near}?", enumeration.name),
        None => {
            let some: Vec<&str> = values().take(8).collect();
            let more = if enumeration.values.len() > some.len() { ", …" } else { "" };
            format!("one of {}{more}", some.join(", "))
        }
    };
    Err(Wrong::new(value.at.0, echo(&value.text)).expected(expected))
}

/// A uuid, as refs are shown.
pub(super) fn uuid(value: &Value) -> Result<String, Wrong> {
    let uuid = (value.text.len() == 36).then(|| uuid::Uuid::try_parse(&value.text).ok()).flatten();
    uuid.map(|uuid| uuid.to_string()).ok_or_else(|| {
        Wrong::new(value.at.0, echo(&value.text)).expected("the uuid of an object, or null")
    })
}

/// The number and what stands behind it.
fn split_unit(text: &str) -> (&str, &str) {
    let unit = text.find(|char: char| char.is_ascii_alphabetic()).unwrap_or(text.len());
    text.split_at(unit)
}

#[cfg(test)]
mod tests {
    use super::super::syntax::At;
    use super::*;

    fn value(text: &str) -> Value {
        Value { text: text.to_owned(), quoted: false, at: At(0) }
    }

    #[test]
    fn sizes_are_exact() {
        for (text, want) in [
            ("0", 0),
            ("-1", -1),
            ("+5", 5),
            ("4GiB", 4 << 30),
            ("1.5GiB", 3 << 29),
            ("1kB", 1000),
            ("2.5kB", 2500),
            ("7B", 7),
            ("9223372036854775807", i64::MAX),
            ("0.5TB", 500_000_000_000),
        ] {
            assert_eq!(int(&value(text)).ok(), Some(want), "{text}");
        }
        for wrong in [
            "",
            "x",
            "1.5",
            "1.0001KiB",
            "4gib",
            "4 GiB",
            "1e3",
            "9223372036854775808",
            "8388608TiB",
            "1.",
            ".",
            "-",
            "--1",
            "1.-5",
            "99999999999999999999999999999999999999999TiB",
        ] {
            assert!(int(&value(wrong)).is_err(), "{wrong}");
        }
    }
}
