//! Which power calls a domain of xend's takes in which state: one table for both of its dialects.
//!
//! xend itself refuses some of them in some states, does nothing in others and calls that a success,
//! and not the same in each dialect.

use xenapi_wire::reply::Failure;

/// The failure of a call made in a power state that does not permit it. The last parameter is the
/// state itself, which xend's texts do not tell.
pub(crate) const BAD_POWER_STATE: &str = "VM_BAD_POWER_STATE";

/// The calls, and the states that each is for. The first is what a failure names.
const TABLE: [(&str, &[&str]); 11] = [
    ("VM.start", &["Halted"]),
    ("VM.pause", &["Running"]),
    ("VM.unpause", &["Paused"]),
    ("VM.suspend", &["Running"]),
    ("VM.resume", &["Suspended"]),
    ("VM.clean_shutdown", &["Running"]),
    ("VM.clean_reboot", &["Running"]),
    // What has ended need not be ended; what was saved cannot be thrown away.
    ("VM.hard_shutdown", &["Running", "Paused", "Crashed", "Unknown", "Halted"]),
    ("VM.hard_reboot", &["Running", "Paused"]),
    ("VM.destroy", &["Halted"]),
    // Of a running one xend takes the new number, and goes back to the old one at its next look.
    ("VM.set_VCPUs_max", &["Halted"]),
];

fn states(call: &str) -> Option<&'static [&'static str]> {
    TABLE.iter().find(|(known, _)| *known == call).map(|(_, states)| *states)
}

/// Whether it depends on the state what becomes of a call.
pub(crate) fn is_of_power(call: &str) -> bool {
    states(call).is_some()
}

/// The state that a call wants, as a failure names it.
pub(crate) fn wanted(call: &str) -> &'static str {
    states(call).and_then(|states| states.first().copied()).unwrap_or("Running")
}

/// The failure of a call in a state that it is not for.
pub(crate) fn refused(call: &str, reference: &str, state: &str) -> Option<Failure> {
    let wrong = states(call).is_some_and(|states| !states.contains(&state));
    wrong.then(|| {
        let params = [reference, wanted(call), state].map(str::to_owned).to_vec();
        Failure { code: BAD_POWER_STATE.to_owned(), params }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use xenapi_model::datamodel;

    #[test]
    fn each_call_is_one_of_the_datamodels_and_for_some_states_only() {
        let all = ["Halted", "Paused", "Running", "Suspended", "Crashed", "Unknown"];
        for (call, states) in TABLE {
            assert!(datamodel().call(call).is_some() && is_of_power(call), "{call}");
            assert!(states.iter().all(|state| all.contains(state)), "{call}");
            for state in all {
                let refused = refused(call, "vm", state);
                assert_eq!(refused.is_none(), states.contains(&state), "{call} {state}");
                let params = refused.map(|failure| failure.params).unwrap_or_default();
                assert!(params.is_empty() || params == ["vm", wanted(call), state], "{params:?}");
            }
        }
        assert!(refused("VM.set_name_label", "vm", "Halted").is_none());
    }
}
