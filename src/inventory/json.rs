//! Walking over and writing JSON that is kept as text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The text between a JSON string's quotes, escapes left alone; another value's own text.
pub(super) fn inner_text(json: &str) -> &str {
    json.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(json)
}

/// Whether `json`, valid JSON that opens with `open`, holds strings and nothing else.
pub(super) fn holds_only_strings(json: &str, open: u8) -> bool {
    let bytes = json.as_bytes();
    if bytes.first() != Some(&open) {
        return false;
    }
    let mut at = 1;
    while at < bytes.len() - 1 {
        match bytes[at] {
            b'"' => {
                at += 1;
                loop {
                    match memchr::memchr2(b'"', b'\\', &bytes[at..]) {
                        Some(next) if bytes[at + next] == b'\\' => at += next + 2,
                        Some(next) => break at += next + 1,
                        None => return false,
                    }
                    if at >= bytes.len() {
                        return false;
                    }
                }
            }
            b',' | b':' | b' ' | b'\n' | b'\r' | b'\t' => at += 1,
            _ => return false,
        }
    }
    true
}

/// Writes `text` as a JSON string.
pub(super) fn write_json_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("writing text to memory cannot fail");
}

pub(super) fn write_key(key: &str, out: &mut Vec<u8>) {
    write_json_text(key, out);
    out.push(b':');
}

/// Writes elements with commas between them; an element may turn out not to be written.
pub(super) struct Separated<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Separated<'a> {
    pub(super) fn open(bracket: u8, out: &'a mut Vec<u8>) -> Self {
        out.push(bracket);
        Self { out, empty: true }
    }

    pub(super) fn add(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) {
        let before = self.out.len();
        if !self.empty {
            self.out.push(b',');
        }
        if write(self.out) {
            self.empty = false;
        } else {
            self.out.truncate(before);
        }
    }

    pub(super) fn close(self, bracket: u8) {
        self.out.push(bracket);
    }
}

/// Calls `each` for every element of a JSON array; anything else has none.
pub(super) fn each_element(json: &str, each: impl FnMut(&str)) {
    struct Elements<F>(F);
    impl<'de, F: FnMut(&str)> Visitor<'de> for Elements<F> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }
        fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
            while let Some(value) = seq.next_element::<&RawValue>()? {
                (self.0)(value.get());
            }
            Ok(())
        }
    }
    if json.starts_with('[') && json != "[]" {
        // The text was validated when the record was read: an error cannot come halfway.
        let _ = serde_json::Deserializer::from_str(json).deserialize_seq(Elements(each));
    }
}

/// Calls `each` for every member of a JSON object; anything else has none.
pub(super) fn each_member(json: &str, each: impl FnMut(&str, &str)) {
    struct Members<F>(F);
    impl<'de, F: FnMut(&str, &str)> Visitor<'de> for Members<F> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            while let Some((key, value)) = map.next_entry::<Cow<'_, str>, &RawValue>()? {
                (self.0)(&key, value.get());
            }
            Ok(())
        }
    }
    if json.starts_with('{') && json != "{}" {
        let _ = serde_json::Deserializer::from_str(json).deserialize_map(Members(each));
    }
}

/// The same JSON as strict readers take it: what is no UTF-8 is read as Latin-1, a control
/// character in a string is escaped, and half a surrogate pair becomes the replacement character.
pub(super) fn mended(json: &[u8]) -> String {
    let mut out = String::with_capacity(json.len() + 16);
    let mut in_string = false;
    for chunk in json.utf8_chunks() {
        let invalid = chunk.invalid().iter().map(|byte| char::from(*byte));
        let mut chars = chunk.valid().chars().chain(invalid).peekable();
        while let Some(char) = chars.next() {
            match char {
                '"' => {
                    in_string = !in_string;
                    out.push('"');
                }
                '\\' if in_string => {
                    out.push('\\');
                    out.extend(chars.next());
                }
                char if in_string && char < ' ' => {
                    out.push_str(&format!("\\u{:04x}", u32::from(char)));
                }
                char => out.push(char),
            }
        }
    }
    replace_half_pairs(&mut out);
    out
}

/// Whether strict readers might refuse a `\u` escape in it.
pub(super) fn may_hold_half_pairs(json: &[u8]) -> bool {
    memchr::memmem::find(json, b"\\ud").is_some() || memchr::memmem::find(json, b"\\uD").is_some()
}

fn replace_half_pairs(json: &mut String) {
    let escape = |bytes: &[u8]| -> Option<u16> {
        let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let (mut at, mut wrong) = (0, Vec::new());
    let bytes = json.as_bytes();
    while let Some(next) = memchr::memchr(b'\\', &bytes[at..]) {
        at += next;
        match escape(&bytes[at..]) {
            Some(0xd800..=0xdbff) => match escape(&bytes[at + 6..]) {
                Some(0xdc00..=0xdfff) => at += 12,
                _ => {
                    wrong.push(at);
                    at += 6;
                }
            },
            Some(0xdc00..=0xdfff) => {
                wrong.push(at);
                at += 6;
            }
            _ => at += 2,
        }
        if at >= bytes.len() {
            break;
        }
    }
    for at in wrong {
        json.replace_range(at + 2..at + 6, "fffd");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_readers_take_what_was_mended() {
        for (json, want) in [
            (&br#"{"a":"b"}"#[..], r#"{"a":"b"}"#),
            (b"{\"a\":\"\xe9\x01\"}", "{\"a\":\"\u{e9}\\u0001\"}"),
            (br#"["\ud800","\udc00x","\ud83d\ude00"]"#, r#"["\ufffd","\ufffdx","\ud83d\ude00"]"#),
            (br#"["\\ud800","\ud8"]"#, r#"["\\ud800","\ud8"]"#),
        ] {
            assert_eq!(mended(json), want);
        }
        let text = mended(br#"{"a":1,"\ud800":"a","b":"c"}"#);
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        for hostile in
            [&b"\\"[..], b"\"\\", b"\"\\u", b"\"\\ud800\\", b"\xff\\ud8", b"\"\\ud800\\u"]
        {
            mended(hostile);
        }
    }
}
