//! A VM's memory: XAPI sets all of it in one call, xend one amount at a time.

use serde::Deserialize;

use super::taken::Expected;
use super::{Xend, calls, unfit};
use crate::call::{Retry, Value};
use crate::error::CallError;
use crate::session::Session;
use xenapi_wire::Arg;
use xenapi_wire::reply::Failure;

/// The amounts, in the order in which none may be above the next.
const AMOUNTS: [&str; 4] =
    ["memory_static_min", "memory_dynamic_min", "memory_dynamic_max", "memory_static_max"];

/// Whether a call is one of those that set several amounts.
pub(super) fn is_of_memory(call: &str) -> bool {
    matches!(
        call,
        "VM.set_memory"
            | "VM.set_memory_limits"
            | "VM.set_memory_dynamic_range"
            | "VM.set_memory_static_range"
            | "VM.set_memory_target_live"
            | "VM.set_memory_dynamic_min"
            | "VM.set_memory_dynamic_max"
    )
}

/// What matters here of a VM's record. Ints are strings.
#[derive(Deserialize)]
struct Record {
    power_state: String,
    #[serde(default)]
    memory_static_min: String,
    #[serde(default)]
    memory_dynamic_min: String,
    #[serde(default)]
    memory_dynamic_max: String,
    #[serde(default)]
    memory_static_max: String,
}

/// Sets what the call says, one amount after the other.
pub(super) async fn set(
    xend: &Xend,
    session: &Session,
    call: &str,
    args: &[Arg],
) -> Result<Value, CallError> {
    let vm = calls::reference(args).unwrap_or_default();
    let found = xend.one_record(session, "VM", vm).await.map_err(CallError::before_the_call)?;
    let Some(record) = found.record else {
        let params = vec!["VM".to_owned(), vm.to_owned()];
        return Err(CallError::Failure(Failure { code: "HANDLE_INVALID".to_owned(), params }));
    };
    let record: Record = serde_json::from_str(&record)
        .map_err(|_| unfit("no VM's record", record.len()).before_the_call())?;
    let amount = |text: &str| text.parse::<i64>().unwrap_or_default();
    let old = [
        amount(&record.memory_static_min),
        amount(&record.memory_dynamic_min),
        amount(&record.memory_dynamic_max),
        amount(&record.memory_static_max),
    ];
    let given: Vec<i64> = args.iter().skip(1).filter_map(int).collect();
    let running = matches!(record.power_state.as_str(), "Running" | "Paused");
    let steps = steps(old, wanted(call, old, &given));
    for (index, (place, value)) in steps.iter().copied().enumerate() {
        let name = AMOUNTS[place];
        // What a running guest has is another call of xend's than what it is to have next time.
        let live = if running && name.contains("dynamic") { "_live" } else { "" };
        let setter = format!("VM.set_{name}{live}");
        let args = [Arg::from(vm), Arg::from(value.to_string())];
        let within = xend.line.call_timeout;
        match xend.send(session, &setter, &args, Retry::Write, within).await {
            Ok(_) => {}
            Err(CallError::Failure(failure)) => {
                let failure = xend.told(session, call, &args, failure).await;
                return Err(CallError::Failure(failure));
            }
            Err(error) if index > 0 => return Err(error.after_others()),
            Err(error) => return Err(error),
        }
    }
    for (place, value) in steps {
        let expected = Expected::number(call, ("VM", vm), AMOUNTS[place], value);
        xend.look_for(session, expected).await?;
    }
    Ok(Value::void())
}

fn int(arg: &Arg) -> Option<i64> {
    match arg {
        Arg::String(text) => text.parse().ok(),
        Arg::Int(int) => Some(*int),
        _ => None,
    }
}

/// The amounts that a call asks for.
fn wanted(call: &str, old: [i64; 4], given: &[i64]) -> [i64; 4] {
    let [static_min, dynamic_min, dynamic_max, static_max] = old;
    match (call, given) {
        ("VM.set_memory", [all]) => [static_min, *all, *all, *all],
        ("VM.set_memory_limits", [smin, smax, dmin, dmax]) => [*smin, *dmin, *dmax, *smax],
        ("VM.set_memory_dynamic_range", [min, max]) => [static_min, *min, *max, static_max],
        ("VM.set_memory_static_range", [min, max]) => [*min, dynamic_min, dynamic_max, *max],
        ("VM.set_memory_target_live" | "VM.set_memory_dynamic_max", [max]) => {
            [static_min, dynamic_min.min(*max), *max, static_max]
        }
        ("VM.set_memory_dynamic_min", [min]) => [static_min, *min, dynamic_max, static_max],
        _ => old,
    }
}

/// What to set in which order, so that on the way no amount is above the next: the ceiling is
/// raised first and lowered last.
fn steps(old: [i64; 4], new: [i64; 4]) -> Vec<(usize, i64)> {
    let raised = (0..4).rev().filter(|place| new[*place] > old[*place]);
    let lowered = (0..4).filter(|place| new[*place] < old[*place]);
    raised.chain(lowered).map(|place| (place, new[place])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_amount_is_above_the_next_on_the_way() {
        for (old, new) in [
            ([0, 512, 512, 512], [0, 1024, 1024, 1024]),
            ([0, 1024, 1024, 1024], [0, 512, 512, 512]),
            ([0, 256, 512, 1024], [0, 512, 512, 512]),
            ([0, 0, 0, 0], [1, 2, 3, 4]),
            ([1, 2, 3, 4], [0, 0, 0, 0]),
        ] {
            let mut now = old;
            for (place, value) in steps(old, new) {
                now[place] = value;
                assert!(now.is_sorted(), "{old:?} → {new:?}: {now:?}");
            }
            assert_eq!(now, new);
        }
        assert!(steps([1, 2, 3, 4], [1, 2, 3, 4]).is_empty());
    }

    #[test]
    fn each_call_says_what_it_wants() {
        let old = [0, 256, 512, 1024];
        for (call, given, want) in [
            ("VM.set_memory", &[700][..], [0, 700, 700, 700]),
            ("VM.set_memory_limits", &[1, 4, 2, 3], [1, 2, 3, 4]),
            ("VM.set_memory_dynamic_range", &[300, 600], [0, 300, 600, 1024]),
            ("VM.set_memory_static_range", &[1, 2048], [1, 256, 512, 2048]),
            ("VM.set_memory_target_live", &[128], [0, 128, 128, 1024]),
            ("VM.set_memory", &[], old),
        ] {
            assert!(is_of_memory(call));
            assert_eq!(wanted(call, old, given), want, "{call}");
        }
    }
}
