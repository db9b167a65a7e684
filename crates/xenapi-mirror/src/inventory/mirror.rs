//! The mirror of one backend, as readers and the sync task share it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use uuid::Uuid;

use super::apart::Apart;
use super::bound::{Bound, whole_size};
use super::demand::Demand;
use super::draft::Finished;
use super::feed::Feed;
use super::refs::{RefIndex, Target};
use super::revision::Revisions;
use super::standing::{Cause, Loss, MirrorState, NotReady, Status};
use super::store::Snapshot;
use super::unread::Unread;
use super::usage::{Usage, Usages};
use super::value::{Resolve, Zoneless, write};
use xenapi_client::{Backend, Session, UpdateMode};
use xenapi_model::{ClassId, Type};
use xengate_config::SecretSource;

/// How late the event of a change may be before its coming is in doubt. A mirror that is stale
/// already is not waited for any longer.
const DOUBTFUL: Duration = Duration::from_secs(1);

/// What is mirrored now.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The name of the backend.
    pub backend: Arc<str>,
    /// The objects.
    pub snapshot: Arc<Snapshot>,
    /// Since when changes no longer arrive; `None` while they do.
    pub stale_since: Option<Instant>,
    /// When the backend was asked for them; `None` where it tells of changes by itself.
    pub as_of: Option<Instant>,
    /// The same of the classes that are asked for apart.
    pub(super) apart: Apart,
}

impl Reading {
    /// How old the objects may be; `None` while they are as new as can be.
    pub fn age(&self) -> Option<Duration> {
        self.as_of.or(self.stale_since).map(|since| since.elapsed())
    }
}

/// The account that feeds a mirror while no caller is logged in.
#[derive(Debug, Clone)]
pub(super) struct ServiceAccount {
    pub(super) username: String,
    pub(super) password: SecretSource,
}

/// The live mirror of one backend. One task writes it, everyone reads it without locks.
#[derive(Debug)]
pub struct Mirror {
    name: Arc<str>,
    pub(super) backend: Arc<Backend>,
    pub(super) service: Option<ServiceAccount>,
    revisions: Arc<Revisions>,
    feed: Arc<Feed>,
    reading: ArcSwapOption<Reading>,
    status: watch::Sender<Status>,
    refs: RwLock<RefIndex>,
    bound: Arc<Bound>,
    /// Objects that could not be read when they were last asked for.
    unread: Mutex<Unread>,
    /// The service account's session, while it has one.
    account_session: ArcSwapOption<Session>,
    /// Sessions of callers that may be borrowed.
    callers: Mutex<Vec<Arc<Session>>>,
    /// A session was offered.
    pub(super) offered: Notify,
    /// What a caller has changed is not told of.
    pub(super) doubted: Notify,
    /// The token of the newest events that readers can see.
    seen: watch::Sender<String>,
    /// The revision that was published last.
    changed: watch::Sender<u64>,
    /// Who wants the objects, where the backend has to be asked for them.
    pub(super) demand: Demand,
    /// How busy VMs are, where the backend only counts their CPU time.
    pub(super) usages: Usages,
}

/// Resolves refs by the index, and otherwise as `find` does.
struct OrElse<'a> {
    refs: &'a RefIndex,
    find: &'a dyn Fn(&str) -> Option<Uuid>,
    zoneless: Zoneless,
}

impl Resolve for OrElse<'_> {
    fn find(&mut self, name: &str) -> Option<Uuid> {
        self.refs.shown_of(name).or_else(|| (self.find)(name))
    }

    fn zoneless(&self) -> Zoneless {
        self.zoneless
    }
}

impl Mirror {
    pub(super) fn new(
        backend: Arc<Backend>,
        service: Option<ServiceAccount>,
        revisions: Arc<Revisions>,
        feed: Arc<Feed>,
        bound: Arc<Bound>,
    ) -> Self {
        let status = Status::well(MirrorState::Waiting);
        Self {
            name: backend.name().into(),
            backend,
            service,
            revisions,
            feed,
            reading: ArcSwapOption::empty(),
            status: watch::Sender::new(status),
            refs: RwLock::default(),
            bound,
            unread: Mutex::default(),
            account_session: ArcSwapOption::empty(),
            callers: Mutex::default(),
            offered: Notify::new(),
            doubted: Notify::new(),
            seen: watch::Sender::new(String::new()),
            changed: watch::Sender::new(0),
            demand: Demand::new(),
            usages: Usages::default(),
        }
    }

    /// The backend's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a service account keeps it up to date.
    pub fn has_account(&self) -> bool {
        self.service.is_some()
    }

    /// The service account's session, for what is read on nobody's behalf.
    pub fn account_session(&self) -> Option<Arc<Session>> {
        self.account_session.load_full().filter(|session| !session.ended().is_cancelled())
    }

    /// Notes the service account's session.
    pub(super) fn set_account_session(&self, session: Option<Arc<Session>>) {
        self.account_session.store(session);
    }

    /// The backend it mirrors.
    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// What is mirrored now, if anything.
    pub fn reading(&self) -> Option<Arc<Reading>> {
        self.reading.load_full()
    }

    /// What is mirrored, waiting at most `patience` for a first sync that is under way or about to
    /// begin. A backend that is down is not waited for.
    pub async fn ready(&self, patience: Duration) -> Result<Arc<Reading>, NotReady> {
        if self.reading().is_some() {
            if self.is_polled() {
                self.demand.ask().await;
            }
        } else {
            self.demand.note();
            self.demand.wake.notify_one();
        }
        if let Some(reading) = self.reading() {
            return Ok(reading);
        }
        let mut status = self.status.subscribe();
        let settled =
            status.wait_for(|status| status.is_settled() || self.reading.load().is_some());
        // An elapsed wait and a closed channel (shutdown) are both: not ready.
        let down = match tokio::time::timeout(patience, settled).await {
            Ok(Ok(status)) => Some(status.clone()),
            _ => None,
        };
        let backend = self.name().to_owned();
        match (self.reading(), down) {
            (Some(reading), _) => Ok(reading),
            (None, Some(Status { cause: Some(Cause::TooLarge), .. })) => {
                Err(NotReady::TooLarge { backend })
            }
            (None, Some(Status { cause, reason, .. })) => {
                let reason = reason.unwrap_or_default();
                Err(match cause {
                    Some(Cause::Nonsense) => NotReady::Nonsense { backend, reason },
                    Some(Cause::Unfollowed) => NotReady::Unfollowed { backend, reason },
                    Some(Cause::Unsupported) => NotReady::Unsupported { backend, reason },
                    _ => NotReady::Down { backend, reason },
                })
            }
            (None, None) => Err(NotReady::Late { backend }),
        }
    }

    /// Whether the backend is heard from as things happen, so that it is certainly there.
    pub fn is_heard(&self) -> bool {
        self.status.borrow().state == MirrorState::Live && !self.is_polled()
    }

    /// Whether the backend has to be asked for its objects again and again.
    pub fn is_polled(&self) -> bool {
        self.backend.known_update_mode() == Some(UpdateMode::Polling)
    }

    /// The CPU time of a VM, by its metrics, where the backend counts that and nothing more.
    pub fn usage(&self, metrics: &Uuid) -> Option<Usage> {
        self.usages.get(metrics)
    }

    /// Whether anybody wants the objects of a backend that has to be asked for them.
    pub(super) fn is_wanted(&self) -> bool {
        self.demand.is_wanted() || self.changed.receiver_count() > 0 || self.feed.is_followed()
    }

    /// Has one object of a polled backend read again; true once readers can see it as it is now.
    pub async fn reread(&self, class: &'static str, reference: &str, patience: Duration) -> bool {
        let reread = self.demand.reread(class, reference);
        self.is_polled() && tokio::time::timeout(patience, reread).await.unwrap_or(false)
    }

    /// Lends a caller's session to the mirror, which uses it for events until it ends.
    pub fn offer(&self, session: Arc<Session>) {
        let mut callers = self.callers.lock();
        callers.retain(|session| !session.ended().is_cancelled());
        callers.push(session);
        drop(callers);
        self.offered.notify_one();
    }

    /// Another session in which to go on with what was begun in one that has ended: one of the same
    /// user's, or else the service account's.
    pub fn substitute(&self, ended: &Session) -> Option<Arc<Session>> {
        let callers = self.callers.lock();
        let good = |other: &&Arc<Session>| {
            other.username() == ended.username()
                && !std::ptr::eq(Arc::as_ptr(other), ended)
                && !other.ended().is_cancelled()
        };
        let of_the_user = callers.iter().rev().find(good).cloned();
        drop(callers);
        of_the_user.or_else(|| self.account_session())
    }

    /// What a ref of this backend names.
    pub fn resolve(&self, reference: &str) -> Option<Target> {
        self.refs.read().resolve(reference)
    }

    /// A value of the backend's, as clients see it: typed, with uuids for refs.
    pub fn represent(&self, ty: &Type, json: &str) -> Vec<u8> {
        self.represent_with(ty, json, &|_| None)
    }

    /// The same, where a date without a zone is what was asked for: the time of some place.
    pub fn represent_local(&self, ty: &Type, json: &str) -> Vec<u8> {
        self.written(ty, json, &|_| None, Zoneless::Local)
    }

    /// The same, where `find` knows what a ref names that the mirror does not hold.
    pub fn represent_with(
        &self,
        ty: &Type,
        json: &str,
        find: &dyn Fn(&str) -> Option<Uuid>,
    ) -> Vec<u8> {
        let zoneless = if self.is_polled() { Zoneless::Utc } else { Zoneless::Null };
        self.written(ty, json, find, zoneless)
    }

    fn written(
        &self,
        ty: &Type,
        json: &str,
        find: &dyn Fn(&str) -> Option<Uuid>,
        zoneless: Zoneless,
    ) -> Vec<u8> {
        let (refs, mut out) = (self.refs.read(), Vec::new());
        if !write(ty, json, &mut OrElse { refs: &refs, find, zoneless }, &mut out) {
            out.extend_from_slice(b"null");
        }
        out
    }

    /// Tells of every revision that is published.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Waits until readers can see what the backend had done when it gave out `token`; false when
    /// that takes longer than `patience`.
    pub async fn passed(&self, token: &str, patience: Duration) -> bool {
        let mut seen = self.seen.subscribe();
        // Tokens of one backend have one length, and grow, until it is restarted.
        let passed = std::pin::pin!(seen.wait_for(|seen| seen.as_str() >= token));
        let mut passed = passed;
        if let Ok(passed) = tokio::time::timeout(patience.min(DOUBTFUL), passed.as_mut()).await {
            return passed.is_ok();
        }
        // The backend has answered this caller, and tells the mirror nothing.
        self.doubted.notify_one();
        if patience <= DOUBTFUL || self.is_cut_off() {
            return false;
        }
        matches!(tokio::time::timeout(patience - DOUBTFUL, passed).await, Ok(Ok(_)))
    }

    /// Whether something is mirrored to which changes do not arrive. To one that is stale because a
    /// few objects could not be read they do.
    pub(super) fn is_cut_off(&self) -> bool {
        let status = self.status.borrow();
        status.state == MirrorState::Stale && status.cause != Some(Cause::Unread)
    }

    /// Notes that everything up to `token` has been published.
    pub(super) fn saw(&self, token: &str) {
        self.seen.send_if_modified(|seen| {
            let modified = seen != token;
            token.clone_into(seen);
            modified
        });
    }

    /// Notes that tokens may begin anew: a backend that was restarted may give out lower ones, and
    /// nothing it did since has been seen.
    pub(super) fn saw_nothing(&self) {
        self.saw("");
    }

    /// A caller's session that has not ended.
    pub(super) fn borrow_session(&self) -> Option<Arc<Session>> {
        let mut callers = self.callers.lock();
        callers.retain(|session| !session.ended().is_cancelled());
        callers.first().cloned()
    }

    /// Puts a snapshot before the readers, and marks it as live; as stale if there are objects that
    /// could not be read.
    pub(super) fn publish(&self, finished: Finished, fresh_refs: Option<RefIndex>) {
        if let Some(refs) = fresh_refs {
            *self.refs.write() = refs;
        }
        self.put_all_before_readers(finished, None, Apart::default());
    }

    /// Puts before the readers what the backend answered to a question asked then.
    pub(super) fn publish_polled(&self, finished: Finished, as_of: Instant) {
        self.put_all_before_readers(finished, Some(as_of), self.apart_now());
    }

    /// Objects that could not be read when they were last asked for.
    pub(super) fn unread(&self) -> Unread {
        self.unread.lock().clone()
    }

    /// The same of classes that are asked for apart.
    pub(super) fn publish_apart(
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
    pub(super) fn publish_part(&self, finished: Finished, before: &Reading) {
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
    pub(super) fn at_rest(&self) {
        self.set_stale_since(None);
        let state =
            if self.reading.load().is_some() { MirrorState::Live } else { MirrorState::Waiting };
        self.set_status(Status::well(state));
    }

    /// Works on the ref index while a batch is applied.
    pub(super) fn with_refs<T>(&self, work: impl FnOnce(&mut RefIndex) -> T) -> T {
        work(&mut self.refs.write())
    }

    /// Notes that changes do not arrive any more, or that nothing could be mirrored at all.
    pub(super) fn lost(&self, loss: Loss, contact: Option<Instant>) {
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
    pub(super) fn unheard(&self, contact: Option<Instant>) {
        if self.reading.load().is_some() {
            let reason = "it takes the connection, and does not answer in time";
            self.lost(Loss::Unreachable(reason.to_owned()), contact);
        }
    }

    /// Notes that a first sync has begun. Of a backend that cannot be mirrored nothing is expected.
    pub(super) fn syncing(&self) {
        let hopeless = self.status.borrow().cause == Some(Cause::Unsupported);
        if self.reading.load().is_none() && !hopeless {
            self.set_status(Status::well(MirrorState::Syncing));
        }
    }

    /// Lets another caller's session be the first to be borrowed.
    pub(super) fn rotate_sessions(&self) {
        let mut callers = self.callers.lock();
        if !callers.is_empty() {
            callers.rotate_left(1);
        }
    }

    /// Forgets everything: nobody has been there for long.
    pub(super) fn forget(&self) {
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
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
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
    pub(super) fn fits(&self) -> bool {
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
