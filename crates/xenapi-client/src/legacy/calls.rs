//! The calls of the datamodel that can be said in `xend.*`, and how.

use crate::error::CallError;
use xenapi_wire::Arg;
use xenapi_wire::reply::Failure;
use xenapi_wire::sxp::Sxp;

const MIB: i64 = 1 << 20;

/// The calls, all of them on a VM.
const CALLS: [&str; 20] = [
    "VM.start",
    "VM.pause",
    "VM.unpause",
    "VM.suspend",
    "VM.resume",
    "VM.clean_shutdown",
    "VM.clean_reboot",
    "VM.hard_shutdown",
    "VM.hard_reboot",
    "VM.destroy",
    "VM.set_name_label",
    "VM.set_memory",
    "VM.set_memory_limits",
    "VM.set_memory_dynamic_range",
    "VM.set_memory_dynamic_max",
    "VM.set_memory_target_live",
    "VM.set_memory_static_max",
    "VM.set_VCPUs_number_live",
    "VM.set_VCPUs_at_startup",
    "VM.set_VCPUs_max",
];

/// Whether the call can be said.
pub(super) fn has(call: &str) -> bool {
    CALLS.contains(&call)
}

/// The domain's uuid, and the other arguments.
pub(super) fn split(args: &[Arg]) -> Option<(&str, &[Arg])> {
    match args.split_first()? {
        (Arg::String(uuid), rest) => Some((uuid, rest)),
        _ => None,
    }
}

/// Calls that may take as long as a guest's memory takes to be written or read.
pub(super) fn takes_long(call: &str) -> bool {
    matches!(call, "VM.start" | "VM.suspend" | "VM.resume" | "VM.hard_reboot" | "VM.hard_shutdown")
}

/// A method and its arguments.
pub(super) type Step = (&'static str, Vec<Arg>);

/// What to send for a call.
pub(super) fn steps(
    call: &str,
    uuid: &str,
    rest: &[Arg],
    domain: &Sxp,
) -> Result<Vec<Step>, CallError> {
    let on = |method, args: Vec<Arg>| {
        let args = [Arg::from(uuid)].into_iter().chain(args).collect();
        Ok(vec![(method, args)])
    };
    let ints: Vec<i64> = rest.iter().filter_map(int).collect();
    let paused = || Arg::Bool(matches!(rest.first(), Some(Arg::Bool(true))));
    match (call, &*ints) {
        ("VM.start", _) => on("xend.domain.start", vec![paused()]),
        ("VM.resume", _) => on("xend.domain.resume", vec![paused()]),
        ("VM.pause", _) => on("xend.domain.pause", vec![]),
        ("VM.unpause", _) => on("xend.domain.unpause", vec![]),
        ("VM.suspend", _) => on("xend.domain.suspend", vec![]),
        ("VM.clean_shutdown", _) => on("xend.domain.shutdown", vec!["poweroff".into()]),
        ("VM.clean_reboot", _) => on("xend.domain.shutdown", vec!["reboot".into()]),
        // As in the other dialect, there is nothing to do for a domain that does not run.
        ("VM.hard_shutdown", _) if domain.int("domid").is_none() => Ok(Vec::new()),
        ("VM.hard_shutdown", _) => on("xend.domain.destroy", vec![]),
        ("VM.hard_reboot", _) => on("xend.domain.reset", vec![]),
        ("VM.destroy", _) => on("xend.domain.delete", vec![]),
        ("VM.set_name_label", _) => on("xend.domain.setName", rest.to_vec()),
        ("VM.set_VCPUs_number_live" | "VM.set_VCPUs_max", [count]) => {
            on("xend.domain.setVCpuCount", vec![Arg::Int(*count)])
        }
        // There is one number, which is both.
        ("VM.set_VCPUs_at_startup", [count]) if domain.int("vcpus") == Some(*count) => {
            Ok(Vec::new())
        }
        ("VM.set_VCPUs_at_startup", _) => {
            let why = "xend starts a VM with VCPUs_max VCPUs: set that";
            let params = [call, why].map(str::to_owned).to_vec();
            Err(CallError::Failure(Failure { code: "NOT_IMPLEMENTED".to_owned(), params }))
        }
        (_, amounts) => memory(call, uuid, amounts, domain),
    }
}

/// Memory is what a domain may have at most, and what it has now. The order is such that the latter
/// is never above the former.
fn memory(call: &str, uuid: &str, amounts: &[i64], domain: &Sxp) -> Result<Vec<Step>, CallError> {
    let now = (domain.int("maxmem"), domain.int("memory"));
    let (old_most, old_target) = (now.0.unwrap_or_default(), now.1.unwrap_or_default());
    let (most, target) = match (call, amounts) {
        ("VM.set_memory", [all]) => (Some(*all), Some(*all)),
        ("VM.set_memory_limits", [_, static_max, _, dynamic_max]) => {
            (Some(*static_max), Some(*dynamic_max))
        }
        ("VM.set_memory_static_max", [most]) => (Some(*most), None),
        ("VM.set_memory_dynamic_range", [_, max])
        | ("VM.set_memory_dynamic_max" | "VM.set_memory_target_live", [max]) => (None, Some(*max)),
        _ => {
            let params = vec![call.to_owned()];
            let code = "MESSAGE_PARAMETER_COUNT_MISMATCH".to_owned();
            return Err(CallError::Failure(Failure { code, params }));
        }
    };
    // Rounded up: a guest is not to get less than was asked for.
    let mib = |bytes: i64| bytes.max(0).saturating_add(MIB - 1) / MIB;
    let step = |method, amount: i64| (method, vec![Arg::from(uuid), Arg::Int(amount)]);
    let most = most.map(mib).filter(|most| *most != old_most);
    let target = target.map(mib).filter(|target| *target != old_target);
    let most_step = most.map(|most| step("xend.domain.maxmem_set", most));
    let target_step = target.map(|target| step("xend.domain.setMemoryTarget", target));
    let raised = most.is_some_and(|most| most > old_most);
    Ok(match raised {
        true => most_step.into_iter().chain(target_step).collect(),
        false => target_step.into_iter().chain(most_step).collect(),
    })
}

/// What a domain is to show after a step, by name and value.
pub(super) fn shown((method, args): &Step, domain: &Sxp) -> Option<(&'static str, Arg)> {
    let name = match *method {
        "xend.domain.setName" => "name",
        "xend.domain.maxmem_set" => "maxmem",
        "xend.domain.setMemoryTarget" => "memory",
        "xend.domain.setVCpuCount" if domain.int("domid").is_some() => "online_vcpus",
        "xend.domain.setVCpuCount" => "vcpus",
        _ => return None,
    };
    Some((name, args.get(1)?.clone()))
}

fn int(arg: &Arg) -> Option<i64> {
    match arg {
        Arg::Int(int) => Some(*int),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xenapi_model::datamodel;

    /// The methods that a call becomes, with the numbers given to them.
    fn sent(call: &str, rest: &[Arg]) -> Vec<(&'static str, Vec<i64>)> {
        let domain = r#"["domain",["domid",3],["maxmem",1024],["memory",512],["vcpus",7]]"#;
        let domain = super::super::sxp::domain(domain).expect("a domain");
        let steps = steps(call, "u", rest, &domain).expect(call);
        steps
            .into_iter()
            .map(|(method, args)| {
                assert!(matches!(&args[0], Arg::String(uuid) if uuid == "u"), "{call}");
                (method, args.iter().filter_map(int).collect())
            })
            .collect()
    }

    #[test]
    fn every_call_is_one_of_the_datamodels_and_becomes_methods() {
        for call in CALLS {
            let known = datamodel().call(call).expect(call).1;
            let rest: Vec<Arg> = known.params[1..]
                .iter()
                .map(|param| match param.ty {
                    xenapi_model::Type::Bool => Arg::Bool(false),
                    xenapi_model::Type::Int => Arg::Int(2048 * MIB),
                    _ => Arg::from("x"),
                })
                .collect();
            if call == "VM.set_VCPUs_at_startup" {
                assert!(sent(call, &[Arg::Int(7)]).is_empty(), "it is so many already");
                continue;
            }
            let sent = sent(call, &rest);
            assert!(!sent.is_empty(), "{call}");
            assert!(sent.iter().all(|(method, _)| method.starts_with("xend.domain.")), "{call}");
        }
    }

    #[test]
    fn memory_is_raised_from_the_ceiling_and_lowered_from_the_floor() {
        let limits = |static_max: i64, dynamic_max: i64| {
            sent(
                "VM.set_memory_limits",
                &[
                    Arg::Int(0),
                    Arg::Int(static_max * MIB),
                    Arg::Int(0),
                    Arg::Int(dynamic_max * MIB),
                ],
            )
        };
        let (most, target) = ("xend.domain.maxmem_set", "xend.domain.setMemoryTarget");
        assert_eq!(limits(2048, 2048), [(most, vec![2048]), (target, vec![2048])]);
        assert_eq!(limits(256, 256), [(target, vec![256]), (most, vec![256])]);
        assert!(limits(1024, 512).is_empty(), "nothing to do");
        assert_eq!(sent("VM.set_memory_dynamic_max", &[Arg::Int(MIB + 1)]), [(target, vec![2])]);
    }

    #[test]
    fn what_does_not_run_need_not_be_shut_down() {
        let domain = super::super::sxp::domain(r#"["domain",["status",0]]"#).expect("a domain");
        assert!(steps("VM.hard_shutdown", "u", &[], &domain).expect("steps").is_empty());
    }
}
