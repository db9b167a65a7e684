//! All gateway sessions.
//!
//! Every request looks its session up here, so readers take no lock: they see a shared map that
//! writers, who take turns, replace. Sessions come and go far more rarely than requests.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use imbl::shared_ptr::DefaultSharedPtr;
use parking_lot::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

use super::session::GatewaySession;
use super::shares::Shares;

type Sessions =
    imbl::GenericHashMap<Uuid, Arc<GatewaySession>, foldhash::fast::RandomState, DefaultSharedPtr>;

/// All gateway sessions, within limits.
pub(super) struct Registry {
    sessions: ArcSwap<Sessions>,
    writer: Mutex<Writer>,
    max_sessions: usize,
    max_per_user: usize,
}

/// What only writers need.
struct Writer {
    /// Set once; from then on no session comes in.
    closed: bool,
    /// Sessions by what backends know them by.
    by_originator: HashMap<String, Vec<Arc<GatewaySession>>>,
    /// What the sessions of each hold together, for as long as anything is held: it may be after
    /// the last of them has ended.
    shares: HashMap<String, Weak<Shares>>,
}

/// Why a session was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotAdmitted {
    /// There are as many as there may be.
    Full,
    /// The gateway is shutting down.
    Closed,
}

impl Registry {
    pub(super) fn new(max_sessions: usize, max_per_user: usize) -> Self {
        Self {
            sessions: ArcSwap::default(),
            writer: Mutex::new(Writer {
                closed: false,
                by_originator: HashMap::new(),
                shares: HashMap::new(),
            }),
            max_sessions,
            max_per_user,
        }
    }

    /// The session of this id.
    pub(super) fn find(&self, id: &Uuid) -> Option<Arc<GatewaySession>> {
        self.sessions.load().get(id).cloned()
    }

    /// Whether another session of this originator would be let in, so that no password is tried
    /// for nothing.
    pub(super) fn has_room(&self, originator: &str, now: Instant) -> Result<(), NotAdmitted> {
        let writer = self.writer.lock();
        if writer.closed {
            return Err(NotAdmitted::Closed);
        }
        let sessions = self.sessions.load();
        let room = sessions.len() < self.max_sessions
            || writer.oldest_beyond(self.max_per_user, originator).is_some()
            || sessions.values().any(|session| is_over(session, now));
        if room { Ok(()) } else { Err(NotAdmitted::Full) }
    }

    /// Lets a session in. Beyond the limit per user the one least recently used makes room; at the
    /// limit over all those that are over do. Whoever went is handed out.
    pub(super) fn admit(
        &self,
        session: Arc<GatewaySession>,
        now: Instant,
    ) -> (Vec<Arc<GatewaySession>>, Result<(), NotAdmitted>) {
        let mut writer = self.writer.lock();
        if writer.closed {
            return (Vec::new(), Err(NotAdmitted::Closed));
        }
        let mut sessions = Sessions::clone(&self.sessions.load());
        let mut gone = Vec::new();
        if sessions.len() >= self.max_sessions {
            gone.extend(sessions.values().filter(|session| is_over(session, now)).cloned());
            for session in &gone {
                writer.take(&mut sessions, session);
            }
        }
        while let Some(oldest) = writer.oldest_beyond(self.max_per_user, session.originator()) {
            writer.take(&mut sessions, &oldest);
            gone.push(oldest);
        }
        let admitted = sessions.len() < self.max_sessions;
        if admitted {
            session.share(writer.shares_of(session.originator()));
            let of_user = writer.by_originator.entry(session.originator().to_owned());
            of_user.or_default().push(Arc::clone(&session));
            sessions.insert(session.id(), session);
        }
        self.sessions.store(Arc::new(sessions));
        (gone, if admitted { Ok(()) } else { Err(NotAdmitted::Full) })
    }

    /// Takes a session out; whether it was in.
    pub(super) fn remove(&self, session: &GatewaySession) -> bool {
        let mut writer = self.writer.lock();
        let mut sessions = Sessions::clone(&self.sessions.load());
        let was_in = writer.take(&mut sessions, session);
        if was_in {
            self.sessions.store(Arc::new(sessions));
        }
        was_in
    }

    /// Takes out the sessions that are over.
    pub(super) fn sweep(&self, now: Instant) -> Vec<Arc<GatewaySession>> {
        let over = |sessions: &Sessions| -> Vec<_> {
            sessions.values().filter(|session| is_over(session, now)).cloned().collect()
        };
        // Most of the time there are none, and then nobody has to wait.
        if over(&self.sessions.load()).is_empty() {
            return Vec::new();
        }
        let mut writer = self.writer.lock();
        let mut sessions = Sessions::clone(&self.sessions.load());
        let gone = over(&sessions);
        for session in &gone {
            writer.take(&mut sessions, session);
        }
        self.sessions.store(Arc::new(sessions));
        gone
    }

    /// Takes all sessions out and lets no more in.
    pub(super) fn close(&self) -> Vec<Arc<GatewaySession>> {
        let mut writer = self.writer.lock();
        writer.closed = true;
        writer.by_originator.clear();
        let sessions = self.sessions.swap(Arc::default());
        sessions.values().cloned().collect()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.sessions.load().len()
    }
}

impl Writer {
    /// What the sessions of this originator hold together.
    fn shares_of(&mut self, originator: &str) -> Arc<Shares> {
        if let Some(shares) = self.shares.get(originator).and_then(Weak::upgrade) {
            return shares;
        }
        self.shares.retain(|_, shares| shares.strong_count() > 0);
        let shares = Arc::<Shares>::default();
        self.shares.insert(originator.to_owned(), Arc::downgrade(&shares));
        shares
    }

    /// Takes a session out of what is kept here and of `sessions`; whether it was in.
    fn take(&mut self, sessions: &mut Sessions, session: &GatewaySession) -> bool {
        if let Some(of_user) = self.by_originator.get_mut(session.originator()) {
            of_user.retain(|other| other.id() != session.id());
            if of_user.is_empty() {
                self.by_originator.remove(session.originator());
            }
        }
        sessions.remove(&session.id()).is_some()
    }

    /// Where one more would be too many, the session of this originator that was used least
    /// recently.
    fn oldest_beyond(&self, limit: usize, originator: &str) -> Option<Arc<GatewaySession>> {
        let of_user = self.by_originator.get(originator)?;
        let oldest = of_user.iter().min_by_key(|session| session.last_used())?;
        (of_user.len() >= limit).then(|| Arc::clone(oldest))
    }
}

/// Whether nobody can use the session any more.
fn is_over(session: &GatewaySession, now: Instant) -> bool {
    session.has_expired(now) || session.is_spent()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::session::tests::session_of_user;
    use super::*;

    fn ids(sessions: &[Arc<GatewaySession>]) -> Vec<Uuid> {
        sessions.iter().map(|session| session.id()).collect()
    }

    fn admit(registry: &Registry, username: &str) -> Arc<GatewaySession> {
        let session = session_of_user(username);
        let (_, admitted) = registry.admit(Arc::clone(&session), Instant::now());
        assert_eq!(admitted, Ok(()));
        session
    }

    async fn pass(seconds: u64) -> Instant {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        Instant::now()
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_is_found_until_it_is_removed() {
        let registry = Registry::new(10, 10);
        let session = admit(&registry, "root");
        let found = registry.find(&session.id()).expect("found");
        assert!(Arc::ptr_eq(&found, &session));
        assert!(registry.remove(&session));
        assert!(!registry.remove(&session), "only one gets to log it out");
        assert!(registry.find(&session.id()).is_none());
        assert!(registry.writer.lock().by_originator.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_user_holds_outlives_the_sessions() {
        let registry = Registry::new(10, 10);
        let (first, second) = (admit(&registry, "root"), admit(&registry, "root"));
        let other = admit(&registry, "other");
        assert!(Arc::ptr_eq(first.shares(), second.shares()));
        assert!(!Arc::ptr_eq(first.shares(), other.shares()));
        let held = first.shares().clone();
        for session in [first, second] {
            registry.remove(&session);
        }
        let third = admit(&registry, "root");
        assert!(Arc::ptr_eq(&held, third.shares()), "logging in again is no way around a share");
        drop((held, other));
        registry.remove(&third);
        drop(third);
        admit(&registry, "more");
        assert_eq!(registry.writer.lock().shares.len(), 2, "what nobody holds is forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_limit_per_user_the_least_recently_used_goes() {
        let registry = Registry::new(10, 2);
        let (first, second) = (admit(&registry, "root"), admit(&registry, "root"));
        let other = admit(&registry, "other");
        first.touch(pass(1).await);
        let third = session_of_user("root");
        let (gone, admitted) = registry.admit(Arc::clone(&third), Instant::now());
        assert_eq!((ids(&gone), admitted), (vec![second.id()], Ok(())));
        assert!([&first, &third, &other].iter().all(|one| registry.find(&one.id()).is_some()));
        assert_eq!(registry.len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_registry_takes_no_more_until_some_are_over() {
        let registry = Registry::new(2, 2);
        let (first, second) = (admit(&registry, "a"), admit(&registry, "b"));
        let now = Instant::now();
        assert_eq!(registry.has_room("xengate/c", now), Err(NotAdmitted::Full));
        let (gone, admitted) = registry.admit(session_of_user("c"), now);
        assert_eq!((ids(&gone), admitted), (vec![], Err(NotAdmitted::Full)));
        assert_eq!(registry.len(), 2);

        let now = pass(3600).await;
        second.touch(now);
        assert_eq!(registry.has_room("xengate/c", now), Ok(()));
        let (gone, admitted) = registry.admit(session_of_user("c"), now);
        assert_eq!((ids(&gone), admitted), (vec![first.id()], Ok(())));
        assert_eq!(registry.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_registry_lets_a_user_at_the_limit_change_sessions() {
        let registry = Registry::new(2, 1);
        let (first, _) = (admit(&registry, "a"), admit(&registry, "b"));
        let now = Instant::now();
        assert_eq!(registry.has_room("xengate/a", now), Ok(()));
        assert_eq!(registry.has_room("xengate/c", now), Err(NotAdmitted::Full));
        let (gone, admitted) = registry.admit(session_of_user("a"), now);
        assert_eq!((ids(&gone), admitted), (vec![first.id()], Ok(())));
    }

    #[tokio::test(start_paused = true)]
    async fn the_sweep_takes_what_is_over_and_nothing_else() {
        let registry = Registry::new(10, 10);
        let idle = admit(&registry, "idle");
        let now = pass(1800).await;
        assert!(registry.sweep(now).is_empty());
        let (used, spent) = (admit(&registry, "used"), admit(&registry, "spent"));
        spent.access("a", now).expect("access").ended().cancel();
        let mut gone = ids(&registry.sweep(pass(1800).await));
        let mut expected = vec![idle.id(), spent.id()];
        gone.sort();
        expected.sort();
        assert_eq!(gone, expected);
        assert!(registry.find(&used.id()).is_some());
        assert_eq!(registry.writer.lock().by_originator.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn once_closed_nobody_gets_in() {
        let registry = Registry::new(10, 10);
        let session = admit(&registry, "root");
        assert_eq!(ids(&registry.close()), [session.id()]);
        let now = Instant::now();
        assert_eq!(registry.has_room("xengate/c", now), Err(NotAdmitted::Closed));
        let (_, admitted) = registry.admit(session_of_user("root"), now);
        assert_eq!(admitted, Err(NotAdmitted::Closed));
        assert_eq!(registry.len(), 0);
    }
}
