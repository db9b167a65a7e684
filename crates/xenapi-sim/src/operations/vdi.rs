//! What may be done with a VDI.

use crate::database::{Text, Value};
use crate::edit::Edit;
use crate::protocol::Failure;

use super::{busy, current};

/// In XAPI's order. It lists none that came after release Ely: older servers would not take a VDI
/// with those.
const LISTED: [&str; 9] = [
    "copy",
    "generate_config",
    "clone",
    "resize_online",
    "forget",
    "update",
    "resize",
    "snapshot",
    "destroy",
];

/// What decides about a VDI's operations.
#[derive(Debug)]
pub(super) struct Vdi {
    reference: Text,
    kind: Text,
    current: Vec<(Text, Text)>,
    sr: Text,
    sr_type: Text,
    features: Vec<Text>,
    sr_is_plugged: bool,
    is_tools: bool,
    is_attached: bool,
    is_written: bool,
    device_busy: Option<(Text, Text)>,
    is_snapshot: bool,
    is_sharable: bool,
    resets_on_boot: bool,
    tracks_changes: bool,
}

impl Vdi {
    /// What is known about a VDI, unless it is gone.
    pub(super) fn gather(edit: &Edit<'_>, vdi: &str) -> Option<Self> {
        let sr = edit.get("VDI", vdi, "SR")?.as_text()?.clone();
        let flag = |name| edit.flag("VDI", vdi, name);
        let mut attached = edit.texts("VDI", vdi, "VBDs");
        let device_busy =
            attached.iter().find_map(|vbd| current(edit, "VBD", vbd).into_iter().next());
        attached.retain(|vbd| edit.flag("VBD", vbd, "currently_attached"));
        Some(Self {
            reference: vdi.into(),
            kind: edit.text("VDI", vdi, "type").clone(),
            current: current(edit, "VDI", vdi),
            sr_type: edit.text("SR", &sr, "type").clone(),
            features: features(edit, &sr),
            sr_is_plugged: is_plugged(edit, &sr),
            is_tools: edit.flag("SR", &sr, "is_tools_sr"),
            is_attached: !attached.is_empty(),
            is_written: attached.iter().any(|vbd| &**edit.text("VBD", vbd, "mode") == "RW"),
            device_busy,
            is_snapshot: flag("is_a_snapshot"),
            is_sharable: flag("sharable"),
            resets_on_boot: &**edit.text("VDI", vdi, "on_boot") == "reset",
            tracks_changes: flag("cbt_enabled"),
            sr,
        })
    }

    /// What may be done, in XAPI's order.
    pub(super) fn allowed(&self) -> Vec<&'static str> {
        LISTED.into_iter().filter(|operation| self.refusal(operation).is_none()).collect()
    }

    /// Why an operation may not be begun.
    pub(super) fn refusal(&self, operation: &str) -> Option<Failure> {
        self.busy(operation)
            .or_else(|| self.unplugged(operation))
            .or_else(|| self.in_use(operation))
            .or_else(|| self.unsupported(operation))
            .or_else(|| self.wrong_kind(operation))
    }

    fn fail(&self, code: &str) -> Option<Failure> {
        Some(Failure::new(code, [&*self.reference]))
    }

    fn not_allowed(text: impl Into<String>) -> Option<Failure> {
        Some(Failure::new("OPERATION_NOT_ALLOWED", [text]))
    }

    fn busy(&self, operation: &str) -> Option<Failure> {
        let mirrors = self.current.iter().any(|(_, op)| &**op == "mirror");
        if mirrors && operation == "destroy" {
            return None;
        }
        let other = self.current.iter().find(|(_, op)| &**op != "copy");
        other.map(|other| busy("VDI", &self.reference, other))
    }

    fn unplugged(&self, operation: &str) -> Option<Failure> {
        let needed = operation == "resize" && !self.sr_is_plugged;
        needed.then(|| Failure::new("SR_HAS_NO_PBDS", [&*self.sr]))
    }

    fn in_use(&self, operation: &str) -> Option<Failure> {
        let used = match operation {
            "snapshot" | "resize_online" | "blocked" | "clone" | "revert_to" | "mirror"
            | "enable_cbt" | "disable_cbt" | "data_destroy" => false,
            "copy" => self.is_written,
            _ => self.is_attached,
        };
        if used {
            return Some(Failure::new("VDI_IN_USE", [&self.reference, operation]));
        }
        let busy_device = self.device_busy.as_ref().filter(|_| operation != "data_destroy");
        busy_device.map(|other| busy("VDI", &self.reference, other))
    }

    fn unsupported(&self, operation: &str) -> Option<Failure> {
        let feature = match operation {
            "snapshot" => "VDI_SNAPSHOT",
            "destroy" => "VDI_DELETE",
            "resize" => "VDI_RESIZE",
            "update" => "VDI_UPDATE",
            "resize_online" => "VDI_RESIZE_ONLINE",
            "generate_config" => "VDI_GENERATE_CONFIG",
            "clone" | "revert_to" | "revert_from" => "VDI_CLONE",
            "mirror" => "VDI_MIRROR",
            "enable_cbt" | "disable_cbt" | "data_destroy" | "list_changed_blocks" => {
                "VDI_CONFIG_CBT"
            }
            "set_on_boot" => "VDI_RESET_ON_BOOT",
            _ => return None,
        };
        let known = self.features.iter().any(|known| **known == *feature);
        (!known).then(|| Failure::new("SR_OPERATION_NOT_SUPPORTED", [&*self.sr]))
    }

    fn wrong_kind(&self, operation: &str) -> Option<Failure> {
        let incompatible = || {
            Some(Failure::new("VDI_INCOMPATIBLE_TYPE", [&self.reference, &self.kind].map(|t| &**t)))
        };
        let keeps_state = matches!(&*self.kind, "ha_statefile" | "redo_log");
        match operation {
            "mirror" | "set_on_boot" if self.tracks_changes => self.fail("VDI_CBT_ENABLED"),
            "forget" if &*self.kind == "rrd" => self.fail("VDI_HAS_RRDS"),
            "destroy" | "revert_from" => self.indestructible(),
            "data_destroy" if !self.is_snapshot => {
                Self::not_allowed(format!("VDI is not a snapshot: {}", self.reference))
            }
            "data_destroy" if !self.tracks_changes => self.fail("VDI_NO_CBT_METADATA"),
            "data_destroy" => self.indestructible(),
            "snapshot" if self.is_sharable => self.fail("VDI_IS_SHARABLE"),
            "snapshot" | "copy" if self.resets_on_boot => {
                Some(Failure::new::<&str>("VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION", []))
            }
            "snapshot" if !self.current.is_empty() => {
                Self::not_allowed("Snapshot operation not allowed during copy.")
            }
            "copy" if keeps_state => Self::not_allowed(
                "VDI containing HA statefile or redo log cannot be copied (check the VDI's \
                 allowed operations).",
            ),
            "enable_cbt" | "disable_cbt" if self.is_snapshot => {
                Self::not_allowed(format!("VDI is a snapshot: {}", self.reference))
            }
            "enable_cbt" | "disable_cbt" if !matches!(&*self.kind, "user" | "system") => {
                incompatible()
            }
            "revert_to" if !self.is_snapshot => {
                Some(Failure::new::<&str>("REVERT_ONLY_ALLOWED_ON_SNAPSHOT", []))
            }
            _ => None,
        }
    }

    fn indestructible(&self) -> Option<Failure> {
        match (&*self.sr_type, &*self.kind) {
            ("udev", _) => self.fail("VDI_IS_A_PHYSICAL_DEVICE"),
            _ if self.is_tools => Some(Failure::new("SR_OPERATION_NOT_SUPPORTED", [&*self.sr])),
            (_, "rrd") => self.fail("VDI_HAS_RRDS"),
            _ => None,
        }
    }
}

/// Whether some host has an SR.
pub(super) fn is_plugged(edit: &Edit<'_>, sr: &str) -> bool {
    edit.texts("SR", sr, "PBDs").iter().any(|pbd| edit.flag("PBD", pbd, "currently_attached"))
}

/// What an SR's plug-in can do.
pub(super) fn features(edit: &Edit<'_>, sr: &str) -> Vec<Text> {
    let kind = edit.text("SR", sr, "type");
    let plug_in = edit.all("SM").into_iter().find(|sm| edit.text("SM", sm, "type") == kind);
    let features = plug_in.map(|sm| edit.pairs("SM", &sm, "features").to_vec());
    let name = |(name, _): (Value, Value)| name.as_text().cloned();
    features.unwrap_or_default().into_iter().filter_map(name).collect()
}
