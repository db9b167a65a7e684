//! Takes what a backend was asked for, and shows it to the readers.

use std::sync::Arc;
use std::time::Duration;

use foldhash::{HashMap, HashSet};
use tokio::time::Instant;

use super::Poll;
use crate::inventory::demand::Reread;
use crate::inventory::draft::{Draft, Finished, is_mirrored};
use crate::inventory::encode::Encoder;
use crate::inventory::mirror::Mirror;
use crate::inventory::standing::Loss;
use crate::inventory::store::Snapshot;
use xenapi_client::{CallError, Found};
use xenapi_model::datamodel;

impl Poll {
    /// Shows the readers what was found. Whether a VM has devices that are not known yet.
    pub(super) async fn apply(
        &mut self,
        found: Vec<Found>,
        classes: Vec<&'static str>,
        at: Instant,
        publish: impl FnOnce(&Mirror, Finished),
    ) -> bool {
        let Some(mut encoder) = self.encoder.take() else { return false };
        let (mirror, now) = (self.mirror.clone(), Instant::now());
        let reread: HashSet<String> = self
            .reread
            .iter()
            .filter(|(_, then)| **then > at)
            .map(|(name, _)| name.clone())
            .collect();
        let old = mirror.reading().map(|reading| reading.snapshot.clone());
        let work = move || {
            if classes.contains(&"VM_metrics") {
                mirror.usages.take(&found, now, true);
            }
            let old = old.unwrap_or_else(|| Arc::new(Snapshot::empty()));
            let finished = mirror.with_refs(|refs| {
                let mut draft = Draft::from(Snapshot::clone(&old)).with_unread(mirror.unread());
                let mut known: HashMap<&str, HashSet<&str>> = HashMap::default();
                for object in &found {
                    known.entry(object.class).or_default().insert(&object.reference);
                    // What has been read since the poll began is newer, and so is what is gone.
                    // An object that vanished while it was asked for may yet be there.
                    if object.record.is_some() && !reread.contains(&object.reference) {
                        draft.take_found(object, &mut encoder, refs);
                    }
                }
                for class in classes {
                    let Some(class) = datamodel().class(class).filter(|class| is_mirrored(class))
                    else {
                        continue;
                    };
                    let mut known = known.remove(class.name.as_str()).unwrap_or_default();
                    known.extend(reread.iter().map(String::as_str));
                    draft.keep_only(class, &known, refs);
                }
                draft.settle(&mut encoder, refs);
                draft.finish()
            });
            let vanished: Vec<Found> =
                found.into_iter().filter(|object| object.record.is_none()).collect();
            (finished, encoder, vanished)
        };
        let Ok((finished, encoder, vanished)) = tokio::task::spawn_blocking(work).await else {
            self.encoder = Some(Encoder::in_utc(self.mirror.name()));
            tracing::error!(backend = self.mirror.name(), "what a poll brought was not taken in");
            let why = "what the backend answered could not be taken in".to_owned();
            self.mirror.lost(Loss::Nonsense(why), self.contact);
            return false;
        };
        self.encoder = Some(encoder);
        self.complain(finished.unreadable);
        let devices = finished.changes.iter().any(|change| {
            change.after.as_ref().is_some_and(|object| object.class().name == "VM")
                && change.before.as_ref().is_none_or(|before| {
                    change.after.as_ref().is_some_and(|after| before.sources != after.sources)
                })
        });
        publish(&self.mirror, finished);
        for object in vanished {
            // Whether it has really gone, one question tells.
            self.mirror.demand.reread_later(object.class, &object.reference);
        }
        devices
    }

    pub(super) async fn after_reread(
        &mut self,
        reread: Reread,
        read: Result<Vec<Found>, CallError>,
    ) {
        let found = match read {
            Ok(found) if !found.is_empty() => found,
            Ok(_) => return,
            Err(error) => {
                tracing::debug!(backend = self.mirror.name(), %error, "a record was not read again");
                return;
            }
        };
        // Readers who have nothing yet get it all at once.
        let Some(reading) = self.mirror.reading() else { return };
        let Some(mut encoder) = self.encoder.take() else { return };
        self.mirror.usages.take(&found, Instant::now(), false);
        let finished = self.mirror.with_refs(|refs| {
            let mut draft = Draft::from(Snapshot::clone(&reading.snapshot));
            draft = draft.with_unread(self.mirror.unread());
            for object in &found {
                draft.take_found(object, &mut encoder, refs);
            }
            draft.settle(&mut encoder, refs);
            draft.finish()
        });
        self.encoder = Some(encoder);
        self.complain(finished.unreadable);
        let now = Instant::now();
        self.reread.extend(found.into_iter().map(|object| (object.reference, now)));
        self.mirror.publish_part(finished, &reading);
        // Nobody may wait for it any more.
        let _ = reread.done.send(());
    }

    fn complain(&mut self, unreadable: u64) {
        let lately = self.complained.is_some_and(|then| then.elapsed() < Duration::from_secs(60));
        if unreadable > 0 && !lately {
            self.complained = Some(Instant::now());
            let backend = self.mirror.name();
            tracing::warn!(backend, count = unreadable, "records that could not be read");
        }
    }
}
