//! What may be done with an SR.

use crate::database::Text;
use crate::edit::Edit;
use crate::protocol::Failure;

use super::vdi::{features, is_plugged};
use super::{busy, current};

/// In XAPI's order.
const LISTED: [&str; 21] = [
    "vdi_enable_cbt",
    "vdi_list_changed_blocks",
    "vdi_introduce",
    "destroy",
    "unplug",
    "plug",
    "pbd_create",
    "vdi_disable_cbt",
    "update",
    "pbd_destroy",
    "vdi_resize",
    "forget",
    "vdi_clone",
    "vdi_data_destroy",
    "scan",
    "vdi_snapshot",
    "vdi_mirror",
    "vdi_create",
    "vdi_revert",
    "vdi_destroy",
    "vdi_set_on_boot",
];

/// What decides about an SR's operations.
#[derive(Debug)]
pub(super) struct Sr {
    reference: Text,
    current: Vec<(Text, Text)>,
    features: Vec<Text>,
    is_tools: bool,
    is_plugged: bool,
    has_pbds: bool,
    holds_vdis: bool,
}

impl Sr {
    /// What is known about an SR, unless it is gone.
    pub(super) fn gather(edit: &Edit<'_>, sr: &str) -> Option<Self> {
        if !edit.has("SR", sr) {
            return None;
        }
        let holds = |vdi: &Text| {
            edit.flag("VDI", vdi, "managed") && &**edit.text("VDI", vdi, "type") != "rrd"
        };
        Some(Self {
            reference: sr.into(),
            current: current(edit, "SR", sr),
            features: features(edit, sr),
            is_tools: edit.flag("SR", sr, "is_tools_sr"),
            is_plugged: is_plugged(edit, sr),
            has_pbds: !edit.texts("SR", sr, "PBDs").is_empty(),
            holds_vdis: edit.texts("SR", sr, "VDIs").iter().any(holds),
        })
    }

    /// What may be done, in XAPI's order.
    pub(super) fn allowed(&self) -> Vec<&'static str> {
        LISTED.into_iter().filter(|operation| self.refusal(operation).is_none()).collect()
    }

    /// Why an operation may not be begun.
    pub(super) fn refusal(&self, operation: &str) -> Option<Failure> {
        let fail = |code: &str| Some(Failure::new(code, [&*self.reference]));
        if !self.supports(operation) {
            return fail("SR_OPERATION_NOT_SUPPORTED");
        }
        match operation {
            "destroy" | "forget" if self.is_plugged => return fail("SR_HAS_PBD"),
            "destroy" if !self.has_pbds => return fail("SR_HAS_NO_PBDS"),
            "destroy" if self.holds_vdis => {
                return Some(Failure::new::<&str>("SR_NOT_EMPTY", []));
            }
            _ => {}
        }
        // Plugging into several hosts at once is fine.
        let other = self.current.iter().find(|(_, op)| operation != "plug" || &**op != "plug");
        other.map(|other| busy("SR", &self.reference, other))
    }

    fn supports(&self, operation: &str) -> bool {
        let feature = match operation {
            "vdi_create" => "VDI_CREATE",
            "vdi_destroy" => "VDI_DELETE",
            "vdi_resize" => "VDI_RESIZE",
            "vdi_introduce" => "VDI_INTRODUCE",
            "vdi_mirror" => "VDI_MIRROR",
            "vdi_enable_cbt"
            | "vdi_disable_cbt"
            | "vdi_data_destroy"
            | "vdi_list_changed_blocks" => "VDI_CONFIG_CBT",
            "vdi_set_on_boot" => "VDI_RESET_ON_BOOT",
            "update" => "SR_UPDATE",
            "vdi_revert" => "VDI_REVERT",
            "vdi_snapshot" => "VDI_SNAPSHOT",
            _ => return true,
        };
        let hidden = self.is_tools && matches!(feature, "VDI_CREATE" | "VDI_DELETE");
        !hidden && self.features.iter().any(|known| **known == *feature)
    }
}
