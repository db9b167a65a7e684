//! Everything that one simulated pool knows.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use xenapi_model::datamodel;

use super::calls::Running;
use super::clock::Clock;
use super::database::Database;
use super::edit::Edit;
use super::fault::Faults;
use super::identifiers::Identifiers;
use super::protocol::{Arg, Call, JsonWriter};
use super::rrd::Measuring;
use super::sessions::Sessions;

/// What does not change while a pool runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// How long `event.from` gathers changes.
    pub(crate) batching: Duration,
    /// How long a refused login takes.
    pub(crate) refusal_delay: Duration,
    /// How many parameters a login takes.
    pub(crate) login_params: usize,
    /// Whether it speaks XML-RPC only.
    pub(crate) xml_only: bool,
    /// How long what a call begins takes.
    pub(crate) task_duration: Duration,
}

/// What runs beside the calls that it came from.
#[derive(Debug, Default)]
pub(crate) struct Background {
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the pool stops.
    pub(crate) stop: CancellationToken,
}

impl Background {
    /// Runs something until the pool stops.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = work => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

/// A call that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenCall {
    /// `Async.VM.start`.
    pub name: String,
    /// Its arguments, as text, without the session.
    pub args: String,
    /// Whether it was carried out, once that is certain: false if it was refused.
    pub outcome: Option<bool>,
}

/// Everything that one simulated pool knows.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) db: RwLock<Database>,
    /// The generation after the last write; wakes `event.from`.
    pub(crate) changed: watch::Sender<u64>,
    pub(crate) sessions: Sessions,
    /// Whoever comes is let in, as by what forwards to xapi's own Unix socket.
    pub(crate) trusting: AtomicBool,
    pub(crate) identifiers: Identifiers,
    pub(crate) faults: Faults,
    pub(crate) clock: Clock,
    pub(crate) settings: Settings,
    pub(crate) running: Running,
    pub(crate) background: Background,
    pub(crate) seen: Mutex<BTreeMap<String, u64>>,
    /// The calls that came, where somebody wants to know.
    pub(crate) calls: Mutex<Option<Vec<SeenCall>>>,
    pub(crate) measuring: Mutex<Measuring>,
    /// How replies are written in JSON.
    pub(crate) json: Mutex<JsonWriter>,
    /// Cancelled, and replaced, to drop every connection at once.
    pub(crate) connections: Mutex<CancellationToken>,
}

impl State {
    /// Writes to the database and wakes who waits for changes.
    pub(crate) fn write<T>(&self, write: impl FnOnce(&mut Database) -> T) -> T {
        let mut db = self.db.write();
        let result = write(&mut db);
        let generation = db.generation();
        drop(db);
        self.changed.send_if_modified(|last| std::mem::replace(last, generation) != generation);
        result
    }

    /// Writes to the database by the names of things, and wakes who waits for changes.
    pub(crate) fn edit<T>(&self, write: impl FnOnce(&mut Edit<'_>) -> T) -> T {
        let (identifiers, clock) = (&self.identifiers, &self.clock);
        self.write(|db| write(&mut Edit { db, identifiers, clock }))
    }

    /// Notes that a call was seen; those that no XAPI has are counted together.
    pub(crate) fn count(&self, call: &str) {
        let plain = call.strip_prefix("Async.").unwrap_or(call);
        let call = if datamodel().call(plain).is_some() { call } else { "unknown" };
        let mut seen = self.seen.lock();
        match seen.get_mut(call) {
            Some(count) => *count += 1,
            None => _ = seen.insert(call.to_owned(), 1),
        }
    }

    /// Writes a call down, if somebody wants to know; its place.
    pub(crate) fn note(&self, call: &Call) -> Option<usize> {
        let mut calls = self.calls.lock();
        let calls = calls.as_mut()?;
        let args = format!("{:?}", call.args.get(1..).unwrap_or_default());
        calls.push(SeenCall { name: call.name.clone(), args, outcome: None });
        Some(calls.len() - 1)
    }

    /// Notes whether the call at this place was carried out.
    pub(crate) fn note_outcome(&self, place: Option<usize>, carried_out: bool) {
        let mut calls = self.calls.lock();
        if let (Some(calls), Some(place)) = (calls.as_mut(), place)
            && let Some(call) = calls.get_mut(place)
        {
            call.outcome = Some(carried_out);
        }
    }

    /// Notes that a path was asked for, and of which host.
    pub(crate) fn count_path(&self, host: &str, path: &str) {
        let mut seen = self.seen.lock();
        for name in [path.to_owned(), format!("{host}{path}")] {
            *seen.entry(name).or_default() += 1;
        }
    }

    /// Cancelled when every connection is dropped.
    pub(crate) fn dropped(&self) -> CancellationToken {
        self.connections.lock().clone()
    }

    /// Ends the session that a call would be made in.
    pub(crate) fn expire(&self, call: &Call) {
        if let Some(Arg::String(session)) = call.args.first() {
            self.write(|db| self.sessions.end(db, session));
        }
    }
}
