//! Single calls: permission, version, failures, reading one's own writes.

use serde_json::json;
use uuid::Uuid;
use xengate::ops::arguments::arguments;
use xengate::ops::{OpError, Settled, Touched};
use xengate::sim::{Failure, Fault, Value};

use super::{Bench, call, class, code, object, record};

#[tokio::test]
async fn a_call_is_typed_and_seen_at_once() {
    let bench = Bench::new().await;
    let reach = bench.caller("vm-admin").await;
    let (uuid, vm) = bench.a_vm();
    let body = object(json!({"key": "start", "value": "why"}));
    let call = call("VM.add_to_blocked_operations");
    let known = reach.known(call, Some(&body)).await.expect("the mirror is up");
    let args = arguments(call, Some(&vm), Some(&body), &known).expect("fits");
    let done = reach.call(call, args).await.expect("is done");
    assert_eq!(done.result, None, "void");
    assert_eq!(reach.settle(Touched::Object(class("VM"), &vm)).await, Settled::Seen);
    assert_eq!(record(&reach, class("VM"), uuid)["blocked_operations"], json!({"start": "why"}));
    bench.end().await;
}

#[tokio::test]
async fn results_name_objects_by_uuid() {
    let bench = Bench::new().await;
    let reach = bench.caller("read-only").await;
    let (uuid, vm) = bench.a_vm();
    let host = bench.sim.refs("host").remove(0);
    let args = vec![(&*vm).into()];
    let done = reach.call(call("VM.get_record"), args).await.expect("is done");
    let shown: serde_json::Value =
        serde_json::from_slice(&done.result.expect("a record")).expect("JSON");
    assert_eq!(shown["uuid"], json!(uuid));
    let disk = shown["VBDs"][0].as_str().expect("a disk");
    let vm_of_disk = bench.sim.field("VBD", disk, "VM").expect("a VBD of this uuid");
    assert_eq!(vm_of_disk.as_text(), Some(&vm));
    let done = reach.call(call("host.get_all"), vec![]).await.expect("is done");
    let hosts: Vec<Uuid> = serde_json::from_slice(&done.result.expect("refs")).expect("uuids");
    assert!(hosts.contains(&bench.uuid("host", &host)));
    bench.end().await;
}

#[tokio::test]
async fn who_may_not_is_told_before_anything_is_sent() {
    let bench = Bench::new().await;
    let reach = bench.caller("read-only").await;
    let (_, vm) = bench.a_vm();
    let set = call("VM.set_name_label");
    let args = vec![(&*vm).into(), "x".into()];
    let error = reach.call(set, args.clone()).await.expect_err("may not");
    let OpError::Denied { call: name, roles } = error else { panic!("{error}") };
    assert_eq!((name.as_str(), roles), ("VM.set_name_label", set.roles));
    let error = reach.start(call("VM.start"), args, &bench.tasks).await.expect_err("may not");
    assert!(matches!(error, OpError::Denied { .. }), "{error}");
    assert_eq!(bench.sim.seen("VM.set_name_label") + bench.sim.seen("Async.VM.start"), 0);
    bench.end().await;
}

#[tokio::test]
async fn what_the_version_lacks_is_not_supported() {
    let bench = Bench::new().await;
    let reach = bench.caller("root").await;
    let pool = bench.sim.refs("pool").remove(0);
    let master = bench.sim.field("pool", &pool, "master").expect("a field");
    let master = master.as_text().expect("a ref").clone();
    let old = Value::pairs([("product_version", "7.0"), ("xapi", "1.9")]);
    bench.sim.set_field("host", &master, "software_version", old).expect("it is there");
    bench.sim.set_field("host", &master, "API_version_minor", Value::Int(5)).expect("it is there");
    assert_eq!(reach.settle(Touched::Elsewhere).await, Settled::Seen);
    let (_, vm) = bench.a_vm();
    for name in ["VM.set_NVRAM", "VM.restart_device_models"] {
        let error = reach.call(call(name), vec![(&*vm).into()]).await.expect_err("is too old");
        let OpError::NotSupported { what, why, .. } = error else { panic!("{name}: {error}") };
        assert_eq!(what, name);
        assert!(why.contains("older"), "{why}");
        assert_eq!(bench.sim.seen(name), 0);
    }

    let unknown = Failure::new("MESSAGE_METHOD_UNKNOWN", ["VM.pause"]);
    bench.sim.fault(Some("VM.pause"), Fault::Fail(unknown), None);
    let error = reach.call(call("VM.pause"), vec![(&*vm).into()]).await.expect_err("unknown");
    assert!(matches!(error, OpError::NotSupported { .. }), "{error}");
    bench.end().await;
}

#[tokio::test]
async fn a_failure_points_to_the_object_it_is_about() {
    let bench = Bench::new().await;
    let reach = bench.caller("root").await;
    let (_, vm) = bench.a_vm();
    let host = bench.sim.refs("host").remove(0);
    let uuid = bench.uuid("host", &host);
    let body = object(json!({"host": uuid}));
    let call = call("VM.assert_can_boot_here");
    let known = reach.known(call, Some(&body)).await.expect("the mirror is up");
    let args = arguments(call, Some(&vm), Some(&body), &known).expect("fits");
    let offline = Failure::new("HOST_OFFLINE", [&*host]);
    bench.sim.fault(Some("VM.assert_can_boot_here"), Fault::Fail(offline), None);
    let error = reach.call(call, args).await.expect_err("the host is down");
    assert_eq!(code(&error), Some("HOST_OFFLINE"));
    let OpError::Failure { failure, pointer } = error else { panic!("a failure") };
    assert_eq!(pointer.as_deref(), Some("/host"));
    assert_eq!(failure.params, [uuid.to_string()]);
    bench.end().await;
}

#[tokio::test]
async fn roles_are_asked_for_as_they_are_not_mirrored() {
    let bench = Bench::new().await;
    let reach = bench.caller("root").await;
    let role = bench.uuid("role", &bench.sim.refs("role").remove(0));
    let body = object(json!({"role": role}));
    let call = call("subject.add_to_roles");
    let known = reach.known(call, Some(&body)).await.expect("the role is asked for");
    let args = arguments(call, Some("OpaqueRef:x"), Some(&body), &known).expect("fits");
    assert_eq!(args.pointer_of(&role.to_string()), Some("/role"));
    let body = object(json!({"role": Uuid::from_u128(1)}));
    let known = reach.known(call, Some(&body)).await.expect("that there is none is no failure");
    assert!(arguments(call, Some("OpaqueRef:x"), Some(&body), &known).is_err());
    bench.end().await;
}
