//! Blobs, and the calls of several classes that hang one on an object.

use crate::database::{Text, Value};
use crate::edit::Edit;
use crate::protocol::Failure;
use crate::state::State;

use super::effect::Effect;
use super::request::Request;

/// What a call of any class changes, if it makes a blob.
pub(super) fn effect(class: &str, call: &str) -> Option<Effect> {
    match (class, call) {
        ("blob", "create") => Some(Effect::AtOnce(create)),
        (_, "create_new_blob") => Some(Effect::AtOnce(create_for)),
        _ => None,
    }
}

fn add(edit: &mut Edit<'_>, mime_type: &Text, public: bool) -> Text {
    let kind = if mime_type.is_empty() { "application/octet-stream" } else { mime_type };
    let fields = [
        ("mime_type", Value::text(kind)),
        ("public", Value::Bool(public)),
        ("size", Value::Int(0)),
        ("last_updated", edit.now()),
    ];
    edit.add("blob", &fields)
}

fn create(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    Ok(Value::Text(add(edit, request.text(0), request.flag(1))))
}

fn create_for(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let class = request.class.name.as_str();
    let object = request.object(edit, 0, class)?;
    let name = request.text(1);
    if edit.entry(class, &object, "blobs", name).is_some() {
        let params = [class, "blobs", &object, name];
        return Err(Failure::new("MAP_DUPLICATE_KEY", params));
    }
    let blob = add(edit, request.text(2), request.flag(3));
    edit.put(class, &object, "blobs", name, Value::Text(blob.clone()));
    Ok(Value::Text(blob))
}
