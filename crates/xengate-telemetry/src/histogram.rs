//! How long things take.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets, in seconds: from an answer out of memory to a long poll.
pub const BOUNDS: [f64; 14] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0,
    60.0,
];

/// The same in nanoseconds, as they are compared.
const NANOS: [u64; BOUNDS.len()] = {
    let (mut nanos, mut at) = ([0; BOUNDS.len()], 0);
    while at < BOUNDS.len() {
        nanos[at] = (BOUNDS[at] * 1e9 + 0.5) as u64;
        at += 1;
    }
    nanos
};

/// Counts durations by their size. The last bucket takes what is above all bounds.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

/// What a [`Histogram`] has counted.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Distribution {
    /// How many in each bucket alone; the last is for what is above all of [`BOUNDS`].
    pub buckets: [u64; BOUNDS.len() + 1],
    /// All durations together, in seconds.
    pub seconds: f64,
}

impl Histogram {
    /// Counts one.
    pub fn observe(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = NANOS.iter().position(|bound| nanos <= *bound).unwrap_or(NANOS.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Adds what was counted to `sum`.
    pub fn add_to(&self, sum: &mut Distribution) {
        for (all, bucket) in sum.buckets.iter_mut().zip(&self.buckets) {
            *all += bucket.load(Ordering::Relaxed);
        }
        sum.seconds += Duration::from_nanos(self.nanos.load(Ordering::Relaxed)).as_secs_f64();
    }
}

impl Distribution {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Each bucket's upper bound, the last one's infinite, and how many are in it alone.
    pub fn bounded(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
        bounds.zip(self.buckets).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        let cases = [(0, 0), (50_000, 0), (50_001, 1), (1_000_000, 4), (61_000_000_000, 14)];
        for (nanos, bucket) in cases {
            let mut before = Distribution::default();
            histogram.add_to(&mut before);
            histogram.observe(Duration::from_nanos(nanos));
            let mut after = Distribution::default();
            histogram.add_to(&mut after);
            assert_eq!(after.buckets[bucket], before.buckets[bucket] + 1, "{nanos} ns");
        }
        let mut sum = Distribution::default();
        histogram.add_to(&mut sum);
        assert_eq!(sum.count(), 5);
        assert!((sum.seconds - 61.001_100_001).abs() < 1e-9, "{}", sum.seconds);
        assert_eq!(sum.bounded().last(), Some(&(f64::INFINITY, 1)));
        assert!(NANOS.is_sorted());
    }
}
