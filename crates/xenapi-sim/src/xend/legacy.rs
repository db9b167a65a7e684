//! The legacy dialect, `xend.*`, which asks for nobody's name.

use super::api::Answer;
use super::arguments::{int, text, truth};
use super::life::{Life, Trouble};
use super::machine::{Machine, Power};
use super::value::{self, Value, pair};
use super::{Xend, sxp};
use crate::protocol::Arg;

/// Every method that is carried out here.
const METHODS: [&str; 36] = [
    "system.listMethods",
    "xend.cpu_pool.list",
    "xend.domain",
    "xend.domain.create",
    "xend.domain.delete",
    "xend.domain.destroy",
    "xend.domain.getDeviceSxprs",
    "xend.domain.getVCPUInfo",
    "xend.domain.getpauseflag",
    "xend.domain.maxmem_set",
    "xend.domain.new",
    "xend.domain.pause",
    "xend.domain.pincpu",
    "xend.domain.reset",
    "xend.domain.resume",
    "xend.domain.sched_credit_get",
    "xend.domain.sched_credit_set",
    "xend.domain.setMemoryTarget",
    "xend.domain.setName",
    "xend.domain.setVCpuCount",
    "xend.domain.setpauseflag",
    "xend.domain.shutdown",
    "xend.domain.start",
    "xend.domain.suspend",
    "xend.domain.unpause",
    "xend.domain.waitForDevices",
    "xend.domains",
    "xend.domains_with_state",
    "xend.node.dmesg.info",
    "xend.node.info",
    "xend.node.log",
    "xend.security.get_domain_label",
    "xend.security.get_policy",
    "xend.security.get_xstype",
    "xend.security.list_labels",
    "xend.security.get_resource_label",
];

/// Answers a call.
pub(super) fn call(xend: &Xend, name: &str, args: &[Arg]) -> Answer {
    let reply = match perform(xend, name, args) {
        // A reply that is one string is escaped.
        Ok(Value::Bytes(bytes)) => value::response(&Value::Bytes(value::escaped_by_repr(&bytes))),
        Ok(value) => value::response(&value),
        Err(Trouble::Unknown(domain)) => value::fault(3, &domain),
        Err(Trouble::State { text, .. } | Trouble::Text(text)) => value::fault(2, &text),
        Err(Trouble::Internal(text)) => value::fault(1, &text),
        Err(Trouble::Todo) => value::fault(2, "Unsupported"),
        // A method that is not known is answered as if it were the other dialect's.
        Err(Trouble::Failure(parts)) => value::response(&Value::Map(vec![
            ("Status".into(), "Failure".into()),
            ("ErrorDescription".into(), Value::list(parts)),
        ])),
    };
    Answer::Reply(reply)
}

/// Carries out a call.
pub(super) fn perform(xend: &Xend, name: &str, args: &[Arg]) -> Result<Value, Trouble> {
    if !METHODS.contains(&name) {
        return Err(Trouble::failure(["MESSAGE_METHOD_UNKNOWN", name]));
    }
    let mut world = xend.world.lock();
    let mut life = Life { world: &mut world, clock: &xend.clock, identifiers: &xend.identifiers };
    // Any call looks at all domains anew.
    xend.settle(&mut life);
    match name {
        "xend.domain" => {
            let index = lookup(&life, &key(args)?)?;
            Ok(described(&life, index, truth(args, 1)))
        }
        "xend.domains" => {
            let detail = args.is_empty() || truth(args, 0);
            Ok(domains(&life, detail, "running", truth(args, 1)))
        }
        "xend.domains_with_state" => {
            if args.len() != 3 {
                let text = format!(
                    "domains_with_state() takes exactly 3 arguments ({} given)",
                    args.len()
                );
                return Err(Trouble::Internal(text));
            }
            let state = state(&args[1])?;
            Ok(domains(&life, truth(args, 0), &state, truth(args, 2)))
        }
        "xend.domain.create" | "xend.domain.new" => {
            let config = args.first().unwrap_or(&Arg::Nil);
            let mut machine = sxp::configured(&life, config)?;
            let starts = name.ends_with("create");
            machine.managed = !starts;
            life.world.machines.push(machine);
            if !starts {
                return Ok(Value::Nil);
            }
            let index = life.world.machines.len() - 1;
            // xm unpauses it itself.
            life.start(index, true)?;
            Ok(described(&life, index, false))
        }
        "xend.node.info" => Ok(node(&life)),
        "xend.node.dmesg.info" => Ok("(XEN) simulated console ring\n".into()),
        "xend.node.log" => {
            Ok("[2026-11-22 07:25:54 1] INFO (SrvDaemon:332) Xend Daemon started\n".into())
        }
        "xend.cpu_pool.list" => Ok(Value::List(Vec::new())),
        "xend.security.get_domain_label" | "xend.security.get_resource_label" => Ok("".into()),
        "xend.security.get_policy" => Ok(Value::List(vec!["".into(), 0.into()])),
        "xend.security.get_xstype" => Ok(Value::Int(0)),
        "xend.security.list_labels" => Ok(Value::List(Vec::new())),
        "system.listMethods" => Ok(Value::list(METHODS)),
        _ => domain(&mut life, name.strip_prefix("xend.domain.").unwrap_or(name), args),
    }
}

/// What is done to one domain, which the first argument names.
fn domain(life: &mut Life<'_>, call: &str, args: &[Arg]) -> Result<Value, Trouble> {
    let handle = key(args)?;
    let index = lookup(life, &handle)?;
    let nothing = |()| Value::Nil;
    if life.world.ignores_writes && (call.starts_with("set") || call == "maxmem_set") {
        return Ok(Value::Nil);
    }
    match call {
        "start" => life.start(index, args.len() < 2 || truth(args, 1)).map(nothing),
        "pause" => {
            let before = life.pause(index, &handle)?;
            Ok(if truth(args, 1) { Value::Int(before as i64) } else { Value::Nil })
        }
        "unpause" => life.unpause(index, &handle).map(nothing),
        "shutdown" => life.shutdown(index, &text(args, 1)?).map(nothing),
        "destroy" => life.destroy(index, &handle).map(nothing),
        "reset" => life.reset(index).map(nothing),
        "suspend" => life.suspend(index, &handle).map(nothing),
        "resume" => life.resume(index, &handle, truth(args, 1)).map(nothing),
        "delete" => life.delete(index).map(nothing),
        "setName" => life.rename(index, &text(args, 1)?).map(nothing),
        "setMemoryTarget" => life.set_memory(index, int(args, 1)?).map(nothing),
        "maxmem_set" => life.set_max_memory(index, int(args, 1)?).map(nothing),
        "setVCpuCount" => life.set_vcpus(index, int(args, 1)?).map(nothing),
        "pincpu" => pin(&mut life.world.machines[index], args),
        "waitForDevices" => Ok(Value::Nil),
        "getVCPUInfo" => {
            let now = life.clock.elapsed();
            Ok(sxp::vcpus(&life.world.machines[index], life.world, now))
        }
        "getDeviceSxprs" => Ok(devices(&life.world.machines[index], &text(args, 1)?)),
        "getpauseflag" => Ok(life.world.machines[index].pause_flag.into()),
        "setpauseflag" => {
            life.world.machines[index].pause_flag = truth(args, 1);
            Ok(Value::Nil)
        }
        "sched_credit_get" => {
            let machine = &life.world.machines[index];
            let members = [("cap", machine.cap), ("weight", machine.weight)];
            Ok(Value::Map(members.map(|(name, value)| (name.to_owned(), value.into())).into()))
        }
        "sched_credit_set" => {
            let machine = &mut life.world.machines[index];
            if !matches!(args.get(1), None | Some(Arg::Nil)) {
                machine.weight = int(args, 1)?;
            }
            if !matches!(args.get(2), None | Some(Arg::Nil)) {
                machine.cap = int(args, 2)?;
            }
            Ok(Value::Int(0))
        }
        _ => Err(Trouble::Todo),
    }
}

fn key(args: &[Arg]) -> Result<String, Trouble> {
    text(args, 0)
}

fn lookup(life: &Life<'_>, key: &str) -> Result<usize, Trouble> {
    life.world.lookup(key).ok_or_else(|| Trouble::Unknown(key.to_owned()))
}

fn described(life: &Life<'_>, index: usize, devices: bool) -> Value {
    let (world, now) = (&*life.world, life.clock.elapsed());
    sxp::domain(&world.machines[index], world, now, devices)
}

/// A state by its name or its number.
fn state(arg: &Arg) -> Result<String, Trouble> {
    const STATES: [&str; 7] =
        ["halted", "paused", "running", "suspended", "halted", "crashed", "unknown"];
    match arg {
        Arg::Int(int) => {
            let index = usize::try_from(*int).unwrap_or(usize::MAX);
            let state = STATES.get(index).map(|state| (*state).to_owned());
            state.ok_or_else(|| Trouble::Internal(int.to_string()))
        }
        Arg::String(text) => Ok(text.to_lowercase()),
        _ => Err(Trouble::Internal("object has no attribute 'lower'".into())),
    }
}

/// The domains in a state, by the order of their names.
fn domains(life: &Life<'_>, detail: bool, state: &str, devices: bool) -> Value {
    let machines = &life.world.machines;
    let is = |machine: &Machine| state == "all" || machine.power.name().eq_ignore_ascii_case(state);
    let mut chosen: Vec<usize> =
        (0..machines.len()).filter(|index| is(&machines[*index])).collect();
    chosen.sort_by(|one, other| machines[*one].name.cmp(&machines[*other].name));
    if detail {
        return Value::List(
            chosen.into_iter().map(|index| described(life, index, devices)).collect(),
        );
    }
    Value::list(chosen.into_iter().map(|index| machines[index].name.as_str()))
}

fn pin(machine: &mut Machine, args: &[Arg]) -> Result<Value, Trouble> {
    let cpus = text(args, 2)?;
    let cpus: Option<Vec<i64>> = cpus.split(',').map(|cpu| cpu.trim().parse().ok()).collect();
    let cpus = cpus.ok_or_else(|| Trouble::Internal("invalid literal for int()".into()))?;
    if text(args, 1)?.eq_ignore_ascii_case("all") {
        machine.affinity.fill(cpus);
    } else {
        let number = usize::try_from(int(args, 1)?).unwrap_or(usize::MAX);
        let slot = machine.affinity.get_mut(number);
        *slot.ok_or_else(|| Trouble::Text(format!("Cannot pin vcpu: {number}")))? = cpus;
    }
    Ok(Value::Int(0))
}

fn devices(machine: &Machine, class: &str) -> Value {
    if class != "vif" || machine.domid.is_none() {
        return Value::List(Vec::new());
    }
    let domid = machine.domid.unwrap_or(0);
    let one = |(number, vif): (usize, &super::machine::Vif)| {
        let details = [
            ("backend", format!("/local/domain/0/backend/vif/{domid}/{number}")),
            ("backend-id", "0".into()),
            ("handle", number.to_string()),
            ("mac", vif.mac.clone()),
            ("state", if machine.power == Power::Running { "4" } else { "1" }.into()),
        ];
        let details = details.map(|(name, value)| pair(name, value));
        Value::List(vec![number.to_string().into(), Value::List(details.into())])
    };
    Value::List(machine.vifs.iter().enumerate().map(one).collect())
}

fn node(life: &Life<'_>) -> Value {
    let host = &life.world.host;
    let cpus = life.world.host_cpus();
    let used: i64 = life
        .world
        .machines
        .iter()
        .filter(|m| m.domid.is_some())
        .map(|m| m.memory_dynamic_max)
        .sum();
    Value::List(vec![
        pair("system", "Linux"),
        pair("host", "xend-host"),
        pair("release", "3.18.0"),
        pair("version", "#1 SMP"),
        pair("machine", "x86_64"),
        pair("nr_cpus", cpus),
        pair("nr_nodes", 1),
        pair("cores_per_socket", cpus),
        pair("threads_per_core", 1),
        pair("cpu_mhz", 2400),
        pair("hw_caps", "178bfbff:ebd3fbff:00000000:00000010:00002001:00000000:0000001f:00000000"),
        pair("virt_caps", "hvm"),
        pair("total_memory", host.memory >> 20),
        pair("free_memory", (host.memory - used).max(0) >> 20),
        pair("free_cpus", 0),
        pair("xen_major", 4),
        pair("xen_minor", 4),
        pair("xen_extra", ".4"),
        pair(
            "xen_caps",
            "xen-3.0-x86_64 xen-3.0-x86_32p hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64 ",
        ),
        pair("xen_scheduler", "credit"),
        pair("xen_pagesize", 4096),
        pair("platform_params", "virt_start=0xffff800000000000"),
        pair("xend_config_format", 4),
    ])
}
