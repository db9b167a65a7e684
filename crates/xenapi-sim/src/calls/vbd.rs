//! What disks are in VMs by.

use crate::database::{NULL, Text, Value};
use crate::edit::Edit;
use crate::operations::{self, Lock};
use crate::protocol::Failure;
use crate::state::State;

use super::effect::Effect;
use super::object::record;
use super::request::{Request, void};
use super::vm::{check_halted, device_name};

/// How many VBDs a VM may have.
pub(super) const PLACES: usize = 255;

/// What a call of this class changes.
pub(super) fn effect(call: &str) -> Option<Effect> {
    Some(match call {
        "create" => Effect::AtOnce(create),
        "destroy" => Effect::AtOnce(destroy),
        "plug" => Effect::Operation("plug", plug),
        "unplug" => Effect::Operation("unplug", unplug),
        "unplug_force" | "unplug_force_no_safety_check" => {
            Effect::Operation("unplug_force", unplug)
        }
        "insert" => Effect::Locked(begin_insert, insert),
        "eject" => Effect::Operation("eject", eject),
        "assert_attachable" => Effect::AtOnce(assert_attachable),
        "set_mode" => Effect::AtOnce(set_mode),
        "pause" | "unpause" => Effect::AtOnce(pause),
        _ => return None,
    })
}

fn create(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let mut fields = record(request);
    let given = |name: &str| request.entry(0, name).and_then(Value::as_text).cloned();
    let text = |name: &str| given(name).unwrap_or_else(|| "".into());
    let (vm, vdi, kind, mode) = (text("VM"), text("VDI"), text("type"), text("mode"));
    let empty = request.entry(0, "empty") == Some(&Value::Bool(true));
    if !edit.has("VM", &vm) {
        return Err(Failure::new("HANDLE_INVALID", ["VM", &vm]));
    }
    if !empty {
        check_disk(edit, &vdi, &mode)?;
    }
    match (&*kind, &*mode) {
        ("CD", mode) if mode != "RO" => {
            return Err(Failure::new::<&str>("VBD_CDS_MUST_BE_READONLY", []));
        }
        ("CD", _) => {}
        _ if empty => return Err(Failure::new("VBD_NOT_REMOVABLE_MEDIA", ["in constructor"])),
        _ => {}
    }
    let place = place(edit, &vm, &text("userdevice"))?;
    let suspended = &**edit.text("VM", &vm, "power_state") == "Suspended";
    if !suspended {
        fields.retain(|(name, _)| !matches!(*name, "device" | "currently_attached"));
    }
    let metrics = edit.add("VBD_metrics", &[]);
    fields.extend([("userdevice", Value::text(place)), ("metrics", Value::Text(metrics))]);
    if empty {
        fields.push(("VDI", Value::text(NULL)));
    }
    let vbd = edit.add("VBD", &fields);
    operations::refresh(edit, "VBD", &vbd);
    Ok(Value::Text(vbd))
}

fn check_disk(edit: &Edit<'_>, vdi: &Text, mode: &str) -> Result<(), Failure> {
    if !edit.has("VDI", vdi) {
        return Err(Failure::new("HANDLE_INVALID", ["VDI", vdi]));
    }
    let kind = edit.text("VDI", vdi, "type");
    if matches!(&**kind, "ha_statefile" | "redo_log" | "cbt_metadata") {
        return Err(Failure::new("VDI_INCOMPATIBLE_TYPE", [vdi, kind].map(|text| &**text)));
    }
    if mode == "RW" && edit.flag("VDI", vdi, "read_only") {
        return Err(Failure::new("VDI_READONLY", [&**vdi]));
    }
    Ok(())
}

/// The places of a VM that are still free.
pub(super) fn free_places(edit: &Edit<'_>, vm: &str) -> Vec<usize> {
    let taken: Vec<_> = edit
        .texts("VM", vm, "VBDs")
        .iter()
        .filter_map(|vbd| number(edit.text("VBD", vbd, "userdevice")))
        .collect();
    (0..PLACES).filter(|place| !taken.contains(place)).collect()
}

/// The number of a place, which may be called `1`, `xvdb` or `hdb`.
fn number(name: &str) -> Option<usize> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let letters = ["xvd", "hd", "sd"].iter().find_map(|prefix| name.strip_prefix(prefix))?;
    let mut found = 0;
    for letter in letters.bytes() {
        if !letter.is_ascii_lowercase() {
            return None;
        }
        found = found * 26 + usize::from(letter - b'a') + 1;
    }
    found.checked_sub(1)
}

fn place(edit: &Edit<'_>, vm: &Text, wanted: &str) -> Result<String, Failure> {
    let free = free_places(edit, vm);
    if wanted == "autodetect" {
        let first = free.first().ok_or_else(|| Failure::new("INVALID_DEVICE", [wanted]))?;
        return Ok(first.to_string());
    }
    let number = number(wanted).filter(|number| *number < PLACES);
    let number = number.ok_or_else(|| Failure::new("INVALID_DEVICE", [wanted]))?;
    if free.contains(&number) {
        return Ok(wanted.to_owned());
    }
    Err(Failure::new("DEVICE_ALREADY_EXISTS", [wanted]))
}

fn destroy(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vbd = request.object(edit, 0, "VBD")?;
    if edit.flag("VBD", &vbd, "currently_attached") {
        let vm = edit.text("VBD", &vbd, "VM");
        let text = format!(
            "VBD '{}' still attached to '{}'",
            edit.text("VBD", &vbd, "uuid"),
            edit.text("VM", vm, "uuid")
        );
        return Err(Failure::new("OPERATION_NOT_ALLOWED", [text]));
    }
    remove(edit, &vbd);
    Ok(void())
}

/// Removes a VBD; its disk stays.
pub(super) fn remove(edit: &mut Edit<'_>, vbd: &Text) {
    let vdi = edit.target("VBD", vbd, "VDI");
    let metrics = edit.text("VBD", vbd, "metrics").clone();
    edit.destroy("VBD_metrics", &metrics);
    edit.destroy("VBD", vbd);
    if let Some(vdi) = vdi {
        operations::refresh(edit, "VDI", &vdi);
    }
}

fn plug(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vbd = request.object(edit, 0, "VBD")?;
    let place = number(edit.text("VBD", &vbd, "userdevice")).unwrap_or(0);
    let fields =
        [("device", Value::text(device_name(place))), ("currently_attached", Value::Bool(true))];
    edit.set_all("VBD", &vbd, &fields);
    operations::refresh(edit, "VBD", &vbd);
    Ok(void())
}

fn unplug(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vbd = request.object(edit, 0, "VBD")?;
    edit.set("VBD", &vbd, "currently_attached", Value::Bool(false));
    operations::refresh(edit, "VBD", &vbd);
    Ok(void())
}

fn begin_insert(edit: &Edit<'_>, request: &Request) -> Result<Vec<Lock>, Failure> {
    let (vbd, vdi) = (request.object(edit, 0, "VBD")?, request.object(edit, 1, "VDI")?);
    if !edit.flag("VDI", &vdi, "managed") {
        return Err(Failure::new("VDI_NOT_MANAGED", [&*vdi]));
    }
    Ok(vec![Lock::new("VBD", &vbd, "insert")])
}

fn insert(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let (vbd, vdi) = (request.object(edit, 0, "VBD")?, request.object(edit, 1, "VDI")?);
    edit.set_all("VBD", &vbd, &[("VDI", Value::Text(vdi)), ("empty", Value::Bool(false))]);
    operations::refresh(edit, "VBD", &vbd);
    Ok(void())
}

fn eject(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vbd = request.object(edit, 0, "VBD")?;
    let vdi = edit.target("VBD", &vbd, "VDI");
    edit.set_all("VBD", &vbd, &[("VDI", Value::text(NULL)), ("empty", Value::Bool(true))]);
    if let Some(vdi) = vdi {
        operations::refresh(edit, "VDI", &vdi);
    }
    Ok(void())
}

fn assert_attachable(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vbd = request.object(edit, 0, "VBD")?;
    operations::check(edit, "VBD", &vbd, "attach")?;
    Ok(void())
}

fn set_mode(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vbd = request.object(edit, 0, "VBD")?;
    check_halted(edit, edit.text("VBD", &vbd, "VM"))?;
    edit.set("VBD", &vbd, "mode", request.value(1));
    operations::refresh(edit, "VBD", &vbd);
    Ok(void())
}

/// No storage of today can be paused by its VBD.
fn pause(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vbd = request.object(edit, 0, "VBD")?;
    let vdi = edit.text("VBD", &vbd, "VDI");
    Err(Failure::new("SR_OPERATION_NOT_SUPPORTED", [&**edit.text("VDI", vdi, "SR")]))
}
