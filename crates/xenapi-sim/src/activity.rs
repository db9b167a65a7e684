//! Movement for the demo: VMs start and stop, work and rest.

use std::sync::Arc;
use std::time::Duration;

use xenapi_model::{Class, datamodel};

use super::calls::begin_task;
use super::database::{Database, Text, Value};
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

fn move_once(state: &Arc<State>, beat: u64) {
    let (Some(vm), Some(metrics)) = (datamodel().class("VM"), datamodel().class("VM_metrics"))
    else {
        return;
    };
    for _ in 0..3 {
        state.write(|db| work(state, db, vm, metrics));
    }
    if beat.is_multiple_of(4) {
        toggle(state);
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
fn toggle(state: &Arc<State>) {
    let Some(vm) = datamodel().class("VM") else { return };
    let call = state.write(|db| {
        let some = pick(state, db, vm)?;
        let is = |name| get(db, vm, &some, name) == Some(Value::Bool(true));
        if is("is_a_template") || is("is_control_domain") || is("is_a_snapshot") {
            return None;
        }
        let running = get(db, vm, &some, "power_state") == Some(Value::text("Running"));
        Some((running, Value::Text(some)))
    });
    match call {
        Some((true, vm)) => begin_task(state, "VM.clean_shutdown", vec![vm]),
        Some((false, vm)) => {
            begin_task(state, "VM.start", vec![vm, Value::Bool(false), Value::Bool(false)]);
        }
        None => {}
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
