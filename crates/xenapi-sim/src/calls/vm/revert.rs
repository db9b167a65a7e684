//! The way back to a snapshot.

use crate::database::{Text, Value};
use crate::edit::Edit;
use crate::operations::{self, Lock};
use crate::protocol::Failure;

use super::super::message::tell;
use super::super::request::{Request, void};
use super::super::vdi;
use super::copies::{OWN, copy_vbd, copy_vif, disks};

/// The snapshot is busy, and so is the VM that it is of.
pub(super) fn begin(edit: &Edit<'_>, request: &Request) -> Result<Vec<Lock>, Failure> {
    let snapshot = request.object(edit, 0, "VM")?;
    let mut locks = vec![Lock::new("VM", &snapshot, "revert")];
    let vm = edit.target("VM", &snapshot, "snapshot_of").filter(|vm| edit.has("VM", vm));
    locks.extend(vm.map(|vm| Lock::new("VM", &vm, "reverting")));
    Ok(locks)
}

/// The VM becomes what it was: its disks, interfaces and settings are those of the snapshot.
pub(super) fn revert(edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let snapshot = request.object(edit, 0, "VM")?;
    let vm = edit.target("VM", &snapshot, "snapshot_of").filter(|vm| edit.has("VM", vm));
    let vm = match vm {
        Some(vm) => vm,
        None => reborn(edit, &snapshot),
    };
    if &**edit.text("VM", &vm, "power_state") != "Halted" {
        super::power::halt(edit, &vm);
    }
    let before = disks(edit, &vm);
    for (vbd, vdi) in before {
        let taken = !edit.texts("VDI", &vdi, "snapshots").is_empty();
        let measured = edit.text("VBD", &vbd, "metrics").clone();
        edit.destroy("VBD_metrics", &measured);
        edit.destroy("VBD", &vbd);
        // A disk that came later is kept, though nothing has it any more.
        if taken {
            edit.destroy("VDI", &vdi);
        }
    }
    for vif in edit.texts("VM", &vm, "VIFs") {
        let measured = edit.text("VIF", &vif, "metrics").clone();
        edit.destroy("VIF_metrics", &measured);
        edit.destroy("VIF", &vif);
    }
    let mut fields = edit.record("VM", &snapshot).unwrap_or_default();
    fields.retain(|(name, _)| !OWN.contains(name) && !KEPT.contains(name));
    edit.set_all("VM", &vm, &fields);
    for (vbd, vdi) in disks(edit, &snapshot).into_iter().rev() {
        let disk = vdi::duplicate(edit, &vdi, None, false);
        vdi::follow(edit, &vdi, &disk);
        copy_vbd(edit, &vbd, &vm, Some(disk));
    }
    for vif in edit.texts("VM", &snapshot, "VIFs").into_iter().rev() {
        copy_vif(edit, &vif, &vm, true);
    }
    edit.set("VM", &vm, "parent", Value::Text(snapshot.clone()));
    if let Some(image) = edit.target("VM", &snapshot, "suspend_VDI") {
        let image = vdi::duplicate(edit, &image, None, false);
        edit.set("VM", &vm, "suspend_VDI", Value::Text(image));
        edit.set("VM", &vm, "power_state", Value::text("Suspended"));
    }
    tell(edit, "VM_SNAPSHOT_REVERTED", &vm, "reverted");
    operations::refresh(edit, "VM", &vm);
    Ok(void())
}

/// What a VM keeps of its own when it is reverted.
const KEPT: [&str; 7] = [
    "name_label",
    "is_a_snapshot",
    "is_a_template",
    "power_state",
    "tags",
    "affinity",
    "memory_target",
];

/// A VM for a snapshot whose own is gone.
fn reborn(edit: &mut Edit<'_>, snapshot: &Text) -> Text {
    let mut fields = edit.record("VM", snapshot).unwrap_or_default();
    fields.retain(|(name, _)| !OWN.contains(name));
    fields.extend([
        ("is_a_snapshot", Value::Bool(false)),
        ("is_a_template", Value::Bool(false)),
        ("power_state", Value::text("Halted")),
        ("domid", Value::Int(-1)),
    ]);
    let vm = edit.add("VM", &fields);
    for sibling in edit.all("VM") {
        let of =
            edit.text("VM", &sibling, "snapshot_of") == edit.text("VM", snapshot, "snapshot_of");
        if of && sibling != vm && edit.flag("VM", &sibling, "is_a_snapshot") && sibling != *snapshot
        {
            edit.set("VM", &sibling, "snapshot_of", Value::Text(vm.clone()));
        }
    }
    edit.set("VM", snapshot, "snapshot_of", Value::Text(vm.clone()));
    vm
}
