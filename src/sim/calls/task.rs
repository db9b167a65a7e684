//! Tasks that clients make for themselves.

use crate::datamodel::datamodel;
use crate::sim::database::{Database, Text, Value};
use crate::sim::protocol::Failure;
use crate::sim::state::State;

use super::{Answer, Request, object};

/// `task.create`.
pub(super) fn create(
    state: &State,
    db: &mut Database,
    request: &Request,
) -> Result<Answer<'static>, Failure> {
    let (label, description) = (request.text(0), request.text(1));
    Ok(Answer::Value(Value::Text(new(state, db, label, description))))
}

/// A task that has just been started.
pub(crate) fn new(state: &State, db: &mut Database, label: &str, description: &str) -> Text {
    let class = datamodel().class("task").expect("the datamodel has tasks");
    let host = datamodel().class("host").and_then(|host| db.table(host.id).iter().next());
    let host = host.map(|host| Value::Text(host.reference().clone()));
    let field = |name: &str, value| class.field_index(name).map(|field| (field, value));
    let reference = state.identifiers.reference();
    let fields = [
        field("name_label", Value::text(label)),
        field("name_description", Value::text(description)),
        field("created", Value::date_time(state.clock.date_time(0))),
        field("status", Value::text("pending")),
        field("type", Value::text("<none/>")),
        host.and_then(|host| field("resident_on", host)),
    ];
    db.create(class, reference.clone(), state.identifiers.uuid(), fields.into_iter().flatten());
    reference
}

/// `task.destroy`.
pub(super) fn destroy(
    _: &State,
    db: &mut Database,
    request: &Request,
) -> Result<Answer<'static>, Failure> {
    object(db, request)?;
    db.destroy(request.class, request.text(0)).map_err(|_| request.handle_invalid())?;
    Ok(Answer::Void)
}
