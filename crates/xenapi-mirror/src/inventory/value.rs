//! One value of the Xen-API as the JSON that clients get, by its type.
//!
//! The input is JSON as a backend sent it, or as its XML was transcoded: an int may be a number or
//! a string of digits. A value that is not what its type says never fails a record: a scalar that
//! cannot be read is left out, text takes anything (as JSON text), a set or map of the wrong shape
//! is empty.

use std::borrow::Cow;
use std::sync::LazyLock;

use uuid::Uuid;

use super::date::{Date, date_time};
use super::json::{
    Members, Separated, each_element, each_member, inner_text, is_map_of_strings,
    is_set_of_strings, write_json_text,
};
use super::refs::{RefId, RefIndex};
use xenapi_model::{
    Class, HIDDEN, Type, datamodel, is_hidden_key, is_secret_field, may_name_hidden,
};
use xenapi_wire::integer;

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

    /// What is made of a date without a zone.
    fn zoneless(&self) -> Zoneless {
        Zoneless::Null
    }
}

/// What is made of a date without a zone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Zoneless {
    /// Which instant it is nobody knows, and a place for instants has none.
    #[default]
    Null,
    /// It is by UTC: xend writes all of its dates so.
    Utc,
    /// It stays what it is: the time of some place.
    Local,
}

/// Resolves refs while a record is encoded, and notes which it shows.
pub(super) struct Links<'a> {
    pub(super) refs: &'a mut RefIndex,
    pub(super) shown: Vec<RefId>,
    pub(super) zoneless: Zoneless,
}

impl Resolve for Links<'_> {
    fn find(&mut self, name: &str) -> Option<Uuid> {
        let id = self.refs.intern(name);
        self.shown.push(id);
        self.refs.shown(id)
    }

    fn zoneless(&self) -> Zoneless {
        self.zoneless
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

/// Where the fields of the class hide refs; none for those that are not shown as they come, which are
/// its uuid and secrets. Looked up once, since each record of each event needs all of it.
pub(super) fn fields_shown(class: &Class) -> &'static [Option<Hidden>] {
    static SHOWN: LazyLock<Vec<Box<[Option<Hidden>]>>> = LazyLock::new(|| {
        let of_field = |class: &Class, name: &str| {
            let is_shown = name != "uuid" && !is_secret_field(&class.name, name);
            is_shown.then(|| Hidden::of(&class.name, name))
        };
        let of_class =
            |class: &Class| class.fields.iter().map(|field| of_field(class, &field.name)).collect();
        datamodel().classes.iter().map(of_class).collect()
    });
    &SHOWN[usize::from(class.id.0)]
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
            let Some(date) = date_time(inner_text(json)) else { return false };
            write_date(&date, links.zoneless(), out);
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
                && let Some(date) = date_time(text)
            {
                // What nobody calls a date need not be an instant.
                let zoneless = match links.zoneless() {
                    Zoneless::Null => Zoneless::Local,
                    other => other,
                };
                write_date(&date, zoneless, out);
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
            let mut members = Members::open(out);
            each_member(json, |key, value| {
                let name = match key.starts_with(OPAQUE_REF) {
                    true => links.resolve(key).map(|uuid| uuid.to_string()),
                    false => Some(key.to_owned()),
                };
                let Some(name) = name else { return };
                let write_value = |out: &mut Vec<u8>| {
                    if hides(&name, value) {
                        return write_hidden(out);
                    }
                    write_unknown(value, links, out);
                    true
                };
                members.add(&name, write_value);
            });
            members.close();
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

fn write_date(date: &Date, zoneless: Zoneless, out: &mut Vec<u8>) {
    let (text, end) = match (date, zoneless) {
        (Date::Instant(text), _) => (text, "\""),
        (Date::Local(text), Zoneless::Utc) => (text, "Z\""),
        (Date::Local(text), Zoneless::Local) => (text, "\""),
        (Date::Local(_), Zoneless::Null) => return out.extend_from_slice(b"null"),
    };
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(end.as_bytes());
}

/// Whether the value under a key of a map is hidden. Where there is none, nothing is.
fn hides(name: &str, json: &str) -> bool {
    let is_nothing = matches!(json, "\"\"" | "null" | "true" | "false" | "[]" | "{}");
    is_hidden_key(name) && !is_nothing
}

fn write_hidden(out: &mut Vec<u8>) -> bool {
    write_json_text(HIDDEN, out);
    true
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
    } else if let Some(number) = integer(text) {
        out.extend_from_slice(number.to_string().as_bytes());
    } else {
        return false;
    }
    true
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
    if takes_text(element) && is_set_of_strings(json) {
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
    let plain = !refs_as_keys && takes_text(value);
    if plain && is_map_of_strings(json) && !may_name_hidden(json) {
        out.extend_from_slice(json.as_bytes());
        return;
    }
    let mut members = Members::open(out);
    each_member(json, |name, member| {
        let uuid = if refs_as_keys { links.resolve(name) } else { None };
        let mut buffer = Uuid::encode_buffer();
        let name = match uuid {
            Some(uuid) => &*uuid.hyphenated().encode_lower(&mut buffer),
            None if refs_as_keys => return,
            None => name,
        };
        members.add(name, |out| match plain && hides(name, member) {
            true => write_hidden(out),
            false => write(value, member, links, out),
        });
    });
    members.close();
}

/// Writes a record that stands inside another: its fields, without uuid and backend of their own.
fn write_record(
    class: &xenapi_model::Class,
    json: &str,
    links: &mut dyn Resolve,
    out: &mut Vec<u8>,
) -> bool {
    if !json.starts_with('{') {
        return false;
    }
    let mut members = Members::open(out);
    each_member(json, |name, value| {
        if is_secret_field(&class.name, name) {
            return;
        }
        members.add(name, |out| match class.field(name) {
            Some(field) => {
                let hidden = Hidden::of(&class.name, name);
                write_field(&field.ty, hidden, value, links, out)
            }
            None => {
                write_unknown(value, links, out);
                true
            }
        });
    });
    members.close();
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
mod tests;
