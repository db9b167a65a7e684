//! What is done with VMs.

mod domain;
mod power;

use super::effect::Effect;

/// What a call of this class changes.
pub(super) fn effect(call: &str) -> Option<Effect> {
    power::effect(call)
}
