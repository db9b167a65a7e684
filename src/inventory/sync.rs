//! The task that keeps a mirror up to date: `event.from` in a loop.
//!
//! It works on the service account's session, or else on a session that a caller lends. A token
//! stays good from session to session as long as the backend has not been restarted, and a restart
//! ends all sessions: so whoever loses its session, rather than handing over to another, begins
//! with a fresh sync. Meanwhile the old mirror goes on answering.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::counts::Counts;
use super::draft::{Draft, Finished};
use super::encode::Encoder;
use super::mirror::{Loss, Mirror, ServiceAccount};
use super::refs::RefIndex;
use super::store::Snapshot;
use crate::backend::{CallError, EventFrame, Session};

/// How long one `event.from` waits for something to happen.
const EVENT_TIMEOUT: Duration = Duration::from_secs(30);
/// The pauses between attempts to reach a backend that is down: the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(4));
/// How often a backend is asked whether it is there while nobody lends a session.
const PROBE_EVERY: Duration = Duration::from_secs(4);
/// How long a mirror outlives its last caller.
const IDLE_LIFE: Duration = Duration::from_secs(300);
/// An answer that comes sooner than this and holds no event is not a wait that ran out.
const HASTE: Duration = Duration::from_millis(500);
/// Under which name the mirror's own sessions are known to the backend.
const ORIGINATOR: &str = "xengate-sync";

/// Why following the events came to an end.
enum End {
    /// The session's owner ended it. The token is as good on another session.
    HandOver,
    /// The backend no longer knows the session: it may have been restarted.
    SessionLost,
    /// The backend no longer understands the token, or what it counts is not what we have.
    OutOfStep,
    /// The backend did not answer, or not with what was asked for.
    Failed(CallError),
}

pub(super) struct Sync {
    mirror: Arc<Mirror>,
    encoder: Option<Encoder>,
    token: Option<String>,
    /// The session that brought the token.
    token_session: Option<Arc<Session>>,
    /// The service account's session.
    own: Option<Arc<Session>>,
    counts: Counts,
    /// When the backend last answered.
    contact: Option<Instant>,
    pause: Duration,
}

impl Sync {
    pub(super) fn new(mirror: Arc<Mirror>) -> Self {
        Self {
            mirror,
            encoder: None,
            token: None,
            token_session: None,
            own: None,
            counts: Counts::default(),
            contact: None,
            pause: PAUSES.0,
        }
    }

    /// Keeps the mirror up to date until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        while stop.run_until_cancelled(Box::pin(self.step())).await.is_some() {}
        if let Some(own) = &self.own {
            self.mirror.backend.logout(own).await;
        }
    }

    /// Finds a session and follows the events on it until that ends, one way or another.
    async fn step(&mut self) {
        let session = self.session().await;
        if !self.token_session.as_ref().is_some_and(|known| Arc::ptr_eq(known, &session)) {
            self.token = None;
        }
        self.token_session = Some(session.clone());
        match self.follow(&session).await {
            // A session that was there all along may go on where this one ended.
            End::HandOver => self.token_session = self.mirror.borrow_session(),
            End::SessionLost => {
                session.ended().cancel();
                self.token = None;
            }
            End::OutOfStep => self.token = None,
            End::Failed(error) => {
                self.lost(&error);
                self.pause().await;
            }
        }
    }

    /// Waits for a session to work on.
    async fn session(&mut self) -> Arc<Session> {
        match self.mirror.service.clone() {
            Some(account) => self.own_session(&account).await,
            None => self.borrowed_session().await,
        }
    }

    async fn own_session(&mut self, account: &ServiceAccount) -> Arc<Session> {
        let backend = self.mirror.backend.clone();
        loop {
            if let Some(own) = &self.own {
                match backend.check(own).await {
                    Ok(()) => return own.clone(),
                    Err(CallError::Failure(_)) => self.own = None,
                    // Perhaps another host has become the coordinator: a login would tell.
                    Err(_) => {}
                }
            }
            match account.password.read() {
                Ok(password) => match backend.login(&account.username, &password, ORIGINATOR).await
                {
                    Ok(session) => return self.own.insert(session).clone(),
                    Err(error) => self.lost(&error),
                },
                Err(error) => {
                    let reason = format!("service account: {error}");
                    self.mirror.lost(Loss::Refused(reason), self.contact);
                }
            }
            self.pause().await;
        }
    }

    async fn borrowed_session(&mut self) -> Arc<Session> {
        let since = Instant::now();
        loop {
            if let Some(session) = self.mirror.borrow_session() {
                break session;
            }
            if since.elapsed() >= IDLE_LIFE {
                self.mirror.forget();
            }
            match self.mirror.backend.probe().await {
                Ok(()) => self.mirror.lost(Loss::NoSession, self.contact),
                Err(error) => self.lost(&error),
            }
            let _ = timeout(PROBE_EVERY, self.mirror.offered.notified()).await;
        }
    }

    /// Follows the events of the backend on this session for as long as that goes well.
    async fn follow(&mut self, session: &Arc<Session>) -> End {
        let ended = session.ended().clone();
        loop {
            let asked = Instant::now();
            let step = match self.token.take() {
                None => ended.run_until_cancelled(self.fresh(session)).await,
                Some(token) => {
                    let step = ended.run_until_cancelled(self.batch(session, &token)).await;
                    // Whatever the step did not get to is told again under the old token.
                    self.token = Some(token);
                    step
                }
            };
            let (frame, empty) = match step {
                None => return End::HandOver,
                Some(Err(CallError::Failure(failure))) => match failure.code.as_str() {
                    "SESSION_INVALID" => return End::SessionLost,
                    "EVENT_FROM_TOKEN_PARSE_FAILURE" => return End::OutOfStep,
                    _ => return End::Failed(CallError::Failure(failure)),
                },
                Some(Err(error)) => return End::Failed(error),
                Some(Ok(step)) => step,
            };
            self.contact = Some(Instant::now());
            self.pause = PAUSES.0;
            self.mirror.saw(&frame.token);
            self.token = Some(frame.token);
            if let Some(reading) = self.mirror.reading()
                && self.counts.out_of_step(&frame.valid_ref_counts, &reading.snapshot)
            {
                tracing::warn!(backend = self.mirror.name(), "object counts differ: fresh sync");
                return End::OutOfStep;
            }
            // A backend that answers at once and says nothing would keep both sides busy.
            if empty && asked.elapsed() < HASTE {
                sleep(HASTE).await;
            }
        }
    }

    /// Reads everything anew; what has not changed is kept.
    async fn fresh(&mut self, session: &Session) -> Result<(EventFrame, bool), CallError> {
        self.mirror.syncing();
        let mut encoder = self.encoder.take().unwrap_or_else(|| Encoder::new(self.mirror.name()));
        let (mut draft, mut refs) = (Draft::fresh(), RefIndex::default());
        let frame = self
            .mirror
            .backend
            .events(session, "", EVENT_TIMEOUT, &mut |event| {
                draft.take(event, &mut encoder, &mut refs);
                Ok(())
            })
            .await?;
        let mirror = self.mirror.clone();
        // Settling tens of thousands of references takes long enough to be in others' way.
        let settled = tokio::task::spawn_blocking(move || {
            draft.settle(&mut encoder, &mut refs);
            let finished = match mirror.reading() {
                Some(reading) => draft.finish_against(&reading.snapshot),
                None => draft.finish_against(&Snapshot::empty()),
            };
            mirror.note_unreadable(&finished);
            mirror.publish(finished, Some(refs));
            encoder
        });
        match settled.await {
            Ok(encoder) => self.encoder = Some(encoder),
            Err(error) => tracing::error!(%error, "settling a sync failed"),
        }
        Ok((frame, false))
    }

    /// Waits for changes and applies them, all or none.
    async fn batch(
        &mut self,
        session: &Session,
        token: &str,
    ) -> Result<(EventFrame, bool), CallError> {
        let mut events: Vec<Box<[u8]>> = Vec::new();
        let frame = self
            .mirror
            .backend
            .events(session, token, EVENT_TIMEOUT, &mut |event| {
                events.push(event.into());
                Ok(())
            })
            .await?;
        let Some(reading) = self.mirror.reading() else { return Ok((frame, true)) };
        let encoder = self.encoder.get_or_insert_with(|| Encoder::new(self.mirror.name()));
        let finished = self.mirror.with_refs(|refs| {
            let mut draft = Draft::from(Snapshot::clone(&reading.snapshot));
            for event in &events {
                draft.take(event, encoder, refs);
            }
            draft.settle(encoder, refs);
            draft.finish()
        });
        self.mirror.note_unreadable(&finished);
        self.mirror.publish(finished, None);
        Ok((frame, events.is_empty()))
    }

    fn lost(&self, error: &CallError) {
        let reason = error.to_string();
        let loss = match error {
            CallError::Failure(_) | CallError::Busy(_) => Loss::Refused(reason),
            CallError::BadReply(_) => Loss::Nonsense(reason),
            _ => Loss::Unreachable(reason),
        };
        self.mirror.lost(loss, self.contact);
    }

    async fn pause(&mut self) {
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSES.1);
    }
}

impl Mirror {
    fn note_unreadable(&self, finished: &Finished) {
        if finished.unreadable > 0 {
            let count = finished.unreadable;
            tracing::warn!(backend = self.name(), count, "events that could not be read");
        }
    }
}
