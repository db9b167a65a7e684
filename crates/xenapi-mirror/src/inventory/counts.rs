//! Compares how many objects the backend says there are with how many are mirrored.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::draft::is_mirrored;
use super::store::Snapshot;
use xenapi_model::datamodel;

/// How many replies in a row must differ before that means something: the counts and the events of
/// one reply need not be of the very same moment.
const PATIENCE: u32 = 2;

/// A fresh sync reads the whole pool: not more often than this for the sake of counts.
const SELDOM: Duration = Duration::from_secs(60);

/// Watches `valid_ref_counts` from reply to reply.
#[derive(Debug, Default)]
pub(super) struct Counts {
    differing: u32,
    /// Differences that a fresh sync did not mend, by class: it will not mend them next time.
    accepted: BTreeMap<String, i64>,
    resynced: bool,
    last: Option<Instant>,
}

impl Counts {
    /// Whether it is time for a fresh sync.
    pub(super) fn out_of_step(
        &mut self,
        counts: &BTreeMap<String, u64>,
        snapshot: &Snapshot,
    ) -> bool {
        let differences = differences(counts, snapshot);
        if differences.is_empty() || differences == self.accepted {
            self.differing = 0;
            self.resynced = false;
            return false;
        }
        self.differing += 1;
        if self.differing < PATIENCE {
            return false;
        }
        self.differing = 0;
        if self.resynced {
            self.accepted = differences;
            self.resynced = false;
            return false;
        }
        if self.last.is_some_and(|last| last.elapsed() < SELDOM) {
            return false;
        }
        self.last = Some(Instant::now());
        self.resynced = true;
        true
    }
}

/// By class: how many more objects the backend counts than are mirrored.
fn differences(counts: &BTreeMap<String, u64>, snapshot: &Snapshot) -> BTreeMap<String, i64> {
    let mut differences = BTreeMap::new();
    for (name, count) in counts {
        let Some(class) = datamodel().class_of_event(name) else { continue };
        // Messages are no database objects: they come as events and are never counted.
        if !class.in_database || !is_mirrored(class) {
            continue;
        }
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        let mirrored = i64::try_from(snapshot.class(class.id).len()).unwrap_or(i64::MAX);
        if count != mirrored {
            differences.insert(class.name.clone(), count - mirrored);
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(class: &str, count: u64) -> BTreeMap<String, u64> {
        BTreeMap::from([(class.to_owned(), count)])
    }

    #[tokio::test(start_paused = true)]
    async fn two_differences_in_a_row_mean_a_fresh_sync_and_no_loop_of_them() {
        let (mut watch, snapshot) = (Counts::default(), Snapshot::empty());
        assert!(!watch.out_of_step(&counts("vm", 1), &snapshot));
        assert!(!watch.out_of_step(&counts("vm", 0), &snapshot), "it was in passing");
        assert!(!watch.out_of_step(&counts("vm", 1), &snapshot));
        assert!(watch.out_of_step(&counts("vm", 1), &snapshot));
        // The fresh sync did not help: once is enough.
        for _ in 0..10 {
            assert!(!watch.out_of_step(&counts("vm", 1), &snapshot));
        }
        // Another difference is looked into again, but not at once.
        assert!(!watch.out_of_step(&counts("vm", 2), &snapshot));
        assert!(!watch.out_of_step(&counts("vm", 2), &snapshot));
        tokio::time::advance(SELDOM).await;
        assert!(!watch.out_of_step(&counts("vm", 2), &snapshot));
        assert!(watch.out_of_step(&counts("vm", 2), &snapshot));
    }

    #[test]
    fn only_mirrored_classes_count() {
        let (mut watch, snapshot) = (Counts::default(), Snapshot::empty());
        for class in ["session", "message", "role", "secret", "user", "never_heard_of"] {
            for _ in 0..3 {
                assert!(!watch.out_of_step(&counts(class, 9), &snapshot), "{class}");
            }
        }
    }
}
