//! Ints, floats and bools: from the text between their tags to JSON.

use super::text;

/// How the text of a leaf element becomes JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    Float,
    Bool,
    /// Strings, dates and base64: the text as it was found.
    Text,
    Nil,
}

/// Writes what a scalar element held. One whose text does not fit its tag (an int beyond 64 bits,
/// an empty float) stays a JSON string, as it would be without the tag: one odd field must not
/// cost a thousand records.
pub(super) fn write(kind: Kind, raw: &[u8], out: &mut Vec<u8>) {
    let trimmed = raw.trim_ascii();
    let written = match kind {
        Kind::Int => int(trimmed).map(|int| number(&int, out)),
        Kind::Float => float(trimmed).map(|float| number(&float, out)),
        Kind::Bool => bool(trimmed).map(|bool| out.extend_from_slice(bool)),
        Kind::Text | Kind::Nil => None,
    };
    if written.is_none() {
        out.push(b'"');
        text::escape(raw, out);
        out.push(b'"');
    }
}

fn int(text: &[u8]) -> Option<i64> {
    str::from_utf8(text).ok()?.parse().ok()
}

/// Takes `nan` and `inf` too, which become null.
fn float(text: &[u8]) -> Option<f64> {
    str::from_utf8(text).ok()?.parse().ok()
}

fn bool(text: &[u8]) -> Option<&'static [u8]> {
    match text {
        b"1" | b"true" => Some(b"true"),
        b"0" | b"false" => Some(b"false"),
        _ => None,
    }
}

/// serde_json writes a float that is whole as `1.0`, like XAPI's JSON, and one that is not finite
/// as null.
fn number<T: serde::Serialize>(number: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, number).expect("a number is always JSON and a Vec takes every byte");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(kind: Kind, raw: &str) -> String {
        let mut out = Vec::new();
        write(kind, raw.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_json_numbers_where_they_fit() {
        for (raw, json) in [
            ("5", "5"),
            (" -7\n", "-7"),
            ("+007", "7"),
            ("9223372036854775807", "9223372036854775807"),
            ("9223372036854775808", r#""9223372036854775808""#),
            ("", r#""""#),
            ("1.5", r#""1.5""#),
        ] {
            assert_eq!(written(Kind::Int, raw), json);
        }
        for (raw, json) in [
            ("1", "1.0"),
            ("0", "0.0"),
            ("1.5e3", "1500.0"),
            (".5", "0.5"),
            ("-2.", "-2.0"),
            ("nan", "null"),
            ("NaN", "null"),
            ("-inf", "null"),
            ("1e999", "null"),
            ("1e300", "1e+300"),
            ("one", r#""one""#),
        ] {
            assert_eq!(written(Kind::Float, raw), json);
        }
        for (raw, json) in [("1", "true"), ("false", "false"), (" true ", "true"), ("2", r#""2""#)]
        {
            assert_eq!(written(Kind::Bool, raw), json);
        }
    }
}
