//! Text as Python 2 writes it: xend and its clients are written in it, and print with it.

use std::fmt::Write;

/// `str(float)`: twelve digits at most, and always recognisable as a float.
pub fn text_of_float(float: f64) -> String {
    const DIGITS: i32 = 12;
    if float.is_nan() {
        return "nan".into();
    }
    if float.is_infinite() {
        return if float > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let scientific = format!("{float:.11e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    // One less than C would allow: Python wants room for the `.0`.
    if !(-4..DIGITS - 1).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", without_zeros(mantissa), exponent.unsigned_abs());
    }
    let places = usize::try_from(DIGITS - 1 - exponent).unwrap_or(0);
    let fixed = format!("{float:.places$}");
    match without_zeros(&fixed) {
        whole if !whole.contains('.') => format!("{whole}.0"),
        fraction => fraction.to_owned(),
    }
}

fn without_zeros(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

/// `repr(str)`: in quotes, and nothing but printable ASCII. What is not ASCII is escaped byte by
/// byte of its UTF-8.
pub fn repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for byte in text.bytes() {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'\t' => out.push_str("\\t"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b' '..=b'~' if char::from(byte) == quote => {
                out.push('\\');
                out.push(quote);
            }
            b' '..=b'~' => out.push(char::from(byte)),
            _ => _ = write!(out, "\\x{byte:02x}"),
        }
    }
    out.push(quote);
    out
}

/// Takes the escapes of [`repr`] back. xend sends a reply that is one string in this form, without
/// the quotes; what is no such escape stays as it is.
pub fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some(at) = memchr::memchr(b'\\', rest) {
        bytes.extend_from_slice(&rest[..at]);
        let (escaped, len) = escape(&rest[at..]);
        match escaped {
            Some(escaped) => bytes.extend_from_slice(escaped.bytes()),
            None => bytes.extend_from_slice(&rest[at..at + len]),
        }
        rest = &rest[at + len..];
    }
    bytes.extend_from_slice(rest);
    String::from_utf8(bytes).unwrap_or_else(|error| {
        // Bytes that are no UTF-8 are Latin-1, as everywhere.
        let bytes = error.into_bytes();
        let mut text = String::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            text.extend(chunk.invalid().iter().map(|byte| char::from(*byte)));
        }
        text
    })
}

/// What an escape stands for.
enum Escaped {
    Byte([u8; 1]),
    Char([u8; 4], usize),
}

impl Escaped {
    fn bytes(&self) -> &[u8] {
        match self {
            Escaped::Byte(byte) => byte,
            Escaped::Char(bytes, len) => &bytes[..*len],
        }
    }
}

/// What the escape at the start of a text stands for, and how long it is; at least the backslash.
fn escape(text: &[u8]) -> (Option<Escaped>, usize) {
    let byte = |byte| (Some(Escaped::Byte([byte])), 2);
    match text.get(1) {
        Some(quoted @ (b'\\' | b'\'' | b'"')) => byte(*quoted),
        Some(b'n') => byte(b'\n'),
        Some(b't') => byte(b'\t'),
        Some(b'r') => byte(b'\r'),
        Some(b'x') => match hex(text, 2).and_then(|code| u8::try_from(code).ok()) {
            Some(byte) => (Some(Escaped::Byte([byte])), 4),
            None => (None, 1),
        },
        Some(kind @ (b'u' | b'U')) => {
            let digits = if *kind == b'u' { 4 } else { 8 };
            match hex(text, digits).and_then(char::from_u32) {
                Some(char) => {
                    let mut bytes = [0; 4];
                    let len = char.encode_utf8(&mut bytes).len();
                    (Some(Escaped::Char(bytes, len)), 2 + digits)
                }
                None => (None, 1),
            }
        }
        _ => (None, 1),
    }
}

fn hex(text: &[u8], digits: usize) -> Option<u32> {
    let digits = text.get(2..2 + digits)?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u32::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}
