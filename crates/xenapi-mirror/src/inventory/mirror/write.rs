//! What the task that keeps a mirror up to date does to it.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Mirror, Reading};
use crate::inventory::apart::Apart;
use crate::inventory::bound::whole_size;
use crate::inventory::draft::Finished;
use crate::inventory::refs::RefIndex;
use crate::inventory::standing::{Cause, Loss, MirrorState, Status};
use crate::inventory::store::Snapshot;
use crate::inventory::unread::Unread;
use xenapi_client::Session;
use xenapi_model::ClassId;

impl Mirror {
    /// Notes the service account's session.
    pub(in crate::inventory) fn set_account_session(&self, session: Option<Arc<Session>>) {
        self.account_session.store(session);
    }

    /// Notes that everything up to `token` has been published.
    pub(in crate::inventory) fn saw(&self, token: &str) {
        self.seen.send_if_modified(|seen| {
            let modified = seen != token;
            token.clone_into(seen);
            modified
        });
    }

    /// Notes that tokens may begin anew: a backend that was restarted may give out lower ones, and
    /// nothing it did since has been seen.
    pub(in crate::inventory) fn saw_nothing(&self) {
        self.saw("");
    }

    /// A caller's session that has not ended.
    pub(in crate::inventory) fn borrow_session(&self) -> Option<Arc<Session>> {
        let mut callers = self.callers.lock();
        callers.retain(|session| !session.ended().is_cancelled());
        callers.first().cloned()
    }

    /// Puts a snapshot before the readers, and marks it as live; as stale if there are objects that
    /// could not be read.
    pub(in crate::inventory) fn publish(&self, finished: Finished, fresh_refs: Option<RefIndex>) {
        if let Some(refs) = fresh_refs {
            *self.refs.write() = refs;
        }
        self.put_all_before_readers(finished, None, Apart::default());
    }

    /// Puts before the readers what the backend answered to a question asked then.
    pub(in crate::inventory) fn publish_polled(&self, finished: Finished, as_of: Instant) {
        self.put_all_before_readers(finished, Some(as_of), self.apart_now());
    }

    /// Objects that could not be read when they were last asked for.
    pub(in crate::inventory) fn unread(&self) -> Unread {
        self.unread.lock().clone()
    }

    /// The same of classes that are asked for apart.
    pub(in crate::inventory) fn publish_apart(
        &self,
        finished: Finished,
        before: &Reading,
        classes: impl IntoIterator<Item = ClassId>,
        as_of: Instant,
    ) {
        let mut apart = before.apart.clone();
        Arc::make_mut(&mut apart).extend(classes.into_iter().map(|class| (class, as_of)));
        self.put_before_readers(finished, before.as_of, before.stale_since, apart);
    }

    fn put_all_before_readers(&self, finished: Finished, as_of: Option<Instant>, apart: Apart) {
        let unread = (!finished.unread.is_empty()).then(|| finished.unread.reason());
        let stale_since = unread.as_ref().map(|_| {
            let known = self.reading().and_then(|reading| reading.stale_since);
            known.or(as_of).unwrap_or_else(Instant::now)
        });
        self.put_before_readers(finished, as_of, stale_since, apart);
        if unread.is_some() {
            let (state, cause) = (MirrorState::Stale, Some(Cause::Unread));
            self.set_status(Status { state, reachable: true, cause, reason: unread });
        }
    }

    /// The same where only a few objects were asked for: the others are as old as they were.
    pub(in crate::inventory) fn publish_part(&self, finished: Finished, before: &Reading) {
        self.put_before_readers(finished, before.as_of, before.stale_since, self.apart_now());
    }

    fn put_before_readers(
        &self,
        mut finished: Finished,
        as_of: Option<Instant>,
        stale_since: Option<Instant>,
        apart: Apart,
    ) {
        self.unread.lock().clone_from(&finished.unread);
        let publish = |snapshot: &Arc<Snapshot>| {
            self.show(snapshot.clone(), stale_since, as_of, apart.clone());
        };
        let before = self.reading().map(|reading| reading.snapshot.clone());
        match before {
            Some(_) if finished.changes.is_empty() => {
                // Nothing that clients see has changed; what shows which refs may have.
                let snapshot = Arc::new(finished.snapshot);
                publish(&snapshot);
                self.feed.replaced(self.name(), snapshot);
            }
            before => self.revisions.next(|revision| {
                let size = |object: &Option<_>| object.as_deref().map_or(0, whole_size);
                let changes = finished.changes.iter();
                let (gone, come) = changes.fold((0, 0), |(gone, come), change| {
                    (gone + size(&change.before), come + size(&change.after))
                });
                self.bound.exchange(&self.name, gone, come);
                finished.snapshot.stamp(revision, &finished.changes);
                let snapshot = Arc::new(finished.snapshot);
                publish(&snapshot);
                let before = before.unwrap_or_else(|| Arc::new(Snapshot::empty()));
                self.feed.changed(revision, self.name(), finished.changes, before, snapshot);
                self.changed.send_replace(revision);
            }),
        }
        if stale_since.is_none() {
            self.set_status(Status::well(MirrorState::Live));
        }
    }

    /// Notes that the backend is there and nobody wants to know more.
    pub(in crate::inventory) fn at_rest(&self) {
        self.set_stale_since(None);
        let state =
            if self.reading.load().is_some() { MirrorState::Live } else { MirrorState::Waiting };
        self.set_status(Status::well(state));
    }

    /// Works on the ref index while a batch is applied.
    pub(in crate::inventory) fn with_refs<T>(&self, work: impl FnOnce(&mut RefIndex) -> T) -> T {
        work(&mut self.refs.write())
    }

    /// Notes that changes do not arrive any more, or that nothing could be mirrored at all.
    pub(in crate::inventory) fn lost(&self, loss: Loss, contact: Option<Instant>) {
        self.saw_nothing();
        let (cause, reason) = (loss.cause(), Some(loss.reason()));
        let state = if self.reading.load().is_some() {
            self.set_stale_since(Some(contact.unwrap_or_else(Instant::now)));
            MirrorState::Stale
        } else if matches!(cause, Cause::NoSession | Cause::Refused | Cause::TooLarge) {
            MirrorState::Waiting
        } else {
            MirrorState::Down
        };
        let reachable = !matches!(cause, Cause::Unreachable | Cause::Nonsense);
        self.set_status(Status { state, reachable, cause: Some(cause), reason });
    }

    /// Notes that the backend takes longer to answer than it should. A first sync is as long as it
    /// is: nobody takes what is not there for new.
    pub(in crate::inventory) fn unheard(&self, contact: Option<Instant>) {
        if self.reading.load().is_some() {
            let reason = "it takes the connection, and does not answer in time";
            self.lost(Loss::Unreachable(reason.to_owned()), contact);
        }
    }

    /// Notes that a first sync has begun. Of a backend that cannot be mirrored nothing is expected.
    pub(in crate::inventory) fn syncing(&self) {
        let hopeless = self.status.borrow().cause == Some(Cause::Unsupported);
        if self.reading.load().is_none() && !hopeless {
            self.set_status(Status::well(MirrorState::Syncing));
        }
    }

    /// Lets another caller's session be the first to be borrowed.
    pub(in crate::inventory) fn rotate_sessions(&self) {
        let mut callers = self.callers.lock();
        if !callers.is_empty() {
            callers.rotate_left(1);
        }
    }

    /// Forgets everything: nobody has been there for long.
    pub(in crate::inventory) fn forget(&self) {
        let held = self.reading.swap(None).is_some();
        {
            let mut refs = self.refs.write();
            *refs = refs.emptied();
        }
        *self.unread.lock() = Unread::default();
        self.usages.forget();
        self.bound.clear(&self.name);
        if held {
            self.feed.forgot(self.name());
        }
    }

    /// Whether a fresh sync that has come to so many bytes may go on. Where it does not fit beside what
    /// is mirrored already, that is given up for it.
    pub(in crate::inventory) fn has_room_for(&self, bytes: usize) -> bool {
        let held = self.bound.taken(&self.name);
        if self.bound.fits(&self.name, bytes.saturating_add(held)) {
            return true;
        }
        if held > 0 {
            tracing::warn!(
                backend = self.name(),
                "memory is short: what was mirrored is dropped before all of it is read anew"
            );
            self.forget();
        }
        self.bound.fits(&self.name, bytes)
    }

    /// Whether what is mirrored has not grown too large: by a little it may.
    pub(in crate::inventory) fn fits(&self) -> bool {
        let taken = self.bound.taken(&self.name);
        self.bound.fits(&self.name, taken - taken / 16)
    }

    fn set_stale_since(&self, since: Option<Instant>) {
        let Some(reading) = self.reading() else { return };
        if reading.stale_since.is_some() != since.is_some() {
            self.show(reading.snapshot.clone(), since, reading.as_of, reading.apart.clone());
        }
    }

    fn apart_now(&self) -> Apart {
        self.reading().map(|reading| reading.apart.clone()).unwrap_or_default()
    }

    fn show(
        &self,
        snapshot: Arc<Snapshot>,
        stale_since: Option<Instant>,
        as_of: Option<Instant>,
        apart: Apart,
    ) {
        let reading = Reading { backend: self.name.clone(), snapshot, stale_since, as_of, apart };
        self.reading.store(Some(Arc::new(reading)));
    }

    fn set_status(&self, next: Status) {
        let mut news = None;
        self.status.send_if_modified(|status| {
            let modified = *status != next;
            if status.state != next.state {
                let reason = next.reason.as_deref().unwrap_or("-");
                let (backend, state) = (self.name(), next.state.name());
                match next.state {
                    MirrorState::Stale | MirrorState::Down => {
                        tracing::warn!(backend, state, reason, "mirror");
                    }
                    _ => tracing::info!(backend, state, reason, "mirror"),
                }
                news = Some(next.clone());
            }
            *status = next;
            modified
        });
        if let Some(status) = news {
            self.feed.stands(self.name(), status);
        }
    }
}
