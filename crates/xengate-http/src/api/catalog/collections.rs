//! Where each class of the Xen-API stands in the HTTP API: the one table class → path.
//!
//! Paths are spelt out rather than derived, because English plurals are not derivable and because
//! a path is a promise: it must not change when a name in the datamodel does.

use std::collections::HashMap;
use std::sync::OnceLock;

/// A collection: a path at the root that lists objects of one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collection {
    /// `VM_metrics`: the class, as the datamodel spells it.
    pub class: &'static str,
    /// `vm-metrics`: the path, without the slash.
    pub path: &'static str,
    /// `Vm`: one object in an operation's name (`getVm`).
    pub one: &'static str,
    /// `Vms`: several objects in an operation's name (`listVms`).
    pub many: &'static str,
    /// Which of the class's objects it lists.
    pub view: View,
    /// Where its records come from.
    pub source: Source,
}

/// Which objects of its class a collection lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum View {
    /// Every object.
    All,
    /// VMs proper, control domains included: neither templates nor snapshots.
    Machines,
    /// VMs that are templates but not snapshots.
    Templates,
    /// VMs that are snapshots.
    Snapshots,
}

impl View {
    /// Whether a record with these two fields (false where the class has none) is in the view.
    pub fn holds(self, is_a_template: bool, is_a_snapshot: bool) -> bool {
        match self {
            Self::All => true,
            Self::Machines => !is_a_template && !is_a_snapshot,
            Self::Templates => is_a_template && !is_a_snapshot,
            Self::Snapshots => is_a_snapshot,
        }
    }
}

/// Where the records of a collection come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The inventory's live mirror.
    Mirror,
    /// The backend, in the caller's own session: what a mirror must not or cannot hold.
    ReadThrough,
}

const fn mirrored(
    class: &'static str,
    path: &'static str,
    one: &'static str,
    many: &'static str,
) -> Collection {
    Collection { class, path, one, many, view: View::All, source: Source::Mirror }
}

const fn read_through(
    class: &'static str,
    path: &'static str,
    one: &'static str,
    many: &'static str,
) -> Collection {
    Collection { class, path, one, many, view: View::All, source: Source::ReadThrough }
}

const fn vms(path: &'static str, one: &'static str, many: &'static str, view: View) -> Collection {
    Collection { class: "VM", path, one, many, view, source: Source::Mirror }
}

/// Every collection, in the order in which documents list them. The first of a class is its own;
/// others are views of it. `…Record` leaves the plain name to the sub-resource: `getVmMetrics` is
/// `/vms/{uuid}/metrics`.
#[rustfmt::skip]
static COLLECTIONS: &[Collection] = &[
    vms("vms", "Vm", "Vms", View::Machines),
    vms("vm-templates", "VmTemplate", "VmTemplates", View::Templates),
    vms("vm-snapshots", "VmSnapshot", "VmSnapshots", View::Snapshots),
    mirrored("VM_metrics", "vm-metrics", "VmMetricsRecord", "VmMetrics"),
    mirrored("VM_guest_metrics", "vm-guest-metrics", "VmGuestMetricsRecord", "VmGuestMetrics"),
    mirrored("VM_appliance", "vm-appliances", "VmAppliance", "VmAppliances"),
    mirrored("VM_group", "vm-groups", "VmGroup", "VmGroups"),
    mirrored("VMSS", "vmsses", "Vmss", "Vmsses"),
    mirrored("VMPP", "vmpps", "Vmpp", "Vmpps"),
    mirrored("VTPM", "vtpms", "Vtpm", "Vtpms"),
    mirrored("console", "consoles", "Console", "Consoles"),
    mirrored("crashdump", "crashdumps", "Crashdump", "Crashdumps"),
    mirrored("host", "hosts", "Host", "Hosts"),
    mirrored("host_metrics", "host-metrics", "HostMetricsRecord", "HostMetrics"),
    mirrored("host_cpu", "host-cpus", "HostCpu", "HostCpus"),
    mirrored("host_crashdump", "host-crashdumps", "HostCrashdump", "HostCrashdumps"),
    mirrored("host_patch", "host-patches", "HostPatch", "HostPatches"),
    mirrored("Host_driver", "host-drivers", "HostDriver", "HostDrivers"),
    mirrored("Driver_variant", "driver-variants", "DriverVariant", "DriverVariants"),
    mirrored("pool", "pools", "Pool", "Pools"),
    mirrored("pool_patch", "pool-patches", "PoolPatch", "PoolPatches"),
    mirrored("pool_update", "pool-updates", "PoolUpdate", "PoolUpdates"),
    mirrored("Repository", "repositories", "Repository", "Repositories"),
    mirrored("Certificate", "certificates", "Certificate", "Certificates"),
    mirrored("Feature", "features", "Feature", "Features"),
    mirrored("Observer", "observers", "Observer", "Observers"),
    mirrored("Caller", "callers", "Caller", "Callers"),
    mirrored("Rate_limit", "rate-limits", "RateLimit", "RateLimits"),
    mirrored("SR", "srs", "Sr", "Srs"),
    mirrored("SM", "sms", "Sm", "Sms"),
    mirrored("VDI", "vdis", "Vdi", "Vdis"),
    mirrored("VBD", "vbds", "Vbd", "Vbds"),
    mirrored("VBD_metrics", "vbd-metrics", "VbdMetricsRecord", "VbdMetrics"),
    mirrored("PBD", "pbds", "Pbd", "Pbds"),
    mirrored("LVHD", "lvhds", "Lvhd", "Lvhds"),
    mirrored("DR_task", "dr-tasks", "DrTask", "DrTasks"),
    mirrored("blob", "blobs", "Blob", "Blobs"),
    mirrored("network", "networks", "Network", "Networks"),
    mirrored("VIF", "vifs", "Vif", "Vifs"),
    mirrored("VIF_metrics", "vif-metrics", "VifMetricsRecord", "VifMetrics"),
    mirrored("PIF", "pifs", "Pif", "Pifs"),
    mirrored("PIF_metrics", "pif-metrics", "PifMetricsRecord", "PifMetrics"),
    mirrored("Bond", "bonds", "Bond", "Bonds"),
    mirrored("VLAN", "vlans", "Vlan", "Vlans"),
    mirrored("tunnel", "tunnels", "Tunnel", "Tunnels"),
    mirrored("network_sriov", "network-sriovs", "NetworkSriov", "NetworkSriovs"),
    mirrored("SDN_controller", "sdn-controllers", "SdnController", "SdnControllers"),
    mirrored("PCI", "pcis", "Pci", "Pcis"),
    mirrored("PGPU", "pgpus", "Pgpu", "Pgpus"),
    mirrored("GPU_group", "gpu-groups", "GpuGroup", "GpuGroups"),
    mirrored("VGPU", "vgpus", "Vgpu", "Vgpus"),
    mirrored("VGPU_type", "vgpu-types", "VgpuType", "VgpuTypes"),
    mirrored("PUSB", "pusbs", "Pusb", "Pusbs"),
    mirrored("USB_group", "usb-groups", "UsbGroup", "UsbGroups"),
    mirrored("VUSB", "vusbs", "Vusb", "Vusbs"),
    mirrored("PVS_site", "pvs-sites", "PvsSite", "PvsSites"),
    mirrored("PVS_server", "pvs-servers", "PvsServer", "PvsServers"),
    mirrored("PVS_proxy", "pvs-proxies", "PvsProxy", "PvsProxies"),
    mirrored("PVS_cache_storage", "pvs-cache-storages", "PvsCacheStorage", "PvsCacheStorages"),
    mirrored("Cluster", "clusters", "Cluster", "Clusters"),
    mirrored("Cluster_host", "cluster-hosts", "ClusterHost", "ClusterHosts"),
    mirrored("task", "tasks", "Task", "Tasks"),
    mirrored("message", "messages", "Message", "Messages"),
    mirrored("subject", "subjects", "Subject", "Subjects"),
    // Thousands of records that never change and that no list of a person's needs.
    read_through("role", "roles", "Role", "Roles"),
    // Its getters are the ones that roles restrict.
    read_through("secret", "secrets", "Secret", "Secrets"),
    // Neither `get_all` nor events: known by uuid only.
    read_through("user", "users", "User", "Users"),
];

/// Classes that have no objects to show, and calls that clients make: `/auth/actions/{call}`.
static CALLS_ONLY: &[Collection] = &[
    read_through("auth", "auth", "Auth", "Auth"),
    read_through("Diagnostics", "diagnostics", "Diagnostics", "Diagnostics"),
    // Beside the gateway's own: what a pool's administrators do about sessions of the pool.
    read_through("session", "sessions", "Session", "Sessions"),
];

/// Classes without a collection, each with the reason.
static WITHOUT: &[(&str, &str)] = &[
    ("session", "its refs are secrets; the gateway's own /sessions stands for it"),
    ("event", "not an object; the gateway's own /events stands for it"),
    ("auth", "not an object: questions to the directory service"),
    ("Diagnostics", "not an object: questions to a host's toolstack"),
    ("data_source", "not an object: what the data source calls of VM, host and SR answer"),
    ("sr_stat", "not an object: a part of what SR.probe_ext answers"),
    ("probe_result", "not an object: what SR.probe_ext answers"),
    ("vdi_nbd_server_info", "not an object: what VDI.get_nbd_info answers"),
];

/// First segments that are the gateway's own, and so no collection's.
pub const OWN_PATHS: &[&str] = &[
    "sessions",
    "events",
    "metrics",
    "livez",
    "readyz",
    "docs",
    "backends",
    "openapi.json",
    "openapi-3.0.json",
];

/// Every collection, in the order in which documents list them.
pub fn collections() -> &'static [Collection] {
    COLLECTIONS
}

/// Where the calls of classes stand that have nothing but calls.
pub fn calls_only() -> &'static [Collection] {
    CALLS_ONLY
}

/// Where the calls of a class stand: at its own collection, or at a path that has nothing else.
pub fn calls_of(class: &str) -> Option<&'static Collection> {
    collection_of(class).or_else(|| CALLS_ONLY.iter().find(|one| one.class == class))
}

/// The collection at this path (without slashes).
pub fn collection(path: &str) -> Option<&'static Collection> {
    static BY_PATH: OnceLock<HashMap<&'static str, &'static Collection>> = OnceLock::new();
    let by_path =
        BY_PATH.get_or_init(|| COLLECTIONS.iter().map(|entry| (entry.path, entry)).collect());
    by_path.get(path).copied()
}

/// The class's own collection, whose path answers for every object of the class.
pub fn collection_of(class: &str) -> Option<&'static Collection> {
    static BY_CLASS: OnceLock<HashMap<&'static str, &'static Collection>> = OnceLock::new();
    let by_class = BY_CLASS.get_or_init(|| {
        // Later entries replace earlier ones, and a class's own collection stands first.
        COLLECTIONS.iter().rev().map(|entry| (entry.class, entry)).collect()
    });
    by_class.get(class).copied()
}

/// The path of the class's own collection (without slashes).
pub fn path_of(class: &str) -> Option<&'static str> {
    collection_of(class).map(|collection| collection.path)
}

/// Why a class has no collection; `None` when it has one, or is no class.
pub fn reason_for_none(class: &str) -> Option<&'static str> {
    WITHOUT.iter().find(|(name, _)| *name == class).map(|(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use xenapi_model::datamodel;

    #[test]
    fn every_class_has_a_path_or_a_reason_for_none() {
        for class in &datamodel().classes {
            let path = path_of(&class.name);
            let reason = reason_for_none(&class.name);
            assert!(path.is_some() != reason.is_some(), "{}: {path:?}, {reason:?}", class.name);
            // What has objects can be reached; what has none cannot.
            let has_objects = class.in_database || class.gen_events;
            if class.name != "session" {
                assert_eq!(path.is_some(), has_objects, "{}", class.name);
            }
        }
        for class in COLLECTIONS.iter().map(|c| c.class).chain(WITHOUT.iter().map(|w| w.0)) {
            assert!(datamodel().class(class).is_some(), "{class} is no class");
        }
    }

    #[test]
    fn paths_are_unique_and_kebab_case() {
        let mut seen: HashSet<&str> = OWN_PATHS.iter().copied().collect();
        let beside = |one: &&Collection| one.class == "session" && one.path == "sessions";
        for Collection { path, .. } in
            COLLECTIONS.iter().chain(CALLS_ONLY.iter().filter(|one| !beside(one)))
        {
            assert!(seen.insert(path), "{path} is taken");
            let words = path.split('-');
            for word in words {
                let plain = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
                assert!(plain, "{path} is not kebab-case");
            }
        }
    }

    #[test]
    fn operation_names_are_unique_and_follow_the_path() {
        let mut seen = HashSet::new();
        for Collection { path, one, many, .. } in COLLECTIONS {
            let pascal: String = path
                .split('-')
                .map(|word| format!("{}{}", word[..1].to_uppercase(), &word[1..]))
                .collect();
            assert_eq!(*many, pascal);
            assert!(seen.insert(format!("get{one}")), "get{one} twice");
            assert!(seen.insert(format!("list{many}")), "list{many} twice");
            // Sub-resources such as /vms/{uuid}/metrics.
            assert_ne!(*one, *many);
        }
        assert!(!seen.contains("getVmMetrics"), "that is /vms/{{uuid}}/metrics");
    }

    #[test]
    fn a_class_leads_to_its_own_collection_not_to_a_view() {
        assert_eq!(path_of("VM"), Some("vms"));
        assert_eq!(collection("vm-snapshots").map(|c| c.class), Some("VM"));
        assert_eq!(collection("host-cpus").map(|c| c.one), Some("HostCpu"));
        assert_eq!(path_of("vm"), None);
        assert_eq!(collection("VMs"), None);
    }

    #[test]
    fn classes_with_nothing_but_calls_have_a_path_for_those() {
        for Collection { class, path, .. } in CALLS_ONLY {
            let class = datamodel().class(class).expect("a class");
            let shown = !class.fields.is_empty() && class.name != "session";
            assert!(!shown && !class.calls.is_empty(), "{}", class.name);
            assert_eq!((path_of(&class.name), collection(path)), (None, None));
        }
        assert_eq!(calls_of("auth").map(|one| one.path), Some("auth"));
        assert_eq!(calls_of("VM").map(|one| one.path), Some("vms"));
        assert_eq!(calls_of("event"), None);
    }

    #[test]
    fn each_vm_is_in_exactly_one_view() {
        for (template, snapshot) in [(false, false), (false, true), (true, false), (true, true)] {
            let views = [View::Machines, View::Templates, View::Snapshots];
            let holding = views.iter().filter(|view| view.holds(template, snapshot)).count();
            assert_eq!(holding, 1, "template {template}, snapshot {snapshot}");
        }
    }

    #[test]
    fn only_what_sends_events_is_mirrored() {
        for Collection { class, source, .. } in COLLECTIONS {
            let sends = datamodel().class(class).is_some_and(|class| class.gen_events);
            assert!(sends || *source == Source::ReadThrough, "{class}");
        }
    }
}
