//! Disks.

use crate::database::{NULL, Text, Value};
use crate::edit::Edit;
use crate::operations::{self, Lock};
use crate::protocol::Failure;
use crate::state::State;

use super::effect::{Effect, plain_field, set_field};
use super::object::{check_refs, named, record};
use super::request::{Request, not_implemented, void};

/// What a new disk takes of its SR before anything is written to it.
const UNWRITTEN: i64 = 4096;

/// What a call of this class changes.
pub(super) fn effect(call: &str) -> Option<Effect> {
    Some(match call {
        "create" => Effect::Locked(begin_create, create),
        "destroy" => Effect::Operation("destroy", destroy),
        "forget" => Effect::Operation("forget", destroy),
        "resize" => Effect::Operation("resize", resize),
        "resize_online" => Effect::Operation("resize_online", resize),
        "snapshot" => Effect::Operation("snapshot", snapshot),
        "clone" => Effect::Operation("clone", clone),
        "copy" => Effect::Locked(begin_copy, copy),
        "pool_migrate" => Effect::Locked(begin_migrate, pool_migrate),
        "update" => Effect::Operation("update", |_, _| Ok(void())),
        "generate_config" => Effect::Operation("generate_config", |_, _| Ok(Value::text(""))),
        "enable_cbt" => Effect::Operation("enable_cbt", |edit, r| track(edit, r, true)),
        "disable_cbt" => Effect::Operation("disable_cbt", |edit, r| track(edit, r, false)),
        "data_destroy" => Effect::Operation("data_destroy", data_destroy),
        "list_changed_blocks" => Effect::Operation("list_changed_blocks", list_changed_blocks),
        "revert" => Effect::Operation("revert_to", revert),
        "set_on_boot" => Effect::Operation("set_on_boot", set_plain),
        "introduce" | "pool_introduce" | "db_introduce" => Effect::AtOnce(introduce),
        "db_forget" => Effect::AtOnce(|_, edit, request| destroy(edit, request)),
        _ => return None,
    })
}

/// An SR that takes no more disks, or none at all, refuses.
fn begin_create(edit: &Edit<'_>, request: &Request) -> Result<Vec<Lock>, Failure> {
    let sr = request.entry(0, "SR").and_then(Value::as_text).cloned().unwrap_or_else(|| "".into());
    check_sr(edit, &sr, "vdi_create")?;
    let size = match request.entry(0, "virtual_size") {
        Some(Value::Int(size)) => *size,
        _ => 0,
    };
    if size < 0 {
        return Err(Failure::new("INVALID_VALUE", ["virtual_size", &size.to_string()]));
    }
    check_room(edit, &sr, size)?;
    Ok(Vec::new())
}

fn check_sr(edit: &Edit<'_>, sr: &Text, operation: &str) -> Result<(), Failure> {
    operations::check(edit, "SR", sr, operation)?;
    let plugged = edit.texts("SR", sr, "PBDs");
    if plugged.iter().any(|pbd| edit.flag("PBD", pbd, "currently_attached")) {
        return Ok(());
    }
    Err(Failure::new("SR_HAS_NO_PBDS", [&**sr]))
}

fn check_room(edit: &Edit<'_>, sr: &Text, wanted: i64) -> Result<(), Failure> {
    let size = edit.int("SR", sr, "physical_size");
    if size > 0 && wanted > size {
        let params = [wanted.to_string(), size.to_string()];
        return Err(Failure::new("SR_FULL", params));
    }
    Ok(())
}

fn create(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let mut fields = record(request);
    check_refs(edit, request.class, &fields)?;
    fields.retain(|(name, _)| {
        matches!(
            *name,
            "name_label"
                | "name_description"
                | "SR"
                | "virtual_size"
                | "type"
                | "sharable"
                | "read_only"
                | "other_config"
                | "xenstore_data"
                | "sm_config"
                | "tags"
        )
    });
    Ok(Value::Text(add(edit, fields)))
}

/// Makes a disk, which its SR knows by its uuid.
pub(super) fn add(edit: &mut Edit<'_>, mut fields: Vec<(&'static str, Value)>) -> Text {
    let (reference, uuid) = (edit.identifiers.reference(), edit.identifiers.uuid());
    let given = |name: &str| fields.iter().any(|(known, _)| *known == name);
    let defaults = [
        ("physical_utilisation", Value::Int(UNWRITTEN)),
        ("parent", Value::text(NULL)),
        ("snapshot_of", Value::text(NULL)),
        ("metadata_of_pool", Value::text(NULL)),
    ];
    let mut missing: Vec<_> = defaults.into_iter().filter(|(name, _)| !given(name)).collect();
    fields.append(&mut missing);
    fields.extend([("location", Value::Text(uuid.clone())), ("managed", Value::Bool(true))]);
    edit.add_known("VDI", reference.clone(), uuid, &fields);
    account(edit, &reference);
    operations::refresh(edit, "VDI", &reference);
    reference
}

/// Counts anew what an SR has promised, and what may be done with it.
fn account(edit: &mut Edit<'_>, vdi: &str) {
    if let Some(sr) = edit.target("VDI", vdi, "SR") {
        account_for(edit, &sr);
    }
}

fn account_for(edit: &mut Edit<'_>, sr: &Text) {
    let vdis = edit.texts("SR", sr, "VDIs");
    let promised = vdis.iter().map(|vdi| edit.int("VDI", vdi, "virtual_size")).sum();
    edit.set("SR", sr, "virtual_allocation", Value::Int(promised));
    operations::refresh(edit, "SR", sr);
}

/// Makes a disk with another's contents, in the same SR unless told otherwise.
pub(super) fn duplicate(
    edit: &mut Edit<'_>,
    vdi: &Text,
    sr: Option<&Text>,
    as_snapshot: bool,
) -> Text {
    let mut fields = edit.record("VDI", vdi).unwrap_or_default();
    fields.retain(|(name, _)| {
        matches!(
            *name,
            "name_label"
                | "name_description"
                | "SR"
                | "virtual_size"
                | "physical_utilisation"
                | "type"
                | "sharable"
                | "read_only"
                | "other_config"
                | "xenstore_data"
                | "sm_config"
                | "on_boot"
                | "allow_caching"
                | "tags"
        )
    });
    fields.extend(sr.map(|sr| ("SR", Value::Text(sr.clone()))));
    if as_snapshot {
        fields.extend([
            ("is_a_snapshot", Value::Bool(true)),
            ("snapshot_of", Value::Text(vdi.clone())),
            ("snapshot_time", edit.now()),
            ("cbt_enabled", Value::Bool(edit.flag("VDI", vdi, "cbt_enabled"))),
        ]);
    }
    add(edit, fields)
}

/// Lets all snapshots that belong with `snapshot` be those of another disk.
pub(super) fn follow(edit: &mut Edit<'_>, snapshot: &Text, disk: &Text) {
    let before = edit.text("VDI", snapshot, "snapshot_of").clone();
    for vdi in edit.all("VDI") {
        if edit.flag("VDI", &vdi, "is_a_snapshot")
            && *edit.text("VDI", &vdi, "snapshot_of") == before
        {
            edit.set("VDI", &vdi, "snapshot_of", Value::Text(disk.clone()));
        }
    }
}

fn destroy(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vdi = request.object(edit, 0, "VDI")?;
    if !edit.flag("VDI", &vdi, "managed") {
        return Err(Failure::new("VDI_NOT_MANAGED", [&*vdi]));
    }
    remove(edit, &vdi);
    Ok(void())
}

/// Removes a disk; CDs that it was in are empty, and other VBDs of it are gone.
pub(super) fn remove(edit: &mut Edit<'_>, vdi: &Text) {
    let sr = edit.target("VDI", vdi, "SR");
    let vbds = edit.texts("VDI", vdi, "VBDs");
    edit.destroy("VDI", vdi);
    for vbd in vbds {
        if &**edit.text("VBD", &vbd, "type") == "CD" {
            edit.set_all("VBD", &vbd, &[("VDI", Value::text(NULL)), ("empty", Value::Bool(true))]);
            operations::refresh(edit, "VBD", &vbd);
        } else {
            super::vbd::remove(edit, &vbd);
        }
    }
    for vm in edit.all("VM") {
        if edit.text("VM", &vm, "suspend_VDI") == vdi {
            edit.set("VM", &vm, "suspend_VDI", Value::text(NULL));
        }
    }
    if let Some(sr) = sr {
        account_for(edit, &sr);
    }
}

fn resize(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let (vdi, size) = (request.object(edit, 0, "VDI")?, request.int(1));
    let now = edit.int("VDI", &vdi, "virtual_size");
    if size < now {
        let params = ["", "VDI Invalid size [opterr=shrinking not allowed]", ""];
        return Err(Failure::new("SR_BACKEND_FAILURE_79", params));
    }
    let sr = edit.text("VDI", &vdi, "SR").clone();
    check_room(edit, &sr, size)?;
    edit.set("VDI", &vdi, "virtual_size", Value::Int(size));
    account(edit, &vdi);
    Ok(void())
}

fn snapshot(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vdi = request.object(edit, 0, "VDI")?;
    Ok(Value::Text(duplicate(edit, &vdi, None, true)))
}

fn clone(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vdi = request.object(edit, 0, "VDI")?;
    Ok(Value::Text(duplicate(edit, &vdi, None, false)))
}

fn begin_copy(edit: &Edit<'_>, request: &Request) -> Result<Vec<Lock>, Failure> {
    let vdi = request.object(edit, 0, "VDI")?;
    let into = request.optional(edit, 3, "VDI")?;
    match (request.optional(edit, 1, "SR")?, into) {
        (None, None) => {
            let text = "Either sr or into_vdi must be given";
            return Err(Failure::new("INVALID_VALUE", ["sr", text]));
        }
        (Some(sr), None) => check_sr(edit, &sr, "vdi_create")?,
        (_, Some(into)) => {
            if edit.flag("VDI", &into, "read_only") {
                return Err(Failure::new("VDI_READONLY", [&*into]));
            }
            let needed = edit.int("VDI", &vdi, "virtual_size");
            if edit.int("VDI", &into, "virtual_size") < needed {
                return Err(Failure::new("VDI_TOO_SMALL", [&*into, &needed.to_string()]));
            }
        }
    }
    Ok(vec![Lock::new("VDI", &vdi, "copy")])
}

fn copy(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vdi = request.object(edit, 0, "VDI")?;
    if let Some(into) = request.optional(edit, 3, "VDI")? {
        return Ok(Value::Text(into));
    }
    let sr = request.optional(edit, 1, "SR")?;
    Ok(Value::Text(duplicate(edit, &vdi, sr.as_ref(), false)))
}

fn begin_migrate(edit: &Edit<'_>, request: &Request) -> Result<Vec<Lock>, Failure> {
    let (vdi, sr) = (request.object(edit, 0, "VDI")?, request.object(edit, 1, "SR")?);
    check_sr(edit, &sr, "vdi_create")?;
    if edit.texts("VDI", &vdi, "VBDs").is_empty() {
        return Err(Failure::new("VDI_NEEDS_VM_FOR_MIGRATE", [&*vdi]));
    }
    Ok(vec![Lock::new("VDI", &vdi, "mirror")])
}

/// The disk gets another ref and uuid in the other SR, and the VBDs follow.
fn pool_migrate(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let (vdi, sr) = (request.object(edit, 0, "VDI")?, request.object(edit, 1, "SR")?);
    let moved = duplicate(edit, &vdi, Some(&sr), false);
    for vbd in edit.texts("VDI", &vdi, "VBDs") {
        edit.set("VBD", &vbd, "VDI", Value::Text(moved.clone()));
    }
    remove(edit, &vdi);
    operations::refresh(edit, "VDI", &moved);
    Ok(Value::Text(moved))
}

fn track(edit: &mut Edit<'_>, request: &Request, on: bool) -> Result<Value, Failure> {
    let vdi = request.object(edit, 0, "VDI")?;
    edit.set("VDI", &vdi, "cbt_enabled", Value::Bool(on));
    Ok(void())
}

fn data_destroy(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vdi = request.object(edit, 0, "VDI")?;
    if !edit.texts("VDI", &vdi, "VBDs").is_empty() {
        return Err(Failure::new("VDI_IN_USE", [&*vdi, "data_destroy"]));
    }
    let fields =
        [("type", Value::text("cbt_metadata")), ("physical_utilisation", Value::Int(UNWRITTEN))];
    edit.set_all("VDI", &vdi, &fields);
    Ok(void())
}

/// A bitmap without a single change, one bit for 64 KiB, in Base64.
fn list_changed_blocks(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let from = request.object(edit, 0, "VDI")?;
    let to = request.object(edit, 1, "VDI")?;
    let of = |vdi: &str| edit.text("VDI", vdi, "snapshot_of").clone();
    if of(&from) != of(&to) && of(&to) != from && of(&from) != to {
        let text = "Failed to calculate changed blocks for given VDIs. [opterr=Source and target \
                    VDI are unrelated]";
        return Err(Failure::new("SR_BACKEND_FAILURE_460", ["", text, ""]));
    }
    let bits = edit.int("VDI", &to, "virtual_size").max(0) / (64 << 10);
    let bytes = usize::try_from(bits).unwrap_or(0).div_ceil(8);
    Ok(Value::text("A".repeat(bytes.div_ceil(3) * 4)))
}

fn revert(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let snapshot = request.object(edit, 0, "VDI")?;
    let disk = edit.target("VDI", &snapshot, "snapshot_of").filter(|vdi| edit.has("VDI", vdi));
    let disk = disk.ok_or_else(|| Failure::new("VDI_MISSING", [&*snapshot]))?;
    let size = Value::Int(edit.int("VDI", &snapshot, "virtual_size"));
    edit.set("VDI", &disk, "virtual_size", size);
    Ok(void())
}

fn set_plain(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    match plain_field(request.class, request.known) {
        Some((change, field)) => set_field(edit, request, change, field),
        None => Err(not_implemented(request.known)),
    }
}

/// A disk that the SR has already.
fn introduce(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let (uuid, sr, location) = (request.text(0), request.object(edit, 3, "SR")?, request.text(8));
    if uuid::Uuid::parse_str(uuid).is_err() {
        return Err(Failure::new("UUID_INVALID", ["VDI", uuid]));
    }
    let taken = edit.texts("SR", &sr, "VDIs");
    if taken.iter().any(|vdi| edit.text("VDI", vdi, "location") == location) {
        return Err(Failure::new("LOCATION_NOT_UNIQUE", [&sr, location].map(|text| &**text)));
    }
    if edit.by_uuid("VDI", uuid).is_some() {
        return Err(Failure::new("DB_UNIQUENESS_CONSTRAINT_VIOLATION", ["VDI", "uuid", uuid]));
    }
    let mut fields = named(request);
    fields.push(("parent", Value::text(NULL)));
    let reference = edit.identifiers.reference();
    edit.add_known("VDI", reference.clone(), uuid.clone(), &fields);
    account(edit, &reference);
    operations::refresh(edit, "VDI", &reference);
    Ok(Value::Text(reference))
}
