//! Metrics of pools as a whole.

use std::collections::BTreeMap;
use std::fmt;

use crate::api::prometheus::families::Families;
use crate::api::prometheus::pool::fields::{flag, known, number, text};
use crate::api::prometheus::pool::items::{Labels, Pool};
use xenapi_mirror::inventory::Object;

/// Priorities of messages, the most urgent first.
const PRIORITIES: std::ops::RangeInclusive<u8> = 1..=5;

/// A family of gauges of a pool's own object.
type Gauge = (&'static str, &'static str, fn(&Object) -> Option<f64>);

const GAUGES: &[Gauge] = &[
    ("xen_pool_ha_enabled", "Whether HA is on.", |pool| flag(pool, "ha_enabled")),
    ("xen_pool_ha_overcommitted", "Whether HA could not restart all it must.", |pool| {
        flag(pool, "ha_overcommitted")
    }),
    ("xen_pool_ha_host_failures_to_tolerate", "Host failures HA is to survive.", |pool| {
        known(pool, "ha_host_failures_to_tolerate")
    }),
    ("xen_pool_ha_plan_exists_for", "Host failures HA would survive now.", |pool| {
        known(pool, "ha_plan_exists_for")
    }),
];

/// Writes them.
pub(super) fn write(pools: &[Pool<'_>], families: &mut Families<'_>) -> fmt::Result {
    families.infos("xen_pool", "What a pool is.", |series| {
        let pools = pools.iter().filter_map(|pool| Some((pool, pool.object?)));
        pools.into_iter().try_for_each(|(pool, object)| {
            let mut about: Labels = vec![("uuid", object.uuid().to_string())];
            let master = object.record().uuid(object.class(), "master");
            let master =
                master.and_then(|uuid| pool.hosts.iter().find(|h| h.object.uuid() == uuid));
            let name = master.and_then(|host| text(host.object, "name_label"));
            about.extend(name.map(|name| ("coordinator", name)));
            about.extend(super::fields::tags(object).map(|tags| ("tags", tags)));
            series.info(&(pool.labels.as_slice(), about))
        })
    })?;
    for (name, help, value) in GAUGES {
        families.gauges(name, help, |series| {
            let known = pools.iter().filter_map(|pool| Some((pool, value(pool.object?)?)));
            known.into_iter().try_for_each(|(pool, value)| series.gauge(&pool.labels, value))
        })?;
    }
    families.gauges("xen_pool_hosts", "Hosts of a pool.", |series| {
        pools.iter().try_for_each(|pool| series.gauge(&pool.labels, pool.hosts.len() as u64))
    })?;
    families.gauges("xen_pool_srs", "SRs of a pool.", |series| {
        pools.iter().try_for_each(|pool| series.gauge(&pool.labels, pool.srs.len() as u64))
    })?;
    let help = "VMs of a pool by power state, control domains aside.";
    counted("xen_pool_vms", help, "power_state", pools, families, |pool| {
        let vms = pool.vms.iter().map(|vm| vm.object);
        let vms = vms.filter(|vm| !vm.record().is_true(vm.class(), "is_control_domain"));
        count(
            vms.filter_map(|vm| text(vm, "power_state")),
            ["Halted", "Paused", "Running", "Suspended"],
        )
    })?;
    let help = "Messages of a pool by priority, 1 being the most urgent.";
    counted("xen_pool_messages", help, "priority", pools, families, |pool| {
        let priorities = pool.objects("message").filter_map(|message| number(message, "priority"));
        let priorities = priorities.map(|priority| priority.to_string());
        count(priorities, PRIORITIES.map(|priority| priority.to_string()))
    })?;
    counted("xen_pool_tasks", "Tasks of a pool by status.", "status", pools, families, |pool| {
        count(pool.objects("task").filter_map(|task| text(task, "status")), ["pending"])
    })
}

/// How often each value comes, the usual ones even if they do not.
fn count(
    values: impl Iterator<Item = String>,
    usual: impl IntoIterator<Item = impl Into<String>>,
) -> BTreeMap<String, u64> {
    let mut counts: BTreeMap<_, _> = usual.into_iter().map(|value| (value.into(), 0)).collect();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    counts
}

/// Writes counts under one more label.
fn counted(
    name: &str,
    help: &str,
    label: &'static str,
    pools: &[Pool<'_>],
    families: &mut Families<'_>,
    counts: impl Fn(&Pool<'_>) -> BTreeMap<String, u64>,
) -> fmt::Result {
    families.gauges(name, help, |series| {
        pools.iter().try_for_each(|pool| {
            counts(pool).iter().try_for_each(|(value, count)| {
                series.gauge(&(pool.labels.as_slice(), [(label, value.as_str())]), *count)
            })
        })
    })
}
