//! What XAPI measures of VMs, hosts and SRs: the names, and how each moves.

use super::archive::{Cell, Consolidation};
use super::load::{Wave, share};
use super::{Measuring, STEP};
use crate::database::Text;
use crate::edit::Edit;

const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * 1024.0;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Vm,
    Host,
    Sr,
}

impl Owner {
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Vm => "VM",
            Self::Host => "host",
            Self::Sr => "SR",
        }
    }

    /// As a legend names it.
    fn name(self) -> &'static str {
        match self {
            Self::Vm => "vm",
            Self::Host => "host",
            Self::Sr => "sr",
        }
    }
}

/// What an RRD takes a source's readings for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// As they are.
    Gauge,
    /// As a counter, whose growth counts.
    Derive,
    /// As a counter that starts anew with every reading.
    Absolute,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gauge => "GAUGE",
            Self::Derive => "DERIVE",
            Self::Absolute => "ABSOLUTE",
        }
    }
}

/// One source of one object.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    pub(super) owner: Owner,
    pub(super) uuid: Text,
    pub(super) name: String,
    pub(super) kind: Kind,
    /// What it is the mean of.
    waves: Vec<Wave>,
    /// The first measurement, if it was not always there.
    since: i64,
    /// When nothing was measured, by the pool's clock.
    gap: (i64, i64),
}

impl Measured {
    /// Its entry in a legend.
    pub(super) fn legend(&self, cf: Consolidation) -> String {
        format!("{}:{}:{}:{}", cf.name(), self.owner.name(), self.uuid, self.name)
    }

    /// What was measured in the `step` seconds up to `time`, by the clock of a host that is `skew`
    /// ahead.
    pub(super) fn consolidated(
        &self,
        settings: &Measuring,
        skew: i64,
        time: i64,
        step: i64,
    ) -> Cell {
        /// As many measurements stand for those of a long row.
        const SAMPLES: i64 = 12;
        let each = (step / SAMPLES / STEP * STEP).max(STEP);
        let count = step / each;
        Cell::of((0..count).map(|n| self.at(settings, time - n * each - skew)))
    }

    fn at(&self, settings: &Measuring, time: i64) -> f64 {
        // A rate needs two readings.
        let since = if self.kind == Kind::Derive { self.since + STEP } else { self.since };
        let lost = settings.gap_since.is_some_and(|since| time >= since);
        if lost || time < since || (self.gap.0..self.gap.1).contains(&time) {
            return f64::NAN;
        }
        let sum: f64 = self.waves.iter().map(|wave| wave.at(time)).sum();
        sum / self.waves.len() as f64
    }
}

/// Everything that is measured of an object.
pub(super) fn of(edit: &mut Edit<'_>, owner: Owner, reference: &Text) -> Vec<Measured> {
    let uuid = edit.text(owner.class(), reference, "uuid").clone();
    let began = edit.clock.started();
    // Once before the pool began, each object was not measured for a while.
    let away = began - 1500 - (share(&uuid) * 3600.0) as i64;
    let mut all = Collector { owner, uuid, since: 0, gap: (away, away + 300), found: Vec::new() };
    match owner {
        Owner::Vm => vm(edit, reference, &mut all),
        Owner::Host => host(edit, reference, &mut all),
        Owner::Sr => sr(edit, reference, &mut all),
    }
    all.found
}

/// When what is measured of a VM that does not run ended.
pub(super) fn ended(edit: &Edit<'_>, vm: &Text) -> i64 {
    let metrics = edit.text("VM", vm, "metrics");
    let updated = edit.text("VM_metrics", metrics, "last_updated");
    unix(updated).filter(|time| *time > 0).unwrap_or_else(|| edit.clock.started() - 600)
}

/// Whether a VM has ever run.
pub(super) fn has_history(edit: &Edit<'_>, vm: &Text) -> bool {
    !edit.flag("VM", vm, "is_a_template") && !edit.flag("VM", vm, "is_a_snapshot")
}

struct Collector {
    owner: Owner,
    uuid: Text,
    since: i64,
    gap: (i64, i64),
    found: Vec<Measured>,
}

impl Collector {
    fn add(&mut self, name: String, kind: Kind, waves: Vec<Wave>) {
        let Self { owner, ref uuid, since, gap, .. } = *self;
        self.found.push(Measured { owner, uuid: uuid.clone(), name, kind, waves, since, gap });
    }

    /// Something between two values.
    fn moving(&mut self, name: impl Into<String>, kind: Kind, low: f64, high: f64) {
        let name = name.into();
        self.moving_like(name.clone(), &name, kind, low, high);
    }

    /// The same that moves as another source does.
    fn moving_like(&mut self, name: String, like: &str, kind: Kind, low: f64, high: f64) {
        let wave = Wave::between(low, high, &format!("{}{like}", self.uuid));
        self.add(name, kind, vec![wave]);
    }

    fn flat(&mut self, name: &str, value: f64) {
        self.add(name.to_owned(), Kind::Gauge, vec![Wave::flat(value)]);
    }

    /// So many CPUs, and their mean.
    fn cpus(&mut self, count: i64, mean: &str) {
        let before = self.found.len();
        for cpu in 0..count {
            self.moving(format!("cpu{cpu}"), Kind::Derive, 0.0, 1.0);
        }
        let waves: Vec<Wave> =
            self.found[before..].iter().flat_map(|cpu| cpu.waves.iter().copied()).collect();
        if !waves.is_empty() {
            self.add(mean.to_owned(), Kind::Derive, waves);
        }
    }
}

fn vm(edit: &Edit<'_>, vm: &Text, all: &mut Collector) {
    let metrics = edit.text("VM", vm, "metrics").clone();
    let running = &**edit.text("VM", vm, "power_state") == "Running";
    if let Some(started) = unix(edit.text("VM_metrics", &metrics, "start_time"))
        && started > edit.clock.started()
    {
        all.since = started;
    }
    all.cpus(edit.int("VM", vm, "VCPUs_at_startup"), "cpu_usage");
    let memory = edit.int("VM", vm, "memory_dynamic_max") as f64;
    all.flat("memory", memory);
    all.flat("memory_target", memory);
    if !running || edit.target("VM", vm, "guest_metrics").is_some() {
        // The guest tells in KiB.
        all.moving("memory_internal_free", Kind::Gauge, 0.05 * memory / KIB, 0.7 * memory / KIB);
    }
    for vif in edit.texts("VM", vm, "VIFs") {
        let device = edit.text("VIF", &vif, "device");
        for way in ["rx", "tx"] {
            all.moving(format!("vif_{device}_{way}"), Kind::Derive, 0.0, 4e6);
        }
    }
    for vbd in edit.texts("VM", vm, "VBDs") {
        let device = edit.text("VBD", &vbd, "device");
        if !device.is_empty() {
            disk(all, &format!("vbd_{device}_"), "");
        }
    }
}

/// What is measured of a disk, and of an SR by its host.
fn disk(all: &mut Collector, before: &str, behind: &str) {
    for way in ["read", "write"] {
        let bytes = format!("{before}{way}{behind}");
        all.moving(bytes.clone(), Kind::Derive, 0.0, 2e7);
        all.moving(format!("{before}{way}_latency{behind}"), Kind::Gauge, 80.0, 4000.0);
        // The same in MiB.
        let throughput = format!("{before}io_throughput_{way}{behind}");
        all.moving_like(throughput, &bytes, Kind::Absolute, 0.0, 2e7 / MIB);
        all.moving(format!("{before}iops_{way}{behind}"), Kind::Absolute, 0.0, 900.0);
    }
    all.moving(format!("{before}iowait{behind}"), Kind::Absolute, 0.0, 0.4);
    all.moving(format!("{before}inflight{behind}"), Kind::Gauge, 0.0, 6.0);
}

fn host(edit: &Edit<'_>, host: &Text, all: &mut Collector) {
    let metrics = edit.text("host", host, "metrics").clone();
    let kib = |field| edit.int("host_metrics", &metrics, field) as f64 / KIB;
    let cpus = edit.texts("host", host, "host_CPUs").len();
    all.cpus(i64::try_from(cpus).unwrap_or_default(), "cpu_avg");
    all.moving("loadavg", Kind::Gauge, 0.0, 4.0);
    all.moving("hostload", Kind::Gauge, 0.0, 1.5);
    all.flat("memory_total_kib", kib("memory_total"));
    all.flat("memory_free_kib", kib("memory_free"));
    let pifs = edit.texts("host", host, "PIFs");
    let mut devices: Vec<Text> =
        pifs.iter().map(|pif| edit.text("PIF", pif, "device").clone()).collect();
    devices.sort();
    devices.push("aggr".into());
    for device in devices {
        for way in ["rx", "tx"] {
            all.moving(format!("pif_{device}_{way}"), Kind::Derive, 0.0, 4e7);
        }
    }
    for pbd in edit.texts("host", host, "PBDs") {
        let sr = edit.text("PBD", &pbd, "SR");
        let uuid = edit.text("SR", sr, "uuid");
        if edit.flag("PBD", &pbd, "currently_attached") && edit.int("SR", sr, "physical_size") > 0 {
            disk(all, "", &format!("_{}", uuid.get(..8).unwrap_or_default()));
        }
    }
}

fn sr(edit: &Edit<'_>, sr: &Text, all: &mut Collector) {
    let size = edit.int("SR", sr, "physical_size");
    if size > 0 {
        all.flat("size", size as f64);
        all.flat("physical_utilisation", edit.int("SR", sr, "physical_utilisation") as f64);
    }
}

/// The Xen-API's `20261122T07:25:54Z` in seconds since 1970.
fn unix(text: &str) -> Option<i64> {
    text.parse().ok().map(jiff::Timestamp::as_second)
}
