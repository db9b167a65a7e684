//! How a template becomes a VM.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::database::{Text, Value};
use crate::edit::Edit;
use crate::operations;
use crate::protocol::Failure;

use super::super::request::{Request, void};
use super::super::vdi;

/// A disk that a template asks for.
#[derive(Debug, PartialEq, Eq)]
struct Disk {
    device: String,
    size: i64,
    sr: String,
    bootable: bool,
    kind: String,
}

/// The VM gets the disks that its template asks for, and is a template no more.
pub(super) fn provision(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vm = request.object(edit, 0, "VM")?;
    edit.set("VM", &vm, "is_a_template", Value::Bool(false));
    let Some(wanted) = edit.entry("VM", &vm, "other_config", "disks").cloned() else {
        return Ok(void());
    };
    let disks = disks(&wanted)
        .ok_or_else(|| Failure::new("INTERNAL_ERROR", ["Xapi_templates.Parse_failure"]))?;
    let mut made = Vec::new();
    for disk in &disks {
        match make(edit, &vm, disk) {
            Ok(vdi) => made.push(vdi),
            Err(failure) => {
                made.iter().for_each(|vdi| vdi::remove(edit, vdi));
                return Err(failure);
            }
        }
    }
    edit.take("VM", &vm, "other_config", "disks");
    operations::refresh(edit, "VM", &vm);
    Ok(void())
}

fn make(edit: &mut Edit<'_>, vm: &Text, disk: &Disk) -> Result<Text, Failure> {
    let sr = edit.by_uuid("SR", &disk.sr);
    let sr = sr.ok_or_else(|| Failure::new("UUID_INVALID", ["sr", &disk.sr]))?;
    operations::check(edit, "SR", &sr, "vdi_create")?;
    let vdi = vdi::add(
        edit,
        vec![
            ("name_label", Value::text(disk.device.as_str())),
            ("name_description", Value::text("Created by template provisioner")),
            ("SR", Value::Text(sr)),
            ("virtual_size", Value::Int(disk.size)),
            ("type", Value::text(disk.kind.as_str())),
            ("sm_config", Value::pairs([("vmhint", edit.text("VM", vm, "uuid").clone())])),
        ],
    );
    let metrics = edit.add("VBD_metrics", &[]);
    let fields = [
        ("VM", Value::Text(vm.clone())),
        ("VDI", Value::Text(vdi.clone())),
        ("userdevice", Value::text(disk.device.as_str())),
        ("bootable", Value::Bool(disk.bootable)),
        ("mode", Value::text("RW")),
        ("type", Value::text("Disk")),
        ("unpluggable", Value::Bool(disk.kind != "system")),
        ("other_config", Value::pairs([("owner", "")])),
        ("metrics", Value::Text(metrics)),
    ];
    edit.add("VBD", &fields);
    Ok(vdi)
}

/// Reads `<provision><disk device="0" size="1024" sr="" bootable="true" type="system"/></provision>`.
fn disks(xml: &str) -> Option<Vec<Disk>> {
    let mut reader = Reader::from_str(xml);
    let (mut disks, mut inside) = (Vec::new(), false);
    loop {
        match reader.read_event().ok()? {
            Event::Start(tag) if tag.name().0 == "provision" => inside = true,
            Event::Empty(tag) | Event::Start(tag) if inside && tag.name().0 == "disk" => {
                disks.push(disk(&tag)?);
            }
            Event::Empty(tag) if tag.name().0 == "provision" => return Some(disks),
            Event::End(tag) if tag.name().0 == "provision" => return Some(disks),
            Event::End(_) | Event::Text(_) | Event::Comment(_) => {}
            _ => return None,
        }
    }
}

fn disk(tag: &BytesStart<'_>) -> Option<Disk> {
    let attribute = |name: &str| {
        let found = tag.try_get_attribute(name).ok()??;
        Some(found.value.into_owned())
    };
    Some(Disk {
        device: attribute("device")?,
        size: attribute("size")?.parse().ok()?,
        sr: attribute("sr")?,
        bootable: attribute("bootable")? == "true",
        kind: attribute("type").unwrap_or_else(|| "system".into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_read_from_a_template() {
        let xml = "<provision><disk device=\"0\" size=\"1024\" sr=\"\" bootable=\"true\"/>\
                   <disk device=\"1\" size=\"5\" sr=\"x\" bootable=\"false\" type=\"user\"></disk>\
                   </provision>";
        let disks = disks(xml).expect("disks");
        assert_eq!(disks.len(), 2);
        assert_eq!((disks[0].device.as_str(), disks[0].kind.as_str()), ("0", "system"));
        let second = Disk {
            device: "1".into(),
            size: 5,
            sr: "x".into(),
            bootable: false,
            kind: "user".into(),
        };
        assert_eq!(disks[1], second);
        assert_eq!(super::disks("<provision/>"), Some(Vec::new()));
        for wrong in ["", "text", "<provision>", "<provision><disk/></provision>", "<other/>"] {
            assert_eq!(super::disks(wrong), None, "{wrong}");
        }
    }
}
