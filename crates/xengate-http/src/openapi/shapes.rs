//! Schemas of values: the short words in which the rest of the document is written.

use serde_json::Value;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::schema::{
    AdditionalProperties, AnyOfBuilder, ArrayBuilder, KnownFormat, Object, ObjectBuilder, Schema,
    SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{Deprecated, Ref, RefOr};

/// A schema, or the name of one.
pub(crate) type Shape = RefOr<Schema>;

/// A component schema by name.
pub(crate) fn named(name: &str) -> Shape {
    Ref::from_schema_name(name).into()
}

/// A string.
pub(crate) fn string() -> Shape {
    ObjectBuilder::new().schema_type(Type::String).into()
}

/// A string, or null.
pub(crate) fn nullable_string() -> Shape {
    ObjectBuilder::new().schema_type(or_null(Type::String)).into()
}

/// A string of a format.
pub(crate) fn formatted(format: &str) -> Shape {
    let format = Some(SchemaFormat::Custom(format.into()));
    ObjectBuilder::new().schema_type(Type::String).format(format).into()
}

/// A uuid.
pub(crate) fn uuid() -> Shape {
    formatted("uuid")
}

/// The uuid of an object of `class`; null where the Xen-API has the null ref.
pub(crate) fn nullable_ref(class: &str) -> Shape {
    ref_object(class).schema_type(or_null(Type::String)).into()
}

/// The uuid of an object of `class`.
pub(crate) fn whole_ref(class: &str) -> Shape {
    ref_object(class).schema_type(Type::String).into()
}

fn ref_object(class: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .format(Some(SchemaFormat::Custom("uuid".into())))
        .extensions(Some(Extensions::from_iter([("x-xen-ref", class)])))
}

/// A 64-bit integer.
pub(crate) fn integer() -> Shape {
    let format = Some(SchemaFormat::KnownFormat(KnownFormat::Int64));
    ObjectBuilder::new().schema_type(Type::Integer).format(format).into()
}

/// A 64-bit float; null where the Xen-API has NaN.
pub(crate) fn nullable_float() -> Shape {
    let format = Some(SchemaFormat::KnownFormat(KnownFormat::Double));
    ObjectBuilder::new().schema_type(or_null(Type::Number)).format(format).into()
}

/// A 64-bit float.
pub(crate) fn float() -> Shape {
    let format = Some(SchemaFormat::KnownFormat(KnownFormat::Double));
    ObjectBuilder::new().schema_type(Type::Number).format(format).into()
}

/// An instant; null where the Xen-API has a time without a zone, of which nobody knows when it was.
pub(crate) fn nullable_date_time() -> Shape {
    or_null_shape(formatted("date-time"))
}

/// True or false.
pub(crate) fn boolean() -> Shape {
    ObjectBuilder::new().schema_type(Type::Boolean).into()
}

/// A string that is one of `values` and no other: what clients send.
pub(crate) fn closed_enum(values: &[impl AsRef<str>]) -> Shape {
    let values = values.iter().map(AsRef::as_ref);
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(values)).into()
}

/// A string that is one of `values`, or one that this document does not know yet.
///
/// A plain string with the values beside it: a closed `enum` would make a client fail on a newer
/// server, and an `anyOf` of the two turns into a wrapper class in generated clients.
pub(crate) fn open_enum(values: &[impl AsRef<str>], description: &str) -> Shape {
    let values: Vec<&str> = values.iter().map(AsRef::as_ref).collect();
    let list: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
    let list = list.join(", ");
    let description = format!("{description} One of {list}; expect others from newer servers.");
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
        .examples(values.first().copied())
        .extensions(Some(Extensions::from_iter([("x-extensible-enum", values)])))
        .into()
}

/// An array.
pub(crate) fn array(items: Shape) -> Shape {
    RefOr::T(Schema::Array(ArrayBuilder::new().items(items).build()))
}

/// An object used as a map: any key, values of one shape.
pub(crate) fn map(values: Shape) -> Shape {
    ObjectBuilder::new().schema_type(Type::Object).additional_properties(Some(values)).into()
}

/// This shape, or null.
pub(crate) fn or_null_shape(shape: Shape) -> Shape {
    match shape {
        RefOr::T(Schema::Object(mut object)) => {
            object.schema_type = add_null(object.schema_type);
            if let Some(values) = &mut object.enum_values {
                values.push(Value::Null);
            }
            RefOr::T(Schema::Object(object))
        }
        RefOr::T(Schema::Array(mut array)) => {
            array.schema_type = add_null(array.schema_type);
            RefOr::T(Schema::Array(array))
        }
        other => AnyOfBuilder::new().item(other).item(Object::with_type(Type::Null)).into(),
    }
}

fn or_null(one: Type) -> SchemaType {
    SchemaType::from_iter([one, Type::Null])
}

fn add_null(types: SchemaType) -> SchemaType {
    match types {
        SchemaType::Type(one) => or_null(one),
        other => other,
    }
}

/// An object that may have members of any name. That is said, and not left to be understood: some
/// generators make clients that refuse what a schema does not name, and a newer gateway or server
/// sends more.
pub(crate) fn open() -> ObjectBuilder {
    let anything = AdditionalProperties::FreeForm(true);
    ObjectBuilder::new().schema_type(Type::Object).additional_properties(Some(anything))
}

/// An open object with these members: name, shape, description.
pub(crate) fn object<'a>(
    members: impl IntoIterator<Item = (&'a str, Shape, &'a str)>,
    required: &[&str],
) -> ObjectBuilder {
    let members = members.into_iter();
    let object = members.fold(open(), |object, (name, shape, description)| {
        object.property(name, described(shape, description))
    });
    required.iter().fold(object, |object, name| object.required(*name))
}

/// The shape with a description, in place of any that it has.
pub(crate) fn described(shape: Shape, description: &str) -> Shape {
    match shape {
        RefOr::Ref(mut name) => {
            name.description = description.to_owned();
            RefOr::Ref(name)
        }
        RefOr::T(mut schema) => {
            let description = Some(description.to_owned());
            match &mut schema {
                Schema::Object(object) => object.description = description,
                Schema::Array(array) => array.description = description,
                Schema::OneOf(one) => one.description = description,
                Schema::AllOf(all) => all.description = description,
                Schema::AnyOf(any) => any.description = description,
                _ => {}
            }
            RefOr::T(schema)
        }
    }
}

/// The shape with one more extension; a named one cannot have any.
pub(crate) fn extended(shape: Shape, name: &str, value: impl Into<Value>) -> Shape {
    let more = Extensions::from_iter([(name, value)]);
    let merged = |extensions: Option<Extensions>| {
        let mut all = extensions.unwrap_or_default();
        all.merge(more);
        Some(all)
    };
    match shape {
        RefOr::T(Schema::Object(mut object)) => {
            object.extensions = merged(object.extensions.take());
            RefOr::T(Schema::Object(object))
        }
        RefOr::T(Schema::Array(mut array)) => {
            array.extensions = merged(array.extensions.take());
            RefOr::T(Schema::Array(array))
        }
        other => other,
    }
}

/// The shape, marked as deprecated; a named one cannot be.
pub(crate) fn deprecated(shape: Shape) -> Shape {
    match shape {
        RefOr::T(Schema::Object(mut object)) => {
            object.deprecated = Some(Deprecated::True);
            RefOr::T(Schema::Object(object))
        }
        RefOr::T(Schema::Array(mut array)) => {
            array.deprecated = Some(Deprecated::True);
            RefOr::T(Schema::Array(array))
        }
        other => other,
    }
}
