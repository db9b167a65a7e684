//! What may be done with a VM, a template or a snapshot.

use crate::database::Text;
use crate::edit::Edit;
use crate::protocol::Failure;

use super::{bad_power_state, current};

/// What XAPI lists, in its order; the rest is checked when asked for, but never listed.
const LISTED: [&str; 31] = [
    "sysprep",
    "create_vtpm",
    "destroy",
    "metadata_export",
    "export",
    "make_into_template",
    "changing_NVRAM",
    "changing_VCPUs_live",
    "changing_shadow_memory",
    "changing_static_range",
    "changing_dynamic_range",
    "migrate_send",
    "pool_migrate",
    "resume_on",
    "resume",
    "suspend",
    "hard_reboot",
    "hard_shutdown",
    "clean_reboot",
    "clean_shutdown",
    "unpause",
    "pause",
    "start_on",
    "start",
    "provision",
    "snapshot_with_quiesce",
    "checkpoint",
    "revert",
    "copy",
    "clone",
    "snapshot",
];

const ALL_STATES: [&str; 4] = ["Halted", "Paused", "Suspended", "Running"];

/// What decides about a VM's operations.
#[derive(Debug)]
pub(super) struct Vm {
    reference: Text,
    power_state: Text,
    current: Vec<(Text, Text)>,
    blocked: Vec<(Text, Text)>,
    is_template: bool,
    is_default_template: bool,
    is_snapshot: bool,
    is_control_domain: bool,
    is_dom0: bool,
    is_immobile: bool,
    appliance: Option<Text>,
    snapshot_schedule: Option<Text>,
    has_vusbs: bool,
    has_vgpus: bool,
    has_pcis: bool,
    vtpms: usize,
    cant_suspend: Option<Text>,
    /// Drivers in the guest, or a kernel that needs none.
    has_drivers: bool,
    features: Vec<Text>,
}

impl Vm {
    /// What is known about a VM, unless it is gone.
    pub(super) fn gather(edit: &Edit<'_>, vm: &str) -> Option<Self> {
        let power_state = edit.get("VM", vm, "power_state")?.as_text()?.clone();
        let flag = |name| edit.flag("VM", vm, name);
        let is_set = |name| !edit.texts("VM", vm, name).is_empty();
        let blocked = edit.pairs("VM", vm, "blocked_operations").iter();
        let guest = edit.target("VM", vm, "guest_metrics");
        let guest = guest.as_deref().unwrap_or_default();
        let other = edit.pairs("VM_guest_metrics", guest, "other").iter();
        let on = |value: &Text| matches!(&**value, "1" | "true");
        let features = other
            .filter(|(_, value)| value.as_text().is_some_and(on))
            .filter_map(|(key, _)| key.as_text().cloned());
        let metrics = edit.target("VM", vm, "metrics").unwrap_or_else(|| "".into());
        let booted_as = edit.text("VM_metrics", &metrics, "current_domain_type");
        let drivers = edit.pairs("VM_guest_metrics", guest, "PV_drivers_version");
        let metrics_flag = |name| edit.flag("VM_metrics", &metrics, name);
        Some(Self {
            current: current(edit, "VM", vm),
            blocked: blocked
                .filter_map(|(op, why)| Some((op.as_text()?.clone(), why.as_text()?.clone())))
                .collect(),
            is_template: flag("is_a_template"),
            is_default_template: flag("is_default_template")
                || edit.entry("VM", vm, "other_config", "default_template").is_some_and(on),
            is_snapshot: flag("is_a_snapshot"),
            is_control_domain: flag("is_control_domain"),
            is_dom0: flag("is_control_domain") && edit.int("VM", vm, "domid") == 0,
            is_immobile: metrics_flag("nomigrate") || metrics_flag("nested_virt"),
            appliance: edit.target("VM", vm, "appliance"),
            snapshot_schedule: edit.target("VM", vm, "snapshot_schedule"),
            has_vusbs: is_set("VUSBs"),
            has_vgpus: is_set("VGPUs"),
            has_pcis: is_set("attached_PCIs"),
            vtpms: edit.texts("VM", vm, "VTPMs").len(),
            cant_suspend: edit
                .entry("VM_guest_metrics", guest, "other", "data-cant-suspend-reason")
                .cloned(),
            has_drivers: !drivers.is_empty() || matches!(&**booted_as, "pv" | "pv_in_pvh" | "pvh"),
            features: features.collect(),
            reference: vm.into(),
            power_state,
        })
    }

    /// What may be done, in XAPI's order.
    pub(super) fn allowed(&self) -> Vec<&'static str> {
        LISTED.into_iter().filter(|operation| self.refusal(operation, true).is_none()).collect()
    }

    /// Why an operation may not be begun. What only needs the guest's help is tried all the same
    /// unless `strict`.
    pub(super) fn refusal(&self, operation: &str, strict: bool) -> Option<Failure> {
        self.blocked(operation)
            .or_else(|| self.wrong_state(operation))
            .or_else(|| self.busy(operation))
            .or_else(|| self.wrong_kind(operation))
            .or_else(|| self.of_control_domain(operation))
            .or_else(|| self.of_guest(operation, strict))
            .or_else(|| self.of_devices(operation))
            .or_else(|| self.of_membership(operation))
    }

    fn fail(&self, code: &str) -> Option<Failure> {
        Some(Failure::new(code, [&*self.reference]))
    }

    fn blocked(&self, operation: &str) -> Option<Failure> {
        let (_, why) = self.blocked.iter().find(|(blocked, _)| **blocked == *operation)?;
        Some(Failure::new("OPERATION_BLOCKED", [&self.reference, why].map(|text| &**text)))
    }

    fn wrong_state(&self, operation: &str) -> Option<Failure> {
        let states: &[&str] = match operation {
            "import" => &[],
            "changing_VCPUs" | "changing_static_range" | "changing_memory_limits"
                if self.is_control_domain =>
            {
                &["Halted", "Running"]
            }
            "changing_VCPUs"
            | "changing_static_range"
            | "changing_memory_limits"
            | "changing_shadow_memory"
            | "changing_NVRAM"
            | "make_into_template"
            | "provision"
            | "start"
            | "start_on"
            | "create_vtpm" => &["Halted"],
            "unpause" => &["Paused"],
            "csvm" | "resume" | "resume_on" => &["Suspended"],
            "changing_dynamic_range" => &["Halted", "Running"],
            "clone" | "copy" if self.is_snapshot => &["Halted", "Suspended"],
            "clone" | "copy" => &["Halted"],
            "create_template" | "destroy" | "export" => &["Halted", "Suspended"],
            "hard_reboot" => &["Paused", "Running"],
            "checkpoint" | "get_boot_record" | "shutdown" | "hard_shutdown" => {
                &["Paused", "Suspended", "Running"]
            }
            "migrate_send" => &["Halted", "Suspended", "Running"],
            "assert_operation_valid"
            | "metadata_export"
            | "power_state_reset"
            | "revert"
            | "reverting"
            | "snapshot"
            | "update_allowed_operations"
            | "query_services" => &ALL_STATES,
            _ => &["Running"],
        };
        let right = states.contains(&&*self.power_state);
        (!right).then(|| bad_power_state(&self.reference, states, &self.power_state))
    }

    fn busy(&self, operation: &str) -> Option<Failure> {
        let going_on = |wanted: &[&str]| self.current.iter().any(|(_, op)| wanted.contains(&&**op));
        let together = |group: &[&str]| {
            group.contains(&operation)
                && self.current.iter().all(|(_, other)| group.contains(&&**other))
        };
        let only = match &self.current[..] {
            [] => return None,
            [(_, only)] => &**only,
            _ => "",
        };
        let allowed = together(&["clone", "copy", "export"])
            || together(&["snapshot", "checkpoint"])
            || together(&["get_boot_record"])
            || match operation {
                "hard_shutdown" => !going_on(&["hard_shutdown"]),
                "hard_reboot" => !going_on(&["hard_shutdown", "hard_reboot"]),
                "snapshot" => only == "snapshot_with_quiesce",
                "metadata_export" | "clean_shutdown" | "clean_reboot" => only == "migrate_send",
                _ => false,
            };
        if allowed {
            return None;
        }
        let listed = |texts: Vec<&str>| match texts[..] {
            [one] => one.to_owned(),
            _ => format!("{{{}}}", texts.join(",")),
        };
        let operations = listed(self.current.iter().map(|(_, op)| &**op).collect());
        let tasks = listed(self.current.iter().map(|(task, _)| &**task).collect());
        let params = ["VM", &self.reference, &operations, &tasks];
        Some(Failure::new("OTHER_OPERATION_IN_PROGRESS", params))
    }

    fn wrong_kind(&self, operation: &str) -> Option<Failure> {
        let refuse = |code: &str| Some(Failure::new(code, [&self.reference, operation]));
        if self.is_snapshot {
            return match operation {
                "revert" | "clone" | "copy" | "export" | "destroy" | "hard_shutdown"
                | "metadata_export" => None,
                _ => refuse("VM_IS_SNAPSHOT"),
            };
        }
        match operation {
            "destroy" | "migrate_send" if self.is_template && !self.is_default_template => None,
            "changing_dynamic_range"
            | "changing_static_range"
            | "changing_memory_limits"
            | "changing_shadow_memory"
            | "changing_VCPUs"
            | "changing_NVRAM"
            | "clone"
            | "copy"
            | "export"
            | "metadata_export"
            | "provision"
                if self.is_template =>
            {
                None
            }
            _ if self.is_template => refuse("VM_IS_TEMPLATE"),
            "provision" => Some(Failure::new::<&str>("PROVISION_ONLY_ALLOWED_ON_TEMPLATE", [])),
            "revert" => Some(Failure::new::<&str>("REVERT_ONLY_ALLOWED_ON_SNAPSHOT", [])),
            _ => None,
        }
    }

    fn of_control_domain(&self, operation: &str) -> Option<Failure> {
        let text = match operation {
            "changing_VCPUs" | "destroy" if self.is_dom0 => "This operation is not allowed on dom0",
            "data_source_op"
            | "changing_memory_live"
            | "awaiting_memory_live"
            | "metadata_export"
            | "changing_dynamic_range"
            | "changing_memory_limits"
            | "changing_static_range"
            | "start"
            | "start_on"
            | "changing_VCPUs"
            | "destroy" => {
                return None;
            }
            _ if self.is_control_domain => "This operation is not allowed on a control domain",
            _ => return None,
        };
        Some(Failure::new("OPERATION_NOT_ALLOWED", [text]))
    }

    fn of_guest(&self, operation: &str, strict: bool) -> Option<Failure> {
        let is_live = matches!(&*self.power_state, "Running" | "Paused");
        let moves = matches!(operation, "suspend" | "checkpoint" | "pool_migrate" | "migrate_send");
        if moves && strict && self.is_immobile {
            return self.fail("VM_IS_IMMOBILE");
        }
        if operation == "snapshot_with_quiesce" {
            return self.fail("VM_SNAPSHOT_WITH_QUIESCE_NOT_SUPPORTED");
        }
        if !is_live {
            return None;
        }
        if let (true, Some(why)) = (moves, &self.cant_suspend) {
            return Some(Failure::new("VM_NON_SUSPENDABLE", [&*self.reference, why]));
        }
        let has = |feature: &str| self.features.iter().any(|known| **known == *feature);
        let supported = self.has_drivers
            || match operation {
                _ if moves => !strict || has("feature-suspend"),
                "clean_shutdown" => !strict || has("feature-shutdown") || has("feature-poweroff"),
                "clean_reboot" => !strict || has("feature-shutdown") || has("feature-reboot"),
                "changing_VCPUs_live" => has("feature-vcpu-hotplug"),
                _ => true,
            };
        if supported { None } else { self.fail("VM_LACKS_FEATURE") }
    }

    fn of_devices(&self, operation: &str) -> Option<Failure> {
        match operation {
            "suspend" | "checkpoint" | "pool_migrate" | "migrate_send" if self.has_pcis => {
                self.fail("VM_HAS_PCI_ATTACHED")
            }
            "migrate_send" if self.has_vgpus && &*self.power_state == "Halted" => None,
            "checkpoint" if self.has_vgpus && &*self.power_state == "Suspended" => None,
            "suspend" | "checkpoint" | "pool_migrate" | "migrate_send" if self.has_vgpus => {
                self.fail("VM_HAS_VGPU")
            }
            "suspend" | "snapshot" | "checkpoint" | "migrate_send" | "pool_migrate"
                if self.has_vusbs =>
            {
                self.fail("VM_HAS_VUSBS")
            }
            "create_vtpm" if self.vtpms > 0 => {
                Some(Failure::new("VTPM_MAX_AMOUNT_REACHED", [self.vtpms.to_string()]))
            }
            _ => None,
        }
    }

    fn of_membership(&self, operation: &str) -> Option<Failure> {
        let with = |code: &str, other: &Text| {
            Some(Failure::new(code, [&self.reference, other].map(|text| &**text)))
        };
        match (operation, &self.appliance, &self.snapshot_schedule) {
            ("make_into_template", Some(appliance), _) => {
                with("VM_IS_PART_OF_AN_APPLIANCE", appliance)
            }
            ("make_into_template", _, Some(schedule)) => {
                with("VM_ASSIGNED_TO_SNAPSHOT_SCHEDULE", schedule)
            }
            ("query_services", ..) => self.fail("NOT_SYSTEM_DOMAIN"),
            _ => None,
        }
    }
}
