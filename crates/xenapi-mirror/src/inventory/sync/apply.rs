//! What a sync brought, applied to the mirror and shown to its readers.

use std::sync::Arc;

use tokio::time::Instant;

use super::Sync;
use super::backoff::LONG_PAUSE;
use super::fetch::Brought;
use crate::inventory::counts::Counts;
use crate::inventory::draft::{Draft, Finished};
use crate::inventory::encode::Encoder;
use crate::inventory::refs::RefIndex;
use crate::inventory::store::Snapshot;
use crate::inventory::unread::{Remedies, Remedy, Unread};
use crate::inventory::untold::Untold;

/// Batches of more events than this are applied where they are in nobody's way.
const LARGE_BATCH: usize = 500;

/// What is known of the objects, beside what readers see.
pub(super) struct Objects {
    pub(super) encoder: Encoder,
    pub(super) counts: Counts,
    pub(super) untold: Untold,
    /// Objects that could not be read, and what is done about them.
    unread: Unread,
    remedies: Remedies,
    /// When unreadable events were last spoken of.
    complained: Option<Instant>,
    /// What is being read takes more memory than there is.
    pub(super) oversized: bool,
}

impl Objects {
    pub(super) fn new(backend: &str) -> Self {
        Self {
            encoder: Encoder::new(backend),
            counts: Counts::default(),
            untold: Untold::default(),
            unread: Unread::default(),
            remedies: Remedies::default(),
            complained: None,
            oversized: false,
        }
    }

    /// Everything has been asked for.
    pub(super) fn listed(&mut self) {
        self.remedies.synced(&self.unread);
    }

    /// What is due to be done about objects that could not be read.
    pub(super) fn remedy(&mut self) -> Remedy {
        self.remedies.due(&self.unread)
    }
}
use xenapi_client::{EventFrame, Session};

impl Sync {
    /// Applies what was brought and shows it to the readers. None when that failed: then nothing
    /// but a fresh sync will do.
    pub(super) async fn apply(&mut self, brought: Brought) -> Option<EventFrame> {
        let old = self.mirror.reading().map(|reading| reading.snapshot.clone());
        let mut encoder =
            std::mem::replace(&mut self.objects.encoder, Encoder::new(self.mirror.name()));
        let mirror = self.mirror.clone();
        let (work, frame): (Box<dyn FnOnce() -> _ + Send>, _) = match brought {
            Brought::Silence => return None,
            Brought::All(mut draft, mut refs, frame) => {
                let work = move || {
                    let old = old.unwrap_or_else(|| Arc::new(Snapshot::empty()));
                    draft.keep_unread(&old, &mut encoder, &mut refs);
                    draft.settle(&mut encoder, &mut refs);
                    (draft.finish_against(&old), Some(refs), encoder)
                };
                (Box::new(work), frame)
            }
            Brought::Changes(events, learned, frame) => {
                let (old, few) = (old?, events.len() <= LARGE_BATCH);
                let unread = self.objects.unread.clone();
                let work = move || {
                    let finished = mirror.with_refs(|refs| {
                        let mut draft = Draft::from(Snapshot::clone(&old)).with_unread(unread);
                        for (name, target) in learned {
                            draft.learn(&name, target, refs);
                        }
                        for event in &events {
                            draft.take(event, &mut encoder, refs);
                        }
                        draft.settle(&mut encoder, refs);
                        draft.finish()
                    });
                    (finished, None, encoder)
                };
                if few {
                    let (finished, refs, encoder) = work();
                    self.show(finished, refs, encoder);
                    return Some(frame);
                }
                (Box::new(work), frame)
            }
        };
        // Tens of thousands of references take long enough to be in others' way.
        match tokio::task::spawn_blocking(work).await {
            Ok((finished, refs, encoder)) => {
                self.show(finished, refs, encoder);
                Some(frame)
            }
            Err(error) => {
                tracing::error!(backend = self.mirror.name(), %error, "applying events failed");
                None
            }
        }
    }

    fn show(&mut self, finished: Finished, refs: Option<RefIndex>, encoder: Encoder) {
        self.objects.encoder = encoder;
        let lately = self.objects.complained.is_some_and(|then| then.elapsed() < LONG_PAUSE);
        if finished.unreadable > 0 && !lately {
            self.objects.complained = Some(Instant::now());
            let (backend, count) = (self.mirror.name(), finished.unreadable);
            tracing::warn!(backend, count, "events that could not be read");
        }
        self.objects.unread = finished.unread.clone();
        self.mirror.publish(finished, refs);
    }

    /// Asks for the objects that could not be read.
    pub(super) async fn read_again(&mut self, session: &Session) {
        let read = self.objects.unread.ask(&self.mirror.backend, session).await;
        let Some(reading) = self.mirror.reading() else { return };
        let mut encoder =
            std::mem::replace(&mut self.objects.encoder, Encoder::new(self.mirror.name()));
        let (mirror, unread) = (self.mirror.clone(), self.objects.unread.clone());
        let finished = mirror.with_refs(|refs| {
            let mut draft = Draft::from(Snapshot::clone(&reading.snapshot)).with_unread(unread);
            draft.take_again(&read, &mut encoder, refs);
            draft.settle(&mut encoder, refs);
            draft.finish()
        });
        self.show(finished, None, encoder);
    }
}
