//! The time of the pool, real or held by a test.

use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::Instant;

/// How time passes in a simulated pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Time {
    /// As it does for everyone.
    #[default]
    Real,
    /// Only when the handle says so. Waits and batching end when the clock is advanced past them.
    Held,
}

/// The clock of one pool.
#[derive(Debug)]
pub(crate) struct Clock {
    held: Option<watch::Sender<Duration>>,
    started: Instant,
    epoch: SystemTime,
}

/// Where a held clock starts: 2026-11-22 07:25:54 UTC, when the recordings were made.
const HELD_EPOCH: Duration = Duration::from_secs(1_795_332_354);

impl Clock {
    pub(crate) fn new(time: Time) -> Self {
        let (held, epoch) = match time {
            Time::Real => (None, SystemTime::now()),
            Time::Held => {
                (Some(watch::Sender::new(Duration::ZERO)), SystemTime::UNIX_EPOCH + HELD_EPOCH)
            }
        };
        Self { held, started: Instant::now(), epoch }
    }

    /// Whether a test holds it.
    pub(crate) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        match &self.held {
            Some(held) => *held.borrow(),
            None => self.started.elapsed(),
        }
    }

    /// Moves a held clock on; a real one cannot be moved.
    pub(crate) fn advance(&self, by: Duration) {
        if let Some(held) = &self.held {
            held.send_modify(|now| *now += by);
        }
    }

    /// Waits until that much time has passed since the start.
    pub(crate) async fn until(&self, when: Duration) {
        match &self.held {
            // The sender lives as long as the clock, so the wait can only end well.
            Some(held) => _ = held.subscribe().wait_for(|now| *now >= when).await,
            None => tokio::time::sleep_until(self.started + when).await,
        }
    }

    /// Waits that long.
    pub(crate) async fn sleep(&self, duration: Duration) {
        if !duration.is_zero() {
            self.until(self.elapsed() + duration).await;
        }
    }

    /// Seconds since 1970.
    pub(crate) fn seconds(&self) -> f64 {
        let now = self.epoch + self.elapsed();
        now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
    }

    /// The wall time in seconds since 1970.
    pub(crate) fn unix(&self) -> i64 {
        let now = self.epoch + self.elapsed();
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }

    /// The wall time at the start, in seconds since 1970.
    pub(crate) fn started(&self) -> i64 {
        let since = self.epoch.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }

    /// The wall time as the Xen-API writes it, some seconds from now.
    pub(crate) fn date_time(&self, offset_seconds: i64) -> String {
        date_time(self.epoch + self.elapsed(), offset_seconds)
    }
}

fn date_time(now: SystemTime, offset_seconds: i64) -> String {
    let offset = Duration::from_secs(offset_seconds.unsigned_abs());
    let then = if offset_seconds < 0 { now.checked_sub(offset) } else { now.checked_add(offset) };
    let text = humantime::format_rfc3339_seconds(then.unwrap_or(now)).to_string();
    text.replace('-', "")
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_held_clock_moves_only_when_told() {
        let clock = Clock::new(Time::Held);
        assert_eq!(clock.date_time(0), "20261122T07:25:54Z");
        assert_eq!(clock.date_time(-60), "20261122T07:24:54Z");
        let mut wait = std::pin::pin!(clock.sleep(Duration::from_secs(1)));
        assert!(timeout(Duration::ZERO, wait.as_mut()).await.is_err());
        clock.advance(Duration::from_secs(2));
        assert!(timeout(Duration::from_secs(5), wait).await.is_ok());
        assert_eq!(clock.date_time(0), "20261122T07:25:56Z");
    }
}
