//! Looking into a record's JSON where it lies.
//!
//! The JSON was read whole when the record was made, so here nothing is checked again: on bytes that
//! are no JSON the answers are of no use, but there are answers.

use std::borrow::Cow;

/// The text of a JSON string; nothing is copied unless it has escapes.
pub(super) fn text(json: &[u8]) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if memchr::memchr(b'\\', inner).is_some() {
        return serde_json::from_slice(json).ok().map(Cow::Owned);
    }
    std::str::from_utf8(inner).ok().map(Cow::Borrowed)
}

/// The int that a JSON number is.
pub(super) fn int(json: &[u8]) -> Option<i64> {
    let (negative, digits) = match json.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, json),
    };
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0_i64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
        let number = number.checked_mul(10)?;
        // Downwards, because there is one negative number more.
        number.checked_sub(digit)
    })?;
    if negative { Some(number) } else { number.checked_neg() }
}

/// The float that a JSON number is.
pub(super) fn float(json: &[u8]) -> Option<f64> {
    std::str::from_utf8(json).ok()?.parse().ok()
}

/// The value of this key in a JSON object.
pub(super) fn member<'a>(json: &'a [u8], key: &str) -> Option<&'a [u8]> {
    let mut values = Values { json: json.strip_prefix(b"{")? };
    loop {
        let name = values.next()?;
        let value = values.next()?;
        let plain = name.len() == key.len() + 2 && &name[1..name.len() - 1] == key.as_bytes();
        if (plain && !key.contains('\\'))
            || (memchr::memchr(b'\\', name).is_some() && text(name).as_deref() == Some(key))
        {
            return Some(value);
        }
    }
}

/// The elements of a JSON array.
pub(super) fn elements(json: &[u8]) -> impl Iterator<Item = &[u8]> {
    Values { json: json.strip_prefix(b"[").unwrap_or_default() }
}

/// The values of the members of a JSON object.
pub(super) fn elements_of_map(json: &[u8]) -> impl Iterator<Item = &[u8]> {
    Values { json: json.strip_prefix(b"{").unwrap_or_default() }.skip(1).step_by(2)
}

/// Whether a JSON array or object holds nothing.
pub(super) fn is_empty(json: &[u8]) -> bool {
    let inner = json.get(1..json.len().saturating_sub(1)).unwrap_or_default();
    matches!(json.first(), Some(b'[' | b'{')) && inner.iter().all(u8::is_ascii_whitespace)
}

/// Values, with whatever stands between them left out.
struct Values<'a> {
    json: &'a [u8],
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let between = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b',' | b':');
        let start = self.json.iter().position(|byte| !between(byte))?;
        let json = &self.json[start..];
        if matches!(json[0], b']' | b'}') {
            return None;
        }
        let (value, rest) = json.split_at_checked(end(json))?;
        self.json = rest;
        Some(value)
    }
}

/// Where the value ends that `json` begins with.
fn end(json: &[u8]) -> usize {
    match json[0] {
        b'"' => string_end(json),
        b'[' | b'{' => {
            let (mut at, mut depth) = (0, 0_usize);
            while let Some(byte) = json.get(at) {
                match byte {
                    b'"' => {
                        at += string_end(&json[at..]);
                        continue;
                    }
                    b'[' | b'{' => depth += 1,
                    b']' | b'}' => {
                        depth -= 1;
                        if depth == 0 {
                            return at + 1;
                        }
                    }
                    _ => {}
                }
                at += 1;
            }
            at
        }
        _ => {
            let behind =
                |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b',' | b']' | b'}' | b':');
            json.iter().position(behind).unwrap_or(json.len()).max(1)
        }
    }
}

/// Where the string ends that `json` begins with, its quote included.
fn string_end(json: &[u8]) -> usize {
    let mut at = 1;
    while let Some(next) = json.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += next;
        if json[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_read() {
        assert_eq!(text(br#""a b""#).as_deref(), Some("a b"));
        assert_eq!(text(br#""a\"\u00e9""#).as_deref(), Some("a\"é"));
        assert_eq!(text(b"1"), None);
        for (json, want) in [
            ("0", Some(0)),
            ("-12", Some(-12)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("1.5", None),
            ("null", None),
            ("-", None),
            ("", None),
        ] {
            assert_eq!(int(json.as_bytes()), want, "{json}");
        }
    }

    #[test]
    fn members_and_elements_are_found() {
        let map = br#"{"a":"1", "b\"c" : [1,{"a":2}] ,"d":{"a":"}"},"e":null}"#;
        let find = |key| member(map, key).map(|value| std::str::from_utf8(value).expect("UTF-8"));
        assert_eq!(find("a"), Some(r#""1""#));
        assert_eq!(find("b\"c"), Some(r#"[1,{"a":2}]"#));
        assert_eq!(find("d"), Some(r#"{"a":"}"}"#));
        assert_eq!(find("e"), Some("null"));
        assert_eq!(find("1"), None, "a value is no key");
        assert_eq!(find(""), None);
        assert_eq!(member(b"{}", "a"), None);
        assert_eq!(member(b"null", "a"), None);
        let values: Vec<&[u8]> = elements_of_map(br#"{"a":1,"b":[2]}"#).collect();
        assert_eq!(values, [&b"1"[..], b"[2]"]);
        let all: Vec<&[u8]> = elements(br#"["a", "]", 3]"#).collect();
        assert_eq!(all, [&br#""a""#[..], br#""]""#, b"3"]);
        assert_eq!(elements(b"[]").count() + elements(b"null").count(), 0);
        assert!(is_empty(b"[]") && is_empty(b"{ }") && !is_empty(b"[1]") && !is_empty(b"\"\""));
    }

    #[test]
    fn what_is_no_json_is_survived() {
        for json in
            ["[", "[\"", "[\"\\", "{\"a", "{\"a\":", "[[[", "]", "{]}", "[}", "[:,", "{,a:b"]
        {
            let _ = elements(json.as_bytes()).count();
            let _ = member(json.as_bytes(), "a");
            let _ = is_empty(json.as_bytes());
        }
    }
}
