//! Example records: made up from each field's type, and from `examples.json` where a telling value
//! says more than a type can.

use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use crate::api::objects::records_doc::shown_fields;
use xenapi_model::{Class, Field, Type, datamodel};

/// The backend of every example.
pub(crate) const BACKEND: &str = "london";

/// What the examples say in place of a made-up value: class → field → value.
pub(crate) fn telling() -> &'static Map<String, Value> {
    static TELLING: OnceLock<Map<String, Value>> = OnceLock::new();
    TELLING.get_or_init(|| {
        serde_json::from_str(include_str!("examples.json")).expect("examples.json is well formed")
    })
}

/// An example of a field's value.
pub(crate) fn field(class: &Class, field: &Field) -> Value {
    let told = telling().get(&class.name).and_then(|fields| fields.get(&field.name));
    told.cloned().unwrap_or_else(|| match field.name.as_str() {
        "uuid" => json!("6a5f2d0e-8c3b-4f4e-9d7a-2b1c0e9f8d76"),
        _ => plain(&field.ty),
    })
}

/// An example of a record.
pub(crate) fn record(class: &Class) -> Value {
    let mut members = Map::new();
    for shown in shown_fields(class) {
        members.insert(shown.name.clone(), field(class, shown));
    }
    members.insert("backend".into(), BACKEND.into());
    Value::Object(members)
}

/// The emptiest value of a type.
fn plain(ty: &Type) -> Value {
    match ty {
        Type::String | Type::Secret => json!(""),
        Type::Int => json!(0),
        Type::Float => json!(0.0),
        Type::Bool => json!(false),
        Type::DateTime => json!("1970-01-01T00:00:00Z"),
        Type::Enum(id) => json!(datamodel().enumeration(*id).values.first()),
        Type::Ref(_) | Type::Option(_) | Type::Record(_) => Value::Null,
        Type::Set(_) => json!([]),
        Type::Map(..) => json!({}),
    }
}
