//! The Xen-API as facts: classes, fields, calls, roles, failures.
//!
//! `facts.json` is made by `examples/facts.rs`; [`datamodel()`] parses it once; everything that is typed in xengate (records, routes,
//! the OpenAPI document, the simulator's defaults) comes from here, so a class is never written
//! out by hand. This floor knows nothing of connections, records or HTTP.

mod describe;
mod load;
mod secrets;
mod types;

pub use describe::{Description, describe};
pub use secrets::{
    HIDDEN, is_hidden_key, is_secret_field, may_name_hidden, without_console_passwords,
};
pub use types::Type;

use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::Value;

/// Every fact of the Xen-API.
#[derive(Debug)]
pub struct Datamodel {
    /// Releases, oldest first.
    pub releases: Vec<Release>,
    /// Role names, strongest first.
    pub roles: Vec<String>,
    /// Classes in the order of the source; [`ClassId`] is the index.
    pub classes: Vec<Class>,
    /// Enumerations; [`EnumId`] is the index.
    pub enums: Vec<Enumeration>,
    /// Pairs of `(class, field)` that are the two ends of one relation.
    pub relations: Vec<[(ClassId, String); 2]>,
    /// Failure codes and the names of their parameters.
    pub failures: Vec<FailureCode>,
    /// XAPI's HTTP handlers beside RPC.
    pub http_handlers: Vec<HttpHandler>,
    class_names: HashMap<String, ClassId>,
    failure_names: HashMap<String, usize>,
}

/// A release: its code name, API version and product.
#[derive(Debug, serde::Deserialize)]
pub struct Release {
    /// `rio`, `tampa`, …; some were never named.
    pub code_name: Option<String>,
    /// `2.23`.
    pub api_version: String,
    /// The product's name.
    pub branding: String,
}

/// A class, by its place in [`Datamodel::classes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClassId(pub u16);

/// An enumeration, by its place in [`Datamodel::enums`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EnumId(pub u16);

/// An enumeration and the values it had when these facts were taken; a server may know more.
#[derive(Debug)]
pub struct Enumeration {
    /// `vm_power_state`.
    pub name: String,
    /// `Halted`, `Paused`, …
    pub values: Vec<String>,
}

/// A class of the Xen-API.
#[derive(Debug)]
pub struct Class {
    /// Its place in the datamodel.
    pub id: ClassId,
    /// `VM`, `host`, `VM_metrics`: the wire's spelling, case included.
    pub name: String,
    /// Lives in XAPI's database, with refs and records.
    pub in_database: bool,
    /// `event.from` reports its changes.
    pub gen_events: bool,
    /// Has `get_all` and `get_all_records`.
    pub get_all: bool,
    /// Has `create` and `destroy`.
    pub constructor: bool,
    /// Since when, and whether still.
    pub lifecycle: Lifecycle,
    /// Fields in the datamodel's order.
    pub fields: Vec<Field>,
    /// Calls in the datamodel's order.
    pub calls: Vec<Call>,
    field_names: HashMap<String, usize>,
    call_names: HashMap<String, usize>,
}

/// The life of a class, field or call; releases by code name.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    /// Where it stands now.
    pub state: State,
    /// The release that brought it.
    pub since: String,
    /// The release that deprecated it.
    pub deprecated: Option<String>,
    /// The release that removed it.
    pub removed: Option<String>,
}

/// The state a life cycle has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Not promised yet.
    Prototyped,
    /// Promised.
    Published,
    /// Still there, to go.
    Deprecated,
    /// Gone.
    Removed,
}

/// A field of a class's record.
#[derive(Debug)]
pub struct Field {
    /// `name_label`.
    pub name: String,
    /// What it holds.
    pub ty: Type,
    /// Who may set it, and when.
    pub qualifier: Qualifier,
    /// Its default as plain JSON, or tagged (`{"enum": …}`, `{"ref": …}`, `{"set": …}`, …).
    pub default: Option<Value>,
    /// Map keys that need other roles than the field itself.
    pub map_keys_roles: Vec<(String, Roles)>,
    /// Since when, and whether still.
    pub lifecycle: Lifecycle,
}

/// Who may set a field, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub enum Qualifier {
    /// Settable.
    #[serde(rename = "RW")]
    ReadWrite,
    /// Given when the object is made.
    #[serde(rename = "RO/constructor")]
    Constructor,
    /// Kept by the server.
    #[serde(rename = "RO/runtime")]
    Runtime,
}

/// A call of a class.
#[derive(Debug)]
pub struct Call {
    /// `start`; on the wire `VM.start`.
    pub name: String,
    /// `VM.start`.
    pub wire_name: String,
    /// What the datamodel derives it from, or `Custom`.
    pub kind: CallKind,
    /// Takes a session as its first argument (which [`Call::params`] leaves out).
    pub session: bool,
    /// Has an `Async.` form.
    pub has_async: bool,
    /// Parameters, without the session.
    pub params: Vec<Param>,
    /// What it returns; `None` is void.
    pub result: Option<Type>,
    /// Failure codes its documentation names.
    pub failures: Vec<String>,
    /// Roles that may call it.
    pub roles: Roles,
    /// Map keys that need other roles (of `add_to_…` and `remove_from_…`).
    pub map_keys_roles: Vec<(String, Roles)>,
    /// Not in the public documentation.
    pub hidden: bool,
    /// For hosts of a pool among themselves.
    pub pool_internal: bool,
    /// Carries a secret in its arguments or its result.
    pub secret: bool,
    /// Answered by a host in emergency mode.
    pub emergency: bool,
    /// Since when, and whether still.
    pub lifecycle: Lifecycle,
}

impl Call {
    /// Whether it tells the time of some place, without saying how far from UTC that is.
    pub fn returns_local_time(&self) -> bool {
        self.wire_name == "host.get_server_localtime"
    }

    /// Whether it changes nothing, going by what it derives from and by its name.
    pub fn only_reads(&self) -> bool {
        match self.kind {
            CallKind::FieldGet
            | CallKind::GetAll
            | CallKind::GetAllWhere
            | CallKind::GetAllRecords
            | CallKind::GetAllRecordsWhere
            | CallKind::GetRecord
            | CallKind::GetByUuid
            | CallKind::GetByNameLabel => true,
            CallKind::Custom => ["get_", "query_"].iter().any(|how| self.name.starts_with(how)),
            CallKind::FieldSet
            | CallKind::FieldAdd
            | CallKind::FieldRemove
            | CallKind::Create
            | CallKind::Destroy => false,
        }
    }
}

/// What a call derives from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the Xen-API's own")]
pub enum CallKind {
    Custom,
    FieldGet,
    FieldSet,
    FieldAdd,
    FieldRemove,
    GetAll,
    GetAllWhere,
    GetAllRecords,
    GetAllRecordsWhere,
    GetRecord,
    GetByUuid,
    GetByNameLabel,
    Create,
    Destroy,
}

/// A parameter of a call.
#[derive(Debug)]
pub struct Param {
    /// `start_paused`.
    pub name: String,
    /// What it takes.
    pub ty: Type,
    /// May be left out at the end of the list; its default.
    pub default: Option<Value>,
}

/// A set of roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Roles(pub u8);

impl Roles {
    /// Whether the role at `index` of [`Datamodel::roles`] is in the set.
    pub fn contains(self, index: usize) -> bool {
        index < 8 && self.0 & (1 << index) != 0
    }

    /// The names of the set's roles, strongest first.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        datamodel()
            .roles
            .iter()
            .enumerate()
            .filter(move |(index, _)| self.contains(*index))
            .map(|(_, name)| name.as_str())
    }
}

/// A failure code and what its parameters are called.
#[derive(Debug)]
pub struct FailureCode {
    /// `VM_BAD_POWER_STATE`.
    pub code: String,
    /// `vm`, `expected`, `actual`.
    pub params: Vec<String>,
}

/// One of XAPI's HTTP handlers.
#[derive(Debug, serde::Deserialize)]
pub struct HttpHandler {
    /// `put_import`.
    pub name: String,
    /// `PUT`.
    pub method: String,
    /// `/import`.
    pub uri: String,
    /// Roles that may use it, by name.
    #[serde(default)]
    pub roles: Vec<String>,
}

/// The facts, parsed on first use.
pub fn datamodel() -> &'static Datamodel {
    static DATAMODEL: OnceLock<Datamodel> = OnceLock::new();
    DATAMODEL.get_or_init(load::load)
}

impl Datamodel {
    /// The class of this exact name.
    pub fn class(&self, name: &str) -> Option<&Class> {
        self.class_names.get(name).map(|id| self.get(*id))
    }

    /// The class that events call by this lower-case name.
    pub fn class_of_event(&self, name: &str) -> Option<&Class> {
        self.class(name)
            .or_else(|| self.classes.iter().find(|class| class.name.eq_ignore_ascii_case(name)))
    }

    /// The class with this id.
    pub fn get(&self, id: ClassId) -> &Class {
        &self.classes[usize::from(id.0)]
    }

    /// The enumeration with this id.
    pub fn enumeration(&self, id: EnumId) -> &Enumeration {
        &self.enums[usize::from(id.0)]
    }

    /// The failure code of this name.
    pub fn failure(&self, code: &str) -> Option<&FailureCode> {
        self.failure_names.get(code).map(|index| &self.failures[*index])
    }

    /// The call of this wire name: `VM.start`.
    pub fn call(&self, wire_name: &str) -> Option<(&Class, &Call)> {
        let (class, call) = wire_name.split_once('.')?;
        let class = self.class(class)?;
        Some((class, class.call(call)?))
    }
}

impl Class {
    /// The field of this name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.field_index(name).map(|index| &self.fields[index])
    }

    /// The place of the field of this name in [`Class::fields`].
    pub fn field_index(&self, name: &str) -> Option<usize> {
        self.field_names.get(name).copied()
    }

    /// The call of this name, without the class: `start`.
    pub fn call(&self, name: &str) -> Option<&Call> {
        self.call_names.get(name).map(|index| &self.calls[*index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_are_whole() {
        let model = datamodel();
        assert_eq!(model.classes.len(), 73);
        assert_eq!(model.classes.iter().map(|c| c.fields.len()).sum::<usize>(), 921);
        assert_eq!(model.classes.iter().map(|c| c.calls.len()).sum::<usize>(), 2258);
        assert_eq!(model.enums.len(), 75);
        assert_eq!(model.failures.len(), 605);
        assert_eq!(model.http_handlers.len(), 57);
        assert_eq!(model.relations.len(), 64);
    }

    #[test]
    fn names_are_found_as_the_wire_spells_them() {
        let model = datamodel();
        let vm = model.class("VM").expect("VM");
        assert_eq!(model.class_of_event("vm").map(|c| c.id), Some(vm.id));
        assert!(model.class("vm").is_none());
        let (class, start) = model.call("VM.start").expect("VM.start");
        assert_eq!(class.id, vm.id);
        assert_eq!(start.params[1].name, "start_paused");
        assert!(start.has_async && start.session && start.result.is_none());
        assert_eq!(model.roles[0], "pool-admin");
        assert!(start.roles.contains(0));
        assert!(!start.roles.names().any(|role| role == "read-only"));
        let login = model.call("session.login_with_password").expect("login").1;
        assert!(!login.session && login.params[3].default.is_some());
        assert_eq!(model.failure("VM_BAD_POWER_STATE").map(|f| f.params.len()), Some(3));
    }
}
