//! What hosts measure of themselves, of their VMs and of their SRs.
//!
//! XAPI's sources are many and named by their devices (`vif_0_rx`); a monitoring system wants one
//! family with the device as a label. Rates are gauges: XAPI has differentiated them already.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::api::prometheus::families::Families;
use crate::api::prometheus::pool::items::{Item, Labels, Pool};
use xenapi_mirror::metrics::{Owner, meaning};

/// Every family, without what it is of.
const FAMILIES: &[(&str, &str)] = &[
    ("cpu_usage_ratio", "Mean use of all processors, from 0 to 1."),
    ("cpu_core_usage_ratio", "Use of one processor, from 0 to 1."),
    ("memory_internal_free_bytes", "Memory that the guest says is free."),
    ("load_average", "Load average of the control domain."),
    ("runstate_ratio", "Share of time in which the VCPUs are in a state, from 0 to 1."),
    ("network_receive_bytes_per_second", "Received over a network interface."),
    ("network_transmit_bytes_per_second", "Sent over a network interface."),
    ("network_receive_errors_per_second", "Errors in what is received."),
    ("network_transmit_errors_per_second", "Errors in what is sent."),
    ("disk_read_bytes_per_second", "Read from a disk or an SR."),
    ("disk_write_bytes_per_second", "Written to a disk or an SR."),
    ("disk_read_operations_per_second", "Reads from a disk or an SR."),
    ("disk_write_operations_per_second", "Writes to a disk or an SR."),
    ("disk_read_latency_seconds", "Mean time a read takes."),
    ("disk_write_latency_seconds", "Mean time a write takes."),
    ("disk_iowait_ratio", "Share of time spent waiting for requests."),
    ("disk_inflight_requests", "Requests that are under way."),
    ("disk_queue_length", "Mean length of the queue of requests."),
];

/// Where a source's values go: the family, what they are multiplied by, and labels of their own.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    family: usize,
    factor: f64,
    labels: Labels,
}

/// A value on its way into its family.
struct Value<'a> {
    of: &'a Item<'a>,
    place: Arc<Place>,
    value: f64,
}

/// Writes them.
pub(super) fn write(pools: &[Pool<'_>], families: &mut Families<'_>) -> fmt::Result {
    for (owner, prefix) in [(Owner::Host, "xen_host"), (Owner::Vm, "xen_vm")] {
        let mut values: Vec<Vec<Value<'_>>> = FAMILIES.iter().map(|_| Vec::new()).collect();
        for pool in pools {
            collect(pool, owner, &mut values);
        }
        for ((name, help), values) in FAMILIES.iter().zip(values) {
            if values.is_empty() {
                continue;
            }
            families.gauges(&format!("{prefix}_{name}"), help, |series| {
                values.iter().try_for_each(|Value { of, place, value }| {
                    let labels = (of.labels.as_slice(), place.labels.as_slice());
                    series.gauge(&labels, *value)
                })
            })?;
        }
    }
    Ok(())
}

fn collect<'a>(pool: &'a Pool<'a>, owner: Owner, values: &mut [Vec<Value<'a>>]) {
    // There are far fewer names of sources than sources.
    let mut places: HashMap<&str, Option<Arc<Place>>> = HashMap::new();
    let items = if owner == Owner::Host { &pool.hosts } else { &pool.vms };
    for item in items {
        for sample in item.samples {
            let place = places
                .entry(&sample.source)
                .or_insert_with(|| place(pool, owner, &sample.source).map(Arc::new));
            if let Some(place) = place.clone().filter(|_| sample.value.is_finite()) {
                let value = sample.value * place.factor;
                values[place.family].push(Value { of: item, place, value });
            }
        }
    }
}

/// Where a source's values go, if anywhere.
fn place(pool: &Pool<'_>, owner: Owner, source: &str) -> Option<Place> {
    let meant = meaning(owner, source);
    let to = |family: &str, labels: Labels| {
        let family = FAMILIES.iter().position(|(name, _)| *name == family)?;
        Some(Place { family, factor: meant.factor, labels })
    };
    let name = meant.name.as_str();
    if let Some(rest) = name.strip_prefix("cpu") {
        return match rest {
            "" => to("cpu_usage_ratio", Labels::new()),
            _ if rest.bytes().all(|byte| byte.is_ascii_digit()) => {
                to("cpu_core_usage_ratio", vec![("cpu", rest.to_owned())])
            }
            _ => None,
        };
    }
    if let Some(state) = name.strip_prefix("runstate_") {
        return to("runstate_ratio", vec![("state", state.to_owned())]);
    }
    let nic = match owner {
        Owner::Host => name.strip_prefix("pif_"),
        _ => name.strip_prefix("vif_"),
    };
    if let Some(rest) = nic {
        let (device, family) = network(rest)?;
        // The sum of all: whoever adds up would count everything twice.
        return match device {
            "aggr" => None,
            device => to(family, vec![("device", device.to_owned())]),
        };
    }
    if let Some((device, key)) = name.strip_prefix("vbd_").and_then(|rest| rest.split_once('_')) {
        return to(disk(key)?, vec![("device", device.to_owned())]);
    }
    match name {
        "memory_free_bytes" if owner == Owner::Vm => {
            to("memory_internal_free_bytes", Labels::new())
        }
        "loadavg" => to("load_average", Labels::new()),
        _ if owner == Owner::Host => {
            let (key, start) = name.rsplit_once('_')?;
            let sr = pool.srs.iter().find(|sr| sr.object.uuid().to_string().starts_with(start))?;
            let mut labels: Labels = vec![("sr_uuid", sr.object.uuid().to_string())];
            labels.extend(super::fields::text(sr.object, "name_label").map(|name| ("sr", name)));
            to(disk(key).filter(|_| start.len() == 8)?, labels)
        }
        _ => None,
    }
}

/// The device and the family of what is measured of a network interface.
fn network(rest: &str) -> Option<(&str, &'static str)> {
    let ways = [
        ("_rx_errors", "network_receive_errors_per_second"),
        ("_tx_errors", "network_transmit_errors_per_second"),
        ("_rx", "network_receive_bytes_per_second"),
        ("_tx", "network_transmit_bytes_per_second"),
    ];
    ways.into_iter().find_map(|(end, family)| Some((rest.strip_suffix(end)?, family)))
}

/// The family of what is measured of a disk. Throughput is there in two ways, and told once.
fn disk(key: &str) -> Option<&'static str> {
    Some(match key {
        "read" => "disk_read_bytes_per_second",
        "write" => "disk_write_bytes_per_second",
        "iops_read" => "disk_read_operations_per_second",
        "iops_write" => "disk_write_operations_per_second",
        "read_latency" => "disk_read_latency_seconds",
        "write_latency" => "disk_write_latency_seconds",
        "iowait" => "disk_iowait_ratio",
        "inflight" => "disk_inflight_requests",
        "avgqu_sz" => "disk_queue_length",
        _ => return None,
    })
}
