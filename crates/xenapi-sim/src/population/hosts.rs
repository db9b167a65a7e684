//! The pool itself, its hosts and its networks.

use super::storage::Storage;
use super::{Edit, GIB, no_pairs, reference, text};
use crate::database::{NULL, Text, Value};

/// A host, as far as VMs need it.
pub(super) struct Host {
    pub(super) reference: Text,
    pub(super) address: String,
}

const CPU_MODEL: &str = "AMD EPYC 7543P 32-Core Processor";
const CPU_FEATURES: &str =
    "178bfbff-f6f83203-2e500800-040001f3-0000000f-f1bf07a9-00405f4e-00000000";
const CPUS: i64 = 16;

/// The networks that VMs are on.
pub(super) fn networks(edit: &mut Edit<'_>, vms: usize) -> Vec<Text> {
    let network = |edit: &mut Edit<'_>, label: &str, description: &str, bridge: &str, config| {
        edit.add(
            "network",
            &[
                ("name_label", text(label)),
                ("name_description", text(description)),
                ("bridge", text(bridge)),
                ("other_config", config),
            ],
        )
    };
    let internal =
        [("is_guest_installer_network", "true"), ("is_host_internal_management_network", "true")];
    let about = "Network on which guests will be assigned a private link-local IP address";
    let label = "Host internal management network";
    network(edit, label, about, "xenapi", Value::pairs(internal));
    let count = 2 + vms / 500;
    (0..count)
        .map(|n| {
            let label = format!("Pool-wide network associated with eth{n}");
            network(edit, &label, "", &format!("xenbr{n}"), no_pairs())
        })
        .collect()
}

/// The hosts with their CPUs, interfaces and control domains; the first is the coordinator.
pub(super) fn hosts(edit: &mut Edit<'_>, addresses: &[String], networks: &[Text]) -> Vec<Host> {
    addresses.iter().enumerate().map(|(n, address)| host(edit, n, address, networks)).collect()
}

fn host(edit: &mut Edit<'_>, n: usize, address: &str, networks: &[Text]) -> Host {
    let label = format!("host-{:02}", n + 1);
    let this = edit.identifiers.reference();
    let metrics = edit.add(
        "host_metrics",
        &[
            ("memory_total", Value::Int(512 * GIB)),
            ("memory_free", Value::Int(256 * GIB)),
            ("live", Value::Bool(true)),
            ("last_updated", edit.ago(5)),
        ],
    );
    let control_domain = edit.identifiers.reference();
    let version = [
        ("product_version", "9.0.0"),
        ("product_version_text", "9"),
        ("product_brand", "XenServer"),
        ("platform_name", "XCP"),
        ("platform_version", "3.5.0"),
        ("xapi_build", "26.17.0"),
        ("xen", "4.20.1"),
        ("linux", "6.6.98"),
        ("hostname", "localhost"),
        ("build_number", "simulated"),
    ];
    let cpu = [
        ("cpu_count", "16"),
        ("socket_count", "1"),
        ("threads_per_core", "1"),
        ("nr_nodes", "1"),
        ("vendor", "AuthenticAMD"),
        ("speed", "2794.748"),
        ("modelname", CPU_MODEL),
        ("features_hvm", CPU_FEATURES),
        ("features_pv", CPU_FEATURES),
    ];
    edit.add_as(
        "host",
        this.clone(),
        &[
            ("name_label", text(label.as_str())),
            ("name_description", text("A simulated host")),
            ("memory_overhead", Value::Int(GIB)),
            ("API_version_major", Value::Int(2)),
            ("API_version_minor", Value::Int(23)),
            ("API_version_vendor", text("XenSource")),
            ("API_version_vendor_implementation", Value::pairs([("build", "simulated")])),
            ("enabled", Value::Bool(true)),
            ("software_version", Value::pairs(version)),
            ("other_config", Value::pairs([("iscsi_iqn", format!("iqn.2026-11.test:{label}"))])),
            ("capabilities", Value::texts(["xen-3.0-x86_64", "hvm-3.0-x86_32", "hvm-3.0-x86_64"])),
            ("sched_policy", text("credit")),
            ("supported_bootloaders", Value::texts(["pygrub"])),
            ("suspend_image_sr", text(NULL)),
            ("cpu_info", Value::pairs(cpu)),
            ("hostname", text(label.as_str())),
            ("address", text(address)),
            ("metrics", reference(&metrics)),
            ("external_auth_type", text("AD")),
            ("external_auth_service_name", text("example.test")),
            ("edition", text("premium")),
            ("editions", Value::texts(["trial", "standard", "premium"])),
            ("control_domain", reference(&control_domain)),
            ("chipset_info", Value::pairs([("iommu", "true")])),
            ("virtual_hardware_platform_versions", Value::Set((0..3).map(Value::Int).collect())),
            ("bios_strings", Value::pairs([("system-manufacturer", "Simulated")])),
            // Some builds of XCP-ng 8.3 have names twice.
            (
                "license_params",
                Value::pairs([
                    ("restrict_pooling", "true"),
                    ("expiry", "20991231T00:00:00Z"),
                    ("restrict_pooling", "false"),
                ]),
            ),
            ("ssl_legacy", Value::Bool(false)),
            ("iscsi_iqn", text(format!("iqn.2026-11.test:{label}"))),
            ("tls_verification_enabled", Value::Bool(true)),
            ("https_only", Value::Bool(false)),
        ],
    );
    cpus(edit, &this);
    interfaces(edit, &this, n, address, networks);
    control_domain_of(edit, &this, &label, address, control_domain);
    Host { reference: this, address: address.to_owned() }
}

fn cpus(edit: &mut Edit<'_>, host: &Text) {
    for number in 0..CPUS {
        edit.add(
            "host_cpu",
            &[
                ("host", reference(host)),
                ("number", Value::Int(number)),
                ("vendor", text("AuthenticAMD")),
                ("speed", Value::Int(2794)),
                ("modelname", text(CPU_MODEL)),
                ("family", Value::Int(25)),
                ("model", Value::Int(1)),
                ("stepping", text("1")),
                ("features", text(CPU_FEATURES)),
                ("utilisation", Value::Float(0.0)),
            ],
        );
    }
}

fn interfaces(edit: &mut Edit<'_>, host: &Text, n: usize, address: &str, networks: &[Text]) {
    for (index, network) in networks.iter().enumerate() {
        let metrics = edit.add(
            "PIF_metrics",
            &[
                ("carrier", Value::Bool(true)),
                ("vendor_name", text("Simulated Ethernet")),
                ("speed", Value::Int(10_000)),
                ("duplex", Value::Bool(true)),
                ("last_updated", edit.ago(5)),
            ],
        );
        let management = index == 0;
        let (mode, ip, mask) =
            if management { ("Static", address, "255.255.255.0") } else { ("None", "", "") };
        edit.add(
            "PIF",
            &[
                ("device", text(format!("eth{index}"))),
                ("network", reference(network)),
                ("host", reference(host)),
                ("MAC", text(format!("02:00:5e:00:{n:02x}:{index:02x}"))),
                ("MTU", Value::Int(1500)),
                ("VLAN", Value::Int(-1)),
                ("metrics", reference(&metrics)),
                ("physical", Value::Bool(true)),
                ("ip_configuration_mode", text(mode)),
                ("IP", text(ip)),
                ("netmask", text(mask)),
                ("management", Value::Bool(management)),
                ("disallow_unplug", Value::Bool(management)),
                ("capabilities", Value::texts(["sriov"])),
            ],
        );
    }
}

fn control_domain_of(edit: &mut Edit<'_>, host: &Text, label: &str, address: &str, this: Text) {
    let memory = Value::Int(8 * GIB);
    let metrics = edit.add(
        "VM_metrics",
        &[
            ("memory_actual", memory.clone()),
            ("VCPUs_number", Value::Int(4)),
            ("start_time", edit.ago(86_400 * 30)),
            ("last_updated", edit.ago(5)),
            ("current_domain_type", text("pv")),
        ],
    );
    edit.add_as(
        "VM",
        this.clone(),
        &[
            ("name_label", text(format!("Control domain on host: {label}"))),
            (
                "name_description",
                text("The domain which manages physical devices and manages other domains"),
            ),
            ("power_state", text("Running")),
            ("user_version", Value::Int(1)),
            ("resident_on", reference(host)),
            ("affinity", reference(host)),
            ("memory_overhead", Value::Int(71_303_168)),
            ("memory_target", memory.clone()),
            ("memory_static_max", memory.clone()),
            ("memory_dynamic_max", memory.clone()),
            ("memory_dynamic_min", memory.clone()),
            ("memory_static_min", memory),
            ("VCPUs_max", Value::Int(4)),
            ("VCPUs_at_startup", Value::Int(4)),
            ("actions_after_shutdown", text("destroy")),
            ("actions_after_reboot", text("destroy")),
            ("actions_after_crash", text("destroy")),
            ("HVM_shadow_multiplier", Value::Float(1.0)),
            ("domid", Value::Int(0)),
            ("domarch", text("x64")),
            ("is_control_domain", Value::Bool(true)),
            ("metrics", reference(&metrics)),
            ("domain_type", text("pv")),
        ],
    );
    consoles(edit, &this, address);
}

/// The two consoles of a running VM.
pub(crate) fn consoles(edit: &mut Edit<'_>, vm: &Text, address: &str) {
    for protocol in ["rfb", "vt100"] {
        let this = edit.identifiers.reference();
        let location = format!("https://{address}/console?ref={this}");
        edit.add_as(
            "console",
            this,
            &[("protocol", text(protocol)), ("location", text(location)), ("VM", reference(vm))],
        );
    }
}

/// The pool's own object.
pub(super) fn pool(edit: &mut Edit<'_>, hosts: &[Host], storage: &Storage) {
    let default = reference(&storage.default);
    let coordinator = hosts.first().map_or_else(|| text(NULL), |host| reference(&host.reference));
    let secret = edit.add("secret", &[("value", text("a telemetry uuid"))]);
    let cpu = [
        ("cpu_count", (CPUS * hosts.len() as i64).to_string()),
        ("socket_count", hosts.len().to_string()),
        ("vendor", "AuthenticAMD".to_owned()),
        ("features_hvm_host", CPU_FEATURES.to_owned()),
        ("features_pv_host", CPU_FEATURES.to_owned()),
    ];
    let restrictions =
        ["restrict_pooling", "restrict_rbac", "restrict_wlb", "restrict_dmc", "restrict_vtpm"];
    edit.add(
        "pool",
        &[
            ("name_label", text("Simulated pool")),
            ("name_description", text("A pool without hardware")),
            ("master", coordinator),
            ("default_SR", default.clone()),
            ("suspend_image_SR", default.clone()),
            ("crash_dump_SR", default),
            (
                "other_config",
                Value::pairs([("memory-ratio-hvm", "0.25"), ("memory-ratio-pv", "0.25")]),
            ),
            ("restrictions", Value::pairs(restrictions.map(|name| (name, "false")))),
            ("ha_cluster_stack", text("xhad")),
            (
                "allowed_operations",
                Value::texts(["ha_enable", "cluster_create", "designate_new_master"]),
            ),
            ("cpu_info", Value::pairs(cpu)),
            ("tls_verification_enabled", Value::Bool(true)),
            ("telemetry_uuid", reference(&secret)),
            ("redo_log_vdi", text(NULL)),
        ],
    );
}
