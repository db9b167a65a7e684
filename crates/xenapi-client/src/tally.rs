//! Counts of a backend's calls: how they ended and how long they took.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::RwLock;

use super::error::CallError;
use xengate_telemetry::{Distribution, Histogram};

/// How many calls are told apart. The Xen-API has more, and no gateway makes all of them.
const MOST: usize = 400;

/// What the calls beyond those go by.
const OTHER: &str = "other";

/// How calls end. The last is for those whose caller went away first.
const OUTCOMES: [&str; 10] = [
    "ok",
    "failure",
    "unreachable",
    "timeout",
    "bad_reply",
    "busy",
    "unsendable",
    "misconfigured",
    "not_taken",
    "abandoned",
];
const ABANDONED: usize = OUTCOMES.len() - 1;

/// Counts calls by their names.
#[derive(Debug, Default)]
pub(super) struct Tally(RwLock<BTreeMap<Box<str>, Arc<Counts>>>);

#[derive(Debug, Default)]
struct Counts {
    took: Histogram,
    outcomes: [AtomicU64; OUTCOMES.len()],
}

/// A call that is being made.
pub(super) struct Calling {
    counts: Arc<Counts>,
    begun: Instant,
    outcome: usize,
}

/// What became of one call, all times it was made.
#[derive(Debug, Clone, PartialEq)]
pub struct CallCounts {
    /// `VM.start`.
    pub call: Box<str>,
    /// `ok`, `failure`, … and how often; outcomes nobody met are left out.
    pub outcomes: Vec<(&'static str, u64)>,
    /// How long it took, the wait for a connection included.
    pub took: Distribution,
}

impl Tally {
    /// Begins to count a call. One that is dropped without an end counts as abandoned.
    pub(super) fn begin(&self, call: &str) -> Calling {
        let known = {
            let all = self.0.read();
            let other = || all.get(OTHER).filter(|_| all.len() > MOST);
            all.get(call).or_else(other).cloned()
        };
        let counts = known.unwrap_or_else(|| {
            let mut all = self.0.write();
            let call = if all.len() < MOST { call } else { OTHER };
            all.entry(call.into()).or_default().clone()
        });
        Calling { counts, begun: Instant::now(), outcome: ABANDONED }
    }

    /// What was counted so far.
    pub(super) fn read(&self) -> Vec<CallCounts> {
        let all = self.0.read();
        let read = all.iter().map(|(call, counts)| {
            let mut took = Distribution::default();
            counts.took.add_to(&mut took);
            let outcomes = counts.outcomes.iter().map(|count| count.load(Ordering::Relaxed));
            let outcomes = OUTCOMES.into_iter().zip(outcomes).filter(|(_, count)| *count > 0);
            CallCounts { call: call.clone(), outcomes: outcomes.collect(), took }
        });
        read.collect()
    }
}

impl Calling {
    /// Counts how it ended.
    pub(super) fn end<T>(mut self, result: Result<T, CallError>) -> Result<T, CallError> {
        self.outcome = result.as_ref().err().map_or(0, outcome);
        result
    }
}

/// An error's place among the outcomes.
fn outcome(error: &CallError) -> usize {
    match error {
        CallError::Failure(_) => 1,
        CallError::Unreachable(_) => 2,
        CallError::Timeout(_) => 3,
        CallError::BadReply(_) => 4,
        CallError::Busy(_) => 5,
        CallError::Unsendable(_) => 6,
        CallError::Misconfigured(_) => 7,
        CallError::NotTaken(_) => 8,
        CallError::Unasked(error) | CallError::Partly(error) => outcome(error),
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        self.counts.took.observe(self.begun.elapsed());
        self.counts.outcomes[self.outcome].fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Busy, Phase};

    #[test]
    fn every_call_counts_once_by_how_it_ended() {
        let tally = Tally::default();
        tally.begin("VM.start").end(Ok(())).expect("as it was");
        let late = tally.begin("VM.start").end::<()>(Err(CallError::Timeout(Phase::Reply)));
        assert!(late.is_err());
        let busy = CallError::Busy(Busy { waiting: 1 });
        assert!(tally.begin("event.from").end::<()>(Err(busy)).is_err());
        drop(tally.begin("event.from"));
        let read: Vec<_> = tally
            .read()
            .into_iter()
            .map(|one| (one.call.to_string(), one.outcomes, one.took.count()))
            .collect();
        let expected = [
            ("VM.start".to_owned(), vec![("ok", 1), ("timeout", 1)], 2),
            ("event.from".to_owned(), vec![("busy", 1), ("abandoned", 1)], 2),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn names_are_told_apart_up_to_a_point() {
        let tally = Tally::default();
        for n in 0..MOST * 2 {
            drop(tally.begin(&format!("call{n}")));
        }
        let read = tally.read();
        assert_eq!(read.len(), MOST + 1);
        let other = read.iter().find(|one| &*one.call == OTHER).expect("other");
        assert_eq!(other.outcomes, [("abandoned", MOST as u64)]);
    }
}
