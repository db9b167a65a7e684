//! `Async.` calls and their tasks.

use std::time::Duration;

use serde_json::{Value as Json, json};
use xengate::sim::{Failure, Fault, NULL, Sim, SimConfig, SimHandle, Time, Value};

use super::client::{Client, failure, start};

/// A halted VM, and its ref.
fn halted(sim: &SimHandle) -> String {
    let state = |vm: &str| sim.field("VM", vm, "power_state");
    let plain = |vm: &str| sim.field("VM", vm, "is_a_template") == Some(Value::Bool(false));
    let halted = |vm: &str| state(vm) == Some(Value::text("Halted")) && plain(vm);
    sim.refs("VM").into_iter().find(|vm| halted(vm)).expect("a halted VM").to_string()
}

async fn record(client: &Client, class: &str, reference: &Json) -> Json {
    client.call(&format!("{class}.get_record"), json!([reference])).await.expect("a record")
}

#[tokio::test]
async fn a_task_tells_how_its_call_ended() {
    let sim = start(5);
    let client = Client::logged_in(&sim, "root").await;
    let vm = halted(&sim);
    let task = client.call("Async.VM.start", json!([vm, false, false])).await.expect("a task");
    let started = record(&client, "task", &task).await;
    let wanted = json!({
        "uuid": started["uuid"], "name_label": "Async.VM.start", "name_description": "",
        "allowed_operations": [], "current_operations": {}, "created": "20261122T07:25:54Z",
        "finished": "20261122T07:25:54Z", "status": "success",
        "resident_on": sim.refs("host")[0].to_string(), "progress": 1.0, "type": "<none/>",
        "result": "<value></value>", "error_info": [], "other_config": {}, "subtask_of": NULL,
        "subtasks": [], "backtrace": "()",
    });
    assert_eq!(started, wanted);
    let again = client.call("Async.VM.start", json!([vm, false, false])).await.expect("a task");
    let failed = record(&client, "task", &again).await;
    assert_eq!(failed["status"], "failure");
    assert_eq!(failed["error_info"], json!(["VM_BAD_POWER_STATE", vm, "halted", "running"]));
    assert_eq!(failed["result"], "");
    // Finished tasks are kept until somebody destroys them, or until there are too many.
    assert_eq!(client.call("task.destroy", json!([task])).await, Ok(json!("")));
    assert_eq!(failure(client.call("task.get_record", json!([task])).await), "HANDLE_INVALID");
    for _ in 0..205 {
        client.call("Async.VM.start", json!([NULL, false, false])).await.expect("a task");
    }
    assert_eq!(sim.count("task"), 200);
}

#[tokio::test]
async fn a_task_takes_the_time_of_the_pool() {
    let config = SimConfig { vms: 5, time: Time::Held, ..SimConfig::default() };
    let config = SimConfig { task_duration: Duration::from_secs(10), ..config };
    let sim = Sim::start(config).expect("a free port");
    let client = Client::logged_in(&sim, "root").await;
    let vm = halted(&sim);
    let task = client.call("Async.VM.start", json!([vm, false, false])).await.expect("a task");
    let pending = record(&client, "task", &task).await;
    assert_eq!(pending["status"], "pending");
    assert_eq!(pending["progress"], 0.0);
    assert_eq!(pending["allowed_operations"], json!(["cancel"]));
    let busy = record(&client, "VM", &json!(vm)).await;
    assert_eq!(busy["current_operations"], json!({ task.as_str().expect("a ref"): "start" }));
    assert_eq!(busy["power_state"], "Halted");
    let again = client.call("VM.start", json!([vm, false, false])).await;
    assert_eq!(again, Err(json!(["OTHER_OPERATION_IN_PROGRESS", "VM", vm, "start", task])));
    let (_, token) = client.events(&["task"], "", 0.0).await;
    sim.advance(Duration::from_secs(5));
    let (events, token) = client.events(&["task"], &token, 60.0).await;
    assert_eq!(events, [format!("mod {}", task.as_str().expect("a ref"))]);
    assert_eq!(record(&client, "task", &task).await["status"], "pending");
    sim.advance(Duration::from_secs(5));
    let mut token = token;
    while record(&client, "task", &task).await["status"] == "pending" {
        (_, token) = client.events(&["task"], &token, 60.0).await;
    }
    let running = record(&client, "VM", &json!(vm)).await;
    assert_eq!(running["power_state"], "Running");
    assert_eq!(running["current_operations"], json!({}));
}

#[tokio::test]
async fn a_held_task_can_be_cancelled() {
    let sim = start(5);
    let client = Client::logged_in(&sim, "root").await;
    let vm = halted(&sim);
    sim.hold_tasks("VM.start");
    let held = client.call("Async.VM.start", json!([vm, false, false])).await.expect("a task");
    let reader = Client::logged_in(&sim, "read-only").await;
    let denied = reader.call("task.cancel", json!([held])).await;
    let text = "No permission in user session. (Roles with this permission: pool-admin, \
                pool-operator)";
    assert_eq!(denied, Err(json!(["RBAC_PERMISSION_DENIED", "task.destroy/any", text])));
    let (_, token) = client.events(&["task"], "", 0.0).await;
    assert_eq!(client.call("task.cancel", json!([held])).await, Ok(json!("")));
    let mut token = token;
    while record(&client, "task", &held).await["status"] == "pending" {
        (_, token) = client.events(&["task"], &token, 60.0).await;
    }
    let cancelled = record(&client, "task", &held).await;
    assert_eq!(cancelled["status"], "cancelled");
    assert_eq!(cancelled["error_info"], json!([]));
    let idle = record(&client, "VM", &json!(vm)).await;
    assert_eq!((&idle["power_state"], &idle["current_operations"]), (&json!("Halted"), &json!({})));
    // A call whose caller waits is held as well, and goes on when released.
    let (_, token) = client.events(&["vm"], "", 0.0).await;
    let release = async {
        client.events(&["vm"], &token, 60.0).await;
        sim.release_tasks("VM.start");
    };
    let (started, ()) = tokio::join!(client.call("VM.start", json!([vm, false, false])), release);
    assert_eq!(started, Ok(json!("")));
    assert_eq!(record(&client, "VM", &json!(vm)).await["power_state"], "Running");
}

#[tokio::test]
async fn a_task_fails_on_demand() {
    let sim = start(5);
    let client = Client::logged_in(&sim, "root").await;
    let vm = halted(&sim);
    let failure = Failure::new("INTERNAL_ERROR", ["on demand"]);
    sim.fault(Some("VM.start"), Fault::Fail(failure), Some(1));
    let task = client.call("Async.VM.start", json!([vm, false, false])).await.expect("a task");
    let failed = record(&client, "task", &task).await;
    assert_eq!(failed["error_info"], json!(["INTERNAL_ERROR", "on demand"]));
    assert_eq!(sim.field("VM", &vm, "power_state"), Some(Value::text("Halted")));
    assert_eq!(client.call("VM.start", json!([vm, false, false])).await, Ok(json!("")));
}
