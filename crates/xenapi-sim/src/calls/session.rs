//! Logging in and out.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::database::Value;
use crate::edit::Edit;
use crate::protocol::{Body, Failure, Form, Output};
use crate::sessions::User;
use crate::state::State;
use xenapi_model::datamodel;

use super::effect::Effect;
use super::request::{Request, void};

/// What a call of this class changes.
pub(super) fn effect(call: &str) -> Option<Effect> {
    Some(match call {
        "logout" => Effect::AtOnce(log_out),
        "change_password" => Effect::AtOnce(change_password),
        "get_all_subject_identifiers" => Effect::AtOnce(subject_identifiers),
        "logout_subject_identifier" => Effect::AtOnce(log_out_subject),
        "slave_login" | "slave_local_login" | "slave_local_login_with_password" => {
            Effect::AtOnce(refuse)
        }
        _ => return None,
    })
}

/// `session.login_with_password`.
pub(super) async fn log_in(
    state: &Arc<State>,
    request: &Request,
    form: Form,
    is_local: bool,
) -> Result<Body, Failure> {
    let (name, password, originator) = (request.text(0), request.text(1), request.text(3));
    state.clock.sleep(state.sessions.slowness(name)).await;
    let user = match is_local || state.trusting.load(Ordering::Acquire) {
        true => Some(User::superuser(name, password)),
        false => state.sessions.user(name, password),
    };
    let Some(user) = user else {
        // XAPI makes who guesses wait.
        state.clock.sleep(state.settings.refusal_delay).await;
        let params = [&**name, "Authentication failure"];
        return Err(Failure::new("SESSION_AUTHENTICATION_FAILED", params));
    };
    let known = |role: &String| datamodel().roles.contains(role);
    if user.role.as_ref().is_some_and(|role| !known(role)) {
        // Those as well.
        state.clock.sleep(state.settings.refusal_delay).await;
        let text = format!("Subject {name} has no access rights in this pool");
        let params = ["session.login_with_password", &text];
        return Err(Failure::new("RBAC_PERMISSION_DENIED", params));
    }
    let (elapsed, now) = (state.clock.elapsed(), state.clock.date_time(0));
    let reference = state.write(|db| {
        state.sessions.open(db, &state.identifiers, &user, originator, (elapsed, &now))
    });
    Ok(Output::success(form, |out| out.string(&reference)))
}

/// `session.logout`.
fn log_out(state: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    if let Some((reference, _)) = &request.session {
        state.sessions.end(edit.db, reference);
    }
    Ok(void())
}

/// `session.change_password`, which is for local superusers only.
fn change_password(state: &State, _: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let session = request.session.as_ref().map(|(_, session)| session);
    match session.filter(|session| session.role.is_none()) {
        Some(session) => {
            state.sessions.put_user(User::superuser(&session.user, request.text(1)));
            Ok(void())
        }
        None => {
            let user = session.map_or("", |session| &session.user);
            let text = "Failed to authenticate";
            Err(Failure::new("USER_IS_NOT_LOCAL_SUPERUSER", [user, text]))
        }
    }
}

/// What identifies the subjects that somebody is logged in as.
fn subject_identifiers(_: &State, edit: &mut Edit<'_>, _: &Request) -> Result<Value, Failure> {
    let sessions = edit.all("session").into_iter();
    let mut subjects: Vec<_> = sessions
        .filter(|session| !edit.flag("session", session, "is_local_superuser"))
        .map(|session| edit.text("session", &session, "auth_user_sid").clone())
        .collect();
    subjects.retain(|subject| !subject.is_empty());
    subjects.sort();
    subjects.dedup();
    Ok(Value::texts(subjects))
}

/// Ends every session of a subject but the caller's own.
fn log_out_subject(
    state: &State,
    edit: &mut Edit<'_>,
    request: &Request,
) -> Result<Value, Failure> {
    let own = request.session.as_ref().map(|(reference, _)| reference.clone());
    for session in edit.all("session").into_iter().filter(|session| Some(session) != own.as_ref()) {
        if edit.text("session", &session, "auth_user_sid") == request.text(0) {
            state.sessions.end(edit.db, &session);
        }
    }
    Ok(void())
}

/// Hosts of the pool log in to each other with a secret that clients do not have.
fn refuse(_: &State, _: &mut Edit<'_>, _: &Request) -> Result<Value, Failure> {
    Err(Failure::new("SESSION_AUTHENTICATION_FAILED", ["pool", "Authentication failure"]))
}
