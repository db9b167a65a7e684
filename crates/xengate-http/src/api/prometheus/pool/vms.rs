//! Metrics of VMs, control domains included; templates and snapshots are none.

use std::fmt;

use super::items;
use crate::api::prometheus::families::Families;
use crate::api::prometheus::pool::fields::{date, entry, flag, known, size, text};
use crate::api::prometheus::pool::items::{Gauge, Item, Labels, Pool};

const GAUGES: &[Gauge] = &[
    ("xen_vm_up", "Whether a VM runs.", |vm| Some(if runs(vm) { 1.0 } else { 0.0 })),
    ("xen_vm_vcpus", "VCPUs a VM has, or starts with.", |vm| {
        let now =
            vm.metrics.filter(|_| runs(vm)).and_then(|metrics| known(metrics, "VCPUs_number"));
        now.filter(|now| *now > 0.0).or_else(|| known(vm.object, "VCPUs_at_startup"))
    }),
    ("xen_vm_vcpus_max", "VCPUs a VM may have.", |vm| known(vm.object, "VCPUs_max")),
    ("xen_vm_memory_bytes", "Memory a running VM has.", |vm| {
        match vm.metrics {
            _ if !runs(vm) => None,
            Some(metrics) => known(metrics, "memory_actual"),
            // Its host counts it as well.
            None => vm.samples.iter().find(|one| &*one.source == "memory").map(|one| one.value),
        }
    }),
    ("xen_vm_memory_target_bytes", "Memory a VM is told to keep to.", |vm| {
        known(vm.object, "memory_target").filter(|_| runs(vm))
    }),
    ("xen_vm_memory_dynamic_max_bytes", "Memory a VM is given if there is enough.", |vm| {
        known(vm.object, "memory_dynamic_max")
    }),
    ("xen_vm_memory_static_max_bytes", "Memory a VM may be given without a restart.", |vm| {
        known(vm.object, "memory_static_max")
    }),
    ("xen_vm_start_time_seconds", "When a running VM started, in seconds since 1970.", |vm| {
        date(vm.metrics.filter(|_| runs(vm))?, "start_time")
    }),
    ("xen_vm_guest_tools_detected", "Whether a running VM has the guest tools.", |vm| {
        flag(vm.guest.filter(|_| runs(vm))?, "PV_drivers_detected")
    }),
    ("xen_vm_snapshots", "Snapshots of a VM.", |vm| size(vm.object, "snapshots")),
];

/// Writes them.
pub(super) fn write(pools: &[Pool<'_>], families: &mut Families<'_>) -> fmt::Result {
    let vms = pools.iter().flat_map(|pool| &pool.vms);
    let help = "What a VM is; its other series have only the labels that people group by.";
    families.infos("xen_vm", help, |series| {
        vms.clone().try_for_each(|vm| series.info(&(vm.labels.as_slice(), about(vm))))
    })?;
    items::write(GAUGES, vms, families)
}

fn runs(vm: &Item<'_>) -> bool {
    vm.object.record().text(vm.object.class(), "power_state") == Some("Running")
}

fn about(vm: &Item<'_>) -> Labels {
    let resident = vm.object.record().uuid(vm.object.class(), "resident_on");
    let guest = |field, key| entry(vm.guest?, field, key);
    let all = [
        ("host_uuid", resident.map(|uuid| uuid.to_string())),
        ("domain_type", text(vm.object, "domain_type")),
        ("ha_restart_priority", text(vm.object, "ha_restart_priority")),
        ("os_name", guest("os_version", "name")),
        ("os_distro", guest("os_version", "distro")),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
