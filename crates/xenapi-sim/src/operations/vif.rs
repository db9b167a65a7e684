//! What may be done with a VIF.

use crate::database::Text;
use crate::edit::Edit;
use crate::protocol::Failure;

use super::vbd::hotplug;
use super::{bad_power_state, current, vm_is_busy};

/// In XAPI's order.
const LISTED: [&str; 3] = ["attach", "unplug", "plug"];

/// What decides about a VIF's operations.
#[derive(Debug)]
pub(super) struct Vif {
    reference: Text,
    vm: Text,
    power_state: Text,
    is_hvm: bool,
    is_of_dom0: bool,
    is_attached: bool,
    current: Vec<(Text, Text)>,
    vm_is_busy: Option<Failure>,
    hotplug: Option<Failure>,
}

impl Vif {
    /// What is known about a VIF, unless it is gone.
    pub(super) fn gather(edit: &Edit<'_>, vif: &str) -> Option<Self> {
        let vm = edit.get("VIF", vif, "VM")?.as_text()?.clone();
        let guest = edit.target("VM", &vm, "guest_metrics");
        let is_of_dom0 =
            edit.flag("VM", &vm, "is_control_domain") && edit.int("VM", &vm, "domid") == 0;
        Some(Self {
            reference: vif.into(),
            power_state: edit.text("VM", &vm, "power_state").clone(),
            is_hvm: &**edit.text("VM", &vm, "domain_type") == "hvm",
            is_of_dom0,
            is_attached: edit.flag("VIF", vif, "currently_attached"),
            current: current(edit, "VIF", vif),
            vm_is_busy: vm_is_busy(edit, &vm),
            hotplug: hotplug(edit, &vm, guest.as_deref(), "can_use_hotplug_vif", "VIF"),
            vm,
        })
    }

    /// What may be done, in XAPI's order.
    pub(super) fn allowed(&self) -> Vec<&'static str> {
        LISTED.into_iter().filter(|operation| self.refusal(operation).is_none()).collect()
    }

    /// Why an operation may not be begun.
    pub(super) fn refusal(&self, operation: &str) -> Option<Failure> {
        if !self.current.is_empty() {
            let listed = |texts: Vec<&str>| format!("{{{}}}", texts.join("; "));
            let tasks = listed(self.current.iter().map(|(task, _)| &**task).collect());
            let operations = listed(self.current.iter().map(|(_, op)| &**op).collect());
            let params = ["VIF", &self.reference, &operations, &tasks];
            return Some(Failure::new("OTHER_OPERATION_IN_PROGRESS", params));
        }
        let fail = |code: &str| Some(Failure::new(code, [&*self.reference]));
        match (&*self.power_state, operation) {
            (_, "plug") if self.is_of_dom0 => {
                let text = "Control domain does not support hotplug";
                Some(Failure::new("OPERATION_NOT_ALLOWED", [text]))
            }
            ("Running", "plug") if self.is_attached => fail("DEVICE_ALREADY_ATTACHED"),
            ("Running", "unplug") if !self.is_attached => fail("DEVICE_ALREADY_DETACHED"),
            ("Running", "plug" | "unplug") => {
                let hotplug = || self.hotplug.clone().filter(|_| self.is_hvm);
                self.vm_is_busy.clone().or_else(hotplug)
            }
            (_, "plug" | "unplug") => {
                Some(bad_power_state(&self.vm, &["Running"], &self.power_state))
            }
            _ => None,
        }
    }
}
