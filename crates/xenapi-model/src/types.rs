//! The Xen-API's types, parsed from the datamodel's notation.

use super::{ClassId, Datamodel, EnumId};

/// A type of the Xen-API.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the Xen-API's own")]
pub enum Type {
    String,
    /// A string that must never be logged or shown again.
    Secret,
    Int,
    Float,
    Bool,
    DateTime,
    Enum(EnumId),
    Ref(ClassId),
    Record(ClassId),
    Set(Box<Type>),
    Map(Box<Type>, Box<Type>),
    Option(Box<Type>),
}

impl Type {
    /// Whether a ref stands anywhere in a value of this type.
    pub fn holds_refs(&self) -> bool {
        match self {
            Self::Ref(_) => true,
            Self::Set(inner) | Self::Option(inner) => inner.holds_refs(),
            Self::Map(key, value) => key.holds_refs() || value.holds_refs(),
            _ => false,
        }
    }

    /// The datamodel's own notation: `VM ref set`, `(string -> string) map`.
    pub fn notation(&self, model: &Datamodel) -> String {
        match self {
            Self::String => "string".into(),
            Self::Secret => "secret string".into(),
            Self::Int => "int".into(),
            Self::Float => "float".into(),
            Self::Bool => "bool".into(),
            Self::DateTime => "datetime".into(),
            Self::Enum(id) => format!("enum {}", model.enumeration(*id).name),
            Self::Ref(id) => format!("{} ref", model.get(*id).name),
            Self::Record(id) => format!("{} record", model.get(*id).name),
            Self::Set(inner) => format!("{} set", inner.notation(model)),
            Self::Option(inner) => format!("{} option", inner.notation(model)),
            Self::Map(key, value) => {
                format!("({} -> {}) map", key.notation(model), value.notation(model))
            }
        }
    }

    /// Reads the datamodel's notation; `classes` and `enums` find ids by name.
    pub(super) fn parse(
        notation: &str,
        classes: &dyn Fn(&str) -> Option<ClassId>,
        enums: &dyn Fn(&str) -> Option<EnumId>,
    ) -> Option<Self> {
        let text = notation.trim();
        let inner = |rest: &str| Self::parse(rest, classes, enums).map(Box::new);
        Some(match text {
            "string" => Self::String,
            "secret string" => Self::Secret,
            "int" => Self::Int,
            "float" => Self::Float,
            "bool" => Self::Bool,
            "datetime" => Self::DateTime,
            _ => {
                if let Some(map) = text.strip_prefix('(').and_then(|t| t.strip_suffix(") map")) {
                    let (key, value) = map.split_once("->")?;
                    Self::Map(inner(key)?, inner(value)?)
                } else if let Some(rest) = text.strip_suffix(" set") {
                    Self::Set(inner(rest)?)
                } else if let Some(rest) = text.strip_suffix(" option") {
                    Self::Option(inner(rest)?)
                } else if let Some(name) = text.strip_suffix(" ref") {
                    Self::Ref(classes(name)?)
                } else if let Some(name) = text.strip_suffix(" record") {
                    Self::Record(classes(name)?)
                } else {
                    Self::Enum(enums(text.strip_prefix("enum ")?)?)
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::datamodel;
    use super::*;

    fn parse(text: &str) -> Option<Type> {
        let classes = |name: &str| datamodel().class(name).map(|class| class.id);
        Type::parse(text, &classes, &|name| (name == "vm_power_state").then_some(EnumId(3)))
    }

    #[test]
    fn every_notation_is_read() {
        let vm = datamodel().class("VM").expect("VM").id;
        let set = Type::Set(Box::new(Type::Ref(vm)));
        assert_eq!(parse("VM ref set"), Some(set.clone()));
        assert!(set.holds_refs());
        assert_eq!(set.notation(datamodel()), "VM ref set");
        assert_eq!(
            parse("(int -> string set) map"),
            Some(Type::Map(Box::new(Type::Int), Box::new(Type::Set(Box::new(Type::String)))))
        );
        assert_eq!(parse("string option"), Some(Type::Option(Box::new(Type::String))));
        assert_eq!(parse("enum vm_power_state"), Some(Type::Enum(EnumId(3))));
        for wrong in ["", "strin", "Nope ref", "(string) map", "enum nope", "set"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
