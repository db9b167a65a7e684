//! JSON that strict readers refuse, made such that they take it.
//!
//! XAPI spells a float that is not finite `NaN`, `Infinity` or `-Infinity`, and a text may hold bytes
//! that are no UTF-8. One such value costs itself and nothing else: what cannot be read is null.

use super::error::BYTE_ORDER_MARK;
use super::number::is_json;

/// The same JSON as strict readers take it: what is no UTF-8 is read as Latin-1, a control character
/// in a string is escaped, an escape that JSON does not have is text, half a surrogate pair becomes
/// the replacement character, and a word that is no value of JSON becomes null, unless it is a number
/// in another spelling. What was strict already stays as it is.
pub fn mended(json: &[u8]) -> String {
    let mut mender = Mender { out: String::with_capacity(json.len() + 16), ..Mender::default() };
    let json = json.strip_prefix(BYTE_ORDER_MARK).unwrap_or(json);
    for chunk in json.utf8_chunks() {
        chunk.valid().chars().for_each(|char| mender.take(char));
        chunk.invalid().iter().for_each(|byte| mender.take(char::from(*byte)));
    }
    let mut out = mender.finish();
    replace_half_pairs(&mut out);
    out
}

/// Whether strict readers might refuse a `\u` escape in it.
pub fn may_hold_half_pairs(json: &[u8]) -> bool {
    memchr::memmem::find(json, b"\\ud").is_some() || memchr::memmem::find(json, b"\\uD").is_some()
}

#[derive(Default)]
struct Mender {
    out: String,
    place: Place,
    /// Where the word begins in `out` that is being read.
    word: Option<usize>,
    /// Behind a colon, with nothing yet.
    owes_value: bool,
}

#[derive(Default, Clone, Copy)]
enum Place {
    #[default]
    Outside,
    String,
    /// Behind a backslash.
    Escape,
    /// In the digits of `\u`, of which so many have come.
    Digits(u8),
}

impl Mender {
    fn take(&mut self, char: char) {
        match self.place {
            Place::Outside => self.outside(char),
            Place::String => match char {
                '"' => {
                    self.out.push('"');
                    self.place = Place::Outside;
                }
                '\\' => {
                    self.out.push('\\');
                    self.place = Place::Escape;
                }
                char => self.text(char),
            },
            Place::Escape => self.escape(char),
            Place::Digits(count) if char.is_ascii_hexdigit() => {
                self.out.push(char);
                self.place = if count == 3 { Place::String } else { Place::Digits(count + 1) };
            }
            Place::Digits(count) => {
                // No escape after all: its backslash is text.
                let backslash = self.out.len() - usize::from(count) - 2;
                self.out.insert(backslash, '\\');
                self.place = Place::String;
                self.take(char);
            }
        }
    }

    fn text(&mut self, char: char) {
        if char < ' ' {
            self.out.push_str(&format!("\\u{:04x}", u32::from(char)));
        } else {
            self.out.push(char);
        }
    }

    fn escape(&mut self, char: char) {
        self.place = Place::String;
        match char {
            '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' => self.out.push(char),
            'u' => {
                self.out.push('u');
                self.place = Place::Digits(0);
            }
            char => {
                self.out.push('\\');
                self.text(char);
            }
        }
    }

    fn outside(&mut self, char: char) {
        let ends_word = matches!(char, '"' | ',' | ':' | '[' | ']' | '{' | '}')
            || matches!(char, ' ' | '\t' | '\n' | '\r');
        if !ends_word {
            self.word.get_or_insert(self.out.len());
            self.owes_value = false;
            self.out.push(char);
            return;
        }
        self.end_word();
        match char {
            ':' => self.owes_value = true,
            ',' | ']' | '}' if self.owes_value => {
                self.out.push_str("null");
                self.owes_value = false;
            }
            '"' => {
                self.owes_value = false;
                self.place = Place::String;
            }
            '[' | '{' => self.owes_value = false,
            _ => {}
        }
        self.out.push(char);
    }

    fn end_word(&mut self) {
        let Some(start) = self.word.take() else { return };
        let word = &self.out[start..];
        if matches!(word, "null" | "true" | "false") || is_json(word) {
            return;
        }
        let value = spelled_otherwise(word);
        self.out.truncate(start);
        self.out.push_str(&value);
    }

    fn finish(mut self) -> String {
        if let Place::Outside = self.place {
            self.end_word();
        }
        self.out
    }
}

/// A word that JSON does not have: a number that is written in another way, or null.
fn spelled_otherwise(word: &str) -> String {
    if let Ok(int) = word.parse::<i64>() {
        return int.to_string();
    }
    match word.parse::<f64>() {
        Ok(float) if float.is_finite() => {
            serde_json::to_string(&float).unwrap_or_else(|_| "null".to_owned())
        }
        _ => "null".to_owned(),
    }
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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn strict_readers_take_what_was_mended() {
        for (json, want) in [
            (&br#"{"a":"b"}"#[..], r#"{"a":"b"}"#),
            (b"{\"a\":\"\xe9\x01\"}", "{\"a\":\"\u{e9}\\u0001\"}"),
            (br#"["\ud800","\udc00x","\ud83d\ude00"]"#, r#"["\ufffd","\ufffdx","\ud83d\ude00"]"#),
            (br#"["\\ud800","\ud8"]"#, r#"["\\ud800","\\ud8"]"#),
            (br#"["\x41","\u12g4","\'"]"#, r#"["\\x41","\\u12g4","\\'"]"#),
        ] {
            assert_eq!(mended(json), want);
        }
        let text = mended(br#"{"a":1,"\ud800":"a","b":"c"}"#);
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        for hostile in [
            &b"\\"[..],
            b"\"\\",
            b"\"\\u",
            b"\"\\ud800\\",
            b"\xff\\ud8",
            b"\"\\ud800\\u",
            b"\"\\u\"",
            b"NaN",
            b":,",
        ] {
            mended(hostile);
        }
    }

    #[test]
    fn what_is_no_value_of_json_is_null() {
        for (json, want) in [
            (r#"{"a":NaN,"b":Infinity,"c":-Infinity}"#, r#"{"a":null,"b":null,"c":null}"#),
            (r#"[nan,inf,-inf,+inf,-nan,-NaN]"#, "[null,null,null,null,null,null]"),
            (r#"{"a": nan , "b":1}"#, r#"{"a": null , "b":1}"#),
            (r#"["NaN",{"NaN":"Infinity"}]"#, r#"["NaN",{"NaN":"Infinity"}]"#),
            ("[1.#INF,1.#QNAN,Undefined,neg_infinity]", "[null,null,null,null]"),
            ("[true,false,null,-1.5e+3,0]", "[true,false,null,-1.5e+3,0]"),
            ("[1e999,123456789012345678901234567890]", "[1e999,123456789012345678901234567890]"),
            ("[007,+5,.5,5.,0x1F]", "[7,5,0.5,5.0,null]"),
            (r#"{"a":,"b":}"#, r#"{"a":null,"b":null}"#),
            ("NaN", "null"),
        ] {
            assert_eq!(mended(json.as_bytes()), want, "{json}");
        }
    }

    proptest! {
        #[test]
        fn what_is_strict_stays_as_it_is(
            texts in prop::collection::vec(any::<String>(), 0..4),
            int: i64,
            float in prop::num::f64::NORMAL,
        ) {
            let value = serde_json::json!({"texts": texts, "int": int, "float": float, "none": null});
            let text = value.to_string();
            prop_assert_eq!(mended(text.as_bytes()), text);
        }

        #[test]
        fn no_bytes_are_too_odd(bytes: Vec<u8>) {
            let once = mended(&bytes);
            prop_assert_eq!(mended(once.as_bytes()), once);
        }
    }
}
