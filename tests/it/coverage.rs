//! Every class, field and call of the Xen-API is reachable over HTTP, or stands in
//! `openapi/unreachable.txt` with the reason. That list may only shrink.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use xengate::datamodel::{Call, CallKind, Class, Field, datamodel};
use xengate::http::api::catalog::collections::{Source, calls_of, collection_of, reason_for_none};
use xengate::ops::actions::{NoAction, action};
use xengate::ops::{create, patch};

/// How many lines the list has. Lower it when the list shrinks; it never grows.
const UNREACHABLE: usize = 267;

/// Why a client cannot reach a call, or nothing when they can.
fn reason(class: &'static Class, call: &'static Call) -> Option<String> {
    let Some(collection) = collection_of(&class.name) else {
        return match action(class, &call.name) {
            Ok(_) if calls_of(&class.name).is_some() => None,
            Err(NoAction::Excluded(reason)) => Some(reason.to_string()),
            _ => Some(reason_for_none(&class.name).expect("a path or a reason").to_owned()),
        };
    };
    let writes = |field: &str| {
        let field = class.field(field)?;
        patch::writing(class, field).map(|writing| writing.calls(field))
    };
    let patched = |prefix: &str| {
        let field = call.name.strip_prefix(prefix)?;
        writes(field)
    };
    let serves =
        |calls: Option<Vec<&str>>| calls.is_some_and(|calls| calls.contains(&&*call.wire_name));
    match call.kind {
        CallKind::Custom => match action(class, &call.name) {
            Ok(_) => None,
            Err(NoAction::Excluded(reason)) => Some(reason.to_string()),
            Err(NoAction::Unknown) => Some("a custom call that is no action".to_owned()),
        },
        // Reading a collection or an object answers what these do.
        CallKind::GetRecord | CallKind::GetByUuid | CallKind::FieldGet => None,
        CallKind::GetAll | CallKind::GetAllRecords | CallKind::GetByNameLabel => None,
        // Filters are the gateway's own; the backend's query language is not passed through.
        CallKind::GetAllWhere | CallKind::GetAllRecordsWhere => {
            (collection.source != Source::Mirror).then(|| "the whole list can be read".to_owned())
        }
        CallKind::FieldSet if serves(patched("set_")) => None,
        CallKind::FieldAdd if serves(patched("add_to_").or_else(|| patched("add_"))) => None,
        CallKind::FieldRemove if serves(patched("remove_from_").or_else(|| patched("remove_"))) => {
            None
        }
        CallKind::FieldSet | CallKind::FieldAdd | CallKind::FieldRemove => Some(hidden(call)),
        CallKind::Create => create::constructor(class).is_none().then(|| hidden(call)),
        CallKind::Destroy => create::destructor(class).is_none().then(|| hidden(call)),
    }
}

/// Why a derived call is not for clients.
fn hidden(call: &Call) -> String {
    let why = match call.lifecycle.removed {
        Some(_) => "it is no longer in the Xen-API",
        None if call.hidden => "it is not in the Xen-API's public documentation",
        None if call.pool_internal => "it is for the hosts of a pool among themselves",
        None => "kept by the pool, whatever its setter says",
    };
    why.to_owned()
}

/// Why a client cannot read a field, or nothing when they can.
fn unread(class: &Class, _: &Field) -> Option<String> {
    match collection_of(&class.name) {
        Some(_) => None,
        None => reason_for_none(&class.name).map(str::to_owned),
    }
}

#[test]
fn everything_is_reachable_or_has_a_reason() {
    let (mut list, mut counts) = (String::new(), BTreeMap::new());
    let (mut fields, mut calls, mut reached) = (0, 0, (0, 0));
    for class in &datamodel().classes {
        for field in &class.fields {
            fields += 1;
            match unread(class, field) {
                None => reached.0 += 1,
                Some(reason) => _ = writeln!(list, "{}#{}: {reason}", class.name, field.name),
            }
        }
        for call in &class.calls {
            calls += 1;
            match reason(class, call) {
                None => reached.1 += 1,
                Some(reason) => {
                    _ = writeln!(list, "{}: {reason}", call.wire_name);
                    *counts.entry(reason).or_insert(0) += 1;
                }
            }
        }
    }
    println!("fields: {} of {fields}, calls: {} of {calls}", reached.0, reached.1);
    for (reason, count) in counts {
        println!("{count:4} {reason}");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi/unreachable.txt");
    if std::env::var_os("XENGATE_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&path, &list).expect("written");
    }
    let known = std::fs::read_to_string(&path).expect("the list");
    assert_eq!(list, known, "run with XENGATE_BLESS=1 and read what changed");
    assert!(known.lines().count() <= UNREACHABLE, "{} lines", known.lines().count());
}
