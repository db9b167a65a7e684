//! Schemas of what clients give: arguments of calls, fields of new objects, changes of fields.
//!
//! They say more than the schemas of records, which have to take whatever an old or a new server
//! sends: what is not known here is refused, so enumerations are closed and objects have no
//! members that are not named. None has a `default`: clients that were generated from one would
//! send it, and a server that is older than the parameter would refuse the call.

use serde_json::{Map, Value};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder};

use crate::openapi::shapes::{
    Shape, array, boolean, closed_enum, described, float, formatted, integer, nullable_ref, object,
    or_null_shape, string, whole_ref,
};
use xenapi_model::{Call, Class, Field, Param, Type, datamodel, describe};
use xengate_core::ops::arguments::of_constructor;
use xengate_core::ops::defaults;

/// Members that the gateway fills in from what it knows of the backend.
const FILLED_IN: &[(&str, &str, &str)] = &[
    ("VDI.create", "SR", "the pool's default storage repository"),
    ("VIF.create", "device", "the VM's next free device"),
    ("SR.create", "host", "the pool's only host, or its coordinator when the storage is shared"),
];

/// A body with these members and no others.
pub(crate) fn body<'a>(
    members: impl IntoIterator<Item = (&'a str, Shape)>,
    required: &[&str],
) -> ObjectBuilder {
    let body = members
        .into_iter()
        .fold(object([], required), |body, (name, shape)| body.property(name, shape));
    body.additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

/// A value of a type. A ref may be null: that is the Xen-API's null ref.
pub(crate) fn of_type(ty: &Type) -> Shape {
    match ty {
        Type::String => string(),
        Type::Secret => formatted("password"),
        Type::Int => integer(),
        Type::Float => float(),
        Type::Bool => boolean(),
        Type::DateTime => formatted("date-time"),
        Type::Enum(id) => closed_enum(&datamodel().enumeration(*id).values),
        Type::Ref(id) => nullable_ref(&datamodel().get(*id).name),
        Type::Set(item) => array(whole(item)),
        Type::Map(key, value) => map(key, whole(value)).into(),
        Type::Option(inner) => or_null_shape(of_type(inner)),
        Type::Record(id) => {
            let fields = datamodel().get(*id).fields.iter().filter(|field| of_constructor(field));
            body(fields.map(|field| (field.name.as_str(), of_type(&field.ty))), &[]).into()
        }
    }
}

/// A value of a type, where a null ref would make no sense.
pub(crate) fn whole(ty: &Type) -> Shape {
    match ty {
        Type::Ref(id) => whole_ref(&datamodel().get(*id).name),
        ty => of_type(ty),
    }
}

/// A map with keys of a type.
pub(crate) fn map(key: &Type, values: Shape) -> ObjectBuilder {
    let map = ObjectBuilder::new()
        .schema_type(utoipa::openapi::Type::Object)
        .additional_properties(Some(values));
    match (key, whole(key)) {
        (Type::Enum(_) | Type::Ref(_), RefOr::T(names)) => map.property_names(Some(names)),
        _ => map,
    }
}

/// A body of a call's parameters, the object that it is a call of aside; `None` when there are no
/// others.
pub(crate) fn of_call(
    class: &Class,
    call: &Call,
    on_object: bool,
) -> Option<(ObjectBuilder, bool)> {
    let params = &call.params[usize::from(on_object)..];
    let mut required = Vec::new();
    let members = params.iter().map(|param| {
        let default = defaults::of_parameter(call, param);
        let filled = filled_in(call, &param.name);
        // Setters take null for none; other calls would find no object.
        let nullable = default.is_some() || call.name.starts_with("set_");
        let shape = if nullable { of_type(&param.ty) } else { whole(&param.ty) };
        let mut text = words(class, param);
        match (&default, filled) {
            (_, Some(filled)) => add(&mut text, &format!("Unless given, {filled}.")),
            (Some(default), None) => add(&mut text, &unless_given(default)),
            (None, None) => required.push(param.name.as_str()),
        }
        let shape = if text.is_empty() { shape } else { described(shape, &text) };
        (param.name.as_str(), shape)
    });
    let members: Vec<_> = members.collect();
    let some = !members.is_empty();
    let needed = !required.is_empty();
    some.then(|| (body(members, &required), needed))
}

/// A body of the fields that a constructor takes.
pub(crate) fn of_record(class: &Class, call: &Call) -> (ObjectBuilder, bool) {
    let mut required = Vec::new();
    let fields = class.fields.iter().filter(|field| of_constructor(field));
    let members = fields.map(|field| {
        let needed = defaults::must_be_given(class, field);
        let shape = if needed { whole(&field.ty) } else { of_type(&field.ty) };
        let mut text = of_field(class, field).unwrap_or_default().to_owned();
        match filled_in(call, &field.name) {
            Some(filled) => add(&mut text, &format!("Unless given, {filled}.")),
            None if needed => required.push(field.name.as_str()),
            None => {
                if let Some(default) = constant(class, field) {
                    add(&mut text, &unless_given(&default));
                }
            }
        }
        let shape = if text.is_empty() { shape } else { described(shape, &text) };
        (field.name.as_str(), shape)
    });
    let members: Vec<_> = members.collect();
    let needed = !required.is_empty();
    (body(members, &required), needed)
}

/// What a field is when nothing is said, unless that depends on other fields.
fn constant(class: &Class, field: &Field) -> Option<Value> {
    let others = class.fields.iter().filter(|other| other.name != field.name);
    let others: Map<String, Value> =
        others.map(|other| (other.name.clone(), Value::from("something else"))).collect();
    let alone = defaults::of_field(class, field, &Map::new());
    alone.filter(|default| defaults::of_field(class, field, &others).as_ref() == Some(default))
}

fn filled_in(call: &Call, name: &str) -> Option<&'static str> {
    let found = FILLED_IN.iter().find(|(of, member, _)| *of == call.wire_name && *member == name);
    found.map(|(.., text)| *text)
}

/// What a field holds.
pub(crate) fn of_field(class: &Class, field: &Field) -> Option<&'static str> {
    describe(&class.name)?.fields.get(&field.name).map(String::as_str)
}

/// A parameter that is called and typed like a field of the class is about that field.
fn words(class: &Class, param: &Param) -> String {
    let field = class.field(&param.name).filter(|field| field.ty == param.ty);
    field.and_then(|field| of_field(class, field)).unwrap_or_default().to_owned()
}

fn unless_given(default: &Value) -> String {
    match default {
        Value::Null => "None unless given.".to_owned(),
        Value::String(text) if text.is_empty() => "Empty unless given.".to_owned(),
        Value::Array(items) if items.is_empty() => "Empty unless given.".to_owned(),
        Value::Object(members) if members.is_empty() => "Empty unless given.".to_owned(),
        Value::String(text) => format!("`{text}` unless given."),
        other => format!("`{other}` unless given."),
    }
}

fn add(text: &mut String, sentence: &str) {
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(sentence);
}
