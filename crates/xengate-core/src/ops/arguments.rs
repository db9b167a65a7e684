//! What a client gave as JSON, as the arguments of a call.
//!
//! The datamodel's types decide. A client names objects by uuid, writes dates as RFC 3339, and may
//! leave out what has a default; anything that does not fit is refused with a JSON pointer to it,
//! before anything is sent. No error repeats a value: it may be a password.

mod date;
mod record;

pub use record::of_constructor;

use std::sync::Arc;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::defaults;
use super::lookup::Lookup;
use super::patch::still_hidden;
use xenapi_model::{Call, CallKind, ClassId, HIDDEN, Type, datamodel, is_hidden_key};
use xenapi_wire::Arg;

/// The ref that names nothing.
pub(super) const NULL_REF: &str = "OpaqueRef:NULL";

/// What does not fit, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}", if .pointer.is_empty() { String::new() } else { format!("{pointer}: ") })]
pub struct ArgumentError {
    /// A JSON pointer into the client's body; empty for the body itself.
    pub pointer: String,
    /// What is wrong; holds no value of the body.
    pub what: String,
}

impl ArgumentError {
    pub(super) fn new(pointer: &str, what: impl Into<String>) -> Self {
        Self { pointer: pointer.to_owned(), what: what.into() }
    }
}

/// The arguments of a call, and where the client named the objects among them.
#[derive(Debug, Clone, Default)]
pub struct Arguments {
    /// In the order of the call's parameters, without the session.
    pub values: Vec<Arg>,
    pub(super) named: Named,
}

/// The objects that a client named, each with where it did; and where a text stands that no database
/// of XAPI's takes, if one does.
#[derive(Debug, Clone, Default)]
pub(super) struct Named {
    objects: Vec<(Arc<str>, Option<Uuid>, String)>,
    unstorable: Option<String>,
}

impl Named {
    /// The JSON pointer to where the object of this ref or uuid was named.
    pub(super) fn pointer_of(&self, name: &str) -> Option<&str> {
        let uuid = Uuid::try_parse(name).ok();
        let mut named = self.objects.iter();
        let found = named
            .find(|(reference, of, _)| **reference == *name || (uuid.is_some() && *of == uuid));
        found.map(|(.., pointer)| pointer.as_str())
    }

    /// The JSON pointer to where an object was named that is not there any more.
    pub(super) fn pointer_of_lost(&self, is_there: impl Fn(&str) -> bool) -> Option<&str> {
        let lost = self.objects.iter().find(|(reference, ..)| !is_there(reference));
        lost.map(|(.., pointer)| pointer.as_str())
    }

    /// The JSON pointer to what a failure is about that its parameters do not name: an exception of
    /// XAPI's database.
    pub(super) fn pointer_of_failure(&self, params: &[String]) -> Option<&str> {
        let of_database = params.iter().any(|param| param.contains("Db_exn."));
        self.unstorable.as_deref().filter(|_| of_database)
    }

    /// The JSON pointer to the first text that no database of XAPI's takes.
    pub(super) fn unstorable(&self) -> Option<&str> {
        self.unstorable.as_deref()
    }

    /// Notes a text, in case it can be stored nowhere: XAPI's database is XML.
    fn text(&mut self, text: &str, pointer: &str) {
        let odd = |c: char| {
            (c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{fffe}' | '\u{ffff}')
        };
        if self.unstorable.is_none() && text.contains(odd) {
            self.unstorable = Some(pointer.to_owned());
        }
    }

    /// The same of the key of a map, which may not be empty.
    fn key(&mut self, key: &str, pointer: &str) {
        self.text(key, pointer);
        if self.unstorable.is_none() && key.is_empty() {
            self.unstorable = Some(pointer.to_owned());
        }
    }
}

impl Arguments {
    /// Notes that the client named the object of this ref and uuid at `pointer`.
    pub(super) fn name(&mut self, reference: &Arc<str>, uuid: Uuid, pointer: impl Into<String>) {
        self.named.objects.push((reference.clone(), Some(uuid), pointer.into()));
    }

    /// Puts more arguments behind these.
    pub(super) fn append(&mut self, mut others: Self) {
        self.values.append(&mut others.values);
        self.named.objects.append(&mut others.named.objects);
        if self.named.unstorable.is_none() {
            self.named.unstorable = others.named.unstorable;
        }
    }

    /// The JSON pointer to where the client named the object of this ref or uuid.
    pub fn pointer_of(&self, name: &str) -> Option<&str> {
        self.named.pointer_of(name)
    }
}

impl From<Vec<Arg>> for Arguments {
    fn from(values: Vec<Arg>) -> Self {
        Self { values, named: Named::default() }
    }
}

/// One value of type `ty`. `pointer` says where it stands in the client's body.
pub fn argument(
    ty: &Type,
    json: &Value,
    pointer: &str,
    refs: &dyn Lookup,
) -> Result<Arguments, ArgumentError> {
    let mut reader = Reader { refs, named: Named::default() };
    let values = vec![reader.value(ty, json, pointer)?];
    Ok(Arguments { values, named: reader.named })
}

/// The key of a map, whose keys are of type `ty`.
pub(super) fn key_argument(
    ty: &Type,
    name: &str,
    pointer: &str,
    refs: &dyn Lookup,
) -> Result<Arguments, ArgumentError> {
    match ty {
        Type::Ref(_) => argument(ty, &Value::from(name), pointer, refs),
        ty => {
            let mut named = Named::default();
            named.key(name, pointer);
            Ok(Arguments { values: vec![Arg::String(key(ty, name, pointer)?)], named })
        }
    }
}

/// The arguments of `call`.
///
/// The first is `own`, when the call is one of an object's: its ref. The body's members are the
/// others, by the datamodel's names; of a constructor they are the record's fields.
pub fn arguments(
    call: &Call,
    own: Option<&str>,
    body: Option<&Map<String, Value>>,
    refs: &dyn Lookup,
) -> Result<Arguments, ArgumentError> {
    let empty = Map::new();
    let body = body.unwrap_or(&empty);
    let mut reader = Reader { refs, named: Named::default() };
    if let (CallKind::Create, Some(Type::Record(class))) =
        (call.kind, call.params.first().map(|param| &param.ty))
    {
        let values = vec![reader.record(*class, body, "")?];
        return Ok(Arguments { values, named: reader.named });
    }
    let params = &call.params[usize::from(own.is_some()).min(call.params.len())..];
    if let Some(unknown) = body.keys().find(|key| !params.iter().any(|p| p.name == **key)) {
        let names: Vec<&str> = params.iter().map(|param| param.name.as_str()).collect();
        let what = match names.is_empty() {
            true => format!("{} takes no parameters", call.wire_name),
            false => format!("no parameter of {}; those are {}", call.wire_name, names.join(", ")),
        };
        return Err(ArgumentError::new(&below("", unknown), what));
    }
    // What has a default of its own and closes the list is best left to the backend: an older one
    // may not know the parameter.
    let is_left_out =
        |param: &&xenapi_model::Param| param.default.is_some() && !body.contains_key(&param.name);
    let left_out = params.iter().rev().take_while(is_left_out).count();
    let mut values: Vec<Arg> = own.map(Arg::from).into_iter().collect();
    for param in &params[..params.len() - left_out] {
        let pointer = below("", &param.name);
        values.push(match body.get(&param.name) {
            Some(json) => reader.value(&param.ty, json, &pointer)?,
            None => match defaults::of_parameter(call, param) {
                Some(json) => reader.value(&param.ty, &json, &pointer)?,
                None => return Err(missing(&pointer)),
            },
        });
    }
    Ok(Arguments { values, named: reader.named })
}

/// The complaint about a value that has to be given.
fn missing(pointer: &str) -> ArgumentError {
    ArgumentError::new(pointer, "is missing and has no default")
}

/// The JSON pointer to the member `name` of what `pointer` points to.
pub(super) fn below(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Reads values, and notes the refs that are named.
struct Reader<'a> {
    refs: &'a dyn Lookup,
    named: Named,
}

impl Reader<'_> {
    fn value(&mut self, ty: &Type, json: &Value, pointer: &str) -> Result<Arg, ArgumentError> {
        let not = |what: &str| ArgumentError::new(pointer, format!("must be {what}"));
        Ok(match (ty, json) {
            (Type::String, Value::String(text)) => {
                self.named.text(text, pointer);
                Arg::from(text.as_str())
            }
            (Type::Secret, Value::String(text)) => {
                self.named.text(text, pointer);
                Arg::Secret(text.as_str().into())
            }
            (Type::String | Type::Secret, _) => return Err(not("a string")),
            (Type::Int, Value::Number(number)) => {
                let int = number.as_i64().or_else(|| whole(number.as_f64()?));
                Arg::Int(int.ok_or_else(|| not("an integer of 64 bits"))?)
            }
            (Type::Int, _) => return Err(not("an integer of 64 bits")),
            (Type::Float, Value::Number(number)) => {
                let float = number.as_f64().filter(|float| float.is_finite());
                Arg::Float(float.ok_or_else(|| not("a number"))?)
            }
            (Type::Float, _) => return Err(not("a number")),
            (Type::Bool, Value::Bool(bool)) => Arg::Bool(*bool),
            (Type::Bool, _) => return Err(not("true or false")),
            (Type::DateTime, Value::String(text)) => {
                Arg::DateTime(date::to_wire(text).ok_or_else(|| not(date::FORM))?)
            }
            (Type::DateTime, _) => return Err(not(date::FORM)),
            (Type::Enum(_), Value::String(text)) => Arg::String(key(ty, text, pointer)?),
            (Type::Enum(id), _) => return Err(not(&one_of(*id))),
            (Type::Ref(_), Value::Null) => {
                self.named.objects.push((NULL_REF.into(), None, pointer.to_owned()));
                Arg::from(NULL_REF)
            }
            (Type::Ref(class), Value::String(text)) => {
                Arg::from(&*self.reference(*class, text, pointer)?)
            }
            (Type::Ref(class), _) => return Err(not(&uuid_of(*class))),
            // XAPI writes an option as a list of at most one.
            (Type::Option(_), Value::Null) => Arg::Array(Vec::new()),
            (Type::Option(inner), _) => Arg::Array(vec![self.value(inner, json, pointer)?]),
            (Type::Set(inner), Value::Array(items)) => {
                let items = items.iter().enumerate();
                let item = |(index, item)| self.value(inner, item, &format!("{pointer}/{index}"));
                Arg::Array(items.map(item).collect::<Result<_, _>>()?)
            }
            (Type::Set(_), _) => return Err(not("an array")),
            (Type::Map(of, to), Value::Object(members)) => {
                let member = |(name, value): (&String, &Value)| {
                    let pointer = below(pointer, name);
                    if value == HIDDEN && is_hidden_key(name) {
                        return Err(still_hidden(&pointer));
                    }
                    let key = match &**of {
                        Type::Ref(class) => self.reference(*class, name, &pointer)?.to_string(),
                        of => {
                            self.named.key(name, &pointer);
                            key(of, name, &pointer)?
                        }
                    };
                    Ok((key, self.value(to, value, &pointer)?))
                };
                Arg::Struct(members.iter().map(member).collect::<Result<_, ArgumentError>>()?)
            }
            (Type::Record(class), Value::Object(members)) => {
                self.record(*class, members, pointer)?
            }
            (Type::Map(..) | Type::Record(_), _) => return Err(not("an object")),
        })
    }

    fn reference(
        &mut self,
        class: ClassId,
        text: &str,
        pointer: &str,
    ) -> Result<Arc<str>, ArgumentError> {
        let not = |what: String| ArgumentError::new(pointer, what);
        let uuid = Uuid::try_parse(text).map_err(|_| not(format!("must be {}", uuid_of(class))))?;
        let reference = self.refs.reference(class, uuid).ok_or_else(|| {
            let class = &datamodel().get(class).name;
            not(format!("this backend has no {class} of that uuid"))
        })?;
        self.named.objects.push((reference.clone(), Some(uuid), pointer.to_owned()));
        Ok(reference)
    }
}

/// An integer that is spelled as a float: `3e9`, `3221225472.0`.
fn whole(float: f64) -> Option<i64> {
    // Beyond 2^53 a float no longer tells neighbouring integers apart.
    (float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0).then_some(float as i64)
}

/// The key of a map, whose keys are strings in JSON whatever their type.
fn key(ty: &Type, text: &str, pointer: &str) -> Result<String, ArgumentError> {
    let not = |what: &str| Err(ArgumentError::new(pointer, format!("must be {what}")));
    match ty {
        Type::Enum(id) if !datamodel().enumeration(*id).values.iter().any(|v| v == text) => {
            not(&one_of(*id))
        }
        Type::Int if text.parse::<i64>().is_err() => not("named by an integer"),
        _ => Ok(text.to_owned()),
    }
}

fn one_of(id: xenapi_model::EnumId) -> String {
    format!("one of {}", datamodel().enumeration(id).values.join(", "))
}

fn uuid_of(class: ClassId) -> String {
    let name = &datamodel().get(class).name;
    format!("the uuid of an object of class {name}, or null")
}

#[cfg(test)]
mod tests;
