//! Component schemas of classes and enumerations, from the datamodel.

use serde_json::{Map, Value};
use utoipa::openapi::schema::ObjectBuilder;

use crate::api::tasks;
use crate::openapi::examples;
use crate::openapi::parts::Parts;
use crate::openapi::shapes::{
    Shape, array, boolean, deprecated, described, integer, map, nullable_date_time, nullable_float,
    nullable_ref, nullable_string, object, open, open_enum, or_null_shape, string, uuid, whole_ref,
};
use xenapi_mirror::inventory::is_mirrored;
use xenapi_model::{
    Class, EnumId, Field, Lifecycle, State, Type, datamodel, describe, is_secret_field,
};
use xengate_core::ops::is_gone;

/// What a record has whatever kind of backend it comes from and whichever fields were asked for.
/// Everything else may be absent.
const ALWAYS: [&str; 2] = ["uuid", "backend"];

/// The name of a class's or an enumeration's component: `VM_metrics` → `VmMetrics`.
pub(crate) fn component_name(name: &str) -> String {
    let capital = |word: &str| match word.split_at_checked(1) {
        Some((first, rest)) => first.to_ascii_uppercase() + &rest.to_ascii_lowercase(),
        None => String::new(),
    };
    name.split('_').map(capital).collect()
}

/// The record of a class.
pub(crate) fn record(parts: &mut Parts, class: &Class) -> Shape {
    if class.name == "task" {
        return tasks::doc::schema(parts);
    }
    parts.schema(&component_name(&class.name), |parts| {
        let record = record_with(parts, class, &[]);
        with_expanded(parts, record).into()
    })
}

/// A record that may say what came along with it.
pub(crate) fn with_expanded(parts: &mut Parts, record: ObjectBuilder) -> ObjectBuilder {
    let text = "With `expand`: what it leads to. In a list it stands once, beside the items.";
    record.property("expanded", described(expanded(parts), text))
}

/// What came along: by backend, class and uuid.
fn expanded(parts: &mut Parts) -> Shape {
    let shape = parts.schema("Expanded", |parts| {
        let by_class = parts.schema("ExpandedObjects", |parts| {
            let text = "Objects of one backend by their class and uuid.";
            let schema = open().description(Some(text));
            let mirrored = datamodel().classes.iter().filter(|class| is_mirrored(class));
            let schema = mirrored.fold(schema, |schema, class| {
                schema.property(&class.name, map(record(parts, class)))
            });
            schema.into()
        });
        map(by_class)
    });
    described(shape, "Objects that came along, by backend, class and uuid.")
}

/// The fields of a record that stands within what a call returns: any of them may be missing.
fn nested(parts: &mut Parts, class: &Class) -> Shape {
    let object = class.in_database || class.gen_events;
    let name = component_name(&class.name) + if object { "Fields" } else { "" };
    parts.schema(&name, |parts| {
        let words = describe(&class.name);
        let schema = open().description(words.map(|words| &words.summary));
        let schema = shown_fields(class).fold(schema, |schema, field| {
            schema.property(&field.name, field_schema(parts, class, field))
        });
        schema.into()
    })
}

/// A list of records, as collections answer it.
pub(crate) fn list(parts: &mut Parts, class: &Class) -> Shape {
    let item = record(parts, class);
    parts.schema(&format!("{}List", component_name(&class.name)), |parts| {
        let partial = "Backends that the list leaves out because they cannot be read now; absent \
                       when there are none.";
        object(
            [
                (
                    "items",
                    array(item),
                    "This page, by backend and uuid unless `sort` says otherwise.",
                ),
                ("total", integer(), "How many there are on all pages."),
                ("next", nullable_string(), "`cursor` of the next page; null on the last one."),
                ("partial", array(string()), partial),
                ("expanded", expanded(parts), "With `expand`: what the items lead to."),
            ],
            &["items", "total", "next"],
        )
        .into()
    })
}

/// The record of a class with further members, as a schema of its own.
pub(crate) fn record_with(
    parts: &mut Parts,
    class: &Class,
    more: &[(&str, Shape, &str, Value)],
) -> ObjectBuilder {
    let words = describe(&class.name);
    let mut example = Map::new();
    let mut schema = open().description(words.map(|words| &words.summary));
    for field in shown_fields(class) {
        let value = examples::field(class, field);
        example.insert(field.name.clone(), value);
        schema = schema.property(&field.name, field_schema(parts, class, field));
        if field.name == "uuid" {
            let text = "The backend the object lives on; uuids are unique within one only.";
            schema = schema.property("backend", described(string(), text));
            example.insert("backend".into(), examples::BACKEND.into());
        }
    }
    for (name, shape, description, value) in more {
        schema = schema.property(*name, described(shape.clone(), description));
        example.insert((*name).to_owned(), value.clone());
    }
    for name in ALWAYS {
        schema = schema.required(name);
    }
    schema.examples([example])
}

/// The fields of a class that records may have; servers send those too that are gone from the
/// Xen-API. Secrets are not shown.
pub(crate) fn shown_fields(class: &Class) -> impl Iterator<Item = &Field> {
    class.fields.iter().filter(|field| !is_secret_field(&class.name, &field.name))
}

fn field_schema(parts: &mut Parts, class: &Class, field: &Field) -> Shape {
    let old = is_old(&field.lifecycle);
    let shape = match &field.ty {
        // A record is known by its uuid: that one is never left empty.
        Type::String if field.name == "uuid" => uuid(),
        // A component cannot be marked where it is named, so this one stands here itself.
        Type::Enum(id) if old => enumeration(*id),
        ty => of_type(parts, ty),
    };
    let words = describe(&class.name).and_then(|words| words.fields.get(&field.name));
    let words = match (removed_but_sent(class, field), words) {
        (Some(removed), Some(words)) => Some(format!("{words} {removed}")),
        (Some(removed), None) => Some(removed),
        (None, words) => words.cloned(),
    };
    let shape = match words {
        Some(words) => described(shape, &words),
        None => shape,
    };
    if old { deprecated(shape) } else { shape }
}

/// What is to be said of a field that the Xen-API has removed and that servers send all the same.
/// Of a class that is gone nothing is sent.
fn removed_but_sent(class: &Class, field: &Field) -> Option<String> {
    let removed = field.lifecycle.state == State::Removed && !is_gone(class);
    let since = field.lifecycle.removed.as_ref().filter(|_| removed)?;
    Some(format!("The Xen-API removed it with {since}; servers still send it, and may stop."))
}

/// The JSON form of a Xen-API type.
pub(crate) fn of_type(parts: &mut Parts, ty: &Type) -> Shape {
    match ty {
        Type::String | Type::Secret => string(),
        Type::Int => integer(),
        Type::Float => nullable_float(),
        Type::Bool => boolean(),
        Type::DateTime => nullable_date_time(),
        Type::Enum(id) => {
            let name = component_name(&datamodel().enumeration(*id).name);
            parts.schema(&name, |_| enumeration(*id))
        }
        Type::Ref(id) => nullable_ref(&datamodel().get(*id).name),
        Type::Record(id) => nested(parts, datamodel().get(*id)),
        // What cannot be resolved is left out of a set, so its refs are never null.
        Type::Set(item) => array(match item.as_ref() {
            Type::Ref(id) => whole_ref(&datamodel().get(*id).name),
            item => of_type(parts, item),
        }),
        Type::Map(_, value) => map(of_type(parts, value)),
        Type::Option(inner) => or_null_shape(of_type(parts, inner)),
    }
}

/// Whether the class is on its way out, or gone.
pub(crate) fn is_deprecated(class: &Class) -> bool {
    is_old(&class.lifecycle)
}

/// Whether something is on its way out, or gone.
pub(crate) fn is_old(lifecycle: &Lifecycle) -> bool {
    matches!(lifecycle.state, State::Deprecated | State::Removed)
}

fn enumeration(id: EnumId) -> Shape {
    let enumeration = datamodel().enumeration(id);
    open_enum(&enumeration.values, &format!("Xen-API enumeration `{}`.", enumeration.name))
}
