//! What the hot paths cost, one at a time, for `benches/instructions.sh` to count.
//!
//! `instructions NAME TURNS` prepares the work, does it so many times, and says what one turn is of.

use std::hint::black_box;

use xengate::datamodel::datamodel;
use xengate::inventory::query::{Fields, Filter};
use xengate::inventory::{View, Workbench};
use xengate::wire::{Limits, xmlrpc};

/// A recorded reply with one VM, and the events of the same pool.
const REPLY: &str = include_str!("../tests/fixtures/wire/xapi/all_vm.xml");
const VMS: usize = 1_000;

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let (Some(name), Some(turns)) = (args.next(), args.next()) else {
        eprintln!("instructions decode|apply|represent|fields|filter TURNS");
        return;
    };
    let turns: usize = turns.parse().expect("how many turns");
    let record = record();
    let events = events(&record, "");
    let mut bench = Workbench::new("lab");
    bench.apply(events.iter().map(|event| event.as_bytes()));
    let vm = datamodel().class("VM").expect("a class");
    let table = || bench.snapshot().view(vm, View::Plain).iter();
    let bytes: usize = match &*name {
        "decode" => (0..turns)
            .map(|_| {
                let json = xmlrpc::to_json(black_box(REPLY.as_bytes()), Limits::default());
                json.expect("the reply is well-formed").len()
            })
            .sum(),
        "apply" => {
            let others: Vec<_> = ["a", "b"].map(|suffix| self::events(&record, suffix)).into();
            let batch = |turn: usize| others[turn % 2].iter().map(|event| event.as_bytes());
            (0..turns).map(|turn| bench.apply(black_box(batch(turn)))).sum()
        }
        "represent" => (0..turns)
            .map(|_| {
                let mut out = Vec::new();
                for object in table() {
                    out.extend_from_slice(black_box(object.record().json()));
                }
                out.len()
            })
            .sum(),
        "fields" => {
            let fields = Fields::parse("name_label,power_state,memory_static_max", vm);
            let fields = fields.expect("three fields");
            (0..turns)
                .map(|_| {
                    let mut out = Vec::new();
                    table().for_each(|object| fields.write(black_box(object), &mut out));
                    out.len()
                })
                .sum()
        }
        "filter" => {
            let filter = Filter::parse("name_label ~ \"*7\" and VCPUs_max >= 1", &[vm]);
            let filter = filter.expect("a filter");
            let snapshot = bench.snapshot();
            (0..turns)
                .map(|_| {
                    let mut count = 0;
                    filter.select(snapshot, table(), |vm| {
                        black_box(vm);
                        count += 1;
                    });
                    count
                })
                .sum()
        }
        other => panic!("{other} is not measured"),
    };
    assert!(turns == 0 || bytes > 0, "something was done");
}

/// The VM's record as JSON.
fn record() -> String {
    let json = xmlrpc::to_json(REPLY.as_bytes(), Limits::default()).expect("well-formed");
    let reply: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    fn vm(value: &serde_json::Value) -> Option<&serde_json::Value> {
        match value {
            serde_json::Value::Object(members) if members.contains_key("power_state") => {
                Some(value)
            }
            serde_json::Value::Object(members) => members.values().find_map(vm),
            serde_json::Value::Array(items) => items.iter().find_map(vm),
            _ => None,
        }
    }
    let mut record = vm(&reply).expect("a VM").clone();
    record["is_a_template"] = false.into();
    record["is_a_snapshot"] = false.into();
    record.to_string()
}

/// One event for each VM; `suffix` makes them differ from those with another.
fn events(record: &str, suffix: &str) -> Vec<String> {
    let record: serde_json::Value = serde_json::from_str(record).expect("JSON");
    let event = |number: usize| {
        let mut record = record.clone();
        record["uuid"] = format!("{number:08x}-5f38-43f9-8b0a-000000000001").into();
        record["name_label"] = format!("vm{suffix}-{number}").into();
        let reference = format!("OpaqueRef:{number}");
        serde_json::json!({"class": "vm", "operation": "mod", "ref": reference, "snapshot": record})
            .to_string()
    };
    (0..VMS).map(event).collect()
}
