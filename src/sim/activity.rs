//! Movement for the demo: VMs start and stop, work and rest.

use std::sync::Arc;
use std::time::Duration;

use crate::datamodel::{Class, datamodel};

use super::calls::new_task;
use super::database::{Database, NULL, Text, Value};
use super::population::operations;
use super::state::State;

/// How often something moves.
const BEAT: Duration = Duration::from_secs(1);

/// Moves the pool for ever.
pub(crate) async fn run(state: Arc<State>) {
    let mut beat = 0_u64;
    loop {
        state.clock.sleep(BEAT).await;
        beat += 1;
        move_once(&state, beat);
    }
}

fn move_once(state: &State, beat: u64) {
    let (Some(vm), Some(metrics)) = (datamodel().class("VM"), datamodel().class("VM_metrics"))
    else {
        return;
    };
    for _ in 0..3 {
        state.write(|db| work(state, db, vm, metrics));
    }
    if beat.is_multiple_of(4) {
        state.write(|db| toggle(state, db, vm));
    }
}

/// Some running VM gets busier or calmer.
fn work(state: &State, db: &mut Database, vm: &Class, metrics: &'static Class) {
    let Some(some) = pick(state, db, vm) else { return };
    let Some(Value::Text(measured)) = get(db, vm, &some, "metrics") else { return };
    if get(db, vm, &some, "power_state") != Some(Value::text("Running")) {
        return;
    }
    let Some(Value::Int(vcpus)) = get(db, vm, &some, "VCPUs_at_startup") else { return };
    let load = |n| (Value::Int(n), Value::Float(state.identifiers.below(100) as f64 / 100.0));
    let load = Value::Map((0..vcpus).map(load).collect());
    let now = Value::date_time(state.clock.date_time(0));
    for (name, value) in [("VCPUs_utilisation", load), ("last_updated", now)] {
        set(db, metrics, &measured, name, value);
    }
}

/// Some VM starts or stops, and a task tells of it.
fn toggle(state: &State, db: &mut Database, vm: &'static Class) {
    let Some(some) = pick(state, db, vm) else { return };
    let is = |name| get(db, vm, &some, name) == Some(Value::Bool(true));
    if is("is_a_template") || is("is_control_domain") || is("is_a_snapshot") {
        return;
    }
    let running = get(db, vm, &some, "power_state") == Some(Value::text("Running"));
    let host = datamodel().class("host").and_then(|host| {
        let hosts: Vec<_> = db.table(host.id).iter().map(|host| host.reference().clone()).collect();
        (!hosts.is_empty()).then(|| state.identifiers.pick(&hosts).clone())
    });
    let host = host.filter(|_| !running).unwrap_or_else(|| NULL.into());
    let task = new_task(state, db, if running { "VM.clean_shutdown" } else { "VM.start" }, "");
    let memory = get(db, vm, &some, "memory_dynamic_max").filter(|_| !running);
    for (name, value) in [
        ("power_state", Value::text(if running { "Halted" } else { "Running" })),
        ("allowed_operations", operations(!running)),
        ("resident_on", Value::Text(host)),
        ("memory_target", memory.unwrap_or(Value::Int(0))),
        ("domid", Value::Int(if running { -1 } else { 1 + state.identifiers.below(1000) as i64 })),
    ] {
        set(db, vm, &some, name, value);
    }
    let Some(class) = datamodel().class("task") else { return };
    let now = Value::date_time(state.clock.date_time(0));
    for (name, value) in [
        ("status", Value::text("success")),
        ("progress", Value::Float(1.0)),
        ("result", Value::text("<value></value>")),
        ("finished", now),
    ] {
        set(db, class, &task, name, value);
    }
    forget_old_tasks(db, class);
}

/// XAPI keeps no more finished tasks than these either.
fn forget_old_tasks(db: &mut Database, class: &'static Class) {
    let mut tasks: Vec<_> =
        db.table(class.id).iter().map(|task| (task.created(), task.reference().clone())).collect();
    tasks.sort();
    let surplus = tasks.len().saturating_sub(200);
    for (_, task) in tasks.into_iter().take(surplus) {
        _ = db.destroy(class, &task);
    }
}

fn pick(state: &State, db: &Database, class: &Class) -> Option<Text> {
    let table = db.table(class.id);
    let index = usize::try_from(state.identifiers.below(table.len() as u64)).ok()?;
    table.iter().nth(index).map(|object| object.reference().clone())
}

fn get(db: &Database, class: &Class, reference: &str, field: &str) -> Option<Value> {
    let field = class.field_index(field)?;
    db.table(class.id).get(reference).map(|object| object.fields()[field].clone())
}

fn set(db: &mut Database, class: &'static Class, reference: &str, field: &str, value: Value) {
    if let Some(field) = class.field_index(field) {
        // An object that has just been read is still there: the database is ours meanwhile.
        _ = db.set(class, reference, field, value);
    }
}
