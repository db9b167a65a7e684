//! What is measured of VMs, hosts and SRs.

use crate::database::{Text, Value};
use crate::edit::Edit;
use crate::protocol::Failure;
use crate::state::State;

use super::effect::Effect;
use super::request::{Request, void};

/// What a call of these classes answers, if it is about data sources.
pub(super) fn effect(class: &str, call: &str) -> Option<Effect> {
    if !matches!(class, "VM" | "host" | "SR") {
        return None;
    }
    Some(match call {
        "get_data_sources" => Effect::AtOnce(list),
        "query_data_source" => Effect::AtOnce(query),
        "record_data_source" | "forget_data_source_archives" => {
            Effect::AtOnce(|_, edit, request| {
                known(edit, request)?;
                Ok(void())
            })
        }
        _ => return None,
    })
}

/// A quantity, its unit, and what it is now.
type Measured = (String, &'static str, f64);

fn measured(edit: &Edit<'_>, class: &str, object: &Text) -> Vec<Measured> {
    match class {
        "VM" => of_vm(edit, object),
        "host" => of_host(edit, object),
        _ => of_sr(edit, object),
    }
}

fn of_vm(edit: &Edit<'_>, vm: &Text) -> Vec<Measured> {
    if &**edit.text("VM", vm, "power_state") != "Running" {
        return Vec::new();
    }
    let metrics = edit.text("VM", vm, "metrics");
    let load = edit.pairs("VM_metrics", metrics, "VCPUs_utilisation").iter();
    let load = load.filter_map(|(number, load)| match load {
        Value::Float(load) => Some((format!("cpu{}", number.marshalled()), "(fraction)", *load)),
        _ => None,
    });
    let mut all: Vec<_> = load.collect();
    let memory = edit.int("VM_metrics", metrics, "memory_actual") as f64;
    all.push(("memory".into(), "B", memory));
    // Only the guest knows, if it has an agent that tells.
    let told = edit.target("VM", vm, "guest_metrics").is_some();
    let free = if told { memory / 4096.0 } else { f64::NAN };
    all.push(("memory_internal_free".into(), "KiB", free));
    for vif in edit.texts("VM", vm, "VIFs") {
        let device = edit.text("VIF", &vif, "device");
        all.extend(["rx", "tx"].map(|way| (format!("vif_{device}_{way}"), "B/s", 0.0)));
    }
    for vbd in edit.texts("VM", vm, "VBDs") {
        let device = edit.text("VBD", &vbd, "device");
        all.extend(["read", "write"].map(|way| (format!("vbd_{device}_{way}"), "B/s", 0.0)));
    }
    all
}

fn of_host(edit: &Edit<'_>, host: &Text) -> Vec<Measured> {
    let metrics = edit.text("host", host, "metrics");
    let kib = |field| edit.int("host_metrics", metrics, field) as f64 / 1024.0;
    let mut all = vec![
        ("memory_total_kib".into(), "KiB", kib("memory_total")),
        ("memory_free_kib".into(), "KiB", kib("memory_free")),
        ("cpu_avg".into(), "(fraction)", 0.0),
        ("loadavg".into(), "(fraction)", 0.0),
    ];
    for cpu in edit.texts("host", host, "host_CPUs") {
        let number = edit.int("host_cpu", &cpu, "number");
        all.push((format!("cpu{number}"), "(fraction)", 0.0));
    }
    for pif in edit.texts("host", host, "PIFs") {
        let device = edit.text("PIF", &pif, "device");
        all.extend(["rx", "tx"].map(|way| (format!("pif_{device}_{way}"), "B/s", 0.0)));
    }
    all
}

fn of_sr(edit: &Edit<'_>, sr: &Text) -> Vec<Measured> {
    let id = edit.text("SR", sr, "uuid").get(..8).unwrap_or_default().to_owned();
    ["io_throughput_read", "io_throughput_write", "iops_read", "iops_write"]
        .map(|name| (format!("{name}_{id}"), "MiB/s", 0.0))
        .to_vec()
}

fn list(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let class = request.class.name.as_str();
    let object = request.object(edit, 0, class)?;
    // What has no bounds of its own has XAPI's: none.
    let bounds = |unit| match unit {
        "(fraction)" => (0.0, 1.0),
        _ => (f64::NEG_INFINITY, f64::INFINITY),
    };
    let record = |(name, unit, value): Measured| {
        let (min, max) = bounds(unit);
        let fields = [
            ("name_label", Value::text(name.as_str())),
            ("name_description", Value::text(name)),
            ("enabled", Value::Bool(true)),
            ("standard", Value::Bool(true)),
            ("units", Value::text(unit)),
            ("min", Value::Float(min)),
            ("max", Value::Float(max)),
            ("value", Value::Float(value)),
        ];
        Value::Map(fields.into_iter().map(|(name, value)| (Value::text(name), value)).collect())
    };
    Ok(Value::Set(measured(edit, class, &object).into_iter().map(record).collect()))
}

fn known(edit: &Edit<'_>, request: &Request) -> Result<f64, Failure> {
    let class = request.class.name.as_str();
    let object = request.object(edit, 0, class)?;
    let name = request.text(1);
    let found = measured(edit, class, &object).into_iter().find(|(known, ..)| **known == **name);
    let unknown = || Failure::internal(&format!("No data source of this name: {name}"));
    found.map(|(_, _, value)| value).ok_or_else(unknown)
}

fn query(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    known(edit, request).map(Value::Float)
}
