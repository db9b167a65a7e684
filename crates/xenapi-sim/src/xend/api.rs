//! The Xen-API dialect.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use super::arguments::{int, text, truth};
use super::life::{Life, Trouble};
use super::settings;
use super::tasks::Task;
use super::value::Value;
use super::world::Session;
use super::{Auth, Xend, legacy, records};
use crate::protocol::Arg;

/// What comes back.
pub(super) enum Answer {
    Reply(Vec<u8>),
    /// Nothing, ever: xend blocks.
    Hang,
}

/// The 564 methods of xend 4.4, one a line.
const METHODS: &str = include_str!("methods.txt");

fn methods() -> &'static BTreeSet<&'static str> {
    static SET: OnceLock<BTreeSet<&'static str>> = OnceLock::new();
    SET.get_or_init(|| METHODS.lines().collect())
}

/// Calls that only answer that they are to be written yet.
const TODO: [&str; 4] =
    ["VM.get_VCPUs_max", "VM.set_name_description", "host.get_logging", "host.set_logging"];

/// Answers a call. Beside its own, such a listener carries out the whole legacy dialect, and asks
/// for no session.
pub(super) fn call(xend: &Xend, name: &str, args: &[Arg]) -> Answer {
    if name.starts_with("xend.") || name.starts_with("system.") {
        return reply(foreign(xend, name, args));
    }
    let plain = name.strip_prefix("Async.").unwrap_or(name);
    let is_async = plain.len() < name.len();
    let (class, call) = plain.split_once('.').unwrap_or((plain, ""));
    let own = matches!(class, "session" | "event");
    if !methods().contains(plain) || is_async && own {
        return reply(Err(Trouble::failure(["MESSAGE_METHOD_UNKNOWN", name])));
    }
    if let Some(wanted) = arguments(class, call).filter(|wanted| *wanted != args.len()) {
        let (wanted, got) = (wanted.to_string(), args.len().to_string());
        let parts = ["MESSAGE_PARAMETER_COUNT_MISMATCH", name, &wanted, &got];
        return reply(Err(Trouble::failure(parts)));
    }
    if plain == "session.login_with_password" {
        return reply(login(xend, args));
    }
    let mut world = xend.world.lock();
    let session = text(args, 0).unwrap_or_default();
    let Some(known) = world.sessions.get_mut(&session) else {
        return reply(Err(Trouble::failure(["SESSION_INVALID", &session])));
    };
    known.last_active = xend.clock.date_time(0);
    let args = args.get(1..).unwrap_or_default();
    if class == "event" {
        return event(known.unread.as_mut(), call, &session).unwrap_or_else(|| {
            known.unread = (call == "register").then_some(0);
            reply(Ok("".into()))
        });
    }
    let mut life = Life { world: &mut world, clock: &xend.clock, identifiers: &xend.identifiers };
    xend.settle(&mut life);
    if is_async {
        if let Err(trouble) = check_ref(&life, class, call, args) {
            return reply(Err(trouble));
        }
        let uuid = life.identifiers.uuid().to_string();
        let due = life.clock.elapsed() + xend.task_duration;
        let (call, args) = (plain.to_owned(), args.to_vec());
        life.world.tasks.push(Task { uuid: uuid.clone(), call, session, args, due, outcome: None });
        xend.settle(&mut life);
        return reply(Ok(uuid.into()));
    }
    let done = perform(&mut life, class, call, &session, args);
    let writes = !call.starts_with("get_") && class != "session";
    let blocks = done.is_ok() && writes && life.world.event();
    if blocks { Answer::Hang } else { reply(done) }
}

fn event(unread: Option<&mut usize>, call: &str, session: &str) -> Option<Answer> {
    match (call, unread) {
        ("next", None) => Some(reply(Err(Trouble::failure(["SESSION_NOT_REGISTERED", session])))),
        ("next", Some(unread)) => {
            // It waits for an event that this simulator never gives.
            *unread = 0;
            Some(Answer::Hang)
        }
        ("register" | "unregister", _) => None,
        _ => Some(reply(Err(Trouble::Todo))),
    }
}

/// How many arguments a call takes, the session's included, as far as its name tells.
fn arguments(class: &str, call: &str) -> Option<usize> {
    Some(match (class, call) {
        ("session", "login_with_password") => 2,
        ("session", "logout") | (_, "get_all" | "get_all_records" | "list_methods") => 1,
        ("event", _) => return None,
        ("VM", "start" | "resume" | "cpu_pool_migrate") => 3,
        ("VM", "send_sysrq" | "send_trigger") => return None,
        ("VM" | "host", "set_VCPUs_number_live") => 3,
        (_, "create" | "destroy" | "cancel" | "pause" | "unpause" | "suspend") => 2,
        ("VM", "clean_shutdown" | "clean_reboot" | "hard_shutdown" | "hard_reboot") => 2,
        _ if call.starts_with("get_") => 2,
        _ if call.starts_with("set_") || call.starts_with("remove_from_") => 3,
        _ if call.starts_with("add_to_") => 4,
        _ => return None,
    })
}

fn login(xend: &Xend, args: &[Arg]) -> Result<Value, Trouble> {
    // Without authentication even nothing at all is a user.
    let user = text(args, 0).unwrap_or_default();
    if let Auth::Passwords(users) = &xend.auth {
        let password = text(args, 1).unwrap_or_default();
        if !users.iter().any(|(name, right)| *name == user && *right == password) {
            return Err(Trouble::failure(["SESSION_AUTHENTICATION_FAILED"]));
        }
    }
    let session = xend.identifiers.uuid().to_string();
    let last_active = xend.clock.date_time(0);
    let mut world = xend.world.lock();
    world.sessions.insert(session.clone(), Session { user, last_active, unread: None });
    xend.handed_out.lock().push(session.clone());
    Ok(session.into())
}

/// The legacy dialect by the wrong door: it is carried out, and then its result is no envelope.
fn foreign(xend: &Xend, name: &str, args: &[Arg]) -> Result<Value, Trouble> {
    if name.starts_with("xend.") {
        *xend.without_session.lock() += 1;
    }
    let result = match legacy::perform(xend, name, args) {
        Ok(Value::Nil) => "None".to_owned(),
        Ok(Value::Int(int)) => int.to_string(),
        Ok(_) => "[...]".to_owned(),
        Err(Trouble::Failure(parts)) => return Err(Trouble::Failure(parts)),
        Err(Trouble::Unknown(domain)) => {
            return Err(Trouble::Text(format!("<Fault 3: '{domain}'>")));
        }
        Err(Trouble::State { text, .. } | Trouble::Text(text) | Trouble::Internal(text)) => {
            return Err(Trouble::Text(format!("<Fault 2: '{text}'>")));
        }
        Err(Trouble::Todo) => return Err(Trouble::Todo),
    };
    Err(Trouble::Text(format!("Invalid result {result} handling {name}")))
}

fn check_ref(life: &Life<'_>, class: &str, call: &str, args: &[Arg]) -> Result<(), Trouble> {
    let listed = matches!(call, "get_all" | "get_all_records" | "list_methods" | "create");
    if class == "session" || listed || call.starts_with("get_by_") {
        return Ok(());
    }
    let reference = text(args, 0).unwrap_or_default();
    if records::one(life.world, life.clock, class, &reference).is_some() {
        return Ok(());
    }
    Err(Trouble::failure(["HANDLE_INVALID", class, &reference]))
}

/// Carries out a call whose session is known.
pub(super) fn perform(
    life: &mut Life<'_>,
    class: &str,
    call: &str,
    session: &str,
    args: &[Arg],
) -> Result<Value, Trouble> {
    check_ref(life, class, call, args)?;
    let full = format!("{class}.{call}");
    if TODO.contains(&full.as_str()) {
        return Err(Trouble::Todo);
    }
    match (class, call) {
        ("session", _) => return own_session(life, call, session),
        ("task", "cancel") => return Err(Trouble::failure(["OPERATION_NOT_ALLOWED"])),
        ("task", "get_by_name_label") => {
            return Err(Trouble::text("'module' object has no attribute 'get_task_by_name'"));
        }
        ("VM", "get_tools_version") => {
            return Err(Trouble::text("Invalid result {} handling VM.get_tools_version"));
        }
        ("VM", "create") => return settings::create(life, args.first().unwrap_or(&Arg::Nil)),
        ("host", "list_methods") => return Ok(Value::list(METHODS.lines())),
        ("VM", "get_by_name_label") => {
            let found = life.world.lookup(&text(args, 0)?);
            let uuid = found.map(|index| life.world.machines[index].uuid.clone());
            return Ok(Value::list(uuid));
        }
        _ => {}
    }
    let objects = || records::all(life.world, life.clock, class);
    match call {
        "get_all" => Ok(Value::list(objects().into_iter().map(|(uuid, _)| uuid))),
        "get_all_records" => {
            let mut all = objects();
            if class == "VM" {
                for (_, record) in
                    all.iter_mut().rev().take(std::mem::take(&mut life.world.vanishing))
                {
                    *record = Value::Nil;
                }
            }
            Ok(Value::Map(all).stringified())
        }
        "get_by_uuid" => Ok(text(args, 0)?.into()),
        "get_by_name_label" => {
            let label = Value::from(text(args, 0)?);
            let named = objects()
                .into_iter()
                .filter(|(_, record)| record.member("name_label") == Some(&label));
            Ok(Value::list(named.map(|(uuid, _)| uuid)))
        }
        _ => {
            let reference = text(args, 0)?;
            if let Some(field) = call.strip_prefix("get_") {
                let record = records::one(life.world, life.clock, class, &reference);
                let record = record.unwrap_or(Value::Nil).stringified();
                if field == "record" {
                    return Ok(record);
                }
                return record.member(field).cloned().ok_or(Trouble::Todo);
            }
            match class {
                "VM" => machine(life, call, &reference, &args[1..]),
                _ => Err(Trouble::Todo),
            }
        }
    }
}

fn own_session(life: &mut Life<'_>, call: &str, session: &str) -> Result<Value, Trouble> {
    let host = life.world.host.uuid.clone();
    if call == "logout" {
        life.world.sessions.remove(session);
        return Ok("".into());
    }
    let Some(own) = life.world.sessions.get(session) else { return Err(Trouble::Todo) };
    let last_active = Value::Date(own.last_active.trim_end_matches('Z').to_owned());
    match call {
        "get_this_host" => Ok(host.into()),
        "get_this_user" => Ok(own.user.as_str().into()),
        "get_uuid" => Ok(session.into()),
        "get_last_active" => Ok(last_active),
        "get_all" => Ok(Value::list([session])),
        "get_record" => {
            let members = [
                ("this_host", host.into()),
                ("this_user", own.user.as_str().into()),
                ("uuid", session.into()),
                ("last_active", last_active),
            ];
            Ok(Value::Map(members.map(|(name, value)| (name.to_owned(), value)).into()))
        }
        _ => Err(Trouble::Todo),
    }
}

/// What can be done with a VM; `args` are those behind its ref.
fn machine(life: &mut Life<'_>, call: &str, vm: &str, args: &[Arg]) -> Result<Value, Trouble> {
    let Some(index) = life.world.by_uuid(vm) else {
        return Err(Trouble::failure(["HANDLE_INVALID", "VM", vm]));
    };
    let handle = life.world.machines[index].handle();
    let sets = ["set_", "add_to_", "remove_from_"].iter().any(|prefix| call.starts_with(prefix));
    if sets && life.world.ignores_writes {
        return Ok("".into());
    }
    let done = match call {
        "start" => life.start(index, truth(args, 0)),
        "pause" => life.pause(index, &handle).map(|_| ()),
        "unpause" => life.unpause(index, &handle),
        "suspend" => life.suspend(index, &handle),
        "resume" => life.resume(index, &handle, truth(args, 0)),
        "clean_shutdown" => life.shutdown(index, "poweroff"),
        "clean_reboot" => life.shutdown(index, "reboot"),
        "hard_shutdown" => life.destroy(index, &handle),
        "hard_reboot" => life.reset(index),
        "destroy" => life.delete(index),
        "set_memory_dynamic_max_live" | "set_memory_dynamic_min_live" => {
            life.set_memory(index, int(args, 0)? / super::machine::MIB)
        }
        "set_VCPUs_number_live" => life.set_vcpus(index, int(args, 0)?),
        _ => settings::change(life, index, call, args),
    };
    done.map(|()| "".into()).map_err(|trouble| match trouble {
        Trouble::State { expected, actual, .. } => {
            Trouble::failure(["VM_BAD_POWER_STATE", vm, expected.name(), actual.name()])
        }
        other => other,
    })
}

/// A failure's code and parameters. `internal` is how an exception is reported.
pub(super) fn description(trouble: Trouble, internal: &str) -> Vec<String> {
    match trouble {
        Trouble::Failure(parts) => parts,
        Trouble::Todo => vec!["ETODO".into(), "Lazy Programmer Error".into()],
        Trouble::Unknown(text)
        | Trouble::State { text, .. }
        | Trouble::Text(text)
        | Trouble::Internal(text) => vec![internal.to_owned(), text],
    }
}

fn reply(done: Result<Value, Trouble>) -> Answer {
    let (status, name, value) = match done {
        Ok(value) => ("Success", "Value", value.stringified()),
        Err(trouble) => {
            let status = if trouble == Trouble::Todo { "Error" } else { "Failure" };
            (status, "ErrorDescription", Value::list(description(trouble, "INTERNAL_ERROR")))
        }
    };
    let envelope = Value::Map(vec![("Status".into(), status.into()), (name.into(), value)]);
    Answer::Reply(super::value::response(&envelope))
}

/// The reply that carries a failure.
pub(super) fn failure(parts: Vec<String>) -> Answer {
    reply(Err(Trouble::Failure(parts)))
}
