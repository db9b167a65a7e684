//! Tasks: those that clients make for themselves, and those of `Async.` calls.

use crate::database::{Text, Value};
use crate::edit::Edit;
use crate::protocol::{Failure, Output};
use crate::sessions::Session;
use crate::state::State;
use xenapi_model::{Roles, datamodel};

use super::effect::{Effect, plain_field, set_field};
use super::request::{Request, denied, not_implemented, object, void};

/// XAPI keeps no more finished tasks than these.
const KEPT: usize = 200;

/// What a call of this class changes.
pub(super) fn effect(call: &str) -> Option<Effect> {
    Some(match call {
        "create" => Effect::AtOnce(create),
        "destroy" => Effect::AtOnce(destroy),
        "cancel" => Effect::AtOnce(cancel),
        _ if call.contains("set_") || call.contains("other_config") => Effect::AtOnce(set),
        _ => return None,
    })
}

/// A task that has just been started.
pub(super) fn new(
    state: &State,
    edit: &mut Edit<'_>,
    label: &str,
    description: &str,
    session: Option<&(Text, Session)>,
) -> Text {
    forget_old(edit);
    let host = edit.first("host").map_or_else(|| Value::text(""), Value::Text);
    let fields = [
        ("name_label", Value::text(label)),
        ("name_description", Value::text(description)),
        ("created", edit.now()),
        ("status", Value::text("pending")),
        ("type", Value::text("<none/>")),
        ("resident_on", host),
    ];
    let task = edit.add("task", &fields);
    if let Some((_, session)) = session {
        let alive = |task: &str| edit.has("task", task);
        state.running.note_owner(&task, &session.user, alive);
    }
    task
}

/// Ends a task, unless it has ended or is kept from records.
pub(super) fn complete(edit: &mut Edit<'_>, task: &str, result: &Result<Value, Failure>) {
    if &**edit.text("task", task, "status") != "pending" {
        return;
    }
    let status = match result {
        Ok(_) => "success",
        Err(failure) if failure.code == "TASK_CANCELLED" => "cancelled",
        Err(_) => "failure",
    };
    let mut fields = vec![
        ("allowed_operations", Value::Set(Vec::new())),
        ("finished", edit.now()),
        ("progress", Value::Float(1.0)),
        ("status", Value::text(status)),
    ];
    match (result, status) {
        (Ok(value), _) => fields.push(("result", Value::text(Output::xml(value)))),
        (Err(failure), "failure") => {
            let whole = std::iter::once(&failure.code).chain(&failure.params);
            fields.push(("error_info", Value::texts(whole.map(String::as_str))));
        }
        // Why it was cancelled need not be said.
        (Err(_), _) => {}
    }
    edit.set_all("task", task, &fields);
    let asked = edit.pairs("task", task, "current_operations").iter();
    if asked.clone().any(|(_, operation)| operation.as_text().is_some_and(|o| &**o == "destroy")) {
        edit.destroy("task", task);
    }
}

/// `task.create`.
fn create(state: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let session = request.session.as_ref();
    Ok(Value::Text(new(state, edit, request.text(0), request.text(1), session)))
}

/// `task.destroy`. One that still runs goes when it ends.
fn destroy(state: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let task = check_owner(state, edit, request)?;
    if matches!(&**edit.text("task", &task, "status"), "success" | "failure" | "cancelled") {
        edit.destroy("task", &task);
    } else if state.running.is_running(&task) {
        edit.put("task", &task, "current_operations", "task", Value::text("destroy"));
    } else {
        // Nobody but the client that made it would ever end it.
        edit.destroy("task", &task);
    }
    Ok(void())
}

/// `task.cancel`. What the pool does is cancelled; a client that made the task itself sees that it
/// should stop.
fn cancel(state: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let task = check_owner(state, edit, request)?;
    let this = state.identifiers.reference();
    let asked = Value::Map(vec![(Value::Text(this), Value::text("cancel"))]);
    edit.set("task", &task, "current_operations", asked);
    state.running.cancel(&task);
    Ok(void())
}

/// The setters.
fn set(state: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    check_owner(state, edit, request)?;
    match plain_field(request.class, request.known) {
        Some((change, field)) => set_field(edit, request, change, field),
        None => Err(not_implemented(request.known)),
    }
}

/// The task that a call is about, which must be the caller's own unless the caller may end any.
fn check_owner(state: &State, edit: &Edit<'_>, request: &Request) -> Result<Text, Failure> {
    let task = object(edit.db, request)?.reference().clone();
    let Some((_, session)) = &request.session else { return Ok(task) };
    let roles = may_end_any();
    if session.may(roles) || state.running.is_owned(&task, &session.user) {
        return Ok(task);
    }
    Err(denied("task.destroy/any", roles))
}

/// Who may end tasks of others: no call of the datamodel stands for this permission.
fn may_end_any() -> Roles {
    let roles = datamodel().roles.iter().enumerate();
    Roles(roles.fold(0, |set, (index, name)| match name.as_str() {
        "pool-admin" | "pool-operator" => set | 1 << index,
        _ => set,
    }))
}

/// Makes room for one more.
fn forget_old(edit: &mut Edit<'_>) {
    if edit.count("task") < KEPT {
        return;
    }
    let mut finished = edit.all("task");
    finished.retain(|task| &**edit.text("task", task, "status") != "pending");
    finished.sort_by_cached_key(|task| edit.text("task", task, "finished").clone());
    let surplus = (finished.len() + 1).saturating_sub(KEPT);
    for task in finished.into_iter().take(surplus) {
        edit.destroy("task", &task);
    }
}
