//! What xend tells of its host, as the Xen-API's records.

use std::borrow::Cow;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::project::{MIB, found, made_up, record};
use crate::records::Found;
use xenapi_wire::sxp::Sxp;

/// What of the information is about software, and what about processors.
const SOFTWARE: [&str; 12] = [
    "system",
    "host",
    "release",
    "version",
    "machine",
    "xen_major",
    "xen_minor",
    "xen_extra",
    "xen_changeset",
    "cc_compiler",
    "cc_compile_date",
    "xend_config_format",
];
const PROCESSORS: [&str; 4] = ["nr_cpus", "nr_nodes", "cores_per_socket", "threads_per_core"];

/// The host and its metrics. A host of this dialect has no uuid, so its name makes one.
pub(super) fn host(info: &Sxp) -> Vec<Found> {
    // A list of elements, without a name of its own.
    let value = |name: &str| {
        let element = info.items()?.iter().find(|element| element.is(name))?;
        element.children().first()
    };
    let text = |name: &str| value(name)?.as_text().map(Cow::into_owned);
    let Some(name) = text("host") else { return Vec::new() };
    let uuid = made_up(Uuid::NAMESPACE_DNS, &name);
    let metrics = made_up(uuid, "host_metrics");
    let some = |names: &[&str]| -> Option<Value> {
        let there = names.iter().filter_map(|name| Some(((*name).to_owned(), text(name)?)));
        let map: Map<String, Value> = there.map(|(name, text)| (name, text.into())).collect();
        (!map.is_empty()).then_some(Value::Object(map))
    };
    let capabilities = text("xen_caps")
        .map(|caps| -> Value { caps.split_whitespace().map(Value::from).collect() });
    let host = record([
        ("uuid", Some(uuid.to_string().into())),
        ("name_label", Some(name.as_str().into())),
        ("hostname", Some(name.as_str().into())),
        ("software_version", some(&SOFTWARE)),
        ("cpu_configuration", some(&PROCESSORS)),
        ("capabilities", capabilities),
        ("sched_policy", text("xen_scheduler").map(Value::from)),
        ("metrics", Some(metrics.to_string().into())),
    ]);
    let bytes =
        |name: &str| value(name).and_then(Sxp::as_int).map(|mib| mib.saturating_mul(MIB).into());
    let memory = record([
        ("uuid", Some(metrics.to_string().into())),
        ("memory_total", bytes("total_memory")),
        ("memory_free", bytes("free_memory")),
    ]);
    vec![found("host", uuid, host), found("host_metrics", metrics, memory)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_host_is_named_and_measured() {
        let read = |json: Value| {
            let limits = xenapi_wire::Limits::default();
            xenapi_wire::sxp::read(json.to_string().as_bytes(), limits).expect("SXP")
        };
        let info = read(json!([
            ["host", "dom0"],
            ["nr_cpus", 4],
            ["total_memory", 4096],
            ["free_memory", 1],
            ["xen_caps", "xen-3.0-x86_64 hvm-3.0-x86_32 "],
            ["xen_major", 4]
        ]));
        let found = host(&info);
        assert_eq!((found[0].class, found[1].class), ("host", "host_metrics"));
        let record: Value =
            serde_json::from_str(found[0].record.as_deref().expect("one")).expect("JSON");
        assert_eq!(record["name_label"], "dom0");
        assert_eq!(record["cpu_configuration"], json!({"nr_cpus": "4"}));
        assert_eq!(record["capabilities"], json!(["xen-3.0-x86_64", "hvm-3.0-x86_32"]));
        assert_eq!(record["metrics"], found[1].reference);
        assert!(found[1].record.as_deref().expect("one").contains("4294967296"));
        assert_eq!(host(&info)[0].reference, found[0].reference);
        assert!(host(&read(json!([]))).is_empty() && host(&read(json!(null))).is_empty());
    }
}
