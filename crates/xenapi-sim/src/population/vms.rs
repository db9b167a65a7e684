//! Templates and VMs with their disks, interfaces, consoles and metrics.

use super::hosts::{Host, consoles};
use super::storage::Storage;
use super::{Edit, GIB, Text, no_pairs, reference, text};
use crate::database::{NULL, Value};

const TEMPLATES: [&str; 6] = [
    "Debian Bookworm 12",
    "Debian Trixie 13",
    "Rocky Linux 9",
    "Ubuntu Noble Numbat 24.04",
    "Windows Server 2022 (64-bit)",
    "Other install media",
];

const TRADES: [&str; 10] =
    ["web", "db", "cache", "ci-runner", "mail", "build", "proxy", "worker", "report", "backup"];

const TAGS: [&str; 6] = ["production", "staging", "test", "backup", "public", "lab"];

const RECOMMENDATIONS: &str = "<restrictions><restriction field=\"memory-static-max\" \
                               max=\"137438953472\"/><restriction field=\"vcpus-max\" \
                               max=\"32\"/></restrictions>";

/// The templates that every pool comes with.
pub(super) fn templates(edit: &mut Edit<'_>) {
    for label in TEMPLATES {
        let mut fields = hardware(2 * GIB, 2);
        fields.extend([
            ("name_label", text(label)),
            ("name_description", text("To make VMs from")),
            ("is_a_template", Value::Bool(true)),
            ("is_default_template", Value::Bool(true)),
            ("other_config", Value::pairs(template_config(label))),
            ("reference_label", text(label.to_lowercase().replace(' ', "-"))),
        ]);
        edit.add("VM", &fields);
    }
}

/// A template for a known system also asks for a disk, in an SR that is still to be named.
fn template_config(label: &str) -> Vec<(&'static str, &'static str)> {
    let disk = "<provision><disk device=\"0\" size=\"10737418240\" sr=\"\" \
                bootable=\"true\" type=\"system\"/></provision>";
    let mut config = vec![("default_template", "true")];
    if label != "Other install media" {
        config.insert(0, ("disks", disk));
    }
    config
}

/// The VMs; a little less than half of them run.
pub(super) fn vms(
    edit: &mut Edit<'_>,
    count: usize,
    hosts: &[Host],
    networks: &[Text],
    storage: &Storage,
) {
    for n in 0..count {
        let place = Place {
            host: &hosts[n % hosts.len()],
            network: &networks[n % networks.len()],
            sr: &storage.disks[n % storage.disks.len()],
        };
        vm(edit, n, &place);
    }
}

/// Where a VM's parts live.
struct Place<'a> {
    host: &'a Host,
    network: &'a Text,
    sr: &'a Text,
}

fn vm(edit: &mut Edit<'_>, n: usize, place: &Place<'_>) {
    let this = edit.identifiers.reference();
    let running = edit.below(100) < 48;
    let memory = GIB << edit.below(4);
    let vcpus = 1 << edit.below(4);
    let label = format!("{}-{:04}", TRADES[n % TRADES.len()], n + 1);
    let template = *edit.identifiers.pick(&TEMPLATES);
    let address = format!("198.51.{}.{}", 100 + n / 250 % 100, n % 250 + 1);
    let metrics = vm_metrics(edit, running, memory, vcpus);
    let guest_metrics = if running { guest(edit, template, &address) } else { NULL.into() };
    let mut fields = hardware(memory, vcpus);
    fields.extend([
        ("name_label", text(label.as_str())),
        ("name_description", text(format!("Simulated VM number {}", n + 1))),
        ("power_state", text(if running { "Running" } else { "Halted" })),
        ("other_config", other_config(edit, template)),
        ("metrics", reference(&metrics)),
        ("guest_metrics", reference(&guest_metrics)),
        ("tags", tags(edit)),
    ]);
    if running {
        fields.extend([
            ("resident_on", reference(&place.host.reference)),
            ("memory_target", Value::Int(memory)),
            ("domid", Value::Int(i64::try_from(n).unwrap_or(0) + 1)),
            ("domarch", text("x64")),
        ]);
    }
    edit.add_as("VM", this.clone(), &fields);
    let disk = disk(edit, &label, &this, place.sr, running);
    interface(edit, n, &this, place.network, running, &address);
    if running {
        consoles(edit, &this, &place.host.address);
    }
    // One VM in forty has been kept as it was last week.
    if n % 40 == 7 {
        snapshot(edit, &label, &this, (memory, vcpus), &disk, place.sr);
    }
}

/// Fields that VMs, templates and snapshots have alike.
fn hardware(memory: i64, vcpus: i64) -> Vec<(&'static str, Value)> {
    let platform = [
        ("acpi", "1"),
        ("apic", "true"),
        ("pae", "true"),
        ("viridian", "true"),
        ("nx", "true"),
        ("device-model", "qemu-upstream-compat"),
    ];
    vec![
        ("user_version", Value::Int(1)),
        ("resident_on", text(NULL)),
        ("affinity", text(NULL)),
        ("memory_overhead", Value::Int(13_631_488)),
        ("memory_static_max", Value::Int(memory)),
        ("memory_dynamic_max", Value::Int(memory)),
        ("memory_dynamic_min", Value::Int(memory)),
        ("memory_static_min", Value::Int(GIB / 2)),
        ("VCPUs_max", Value::Int(vcpus)),
        ("VCPUs_at_startup", Value::Int(vcpus)),
        ("actions_after_shutdown", text("destroy")),
        ("actions_after_reboot", text("restart")),
        ("actions_after_crash", text("restart")),
        ("HVM_boot_policy", text("BIOS order")),
        ("HVM_boot_params", Value::pairs([("order", "cdn"), ("firmware", "uefi")])),
        ("HVM_shadow_multiplier", Value::Float(1.0)),
        ("platform", Value::pairs(platform)),
        ("domid", Value::Int(-1)),
        ("recommendations", text(RECOMMENDATIONS)),
        ("hardware_platform_version", Value::Int(2)),
        ("domain_type", text("hvm")),
    ]
}

fn other_config(edit: &Edit<'_>, template: &str) -> Value {
    Value::pairs([
        ("base_template_name", Text::from(template)),
        ("import_task", NULL.into()),
        ("mac_seed", edit.identifiers.uuid()),
    ])
}

fn tags(edit: &Edit<'_>) -> Value {
    match edit.below(4) {
        0 => Value::Set(Vec::new()),
        1 => Value::texts(["lab", *edit.identifiers.pick(&TAGS[..5])]),
        _ => Value::texts([*edit.identifiers.pick(&TAGS)]),
    }
}

fn vm_metrics(edit: &mut Edit<'_>, running: bool, memory: i64, vcpus: i64) -> Text {
    let installed = edit.ago(86_400 * (30 + edit.below(300)));
    let mut fields = vec![
        ("memory_actual", Value::Int(if running { memory } else { 0 })),
        ("VCPUs_number", Value::Int(if running { vcpus } else { 0 })),
        ("install_time", installed),
        ("last_updated", edit.ago(edit.below(60))),
        ("current_domain_type", text(if running { "hvm" } else { "unspecified" })),
    ];
    if running {
        let load = |n| (Value::Int(n), Value::Float(edit.below(100) as f64 / 100.0));
        fields.extend([
            ("VCPUs_utilisation", Value::Map((0..vcpus).map(load).collect())),
            ("start_time", edit.ago(86_400 + edit.below(86_400 * 20))),
            ("hvm", Value::Bool(true)),
        ]);
    }
    edit.add("VM_metrics", &fields)
}

/// What a guest with drivers tells about itself.
pub(crate) fn guest(edit: &mut Edit<'_>, template: &str, address: &str) -> Text {
    let windows = template.starts_with("Windows");
    let (distribution, kernel) =
        if windows { ("windows", "10.0.20348") } else { ("debian", "6.1.0-27-amd64") };
    let os = [("name", template), ("distro", distribution), ("major", "12"), ("uname", kernel)];
    let drivers = [("major", "9"), ("minor", "4"), ("micro", "0"), ("build", "146")];
    let other = [("feature-suspend", "1"), ("feature-shutdown", "1"), ("has-vendor-device", "0")];
    edit.add(
        "VM_guest_metrics",
        &[
            ("os_version", Value::pairs(os)),
            ("PV_drivers_version", Value::pairs(drivers)),
            ("PV_drivers_up_to_date", Value::Bool(true)),
            ("networks", Value::pairs([("0/ip", address), ("0/ipv4/0", address)])),
            ("other", Value::pairs(other)),
            // XAPI keeps the zone that a date came with.
            ("last_updated", two_hours_east(edit)),
            ("live", Value::Bool(true)),
            ("can_use_hotplug_vbd", text("yes")),
            ("can_use_hotplug_vif", text("yes")),
            ("PV_drivers_detected", Value::Bool(true)),
        ],
    )
}

fn disk(edit: &mut Edit<'_>, label: &str, vm: &Text, sr: &Text, running: bool) -> Text {
    let size = (8 * GIB) << edit.below(4);
    let vdi = edit.identifiers.reference();
    let location = edit.identifiers.uuid();
    edit.add_known(
        "VDI",
        vdi.clone(),
        location.clone(),
        &[
            ("name_label", text(format!("{label} 0"))),
            ("name_description", text("Created by template provisioner")),
            ("SR", reference(sr)),
            ("virtual_size", Value::Int(size)),
            ("physical_utilisation", Value::Int(size / 3)),
            ("type", text("user")),
            ("location", text(location)),
            ("managed", Value::Bool(true)),
            ("parent", text(NULL)),
        ],
    );
    block_device(edit, vm, &vdi, running);
    vdi
}

fn block_device(edit: &mut Edit<'_>, vm: &Text, vdi: &Text, attached: bool) {
    let metrics = edit.add("VBD_metrics", &[]);
    edit.add(
        "VBD",
        &[
            ("VM", reference(vm)),
            ("VDI", reference(vdi)),
            ("device", text("xvda")),
            ("userdevice", text("0")),
            ("bootable", Value::Bool(true)),
            ("mode", text("RW")),
            ("type", text("Disk")),
            ("currently_attached", Value::Bool(attached)),
            ("other_config", Value::pairs([("owner", "")])),
            ("metrics", reference(&metrics)),
        ],
    );
}

fn interface(
    edit: &mut Edit<'_>,
    n: usize,
    vm: &Text,
    network: &Text,
    running: bool,
    address: &str,
) {
    let metrics = edit.add("VIF_metrics", &[("last_updated", edit.ago(5))]);
    let addresses = running.then(|| format!("{address}/24"));
    edit.add(
        "VIF",
        &[
            ("device", text("0")),
            ("network", reference(network)),
            ("VM", reference(vm)),
            ("MAC", text(format!("02:16:3e:{:02x}:{:02x}:{:02x}", n >> 16, n >> 8 & 255, n & 255))),
            ("MTU", Value::Int(1500)),
            ("currently_attached", Value::Bool(running)),
            ("MAC_autogenerated", Value::Bool(true)),
            ("metrics", reference(&metrics)),
            ("ipv4_addresses", Value::texts(addresses)),
        ],
    );
}

fn snapshot(
    edit: &mut Edit<'_>,
    label: &str,
    vm: &Text,
    (memory, vcpus): (i64, i64),
    disk: &Text,
    sr: &Text,
) {
    let taken = edit.ago(86_400 * 7);
    let metrics = vm_metrics(edit, false, memory, vcpus);
    let mut fields = hardware(memory, vcpus);
    fields.extend([
        ("name_label", text(format!("{label} before the upgrade"))),
        ("is_a_template", Value::Bool(true)),
        ("is_a_snapshot", Value::Bool(true)),
        ("snapshot_of", reference(vm)),
        ("snapshot_time", taken.clone()),
        ("snapshot_info", Value::pairs([("power-state-at-snapshot", "Halted")])),
        ("transportable_snapshot_id", text("")),
        ("metrics", reference(&metrics)),
        ("other_config", no_pairs()),
    ]);
    let this = edit.add("VM", &fields);
    let location = edit.identifiers.uuid();
    let vdi = edit.add(
        "VDI",
        &[
            ("name_label", text(format!("{label} 0"))),
            ("SR", reference(sr)),
            ("virtual_size", Value::Int(8 * GIB)),
            ("type", text("user")),
            ("location", text(location)),
            ("managed", Value::Bool(true)),
            ("is_a_snapshot", Value::Bool(true)),
            ("snapshot_of", reference(disk)),
            ("snapshot_time", taken),
            ("parent", text(NULL)),
        ],
    );
    block_device(edit, &this, &vdi, false);
}

/// A moment ago, by the clocks of a place that is ahead of UTC.
fn two_hours_east(edit: &Edit<'_>) -> Value {
    let ago = i64::try_from(edit.below(60)).unwrap_or(0);
    let local = edit.clock.date_time(2 * 3600 - ago);
    Value::date_time(format!("{}+02:00", local.trim_end_matches('Z')))
}
