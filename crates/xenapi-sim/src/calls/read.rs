//! Calls that only read: `get_all…`, `get_record`, `get_by_…` and every field's getter.

use crate::database::{Database, Object, Text, Value};
use crate::protocol::Failure;
use xenapi_model::{CallKind, Class};

use super::filter::Filter;
use super::request::{Answer, Request, not_implemented, object};

/// Whether the reply holds a record for each object.
pub(super) fn lists_records(kind: CallKind) -> bool {
    matches!(kind, CallKind::GetAllRecords | CallKind::GetAllRecordsWhere)
}

/// Reads what is asked for.
pub(super) fn carry_out<'a>(db: &'a Database, request: &Request) -> Result<Answer<'a>, Failure> {
    let table = db.table(request.class.id);
    // XAPI gathers rows in the order of their refs and lists them backwards.
    let backwards = || table.iter().rev();
    Ok(match request.known.kind {
        CallKind::GetAll => Answer::Refs(refs(backwards())),
        CallKind::GetAllWhere => Answer::Refs(refs(filtered(db, request)?.into_iter())),
        CallKind::GetAllRecords => Answer::Records(request.class, backwards().collect()),
        CallKind::GetAllRecordsWhere => Answer::Records(request.class, filtered(db, request)?),
        CallKind::GetRecord => Answer::Record(request.class, object(db, request)?),
        CallKind::GetByUuid => {
            let found = table.by_uuid(request.text(0)).ok_or_else(|| {
                Failure::new("UUID_INVALID", [&*request.class.name, request.text(0)])
            })?;
            Answer::Value(Value::Text(found.reference().clone()))
        }
        CallKind::GetByNameLabel => {
            let field = request.class.field_index("name_label");
            let named = |object: &&Object| {
                field.is_some_and(|field| object.fields()[field].as_text() == Some(request.text(0)))
            };
            Answer::Refs(refs(backwards().filter(named)))
        }
        _ => {
            let field = request.known.name.strip_prefix("get_");
            let field = field.and_then(|name| request.class.field_index(name));
            let field = field.ok_or_else(|| not_implemented(request.known))?;
            Answer::Borrowed(&object(db, request)?.fields()[field])
        }
    })
}

/// Reads what is asked for, as a value of its own.
pub(super) fn value(db: &Database, request: &Request) -> Result<Value, Failure> {
    let record = |class: &Class, object: &Object| {
        let fields = class.fields.iter().zip(object.fields());
        Value::Map(fields.map(|(f, v)| (Value::text(f.name.as_str()), v.clone())).collect())
    };
    Ok(match carry_out(db, request)? {
        Answer::Value(value) => value,
        Answer::Borrowed(value) => value.clone(),
        Answer::Refs(refs) => Value::texts(refs),
        Answer::Record(class, object) => record(class, object),
        Answer::Records(class, objects) => {
            let named = |object: &Object| Value::Text(object.reference().clone());
            Value::Map(objects.into_iter().map(|o| (named(o), record(class, o))).collect())
        }
    })
}

fn refs<'a>(objects: impl Iterator<Item = &'a Object>) -> Vec<Text> {
    objects.map(|object| object.reference().clone()).collect()
}

fn filtered<'a>(db: &'a Database, request: &Request) -> Result<Vec<&'a Object>, Failure> {
    let filter = Filter::parse(request.text(0), request.class)?;
    Ok(db.table(request.class.id).iter().rev().filter(|o| filter.holds(o)).collect())
}
