//! Who may have a stream, how many, and until when.
//!
//! Each session with streams has one task that keeps it in use, notices its end and tells all of
//! its streams.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foldhash::HashMap;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use xengate_config::Limits;
use xengate_core::auth::{Authority, Caller, Over};

/// Why a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The gateway ends.
    Shutdown,
    /// The session is over.
    Session(Over),
    /// What it asks for costs more by now than one may ask for.
    TooCostly,
    /// The session's login to a backend is over.
    Backend(String, Over),
}

impl End {
    /// The reason in a word.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Shutdown => "shutdown",
            Self::TooCostly => "too_costly",
            Self::Session(over) | Self::Backend(_, over) => match over {
                Over::LoggedOut => "logged_out",
                Over::Expired => "expired",
                Over::Ended => "session_ended",
                Over::Unconfirmed => "unconfirmed",
            },
        }
    }

    /// The backend whose session it was, where others go on.
    pub(super) fn backend(&self) -> Option<&str> {
        match self {
            Self::Backend(name, _) => Some(name),
            Self::Shutdown | Self::TooCostly | Self::Session(_) => None,
        }
    }
}

/// Why there is no stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPermit {
    /// There are as many as there may be.
    #[error("there are as many event streams as the gateway takes")]
    Full,
    /// The session has as many as it may have.
    #[error("the session has as many event streams as one may have")]
    OfSession,
    /// The user has as many as one may have, in this session and others.
    #[error("the user has as many event streams, in all sessions, as one may have")]
    OfUser,
    /// There are as many different ones as there may be.
    #[error("there are as many different event streams as the gateway takes")]
    Groups,
    /// The user's streams ask for as many different things as one user's may.
    #[error("the user's event streams ask for as many different things as they may")]
    GroupsOfUser,
}

/// The streams there are.
#[derive(Debug)]
pub(super) struct StreamPermits {
    authority: Arc<Authority>,
    stopping: CancellationToken,
    most: usize,
    most_of_session: usize,
    most_of_user: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    sessions: HashMap<Uuid, Streams>,
    users: HashMap<Arc<str>, usize>,
}

/// The streams of one session.
#[derive(Debug)]
struct Streams {
    count: usize,
    standing: watch::Receiver<Standing>,
    /// There is one more, perhaps on another backend.
    more: Arc<Notify>,
}

/// How a session stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Standing {
    over: Option<End>,
    /// The backends it has no access to any more.
    lost: BTreeMap<String, Over>,
}

/// A stream's place among the others.
#[derive(Debug)]
pub struct StreamPermit {
    seats: Arc<StreamPermits>,
    caller: Arc<Caller>,
    standing: watch::Receiver<Standing>,
}

impl StreamPermits {
    pub(super) fn new(
        authority: Arc<Authority>,
        limits: &Limits,
        stopping: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            authority,
            stopping,
            most: limits.max_event_streams,
            most_of_session: limits.max_event_streams_per_session,
            most_of_user: limits.max_event_streams_per_user,
            taken: Mutex::default(),
        })
    }

    pub(super) fn take(self: &Arc<Self>, caller: &Caller) -> Result<StreamPermit, NoPermit> {
        let mut taken = self.taken.lock();
        let session = caller.session.id();
        if taken.sessions.get(&session).is_some_and(|one| one.count >= self.most_of_session) {
            return Err(NoPermit::OfSession);
        }
        let user = caller.session.username();
        if taken.users.get(user).is_some_and(|count| *count >= self.most_of_user) {
            return Err(NoPermit::OfUser);
        }
        if taken.all >= self.most {
            return Err(NoPermit::Full);
        }
        taken.all += 1;
        match taken.users.get_mut(user) {
            Some(count) => *count += 1,
            None => _ = taken.users.insert(user.into(), 1),
        }
        let streams = taken.sessions.entry(session).or_insert_with(|| self.attend(caller));
        streams.count += 1;
        streams.more.notify_one();
        let standing = streams.standing.clone();
        Ok(StreamPermit { seats: self.clone(), caller: Arc::new(caller.clone()), standing })
    }

    /// How many streams there are.
    pub(super) fn len(&self) -> usize {
        self.taken.lock().all
    }

    /// Has a session attended to for as long as it has streams.
    fn attend(&self, caller: &Caller) -> Streams {
        let (tell, standing) = watch::channel(Standing::default());
        let more = Arc::new(Notify::new());
        let (authority, caller) = (self.authority.clone(), caller.clone());
        tokio::spawn(attend(authority, caller, self.stopping.clone(), more.clone(), tell));
        Streams { count: 0, standing, more }
    }
}

async fn attend(
    authority: Arc<Authority>,
    caller: Caller,
    stopping: CancellationToken,
    more: Arc<Notify>,
    tell: watch::Sender<Standing>,
) {
    let over = |end| tell.send_modify(|standing| standing.over = Some(end));
    loop {
        tokio::select! {
            biased;
            () = stopping.cancelled() => return over(End::Shutdown),
            () = tell.closed() => return,
            () = caller.session_ended() => {}
            () = more.notified() => {}
            () = tokio::time::sleep(authority.renew_after(&caller.session)) => {}
        }
        if let Err(why) = authority.renew(&caller).await {
            return over(End::Session(why));
        }
        let backends = caller.session.backends().into_iter();
        let lost = backends.filter_map(|(name, _)| Some((caller.lost(&name)?, name)));
        let lost: BTreeMap<String, Over> = lost.map(|(why, name)| (name, why)).collect();
        tell.send_if_modified(|standing| {
            let modified = standing.lost != lost;
            standing.lost = lost;
            modified
        });
    }
}

impl StreamPermit {
    /// Whose it is.
    pub(super) fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    /// Why a stream of these backends has to end, if it has to.
    pub(super) fn end(&mut self, backends: &BTreeSet<Arc<str>>) -> Option<End> {
        let standing = self.standing.borrow_and_update();
        if let Some(end) = &standing.over {
            return Some(end.clone());
        }
        let lost = standing.lost.iter().find(|(name, _)| backends.contains(name.as_str()))?;
        Some(End::Backend(lost.0.clone(), *lost.1))
    }

    /// Returns when the session stands differently.
    pub(super) async fn changed(&mut self) {
        if self.standing.changed().await.is_err() {
            // Whoever told is gone, and has told why before.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock();
        taken.all -= 1;
        let session = &self.caller.session;
        if let Some(count) = taken.users.get_mut(session.username()) {
            *count -= 1;
            if *count == 0 {
                taken.users.remove(session.username());
            }
        }
        let session = session.id();
        if let Some(streams) = taken.sessions.get_mut(&session) {
            streams.count -= 1;
            if streams.count == 0 {
                taken.sessions.remove(&session);
            }
        }
    }
}
