//! Walking over and writing JSON that is kept as text.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use foldhash::HashSet;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The text between a JSON string's quotes, escapes left alone; another value's own text.
pub(super) fn inner_text(json: &str) -> &str {
    json.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(json)
}

/// Whether `json`, valid JSON, is an array of strings and nothing else.
pub(super) fn is_set_of_strings(json: &str) -> bool {
    each_string(json.as_bytes(), b'[', |_| true)
}

/// Whether `json`, valid JSON, is an object of strings and nothing else, in which no name comes
/// twice as far as can be told without reading escapes.
pub(super) fn is_map_of_strings(json: &str) -> bool {
    // Most maps of most records.
    if json == "{}" {
        return true;
    }
    let bytes = json.as_bytes();
    let (mut names, mut is_name) = (Names::default(), false);
    each_string(bytes, b'{', |string| {
        is_name = !is_name;
        !is_name || names.is_new(&bytes[string])
    })
}

/// Calls `each` with the place between the quotes of every string of a JSON text that opens with
/// `open`. False if there is anything but strings, or as soon as `each` says so.
#[inline]
fn each_string(bytes: &[u8], open: u8, mut each: impl FnMut(Range<usize>) -> bool) -> bool {
    if bytes.first() != Some(&open) {
        return false;
    }
    let mut at = 1;
    while at < bytes.len() - 1 {
        match bytes[at] {
            b'"' => {
                at += 1;
                let start = at;
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
                if !each(start..at - 1) {
                    return false;
                }
            }
            b',' | b':' | b' ' | b'\n' | b'\r' | b'\t' => at += 1,
            _ => return false,
        }
    }
    true
}

/// So many names are compared one with the other; more than that are looked up.
const FEW: usize = 16;

/// The names of an object so far.
#[derive(Default)]
struct Names<'a> {
    few: [&'a [u8]; FEW],
    count: usize,
    many: HashSet<&'a [u8]>,
}

impl<'a> Names<'a> {
    /// Takes note of a name. False if it has been there, or if its escapes would have to be read.
    fn is_new(&mut self, name: &'a [u8]) -> bool {
        if memchr::memchr(b'\\', name).is_some() {
            return false;
        }
        let known = self.count.min(FEW);
        if self.count < FEW {
            if self.few[..known].contains(&name) {
                return false;
            }
            self.few[self.count] = name;
        } else {
            if self.count == FEW {
                self.many.extend(self.few);
            }
            if !self.many.insert(name) {
                return false;
            }
        }
        self.count += 1;
        true
    }
}

/// Writes `text` as a JSON string.
pub(super) fn write_json_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("writing text to memory cannot fail");
}

fn write_key(key: &str, out: &mut Vec<u8>) {
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

/// Writes members with commas between them. Of a name that comes again the last one stays, as with
/// every common reader of JSON; a member whose last value cannot be read is left out.
pub(super) struct Members<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    written: Vec<Member>,
    /// Whether some of what is written has to go again.
    rewrite: bool,
}

struct Member {
    name: Range<usize>,
    end: usize,
    is_readable: bool,
}

impl<'a> Members<'a> {
    pub(super) fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { start: out.len(), out, written: Vec::new(), rewrite: false }
    }

    /// Adds a member, whose value `value` writes, unless it says that it cannot be read.
    pub(super) fn add(&mut self, name: &str, value: impl FnOnce(&mut Vec<u8>) -> bool) {
        if self.out.len() > self.start {
            self.out.push(b',');
        }
        let start = self.out.len();
        write_key(name, self.out);
        let name = start..self.out.len();
        let is_readable = value(self.out);
        self.rewrite |= !is_readable;
        self.written.push(Member { name, end: self.out.len(), is_readable });
    }

    pub(super) fn close(mut self) {
        if self.written.len() > 1 && self.has_name_twice() {
            self.rewrite = true;
        }
        if self.rewrite {
            self.write_again();
        }
        self.out.push(b'}');
    }

    fn name(&self, member: &Member) -> &[u8] {
        &self.out[member.name.clone()]
    }

    fn has_name_twice(&self) -> bool {
        if self.written.len() > FEW {
            let names: HashSet<&[u8]> = self.written.iter().map(|it| self.name(it)).collect();
            return names.len() < self.written.len();
        }
        let mut members = self.written.iter();
        std::iter::from_fn(|| members.next().map(|one| (one, members.as_slice())))
            .any(|(one, later)| later.iter().any(|other| self.name(other) == self.name(one)))
    }

    fn write_again(&mut self) {
        let mut names: HashSet<&[u8]> = HashSet::default();
        let mut kept: Vec<&[u8]> = Vec::new();
        for member in self.written.iter().rev() {
            if names.insert(self.name(member)) && member.is_readable {
                kept.push(&self.out[member.name.start..member.end]);
            }
        }
        kept.reverse();
        let again = kept.join(&b","[..]);
        self.out.truncate(self.start);
        self.out.extend_from_slice(&again);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_copied_only_where_no_name_comes_twice() {
        for json in ["{}", r#"{"a":"1","b":"\"2"}"#, r#"{ "a" : "a" , "b" : "a" }"#] {
            assert!(is_map_of_strings(json), "{json}");
        }
        for json in [
            r#"{"a":"1","a":"2"}"#,
            r#"{"a":"1","b":"x","a":"1"}"#,
            r#"{"a":"1","\u0061":"2"}"#,
            r#"{"a":1}"#,
            r#"["a","b"]"#,
            "\"{\"",
        ] {
            assert!(!is_map_of_strings(json), "{json}");
        }
        assert!(is_set_of_strings(r#"["a","a"]"#) && !is_set_of_strings(r#"["a",1]"#));
        for many in [FEW - 1, FEW, FEW + 1, 3 * FEW] {
            let names = |count: usize| (0..count).map(|n| format!("\"{n}\":\"{n}\""));
            let of = |members: Vec<String>| format!("{{{}}}", members.join(","));
            assert!(is_map_of_strings(&of(names(many).collect())), "{many}");
            for again in [0, many / 2, many - 1] {
                let twice = names(many).chain(names(many).skip(again).take(1));
                assert!(!is_map_of_strings(&of(twice.collect())), "{many} {again}");
            }
        }
    }

    fn members(all: &[(&str, Option<&str>)]) -> String {
        let mut out = b"x".to_vec();
        let mut members = Members::open(&mut out);
        for (name, value) in all {
            members.add(name, |out| {
                out.extend_from_slice(value.unwrap_or_default().as_bytes());
                value.is_some()
            });
        }
        members.close();
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn the_last_of_a_name_stays() {
        assert_eq!(members(&[]), "x{}");
        assert_eq!(members(&[("a", Some("1")), ("b", Some("2"))]), r#"x{"a":1,"b":2}"#);
        assert_eq!(
            members(&[("a", Some("1")), ("b", Some("2")), ("a", Some("3"))]),
            r#"x{"b":2,"a":3}"#
        );
        assert_eq!(members(&[("a", Some("1")), ("a", None)]), "x{}", "its last value is none");
        assert_eq!(members(&[("a", None), ("a", Some("1"))]), r#"x{"a":1}"#);
        assert_eq!(members(&[("a", Some("2")), ("b", None)]), r#"x{"a":2}"#);
        let names: Vec<String> = (0..40).map(|n| (n % 20).to_string()).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), Some("1"))).collect();
        let read: serde_json::Value = serde_json::from_str(&members(&many)[1..]).expect("JSON");
        assert_eq!(read.as_object().map(|read| read.len()), Some(20));
        assert_eq!(members(&many).matches("\":1").count(), 20);
    }
}
