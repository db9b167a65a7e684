//! What the pool answers: every call goes through the same checks as in XAPI, in the same order,
//! and then to the file of its group.

mod arguments;
mod event;
mod filter;
mod read;
mod session;
mod task;
mod write;

pub(super) use event::EVERYTHING;

use std::sync::Arc;

use crate::datamodel::{Call as Known, CallKind, Class, Roles, datamodel};

use super::database::{Database, Object, Text, Value};
use super::protocol::{Arg, Body, Call, Failure, Output};
use super::sessions::{Session, key_permission};
use super::state::State;
#[cfg(test)]
pub(crate) use arguments::value as typed_value;
pub(crate) use task::new as new_task;

/// Replies about more objects than this are put together on a thread for blocking work.
const LARGE: usize = 200;

/// A call whose arguments and caller have been checked.
#[derive(Debug)]
struct Request {
    class: &'static Class,
    known: &'static Known,
    session: Option<(Text, Session)>,
    args: Vec<Value>,
}

impl Request {
    /// An argument that the datamodel says is text.
    fn text(&self, index: usize) -> &Text {
        static EMPTY: std::sync::LazyLock<Text> = std::sync::LazyLock::new(|| "".into());
        self.args.get(index).and_then(Value::as_text).unwrap_or(&EMPTY)
    }

    fn handle_invalid(&self) -> Failure {
        Failure::new("HANDLE_INVALID", [&*self.class.name, self.text(0)])
    }
}

/// A result, still in the database.
#[derive(Debug)]
enum Answer<'a> {
    Void,
    Value(Value),
    Borrowed(&'a Value),
    Record(&'static Class, &'a Object),
    Records(&'static Class, Vec<&'a Object>),
    Refs(Vec<Text>),
}

impl Answer<'_> {
    fn write(&self, out: &mut Output) {
        match self {
            Self::Void => out.string(""),
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

/// Answers a call.
pub(crate) async fn answer(state: &Arc<State>, call: Call) -> Body {
    let form = call.form.clone();
    match dispatch(state, call).await {
        Ok(body) => body,
        Err(failure) => Output::failure(form, &failure),
    }
}

async fn dispatch(state: &Arc<State>, call: Call) -> Result<Body, Failure> {
    let Call { name, args, form } = call;
    let request = check(state, &name, args)?;
    match request.known.wire_name.as_str() {
        "session.login_with_password" => return session::log_in(state, &request, form).await,
        "event.from" => return event::from(state, &request, form).await,
        _ => {}
    }
    if let Some(write) = write::of(&request) {
        let value = state.write(|db| write.carry_out(state, db, &request))?;
        return Ok(Output::success(form, |out| value.write(out)));
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
    let allowed = with_session + required..=with_session + known.params.len();
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
    let request = Request { class, known, session, args };
    check_role(&request)?;
    if asynchronous {
        let code = if known.has_async { "NOT_IMPLEMENTED" } else { "Fault" };
        let text = format!("No async mode for this operation (rpc: {plain})");
        return Err(Failure::new(code, [if known.has_async { name } else { &text }]));
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
    if session.may(roles) {
        return Ok(());
    }
    let names: Vec<_> = roles.names().collect();
    let text = format!(
        "No permission in user session. (Roles with this permission: {})",
        names.join(", ")
    );
    Err(Failure::new("RBAC_PERMISSION_DENIED", [permission, text]))
}

/// Calls that the simulator does not carry out say so.
fn not_implemented(known: &Known) -> Failure {
    Failure::new("NOT_IMPLEMENTED", [&*known.wire_name])
}

/// Whether a call of this kind only reads, whatever its name.
fn only_reads(kind: CallKind) -> bool {
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
fn object<'a>(db: &'a Database, request: &Request) -> Result<&'a Object, Failure> {
    let table = db.table(request.class.id);
    table.get(request.text(0)).ok_or_else(|| request.handle_invalid())
}
