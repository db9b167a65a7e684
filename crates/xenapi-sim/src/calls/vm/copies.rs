//! Clones, copies, snapshots and checkpoints of VMs, and the way back.

use crate::database::{NULL, Text, Value};
use crate::edit::Edit;
use crate::operations::{self, Lock};
use crate::protocol::Failure;

use super::super::effect::Effect;
use super::super::message::tell;
use super::super::request::{Request, void};
use super::super::vdi;
use super::{domain, revert};

/// What a call of this group changes.
pub(super) fn effect(call: &str) -> Option<Effect> {
    Some(match call {
        "clone" => Effect::Locked(
            |edit, request| begin(edit, request, Kind::Clone),
            |edit, r| copied(edit, r, Kind::Clone),
        ),
        "copy" => Effect::Locked(
            |edit, request| begin(edit, request, Kind::Copy),
            |edit, r| copied(edit, r, Kind::Copy),
        ),
        "snapshot" => Effect::Locked(
            |edit, request| begin(edit, request, Kind::Snapshot),
            |edit, r| copied(edit, r, Kind::Snapshot),
        ),
        "checkpoint" => Effect::Locked(
            |edit, request| begin(edit, request, Kind::Checkpoint),
            |edit, r| copied(edit, r, Kind::Checkpoint),
        ),
        "snapshot_with_quiesce" => Effect::Operation("snapshot_with_quiesce", |_, _| Ok(void())),
        "revert" => Effect::Locked(revert::begin, revert::revert),
        _ => return None,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Clone,
    Copy,
    Snapshot,
    Checkpoint,
}

impl Kind {
    fn operation(self) -> &'static str {
        match self {
            Self::Clone => "clone",
            Self::Copy => "copy",
            Self::Snapshot => "snapshot",
            Self::Checkpoint => "checkpoint",
        }
    }

    /// What happens to each disk.
    fn of_disk(self) -> &'static str {
        match self {
            Self::Clone => "clone",
            Self::Copy => "copy",
            Self::Snapshot | Self::Checkpoint => "snapshot",
        }
    }

    fn is_snapshot(self) -> bool {
        matches!(self, Self::Snapshot | Self::Checkpoint)
    }
}

/// The disks of a VM, with the VBDs that they are in; not its CDs.
pub(super) fn disks(edit: &Edit<'_>, vm: &str) -> Vec<(Text, Text)> {
    let vbds = edit.texts("VM", vm, "VBDs").into_iter();
    let disk = |vbd: Text| {
        let is_disk = &**edit.text("VBD", &vbd, "type") != "CD" && !edit.flag("VBD", &vbd, "empty");
        let vdi = edit.target("VBD", &vbd, "VDI").filter(|vdi| is_disk && edit.has("VDI", vdi))?;
        Some((vbd, vdi))
    };
    vbds.filter_map(disk).collect()
}

fn begin(edit: &Edit<'_>, request: &Request, kind: Kind) -> Result<Vec<Lock>, Failure> {
    let vm = request.object(edit, 0, "VM")?;
    let mut locks = vec![Lock::new("VM", &vm, kind.operation())];
    let ignored = match request.args.get(2) {
        Some(Value::Set(ignored)) if kind.is_snapshot() => ignored.clone(),
        _ => Vec::new(),
    };
    for (_, vdi) in disks(edit, &vm) {
        if !ignored.contains(&Value::Text(vdi.clone())) {
            locks.push(Lock::new("VDI", &vdi, kind.of_disk()));
        }
    }
    if kind == Kind::Copy
        && let Some(sr) = request.optional(edit, 2, "SR")?
        && &**edit.text("SR", &sr, "content_type") == "iso"
    {
        let text = "Cannot copy a VM's disks to an ISO SR";
        return Err(Failure::new("OPERATION_NOT_ALLOWED", [text]));
    }
    Ok(locks)
}

fn copied(edit: &mut Edit<'_>, request: &Request, kind: Kind) -> Result<Value, Failure> {
    let vm = request.object(edit, 0, "VM")?;
    let sr = if kind == Kind::Copy { request.optional(edit, 2, "SR")? } else { None };
    let ignored = match request.args.get(2) {
        Some(Value::Set(ignored)) => ignored.clone(),
        _ => Vec::new(),
    };
    let copy = copy(edit, &vm, request.text(1), kind, sr.as_ref(), &ignored)?;
    match kind {
        Kind::Clone | Kind::Copy => {
            let label = edit.text("VM", &copy, "name_label");
            let body = format!("cloned to '{label}' (uuid: {})", edit.text("VM", &copy, "uuid"));
            tell(edit, "VM_CLONED", &vm, &body);
        }
        Kind::Snapshot => tell(edit, "VM_SNAPSHOTTED", &vm, "snapshotted"),
        Kind::Checkpoint => tell(edit, "VM_CHECKPOINTED", &vm, "checkpointed"),
    }
    Ok(Value::Text(copy))
}

/// Makes another VM like this one, with disks, interfaces and metrics of its own.
fn copy(
    edit: &mut Edit<'_>,
    vm: &Text,
    label: &Text,
    kind: Kind,
    sr: Option<&Text>,
    ignored: &[Value],
) -> Result<Text, Failure> {
    let state = edit.text("VM", vm, "power_state").clone();
    let suspended = match (kind, &*state) {
        (Kind::Checkpoint, "Running" | "Suspended") => true,
        (Kind::Clone | Kind::Copy, "Suspended") => !edit.flag("VM", vm, "is_a_snapshot"),
        _ => false,
    };
    let fields = fields_of_copy(edit, vm, label, kind, &state);
    let copy = edit.add("VM", &fields);
    for (class, field) in [("VM_metrics", "metrics"), ("VM_guest_metrics", "guest_metrics")] {
        let own = duplicate(edit, class, edit.text("VM", vm, field).clone(), &[]);
        edit.set("VM", &copy, field, Value::Text(own.unwrap_or_else(|| NULL.into())));
    }
    if kind.is_snapshot() {
        edit.set("VM", vm, "parent", Value::Text(copy.clone()));
    }
    copy_devices(edit, vm, &copy, kind, sr, ignored);
    if suspended {
        let image = match edit.target("VM", vm, "suspend_VDI") {
            Some(image) => vdi::duplicate(edit, &image, None, false),
            None => domain::save(edit, vm)?,
        };
        edit.set("VM", &copy, "suspend_VDI", Value::Text(image));
        edit.set("VM", &copy, "power_state", Value::text("Suspended"));
    }
    operations::refresh(edit, "VM", &copy);
    Ok(copy)
}

fn fields_of_copy(
    edit: &Edit<'_>,
    vm: &Text,
    label: &Text,
    kind: Kind,
    state: &str,
) -> Vec<(&'static str, Value)> {
    let mut fields = edit.record("VM", vm).unwrap_or_default();
    fields.retain(|(name, _)| !OWN.contains(name));
    let mut other_config = edit.pairs("VM", vm, "other_config").to_vec();
    let named = |key: &Value, name: &str| key.as_text().is_some_and(|key| **key == *name);
    other_config
        .retain(|(key, _)| !named(key, "default_template") && !named(key, "xensource_internal"));
    if !kind.is_snapshot() {
        other_config.retain(|(key, _)| !named(key, "mac_seed"));
        let seed = Value::Text(edit.identifiers.uuid());
        other_config.insert(0, (Value::text("mac_seed"), seed));
    }
    let is_template = edit.flag("VM", vm, "is_a_template");
    if is_template && !other_config.iter().any(|(key, _)| named(key, "base_template_name")) {
        let base = Value::Text(edit.text("VM", vm, "name_label").clone());
        other_config.insert(0, (Value::text("base_template_name"), base));
    }
    let as_it_is = !kind.is_snapshot() && edit.flag("VM", vm, "is_a_snapshot");
    fields.extend([
        ("name_label", Value::Text(label.clone())),
        ("other_config", Value::Map(other_config)),
        ("is_a_template", Value::Bool(kind.is_snapshot() || is_template)),
        ("is_a_snapshot", Value::Bool(kind.is_snapshot() && !as_it_is)),
        ("power_state", Value::text("Halted")),
        ("domid", Value::Int(-1)),
    ]);
    if kind.is_snapshot() {
        let info = [("disk-snapshot-type", "crash_consistent"), ("power-state-at-snapshot", state)];
        fields.extend([
            ("snapshot_of", Value::Text(vm.clone())),
            ("snapshot_time", edit.now()),
            ("snapshot_info", Value::pairs(info)),
            ("parent", Value::Text(edit.text("VM", vm, "parent").clone())),
        ]);
    }
    fields
}

/// What a copy does not take over.
pub(super) const OWN: [&str; 40] = [
    "uuid",
    "allowed_operations",
    "current_operations",
    "blocked_operations",
    "is_default_template",
    "suspend_VDI",
    "resident_on",
    "scheduled_to_be_resident_on",
    "consoles",
    "VIFs",
    "VBDs",
    "VUSBs",
    "crash_dumps",
    "VTPMs",
    "VGPUs",
    "attached_PCIs",
    "domid",
    "domarch",
    "metrics",
    "guest_metrics",
    "snapshot_of",
    "snapshots",
    "snapshot_time",
    "snapshot_info",
    "snapshot_metadata",
    "transportable_snapshot_id",
    "blobs",
    "parent",
    "children",
    "protection_policy",
    "snapshot_schedule",
    "appliance",
    "start_delay",
    "shutdown_delay",
    "order",
    "suspend_SR",
    "version",
    "requires_reboot",
    "groups",
    "ha_always_run",
];

fn copy_devices(
    edit: &mut Edit<'_>,
    vm: &Text,
    copy: &Text,
    kind: Kind,
    sr: Option<&Text>,
    ignored: &[Value],
) {
    // Oldest first, so that they are listed as the original's are.
    for vbd in edit.texts("VM", vm, "VBDs").into_iter().rev() {
        let vdi = edit.target("VBD", &vbd, "VDI");
        if kind.is_snapshot()
            && vdi.as_ref().is_some_and(|vdi| ignored.contains(&Value::Text(vdi.clone())))
        {
            continue;
        }
        let is_cd = &**edit.text("VBD", &vbd, "type") == "CD";
        let own = match vdi.filter(|vdi| edit.has("VDI", vdi)) {
            Some(vdi) if is_cd => Some(vdi),
            Some(vdi) => Some(vdi::duplicate(edit, &vdi, sr, kind.is_snapshot())),
            None => None,
        };
        copy_vbd(edit, &vbd, copy, own);
    }
    for vif in edit.texts("VM", vm, "VIFs").into_iter().rev() {
        copy_vif(edit, &vif, copy, kind.is_snapshot());
    }
}

/// Puts a disk into a VM as `vbd` has another.
pub(super) fn copy_vbd(edit: &mut Edit<'_>, vbd: &Text, vm: &Text, vdi: Option<Text>) {
    let metrics = edit.add("VBD_metrics", &[]);
    let empty = vdi.is_none();
    let mut fields = vec![
        ("VM", Value::Text(vm.clone())),
        ("VDI", Value::Text(vdi.unwrap_or_else(|| NULL.into()))),
        ("empty", Value::Bool(empty)),
        ("metrics", Value::Text(metrics)),
        ("current_operations", Value::Map(Vec::new())),
        ("currently_attached", Value::Bool(false)),
    ];
    if &**edit.text("VBD", vbd, "type") == "Disk" {
        let mut config = edit.pairs("VBD", vbd, "other_config").to_vec();
        if edit.entry("VBD", vbd, "other_config", "owner").is_none() {
            config.insert(0, (Value::text("owner"), Value::text("")));
        }
        fields.push(("other_config", Value::Map(config)));
    }
    duplicate(edit, "VBD", vbd.clone(), &fields);
}

/// Puts a VM on the network that `vif` is on.
pub(super) fn copy_vif(edit: &mut Edit<'_>, vif: &Text, vm: &Text, same_mac: bool) {
    let metrics = edit.add("VIF_metrics", &[]);
    let mut fields = vec![
        ("VM", Value::Text(vm.clone())),
        ("metrics", Value::Text(metrics)),
        ("current_operations", Value::Map(Vec::new())),
        ("currently_attached", Value::Bool(false)),
    ];
    if !same_mac {
        let mac = super::super::vif::random_mac(edit);
        fields.extend([("MAC", Value::text(mac)), ("MAC_autogenerated", Value::Bool(true))]);
    }
    duplicate(edit, "VIF", vif.clone(), &fields);
}

/// Makes an object like another, except for these fields.
fn duplicate(
    edit: &mut Edit<'_>,
    class: &str,
    original: Text,
    other: &[(&'static str, Value)],
) -> Option<Text> {
    let mut fields = edit.record(class, &original)?;
    fields.retain(|(name, _)| *name != "uuid");
    fields.extend(other.iter().cloned());
    Some(edit.add(class, &fields))
}
