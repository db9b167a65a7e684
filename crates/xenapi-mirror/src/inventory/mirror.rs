//! The mirror of one backend, as readers and the sync task share it.

mod write;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use uuid::Uuid;

use super::apart::Apart;
use super::bound::Bound;
use super::demand::Demand;
use super::feed::Feed;
use super::refs::{RefIndex, Target};
use super::revision::Revisions;
use super::standing::{Cause, MirrorState, NotReady, Status};
use super::store::Snapshot;
use super::unread::Unread;
use super::usage::{Usage, Usages};
use super::value::{Resolve, Zoneless, write};
use xenapi_client::{Backend, Session, UpdateMode};
use xenapi_model::Type;
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
}
