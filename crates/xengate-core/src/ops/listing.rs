//! What xm would know of the VMs of a backend.
//!
//! A domain of the legacy dialect comes with all that xend says of it. Of the others the records of
//! the VM and its metrics tell what xm prints, as far as they know it.

use futures_util::stream::{StreamExt, TryStreamExt, iter};
use serde_json::{Map, Value};

use super::error::OpError;
use super::reach::Reach;
use crate::xm::{self, Affinity, Domain, Vcpu};
use xenapi_mirror::inventory::{Object, Snapshot, View};
use xenapi_model::{Class, datamodel};
use xenapi_wire::Limits;
use xenapi_wire::sxp::{self, Sxp};

const MIB: i64 = 1 << 20;

/// Domains whose VCPUs are asked for at once.
const AT_ONCE: usize = 4;

/// Words for a domain's state, in the order of xm's flags.
const FLAGS: [(&str, char); 6] = [
    ("running", 'r'),
    ("blocked", 'b'),
    ("paused", 'p'),
    ("shutdown", 's'),
    ("crashed", 'c'),
    ("dying", 'd'),
];

/// The VMs of a backend as xm knows them, in no order.
pub fn domains(reach: &Reach) -> Result<Vec<Domain>, OpError> {
    let snapshot = reach.snapshot()?;
    let (vms, is_xend) = (snapshot.view(class("VM"), View::Plain).iter(), reach.mirror.is_polled());
    Ok(vms.map(|vm| domain(&snapshot, vm, is_xend)).collect())
}

/// How many physical CPUs the backend's host has, as far as the mirror knows.
fn host_cpus(reach: &Reach) -> Option<i64> {
    let snapshot = reach.snapshot().ok()?;
    let host = record(snapshot.class(class("host").id).iter().next()?);
    let count = host.get("cpu_configuration").and_then(|cpus| cpus.get("nr_cpus"));
    int(count.or_else(|| host.get("cpu_info").and_then(|cpus| cpus.get("cpu_count"))))
}

/// Adds what is known of the virtual CPUs of these domains, and of the CPUs that they run on. A
/// backend that answers xm is asked; a domain that it has no more is left out.
pub async fn with_vcpus(reach: &Reach, domains: Vec<Domain>) -> Result<Vec<Domain>, OpError> {
    let backend = reach.mirror.backend();
    let mut host_cpus = host_cpus(reach);
    if !backend.answers_xm() {
        return Ok(domains.into_iter().map(|domain| Domain { host_cpus, ..domain }).collect());
    }
    if host_cpus.is_none() {
        // The mirror has the domains before it has the host.
        let info = backend.host_info(&reach.session).await.ok();
        let info = info.and_then(|info| sxp::read(info.get().as_bytes(), Limits::default()).ok());
        host_cpus = info.as_ref().and_then(xm::host_cpus);
    }
    let as_of = reach.mirror.reading().and_then(|reading| reading.as_of);
    let asked = iter(domains).map(async |mut domain| {
        domain.host_cpus = host_cpus;
        let info = backend.vcpus(&reach.session, &domain.uuid, &domain.name, as_of).await?;
        let Some(info) = info else { return Ok(None) };
        if let Ok(info) = sxp::read(info.get().as_bytes(), Limits::default()) {
            domain.set_vcpus(&info);
        }
        Ok::<_, OpError>(Some(domain))
    });
    let found: Vec<Option<Domain>> = asked.buffered(AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

fn class(name: &str) -> &'static Class {
    datamodel().class(name).expect("a class of the datamodel")
}

fn record(object: &Object) -> Map<String, Value> {
    serde_json::from_slice(object.record().json()).unwrap_or_default()
}

fn domain(snapshot: &Snapshot, vm: &Object, is_xend: bool) -> Domain {
    let raw = vm.raw().and_then(|raw| sxp::read(raw.as_bytes(), Limits::default()).ok());
    if let Some(sxp) = raw {
        return Domain::from_sxp(sxp);
    }
    let metrics = vm.record().uuid(vm.class(), "metrics");
    let metrics = metrics.and_then(|uuid| snapshot.object(class("VM_metrics").id, &uuid));
    let metrics = metrics.map(|metrics| record(metrics)).unwrap_or_default();
    of_records(&record(vm), &metrics, is_xend)
}

/// What records tell. xend's tell all that xm wants to know, XAPI's do not.
fn of_records(vm: &Map<String, Value>, metrics: &Map<String, Value>, is_xend: bool) -> Domain {
    let text = |name: &str| vm.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mib = |value: Option<&Value>| int(value).map(|bytes| bytes / MIB);
    let power_state = text("power_state");
    let domid = int(vm.get("domid")).filter(|domid| *domid >= 0);
    let is_up = domid.is_some();
    let actual = mib(metrics.get("memory_actual")).filter(|memory| is_up && *memory > 0);
    let configured = mib(vm.get("memory_dynamic_max")).or_else(|| mib(vm.get("memory_static_max")));
    let memory = actual.or(configured).unwrap_or_default();
    let online = int(metrics.get("VCPUs_number")).filter(|count| is_up && (is_xend || *count > 0));
    let vcpus = online.or_else(|| int(vm.get("VCPUs_max"))).unwrap_or_default();
    let flags = match (is_up, metrics.get("state")) {
        (false, _) => String::new(),
        // A domain that neither runs nor waits for anything has none.
        (true, Some(Value::Array(words))) if is_xend && power_state == "Running" => {
            set(&words.iter().filter_map(Value::as_str).collect::<Vec<_>>())
        }
        (true, state) => flags(&power_state, state),
    };
    // xend's own spelling.
    let action = |name: &str| text(name).replace("_and_", "-").replace('_', "-");
    let mut sxp = vec![Sxp::from("domain")];
    if let Some(domid) = domid {
        sxp.push(Sxp::pair("domid", domid));
    }
    sxp.extend([
        Sxp::pair("uuid", text("uuid")),
        Sxp::pair("name", text("name_label")),
        Sxp::pair("vcpus", int(vm.get("VCPUs_max")).unwrap_or_default()),
        Sxp::pair("maxmem", mib(vm.get("memory_static_max")).unwrap_or_default()),
        Sxp::pair("memory", memory),
        Sxp::pair("on_poweroff", action("actions_after_shutdown")),
        Sxp::pair("on_reboot", action("actions_after_reboot")),
        Sxp::pair("on_crash", action("actions_after_crash")),
    ]);
    if is_up {
        sxp.push(Sxp::pair("state", flags.as_str()));
    }
    Domain {
        name: text("name_label"),
        id: domid.map(|domid| domid.to_string()).unwrap_or_default(),
        uuid: text("uuid"),
        power_state,
        memory: memory.to_string(),
        vcpus: vcpus.to_string(),
        flags,
        cpu_time: metrics.get("cpu_time").and_then(Value::as_f64),
        label: text("security_label"),
        pool: text("pool_name"),
        sxp: Sxp::List(sxp),
        vcpu_list: (0..vcpus.clamp(0, 4096)).map(|number| vcpu(number, is_up, metrics)).collect(),
        ..Domain::default()
    }
}

/// xm's flags: each in its place, or a dash.
fn flags(power_state: &str, state: Option<&Value>) -> String {
    let words: Vec<&str> =
        state.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let own = power_state.to_ascii_lowercase();
    // A guest that the backend says nothing more of is what its power state says.
    let words = if words.iter().any(|word| FLAGS.iter().any(|(flag, _)| flag == word)) {
        words
    } else {
        vec![own.as_str()]
    };
    set(&words)
}

/// These of the flags.
fn set(words: &[&str]) -> String {
    FLAGS.iter().map(|(word, flag)| if words.contains(word) { *flag } else { '-' }).collect()
}

fn vcpu(number: i64, is_up: bool, metrics: &Map<String, Value>) -> Vcpu {
    let key = number.to_string();
    let of = |field: &str| metrics.get(field).and_then(|map| map.get(&key));
    let flags: Vec<&str> = match of("VCPUs_flags") {
        Some(Value::Array(flags)) => flags.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(flags)) => flags.split(',').collect(),
        _ => Vec::new(),
    };
    let map = metrics.get("VCPUs_params").and_then(|map| map.get(format!("cpumap{number}")));
    let cpus = map.and_then(Value::as_str).map(|cpus| {
        cpus.split(',').filter_map(|cpu| cpu.trim().parse().ok()).collect::<Vec<i64>>()
    });
    Vcpu {
        number: key.clone(),
        cpu: int(of("VCPUs_CPU")).filter(|_| is_up).unwrap_or(-1),
        online: flags.contains(&"online"),
        blocked: flags.contains(&"blocked"),
        running: flags.contains(&"running"),
        cpu_time: None,
        affinity: cpus.map_or(Affinity::Unknown, Affinity::Cpus),
    }
}

/// An int, or the text of one.
fn int(value: Option<&Value>) -> Option<i64> {
    match value? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(vm: Value, metrics: Value) -> Domain {
        let map = |value: Value| value.as_object().cloned().expect("an object");
        of_records(&map(vm), &map(metrics), false)
    }

    #[test]
    fn what_xend_tells_is_all_there_is() {
        let map = |value: Value| value.as_object().cloned().expect("an object");
        let vm = map(json!({"name_label": "idle", "power_state": "Running", "domid": 3,
            "VCPUs_max": 2, "memory_dynamic_max": MIB, "pool_name": "Pool-0",
            "actions_after_crash": "coredump_and_destroy", "actions_after_reboot": "rename_restart"}));
        let metrics = map(json!({"state": [], "VCPUs_number": 0}));
        let domain = of_records(&vm, &metrics, true);
        assert_eq!((&*domain.flags, &*domain.vcpus, &*domain.pool), ("------", "0", "Pool-0"));
        let long = domain.sxp.pretty();
        assert!(long.contains("(on_crash coredump-destroy)"), "{long}");
        assert!(long.contains("(on_reboot rename-restart)"), "{long}");
        let blocked = of_records(&vm, &map(json!({"state": ["blocked"]})), true);
        assert_eq!((&*blocked.flags, &*blocked.vcpus), ("-b----", "2"));
    }

    #[test]
    fn records_tell_what_xm_prints() {
        let vm = json!({"uuid": "u", "name_label": "web01", "power_state": "Running", "domid": 3,
            "VCPUs_max": 2, "memory_static_max": 512 * MIB, "memory_dynamic_max": 512 * MIB});
        let metrics = json!({"memory_actual": 256 * MIB, "VCPUs_number": 1, "state": ["blocked"],
            "VCPUs_CPU": {"0": 7}, "VCPUs_flags": {"0": ["blocked", "online"]},
            "VCPUs_params": {"cpumap0": "0,1"}});
        let domain = of(vm.clone(), metrics);
        assert_eq!((&*domain.id, &*domain.memory, &*domain.vcpus), ("3", "256", "1"));
        assert_eq!((&*domain.flags, domain.cpu_time), ("-b----", None));
        let vcpu = &domain.vcpu_list[0];
        assert!(vcpu.cpu == 7 && vcpu.online && vcpu.blocked && !vcpu.running);
        assert_eq!(vcpu.affinity, Affinity::Cpus(vec![0, 1]));
        // XAPI tells less.
        let domain = of(vm, json!({"memory_actual": 256 * MIB, "state": []}));
        assert_eq!((&*domain.flags, &*domain.vcpus), ("r-----", "2"));
        assert_eq!(domain.vcpu_list[0].affinity, Affinity::Unknown);
        let halted = of(
            json!({"name_label": "h", "power_state": "Halted", "domid": -1, "VCPUs_max": 2,
                "memory_dynamic_max": 64 * MIB}),
            json!({"memory_actual": 0, "VCPUs_number": 0}),
        );
        assert_eq!((&*halted.id, &*halted.flags), ("", ""));
        assert_eq!((&*halted.memory, &*halted.vcpus), ("64", "2"));
    }
}
