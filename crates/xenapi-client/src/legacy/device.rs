//! A domain's devices: disks, network interfaces, consoles.

use std::borrow::Cow;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::project::{found, made_up, record};
use crate::records::Found;
use xenapi_wire::sxp::Sxp;

/// The devices that the Xen-API has classes for.
pub(super) fn devices(vm: Uuid, domain: &Sxp) -> Vec<Found> {
    let (mut devices, mut interfaces) = (Vec::new(), 0);
    for (place, device) in domain.all("device").enumerate() {
        let Some(device) = device.children().first() else { continue };
        let Some(kind) = device.name() else { continue };
        let (class, name, record) = match kind {
            "vbd" | "tap" | "tap2" => {
                let (name, record) = disk(device);
                ("VBD", name, record)
            }
            "vif" => {
                interfaces += 1;
                ("VIF", (interfaces - 1).to_string(), interface(device, interfaces - 1))
            }
            "console" | "vfb" => ("console", kind.to_owned(), console(kind, device)),
            _ => continue,
        };
        let own = device.text("uuid").and_then(|text| Uuid::try_parse(&text).ok());
        let name = if name.is_empty() { place.to_string() } else { name };
        let uuid = own.unwrap_or_else(|| made_up(vm, &format!("{class}/{name}")));
        let mut record = record;
        record.insert("uuid".to_owned(), uuid.to_string().into());
        record.insert("VM".to_owned(), vm.to_string().into());
        devices.push(found(class, uuid, record));
    }
    devices
}

/// The device's name without what follows its colon, and the record.
fn disk(device: &Sxp) -> (String, Map<String, Value>) {
    let dev = device.text("dev").unwrap_or_default();
    let (name, kind) = dev.split_once(':').unwrap_or((&*dev, "disk"));
    let record = record([
        ("device", (!name.is_empty()).then(|| name.into())),
        ("type", Some(if kind == "cdrom" { "CD" } else { "Disk" }.into())),
        ("mode", device.text("mode").map(|mode| mode_of(&mode).into())),
        ("bootable", device.int("bootable").map(|bootable| (bootable != 0).into())),
        ("uname", device.text("uname").map(Value::from)),
    ]);
    (name.to_owned(), record)
}

fn mode_of(mode: &str) -> &'static str {
    if mode.contains('w') { "RW" } else { "RO" }
}

fn interface(device: &Sxp, number: usize) -> Map<String, Value> {
    record([
        ("device", Some(number.to_string().into())),
        ("MAC", device.text("mac").map(Value::from)),
        ("bridge", device.text("bridge").map(Value::from)),
    ])
}

fn console(kind: &str, device: &Sxp) -> Map<String, Value> {
    let protocol = match kind {
        "vfb" => Some("rfb".to_owned()),
        _ => device.text("protocol").map(Cow::into_owned),
    };
    record([
        ("protocol", protocol.map(Value::from)),
        ("location", device.text("location").map(Value::from)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn devices_keep_their_uuids_or_get_one_that_stays() {
        let vm = Uuid::from_u128(7);
        let domain = json!([
            "domain",
            [
                "device",
                [
                    "vbd",
                    ["uuid", "0f4e1da5-c62d-0f75-95e8-091b2f373cb7"],
                    ["bootable", 0],
                    ["dev", "hdc:cdrom"],
                    ["uname", "file:/iso/cd.iso"],
                    ["mode", "r"]
                ]
            ],
            ["device", ["tap", ["dev", "xvda"], ["mode", "w!"]]],
            ["device", ["vif", ["mac", "m"], ["bridge", "xenbr0"]]],
            ["device", ["vif"]],
            ["device", ["vfb", ["vnc", "1"]]],
            ["device", ["console", ["protocol", "vt100"], ["location", "2"]]],
            ["device", ["pci"]],
            ["device", "odd"]
        ]);
        let domain = super::super::sxp::domain(&domain.to_string()).expect("a domain");
        let (found, again) = (devices(vm, &domain), devices(vm, &domain));
        let classes: Vec<&str> = found.iter().map(|device| device.class).collect();
        assert_eq!(classes, ["VBD", "VBD", "VIF", "VIF", "console", "console"]);
        assert_eq!(found[0].reference, "0f4e1da5-c62d-0f75-95e8-091b2f373cb7");
        let mut uuids: Vec<&str> = found.iter().map(|device| &*device.reference).collect();
        assert!(again.iter().map(|device| &*device.reference).eq(uuids.iter().copied()));
        uuids.sort_unstable();
        uuids.dedup();
        assert_eq!(uuids.len(), 6);
        let record = |place: usize| -> Value {
            serde_json::from_str(found[place].record.as_deref().expect("one")).expect("JSON")
        };
        assert_eq!(record(0)["type"], "CD");
        assert_eq!((&record(0)["device"], &record(0)["mode"]), (&json!("hdc"), &json!("RO")));
        assert_eq!((&record(1)["type"], &record(1)["mode"]), (&json!("Disk"), &json!("RW")));
        assert_eq!((&record(3)["device"], record(3).get("MAC")), (&json!("1"), None));
        assert_eq!(record(4)["protocol"], "rfb");
        assert_eq!(record(5)["VM"], vm.to_string());
    }
}
