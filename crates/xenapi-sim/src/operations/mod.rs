//! What may be done with an object now, and what is being done: `allowed_operations` and
//! `current_operations`, by XAPI's own rules.

mod rest;
mod sr;
mod vbd;
mod vdi;
mod vif;
mod vm;

use super::database::{Text, Value};
use super::edit::Edit;
use super::protocol::Failure;

/// An operation that an object is busy with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lock {
    /// The object's class.
    pub(crate) class: &'static str,
    /// The object.
    pub(crate) reference: Text,
    /// The operation, by its name in `current_operations`.
    pub(crate) operation: &'static str,
}

impl Lock {
    /// An operation on an object.
    pub(crate) fn new(class: &'static str, reference: &Text, operation: &'static str) -> Self {
        Self { class, reference: reference.clone(), operation }
    }

    /// Shows the operation as one of this task.
    pub(crate) fn begin(&self, edit: &mut Edit<'_>, task: &str) {
        let (class, operation) = (self.class, Value::text(self.operation));
        edit.put(class, &self.reference, "current_operations", task, operation);
        refresh(edit, class, &self.reference);
    }

    /// Shows it no more.
    pub(crate) fn end(&self, edit: &mut Edit<'_>, task: &str) {
        if edit.has(self.class, &self.reference) {
            edit.take(self.class, &self.reference, "current_operations", task);
            refresh(edit, self.class, &self.reference);
        }
    }
}

/// Why an operation may not be begun, if so.
pub(crate) fn check(
    edit: &Edit<'_>,
    class: &str,
    reference: &str,
    operation: &str,
) -> Result<(), Failure> {
    let gone = || Failure::new("HANDLE_INVALID", [class, reference]);
    let refusal = match class {
        "VM" => vm::Vm::gather(edit, reference).ok_or_else(gone)?.refusal(operation, false),
        "VBD" => vbd::Vbd::gather(edit, reference).ok_or_else(gone)?.refusal(operation),
        "VIF" => vif::Vif::gather(edit, reference).ok_or_else(gone)?.refusal(operation),
        "VDI" => vdi::Vdi::gather(edit, reference).ok_or_else(gone)?.refusal(operation),
        "SR" => sr::Sr::gather(edit, reference).ok_or_else(gone)?.refusal(operation),
        _ if edit.has(class, reference) => rest::refusal(edit, class, reference, operation),
        _ => return Err(gone()),
    };
    refusal.map_or(Ok(()), Err)
}

/// Writes anew what may be done with an object, and with what hangs on it.
pub(crate) fn refresh(edit: &mut Edit<'_>, class: &str, reference: &str) {
    refresh_one(edit, class, reference);
    match class {
        "VM" => {
            for (device, field) in [("VBD", "VBDs"), ("VIF", "VIFs")] {
                for device_ref in edit.texts("VM", reference, field) {
                    refresh_one(edit, device, &device_ref);
                    if let Some(vdi) =
                        (device == "VBD").then(|| edit.target("VBD", &device_ref, "VDI")).flatten()
                    {
                        refresh_one(edit, "VDI", &vdi);
                    }
                }
            }
            if let Some(appliance) = edit.target("VM", reference, "appliance") {
                refresh_one(edit, "VM_appliance", &appliance);
            }
        }
        "VBD" => {
            if let Some(vdi) = edit.target("VBD", reference, "VDI") {
                refresh_one(edit, "VDI", &vdi);
            }
        }
        "VDI" => {
            for vbd in edit.texts("VDI", reference, "VBDs") {
                refresh_one(edit, "VBD", &vbd);
            }
        }
        _ => {}
    }
}

/// Writes anew what may be done with every object of the pool.
pub(crate) fn refresh_everything(edit: &mut Edit<'_>) {
    for class in ["VM", "VBD", "VIF", "VDI", "SR", "VM_appliance", "host", "pool"] {
        for reference in edit.all(class) {
            refresh_one(edit, class, &reference);
        }
    }
}

fn refresh_one(edit: &mut Edit<'_>, class: &str, reference: &str) {
    let allowed = match class {
        "VM" => vm::Vm::gather(edit, reference).map(|vm| vm.allowed()),
        "VBD" => vbd::Vbd::gather(edit, reference).map(|vbd| vbd.allowed()),
        "VIF" => vif::Vif::gather(edit, reference).map(|vif| vif.allowed()),
        "VDI" => vdi::Vdi::gather(edit, reference).map(|vdi| vdi.allowed()),
        "SR" => sr::Sr::gather(edit, reference).map(|sr| sr.allowed()),
        _ => rest::allowed(edit, class, reference),
    };
    if let Some(allowed) = allowed {
        edit.set(class, reference, "allowed_operations", Value::texts(allowed));
    }
}

/// The operations an object is busy with: the task's ref and the operation of each.
fn current(edit: &Edit<'_>, class: &str, reference: &str) -> Vec<(Text, Text)> {
    let pairs = edit.pairs(class, reference, "current_operations").iter();
    pairs.filter_map(|(task, op)| Some((task.as_text()?.clone(), op.as_text()?.clone()))).collect()
}

/// What XAPI answers while another operation goes on.
fn busy(class: &str, reference: &str, (task, operation): &(Text, Text)) -> Failure {
    Failure::new("OTHER_OPERATION_IN_PROGRESS", [class, reference, operation, task])
}

/// What XAPI answers when a VM is in none of the states it must be in.
fn bad_power_state(vm: &str, expected: &[&str], actual: &str) -> Failure {
    let expected: Vec<_> = expected.iter().map(|state| state.to_lowercase()).collect();
    let params = [vm, &expected.join(", "), &actual.to_lowercase()];
    Failure::new("VM_BAD_POWER_STATE", params)
}

/// An operation that goes on in a device's VM and keeps the device as it is.
fn vm_is_busy(edit: &Edit<'_>, vm: &str) -> Option<Failure> {
    let going_on = current(edit, "VM", vm).into_iter().find(|(_, operation)| {
        matches!(&**operation, "clean_shutdown" | "hard_shutdown" | "suspend" | "pause")
    });
    going_on.map(|(_, operation)| {
        let text = format!("Current operation on VM:{vm} is {operation}");
        Failure::new("OPERATION_NOT_ALLOWED", [text])
    })
}
