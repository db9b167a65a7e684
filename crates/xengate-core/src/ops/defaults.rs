//! What a parameter or a new object's field is when the client does not say.
//!
//! The datamodel's own default comes first, then common sense: a table of what a person would
//! expect, which names only what the datamodel has. All values are JSON as a client would write it.

mod table;

use serde_json::{Map, Value, json};

use table::{FIELDS, Otherwise, PARAMETERS};
use xenapi_model::{Call, Class, Field, Param, Type};

/// The default of a parameter, if it has one.
pub fn of_parameter(call: &Call, param: &Param) -> Option<Value> {
    if let Some(default) = &param.default {
        return Some(plain(&param.ty, default));
    }
    let found = PARAMETERS
        .iter()
        .find(|(wire_name, name, _)| *wire_name == call.wire_name && *name == param.name)?;
    Some(parse(found.2))
}

/// The default of a field of an object that is being made with `given`, if it has one.
pub fn of_field(class: &Class, field: &Field, given: &Map<String, Value>) -> Option<Value> {
    if let Some(default) = &field.default {
        return Some(plain(&field.ty, default));
    }
    let found = FIELDS.iter().find(|(of, name, _)| *of == class.name && *name == field.name)?;
    match found.2 {
        Otherwise::Json(text) => Some(parse(text)),
        Otherwise::SameAs(other) => {
            given.get(other).cloned().or_else(|| of_field(class, class.field(other)?, given))
        }
        Otherwise::When { field: other, is, then, or } => {
            let other = match given.get(other) {
                Some(value) => value.clone(),
                None => of_field(class, class.field(other)?, given)?,
            };
            Some(parse(if other == parse(is) { then } else { or }))
        }
    }
}

/// Whether a client has to give the field when it makes an object.
pub fn must_be_given(class: &Class, field: &Field) -> bool {
    field.default.is_none()
        && !FIELDS.iter().any(|(of, name, _)| *of == class.name && *name == field.name)
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("the tables hold JSON; a test reads all of it")
}

/// A default in the datamodel's notation (`{"int": "0"}`, `{"ref": …}`) as plain JSON.
fn plain(ty: &Type, default: &Value) -> Value {
    let tagged = |tag: &str| default.get(tag);
    match ty {
        // The only ref that a default can name is none.
        Type::Ref(_) => Value::Null,
        Type::Int => match tagged("int").and_then(Value::as_str).map(str::parse::<i64>) {
            Some(Ok(int)) => json!(int),
            _ => default.clone(),
        },
        Type::Enum(_) => tagged("enum").unwrap_or(default).clone(),
        Type::DateTime => {
            let text = tagged("datetime").unwrap_or(default).as_str().unwrap_or_default();
            // `19700101T00:00:00Z`
            match text.split_at_checked(8) {
                Some((date, time)) if date.bytes().all(|byte| byte.is_ascii_digit()) => {
                    json!(format!("{}-{}-{}{time}", &date[..4], &date[4..6], &date[6..]))
                }
                _ => default.clone(),
            }
        }
        Type::Set(inner) => match tagged("set").and_then(Value::as_array) {
            Some(items) => items.iter().map(|item| plain(inner, item)).collect(),
            None => default.clone(),
        },
        Type::Map(_, to) => match tagged("map").and_then(Value::as_array) {
            Some(pairs) => {
                let pair = |pair: &Value| {
                    let key = pair.get(0)?.as_str()?.to_owned();
                    Some((key, plain(to, pair.get(1)?)))
                };
                Value::Object(pairs.iter().filter_map(pair).collect())
            }
            None => default.clone(),
        },
        _ => default.clone(),
    }
}

#[cfg(test)]
mod tests;
