//! What a sync brought, applied to the mirror and shown to its readers.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Brought, LARGE_BATCH, LONG_PAUSE, Sync};
use crate::inventory::draft::{Draft, Finished};
use crate::inventory::encode::Encoder;
use crate::inventory::refs::RefIndex;
use crate::inventory::store::Snapshot;
use xenapi_client::{EventFrame, Session};

impl Sync {
    /// Applies what was brought and shows it to the readers. None when that failed: then nothing
    /// but a fresh sync will do.
    pub(super) async fn apply(&mut self, brought: Brought) -> Option<EventFrame> {
        let old = self.mirror.reading().map(|reading| reading.snapshot.clone());
        let mut encoder = std::mem::replace(&mut self.encoder, Encoder::new(self.mirror.name()));
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
                let unread = self.unread.clone();
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
        self.encoder = encoder;
        let lately = self.complained.is_some_and(|then| then.elapsed() < LONG_PAUSE);
        if finished.unreadable > 0 && !lately {
            self.complained = Some(Instant::now());
            let (backend, count) = (self.mirror.name(), finished.unreadable);
            tracing::warn!(backend, count, "events that could not be read");
        }
        self.unread = finished.unread.clone();
        self.mirror.publish(finished, refs);
    }

    /// Asks for the objects that could not be read.
    pub(super) async fn read_again(&mut self, session: &Session) {
        let read = self.unread.ask(&self.mirror.backend, session).await;
        let Some(reading) = self.mirror.reading() else { return };
        let mut encoder = std::mem::replace(&mut self.encoder, Encoder::new(self.mirror.name()));
        let (mirror, unread) = (self.mirror.clone(), self.unread.clone());
        let finished = mirror.with_refs(|refs| {
            let mut draft = Draft::from(Snapshot::clone(&reading.snapshot)).with_unread(unread);
            draft.take_again(&read, &mut encoder, refs);
            draft.settle(&mut encoder, refs);
            draft.finish()
        });
        self.show(finished, None, encoder);
    }
}
