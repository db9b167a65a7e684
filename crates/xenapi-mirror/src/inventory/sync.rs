//! The task that keeps a mirror up to date: `event.from` in a loop.
//!
//! It works on the service account's session, or else on a session that a caller lends. A token
//! stays good from session to session as long as the backend has not been restarted, and a restart
//! ends all sessions: so whoever loses its session, rather than handing over to another, begins
//! with a fresh sync. Meanwhile the old mirror goes on answering.

mod apply;
mod by_class;
mod failing;
mod hearing;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use by_class::ByClass;
use failing::{is_lasting, is_silence, is_worth_a_closer_look};
use hearing::{EVENT_TIMEOUT, Hearing};

use super::counts::Counts;
use super::draft::Draft;
use super::encode::Encoder;
use super::mirror::{Mirror, ServiceAccount};
use super::refs::RefIndex;
use super::standing::{Loss, ends_session};
use super::unread::{Remedies, Remedy, Unread};
use super::untold::{Learned, Untold};
use xenapi_client::{CallError, EventFrame, ReadError, Session};

/// The pauses between attempts that fail: the first, the longest, the longest while the backend
/// does not answer at all (which costs it nothing), and the one after a failure that the next
/// attempt is sure to meet again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(4));
const SILENT_PAUSE: Duration = Duration::from_millis(750);
const LONG_PAUSE: Duration = Duration::from_secs(60);
/// For how long a backend that failed to tell of everything at once is not asked for it again.
const BY_CLASS_FOR: Duration = Duration::from_secs(600);
/// How often a backend may refuse a token before it is given up.
const TOKEN_TRIES: u32 = 3;
/// How often a backend is asked whether it is there while nobody lends a session.
const PROBE_EVERY: Duration = Duration::from_secs(4);
/// How long a mirror outlives its last caller.
const IDLE_LIFE: Duration = Duration::from_secs(300);
/// An answer that comes sooner than this and holds no event is not a wait that ran out.
const HASTE: Duration = Duration::from_millis(500);
/// Batches of more events than this are applied where they are in nobody's way.
const LARGE_BATCH: usize = 500;
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
    /// The objects take more memory than there is.
    TooLarge,
    /// The backend did not answer, or not with what was asked for.
    Failed(CallError),
}

/// What `event.from` brought. Asking can be given up at any time; what was brought is then applied
/// to the end, because half of it would leave records and references at odds.
enum Brought {
    /// Everything there is.
    All(Box<Draft>, RefIndex, EventFrame),
    /// What has happened since.
    Changes(Vec<Box<[u8]>>, Learned, EventFrame),
    /// Nothing in time: it is better asked again.
    Silence,
}

pub(super) struct Sync {
    mirror: Arc<Mirror>,
    encoder: Encoder,
    token: Option<String>,
    /// The session that brought the token.
    token_session: Option<Arc<Session>>,
    /// The service account's session.
    own: Option<Arc<Session>>,
    counts: Counts,
    untold: Untold,
    /// When the backend last answered.
    contact: Option<Instant>,
    hearing: Hearing,
    pause: Duration,
    /// Whether the last attempt failed because the backend did not answer at all, and whether that
    /// was because it could not even be asked.
    silent: bool,
    unreached: bool,
    /// Since when it is known that the backend cannot tell of everything at once.
    by_class: Option<Instant>,
    /// Whether the last session brought anything.
    progress: bool,
    /// How often in a row the token was of no use.
    rejected: u32,
    /// When everything was last asked for, and how long to wait before the next time.
    everything: (Option<Instant>, Duration),
    /// When unreadable events were last spoken of.
    complained: Option<Instant>,
    /// Objects that could not be read, and what is done about them.
    unread: Unread,
    remedies: Remedies,
    /// What is being read takes more memory than there is.
    oversized: bool,
}

impl Sync {
    pub(super) fn new(mirror: Arc<Mirror>) -> Self {
        Self {
            encoder: Encoder::new(mirror.name()),
            mirror,
            token: None,
            token_session: None,
            own: None,
            counts: Counts::default(),
            untold: Untold::default(),
            contact: None,
            hearing: Hearing::new(),
            pause: PAUSES.0,
            silent: false,
            unreached: false,
            by_class: None,
            progress: false,
            rejected: 0,
            everything: (None, Duration::ZERO),
            complained: None,
            unread: Unread::default(),
            remedies: Remedies::default(),
            oversized: false,
        }
    }

    /// Follows the events until `stop`.
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
        self.progress = false;
        match self.follow(&session).await {
            // A session that was there all along may go on where this one ended.
            End::HandOver => {
                self.token_session = self.mirror.borrow_session();
                return;
            }
            End::SessionLost => {
                self.begin_anew();
                // Others may have lent theirs: each that is no more is found out once, and cheaply.
                if !self.progress && self.mirror.borrow_session().is_some() {
                    self.everything.0 = None;
                    return;
                }
            }
            End::OutOfStep => self.begin_anew(),
            End::TooLarge => self.is_too_large(),
            End::Failed(error) => {
                // A token that brings nothing but refusals is given up.
                let refused = !matches!(error, CallError::Unreachable(_) | CallError::Timeout(_));
                self.rejected = if refused { self.rejected + 1 } else { 0 };
                if self.rejected >= TOKEN_TRIES {
                    self.token = None;
                }
                self.lost(&error, Loss::of_events(&error));
                self.mirror.rotate_sessions();
                self.progress = false;
            }
        }
        if !self.progress {
            self.pause().await;
        }
    }

    /// Says that the objects take more memory than there is. Only that there is more of it helps, or
    /// fewer of them.
    fn is_too_large(&mut self) {
        self.begin_anew();
        (self.oversized, self.progress, self.pause) = (false, false, LONG_PAUSE);
        let reason = "its objects take more memory than there is: raise limits.memory, or what the \
                      container may take";
        tracing::error!(backend = self.mirror.name(), "the pool is not mirrored: {reason}");
        self.mirror.lost(Loss::TooLarge(reason.to_owned()), self.contact);
    }

    /// Gives up the token: the next batch is everything.
    fn begin_anew(&mut self) {
        self.token = None;
        self.mirror.saw_nothing();
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
                    // Perhaps another host has become the coordinator: a login tells.
                    Err(error) if ends_session(&error) || error.is_about_the_host() => {
                        self.own = None;
                        self.mirror.set_account_session(None);
                    }
                    Err(error) => {
                        self.lost(&error, Loss::of(&error));
                        self.pause().await;
                        continue;
                    }
                }
            }
            match account.password.read() {
                Ok(password) => match backend.login(&account.username, &password, ORIGINATOR).await
                {
                    Ok(session) => {
                        self.mirror.set_account_session(Some(session.clone()));
                        return self.own.insert(session).clone();
                    }
                    Err(error) => self.lost(&error, Loss::of(&error)),
                },
                Err(error) => {
                    let reason = format!("service account: {error}");
                    self.mirror.lost(Loss::Refused(reason), self.contact);
                    self.pause = LONG_PAUSE;
                }
            }
            // Callers can lend what the account does not get.
            if let Some(session) = self.mirror.borrow_session() {
                return session;
            }
            if self.pause < LONG_PAUSE {
                self.pause().await;
            } else {
                self.wait_refused().await;
            }
        }
    }

    /// Waits for long before the account is tried again. Meanwhile it shows whether the backend is
    /// there at all, which the account does not.
    async fn wait_refused(&mut self) {
        let reason = self.mirror.status().reason.unwrap_or_default();
        let until = Instant::now() + LONG_PAUSE;
        loop {
            match self.mirror.backend.probe().await {
                Ok(()) => self.mirror.lost(Loss::Refused(reason.clone()), self.contact),
                Err(error) => self.lost(&error, Loss::of(&error)),
            }
            let wait = PROBE_EVERY.min(until.saturating_duration_since(Instant::now()));
            let offered = timeout(wait, self.mirror.offered.notified()).await.is_ok();
            if offered || Instant::now() >= until {
                break;
            }
        }
        self.pause = PAUSES.1;
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
            let wait = match self.mirror.backend.probe().await {
                Ok(()) => {
                    self.mirror.lost(Loss::NoSession, self.contact);
                    PROBE_EVERY
                }
                Err(error) => {
                    self.lost(&error, Loss::of(&error));
                    if self.silent { SILENT_PAUSE } else { PROBE_EVERY }
                }
            };
            let _ = timeout(wait, self.mirror.offered.notified()).await;
        }
    }

    /// Follows the events of the backend on this session for as long as that goes well.
    async fn follow(&mut self, session: &Arc<Session>) -> End {
        let ended = session.ended().clone();
        loop {
            let asked = Instant::now();
            let asking = async {
                match self.token.clone() {
                    None => self.everything(session).await,
                    Some(token) => self.changes(session, &token).await,
                }
            };
            let brought = match ended.run_until_cancelled(asking).await {
                Some(Ok(brought)) => brought,
                None if session.is_lost() => return End::SessionLost,
                None => return End::HandOver,
                Some(Err(error)) => return self.end_of(session, error),
            };
            if matches!(brought, Brought::Silence) {
                continue;
            }
            let empty = matches!(&brought, Brought::Changes(events, ..) if events.is_empty());
            let is_everything = matches!(&brought, Brought::All(..));
            let Some(frame) = self.apply(brought).await else { return End::OutOfStep };
            self.contact = Some(Instant::now());
            if !self.mirror.fits() {
                self.mirror.forget();
                return End::TooLarge;
            }
            (self.pause, self.progress) = (PAUSES.0, true);
            (self.rejected, self.silent, self.unreached) = (0, false, false);
            self.hearing.well();
            // What could not be read has not been seen.
            if is_everything {
                self.remedies.synced(&self.unread);
            }
            loop {
                match self.remedies.due(&self.unread) {
                    Remedy::Nothing => break,
                    Remedy::Reread => self.read_again(session).await,
                    Remedy::Sync => return End::OutOfStep,
                }
            }
            self.mirror.saw(&frame.token);
            let idle = empty || self.token.as_ref() == Some(&frame.token);
            self.token = Some(frame.token).filter(|token| !token.is_empty());
            if let Some(reading) = self.mirror.reading()
                && self.counts.out_of_step(&frame.valid_ref_counts, &reading.snapshot)
            {
                tracing::warn!(backend = self.mirror.name(), "object counts differ: fresh sync");
                return End::OutOfStep;
            }
            // A backend that answers at once and says nothing new would keep both sides busy.
            if idle && asked.elapsed() < HASTE {
                sleep(HASTE).await;
            }
        }
    }

    fn end_of(&self, session: &Session, error: CallError) -> End {
        match &error {
            // Its owner logged out, and the backend has heard of it already.
            _ if session.ended().is_cancelled() && !session.is_lost() => End::HandOver,
            _ if self.oversized => End::TooLarge,
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

    /// Asks for everything: at once, or class by class where that fails.
    async fn everything(&mut self, session: &Session) -> Result<Brought, CallError> {
        self.before_everything().await;
        self.mirror.syncing();
        if self.by_class.is_some_and(|since| since.elapsed() < BY_CLASS_FOR) {
            return self.each_class(session).await;
        }
        let error = match self.all_at_once(session).await {
            Err(error)
                if !self.oversized && !ends_session(&error) && is_worth_a_closer_look(&error) =>
            {
                error
            }
            outcome => return outcome,
        };
        if session.ended().is_cancelled() {
            return Err(error);
        }
        match self.each_class(session).await {
            Ok(brought) => {
                let backend = self.mirror.name();
                tracing::warn!(backend, %error, "event.from fails, so the classes are read one by one");
                self.by_class = Some(Instant::now());
                Ok(brought)
            }
            Err(other) if self.oversized || ends_session(&other) => Err(other),
            Err(other) => {
                let backend = self.mirror.name();
                tracing::debug!(backend, error = %other, "reading class by class fails as well");
                Err(error)
            }
        }
    }

    async fn each_class(&mut self, session: &Session) -> Result<Brought, CallError> {
        self.untold = Untold::default();
        let (encoder, untold) = (&mut self.encoder, &mut self.untold);
        let (mirror, oversized) = (&self.mirror, &mut self.oversized);
        let reading = ByClass::new(mirror, session, encoder, untold, oversized).read();
        let reading = Box::pin(reading);
        let mut brought = hearing::everything(&self.mirror, self.contact, reading).await?;
        if let Brought::All(draft, refs, _) = &mut brought {
            if !draft.unread().is_empty() {
                let read = draft.unread().ask(&self.mirror.backend, session).await;
                draft.take_again(&read, &mut self.encoder, refs);
            }
            for (name, target) in self.untold.learn(&self.mirror.backend, session).await? {
                draft.learn(&name, target, refs);
            }
        }
        Ok(brought)
    }

    async fn all_at_once(&mut self, session: &Session) -> Result<Brought, CallError> {
        let (mut draft, mut refs) = (Draft::fresh(), RefIndex::default());
        self.untold = Untold::default();
        let (backend, encoder, untold) =
            (&self.mirror.backend, &mut self.encoder, &mut self.untold);
        let (mirror, oversized) = (&self.mirror, &mut self.oversized);
        let mut take = |event: &[u8]| {
            draft.take(event, encoder, &mut refs);
            untold.note(event);
            *oversized = !mirror.has_room_for(draft.bytes());
            // Whatever it says: that it is too large is what counts.
            if *oversized { Err(ReadError::TooLarge { limit: 0 }) } else { Ok(()) }
        };
        let asking = Box::pin(backend.events(session, &["*"], "", EVENT_TIMEOUT, &mut take));
        let frame = hearing::everything(&self.mirror, self.contact, asking).await?;
        if !draft.unread().is_empty() {
            let read = draft.unread().ask(backend, session).await;
            draft.take_again(&read, encoder, &mut refs);
        }
        for (name, target) in self.untold.learn(backend, session).await? {
            draft.learn(&name, target, &mut refs);
        }
        Ok(Brought::All(Box::new(draft), refs, frame))
    }

    /// Everything is a lot: whatever goes wrong, it is not asked for again and again. To a backend
    /// that never got the question it has cost nothing.
    async fn before_everything(&mut self) {
        let mut answers = self.mirror.backend.answers();
        let (last, wait) = &mut self.everything;
        match *last {
            _ if self.unreached => *wait = PAUSES.0,
            Some(then) if then.elapsed() < LONG_PAUSE => {
                tokio::select! {
                    () = sleep(*wait) => {}
                    Ok(()) = answers.changed(), if self.silent => {}
                }
                *wait = (*wait * 2).clamp(PAUSES.0, LONG_PAUSE);
            }
            _ => *wait = PAUSES.0,
        }
        *last = Some(Instant::now());
    }

    /// Waits for changes.
    async fn changes(&mut self, session: &Session, token: &str) -> Result<Brought, CallError> {
        let mut events: Vec<Box<[u8]>> = Vec::new();
        let (untold, begun) = (&mut self.untold, AtomicBool::new(false));
        let mut take = |event: &[u8]| {
            begun.store(true, Ordering::Relaxed);
            untold.note(event);
            events.push(event.into());
            Ok(())
        };
        let (mirror, hearing) = (&self.mirror, &mut self.hearing);
        let patience = hearing.timeout(mirror);
        let asking = Box::pin(mirror.backend.events(session, &["*"], token, patience, &mut take));
        let answer = hearing.changes(mirror, self.contact, &begun, asking).await;
        let Some(frame) = answer.transpose()? else { return Ok(Brought::Silence) };
        let learned = self.untold.learn(&self.mirror.backend, session).await?;
        Ok(Brought::Changes(events, learned, frame))
    }

    fn lost(&mut self, error: &CallError, loss: Loss) {
        if is_lasting(error) || matches!(loss, Loss::Unsupported) {
            self.pause = LONG_PAUSE;
        }
        self.silent = is_silence(error);
        self.unreached = matches!(error, CallError::Unreachable(_)) && !error.is_loss();
        self.mirror.lost(loss, self.contact);
    }

    /// Waits before the next attempt, or until a caller lends a session: then things may look up.
    /// So they may when a backend that was silent answers anybody anything.
    async fn pause(&mut self) {
        let mut answers = self.mirror.backend.answers();
        let (pause, longest) = match self.silent {
            true => (self.pause.min(SILENT_PAUSE), SILENT_PAUSE),
            false => (self.pause, PAUSES.1),
        };
        let not_before = Instant::now() + pause.min(PAUSES.0);
        tokio::select! {
            () = sleep(pause) => {}
            () = self.mirror.offered.notified() => {}
            Ok(()) = answers.changed(), if self.silent => sleep_until(not_before).await,
        }
        self.pause = (self.pause * 2).min(longest);
    }
}
