//! What the pool answers: every call goes through the same checks as in XAPI, in the same order,
//! and then to the file of its group.

mod appliance;
mod arguments;
mod believable;
mod blob;
mod data_source;
mod effect;
mod event;
mod filter;
mod host;
mod message;
mod network;
mod object;
mod people;
mod pool;
mod read;
mod request;
mod schedule;
mod session;
mod sr;
mod task;
mod vbd;
mod vdi;
mod vif;
mod vm;
mod work;

pub(super) use event::{EVERYTHING, asks_for_everything};

use std::sync::Arc;

use xenapi_model::{Call as Known, CallKind, Roles, State as Life, datamodel};

use super::database::{Text, Value};
use super::protocol::{Arg, Body, Call, Failure, Output};
use super::sessions::{Session, key_permission};
use super::state::State;
#[cfg(test)]
pub(crate) use arguments::value as typed_value;
use request::{Request, denied};
pub(crate) use work::{Running, begin_task};

/// Replies about more objects than this are put together on a thread for blocking work.
const LARGE: usize = 200;

/// Answers a call, which may have come to the Unix socket; whether it was not refused.
pub(crate) async fn answer(state: &Arc<State>, call: Call, is_local: bool) -> (Body, bool) {
    let form = call.form.clone();
    match dispatch(state, call, is_local).await {
        Ok(body) => (body, true),
        Err(failure) => (Output::failure(form, &failure), false),
    }
}

async fn dispatch(state: &Arc<State>, call: Call, is_local: bool) -> Result<Body, Failure> {
    let Call { name, args, form } = call;
    let request = check(state, &name, args)?;
    match request.known.wire_name.as_str() {
        "session.login_with_password" => {
            return session::log_in(state, &request, form, is_local).await;
        }
        "event.from" => return event::from(state, &request, form).await,
        _ => {}
    }
    if request.asynchronous {
        let task = work::begin(state, request);
        return Ok(Output::success(form, |out| out.string(&task)));
    }
    if let Some(effect) = effect::of(request.class, request.known) {
        let value = work::carry_out(state, request, effect).await?;
        return Ok(Output::success(form, |out| out.value(&value)));
    }
    let table = state.db.read().table(request.class.id).len();
    let large = table > LARGE && read::lists_records(request.known.kind);
    on_large_reply(large, state, move |state| {
        let db = state.db.read();
        let answer = read::carry_out(&db, &request)?;
        Ok(Output::success(form, |out| answer.write(out)))
    })
    .await
}

/// Runs `work` here, or where it may take its time.
pub(crate) async fn on_large_reply<T: Send + 'static>(
    large: bool,
    state: &Arc<State>,
    work: impl FnOnce(&State) -> T + Send + 'static,
) -> T {
    if !large {
        return work(state);
    }
    let state = Arc::clone(state);
    match tokio::task::spawn_blocking(move || work(&state)).await {
        Ok(result) => result,
        Err(stopped) => match stopped.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down: nobody waits for this reply any more.
            Err(_) => std::future::pending().await,
        },
    }
}

fn check(state: &State, name: &str, mut args: Vec<Arg>) -> Result<Request, Failure> {
    let (asynchronous, plain) = match name.strip_prefix("Async.") {
        Some(plain) => (true, plain),
        None => (false, name),
    };
    let (class, known) =
        datamodel().call(plain).ok_or_else(|| Failure::new("MESSAGE_METHOD_UNKNOWN", [plain]))?;
    let with_session = usize::from(known.session);
    let required = known.params.iter().filter(|param| param.default.is_none()).count();
    let most = match known.wire_name.as_str() {
        "session.login_with_password" => state.settings.login_params,
        _ => known.params.len(),
    };
    let allowed = with_session + required..=with_session + most;
    if !allowed.contains(&args.len()) {
        // Counted as XAPI counts, which goes below zero when even the session is missing.
        let got = i64::try_from(args.len()).unwrap_or(i64::MAX) - i64::from(known.session);
        let counts = [plain.to_owned(), required.to_string(), got.to_string()];
        return Err(Failure::new("MESSAGE_PARAMETER_COUNT_MISMATCH", counts));
    }
    let values = args.split_off(with_session);
    let reference = args.pop().map(|arg| arguments::string(&arg)).transpose()?;
    let params = known.params.iter().enumerate();
    let args = params
        .map(|(index, param)| arguments::typed(param, values.get(index)))
        .collect::<Result<Vec<_>, _>>()?;
    let session = match reference {
        None => None,
        Some(reference) => Some(check_session(state, known, reference)?),
    };
    let request = Request { class, known, session, args, asynchronous };
    check_role(&request)?;
    if known.lifecycle.state == Life::Removed {
        return Err(Failure::new::<&str>("MESSAGE_REMOVED", []));
    }
    check_storable(&request)?;
    if asynchronous && !known.has_async {
        let text = format!("No async mode for this operation (rpc: {plain})");
        return Err(Failure::new("Fault", [text]));
    }
    Ok(request)
}

fn check_session(
    state: &State,
    known: &Known,
    reference: String,
) -> Result<(Text, Session), Failure> {
    let Some(session) = state.sessions.touch(&reference, state.clock.elapsed()) else {
        // It may have been idle for too long, and then it is over for its other calls too.
        state.write(|db| state.sessions.end(db, &reference));
        return Err(Failure::new("SESSION_INVALID", [reference]));
    };
    if known.pool_internal {
        let name = &known.wire_name;
        let text =
            format!("Internal API \"{name}\" call attempted with non-pool (external) session");
        return Err(Failure::new("INTERNAL_ERROR", [text]));
    }
    Ok((reference.into(), session))
}

/// XAPI's database takes neither texts that XML cannot hold nor maps with an empty key.
fn check_storable(request: &Request) -> Result<(), Failure> {
    fn complaint(value: &Value) -> Option<&'static str> {
        let odd = |c: char| {
            (c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{fffe}' | '\u{ffff}')
        };
        match value {
            Value::Text(text) => text.contains(odd).then_some("Invalid_value"),
            Value::Set(items) => items.iter().find_map(complaint),
            Value::Map(pairs) => pairs.iter().find_map(|(key, value)| {
                let empty = key.as_text().is_some_and(|key| key.is_empty());
                let empty = empty.then_some("Empty_key_in_map");
                empty.or_else(|| complaint(key)).or_else(|| complaint(value))
            }),
            _ => None,
        }
    }
    let writes = matches!(
        request.known.kind,
        CallKind::Create | CallKind::FieldSet | CallKind::FieldAdd | CallKind::Custom
    );
    let complaint = request.args.iter().filter(|_| writes).find_map(complaint);
    match complaint {
        Some(name) => Err(Failure::new("INTERNAL_ERROR", [format!("Xapi_database.Db_exn.{name}")])),
        None => Ok(()),
    }
}

/// Whether the caller's role lets it, as the datamodel says; some keys of maps have roles of
/// their own.
fn check_role(request: &Request) -> Result<(), Failure> {
    let Some((_, session)) = &request.session else { return Ok(()) };
    let known = request.known;
    let permission = known.wire_name.to_ascii_lowercase();
    let key = known.params.iter().position(|param| param.name == "key");
    let key = key.map(|index| request.text(index));
    let guarded = key.and_then(|key| {
        known.map_keys_roles.iter().find(|(name, _)| match name.strip_suffix('*') {
            Some(prefix) => key.starts_with(prefix),
            None => **key == **name,
        })
    });
    let (permission, roles): (String, Roles) = match guarded {
        Some((name, roles)) => (key_permission(&permission, name), *roles),
        None => (permission, known.roles),
    };
    if session.may(roles) { Ok(()) } else { Err(denied(permission, roles)) }
}
