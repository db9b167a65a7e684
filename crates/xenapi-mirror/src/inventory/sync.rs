//! The task that keeps a mirror up to date: `event.from` in a loop.
//!
//! It works on the service account's session, or else on a session that a caller lends. A token
//! stays good from session to session as long as the backend has not been restarted, and a restart
//! ends all sessions: so whoever loses its session, rather than handing over to another, begins
//! with a fresh sync. Meanwhile the old mirror goes on answering.
//!
//! What comes next is a [`State`]. A step asks the backend once, or waits, and comes to the next one:
//!
//! ```text
//! Seeking ──► Listing ──► Watching ──┐
//!  ▲   ▲          │        │   ▲     │ went well
//!  │   └──────────┴────┬───┘   └─────┘
//!  │        came to an end
//!  │                   │ and nothing came of it
//!  └── Pausing ◄───────┘
//! ```

mod apply;
mod backoff;
mod by_class;
mod failing;
mod fetch;
mod hearing;
mod session;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use apply::Objects;
use backoff::Backoff;
use fetch::Brought;
use hearing::Hearing;

use super::mirror::Mirror;
use super::standing::{Loss, ends_session};
use super::unread::Remedy;
use xenapi_client::{CallError, Session};

/// An answer that comes sooner than this and holds no event is not a wait that ran out.
const HASTE: Duration = Duration::from_millis(500);

/// What comes next.
enum State {
    /// A session is to be found. Where that is the one of a position, it is gone on from there.
    Seeking(Option<Position>),
    /// Everything there is is asked for.
    Listing(Visit),
    /// What has happened since the token is asked for.
    Watching(Visit, String),
    /// Nothing came of the last session: the next one waits.
    Pausing(Option<Position>),
}

/// A session at work.
struct Visit {
    session: Arc<Session>,
    /// Whether it has brought anything.
    progress: bool,
}

/// Where the events of a session go on.
struct Position {
    session: Arc<Session>,
    token: String,
}

/// Why following the events came to an end.
enum End {
    /// The session's owner ended it. The token is as good on another session.
    HandOver,
    /// The backend no longer knows the session: it may have been restarted.
    SessionLost,
    /// The backend no longer understands the token, or what it counts is not what we have.
    OutOfStep,
    /// The objects take more memory than there is.
    TooLarge,
    /// The backend did not answer, or not with what was asked for.
    Failed(CallError),
}

pub(super) struct Sync {
    mirror: Arc<Mirror>,
    /// The service account's session.
    own: Option<Arc<Session>>,
    objects: Objects,
    hearing: Hearing,
    backoff: Backoff,
    /// When the backend last answered.
    contact: Option<Instant>,
    /// Since when it is known that the backend cannot tell of everything at once.
    by_class: Option<Instant>,
}

impl Sync {
    pub(super) fn new(mirror: Arc<Mirror>) -> Self {
        Self {
            objects: Objects::new(mirror.name()),
            mirror,
            own: None,
            hearing: Hearing::new(),
            backoff: Backoff::new(),
            contact: None,
            by_class: None,
        }
    }

    /// Follows the events until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut state = State::Seeking(None);
        while let Some(next) = stop.run_until_cancelled(Box::pin(self.step(state))).await {
            state = next;
        }
        if let Some(own) = &self.own {
            self.mirror.backend.logout(own).await;
        }
    }

    async fn step(&mut self, state: State) -> State {
        match state {
            State::Seeking(known) => {
                let session = self.session().await;
                let known = known.filter(|known| Arc::ptr_eq(&known.session, &session));
                let visit = Visit { session, progress: false };
                match known {
                    Some(Position { token, .. }) => State::Watching(visit, token),
                    None => State::Listing(visit),
                }
            }
            State::Listing(visit) => self.round(visit, None).await,
            State::Watching(visit, token) => self.round(visit, Some(token)).await,
            State::Pausing(known) => {
                self.backoff.pause(&self.mirror).await;
                State::Seeking(known)
            }
        }
    }

    /// Asks once, for what has happened since the token or for everything, and takes the answer.
    async fn round(&mut self, mut visit: Visit, token: Option<String>) -> State {
        let (session, asked) = (visit.session.clone(), Instant::now());
        let asking = async {
            match &token {
                None => self.everything(&session).await,
                Some(token) => self.changes(&session, token).await,
            }
        };
        let brought = match session.ended().run_until_cancelled(asking).await {
            Some(Ok(brought)) => brought,
            None if session.is_lost() => return self.over(visit, token, End::SessionLost),
            None => return self.over(visit, token, End::HandOver),
            Some(Err(error)) => {
                let end = self.end_of(&session, error);
                return self.over(visit, token, end);
            }
        };
        let idle = match &brought {
            Brought::Silence => return State::of(visit, token),
            Brought::Changes(events, _, frame) => {
                events.is_empty() || token.as_ref() == Some(&frame.token)
            }
            Brought::All(..) => false,
        };
        let next = match self.take(&mut visit, brought).await {
            Ok(next) => next,
            Err(end) => return self.over(visit, token, end),
        };
        // A backend that answers at once and says nothing new would keep both sides busy.
        if idle && asked.elapsed() < HASTE {
            sleep(HASTE).await;
        }
        State::of(visit, next)
    }

    /// Takes what was brought; the token from which the events go on, if there is one.
    async fn take(&mut self, visit: &mut Visit, brought: Brought) -> Result<Option<String>, End> {
        let is_everything = matches!(&brought, Brought::All(..));
        let frame = self.apply(brought).await.ok_or(End::OutOfStep)?;
        self.contact = Some(Instant::now());
        if !self.mirror.fits() {
            self.mirror.forget();
            return Err(End::TooLarge);
        }
        visit.progress = true;
        self.backoff.well();
        self.hearing.well();
        // What could not be read has not been seen.
        if is_everything {
            self.objects.listed();
        }
        loop {
            match self.objects.remedy() {
                Remedy::Nothing => break,
                Remedy::Reread => self.read_again(&visit.session).await,
                Remedy::Sync => return Err(End::OutOfStep),
            }
        }
        self.mirror.saw(&frame.token);
        if let Some(reading) = self.mirror.reading()
            && self.objects.counts.out_of_step(&frame.valid_ref_counts, &reading.snapshot)
        {
            tracing::warn!(backend = self.mirror.name(), "object counts differ: fresh sync");
            return Err(End::OutOfStep);
        }
        Ok(Some(frame.token).filter(|token| !token.is_empty()))
    }

    fn end_of(&self, session: &Session, error: CallError) -> End {
        match &error {
            // Its owner logged out, and the backend has heard of it already.
            _ if session.ended().is_cancelled() && !session.is_lost() => End::HandOver,
            _ if self.objects.oversized => End::TooLarge,
            _ if ends_session(&error) => {
                session.ended().cancel();
                End::SessionLost
            }
            CallError::Failure(failure)
                if matches!(&*failure.code, "EVENT_FROM_TOKEN_PARSE_FAILURE" | "EVENTS_LOST") =>
            {
                End::OutOfStep
            }
            _ => End::Failed(error),
        }
    }

    /// What comes after a session in which it did not go on.
    fn over(&mut self, visit: Visit, token: Option<String>, end: End) -> State {
        let Visit { session, progress } = visit;
        match end {
            // A session that was there all along may go on where this one ended.
            End::HandOver => {
                let other = self.mirror.borrow_session();
                return State::Seeking(Position::new(other, token));
            }
            End::SessionLost => {
                self.mirror.saw_nothing();
                // Others may have lent theirs: each that is no more is found out once, and cheaply.
                if !progress && self.mirror.borrow_session().is_some() {
                    self.backoff.list_at_once();
                    return State::Seeking(None);
                }
            }
            End::OutOfStep => self.mirror.saw_nothing(),
            End::TooLarge => {
                self.is_too_large();
                return State::Pausing(None);
            }
            End::Failed(error) => {
                // A token that brings nothing but refusals is given up.
                let token = token.filter(|_| self.backoff.may_resume(&error));
                self.lost(&error, Loss::of_events(&error));
                self.mirror.rotate_sessions();
                return State::Pausing(Position::new(Some(session), token));
            }
        }
        if progress { State::Seeking(None) } else { State::Pausing(None) }
    }

    /// Says that the objects take more memory than there is. Only that there is more of it helps, or
    /// fewer of them.
    fn is_too_large(&mut self) {
        self.mirror.saw_nothing();
        self.objects.oversized = false;
        self.backoff.pause_long();
        let reason = "its objects take more memory than there is: raise limits.memory, or what the \
                      container may take";
        tracing::error!(backend = self.mirror.name(), "the pool is not mirrored: {reason}");
        self.mirror.lost(Loss::TooLarge(reason.to_owned()), self.contact);
    }

    fn lost(&mut self, error: &CallError, loss: Loss) {
        self.backoff.failed(error, &loss);
        self.mirror.lost(loss, self.contact);
    }
}

impl State {
    fn of(visit: Visit, token: Option<String>) -> Self {
        match token {
            Some(token) => Self::Watching(visit, token),
            None => Self::Listing(visit),
        }
    }
}

impl Position {
    fn new(session: Option<Arc<Session>>, token: Option<String>) -> Option<Self> {
        session.zip(token).map(|(session, token)| Self { session, token })
    }
}
