//! Messages: what the pool tells people. XAPI keeps them beside its database, so they have no
//! generic getters.

use crate::database::{Text, Value};
use crate::edit::Edit;
use crate::protocol::Failure;
use crate::state::State;

use super::effect::Effect;
use super::request::{Request, void};

/// XAPI keeps no more messages than these.
const KEPT: usize = 10_000;

/// What a call of this class changes, or reads: each is one of its own.
pub(super) fn effect(call: &str) -> Option<Effect> {
    Some(match call {
        "create" => Effect::AtOnce(create),
        "destroy" => Effect::AtOnce(destroy),
        "destroy_many" => Effect::AtOnce(destroy_many),
        "destroy_all" => Effect::AtOnce(destroy_all),
        "get" => Effect::AtOnce(get),
        "get_since" => Effect::AtOnce(|_, edit, request| {
            let since = request.text(0).clone();
            Ok(records(edit, |edit, message| *edit.text("message", message, "timestamp") > since))
        }),
        "get_all" => Effect::AtOnce(|_, edit, _| Ok(Value::texts(newest_first(edit)))),
        "get_all_records" | "get_all_records_where" => {
            Effect::AtOnce(|_, edit, _| Ok(records(edit, |_, _| true)))
        }
        "get_record" => Effect::AtOnce(|_, edit, request| {
            let message = request.object(edit, 0, "message")?;
            Ok(record(edit, &message))
        }),
        "get_by_uuid" => Effect::AtOnce(|_, edit, request| {
            let found = edit.by_uuid("message", request.text(0)).map(Value::Text);
            found.ok_or_else(|| Failure::new("UUID_INVALID", ["message", request.text(0)]))
        }),
        _ => return None,
    })
}

/// Tells of something that happened to a VM.
pub(super) fn tell(edit: &mut Edit<'_>, name: &str, vm: &str, what: &str) {
    let (label, uuid) = (edit.text("VM", vm, "name_label"), edit.text("VM", vm, "uuid").clone());
    let body = format!("VM '{label}' (uuid: {uuid}) {what}");
    add(edit, name, 5, "VM", &uuid, &body);
}

/// Makes a message.
fn add(
    edit: &mut Edit<'_>,
    name: &str,
    priority: i64,
    class: &str,
    uuid: &str,
    body: &str,
) -> Text {
    if edit.count("message") >= KEPT {
        for old in newest_first(edit).into_iter().skip(KEPT - 1) {
            edit.destroy("message", &old);
        }
    }
    let fields = [
        ("name", Value::text(name)),
        ("priority", Value::Int(priority)),
        ("cls", Value::text(class)),
        ("obj_uuid", Value::text(uuid)),
        ("timestamp", edit.now()),
        ("body", Value::text(body)),
    ];
    edit.add("message", &fields)
}

/// The class of the objects that a kind of message is about.
fn class_of(kind: &str) -> &str {
    match kind {
        "Host" => "host",
        "Pool" => "pool",
        kind => kind,
    }
}

fn check_uuid(edit: &Edit<'_>, kind: &str, uuid: &str) -> Result<(), Failure> {
    if edit.by_uuid(class_of(kind), uuid).is_some() {
        Ok(())
    } else {
        Err(Failure::new("UUID_INVALID", [kind, uuid]))
    }
}

fn create(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let (name, kind) = (request.text(0), request.text(2));
    let (uuid, body) = (request.text(3), request.text(4));
    check_uuid(edit, kind, uuid)?;
    Ok(Value::Text(add(edit, name, request.int(1), kind, uuid, body)))
}

fn destroy(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let message = request.object(edit, 0, "message")?;
    edit.destroy("message", &message);
    Ok(void())
}

fn destroy_many(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let Some(Value::Set(messages)) = request.args.first() else { return Ok(void()) };
    for message in messages.iter().filter_map(Value::as_text) {
        if !edit.has("message", message) {
            return Err(Failure::new("HANDLE_INVALID", ["message", message]));
        }
        edit.destroy("message", message);
    }
    Ok(void())
}

fn destroy_all(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let filter = |name| request.entry(0, name).and_then(Value::as_text).cloned();
    let (before, after, priority) = (filter("before"), filter("after"), filter("priority"));
    for message in edit.all("message") {
        let sent = edit.text("message", &message, "timestamp");
        let fits = before.as_ref().is_none_or(|before| sent < before)
            && after.as_ref().is_none_or(|after| sent > after)
            && priority.as_ref().is_none_or(|priority| {
                priority.parse() == Ok(edit.int("message", &message, "priority"))
            });
        if fits {
            edit.destroy("message", &message);
        }
    }
    Ok(void())
}

fn get(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let (kind, uuid, since) = (request.text(0), request.text(1), request.text(2));
    check_uuid(edit, kind, uuid).map_err(|_| Failure::new::<&str>("UUID_INVALID", []))?;
    Ok(records(edit, |edit, message| {
        edit.text("message", message, "cls") == kind
            && edit.text("message", message, "obj_uuid") == uuid
            && edit.text("message", message, "timestamp") > since
    }))
}

fn newest_first(edit: &Edit<'_>) -> Vec<Text> {
    let mut messages = edit.all("message");
    messages.sort_by_cached_key(|message| std::cmp::Reverse(edit.created("message", message)));
    messages
}

fn record(edit: &Edit<'_>, message: &str) -> Value {
    let fields = edit.record("message", message).unwrap_or_default();
    Value::Map(fields.into_iter().map(|(name, value)| (Value::text(name), value)).collect())
}

fn records(edit: &Edit<'_>, which: impl Fn(&Edit<'_>, &str) -> bool) -> Value {
    let wanted = newest_first(edit).into_iter().filter(|message| which(edit, message));
    Value::Map(wanted.map(|m| (Value::Text(m.clone()), record(edit, &m))).collect())
}
