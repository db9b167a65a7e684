//! Metrics of hosts.

use std::fmt;

use super::items;
use crate::api::prometheus::families::Families;
use crate::api::prometheus::pool::fields::{entry, flag, known, size, text};
use crate::api::prometheus::pool::items::{Gauge, Item, Labels, Pool};

const GAUGES: &[Gauge] = &[
    ("xen_host_up", "Whether a host is there, as its pool sees it.", |host| {
        flag(host.metrics?, "live")
    }),
    ("xen_host_enabled", "Whether VMs may start on a host.", |host| flag(host.object, "enabled")),
    ("xen_host_cpus", "Processors of a host.", |host| {
        let counted =
            entry(host.object, "cpu_info", "cpu_count").and_then(|text| text.parse().ok());
        counted.or_else(|| size(host.object, "host_CPUs"))
    }),
    ("xen_host_memory_total_bytes", "Memory in a host.", |host| {
        known(host.metrics?, "memory_total")
    }),
    ("xen_host_memory_free_bytes", "Memory of a host that no VM has.", |host| {
        known(host.metrics?, "memory_free")
    }),
    ("xen_host_memory_overhead_bytes", "Memory that virtualisation takes of a host.", |host| {
        known(host.object, "memory_overhead")
    }),
    ("xen_host_resident_vms", "VMs on a host, control domains included.", |host| {
        size(host.object, "resident_VMs")
    }),
];

/// Writes them.
pub(super) fn write(pools: &[Pool<'_>], families: &mut Families<'_>) -> fmt::Result {
    let hosts = pools.iter().flat_map(|pool| &pool.hosts);
    families.infos("xen_host", "What a host is.", |series| {
        hosts.clone().try_for_each(|host| series.info(&(host.labels.as_slice(), about(host))))
    })?;
    items::write(GAUGES, hosts, families)?;
    let measured = || {
        // On some backends hosts are not asked at all.
        let hosts = pools.iter().flat_map(|pool| pool.hosts.iter().map(move |host| (pool, host)));
        hosts.filter_map(|(pool, host)| {
            Some((host, pool.samples.get(&host.object.uuid())?.as_deref()))
        })
    };
    let help = "Whether a host tells what it measures of itself and its VMs.";
    families.gauges("xen_host_samples_up", help, |series| {
        measured().try_for_each(|(host, samples)| {
            series.gauge(&host.labels, u64::from(samples.is_some()))
        })
    })?;
    let help = "How far a host's clock is ahead of the gateway's; a few seconds mean nothing.";
    families.gauges("xen_host_clock_offset_seconds", help, |series| {
        measured().try_for_each(|(host, samples)| match samples {
            Some(samples) => series.gauge(&host.labels, samples.clock_offset),
            None => Ok(()),
        })
    })
}

fn about(host: &Item<'_>) -> Labels {
    let software = |key| entry(host.object, "software_version", key);
    let all = [
        ("hostname", text(host.object, "hostname")),
        ("address", text(host.object, "address")),
        ("product", software("product_brand")),
        ("version", software("product_version")),
        ("xen_version", software("xen")),
        ("cpu_model", entry(host.object, "cpu_info", "modelname")),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
