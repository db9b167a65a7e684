//! Metrics of SRs.

use std::fmt;

use super::class;
use super::items;
use crate::api::prometheus::families::Families;
use crate::api::prometheus::pool::fields::{known, size};
use crate::api::prometheus::pool::items::{Gauge, Pool};

const GAUGES: &[Gauge] = &[
    ("xen_sr_physical_size_bytes", "Space an SR has.", |sr| known(sr.object, "physical_size")),
    ("xen_sr_physical_utilisation_bytes", "Space of an SR that is used.", |sr| {
        known(sr.object, "physical_utilisation")
    }),
    ("xen_sr_virtual_allocation_bytes", "Space an SR's disks could come to use.", |sr| {
        known(sr.object, "virtual_allocation")
    }),
    ("xen_sr_vdis", "Disks on an SR.", |sr| size(sr.object, "VDIs")),
];

/// Writes them.
pub(super) fn write(pools: &[Pool<'_>], families: &mut Families<'_>) -> fmt::Result {
    items::write(GAUGES, pools.iter().flat_map(|pool| &pool.srs), families)?;
    let pbd = class("PBD");
    for (name, help, attached) in [
        ("xen_sr_hosts", "Hosts an SR belongs to.", false),
        ("xen_sr_hosts_attached", "Hosts an SR is attached to now.", true),
    ] {
        families.gauges(name, help, |series| {
            pools.iter().try_for_each(|pool| {
                pool.srs.iter().try_for_each(|sr| {
                    let pbds = sr.object.record().uuids(sr.object.class(), "PBDs");
                    let pbds =
                        pbds.iter().filter_map(|pbd_of| pool.snapshot.object(pbd.id, pbd_of));
                    let counted = pbds
                        .filter(|one| !attached || one.record().is_true(pbd, "currently_attached"));
                    series.gauge(&sr.labels, counted.count() as u64)
                })
            })
        })?;
    }
    Ok(())
}
