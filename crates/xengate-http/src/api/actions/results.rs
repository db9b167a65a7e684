//! Schemas of what calls answer.

use crate::api::objects::records_doc;
use crate::api::objects::records_doc::component_name;
use crate::openapi::parts::Parts;
use crate::openapi::shapes::{Shape, nullable_string, object};
use xenapi_model::{Call, Type, datamodel};

/// `{"result": …}` for a call that returns this.
pub(crate) fn of(parts: &mut Parts, call: &Call, ty: &Type) -> Shape {
    if call.returns_local_time() {
        return parts.schema("LocalTimeResult", |_| {
            let text = "The time of the place, as in `2026-01-31T07:25:54`: by RFC 3339 but for the \
                        zone, which is not told.";
            object([("result", nullable_string(), text)], &["result"]).into()
        });
    }
    parts.schema(&format!("{}Result", name(ty)), |parts| {
        let text = format!("What the call returned: `{}`.", ty.notation(datamodel()));
        let result = records_doc::of_type(parts, ty);
        object([("result", result, text.as_str())], &["result"]).into()
    })
}

/// What a type is called among the components: `VmRefList`.
pub(crate) fn name(ty: &Type) -> String {
    match ty {
        Type::String | Type::Secret => "String".to_owned(),
        Type::Int => "Integer".to_owned(),
        Type::Float => "Float".to_owned(),
        Type::Bool => "Boolean".to_owned(),
        Type::DateTime => "DateTime".to_owned(),
        Type::Enum(id) => component_name(&datamodel().enumeration(*id).name),
        Type::Ref(id) => format!("{}Ref", component_name(&datamodel().get(*id).name)),
        Type::Record(id) => format!("{}Fields", component_name(&datamodel().get(*id).name)),
        Type::Set(item) => format!("{}Set", name(item)),
        Type::Map(key, value) => format!("{}To{}", name(key), name(value)),
        Type::Option(inner) => format!("Optional{}", name(inner)),
    }
}
