//! A mirror without a backend: events in, snapshots out. Benchmarks measure with it what a mirror
//! does, and nothing of what brings the events.

use super::draft::{Draft, Finished};
use super::encode::Encoder;
use super::refs::RefIndex;
use super::store::Snapshot;

/// A mirror without a backend.
pub struct Workbench {
    encoder: Encoder,
    refs: RefIndex,
    snapshot: Snapshot,
    revision: u64,
}

impl Workbench {
    /// One that holds nothing, of a backend of this name.
    pub fn new(backend: &str) -> Self {
        let (encoder, refs) = (Encoder::new(backend), RefIndex::default());
        Self { encoder, refs, snapshot: Snapshot::empty(), revision: 0 }
    }

    /// Applies events, each the JSON that `event.from` gives, as one batch. How many objects have
    /// changed.
    pub fn apply<'a>(&mut self, events: impl IntoIterator<Item = &'a [u8]>) -> usize {
        let mut draft = Draft::from(self.snapshot.clone());
        for event in events {
            draft.take(event, &mut self.encoder, &mut self.refs);
        }
        draft.settle(&mut self.encoder, &mut self.refs);
        let Finished { mut snapshot, changes, .. } = draft.finish();
        self.revision += 1;
        snapshot.stamp(self.revision, &changes);
        self.snapshot = snapshot;
        changes.len()
    }

    /// What it holds.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }
}

impl std::fmt::Debug for Workbench {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workbench").field("revision", &self.revision).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_can_be_read() {
        let mut bench = Workbench::new("lab");
        let vm = br#"{"class":"vm","operation":"add","ref":"OpaqueRef:1",
            "snapshot":{"uuid":"00000000-0000-0000-0000-000000000001","name_label":"a"}}"#;
        assert_eq!(bench.apply([&vm[..]]), 1);
        assert_eq!(bench.apply([&vm[..]]), 0, "nothing has changed");
        assert_eq!(bench.snapshot().len(), 1);
    }
}
