//! One value of the Xen-API as the JSON that clients get, by its type.
//!
//! The input is JSON as a backend sent it, or as its XML was transcoded: an int may be a number or
//! a string of digits. A value that is not what its type says never fails a record: a scalar that
//! cannot be read is left out, text takes anything (as JSON text), a set or map of the wrong shape
//! is empty.

use std::borrow::Cow;

use uuid::Uuid;

use super::date::date_time;
use super::json::{
    Separated, each_element, each_member, holds_only_strings, inner_text, write_json_text,
    write_key,
};
use super::refs::{RefId, RefIndex};
use crate::datamodel::{Type, datamodel, is_secret_field};

/// The prefix of XAPI's refs.
const OPAQUE_REF: &str = "OpaqueRef:";

/// Finds the objects that refs name.
pub(super) trait Resolve {
    /// The uuid of the object that `name`, no null ref, refers to.
    fn find(&mut self, name: &str) -> Option<Uuid>;

    /// The uuid of the object that `name` refers to. Null refs refer to nothing.
    fn resolve(&mut self, name: &str) -> Option<Uuid> {
        let null = name.is_empty() || name == "OpaqueRef:NULL" || name == "NULL";
        if null { None } else { self.find(name) }
    }
}

/// Resolves refs while a record is encoded, and notes which it shows.
pub(super) struct Links<'a> {
    pub(super) refs: &'a mut RefIndex,
    pub(super) shown: Vec<RefId>,
}

impl Resolve for Links<'_> {
    fn find(&mut self, name: &str) -> Option<Uuid> {
        let id = self.refs.intern(name);
        self.shown.push(id);
        self.refs.target(id).map(|(_, uuid)| uuid)
    }
}

/// Resolves refs of a value that is shown once and not kept.
impl Resolve for &RefIndex {
    fn find(&mut self, name: &str) -> Option<Uuid> {
        RefIndex::resolve(self, name).map(|(_, uuid)| uuid)
    }
}

/// Refs in places that the type does not tell of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hidden {
    /// None.
    No,
    /// The keys of a map of strings: `current_operations` names tasks.
    Keys,
    /// Somewhere in a text: `console.location`, `task.result`, `task.error_info`.
    Text,
}

impl Hidden {
    /// Whether and where the field of this class holds refs that its type does not tell of.
    pub(super) fn of(class: &str, field: &str) -> Self {
        match (class, field) {
            (_, "current_operations") => Self::Keys,
            ("console", "location")
            | ("task", "result" | "error_info")
            | ("pool" | "host", "ha_statefiles") => Self::Text,
            _ => Self::No,
        }
    }
}

/// Writes the value of a field; false when it cannot be read as what it should be, and nothing was
/// written.
pub(super) fn write_field(
    ty: &Type,
    hidden: Hidden,
    json: &str,
    links: &mut dyn Resolve,
    out: &mut Vec<u8>,
) -> bool {
    match (hidden, ty) {
        (Hidden::No, _) => write(ty, json, links, out),
        (Hidden::Keys, Type::Map(_, value)) => {
            write_map(None, value, json, links, out);
            true
        }
        (Hidden::Keys, _) => write(ty, json, links, out),
        (Hidden::Text, _) => {
            let mut plain = Vec::with_capacity(json.len());
            let readable = write(ty, json, links, &mut plain);
            write_text_with_refs(&plain, links, out);
            readable
        }
    }
}

/// Writes a value of type `ty`; false when it cannot be read as one, and nothing was written.
pub(super) fn write(ty: &Type, json: &str, links: &mut dyn Resolve, out: &mut Vec<u8>) -> bool {
    match ty {
        Type::String | Type::Secret | Type::Enum(_) => return write_string(json, out),
        Type::Int => return write_int(json, out),
        Type::Float => write_float(json, out),
        Type::Bool => out.extend_from_slice(match inner_text(json) {
            "true" | "1" => b"true",
            "false" | "0" => b"false",
            _ => return false,
        }),
        Type::DateTime => {
            let Some(text) = date_time(inner_text(json)) else { return false };
            out.push(b'"');
            out.extend_from_slice(&text);
            out.push(b'"');
        }
        Type::Ref(_) => {
            let uuid = ref_text(json).and_then(|name| links.resolve(&name));
            write_uuid(uuid, out);
        }
        Type::Option(inner) => {
            let absent = matches!(json, "null" | "[]");
            if absent || !write(inner, json, links, out) {
                out.extend_from_slice(b"null");
            }
        }
        Type::Set(element) => write_set(element, json, links, out),
        Type::Map(key, value) => write_map(Some(key), value, json, links, out),
        Type::Record(class) => return write_record(datamodel().get(*class), json, links, out),
    }
    true
}

/// Writes the value of a field that the datamodel does not know, by what it looks like.
pub(super) fn write_unknown(json: &str, links: &mut dyn Resolve, out: &mut Vec<u8>) {
    match json.as_bytes().first() {
        Some(b'"') => {
            let text = inner_text(json);
            if text.starts_with(OPAQUE_REF) {
                let uuid = links.resolve(text);
                write_uuid(uuid, out);
            } else if text.as_bytes().get(8) == Some(&b'T')
                && let Some(text) = date_time(text)
            {
                out.push(b'"');
                out.extend_from_slice(&text);
                out.push(b'"');
            } else {
                out.extend_from_slice(json.as_bytes());
            }
        }
        Some(b'[') => {
            let mut list = Separated::open(b'[', out);
            each_element(json, |element| {
                list.add(|out| {
                    write_unknown(element, links, out);
                    true
                });
            });
            list.close(b']');
        }
        Some(b'{') => {
            let mut list = Separated::open(b'{', out);
            each_member(json, |key, value| {
                list.add(|out| {
                    let name = match key.starts_with(OPAQUE_REF) {
                        true => links.resolve(key).map(|uuid| uuid.to_string()),
                        false => Some(key.to_owned()),
                    };
                    let Some(name) = name else { return false };
                    write_key(&name, out);
                    write_unknown(value, links, out);
                    true
                });
            });
            list.close(b'}');
        }
        Some(b't' | b'f' | b'n') => out.extend_from_slice(json.as_bytes()),
        _ => write_float(json, out),
    }
}

fn write_string(json: &str, out: &mut Vec<u8>) -> bool {
    if json.starts_with('"') {
        out.extend_from_slice(json.as_bytes());
    } else if json != "null" {
        write_json_text(json, out);
    }
    json != "null"
}

fn write_uuid(uuid: Option<Uuid>, out: &mut Vec<u8>) {
    match uuid {
        None => out.extend_from_slice(b"null"),
        Some(uuid) => {
            let mut buffer = Uuid::encode_buffer();
            out.push(b'"');
            out.extend_from_slice(uuid.hyphenated().encode_lower(&mut buffer).as_bytes());
            out.push(b'"');
        }
    }
}

fn write_int(json: &str, out: &mut Vec<u8>) -> bool {
    let text = inner_text(json).trim();
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = !digits.is_empty()
        && digits.len() <= 18
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits.len() == 1 || !digits.starts_with('0'))
        && text != "-0";
    if plain {
        out.extend_from_slice(text.as_bytes());
    } else if let Ok(number) = text.parse::<i64>() {
        out.extend_from_slice(number.to_string().as_bytes());
    } else if let Some(number) = whole(text) {
        out.extend_from_slice(number.to_string().as_bytes());
    } else {
        return false;
    }
    true
}

/// A float that is an int in all but its spelling: `3.0`.
fn whole(text: &str) -> Option<i64> {
    let number: f64 = text.parse().ok()?;
    // Beyond 2^53 a float no longer tells neighbouring ints apart.
    (number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0).then_some(number as i64)
}

fn write_float(json: &str, out: &mut Vec<u8>) {
    let plain = |byte: u8| byte.is_ascii_digit() || byte == b'.' || byte == b'-';
    if !json.starts_with('"') && json.len() <= 32 && json.bytes().all(plain) {
        out.extend_from_slice(json.as_bytes());
        return;
    }
    match inner_text(json).trim().parse::<f64>() {
        Ok(number) if number.is_finite() => {
            serde_json::to_writer(out, &number).expect("writing a number to memory cannot fail");
        }
        _ => out.extend_from_slice(b"null"),
    }
}

fn write_set(element: &Type, json: &str, links: &mut dyn Resolve, out: &mut Vec<u8>) {
    if takes_text(element) && holds_only_strings(json, b'[') {
        out.extend_from_slice(json.as_bytes());
        return;
    }
    let mut list = Separated::open(b'[', out);
    each_element(json, |value| {
        list.add(|out| match element {
            Type::Ref(_) => {
                let uuid = ref_text(value).and_then(|name| links.resolve(&name));
                if uuid.is_some() {
                    write_uuid(uuid, out);
                }
                uuid.is_some()
            }
            _ => write(element, value, links, out),
        });
    });
    list.close(b']');
}

/// Writes a map; without a key type its keys are strings that hold refs.
fn write_map(
    key: Option<&Type>,
    value: &Type,
    json: &str,
    links: &mut dyn Resolve,
    out: &mut Vec<u8>,
) {
    let refs_as_keys = matches!(key, None | Some(Type::Ref(_)));
    if !refs_as_keys && takes_text(value) && holds_only_strings(json, b'{') {
        out.extend_from_slice(json.as_bytes());
        return;
    }
    let mut list = Separated::open(b'{', out);
    each_member(json, |name, member| {
        list.add(|out| {
            if refs_as_keys {
                let Some(uuid) = links.resolve(name) else { return false };
                write_uuid(Some(uuid), out);
                out.push(b':');
            } else {
                write_key(name, out);
            }
            write(value, member, links, out)
        });
    });
    list.close(b'}');
}

/// Writes a record that stands inside another: its fields, without uuid and backend of their own.
fn write_record(
    class: &crate::datamodel::Class,
    json: &str,
    links: &mut dyn Resolve,
    out: &mut Vec<u8>,
) -> bool {
    if !json.starts_with('{') {
        return false;
    }
    let mut list = Separated::open(b'{', out);
    each_member(json, |name, value| {
        list.add(|out| {
            if is_secret_field(&class.name, name) {
                return false;
            }
            write_key(name, out);
            match class.field(name) {
                Some(field) => write(&field.ty, value, links, out),
                None => {
                    write_unknown(value, links, out);
                    true
                }
            }
        });
    });
    list.close(b'}');
    true
}

/// Copies JSON text, with the refs in it as uuids; `ref=` before one becomes `uuid=`.
fn write_text_with_refs(json: &[u8], links: &mut dyn Resolve, out: &mut Vec<u8>) {
    let mut rest = json;
    while let Some(at) = memchr::memmem::find(rest, OPAQUE_REF.as_bytes()) {
        let tail = &rest[at + OPAQUE_REF.len()..];
        let length = tail.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'-').count();
        let name = std::str::from_utf8(&rest[at..at + OPAQUE_REF.len() + length]).unwrap_or("");
        out.extend_from_slice(&rest[..at]);
        if out.ends_with(b"ref=") {
            out.truncate(out.len() - 4);
            out.extend_from_slice(b"uuid=");
        }
        if let Some(uuid) = links.resolve(name) {
            let mut buffer = Uuid::encode_buffer();
            out.extend_from_slice(uuid.hyphenated().encode_lower(&mut buffer).as_bytes());
        }
        rest = &tail[length..];
    }
    out.extend_from_slice(rest);
}

/// The ref in a JSON string; an object or array is none.
fn ref_text(json: &str) -> Option<Cow<'_, str>> {
    let text = json.strip_prefix('"')?.strip_suffix('"')?;
    if text.contains('\\') { serde_json::from_str(json).ok() } else { Some(Cow::Borrowed(text)) }
}

/// Whether JSON strings can be copied as values of this type.
fn takes_text(ty: &Type) -> bool {
    matches!(ty, Type::String | Type::Secret | Type::Enum(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datamodel::{ClassId, EnumId};

    fn encoded(ty: &Type, json: &str) -> String {
        field(ty, Hidden::No, json)
    }

    fn field(ty: &Type, hidden: Hidden, json: &str) -> String {
        let mut refs = RefIndex::default();
        let known = refs.intern("OpaqueRef:known");
        refs.set_target(known, Some((ClassId(9), Uuid::from_u128(1))));
        let mut out = Vec::new();
        let mut links = Links { refs: &mut refs, shown: Vec::new() };
        if !write_field(ty, hidden, json, &mut links, &mut out) {
            assert!(out.is_empty());
            return LEFT_OUT.to_owned();
        }
        let text = String::from_utf8(out).expect("UTF-8");
        serde_json::from_str::<serde_json::Value>(&text).expect("valid JSON");
        text
    }

    /// Stands for a value that is left out.
    const LEFT_OUT: &str = "(left out)";

    const ONE: &str = "\"00000000-0000-0000-0000-000000000001\"";

    #[test]
    fn scalars_are_typed_whatever_their_spelling() {
        for (json, want) in [
            ("10", "10"),
            ("\"10\"", "10"),
            ("\"-1\"", "-1"),
            ("\"007\"", "7"),
            ("3.0", "3"),
            ("\"9223372036854775807\"", "9223372036854775807"),
            ("\"x\"", LEFT_OUT),
            ("null", LEFT_OUT),
            ("{}", LEFT_OUT),
            ("\"-0\"", "0"),
        ] {
            assert_eq!(encoded(&Type::Int, json), want, "int {json}");
        }
        for (json, want) in [
            ("1.0", "1.0"),
            ("\"0.5\"", "0.5"),
            ("\"NaN\"", "null"),
            ("1e999", "null"),
            ("1e3", "1000.0"),
        ] {
            assert_eq!(encoded(&Type::Float, json), want, "float {json}");
        }
        for (json, want) in [("true", "true"), ("\"0\"", "false"), ("1", "true"), ("[]", LEFT_OUT)]
        {
            assert_eq!(encoded(&Type::Bool, json), want, "bool {json}");
        }
        assert_eq!(encoded(&Type::String, "[\"a\"]"), "\"[\\\"a\\\"]\"", "nothing is lost");
        assert_eq!(encoded(&Type::Enum(EnumId(0)), "\"never_heard_of\""), "\"never_heard_of\"");
    }

    #[test]
    fn dates_become_rfc_3339() {
        for (json, want) in [
            ("\"20261122T07:25:54Z\"", "\"2026-11-22T07:25:54Z\""),
            ("\"20261122T06:59:52\"", "\"2026-11-22T06:59:52Z\""),
            ("\"2026-11-22T06:59:52.5Z\"", "\"2026-11-22T06:59:52.5Z\""),
            ("\"20261322T06:59:52\"", LEFT_OUT),
            ("\"2026\"", LEFT_OUT),
            ("\"2026112éT06:59:52\"", LEFT_OUT),
            ("7", LEFT_OUT),
        ] {
            assert_eq!(encoded(&Type::DateTime, json), want, "{json}");
        }
    }

    #[test]
    fn refs_become_uuids_and_dangling_ones_null_or_nothing() {
        let vm = Type::Ref(ClassId(9));
        assert_eq!(encoded(&vm, "\"OpaqueRef:known\""), ONE);
        for nothing in ["\"OpaqueRef:gone\"", "\"OpaqueRef:NULL\"", "\"\"", "null", "[]"] {
            assert_eq!(encoded(&vm, nothing), "null", "{nothing}");
        }
        let set = Type::Set(Box::new(vm.clone()));
        let json = r#"["OpaqueRef:gone","OpaqueRef:known","OpaqueRef:NULL"]"#;
        assert_eq!(encoded(&set, json), format!("[{ONE}]"));
        let map = Type::Map(Box::new(vm), Box::new(Type::Int));
        let json = r#"{"OpaqueRef:gone":"1","OpaqueRef:known":"2"}"#;
        assert_eq!(encoded(&map, json), format!("{{{ONE}:2}}"));
    }

    #[test]
    fn refs_are_found_where_the_type_does_not_tell() {
        let map = Type::Map(Box::new(Type::String), Box::new(Type::Enum(EnumId(0))));
        let json = r#"{"OpaqueRef:known":"destroy"}"#;
        assert_eq!(field(&map, Hidden::Keys, json), format!("{{{ONE}:\"destroy\"}}"));
        let location = "\"https://h/console?ref=OpaqueRef:known\"";
        let want = "\"https://h/console?uuid=00000000-0000-0000-0000-000000000001\"";
        assert_eq!(field(&Type::String, Hidden::Text, location), want);
        let set = Type::Set(Box::new(Type::String));
        let json = r#"["SESSION_INVALID","OpaqueRef:secret"]"#;
        assert_eq!(field(&set, Hidden::Text, json), r#"["SESSION_INVALID",""]"#);
    }

    #[test]
    fn sets_and_maps_keep_what_they_can() {
        let set = Type::Set(Box::new(Type::String));
        assert_eq!(encoded(&set, r#"["a\"]",""]"#), r#"["a\"]",""]"#);
        assert_eq!(encoded(&set, "[1,\"b\"]"), r#"["1","b"]"#);
        assert_eq!(encoded(&set, "\"\""), "[]");
        let map = Type::Map(Box::new(Type::String), Box::new(Type::String));
        assert_eq!(encoded(&map, r#"{"pci":["0:1"]}"#), r#"{"pci":"[\"0:1\"]"}"#);
        assert_eq!(encoded(&map, "null"), "{}");
        let map = Type::Map(Box::new(Type::Int), Box::new(Type::Float));
        assert_eq!(encoded(&map, r#"{"0":0.5,"1":"nan"}"#), r#"{"0":0.5,"1":null}"#);
        let map = Type::Map(Box::new(Type::String), Box::new(Type::Int));
        assert_eq!(encoded(&map, r#"{"a":"1","b":"x"}"#), r#"{"a":1}"#);
        assert_eq!(encoded(&Type::Option(Box::new(Type::Int)), "\"x\""), "null");
    }

    #[test]
    fn unknown_fields_are_typed_by_their_looks() {
        let mut refs = RefIndex::default();
        let mut links = Links { refs: &mut refs, shown: Vec::new() };
        let mut out = Vec::new();
        let json = r#"{"a":[1,"OpaqueRef:x"],"when":"20260101T00:00:00Z","t":"text"}"#;
        write_unknown(json, &mut links, &mut out);
        let want = r#"{"a":[1,null],"when":"2026-01-01T00:00:00Z","t":"text"}"#;
        assert_eq!(String::from_utf8(out).expect("UTF-8"), want);
    }
}
