//! Flows of several calls: what they do, and what they take back.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use uuid::Uuid;
use xengate::ops::create::prepare;
use xengate::ops::destroy::{Disks, destroy_vm};
use xengate::ops::provision::provision;
use xengate::ops::{OpError, Reach, Status, TaskView};
use xengate::sim::{Failure, Fault, RawReply, Value};

use super::{Bench, PATIENCE, call, class, code, object, record, until};

/// Has the pool answer the next such call with this.
fn answer(bench: &Bench, wire_name: &str, result: Json) {
    let json = json!({"jsonrpc": "2.0", "result": result, "id": 1}).to_string();
    let reply = RawReply::http("200 OK", "application/json", json);
    bench.sim.fault(Some(wire_name), Fault::Reply(reply), Some(1));
}

/// Has the pool fail the next such call.
fn refuse(bench: &Bench, wire_name: &str, code: &str) {
    bench.sim.fault(Some(wire_name), Fault::Fail(Failure::new(code, ["x"])), Some(1));
}

/// Has the pool answer the next `Async.` form of a call with a task that stands so.
fn task(bench: &Bench, wire_name: &str, status: &str, result: &str, error: &[&str]) -> Arc<str> {
    let name = format!("Async.{wire_name}");
    let fields = [
        ("name_label", Value::text(&*name)),
        ("status", Value::text(status)),
        ("result", Value::text(format!("<value>{result}</value>"))),
        ("error_info", Value::texts(error.iter().copied())),
    ];
    let task = bench.sim.create("task", &fields).expect("a task");
    answer(bench, &name, json!(&*task));
    task
}

fn done(bench: &Bench, wire_name: &str, result: &str) {
    task(bench, wire_name, "success", result, &[]);
}

/// A template, and what a copy of it will be: a VM that is still a template.
fn template(bench: &Bench) -> (Uuid, Arc<str>) {
    let fields = |name: &str| {
        [
            ("name_label", Value::text(name)),
            ("is_a_template", Value::Bool(true)),
            ("power_state", Value::text("Halted")),
        ]
    };
    let template = bench.sim.create("VM", &fields("template")).expect("a template");
    let copy = bench.sim.create("VM", &fields("copy")).expect("a copy");
    (bench.uuid("VM", &template), copy)
}

async fn seen(reach: &Reach, name: &str, uuid: Uuid) {
    until(|| {
        let snapshot = reach.snapshot().ok()?;
        snapshot.object(class(name).id, &uuid).map(drop)
    })
    .await;
}

async fn ended(bench: &Bench, reach: &Reach, uuid: Uuid) -> TaskView {
    let view = bench.tasks.wait(&reach.mirror, uuid, &reach.session, PATIENCE).await;
    let view = view.expect("it is there");
    assert!(view.status.is_final(), "{view:?}");
    view
}

#[tokio::test]
async fn a_vm_is_made_step_by_step() {
    let bench = Bench::new().await;
    let reach = bench.caller("vm-admin").await;
    let (template, copy) = template(&bench);
    let sr = bench.uuid("SR", &bench.sim.refs("SR").remove(0));
    let network = bench.uuid("network", &bench.sim.refs("network").remove(0));
    let vdi = bench.sim.create("VDI", &[("name_label", Value::text("disk"))]).expect("a disk");
    let uuid = bench.uuid("VM", &copy);
    seen(&reach, "VDI", bench.uuid("VDI", &vdi)).await;
    done(&bench, "VM.clone", &copy);
    done(&bench, "VM.provision", "");
    done(&bench, "VDI.create", &vdi);
    done(&bench, "VM.start", "");
    answer(&bench, "VBD.create", json!("OpaqueRef:vbd"));
    answer(&bench, "VM.get_allowed_VIF_devices", json!(["0", "1"]));
    answer(&bench, "VIF.create", json!("OpaqueRef:vif"));
    let body = json!({
        "template": template,
        "name_label": "web",
        "name_description": "serves",
        "tags": ["t"],
        "disks": [{"sr": sr, "virtual_size": 1_073_741_824}],
        "networks": [network],
        "start": true,
    });
    let started = provision(&reach, &bench.tasks, &object(body)).expect("it starts");
    let view = ended(&bench, &reach, started).await;
    assert_eq!(view.status, Status::Success, "{view:?}");
    assert_eq!(view.record["result"], json!(uuid));
    assert_eq!((&view.record["progress"], &view.record["backend"]), (&json!(1.0), &json!("lab")));
    for name in ["Async.VM.clone", "Async.VM.provision", "Async.VDI.create", "VBD.create"] {
        assert_eq!(bench.sim.seen(name), 1, "{name}");
    }
    assert_eq!((bench.sim.seen("VIF.create"), bench.sim.seen("Async.VM.start")), (1, 1));
    assert_eq!((bench.sim.seen("VM.destroy"), bench.sim.seen("Async.VM.copy")), (0, 0));
    let after = record(&reach, class("VM"), uuid);
    assert_eq!((&after["name_description"], &after["tags"]), (&json!("serves"), &json!(["t"])));
    let kept = bench.tasks.kept(&reach.mirror, &reach.session);
    let kept: Vec<Uuid> = kept.iter().map(|view| view.uuid).collect();
    assert_eq!(kept, [started], "the steps' tasks are nobody's business");
    bench.end().await;
}

#[tokio::test]
async fn a_step_that_fails_takes_back_what_was_made_and_no_more() {
    let bench = Bench::new().await;
    let reach = bench.caller("vm-admin").await;
    let (template, copy) = template(&bench);
    let sr = bench.sim.refs("SR").remove(0);
    let sr_uuid = bench.uuid("SR", &sr);
    seen(&reach, "VM", bench.uuid("VM", &copy)).await;
    done(&bench, "VM.copy", &copy);
    done(&bench, "VM.provision", "");
    task(&bench, "VDI.create", "failure", "", &["SR_HAS_NO_PBDS", &sr]);
    answer(&bench, "VM.destroy", json!(""));
    let body = json!({
        "template": template, "name_label": "x", "sr": sr_uuid,
        "disks": [{"virtual_size": 1}],
    });
    let started = provision(&reach, &bench.tasks, &object(body)).expect("it starts");
    let view = ended(&bench, &reach, started).await;
    assert_eq!(view.status, Status::Failure);
    let error = view.error.expect("a failure");
    assert_eq!(code(&error), Some("SR_HAS_NO_PBDS"));
    let OpError::Failure { pointer, .. } = &*error else { panic!("a failure") };
    assert_eq!(pointer.as_deref(), Some("/disks/0/sr"));
    assert_eq!(view.record["error_info"], json!(["SR_HAS_NO_PBDS", sr_uuid]));
    assert!(view.left_behind.is_empty(), "{:?}", view.left_behind);
    assert_eq!((bench.sim.seen("VM.destroy"), bench.sim.seen("VDI.destroy")), (1, 0));
    bench.end().await;
}

#[tokio::test]
async fn what_cannot_be_taken_back_is_told() {
    let bench = Bench::new().await;
    let reach = bench.caller("vm-admin").await;
    let (template, copy) = template(&bench);
    let uuid = bench.uuid("VM", &copy);
    seen(&reach, "VM", uuid).await;
    done(&bench, "VM.clone", &copy);
    task(&bench, "VM.provision", "failure", "", &["SR_FULL", "2", "1"]);
    refuse(&bench, "VM.destroy", "OTHER_OPERATION_IN_PROGRESS");
    let body = object(json!({"template": template, "name_label": "x"}));
    let started = provision(&reach, &bench.tasks, &body).expect("it starts");
    let view = ended(&bench, &reach, started).await;
    assert_eq!(view.error.as_deref().and_then(code), Some("SR_FULL"), "why it failed");
    let [left] = &view.left_behind[..] else { panic!("{:?}", view.left_behind) };
    assert_eq!((left.class, left.uuid), ("VM", Some(uuid)));
    assert!(left.why.contains("OTHER_OPERATION_IN_PROGRESS"), "{}", left.why);
    bench.end().await;
}

#[tokio::test]
async fn a_flow_can_be_cancelled() {
    let bench = Bench::new().await;
    let reach = bench.caller("vm-admin").await;
    let (template, copy) = template(&bench);
    seen(&reach, "VM", bench.uuid("VM", &copy)).await;
    let step = task(&bench, "VM.clone", "pending", "", &[]);
    answer(&bench, "task.cancel", json!(""));
    let body = object(json!({"template": template, "name_label": "x"}));
    let started = provision(&reach, &bench.tasks, &body).expect("it starts");
    assert!(matches!(bench.tasks.destroy(&reach, started).await, Err(OpError::Conflict(_))));
    until(|| (bench.sim.seen("Async.VM.clone") == 1).then_some(())).await;
    bench.tasks.cancel(&reach, started).await.expect("it is told");
    let now = bench.tasks.view(&reach.mirror, started, &reach.session).expect("it is there");
    assert_eq!(now.record["status"], "cancelling");
    until(|| (bench.sim.seen("task.cancel") == 1).then_some(())).await;
    bench.sim.set_field("task", &step, "status", Value::text("cancelled")).expect("it is there");
    let view = ended(&bench, &reach, started).await;
    assert_eq!(view.status, Status::Cancelled);
    assert!(view.left_behind.is_empty() && bench.sim.seen("VM.destroy") == 0);
    assert!(matches!(bench.tasks.cancel(&reach, started).await, Err(OpError::Conflict(_))));
    bench.end().await;
}

#[tokio::test]
async fn a_bad_order_is_refused_before_anything_is_sent() {
    let bench = Bench::new().await;
    let reach = bench.caller("root").await;
    let (template, copy) = template(&bench);
    seen(&reach, "VM", bench.uuid("VM", &copy)).await;
    let (vm, _) = bench.a_vm();
    let disk = |disk: Json| json!({"template": template, "name_label": "x", "disks": [disk]});
    for (body, pointer) in [
        (json!({"name_label": "x"}), "/template"),
        (json!({"template": template}), "/name_label"),
        (json!({"template": Uuid::from_u128(1), "name_label": "x"}), "/template"),
        (json!({"template": null, "name_label": "x"}), "/template"),
        (json!({"template": vm, "name_label": "x"}), "/template"),
        (json!({"template": template, "name_label": "x", "sr": vm}), "/sr"),
        (json!({"template": template, "name_label": "x", "start": 1}), "/start"),
        (json!({"template": template, "name_label": "x", "networks": [vm]}), "/networks/0"),
        (json!({"template": template, "name_label": "x", "networks": {}}), "/networks"),
        (json!({"template": template, "name_label": "x", "colour": "red"}), "/colour"),
        (json!({"template": template, "name_label": "x", "uuid": vm}), "/uuid"),
        (json!({"template": template, "name_label": "x", "VCPUs_max": 0}), "/VCPUs_max"),
        (disk(json!({})), "/disks/0/virtual_size"),
        (disk(json!({"virtual_size": 0})), "/disks/0/virtual_size"),
        (disk(json!({"virtual_size": 1, "sr": vm})), "/disks/0/sr"),
        (disk(json!({"virtual_size": 1, "size": 1})), "/disks/0/size"),
        (disk(json!([])), "/disks/0"),
    ] {
        let error = provision(&reach, &bench.tasks, &object(body.clone())).expect_err("is bad");
        let OpError::Argument(error) = error else { panic!("{body}: {error}") };
        assert_eq!(error.pointer, pointer, "{body}: {}", error.what);
    }
    let reader = bench.caller("vm-operator").await;
    let body = object(json!({"template": template, "name_label": "x"}));
    let error = provision(&reader, &bench.tasks, &body).expect_err("may not");
    assert!(matches!(error, OpError::Denied { .. }), "{error}");
    assert!(bench.tasks.kept(&reach.mirror, &reach.session).is_empty());
    assert_eq!(bench.sim.seen("Async.VM.clone"), 0);
    bench.end().await;
}

#[tokio::test]
async fn disks_go_with_their_vm_unless_another_has_them() {
    let bench = Bench::new().await;
    let reach = bench.caller("vm-admin").await;
    let (_, vm) = bench.a_vm();
    let vdi = |name: &str| {
        let vdi = bench.sim.create("VDI", &[("name_label", Value::text(name))]).expect("a disk");
        (bench.uuid("VDI", &vdi), vdi)
    };
    let vbd = |vdi: &Arc<str>, kind: &str| {
        let fields = [
            ("VDI", Value::Text(vdi.clone())),
            ("type", Value::text(kind)),
            ("empty", Value::Bool(false)),
        ];
        bench.sim.create("VBD", &fields).expect("a VBD")
    };
    let ((own, own_ref), (shared, shared_ref), (iso, iso_ref)) =
        (vdi("own"), vdi("both"), vdi("iso"));
    let vbds = [vbd(&own_ref, "Disk"), vbd(&shared_ref, "Disk"), vbd(&iso_ref, "CD")];
    let texts = |refs: &[Arc<str>]| Value::Set(refs.iter().cloned().map(Value::Text).collect());
    bench.sim.set_field("VM", &vm, "VBDs", texts(&vbds)).expect("it is there");
    let other = vbd(&shared_ref, "Disk");
    let both = texts(&[vbds[1].clone(), other]);
    bench.sim.set_field("VDI", &shared_ref, "VBDs", both).expect("it is there");
    bench.sim.set_field("VDI", &own_ref, "VBDs", texts(&vbds[..1])).expect("it is there");
    seen(&reach, "VDI", iso).await;

    done(&bench, "VM.destroy", "");
    answer(&bench, "VDI.destroy", json!(""));
    let started = destroy_vm(&reach, &bench.tasks, &vm, Disks::Delete).await.expect("it starts");
    let view = ended(&bench, &reach, started).await;
    assert_eq!(view.status, Status::Success, "{view:?}");
    assert_eq!(view.record["result"], json!({"deleted": [own], "kept": [shared]}));
    assert_eq!(bench.sim.seen("VDI.destroy"), 1);

    done(&bench, "VM.destroy", "");
    refuse(&bench, "VDI.destroy", "VDI_IN_USE");
    let started = destroy_vm(&reach, &bench.tasks, &vm, Disks::Delete).await.expect("it starts");
    let view = ended(&bench, &reach, started).await;
    assert_eq!(view.error.as_deref().and_then(code), Some("VDI_IN_USE"));
    assert_eq!(view.left_behind.iter().map(|left| left.uuid).collect::<Vec<_>>(), [Some(own)]);
    bench.end().await;
}

#[tokio::test]
async fn what_only_the_pool_knows_is_filled_in() {
    let bench = Bench::new().await;
    let reach = bench.caller("root").await;
    let (vm, _) = bench.a_vm();
    let network = bench.uuid("network", &bench.sim.refs("network").remove(0));
    answer(&bench, "VM.get_allowed_VIF_devices", json!(["3", "4"]));
    let body = object(json!({"VM": vm, "network": network}));
    let prepared = prepare(&reach, class("VIF"), call("VIF.create"), &body).await;
    prepared.expect("the device is filled in");
    assert_eq!(bench.sim.seen("VM.get_allowed_VIF_devices"), 1);

    let pool = bench.sim.refs("pool").remove(0);
    let sr = bench.sim.refs("SR").remove(0);
    bench.sim.set_field("pool", &pool, "default_SR", Value::Text(sr)).expect("it is there");
    let pool = bench.uuid("pool", &pool);
    until(|| record(&reach, class("pool"), pool)["default_SR"].is_string().then_some(())).await;
    let body = object(json!({"virtual_size": 1}));
    let prepared = prepare(&reach, class("VDI"), call("VDI.create"), &body).await;
    prepared.expect("the SR is filled in");
    let error = prepare(&reach, class("VIF"), call("VIF.create"), &body).await;
    assert!(matches!(error, Err(OpError::Argument(_))), "{error:?}");
    bench.end().await;
}
