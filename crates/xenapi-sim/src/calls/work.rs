//! Carries out what calls change: some at once, some in the pool's time, with a task to watch.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::database::{Text, Value};
use crate::edit::Edit;
use crate::operations::{self, Lock};
use crate::protocol::Failure;
use crate::state::State;
use xenapi_model::datamodel;

use super::effect::{self, Effect, set_field};
use super::request::Request;
use super::{read, task};

/// How often a task tells of its progress.
const STEPS: u32 = 10;

/// More owners than there are tasks, as a rule.
const OWNERS_KEPT: usize = 1000;

/// What goes on: a token that cancels it, by its task; and who made the tasks there are.
#[derive(Debug, Default)]
pub(crate) struct Running {
    cancels: Mutex<HashMap<Text, CancellationToken>>,
    owners: Mutex<HashMap<Text, String>>,
}

impl Running {
    /// Whether the pool still does what a task stands for.
    pub(super) fn is_running(&self, task: &str) -> bool {
        self.cancels.lock().contains_key(task)
    }

    /// Cancels what a task does, if it still does anything.
    pub(super) fn cancel(&self, task: &str) {
        if let Some(cancel) = self.cancels.lock().get(task) {
            cancel.cancel();
        }
    }

    /// Notes who made a task; forgets it of those that are gone, now and then.
    pub(super) fn note_owner(&self, task: &Text, user: &str, alive: impl Fn(&str) -> bool) {
        let mut owners = self.owners.lock();
        if owners.len() > OWNERS_KEPT {
            owners.retain(|task, _| alive(task));
        }
        owners.insert(task.clone(), user.to_owned());
    }

    /// Whether this user made a task.
    pub(super) fn is_owned(&self, task: &str, user: &str) -> bool {
        self.owners.lock().get(task).is_some_and(|owner| owner == user)
    }

    fn begin(&self, task: &Text) -> CancellationToken {
        self.cancels.lock().entry(task.clone()).or_default().clone()
    }

    fn end(&self, task: &str) {
        self.cancels.lock().remove(task);
    }
}

/// Begins a call of the pool's own, `VM.start`, as a task.
pub(crate) fn begin_task(state: &Arc<State>, call: &str, args: Vec<Value>) {
    if let Some((class, known)) = datamodel().call(call) {
        begin(state, Request { class, known, session: None, args, asynchronous: true });
    }
}

/// Begins what `Async.` was put before, and returns the ref of its task.
pub(super) fn begin(state: &Arc<State>, request: Request) -> Text {
    let effect = effect::of(request.class, request.known);
    let takes_time = takes_time(state, &request);
    let (task, locks) = state.edit(|edit| {
        let label = format!("Async.{}", request.known.wire_name);
        let task = task::new(state, edit, &label, "", request.session.as_ref());
        let result = match lock(state, edit, &request, effect, &task) {
            Ok(locks) if takes_time => {
                edit.set("task", &task, "allowed_operations", Value::texts(["cancel"]));
                return (task, Some(locks));
            }
            Ok(locks) => end(state, edit, &request, effect, (&task, locks)),
            Err(failure) => Err(failure),
        };
        task::complete(edit, &task, &result);
        (task, None)
    });
    if let Some(locks) = locks {
        let work = Work { state: Arc::clone(state), request, effect, task: task.clone(), locks };
        let cancelled = state.running.begin(&task);
        state.background.spawn(async move { _ = work.run(cancelled).await });
    }
    task
}

/// Carries out a call that its caller waits for.
pub(super) async fn carry_out(
    state: &Arc<State>,
    request: Request,
    effect: Effect,
) -> Result<Value, Failure> {
    // Setters are over at once, however long tasks take.
    let lengthy = matches!(effect, Effect::Operation(..) | Effect::Locked(..));
    let takes_time = lengthy && takes_time(state, &request);
    let effect = Some(effect);
    // XAPI has a task for such a call too, but keeps it to itself.
    let task = state.identifiers.reference();
    let begun = state.edit(|edit| {
        let locks = lock(state, edit, &request, effect, &task)?;
        if takes_time {
            return Ok(Err(locks));
        }
        end(state, edit, &request, effect, (&task, locks)).map(Ok)
    })?;
    let locks = match begun {
        Ok(value) => return Ok(value),
        Err(locks) => locks,
    };
    let cancelled = state.running.begin(&task);
    let work = Work { state: Arc::clone(state), request, effect, task, locks };
    let (send, receive) = tokio::sync::oneshot::channel();
    // It goes on when its caller hangs up.
    state.background.spawn(async move { _ = send.send(work.run(cancelled).await) });
    match receive.await {
        Ok(result) => result,
        // The pool stops: nobody waits for this reply any more.
        Err(_) => std::future::pending().await,
    }
}

fn takes_time(state: &State, request: &Request) -> bool {
    !state.settings.task_duration.is_zero() || state.faults.holds_tasks(&request.known.wire_name)
}

/// Something that goes on for a while.
struct Work {
    state: Arc<State>,
    request: Request,
    effect: Option<Effect>,
    task: Text,
    locks: Vec<Lock>,
}

impl Work {
    async fn run(self, cancelled: CancellationToken) -> Result<Value, Failure> {
        let passed = tokio::select! {
            biased;
            () = cancelled.cancelled() => false,
            () = self.pass() => true,
        };
        let Self { state, request, effect, task, locks } = self;
        let result = state.edit(|edit| {
            let result = if passed {
                end(&state, edit, &request, effect, (&task, locks))
            } else {
                unlock(edit, &task, &locks);
                Err(Failure::new("TASK_CANCELLED", [&*task]))
            };
            task::complete(edit, &task, &result);
            result
        });
        state.running.end(&task);
        result
    }

    /// Waits for as long as it takes, and tells of the progress.
    async fn pass(&self) {
        let (state, duration) = (&self.state, self.state.settings.task_duration);
        let start = state.clock.elapsed();
        for step in 1..=STEPS {
            if duration > Duration::ZERO {
                state.clock.until(start + duration * step / STEPS).await;
            }
            if step < STEPS && duration > Duration::ZERO {
                let progress = Value::Float(f64::from(step) / f64::from(STEPS));
                state.edit(|edit| edit.set("task", &self.task, "progress", progress));
            }
        }
        state.faults.tasks_released(&self.request.known.wire_name).await;
    }
}

/// Checks that something can be begun, and shows that it was.
fn lock(
    state: &State,
    edit: &mut Edit<'_>,
    request: &Request,
    effect: Option<Effect>,
    task: &Text,
) -> Result<Vec<Lock>, Failure> {
    let class = request.class.name.as_str();
    let locks = match effect {
        Some(Effect::Operation(operation, _)) => {
            vec![Lock::new(class, request.text(0), operation)]
        }
        Some(Effect::Locked(begin, _)) => begin(edit, request)?,
        _ => Vec::new(),
    };
    for lock in &locks {
        operations::check(edit, lock.class, &lock.reference, lock.operation)?;
    }
    for lock in &locks {
        overtake(state, edit, lock);
        lock.begin(edit, task);
    }
    Ok(locks)
}

/// A hard stop cancels what the VM is busy with.
fn overtake(state: &State, edit: &Edit<'_>, lock: &Lock) {
    if lock.class == "VM" && matches!(lock.operation, "hard_shutdown" | "hard_reboot") {
        for (task, _) in edit.pairs("VM", &lock.reference, "current_operations") {
            if let Some(task) = task.as_text() {
                state.running.cancel(task);
            }
        }
    }
}

fn unlock(edit: &mut Edit<'_>, task: &str, locks: &[Lock]) {
    for lock in locks {
        lock.end(edit, task);
    }
}

/// Does what was begun.
fn end(
    state: &State,
    edit: &mut Edit<'_>,
    request: &Request,
    effect: Option<Effect>,
    (task, locks): (&Text, Vec<Lock>),
) -> Result<Value, Failure> {
    let struck = request.asynchronous.then(|| state.faults.strike_task(&request.known.wire_name));
    let result = match (struck.flatten(), effect) {
        (Some(failure), _) => Err(failure),
        (None, None) => read::value(edit.db, request),
        (None, Some(Effect::Field(change, field))) => set_field(edit, request, change, field),
        (None, Some(Effect::AtOnce(carry))) => carry(state, edit, request),
        (None, Some(Effect::Operation(_, carry) | Effect::Locked(_, carry))) => {
            // What it is about may have gone meanwhile.
            locks
                .iter()
                .try_for_each(|lock| match edit.has(lock.class, &lock.reference) {
                    true => Ok(()),
                    false => Err(Failure::new("HANDLE_INVALID", [lock.class, &lock.reference])),
                })
                .and_then(|()| carry(edit, request))
        }
    };
    unlock(edit, task, &locks);
    result
}
