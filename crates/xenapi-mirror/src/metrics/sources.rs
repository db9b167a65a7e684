//! XAPI's names of sources, and what they mean: a name, a unit and a description, with everything in
//! base units.

use uuid::Uuid;

use super::model::Owner;

const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * 1024.0;
const MICRO: f64 = 1e-6;

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// A part of a whole, from 0 to 1.
    Fraction,
    /// Bytes.
    Bytes,
    /// Bytes per second.
    BytesPerSecond,
    /// Requests per second.
    RequestsPerSecond,
    /// Errors per second.
    ErrorsPerSecond,
    /// Seconds.
    Seconds,
    /// Requests at once.
    Requests,
    /// Something that can be counted.
    Count,
    /// Nobody knows.
    Unknown,
}

impl Unit {
    /// As clients read it; nothing where nobody knows.
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::Fraction => "fraction",
            Self::Bytes => "bytes",
            Self::BytesPerSecond => "bytes/s",
            Self::RequestsPerSecond => "requests/s",
            Self::ErrorsPerSecond => "errors/s",
            Self::Seconds => "s",
            Self::Requests => "requests",
            Self::Count => "count",
            Self::Unknown => return None,
        })
    }
}

/// What an RRD takes a source's readings for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As they are.
    Gauge,
    /// As a counter, whose growth counts.
    Derive,
    /// As a counter that starts anew with every reading.
    Absolute,
}

impl Kind {
    /// As XAPI writes it: `GAUGE`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gauge => "GAUGE",
            Self::Derive => "DERIVE",
            Self::Absolute => "ABSOLUTE",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Gauge, Self::Derive, Self::Absolute].into_iter().find(|kind| kind.name() == name)
    }
}

/// What a source means.
#[derive(Debug, Clone, PartialEq)]
pub struct Meaning {
    /// Its name for clients.
    pub name: String,
    /// What its values count.
    pub unit: Unit,
    /// What XAPI's numbers are multiplied by to be of that unit.
    pub factor: f64,
    /// What an RRD takes its readings for, as far as that is known.
    pub kind: Option<Kind>,
    /// What it is.
    pub description: String,
}

/// A row of the table: what values of a source are.
struct Row(Unit, f64, Kind, &'static str);

/// What a source of this name means; one that is not known keeps its name and has no unit.
pub fn meaning(owner: Owner, source: &str) -> Meaning {
    let known = match owner {
        Owner::Vm => of_vm(source),
        Owner::Host => of_host(source),
        Owner::Sr => sr(source),
    };
    known.unwrap_or_else(|| Meaning {
        name: source.to_owned(),
        unit: Unit::Unknown,
        factor: 1.0,
        kind: None,
        description: "A source that the gateway knows nothing about.".to_owned(),
    })
}

fn named(name: impl Into<String>, row: Row, description: impl Into<String>) -> Meaning {
    let Row(unit, factor, kind, _) = row;
    Meaning { name: name.into(), unit, factor, kind: Some(kind), description: description.into() }
}

/// A row under a name of its own.
fn plain(name: impl Into<String>, row: Row) -> Meaning {
    let description = row.3;
    named(name, row, description)
}

fn of_vm(source: &str) -> Option<Meaning> {
    use Kind::{Derive, Gauge};
    use Unit::{Bytes, Count, Fraction};
    let row = match source {
        "cpu_usage" => {
            return Some(plain("cpu", Row(Fraction, 1.0, Derive, "Mean use of the VM's VCPUs.")));
        }
        "memory" => {
            return Some(plain("memory_bytes", Row(Bytes, 1.0, Gauge, "Memory the VM has now.")));
        }
        "memory_target" => {
            let row = Row(Bytes, 1.0, Gauge, "Memory the VM's balloon driver is told to keep to.");
            return Some(plain("memory_target_bytes", row));
        }
        "memory_internal_free" => {
            let row = Row(Bytes, KIB, Gauge, "Memory the guest tells is free.");
            return Some(plain("memory_free_bytes", row));
        }
        "cpu_time" => {
            Row(Unit::Seconds, 1.0, Derive, "CPU time the VM has had, all VCPUs together.")
        }
        "numa_nodes" => Row(Count, 1.0, Gauge, "NUMA nodes the VM's memory is on."),
        "runstate_fullrun" => Row(Fraction, 1.0, Derive, "Time in which all VCPUs run."),
        "runstate_full_contention" => {
            Row(Fraction, 1.0, Derive, "Time in which all VCPUs wait for a CPU.")
        }
        "runstate_concurrency_hazard" => {
            Row(Fraction, 1.0, Derive, "Time in which some VCPUs run and some wait for a CPU.")
        }
        "runstate_blocked" => Row(Fraction, 1.0, Derive, "Time in which all VCPUs are idle."),
        "runstate_partial_run" => {
            Row(Fraction, 1.0, Derive, "Time in which some VCPUs run and some are idle.")
        }
        "runstate_partial_contention" => {
            Row(Fraction, 1.0, Derive, "Time in which some VCPUs wait for a CPU and some are idle.")
        }
        "runnable_any" => {
            Row(Fraction, 1.0, Derive, "Time in which at least one VCPU waits for a CPU.")
        }
        "runnable_vcpus" => Row(Fraction, 1.0, Derive, "Time in which VCPUs wait for a CPU."),
        _ => return of_device(source),
    };
    Some(plain(source, row))
}

/// `cpu0`, `vif_0_rx`, `vbd_xvda_read`, `memory_numa_node_0`.
fn of_device(source: &str) -> Option<Meaning> {
    if let Some(number) = source.strip_prefix("cpu").filter(|rest| is_number(rest)) {
        let row = Row(Unit::Fraction, 1.0, Kind::Derive, "");
        return Some(named(source, row, format!("Use of VCPU {number}.")));
    }
    if let Some(node) = source.strip_prefix("memory_numa_node_").filter(|rest| is_number(rest)) {
        let row = Row(Unit::Bytes, 1.0, Kind::Gauge, "");
        let text = format!("Memory the VM has on NUMA node {node}.");
        return Some(named(format!("{source}_bytes"), row, text));
    }
    if let Some((device, way)) = source.strip_prefix("vif_").and_then(|rest| rest.split_once('_')) {
        return of_network(source, way, &format!("NIC {device}"));
    }
    let (device, key) = source.strip_prefix("vbd_")?.split_once('_')?;
    let row = of_disk(key)?;
    let text = format!("{} (disk {device})", row.3);
    Some(named(source, row, text))
}

fn of_network(source: &str, way: &str, device: &str) -> Option<Meaning> {
    let (unit, what) = match way {
        "rx" => (Unit::BytesPerSecond, "Received"),
        "tx" => (Unit::BytesPerSecond, "Sent"),
        "rx_errors" => (Unit::ErrorsPerSecond, "Errors in what is received"),
        "tx_errors" => (Unit::ErrorsPerSecond, "Errors in what is sent"),
        _ => return None,
    };
    Some(named(source, Row(unit, 1.0, Kind::Derive, ""), format!("{what} ({device})")))
}

/// What is measured of disks, and of SRs.
fn of_disk(key: &str) -> Option<Row> {
    use Kind::{Absolute, Derive, Gauge};
    use Unit::{BytesPerSecond, Fraction, Requests, RequestsPerSecond, Seconds};
    Some(match key {
        "read" => Row(BytesPerSecond, 1.0, Derive, "Read"),
        "write" => Row(BytesPerSecond, 1.0, Derive, "Written"),
        "read_latency" => Row(Seconds, MICRO, Gauge, "Mean time a read takes"),
        "write_latency" => Row(Seconds, MICRO, Gauge, "Mean time a write takes"),
        "latency" => Row(Seconds, MICRO, Gauge, "Mean time a request takes"),
        "io_throughput_read" => Row(BytesPerSecond, MIB, Absolute, "Throughput of reads"),
        "io_throughput_write" => Row(BytesPerSecond, MIB, Absolute, "Throughput of writes"),
        "io_throughput_total" => Row(BytesPerSecond, MIB, Absolute, "Throughput of all requests"),
        "iops_read" => Row(RequestsPerSecond, 1.0, Absolute, "Reads"),
        "iops_write" => Row(RequestsPerSecond, 1.0, Absolute, "Writes"),
        "iops_total" => Row(RequestsPerSecond, 1.0, Absolute, "All requests"),
        "iowait" => Row(Fraction, 1.0, Absolute, "Time spent waiting for requests"),
        "inflight" => Row(Requests, 1.0, Gauge, "Requests under way"),
        "avgqu_sz" => Row(Requests, 1.0, Gauge, "Mean length of the queue"),
        _ => return None,
    })
}

fn of_host(source: &str) -> Option<Meaning> {
    use Kind::{Derive, Gauge};
    use Unit::{Bytes, Count, Fraction};
    let row = match source {
        "cpu_avg" => {
            return Some(plain("cpu", Row(Fraction, 1.0, Derive, "Mean use of the host's CPUs.")));
        }
        "memory_total_kib" => {
            return Some(plain(
                "memory_total_bytes",
                Row(Bytes, KIB, Gauge, "Memory in the host."),
            ));
        }
        "memory_free_kib" => {
            return Some(plain(
                "memory_free_bytes",
                Row(Bytes, KIB, Gauge, "Memory that is free."),
            ));
        }
        "memory_reclaimed" => {
            let row = Row(Bytes, 1.0, Gauge, "Memory taken back from VMs.");
            return Some(plain("memory_reclaimed_bytes", row));
        }
        "memory_reclaimed_max" => {
            let row = Row(Bytes, 1.0, Gauge, "Memory that could be taken back from VMs.");
            return Some(plain("memory_reclaimed_max_bytes", row));
        }
        "loadavg" => Row(Count, 1.0, Gauge, "Load average of the control domain."),
        "hostload" => Row(Count, 1.0, Gauge, "VCPUs that run or want to, for each CPU."),
        "running_vcpus" => Row(Count, 1.0, Gauge, "VCPUs that run."),
        "running_domains" => Row(Count, 1.0, Gauge, "Domains that run."),
        "xapi_open_fds" => Row(Count, 1.0, Gauge, "Files that XAPI has open."),
        "pool_task_count" => Row(Count, 1.0, Gauge, "Tasks of the pool."),
        "pool_session_count" => Row(Count, 1.0, Gauge, "Sessions of the pool."),
        "Tapdisks_in_low_memory_mode" => {
            Row(Count, 1.0, Kind::Absolute, "Disk back ends that are short of memory.")
        }
        _ => return of_part_of_host(source),
    };
    Some(plain(source, row))
}

/// `cpu0`, `cpu0-C1`, `pif_eth0_rx`, `xapi_memory_usage_kib`, `iops_read_1a2b3c4d`.
fn of_part_of_host(source: &str) -> Option<Meaning> {
    if let Some(rest) = source.strip_prefix("cpu") {
        let (number, state) = rest.split_once('-').unwrap_or((rest, ""));
        if is_number(number) {
            let what = match state {
                "" => format!("Use of CPU {number}."),
                state if state.starts_with('C') || state.starts_with('P') => {
                    format!("Time that CPU {number} is in state {state}.")
                }
                _ => return None,
            };
            return Some(named(source, Row(Unit::Fraction, 1.0, Kind::Derive, ""), what));
        }
    }
    if let Some(rest) = source.strip_prefix("pif_") {
        let ends = ["rx_errors", "tx_errors", "rx", "tx"];
        let split = |end: &'static str| {
            Some((rest.strip_suffix(end)?.strip_suffix('_')?, end))
                .filter(|(name, _)| !name.is_empty())
        };
        let (device, way) = ends.into_iter().find_map(split)?;
        let device = if device == "aggr" { "all NICs" } else { device };
        return of_network(source, way, device);
    }
    if let Some(name) = source.strip_suffix("_kib") {
        let row = Row(Unit::Bytes, KIB, Kind::Gauge, "");
        return Some(named(format!("{name}_bytes"), row, format!("{} in bytes.", words(name))));
    }
    let (key, sr) = source.rsplit_once('_')?;
    let row =
        of_disk(key).filter(|_| sr.len() == 8 && sr.bytes().all(|b| b.is_ascii_hexdigit()))?;
    let text = format!("{} (SR {sr}…, by this host)", row.3);
    Some(named(source, row, text))
}

fn sr(source: &str) -> Option<Meaning> {
    match source {
        "size" => {
            Some(plain("size_bytes", Row(Unit::Bytes, 1.0, Kind::Gauge, "Space the SR has.")))
        }
        "physical_utilisation" => {
            let row = Row(Unit::Bytes, 1.0, Kind::Gauge, "Space of the SR that is used.");
            Some(plain("physical_utilisation_bytes", row))
        }
        key => {
            let row = of_disk(key)?;
            let text = format!("{} (by all hosts)", row.3);
            Some(named(key, row, text))
        }
    }
}

/// What a host's source counts of this SR: `iops_read` of `iops_read_1a2b3c4d`.
pub(super) fn of_sr(source: &str, sr: Uuid) -> Option<&str> {
    let (key, start) = source.rsplit_once('_')?;
    let mut buffer = Uuid::encode_buffer();
    let uuid = sr.hyphenated().encode_lower(&mut buffer);
    (start.len() == 8 && uuid.starts_with(start) && of_disk(key).is_some()).then_some(key)
}

/// Whether what several hosts count adds up.
pub(super) fn is_additive(key: &str) -> bool {
    !key.ends_with("latency")
        && !matches!(key, "avgqu_sz" | "iowait" | "size" | "physical_utilisation")
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() < 6 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn words(name: &str) -> String {
    let mut words = name.replace('_', " ");
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brief(owner: Owner, source: &str) -> (String, Option<&'static str>, f64) {
        let meaning = meaning(owner, source);
        assert!(!meaning.description.is_empty(), "{source}");
        (meaning.name, meaning.unit.name(), meaning.factor)
    }

    #[test]
    fn sources_have_names_and_base_units() {
        for (owner, source, name, unit, factor) in [
            (Owner::Vm, "cpu0", "cpu0", Some("fraction"), 1.0),
            (Owner::Vm, "cpu_usage", "cpu", Some("fraction"), 1.0),
            (Owner::Vm, "memory", "memory_bytes", Some("bytes"), 1.0),
            (Owner::Vm, "memory_internal_free", "memory_free_bytes", Some("bytes"), 1024.0),
            (Owner::Vm, "vif_0_rx", "vif_0_rx", Some("bytes/s"), 1.0),
            (Owner::Vm, "vif_1_tx_errors", "vif_1_tx_errors", Some("errors/s"), 1.0),
            (Owner::Vm, "vbd_xvda_read", "vbd_xvda_read", Some("bytes/s"), 1.0),
            (Owner::Vm, "vbd_xvda_read_latency", "vbd_xvda_read_latency", Some("s"), 1e-6),
            (
                Owner::Vm,
                "vbd_hda_io_throughput_total",
                "vbd_hda_io_throughput_total",
                Some("bytes/s"),
                1_048_576.0,
            ),
            (Owner::Vm, "vbd_xvdb_iops_write", "vbd_xvdb_iops_write", Some("requests/s"), 1.0),
            (Owner::Host, "cpu_avg", "cpu", Some("fraction"), 1.0),
            (Owner::Host, "cpu12", "cpu12", Some("fraction"), 1.0),
            (Owner::Host, "cpu0-C1", "cpu0-C1", Some("fraction"), 1.0),
            (Owner::Host, "memory_free_kib", "memory_free_bytes", Some("bytes"), 1024.0),
            (Owner::Host, "xapi_live_memory_kib", "xapi_live_memory_bytes", Some("bytes"), 1024.0),
            (Owner::Host, "pif_eth0_rx", "pif_eth0_rx", Some("bytes/s"), 1.0),
            (Owner::Host, "pif_bond0_1_tx_errors", "pif_bond0_1_tx_errors", Some("errors/s"), 1.0),
            (Owner::Host, "iops_read_1a2b3c4d", "iops_read_1a2b3c4d", Some("requests/s"), 1.0),
            (Owner::Host, "loadavg", "loadavg", Some("count"), 1.0),
            (Owner::Sr, "size", "size_bytes", Some("bytes"), 1.0),
            (Owner::Sr, "io_throughput_read", "io_throughput_read", Some("bytes/s"), 1_048_576.0),
        ] {
            assert_eq!(brief(owner, source), (name.to_owned(), unit, factor), "{source}");
        }
    }

    #[test]
    fn what_is_not_known_keeps_its_name() {
        for source in
            ["", "cpu", "cpuX", "vif_0", "vif_0_rxx", "vbd_xvda", "vbd_xvda_", "é", "_kib"]
        {
            let meaning = meaning(Owner::Vm, source);
            assert_eq!((meaning.name.as_str(), meaning.unit), (source, Unit::Unknown));
        }
        for source in ["pif__rx", "pif_rx", "read_1a2b3c4", "nothing_1a2b3c4d", "cpu0-X"] {
            assert_eq!(meaning(Owner::Host, source).unit, Unit::Unknown, "{source}");
        }
    }

    #[test]
    fn what_a_host_does_with_an_sr_is_found() {
        let sr = Uuid::from_u128(0x1a2b_3c4d_0000_0000_0000_0000_0000_0001);
        assert_eq!(of_sr("iops_read_1a2b3c4d", sr), Some("iops_read"));
        assert_eq!(of_sr("read_latency_1a2b3c4d", sr), Some("read_latency"));
        for other in ["iops_read_1a2b3c4e", "iops_read", "cpu0", "sr_1a2b3c4d"] {
            assert_eq!(of_sr(other, sr), None, "{other}");
        }
        assert!(is_additive("iops_read") && !is_additive("read_latency"));
    }
}
