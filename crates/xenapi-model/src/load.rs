//! Parses `facts.json` into a [`Datamodel`].

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::{
    Call, CallKind, Class, ClassId, Datamodel, EnumId, Enumeration, FailureCode, Field,
    HttpHandler, Lifecycle, Param, Qualifier, Release, Roles, State, Type,
};

/// A JSON object as pairs, in the order of the text (the order of fields is a fact too).
struct Pairs<T>(Vec<(String, T)>);

impl<T> Default for Pairs<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for PairsVisitor<T> {
            type Value = Pairs<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::with_capacity(map.size_hint().unwrap_or_default());
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor(PhantomData))
    }
}

#[derive(serde::Deserialize)]
struct Facts {
    releases: Vec<Release>,
    roles: Vec<String>,
    classes: Pairs<ClassFacts>,
    enums: Pairs<Vec<String>>,
    relations: Vec<[String; 2]>,
    errors: Pairs<Vec<String>>,
    http_handlers: Vec<HttpHandler>,
}

#[derive(serde::Deserialize)]
struct LifecycleFacts {
    state: State,
    since: String,
    deprecated: Option<String>,
    removed: Option<String>,
}

impl From<LifecycleFacts> for Lifecycle {
    fn from(facts: LifecycleFacts) -> Self {
        let LifecycleFacts { state, since, deprecated, removed } = facts;
        Self { state, since, deprecated, removed }
    }
}

#[derive(serde::Deserialize)]
struct ClassFacts {
    #[serde(default)]
    in_database: bool,
    #[serde(default)]
    gen_events: bool,
    #[serde(default)]
    get_all: bool,
    #[serde(default)]
    constructor: bool,
    #[serde(flatten)]
    lifecycle: LifecycleFacts,
    #[serde(default)]
    fields: Pairs<FieldFacts>,
    #[serde(default)]
    calls: Pairs<CallFacts>,
}

#[derive(serde::Deserialize)]
struct FieldFacts {
    r#type: String,
    qualifier: Qualifier,
    #[serde(default, deserialize_with = "present")]
    default: Option<Value>,
    #[serde(default)]
    map_keys_roles: Pairs<Vec<String>>,
    #[serde(flatten)]
    lifecycle: LifecycleFacts,
}

#[derive(serde::Deserialize)]
struct CallFacts {
    kind: CallKind,
    #[serde(default = "yes")]
    session: bool,
    #[serde(default)]
    r#async: bool,
    #[serde(default)]
    params: Vec<ParamFacts>,
    result: Option<String>,
    #[serde(default)]
    errors: Vec<String>,
    #[serde(default)]
    roles: Vec<usize>,
    #[serde(default)]
    map_keys_roles: Pairs<Vec<String>>,
    #[serde(default)]
    hidden_from_docs: bool,
    #[serde(default)]
    pool_internal: bool,
    #[serde(default)]
    secret: bool,
    #[serde(default)]
    emergency_call: bool,
    #[serde(flatten)]
    lifecycle: LifecycleFacts,
}

#[derive(serde::Deserialize)]
struct ParamFacts {
    name: String,
    r#type: String,
    #[serde(default, deserialize_with = "present")]
    default: Option<Value>,
}

fn yes() -> bool {
    true
}

/// Tells a default of null from no default.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Finds ids by name while the datamodel is being put together.
struct Names {
    classes: HashMap<String, ClassId>,
    enums: HashMap<String, EnumId>,
    roles: Vec<String>,
}

impl Names {
    fn ty(&self, notation: &str) -> Type {
        Type::parse(notation, &|n| self.classes.get(n).copied(), &|n| self.enums.get(n).copied())
            .unwrap_or_else(|| panic!("facts.json: unknown type {notation:?}"))
    }

    fn roles(&self, names: &[String]) -> Roles {
        let bit = |name| self.roles.iter().position(|role| role == name);
        Roles(names.iter().filter_map(bit).fold(0, |set, index| set | 1 << index))
    }

    fn keys(&self, keys: Pairs<Vec<String>>) -> Vec<(String, Roles)> {
        keys.0.into_iter().map(|(key, roles)| (key, self.roles(&roles))).collect()
    }

    fn class(&self, index: usize, name: String, facts: ClassFacts) -> Class {
        let fields: Vec<Field> =
            facts.fields.0.into_iter().map(|(name, field)| self.field(name, field)).collect();
        let calls: Vec<Call> =
            facts.calls.0.into_iter().map(|(call, f)| self.call(&name, call, f)).collect();
        Class {
            id: class_id(index),
            field_names: index_by(fields.iter().map(|field| &field.name)),
            call_names: index_by(calls.iter().map(|call| &call.name)),
            in_database: facts.in_database,
            gen_events: facts.gen_events,
            get_all: facts.get_all,
            constructor: facts.constructor,
            lifecycle: facts.lifecycle.into(),
            name,
            fields,
            calls,
        }
    }

    fn field(&self, name: String, facts: FieldFacts) -> Field {
        Field {
            name,
            ty: self.ty(&facts.r#type),
            qualifier: facts.qualifier,
            default: facts.default,
            map_keys_roles: self.keys(facts.map_keys_roles),
            lifecycle: facts.lifecycle.into(),
        }
    }

    fn call(&self, class: &str, name: String, facts: CallFacts) -> Call {
        let param = |facts: ParamFacts| Param {
            name: facts.name,
            ty: self.ty(&facts.r#type),
            default: facts.default,
        };
        Call {
            wire_name: format!("{class}.{name}"),
            name,
            kind: facts.kind,
            session: facts.session,
            has_async: facts.r#async,
            params: facts.params.into_iter().map(param).collect(),
            result: facts.result.map(|notation| self.ty(&notation)),
            failures: facts.errors,
            roles: Roles(facts.roles.iter().fold(0, |set, index| set | 1 << index)),
            map_keys_roles: self.keys(facts.map_keys_roles),
            hidden: facts.hidden_from_docs,
            pool_internal: facts.pool_internal,
            secret: facts.secret,
            emergency: facts.emergency_call,
            lifecycle: facts.lifecycle.into(),
        }
    }
}

fn class_id(index: usize) -> ClassId {
    ClassId(u16::try_from(index).unwrap_or(u16::MAX))
}

fn index_by<'a>(names: impl Iterator<Item = &'a String>) -> HashMap<String, usize> {
    names.enumerate().map(|(index, name)| (name.clone(), index)).collect()
}

/// Parses the facts.
///
/// # Panics
///
/// When `facts.json`, a part of this program, is damaged.
pub(super) fn load() -> Datamodel {
    let facts: Facts =
        serde_json::from_str(include_str!("facts.json")).expect("facts.json is well formed");
    let names = Names {
        classes: facts
            .classes
            .0
            .iter()
            .enumerate()
            .map(|(i, c)| (c.0.clone(), class_id(i)))
            .collect(),
        enums: facts.enums.0.iter().zip(0..).map(|(e, i)| (e.0.clone(), EnumId(i))).collect(),
        roles: facts.roles.clone(),
    };
    let end = |end: &str| {
        let (class, field) = end.split_once('.')?;
        Some((*names.classes.get(class)?, field.to_owned()))
    };
    let relations = facts
        .relations
        .iter()
        .map(|[one, two]| Some([end(one)?, end(two)?]))
        .map(|relation| relation.expect("facts.json: relations name known classes"))
        .collect();
    let classes = facts.classes.0.into_iter().enumerate();
    let classes: Vec<Class> = classes.map(|(i, (name, c))| names.class(i, name, c)).collect();
    let failures: Vec<FailureCode> =
        facts.errors.0.into_iter().map(|(code, params)| FailureCode { code, params }).collect();
    Datamodel {
        releases: facts.releases,
        roles: facts.roles,
        classes,
        enums: facts
            .enums
            .0
            .into_iter()
            .map(|(name, values)| Enumeration { name, values })
            .collect(),
        relations,
        failure_names: index_by(failures.iter().map(|failure| &failure.code)),
        failures,
        http_handlers: facts.http_handlers,
        class_names: names.classes,
    }
}
