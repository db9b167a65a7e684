//! Asking a backend for everything there is, and for what has happened since.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::Sync;
use super::apply::Objects;
use super::by_class::ByClass;
use super::failing::is_worth_a_closer_look;
use super::hearing::{self, EVENT_TIMEOUT};
use crate::inventory::draft::Draft;
use crate::inventory::refs::RefIndex;
use crate::inventory::standing::ends_session;
use crate::inventory::untold::{Learned, Untold};
use xenapi_client::{CallError, EventFrame, ReadError, Session};

/// For how long a backend that failed to tell of everything at once is not asked for it again.
const BY_CLASS_FOR: Duration = Duration::from_secs(600);

/// What `event.from` brought. Asking can be given up at any time; what was brought is then applied
/// to the end, because half of it would leave records and references at odds.
pub(super) enum Brought {
    /// Everything there is.
    All(Box<Draft>, RefIndex, EventFrame),
    /// What has happened since.
    Changes(Vec<Box<[u8]>>, Learned, EventFrame),
    /// Nothing in time: it is better asked again.
    Silence,
}

impl Sync {
    /// Asks for everything: at once, or class by class where that fails.
    pub(super) async fn everything(&mut self, session: &Session) -> Result<Brought, CallError> {
        self.backoff.before_everything(&self.mirror).await;
        self.mirror.syncing();
        if self.by_class.is_some_and(|since| since.elapsed() < BY_CLASS_FOR) {
            return self.each_class(session).await;
        }
        let error = match self.all_at_once(session).await {
            Err(error)
                if !self.objects.oversized
                    && !ends_session(&error)
                    && is_worth_a_closer_look(&error) =>
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
            Err(other) if self.objects.oversized || ends_session(&other) => Err(other),
            Err(other) => {
                let backend = self.mirror.name();
                tracing::debug!(backend, error = %other, "reading class by class fails as well");
                Err(error)
            }
        }
    }

    async fn each_class(&mut self, session: &Session) -> Result<Brought, CallError> {
        self.objects.untold = Untold::default();
        let Objects { encoder, untold, oversized, .. } = &mut self.objects;
        let reading = ByClass::new(&self.mirror, session, encoder, untold, oversized).read();
        let reading = Box::pin(reading);
        let mut brought = hearing::everything(&self.mirror, self.contact, reading).await?;
        if let Brought::All(draft, refs, _) = &mut brought {
            if !draft.unread().is_empty() {
                let read = draft.unread().ask(&self.mirror.backend, session).await;
                draft.take_again(&read, &mut self.objects.encoder, refs);
            }
            for (name, target) in self.objects.untold.learn(&self.mirror.backend, session).await? {
                draft.learn(&name, target, refs);
            }
        }
        Ok(brought)
    }

    async fn all_at_once(&mut self, session: &Session) -> Result<Brought, CallError> {
        let (mut draft, mut refs) = (Draft::fresh(), RefIndex::default());
        self.objects.untold = Untold::default();
        let (mirror, backend) = (&self.mirror, &self.mirror.backend);
        let Objects { encoder, untold, oversized, .. } = &mut self.objects;
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
        for (name, target) in untold.learn(backend, session).await? {
            draft.learn(&name, target, &mut refs);
        }
        Ok(Brought::All(Box::new(draft), refs, frame))
    }

    /// Waits for changes.
    pub(super) async fn changes(
        &mut self,
        session: &Session,
        token: &str,
    ) -> Result<Brought, CallError> {
        let mut events: Vec<Box<[u8]>> = Vec::new();
        let (untold, begun) = (&mut self.objects.untold, AtomicBool::new(false));
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
        let learned = self.objects.untold.learn(&self.mirror.backend, session).await?;
        Ok(Brought::Changes(events, learned, frame))
    }
}
