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
