//! What may be done with a VBD.

use crate::database::Text;
use crate::edit::Edit;
use crate::protocol::Failure;

use super::{bad_power_state, busy, current, vm_is_busy};

/// In XAPI's order.
const LISTED: [&str; 8] =
    ["attach", "unpause", "unplug", "plug", "insert", "unplug_force", "pause", "eject"];

/// What decides about a VBD's operations.
#[derive(Debug)]
pub(super) struct Vbd {
    reference: Text,
    vm: Text,
    power_state: Text,
    is_hvm: bool,
    current: Vec<(Text, Text)>,
    is_cd: bool,
    is_empty: bool,
    is_attached: bool,
    is_unpluggable: bool,
    vm_is_busy: Option<Failure>,
    hotplug: Option<Failure>,
    disk: Option<Disk>,
}

/// What the VDI in it has to say.
#[derive(Debug)]
struct Disk {
    unmanaged: bool,
    busy: Option<Failure>,
    in_the_way: Option<Failure>,
}

impl Vbd {
    /// What is known about a VBD, unless it is gone.
    pub(super) fn gather(edit: &Edit<'_>, vbd: &str) -> Option<Self> {
        let vm = edit.get("VBD", vbd, "VM")?.as_text()?.clone();
        let flag = |name| edit.flag("VBD", vbd, name);
        let is_attached = flag("currently_attached");
        let is_empty = flag("empty");
        let guest = edit.target("VM", &vm, "guest_metrics");
        let disk = edit.target("VBD", vbd, "VDI").filter(|vdi| !is_empty && edit.has("VDI", vdi));
        Some(Self {
            reference: vbd.into(),
            power_state: edit.text("VM", &vm, "power_state").clone(),
            is_hvm: &**edit.text("VM", &vm, "domain_type") == "hvm",
            current: current(edit, "VBD", vbd),
            is_cd: &**edit.text("VBD", vbd, "type") == "CD",
            is_empty,
            is_attached,
            is_unpluggable: flag("unpluggable"),
            vm_is_busy: vm_is_busy(edit, &vm),
            hotplug: hotplug(edit, &vm, guest.as_deref(), "can_use_hotplug_vbd", "VBD"),
            disk: disk.map(|vdi| Disk::gather(edit, vbd, &vdi, is_attached)),
            vm,
        })
    }

    /// What may be done, in XAPI's order.
    pub(super) fn allowed(&self) -> Vec<&'static str> {
        LISTED.into_iter().filter(|operation| self.refusal(operation).is_none()).collect()
    }

    /// Why an operation may not be begun.
    pub(super) fn refusal(&self, operation: &str) -> Option<Failure> {
        self.busy(operation)
            .or_else(|| self.wrong_kind(operation))
            .or_else(|| self.wrong_state(operation))
            .or_else(|| self.of_guest(operation))
            .or_else(|| self.of_disk(operation))
    }

    fn fail(&self, code: &str) -> Option<Failure> {
        Some(Failure::new(code, [&*self.reference]))
    }

    fn busy(&self, operation: &str) -> Option<Failure> {
        let other = |except: &[&str]| {
            let other = self.current.iter().find(|(_, op)| !except.contains(&&**op));
            other.map(|other| busy("VBD", &self.reference, other))
        };
        match operation {
            "pause" => other(&["pause", "unpause"]),
            "unpause" => other(&["attach", "pause", "unpause"]),
            _ => other(&[]),
        }
    }

    fn wrong_kind(&self, operation: &str) -> Option<Failure> {
        match operation {
            "unplug" | "unplug_force" if !self.is_unpluggable => self.fail("VBD_NOT_UNPLUGGABLE"),
            "insert" | "eject" if !self.is_cd => self.fail("VBD_NOT_REMOVABLE_MEDIA"),
            "eject" if self.is_empty => self.fail("VBD_IS_EMPTY"),
            "insert" if !self.is_empty => self.fail("VBD_NOT_EMPTY"),
            _ => None,
        }
    }

    fn wrong_state(&self, operation: &str) -> Option<Failure> {
        let bad = |expected: &[&str]| Some(bad_power_state(&self.vm, expected, &self.power_state));
        match (&*self.power_state, operation) {
            ("Running", "plug") if self.is_attached => self.fail("DEVICE_ALREADY_ATTACHED"),
            ("Running", "unplug" | "unplug_force") if !self.is_attached => {
                self.fail("DEVICE_ALREADY_DETACHED")
            }
            ("Running", "plug" | "unplug") => self.vm_is_busy.clone(),
            ("Running", _) | ("Paused", "pause" | "unpause") => None,
            ("Suspended", "insert" | "eject") if self.is_cd => bad(&["Halted", "Running"]),
            (_, "plug" | "unplug" | "unplug_force" | "pause" | "unpause") => bad(&["Running"]),
            _ => None,
        }
    }

    fn of_guest(&self, operation: &str) -> Option<Failure> {
        let plugs = matches!(operation, "plug" | "unplug" | "unplug_force");
        if !plugs || &*self.power_state != "Running" || !self.is_hvm {
            return None;
        }
        let cd = || {
            let text = "HVM CDROMs cannot be hotplugged/unplugged, only inserted or ejected";
            self.is_cd.then(|| Failure::new("OPERATION_NOT_ALLOWED", [text]))
        };
        self.hotplug.clone().or_else(cd)
    }

    fn of_disk(&self, operation: &str) -> Option<Failure> {
        let disk = self.disk.as_ref()?;
        if disk.unmanaged {
            return self.fail("VDI_NOT_MANAGED");
        }
        if !matches!(operation, "attach" | "plug" | "insert") {
            return None;
        }
        disk.busy.clone().or_else(|| disk.in_the_way.clone())
    }
}

impl Disk {
    fn gather(edit: &Edit<'_>, vbd: &str, vdi: &Text, is_attached: bool) -> Self {
        let others = current(edit, "VDI", vdi);
        let other = others.iter().find(|(_, op)| !matches!(&**op, "mirror" | "copy"));
        let in_the_way = if is_attached { None } else { sharing(edit, vbd, vdi) };
        Self {
            unmanaged: !edit.flag("VDI", vdi, "managed"),
            busy: other.map(|other| busy("VDI", vdi, other)),
            in_the_way,
        }
    }
}

/// Whether others use the VDI in a way that leaves no room for this VBD.
pub(super) fn sharing(edit: &Edit<'_>, vbd: &str, vdi: &Text) -> Option<Failure> {
    let writes = |vbd: &str| &**edit.text("VBD", vbd, "mode") == "RW";
    let mut others = edit.texts("VDI", vdi, "VBDs");
    others.retain(|other| {
        let vm = edit.text("VBD", other, "VM");
        **other != *vbd
            && &**edit.text("VM", vm, "power_state") != "Suspended"
            && (edit.flag("VBD", other, "currently_attached")
                || !edit.pairs("VBD", other, "current_operations").is_empty())
    });
    let conflict = others.iter().any(|other| writes(other)) || (writes(vbd) && !others.is_empty());
    if conflict && !edit.flag("VDI", vdi, "sharable") {
        return Some(Failure::new("VDI_IN_USE", [&**vdi]));
    }
    let read_only = writes(vbd) && edit.flag("VDI", vdi, "read_only");
    read_only.then(|| Failure::new("VDI_READONLY", [&**vdi]))
}

/// What a guest without drivers cannot do while it runs.
pub(super) fn hotplug(
    edit: &Edit<'_>,
    vm: &str,
    guest: Option<&str>,
    claim: &str,
    device: &str,
) -> Option<Failure> {
    let missing = || Some(Failure::new("VM_MISSING_PV_DRIVERS", [vm]));
    let Some(guest) = guest else { return missing() };
    match &**edit.text("VM_guest_metrics", guest, claim) {
        "yes" => None,
        "no" => {
            let text = format!("VM states it does not support {device} hotplug.");
            Some(Failure::new("OPERATION_NOT_ALLOWED", [text]))
        }
        _ if edit.flag("VM_guest_metrics", guest, "PV_drivers_detected") => None,
        _ => missing(),
    }
}
