//! A checked call, what it comes to, and the words that every group of calls shares.

use crate::database::{Database, NULL, Object, Text, Value};
use crate::edit::Edit;
use crate::protocol::{Failure, Output};
use crate::sessions::Session;
use xenapi_model::{Call as Known, CallKind, Class, Roles};

/// A call whose arguments and caller have been checked.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) class: &'static Class,
    pub(super) known: &'static Known,
    pub(super) session: Option<(Text, Session)>,
    pub(super) args: Vec<Value>,
    pub(super) asynchronous: bool,
}

impl Request {
    /// An argument that the datamodel says is text.
    pub(super) fn text(&self, index: usize) -> &Text {
        static EMPTY: std::sync::LazyLock<Text> = std::sync::LazyLock::new(|| "".into());
        self.args.get(index).and_then(Value::as_text).unwrap_or(&EMPTY)
    }

    /// An argument that the datamodel says is a bool.
    pub(super) fn flag(&self, index: usize) -> bool {
        matches!(self.args.get(index), Some(Value::Bool(true)))
    }

    /// An argument that the datamodel says is a number.
    pub(super) fn int(&self, index: usize) -> i64 {
        match self.args.get(index) {
            Some(Value::Int(int)) => *int,
            _ => 0,
        }
    }

    /// An argument, whatever it is.
    pub(super) fn value(&self, index: usize) -> Value {
        self.args.get(index).cloned().unwrap_or_else(void)
    }

    /// What the map at `index` has under a key.
    pub(super) fn entry(&self, index: usize, key: &str) -> Option<&Value> {
        let Some(Value::Map(pairs)) = self.args.get(index) else { return None };
        let found = pairs.iter().find(|(name, _)| name.as_text().is_some_and(|n| **n == *key));
        found.map(|(_, value)| value)
    }

    /// The object that an argument names, which must be there.
    pub(super) fn object(
        &self,
        edit: &Edit<'_>,
        index: usize,
        class: &str,
    ) -> Result<Text, Failure> {
        let reference = self.text(index);
        if edit.has(class, reference) {
            return Ok(reference.clone());
        }
        Err(Failure::new("HANDLE_INVALID", [class, reference]))
    }

    /// As [`Request::object`], or nothing where the argument is the ref that names none.
    pub(super) fn optional(
        &self,
        edit: &Edit<'_>,
        index: usize,
        class: &str,
    ) -> Result<Option<Text>, Failure> {
        if &**self.text(index) == NULL {
            return Ok(None);
        }
        self.object(edit, index, class).map(Some)
    }

    pub(super) fn handle_invalid(&self) -> Failure {
        Failure::new("HANDLE_INVALID", [&*self.class.name, self.text(0)])
    }
}

/// A result, still in the database.
#[derive(Debug)]
pub(super) enum Answer<'a> {
    Value(Value),
    Borrowed(&'a Value),
    Record(&'static Class, &'a Object),
    Records(&'static Class, Vec<&'a Object>),
    Refs(Vec<Text>),
}

impl Answer<'_> {
    pub(super) fn write(&self, out: &mut Output) {
        match self {
            Self::Value(value) => out.value(value),
            Self::Borrowed(value) => out.value(value),
            Self::Record(class, object) => out.record(class, object),
            Self::Records(class, objects) => {
                out.begin_struct();
                for object in objects {
                    out.member(object.reference(), |out| out.record(class, object));
                }
                out.end();
            }
            Self::Refs(refs) => out.strings(refs.iter().map(|r| &**r)),
        }
    }
}

/// The result of a call that has none.
pub(super) fn void() -> Value {
    Value::text("")
}

impl Output {
    /// Writes a record.
    pub(crate) fn record(&mut self, class: &Class, object: &Object) {
        self.begin_struct();
        for (field, value) in class.fields.iter().zip(object.fields()) {
            self.member(&field.name, |out| out.value(value));
        }
        self.end();
    }
}

/// What XAPI answers to somebody without a permission.
pub(super) fn denied(permission: impl Into<String>, roles: Roles) -> Failure {
    let names: Vec<_> = roles.names().collect();
    let text = format!(
        "No permission in user session. (Roles with this permission: {})",
        names.join(", ")
    );
    Failure::new("RBAC_PERMISSION_DENIED", [permission.into(), text])
}

/// Calls that the simulator does not carry out say so.
pub(super) fn not_implemented(known: &Known) -> Failure {
    Failure::new("NOT_IMPLEMENTED", [&*known.wire_name])
}

/// Whether a call of this kind only reads, whatever its name.
pub(super) fn only_reads(kind: CallKind) -> bool {
    use CallKind::{
        FieldGet, GetAll, GetAllRecords, GetAllRecordsWhere, GetAllWhere, GetByNameLabel,
        GetByUuid, GetRecord,
    };
    matches!(
        kind,
        FieldGet
            | GetAll
            | GetAllRecords
            | GetAllRecordsWhere
            | GetAllWhere
            | GetByNameLabel
            | GetByUuid
            | GetRecord
    )
}

/// The object that a call's first argument names.
pub(super) fn object<'a>(db: &'a Database, request: &Request) -> Result<&'a Object, Failure> {
    let table = db.table(request.class.id);
    table.get(request.text(0)).ok_or_else(|| request.handle_invalid())
}
