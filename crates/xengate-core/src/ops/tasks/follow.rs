//! Follows the backends' tasks to their end.
//!
//! One follower per backend looks at the mirror whenever that changes, for as long as there are
//! tasks to follow.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::entry::{Entry, Work};
use super::outcome::{Outcome, Status, now};
use super::{Tasks, view};
use crate::ops::arguments::Named;
use crate::ops::error::OpError;
use crate::ops::reach::{Reach, Started};
use xenapi_client::Retry;
use xenapi_mirror::inventory::{Mirror, MirrorState};
use xenapi_model::Call;
use xenapi_wire::Arg;
use xengate_telemetry::request_span::RequestSpan;

/// How often the mirror is looked at though nothing has changed.
const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// How long a live mirror may take to show a task that the backend has started.
const UNSEEN_FOR: Duration = Duration::from_secs(60);

impl Tasks {
    /// Follows a task that the backend has just started.
    pub(in crate::ops) fn follow(
        self: &Arc<Self>,
        reach: &Reach,
        call: &Call,
        named: Named,
        (started, reference): (Started, Arc<str>),
    ) -> Uuid {
        let uuid = match started {
            Started::As(uuid) => uuid,
            // It has to be called something.
            Started::Unnamed | Started::Gone => Uuid::new_v4(),
        };
        let session = reach.session.clone();
        let hold = session.hold();
        let entry = Arc::new(Entry {
            uuid,
            backend: reach.mirror.name().into(),
            owner: reach.session.username().to_owned(),
            name: format!("Async.{}", call.wire_name),
            created: now(),
            since: Instant::now(),
            work: Work::Backends {
                reference,
                named,
                seen: false.into(),
                session: parking_lot::Mutex::new(Some((session, hold))),
            },
            outcome: watch::Sender::new(None),
            request: RequestSpan::current(),
        });
        if started == Started::Gone {
            self.registry.lock().add(&entry, entry.since);
            self.end(&entry, lost(&entry));
            return uuid;
        }
        let wake = {
            let mut registry = self.registry.lock();
            registry.add(&entry, entry.since);
            registry.follow(&entry)
        };
        if let Some(wake) = wake {
            self.followers.spawn(follower(self.clone(), reach.mirror.clone(), wake));
        }
        uuid
    }

    /// Notes how a task ended, and tells who waits for it.
    pub(super) fn end(&self, entry: &Entry, outcome: Outcome) {
        self.registry.lock().end(entry, Instant::now());
        match entry.request.clone() {
            Some(request) => request.within(|| log_end(entry, &outcome)),
            None => log_end(entry, &outcome),
        }
        entry.outcome.send_replace(Some(Arc::new(outcome)));
    }

    /// Has the backend forget tasks whose end is known, in the sessions that started them. What
    /// cannot be told is left to the backend, which forgets by itself in time.
    async fn clean(self: Arc<Self>, mirror: Arc<Mirror>, ended: Vec<Arc<Entry>>) {
        for entry in ended {
            let Work::Backends { reference, session, .. } = &entry.work else { continue };
            let Some((own, _hold)) = session.lock().take() else { continue };
            let session = match own.ended().is_cancelled() {
                false => own,
                true => match mirror.substitute(&own) {
                    Some(other) => other,
                    None => continue,
                },
            };
            let Ok(_turn) = self.cleaning.acquire().await else { return };
            let args = [Arg::from(&**reference)];
            let backend = mirror.backend();
            if let Err(error) = backend.call(&session, "task.destroy", &args, Retry::Write).await {
                tracing::debug!(backend = mirror.name(), %error, "a task is left to expire");
            }
        }
    }
}

async fn follower(tasks: Arc<Tasks>, mirror: Arc<Mirror>, wake: Arc<Notify>) {
    let mut changes = mirror.changes();
    loop {
        // Whatever changes from here on is looked at in the next round.
        changes.mark_unchanged();
        let following = tasks.registry.lock().unfinished(mirror.name());
        let Some(following) = following else { return };
        let mut ended = Vec::new();
        for entry in following {
            if let Some(outcome) = look(&mirror, &entry) {
                tasks.end(&entry, outcome);
                ended.push(entry);
            }
        }
        if !ended.is_empty() {
            tasks.followers.spawn(tasks.clone().clean(mirror.clone(), ended));
            continue;
        }
        tokio::select! {
            () = tasks.over.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
            () = wake.notified() => {}
            () = sleep(LOOK_AGAIN) => {}
        }
    }
}

/// How a task has ended, if the mirror shows that it has.
fn look(mirror: &Mirror, entry: &Entry) -> Option<Outcome> {
    let Work::Backends { named, seen, .. } = &entry.work else { return None };
    let Some((object, _)) = view::object_of(mirror, entry) else {
        // Nothing can be told from a mirror that does not follow the backend.
        let live = mirror.status().state == MirrorState::Live;
        let overdue = entry.since.elapsed() >= UNSEEN_FOR;
        let gone = live && (seen.load(Ordering::Relaxed) || overdue);
        return gone.then(|| lost(entry));
    };
    seen.store(true, Ordering::Relaxed);
    let status =
        object.record().text(object.class(), "status").map_or(Status::Pending, Status::named);
    if !status.is_final() {
        return None;
    }
    let (status, mut record) = view::record(mirror, &object);
    record.insert("uuid".to_owned(), entry.uuid.to_string().into());
    let error = view::error(mirror, status, &record, named).map(Arc::new);
    Some(Outcome { status, record, error, left: Vec::new() })
}

/// A task that went without word of how.
fn lost(entry: &Entry) -> Outcome {
    Outcome {
        status: Status::Failure,
        record: entry.sketch(Status::Failure, 0.0).record(),
        error: Some(Arc::new(OpError::Lost)),
        left: Vec::new(),
    }
}

fn log_end(entry: &Entry, outcome: &Outcome) {
    let Entry { backend, owner, name, uuid, .. } = entry;
    let (user, status) = (owner, outcome.status.name());
    let error = outcome.error.as_deref().map(tracing::field::display);
    tracing::info!(%backend, user, operation = name, task = %uuid, status, error, "task ended");
    for left in &outcome.left {
        let uuid = left.uuid.map(tracing::field::display);
        tracing::warn!(%backend, task = name, class = left.class, uuid, why = left.why, "left behind");
    }
}
