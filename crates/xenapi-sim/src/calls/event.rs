//! `event.from` and `event.inject`.

use std::sync::Arc;

use crate::database::Value;
use crate::edit::Edit;
use crate::events::{self, Token};
use crate::protocol::{Arg, Body, Call, Failure, Form};
use crate::state::State;
use xenapi_model::datamodel;

use super::effect::Effect;
use super::request::Request;

/// What a call of this class changes.
pub(super) fn effect(call: &str) -> Option<Effect> {
    Some(match call {
        "inject" => Effect::AtOnce(inject),
        "get_current_id" => Effect::AtOnce(|_, edit, _| {
            let last = edit.db.generation().saturating_sub(1);
            Ok(Value::Int(i64::try_from(last).unwrap_or(i64::MAX)))
        }),
        _ => return None,
    })
}

/// Under which name it is counted how often a client asked for everything.
pub(crate) const EVERYTHING: &str = "event.from, everything";

/// Whether a client asks for everything there is at once.
pub(crate) fn asks_for_everything(call: &Call) -> bool {
    let [_, Arg::Array(classes), Arg::String(token), ..] = &call.args[..] else { return false };
    let all = |class: &Arg| matches!(class, Arg::String(class) if class == "*");
    call.name == "event.from" && token.is_empty() && classes.iter().any(all)
}

/// `event.from`.
pub(super) async fn from(
    state: &Arc<State>,
    request: &Request,
    form: Form,
) -> Result<Body, Failure> {
    let classes: Vec<String> = match request.args.first() {
        Some(Value::Set(classes)) => {
            classes.iter().filter_map(|class| class.as_text()).map(|c| c.to_string()).collect()
        }
        _ => Vec::new(),
    };
    let timeout = match request.args.get(2) {
        Some(Value::Float(seconds)) => *seconds,
        _ => 0.0,
    };
    if request.text(1).is_empty() && classes.iter().any(|class| class == "*") {
        *state.seen.lock().entry(EVERYTHING.to_owned()).or_default() += 1;
    }
    let (reference, session) =
        request.session.as_ref().ok_or_else(|| Failure::new("SESSION_INVALID", [""]))?;
    events::from(state, (reference, session), &classes, request.text(1), timeout, form).await
}

/// `event.inject`: a change that changes nothing, to wait for.
fn inject(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let (class, reference) = (request.text(0), request.text(1));
    let touched = datamodel().class(class).and_then(|known| edit.db.touch(known, reference).ok());
    match touched {
        Some(generation) => {
            let token = Token::at(generation.saturating_sub(1));
            Ok(Value::text(token.to_string()))
        }
        None => Err(Failure::new("HANDLE_INVALID", [&**class, reference])),
    }
}
