//! Storage repositories, and what hosts have them by.

use crate::database::{Text, Value};
use crate::edit::Edit;
use crate::operations::{self, Lock};
use crate::protocol::Failure;
use crate::state::State;

use super::effect::Effect;
use super::object::{check_refs, named, record};
use super::request::{Request, void};

/// How large an SR is whose size nobody gave.
const SIZE: i64 = 1 << 40;

/// What a call of the class `SR` changes.
pub(super) fn effect(call: &str) -> Option<Effect> {
    Some(match call {
        "create" => Effect::Locked(begin_create, create),
        "introduce" => Effect::AtOnce(introduce),
        "make" => Effect::AtOnce(|_, _, _| Err(Failure::new::<&str>("MESSAGE_DEPRECATED", []))),
        "destroy" => Effect::Operation("destroy", forget),
        "forget" => Effect::Operation("forget", forget),
        "scan" => Effect::Operation("scan", scan),
        "update" => Effect::Operation("update", scan),
        "probe" => Effect::AtOnce(probe),
        "get_supported_types" => Effect::AtOnce(supported_types),
        "get_live_hosts" => Effect::AtOnce(live_hosts),
        _ => return None,
    })
}

/// What a call of the class `PBD` changes.
pub(super) fn pbd_effect(call: &str) -> Option<Effect> {
    Some(match call {
        "create" => Effect::AtOnce(create_pbd),
        "destroy" => Effect::AtOnce(destroy_pbd),
        "plug" => Effect::Locked(|edit, r| begin_plug(edit, r, "plug"), plug),
        "unplug" => Effect::Locked(|edit, r| begin_plug(edit, r, "unplug"), unplug),
        _ => return None,
    })
}

/// The plug-in for a type of SR.
fn plug_in(edit: &Edit<'_>, kind: &str) -> Result<(), Failure> {
    let known = edit.all("SM").iter().any(|sm| &**edit.text("SM", sm, "type") == kind);
    if known { Ok(()) } else { Err(Failure::new("SR_UNKNOWN_DRIVER", [kind])) }
}

fn begin_create(edit: &Edit<'_>, request: &Request) -> Result<Vec<Lock>, Failure> {
    request.object(edit, 0, "host")?;
    plug_in(edit, request.text(5))?;
    Ok(Vec::new())
}

/// A shared SR is plugged into every host, another into the one that was named.
fn create(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let host = request.object(edit, 0, "host")?;
    let (size, shared) = (request.int(2), request.flag(7));
    let mut fields = named(request);
    let size = if size > 0 { size } else { SIZE };
    fields.extend([
        ("physical_size", Value::Int(size)),
        ("physical_utilisation", Value::Int(0)),
        ("virtual_allocation", Value::Int(0)),
    ]);
    let sr = edit.add("SR", &fields);
    let hosts = if shared { edit.all("host") } else { vec![host] };
    for host in hosts {
        let fields = [
            ("host", Value::Text(host)),
            ("SR", Value::Text(sr.clone())),
            ("device_config", request.value(1)),
            ("currently_attached", Value::Bool(true)),
        ];
        edit.add("PBD", &fields);
    }
    operations::refresh(edit, "SR", &sr);
    Ok(Value::Text(sr))
}

fn introduce(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let uuid = request.text(0);
    plug_in(edit, request.text(3))?;
    if edit.by_uuid("SR", uuid).is_some() {
        return Err(Failure::new("SR_UUID_EXISTS", [&**uuid]));
    }
    let mut fields = named(request);
    fields.extend([
        ("physical_size", Value::Int(-1)),
        ("physical_utilisation", Value::Int(-1)),
        ("virtual_allocation", Value::Int(0)),
    ]);
    let reference = edit.identifiers.reference();
    let uuid = if uuid.is_empty() { edit.identifiers.uuid() } else { uuid.clone() };
    let sr = edit.add_known("SR", reference, uuid, &fields);
    operations::refresh(edit, "SR", &sr);
    Ok(Value::Text(sr))
}

fn forget(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let sr = request.object(edit, 0, "SR")?;
    let indestructible = edit.entry("SR", &sr, "other_config", "indestructible");
    if indestructible.is_some_and(|value| &**value == "true") {
        return Err(Failure::new("SR_INDESTRUCTIBLE", [&*sr]));
    }
    for pbd in edit.texts("SR", &sr, "PBDs") {
        edit.destroy("PBD", &pbd);
    }
    for vdi in edit.texts("SR", &sr, "VDIs") {
        super::vdi::remove(edit, &vdi);
    }
    edit.destroy("SR", &sr);
    Ok(void())
}

/// What it finds is what there was; the numbers are counted anew.
fn scan(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let sr = request.object(edit, 0, "SR")?;
    let plugged = edit.texts("SR", &sr, "PBDs").into_iter();
    if !plugged.into_iter().any(|pbd| edit.flag("PBD", &pbd, "currently_attached")) {
        return Err(Failure::new("SR_HAS_NO_PBDS", [&*sr]));
    }
    if edit.int("SR", &sr, "physical_utilisation") >= 0 {
        let vdis = edit.texts("SR", &sr, "VDIs");
        let taken = vdis.iter().map(|vdi| edit.int("VDI", vdi, "physical_utilisation")).sum();
        edit.set("SR", &sr, "physical_utilisation", Value::Int(taken));
    }
    Ok(void())
}

fn probe(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    request.object(edit, 0, "host")?;
    plug_in(edit, request.text(2))?;
    Ok(Value::text("<?xml version=\"1.0\" ?>\n<SRlist>\n</SRlist>\n"))
}

fn supported_types(_: &State, edit: &mut Edit<'_>, _: &Request) -> Result<Value, Failure> {
    let types = edit.all("SM").into_iter().map(|sm| edit.text("SM", &sm, "type").clone());
    Ok(Value::texts(types))
}

fn live_hosts(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let sr = request.object(edit, 0, "SR")?;
    let mut pbds = edit.texts("SR", &sr, "PBDs");
    pbds.retain(|pbd| edit.flag("PBD", pbd, "currently_attached"));
    let hosts = pbds.iter().map(|pbd| edit.text("PBD", pbd, "host").clone());
    Ok(Value::texts(hosts.filter(|host| edit.flag("host", host, "enabled"))))
}

fn create_pbd(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let fields = record(request);
    check_refs(edit, request.class, &fields)?;
    let text = |name: &str| request.entry(0, name).and_then(Value::as_text).cloned();
    let (sr, host) = (text("SR").unwrap_or_default(), text("host").unwrap_or_default());
    let mut others = edit.texts("SR", &sr, "PBDs");
    others.retain(|pbd| *edit.text("PBD", pbd, "host") == host);
    if let Some(other) = others.first() {
        return Err(Failure::new("PBD_EXISTS", [&*sr, &*host, other]));
    }
    let pbd = edit.add("PBD", &fields);
    edit.set("PBD", &pbd, "currently_attached", Value::Bool(false));
    operations::refresh(edit, "SR", &sr);
    Ok(Value::Text(pbd))
}

fn destroy_pbd(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let pbd = request.object(edit, 0, "PBD")?;
    if edit.flag("PBD", &pbd, "currently_attached") {
        return Err(Failure::new("OPERATION_NOT_ALLOWED", ["PBD is currently attached"]));
    }
    let sr = edit.text("PBD", &pbd, "SR").clone();
    edit.destroy("PBD", &pbd);
    operations::refresh(edit, "SR", &sr);
    Ok(void())
}

fn begin_plug(
    edit: &Edit<'_>,
    request: &Request,
    operation: &'static str,
) -> Result<Vec<Lock>, Failure> {
    let pbd = request.object(edit, 0, "PBD")?;
    Ok(vec![Lock::new("SR", edit.text("PBD", &pbd, "SR"), operation)])
}

fn plug(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let pbd = request.object(edit, 0, "PBD")?;
    let sr = edit.text("PBD", &pbd, "SR").clone();
    let mut others = edit.texts("SR", &sr, "PBDs");
    others.retain(|other| *other != pbd && edit.flag("PBD", other, "currently_attached"));
    if let (false, Some(other)) = (edit.flag("SR", &sr, "shared"), others.first()) {
        let params = [&*sr, &**edit.text("PBD", other, "host")];
        return Err(Failure::new("SR_NOT_SHARABLE", params));
    }
    edit.set("PBD", &pbd, "currently_attached", Value::Bool(true));
    if edit.int("SR", &sr, "physical_size") < 0 {
        edit.set("SR", &sr, "physical_size", Value::Int(SIZE));
        edit.set("SR", &sr, "physical_utilisation", Value::Int(0));
    }
    refresh_disks(edit, &sr);
    Ok(void())
}

/// Not while a VM of the host has a disk of the SR.
fn unplug(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let pbd = request.object(edit, 0, "PBD")?;
    let (sr, host) = (edit.text("PBD", &pbd, "SR").clone(), edit.text("PBD", &pbd, "host").clone());
    let is_used = |vdi: &Text| {
        edit.texts("VDI", vdi, "VBDs").iter().any(|vbd| {
            let vm = edit.text("VBD", vbd, "VM");
            edit.flag("VBD", vbd, "currently_attached")
                && *edit.text("VM", vm, "resident_on") == host
        })
    };
    let mut used = edit.texts("SR", &sr, "VDIs");
    used.retain(is_used);
    if !used.is_empty() {
        return Err(Failure::new("VDI_IN_USE", used.iter().map(|vdi| &**vdi)));
    }
    edit.set("PBD", &pbd, "currently_attached", Value::Bool(false));
    refresh_disks(edit, &sr);
    Ok(void())
}

fn refresh_disks(edit: &mut Edit<'_>, sr: &Text) {
    operations::refresh(edit, "SR", sr);
    for vdi in edit.texts("SR", sr, "VDIs") {
        operations::refresh(edit, "VDI", &vdi);
    }
}
