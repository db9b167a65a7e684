//! A domain's s-expression as the Xen-API's records: a VM, its metrics, its devices.
//!
//! What the s-expression does not tell is absent from the records; all of it goes along raw.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::device;
use super::sxp;
use crate::records::Found;
use xenapi_wire::sxp::Sxp;

pub(super) const MIB: i64 = 1 << 20;

/// Flags of a domain's state by their place, and the Xen-API's words for them.
const FLAGS: [&str; 6] = ["running", "blocked", "paused", "shutdown", "crashed", "dying"];

/// The records of a domain; none of what is no domain or has no uuid.
pub(super) fn domain(json: &str) -> Vec<Found> {
    let Some(domain) = sxp::domain(json) else { return Vec::new() };
    let Some(uuid) = domain.text("uuid").and_then(|text| Uuid::try_parse(&text).ok()) else {
        return Vec::new();
    };
    let devices = device::devices(uuid, &domain);
    let (metrics_uuid, metrics) = metrics(uuid, &domain);
    let mut vm = vm(uuid, &domain);
    vm.insert("metrics".to_owned(), metrics_uuid.to_string().into());
    for (class, field) in [("VBD", "VBDs"), ("VIF", "VIFs"), ("console", "consoles")] {
        let of_class = devices.iter().filter(|device| device.class == class);
        let uuids: Vec<String> = of_class.map(|device| device.reference.clone()).collect();
        vm.insert(field.to_owned(), uuids.into());
    }
    let raw = Some(sxp::without_passwords(json));
    let vm = Found { raw, ..found("VM", uuid, vm) };
    [vm, found("VM_metrics", metrics_uuid, metrics)].into_iter().chain(devices).collect()
}

/// An object with its record.
pub(super) fn found(class: &'static str, uuid: Uuid, record: Map<String, Value>) -> Found {
    let record = Some(Value::Object(record).to_string());
    Found { class, reference: uuid.to_string(), record, raw: None }
}

/// The uuid of something of a domain's that has none in xend: always the same one.
pub(super) fn made_up(domain: Uuid, what: &str) -> Uuid {
    Uuid::new_v5(&domain, what.as_bytes())
}

/// The members of a record that are there.
pub(super) fn record<const N: usize>(fields: [(&str, Option<Value>); N]) -> Map<String, Value> {
    let there = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    there.collect()
}

fn vm(uuid: Uuid, domain: &Sxp) -> Map<String, Value> {
    let text = |name: &str| domain.text(name).map(Value::from);
    let int = |name: &str| domain.int(name).map(Value::from);
    let bytes = |name: &str| domain.int(name).map(|mib| mib.saturating_mul(MIB).into());
    // xend writes `coredump-destroy` where the Xen-API has `coredump_and_destroy`.
    let action = |name: &str| {
        let text = domain.text(name)?;
        let spelt = match text.strip_prefix("coredump-") {
            Some(then) => format!("coredump_and_{then}"),
            None => text.replace('-', "_"),
        };
        Some(Value::from(spelt))
    };
    let domid = domain.int("domid");
    let mut vm = record([
        ("uuid", Some(uuid.to_string().into())),
        ("name_label", text("name")),
        ("name_description", text("description")),
        ("power_state", Some(sxp::power_state(domain).into())),
        ("domid", Some(domid.unwrap_or(-1).into())),
        ("is_control_domain", Some((domid == Some(0)).into())),
        ("is_a_template", Some(false.into())),
        ("memory_static_max", bytes("maxmem")),
        ("memory_dynamic_max", bytes("memory")),
        ("VCPUs_max", int("vcpus")),
        ("VCPUs_at_startup", int("vcpus")),
        ("VCPUs_params", vcpus_params(domain)),
        ("actions_after_shutdown", action("on_poweroff")),
        ("actions_after_reboot", action("on_reboot")),
        ("actions_after_crash", action("on_crash")),
        ("PV_bootloader", text("bootloader")),
        ("PV_bootloader_args", text("bootloader_args")),
        ("pool_name", text("pool_name")),
    ]);
    if let Some(image) = domain.value("image") {
        vm.extend(self::image(image));
    }
    vm
}

fn vcpus_params(domain: &Sxp) -> Option<Value> {
    let (weight, cap) = (domain.text("cpu_weight"), domain.text("cpu_cap"));
    let params = record([("weight", weight.map(Value::from)), ("cap", cap.map(Value::from))]);
    (!params.is_empty()).then_some(Value::Object(params))
}

fn image(image: &Sxp) -> Map<String, Value> {
    let text = |name: &str| image.text(name).map(Value::from);
    match image.name() {
        Some("hvm") => record([
            ("HVM_boot_policy", Some("BIOS order".into())),
            ("HVM_boot_params", image.text("boot").map(|order| json!({ "order": order }))),
        ]),
        _ => record([
            ("PV_kernel", text("kernel")),
            ("PV_ramdisk", text("ramdisk")),
            ("PV_args", text("args")),
        ]),
    }
}

fn metrics(vm: Uuid, domain: &Sxp) -> (Uuid, Map<String, Value>) {
    let uuid = made_up(vm, "VM_metrics");
    let is_there = domain.int("domid").is_some();
    let memory = domain.int("memory").map(|mib| if is_there { mib.saturating_mul(MIB) } else { 0 });
    let online = domain.int("online_vcpus").filter(|_| is_there);
    let record = record([
        ("uuid", Some(uuid.to_string().into())),
        ("memory_actual", memory.map(Value::from)),
        ("VCPUs_number", online.or(if is_there { None } else { Some(0) }).map(Value::from)),
        ("state", domain.text("state").map(|flags| state(&flags))),
        ("start_time", domain.double("start_time").and_then(date).map(Value::from)),
        ("cpu_time", domain.double("cpu_time").map(Value::from)),
    ]);
    (uuid, record)
}

/// `-b----` as words.
fn state(flags: &str) -> Value {
    let set = FLAGS.iter().zip(flags.bytes()).filter(|(_, flag)| *flag != b'-');
    set.map(|(word, _)| Value::from(*word)).collect()
}

/// Seconds since 1970 as a date.
fn date(seconds: f64) -> Option<String> {
    // Until the year 9999, which is the last that a date can be written of.
    let seconds = (0.0..253_402_300_800.0).contains(&seconds).then_some(seconds)?;
    let at = UNIX_EPOCH.checked_add(Duration::from_secs(seconds as u64))?;
    Some(humantime::format_rfc3339_seconds(at).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(sxp: &Value) -> Vec<(&'static str, Map<String, Value>)> {
        let read = |text: String| serde_json::from_str(&text).expect("JSON");
        domain(&sxp.to_string())
            .into_iter()
            .map(|found| (found.class, read(found.record.expect("a record"))))
            .collect()
    }

    const UUID: &str = "8bc91514-bce6-15a2-24be-a63e38c385c3";

    #[test]
    fn a_running_domain_is_a_vm_with_metrics_and_devices() {
        let sxp = json!([
            "domain",
            ["domid", 8],
            ["vcpus", 2],
            ["uuid", UUID],
            ["name", "web01"],
            ["maxmem", 512],
            ["memory", 256],
            ["cpu_time", 0.72],
            ["online_vcpus", 1],
            ["start_time", 1_795_332_182.9],
            ["cpu_weight", 256],
            ["on_crash", "coredump-destroy"],
            ["on_reboot", "rename-restart"],
            ["image", ["linux", ["kernel", "/boot/k"], ["args", "ro"]]],
            ["status", 2],
            ["state", "-b----"],
            [
                "device",
                [
                    "vif",
                    ["mac", "00:16:3e:00:00:01"],
                    ["uuid", "6456f7ac-7e89-b8b5-ea69-d3aadaced5e3"]
                ]
            ]
        ]);
        let records = records(&sxp);
        let (class, vm) = &records[0];
        assert_eq!(*class, "VM");
        for (field, want) in [
            ("uuid", json!(UUID)),
            ("name_label", json!("web01")),
            ("power_state", json!("Running")),
            ("domid", json!(8)),
            ("memory_static_max", json!(512 * MIB)),
            ("memory_dynamic_max", json!(256 * MIB)),
            ("VCPUs_max", json!(2)),
            ("VCPUs_params", json!({"weight": "256"})),
            ("PV_kernel", json!("/boot/k")),
            ("actions_after_crash", json!("coredump_and_destroy")),
            ("actions_after_reboot", json!("rename_restart")),
            ("VIFs", json!(["6456f7ac-7e89-b8b5-ea69-d3aadaced5e3"])),
            ("VBDs", json!([])),
        ] {
            assert_eq!(vm[field], want, "{field}");
        }
        assert!(!vm.contains_key("memory_static_min") && !vm.contains_key("PV_ramdisk"));
        let (class, metrics) = &records[1];
        assert_eq!((*class, &metrics["uuid"]), ("VM_metrics", &vm["metrics"]));
        assert_eq!(metrics["memory_actual"], 256 * MIB);
        assert_eq!(metrics["VCPUs_number"], 1);
        assert_eq!(metrics["state"], json!(["blocked"]));
        assert_eq!(metrics["start_time"], "2026-11-22T07:23:02Z");
        assert_eq!(metrics["cpu_time"], 0.72);
        assert_eq!(records[2].0, "VIF");
        let raw = domain(&sxp.to_string())[0].raw.clone().expect("raw");
        assert_eq!(serde_json::from_str::<Value>(&raw).expect("JSON"), sxp);
    }

    #[test]
    fn a_halted_domain_has_neither_a_domid_nor_memory_of_its_own() {
        let sxp = json!([
            "domain",
            ["uuid", UUID],
            ["name", "h"],
            ["memory", 256],
            ["status", 0],
            ["image", ["hvm", ["boot", "cd"]]]
        ]);
        let records = records(&sxp);
        assert_eq!(records[0].1["domid"], -1);
        assert_eq!(records[0].1["HVM_boot_params"], json!({"order": "cd"}));
        assert_eq!(records[1].1["memory_actual"], 0);
        assert!(!records[1].1.contains_key("state"));
        assert_eq!(records.len(), 2);
    }

    #[test]
    fn made_up_uuids_stay_and_what_is_no_domain_is_nothing() {
        let uuid = Uuid::try_parse(UUID).expect("a uuid");
        assert_eq!(made_up(uuid, "VM_metrics"), made_up(uuid, "VM_metrics"));
        assert_ne!(made_up(uuid, "a"), made_up(uuid, "b"));
        for sxp in [json!(null), json!(["domain"]), json!(["domain", ["uuid", "x"]]), json!([[]])] {
            assert!(domain(&sxp.to_string()).is_empty(), "{sxp}");
        }
        for seconds in [f64::NAN, -1.0, 1e300] {
            assert!(date(seconds).is_none());
        }
    }
}
