//! How busy VMs are where the backend only counts their CPU time: from one reading to the next.

use std::time::Duration;

use foldhash::HashMap;
use parking_lot::RwLock;
use serde::Deserialize;
use tokio::time::Instant;
use uuid::Uuid;

use xenapi_client::Found;

/// Readings closer together say little: xend counts when it is asked, not when the gateway thinks.
const SHORTEST: Duration = Duration::from_secs(1);

/// A mean over more than this is not how busy a VM is now.
const LONGEST: Duration = Duration::from_secs(90);

/// The CPU time of a VM.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Seconds that its VCPUs have run, all together.
    pub cpu_time: f64,
    /// When that was read.
    pub at: Instant,
    /// How many of its VCPUs were busy, on average, since the reading before, and how long ago that
    /// was; not known after the first.
    pub busy: Option<(f64, Duration)>,
}

/// The CPU times of a backend's VMs, by the uuids of their metrics.
#[derive(Debug, Default)]
pub(super) struct Usages(RwLock<HashMap<Uuid, Usage>>);

#[derive(Deserialize)]
struct Metrics {
    uuid: Uuid,
    cpu_time: f64,
}

impl Metrics {
    fn of(record: &str) -> Option<Self> {
        // Of a name that comes twice the last one counts.
        let last = || serde_json::from_value(serde_json::from_str(record).ok()?).ok();
        serde_json::from_str(record).ok().or_else(last)
    }
}

impl Usages {
    /// Takes what was read of some VMs, or of all.
    pub(super) fn take(&self, found: &[Found], at: Instant, all: bool) {
        let metrics = found.iter().filter(|found| found.class == "VM_metrics");
        let metrics = metrics.filter_map(|found| Metrics::of(found.record.as_deref()?));
        let read: HashMap<Uuid, f64> =
            metrics.map(|Metrics { uuid, cpu_time }| (uuid, cpu_time)).collect();
        let mut usages = self.0.write();
        if all {
            usages.retain(|uuid, _| read.contains_key(uuid));
        }
        for (uuid, cpu_time) in read {
            let next = Usage::after(usages.get(&uuid), cpu_time, at);
            usages.insert(uuid, next);
        }
    }

    /// What is known of a VM, by its metrics.
    pub(super) fn get(&self, metrics: &Uuid) -> Option<Usage> {
        self.0.read().get(metrics).copied()
    }

    pub(super) fn forget(&self) {
        self.0.write().clear();
    }
}

impl Usage {
    fn after(before: Option<&Self>, cpu_time: f64, at: Instant) -> Self {
        let new = Self { cpu_time, at, busy: None };
        let Some(before) = before else { return new };
        let apart = at.saturating_duration_since(before.at);
        // Another domain counts from nothing.
        if apart > LONGEST || cpu_time < before.cpu_time {
            return new;
        }
        if apart < SHORTEST {
            return *before;
        }
        let busy = (cpu_time - before.cpu_time) / apart.as_secs_f64();
        Self { busy: Some((busy, apart)), ..new }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(number: u128, cpu_time: f64) -> Found {
        let (uuid, raw) = (Uuid::from_u128(number), None);
        let record = Some(format!(r#"{{"uuid":"{uuid}","cpu_time":{cpu_time},"state":[]}}"#));
        Found { class: "VM_metrics", reference: uuid.to_string(), record, raw }
    }

    #[test]
    fn two_readings_tell_how_busy_a_vm_is() {
        let (usages, begun) = (Usages::default(), Instant::now());
        let busy = |number| usages.get(&Uuid::from_u128(number)).map(|usage| usage.busy);
        let at = |seconds| begun + Duration::from_secs(seconds);
        usages.take(&[found(1, 10.0), found(2, 5.0)], at(0), true);
        assert_eq!((busy(1), busy(3)), (Some(None), None));
        usages.take(&[found(1, 13.0), found(2, 5.0)], at(2), true);
        assert_eq!(busy(1), Some(Some((1.5, Duration::from_secs(2)))));
        assert_eq!(busy(2), Some(Some((0.0, Duration::from_secs(2)))));
        // Too soon to tell: what was known stays, and counts from where it was.
        usages.take(&[found(1, 13.0)], at(2) + Duration::from_millis(100), false);
        assert_eq!(busy(1), Some(Some((1.5, Duration::from_secs(2)))));
        usages.take(&[found(1, 1.0), found(2, 6.0)], at(4), true);
        assert_eq!(busy(1), Some(None), "it was started anew");
        assert_eq!(busy(2), Some(Some((0.5, Duration::from_secs(2)))));
        usages.take(&[found(2, 7.0)], at(400), true);
        assert_eq!((busy(1), busy(2)), (None, Some(None)), "gone, and not seen for long");
    }

    #[test]
    fn what_has_no_cpu_time_is_left_alone() {
        let usages = Usages::default();
        let mut without = found(1, 1.0);
        without.record = Some(format!(r#"{{"uuid":"{}"}}"#, Uuid::from_u128(1)));
        let mut gone = found(2, 1.0);
        gone.record = None;
        usages.take(&[without, gone], Instant::now(), true);
        assert_eq!(
            (usages.get(&Uuid::from_u128(1)), usages.get(&Uuid::from_u128(2))),
            (None, None)
        );
    }
}
