//! Counting what the gateway itself does: atomics that anyone may move, at the price of a few
//! additions. Nothing here knows what is counted, nor how it is shown. And whose request a line of
//! the log is about.

mod histogram;
pub mod request_span;
mod sharded;

pub use histogram::{BOUNDS, Distribution, Histogram};
pub use sharded::Sharded;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn inc(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many there are at the moment; clones count the same things.
#[derive(Debug, Default, Clone)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// One more, until what is returned is dropped.
    #[must_use]
    pub fn hold(&self) -> Held {
        self.0.fetch_add(1, Ordering::Relaxed);
        Held(self.clone())
    }

    /// How many there are.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One of those that a [`Gauge`] counts.
#[derive(Debug)]
pub struct Held(Gauge);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_counts_what_is_held() {
        let gauge = Gauge::default();
        let (one, other) = (gauge.hold(), gauge.clone().hold());
        assert_eq!(gauge.get(), 2);
        drop(one);
        assert_eq!(gauge.get(), 1);
        drop(other);
        assert_eq!(gauge.get(), 0);
    }
}
