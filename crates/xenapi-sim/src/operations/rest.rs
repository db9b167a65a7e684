//! What may be done with appliances, hosts and others whose rules are short.

use crate::database::Text;
use crate::edit::Edit;
use crate::protocol::Failure;

use super::{busy, current};

/// In XAPI's order.
const OF_APPLIANCE: [&str; 4] = ["start", "clean_shutdown", "hard_shutdown", "shutdown"];

/// In XAPI's order.
const OF_HOST: [&str; 10] = [
    "vm_migrate",
    "provision",
    "vm_resume",
    "apply_updates",
    "enable",
    "power_on",
    "reboot",
    "evacuate",
    "vm_start",
    "shutdown",
];

/// Why an operation may not be begun.
pub(super) fn refusal(
    edit: &Edit<'_>,
    class: &str,
    reference: &str,
    operation: &str,
) -> Option<Failure> {
    let going_on = current(edit, class, reference);
    match class {
        "VM_appliance" => of_appliance(edit, reference, operation, &going_on),
        "host" => of_host(edit, reference, operation, &going_on),
        _ => going_on.first().map(|other| busy(class, reference, other)),
    }
}

/// What may be done, in XAPI's order; `None` for classes whose list is left as it is.
pub(super) fn allowed(edit: &Edit<'_>, class: &str, reference: &str) -> Option<Vec<&'static str>> {
    let listed: &[&str] = match class {
        "VM_appliance" => &OF_APPLIANCE,
        "host" => &OF_HOST,
        _ => return None,
    };
    let fits = |operation: &&&str| refusal(edit, class, reference, operation).is_none();
    Some(listed.iter().filter(fits).copied().collect())
}

fn of_appliance(
    edit: &Edit<'_>,
    appliance: &str,
    operation: &str,
    going_on: &[(Text, Text)],
) -> Option<Failure> {
    if let Some(other) = going_on.first() {
        return Some(busy("VM_appliance", appliance, other));
    }
    let vms = edit.texts("VM_appliance", appliance, "VMs");
    let any =
        |fits: fn(&str) -> bool| vms.iter().any(|vm| fits(edit.text("VM", vm, "power_state")));
    let (fits, text) = match operation {
        _ if vms.is_empty() => (false, "Appliance has no VMs."),
        "start" => (any(|s| s == "Halted"), "There are no halted VMs in this appliance."),
        "clean_shutdown" => {
            (any(|s| s == "Running"), "There are no running VMs in this appliance.")
        }
        _ => (any(|s| s != "Halted"), "All VMs in this appliance are halted."),
    };
    (!fits).then(|| Failure::new("OPERATION_NOT_ALLOWED", [text]))
}

fn of_host(
    edit: &Edit<'_>,
    host: &str,
    operation: &str,
    going_on: &[(Text, Text)],
) -> Option<Failure> {
    let fills = |op: &str| matches!(op, "provision" | "vm_resume" | "vm_migrate");
    let empties = |op: &str| matches!(op, "evacuate" | "reboot" | "shutdown");
    let stops = |op: &str| matches!(op, "reboot" | "shutdown" | "apply_updates");
    let conflicts = |other: &str| {
        (fills(operation) && empties(other))
            || (empties(operation) && fills(other))
            || (stops(operation) && stops(other) && operation != other)
            || (operation == "provision" && other == "provision")
            || (operation == "enable" && other == "apply_updates")
    };
    if let Some(other) = going_on.iter().find(|(_, op)| conflicts(op)) {
        return Some(busy("host", host, other));
    }
    let is_live = || {
        let metrics = edit.text("host", host, "metrics");
        edit.flag("host_metrics", metrics, "live")
    };
    match operation {
        "reboot" | "shutdown" | "apply_updates" if edit.flag("host", host, "enabled") => {
            Some(Failure::new::<&str>("HOST_NOT_DISABLED", []))
        }
        "power_on" if is_live() => Some(Failure::new("HOST_IS_LIVE", [host])),
        "power_on" if edit.text("host", host, "power_on_mode").is_empty() => {
            Some(Failure::new::<&str>("HOST_POWER_ON_MODE_DISABLED", []))
        }
        _ => None,
    }
}
