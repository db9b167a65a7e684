//! Subjects, roles and secrets.

use crate::database::{Text, Value};
use crate::edit::Edit;
use crate::protocol::Failure;
use crate::state::State;

use super::effect::Effect;
use super::object::{add, record};
use super::request::{Request, void};

/// What a call of the class `subject` changes.
pub(super) fn subject_effect(call: &str) -> Option<Effect> {
    Some(match call {
        "create" => Effect::AtOnce(create_subject),
        "add_to_roles" => Effect::AtOnce(|_, edit, request| change_roles(edit, request, true)),
        "remove_from_roles" => {
            Effect::AtOnce(|_, edit, request| change_roles(edit, request, false))
        }
        "get_permissions_name_label" => Effect::AtOnce(|_, edit, request| {
            let subject = request.object(edit, 0, "subject")?;
            let roles = edit.texts("subject", &subject, "roles");
            let mut labels: Vec<_> = roles.iter().flat_map(|role| labels(edit, role)).collect();
            labels.sort();
            labels.dedup();
            Ok(Value::texts(labels))
        }),
        _ => return None,
    })
}

/// What a call of the class `role` reads.
pub(super) fn role_effect(call: &str) -> Option<Effect> {
    Some(match call {
        "get_permissions" => Effect::AtOnce(|_, edit, request| {
            let role = request.object(edit, 0, "role")?;
            Ok(Value::texts(permissions(edit, &role)))
        }),
        "get_permissions_name_label" => Effect::AtOnce(|_, edit, request| {
            let role = request.object(edit, 0, "role")?;
            Ok(Value::texts(labels(edit, &role)))
        }),
        "get_by_permission" => Effect::AtOnce(|_, edit, request| {
            let permission = request.object(edit, 0, "role")?;
            Ok(with_permission(edit, |_, known| **known == *permission))
        }),
        "get_by_permission_name_label" => Effect::AtOnce(|_, edit, request| {
            let label = request.text(0);
            Ok(with_permission(edit, |edit, known| edit.text("role", known, "name_label") == label))
        }),
        _ => return None,
    })
}

/// A role is its permissions; a permission is itself.
fn permissions(edit: &Edit<'_>, role: &Text) -> Vec<Text> {
    let parts = edit.texts("role", role, "subroles");
    if parts.is_empty() { vec![role.clone()] } else { parts }
}

fn labels(edit: &Edit<'_>, role: &Text) -> Vec<Text> {
    let permissions = permissions(edit, role).into_iter();
    permissions.map(|permission| edit.text("role", &permission, "name_label").clone()).collect()
}

fn with_permission(edit: &Edit<'_>, which: impl Fn(&Edit<'_>, &Text) -> bool) -> Value {
    let mut roles = edit.all("role");
    roles.retain(|role| edit.texts("role", role, "subroles").iter().any(|part| which(edit, part)));
    Value::texts(roles)
}

fn create_subject(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let fields = record(request);
    let identifier = request.entry(0, "subject_identifier").cloned();
    let known = edit.all("subject");
    let same = |s: &Text| edit.get("subject", s, "subject_identifier") == identifier.as_ref();
    if known.iter().any(same) {
        return Err(Failure::new::<&str>("SUBJECT_ALREADY_EXISTS", []));
    }
    Ok(Value::Text(add(edit, request.class, &fields)))
}

fn change_roles(edit: &mut Edit<'_>, request: &Request, on: bool) -> Result<Value, Failure> {
    let (subject, role) = (request.object(edit, 0, "subject")?, request.text(1));
    if !edit.has("role", role) {
        return Err(Failure::new::<&str>("ROLE_NOT_FOUND", []));
    }
    let mut roles = edit.texts("subject", &subject, "roles");
    match (roles.contains(role), on) {
        (true, true) => return Err(Failure::new::<&str>("ROLE_ALREADY_EXISTS", [])),
        (false, false) => return Err(Failure::new::<&str>("ROLE_NOT_FOUND", [])),
        (_, true) => roles.insert(0, role.clone()),
        (_, false) => roles.retain(|known| known != role),
    }
    edit.set("subject", &subject, "roles", Value::texts(roles));
    Ok(void())
}
