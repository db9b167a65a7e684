//! Tags in groups, as readers look for them (`x-tagGroups`).

use serde_json::{Value, json};

/// What each group holds, in the order in which it is read.
#[rustfmt::skip]
const GROUPS: &[(&str, &[&str])] = &[
    ("Gateway", &["Sessions", "Backends", "Events", "Metrics", "Health", "Document"]),
    ("Virtual machines", &[
        "VM", "VM_metrics", "VM_guest_metrics", "VM_appliance", "VM_group", "VMSS", "VMPP", "VTPM",
        "console", "crashdump",
    ]),
    ("Storage", &["SR", "SM", "VDI", "VBD", "VBD_metrics", "PBD", "LVHD", "DR_task", "blob"]),
    ("Networks", &[
        "network", "VIF", "VIF_metrics", "PIF", "PIF_metrics", "Bond", "VLAN", "tunnel",
        "network_sriov", "SDN_controller",
    ]),
    ("Hosts and pools", &[
        "host", "host_metrics", "host_cpu", "host_crashdump", "pool", "Cluster", "Cluster_host",
        "Certificate", "Feature", "Observer", "Caller", "Rate_limit", "Diagnostics",
    ]),
    ("Updates and drivers", &[
        "pool_update", "Repository", "pool_patch", "host_patch", "Host_driver", "Driver_variant",
    ]),
    ("Devices", &[
        "PCI", "PGPU", "GPU_group", "VGPU", "VGPU_type", "PUSB", "USB_group", "VUSB", "PVS_site",
        "PVS_server", "PVS_proxy", "PVS_cache_storage",
    ]),
    ("Tasks and messages", &["task", "message"]),
    ("Users and rights", &["subject", "role", "user", "auth", "secret"]),
];

/// The groups of these tags; what no group names is at the end.
pub(crate) fn of(tags: &[&str]) -> Value {
    let named = |tag: &&&str| GROUPS.iter().any(|(_, own)| own.contains(*tag));
    let rest: Vec<&str> = tags.iter().filter(|tag| !named(tag)).copied().collect();
    let groups = GROUPS.iter().map(|(name, own)| {
        let own: Vec<&str> = own.iter().filter(|tag| tags.contains(tag)).copied().collect();
        (*name, own)
    });
    let groups = groups.chain([("Others", rest)]).filter(|(_, own)| !own.is_empty());
    groups.map(|(name, tags)| json!({"name": name, "tags": tags})).collect()
}
