//! Tasks: followed to their end, kept, forgotten on the pool.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use uuid::Uuid;
use xengate::ops::arguments::Arguments;
use xengate::ops::{OpError, Reach, Status};
use xengate::sim::{Fault, RawReply, Value};

use super::{Bench, PATIENCE, call, class, code, object, until};

/// Has the pool answer the next `Async.` form of a call with a task that a test moves.
fn task_of(bench: &Bench, wire_name: &str) -> Arc<str> {
    let name = format!("Async.{wire_name}");
    let fields = [("name_label", Value::text(&*name)), ("status", Value::text("pending"))];
    let task = bench.sim.create("task", &fields).expect("a task");
    let json = json!({"jsonrpc": "2.0", "result": &*task, "id": 1}).to_string();
    let reply = RawReply::http("200 OK", "application/json", json);
    bench.sim.fault(Some(&name), Fault::Reply(reply), Some(1));
    task
}

fn set(bench: &Bench, task: &str, field: &str, value: Value) {
    bench.sim.set_field("task", task, field, value).expect("the task is there");
}

async fn started(bench: &Bench, reach: &Reach, wire_name: &str) -> (Uuid, Arc<str>) {
    let task = task_of(bench, wire_name);
    let args = Arguments::default();
    let uuid = reach.start(call(wire_name), args, &bench.tasks).await.expect("it starts");
    assert_eq!(uuid, bench.uuid("task", &task));
    (uuid, task)
}

#[tokio::test]
async fn a_task_is_kept_with_its_typed_result_and_forgotten_by_the_pool() {
    let bench = Bench::new().await;
    let reach = bench.caller("pool-admin").await;
    let (uuid, task) = started(&bench, &reach, "VM.clone").await;
    let view = |reach: Reach| bench.tasks.view(&reach.mirror, uuid, &reach.session);
    assert_eq!(view(reach.clone()).expect("it is there").status, Status::Pending);
    let soon = bench.tasks.wait(&reach.mirror, uuid, &reach.session, Duration::ZERO).await;
    assert_eq!(soon.expect("it is there").status, Status::Pending);

    let (vm, vm_ref) = bench.a_vm();
    set(&bench, &task, "progress", Value::Float(1.0));
    set(&bench, &task, "result", Value::text(format!("<value>{vm_ref}</value>")));
    set(&bench, &task, "status", Value::text("success"));
    let done = bench.tasks.wait(&reach.mirror, uuid, &reach.session, PATIENCE).await;
    let done = done.expect("it is there");
    assert_eq!(done.status, Status::Success);
    assert_eq!(done.record["result"], json!(vm));
    assert_eq!(done.record["progress"], json!(1.0));
    assert!(done.error.is_none());

    until(|| bench.sim.find("task", &task).is_none().then_some(())).await;
    until(|| {
        let reading = reach.mirror.reading().expect("the mirror is up");
        reading.snapshot.object(class("task").id, &uuid).is_none().then_some(())
    })
    .await;
    let kept = view(reach.clone()).expect("it is kept");
    assert_eq!(kept.record["result"], json!(vm));
    assert_eq!(bench.tasks.kept(&reach.mirror, &reach.session).len(), 1);
    let stranger = bench.caller("read-only").await;
    assert!(view(stranger.clone()).is_none(), "it is somebody else's");
    assert!(bench.tasks.kept(&stranger.mirror, &stranger.session).is_empty());
    assert!(view(bench.caller("pool-operator").await).is_some());

    bench.tasks.destroy(&reach, uuid).await.expect("it can be forgotten");
    assert!(view(reach).is_none());
    bench.end().await;
}

#[tokio::test]
async fn a_failed_task_points_to_the_parameter_it_is_about() {
    let bench = Bench::new().await;
    let reach = bench.caller("root").await;
    let sr = bench.sim.refs("SR").remove(0);
    let sr_uuid = bench.uuid("SR", &sr);
    let (_, vm) = bench.a_vm();
    let copy = call("VM.copy");
    let body = object(json!({"new_name": "x", "sr": sr_uuid}));
    let known = reach.known(copy, Some(&body)).await.expect("the mirror is up");
    let args = xengate::ops::arguments::arguments(copy, Some(&vm), Some(&body), &known);
    let task = task_of(&bench, "VM.copy");
    let started = reach.start(copy, args.expect("fits"), &bench.tasks).await;
    let uuid = started.expect("it starts");
    set(&bench, &task, "error_info", Value::texts(["HANDLE_INVALID", "SR", &*sr]));
    set(&bench, &task, "status", Value::text("failure"));
    let done = bench.tasks.wait(&reach.mirror, uuid, &reach.session, PATIENCE).await;
    let done = done.expect("it is there");
    assert_eq!(done.status, Status::Failure);
    let error = done.error.expect("a failure");
    assert_eq!(code(&error), Some("HANDLE_INVALID"));
    let OpError::Failure { failure, pointer } = &*error else { panic!("a failure") };
    assert_eq!(failure.params, ["SR".to_owned(), sr_uuid.to_string()]);
    assert_eq!(pointer.as_deref(), Some("/sr"));
    bench.end().await;
}

#[tokio::test]
async fn a_cancelled_task_and_one_that_vanished_say_so() {
    let bench = Bench::new().await;
    let reach = bench.caller("root").await;
    let (uuid, task) = started(&bench, &reach, "VM.start").await;
    set(&bench, &task, "status", Value::text("cancelled"));
    let done = bench.tasks.wait(&reach.mirror, uuid, &reach.session, PATIENCE).await;
    let done = done.expect("it is there");
    assert_eq!(done.status, Status::Cancelled);
    assert!(matches!(done.error.as_deref(), Some(OpError::Cancelled)));

    let (uuid, task) = started(&bench, &reach, "VM.start").await;
    until(|| {
        let reading = reach.mirror.reading().expect("the mirror is up");
        reading.snapshot.object(class("task").id, &uuid).map(drop)
    })
    .await;
    set(&bench, &task, "progress", Value::Float(0.5));
    bench.sim.destroy("task", &task).expect("it was there");
    let done = bench.tasks.wait(&reach.mirror, uuid, &reach.session, PATIENCE).await;
    let done = done.expect("it is there");
    assert_eq!(done.status, Status::Failure);
    assert!(matches!(done.error.as_deref(), Some(OpError::Lost)), "{:?}", done.error);
    bench.end().await;
}

#[tokio::test]
async fn tasks_that_others_started_can_be_waited_for() {
    let bench = Bench::new().await;
    let reach = bench.caller("read-only").await;
    let fields = [("name_label", Value::text("Async.VM.get_possible_hosts"))];
    let task = bench.sim.create("task", &fields).expect("a task");
    let uuid = bench.uuid("task", &task);
    until(|| bench.tasks.view(&reach.mirror, uuid, &reach.session)).await;
    let host = bench.sim.refs("host").remove(0);
    let result = format!("<value><array><data><value>{host}</value></data></array></value>");
    let (waited, ()) =
        tokio::join!(bench.tasks.wait(&reach.mirror, uuid, &reach.session, PATIENCE), async {
            set(&bench, &task, "result", Value::text(result));
            set(&bench, &task, "status", Value::text("success"));
        });
    let waited = waited.expect("it is there");
    assert_eq!(waited.status, Status::Success);
    assert_eq!(waited.record["result"], json!([bench.uuid("host", &host)]));
    let unknown = Uuid::from_u128(1);
    let none = bench.tasks.wait(&reach.mirror, unknown, &reach.session, PATIENCE).await;
    assert!(none.is_none());
    bench.end().await;
}
