//! Patches: planned whole, carried out in order, told of when cut short.

use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;
use xengate::ops::patch::{Plan, plan};
use xengate::ops::{OpError, Reach, Settled};
use xengate::sim::{Failure, Fault, Value};

use super::{Bench, class, code, object, record, until};

fn planned(bench: &Bench, reach: &Reach, body: Json) -> Plan {
    let (uuid, vm) = bench.a_vm();
    let current = record(reach, class("VM"), uuid);
    let snapshot = reach.snapshot().expect("the mirror is up");
    plan(class("VM"), &current, &vm, &object(body), &*snapshot).expect("a good patch")
}

#[tokio::test]
async fn a_patch_is_applied_and_seen_at_once() {
    let bench = Bench::new().await;
    let reach = bench.caller("vm-power-admin").await;
    let (uuid, vm) = bench.a_vm();
    let host = bench.uuid("host", &bench.sim.refs("host").remove(0));
    bench.sim.set_field("VM", &vm, "tags", Value::texts(["gone", "kept"])).expect("there");
    until(|| (record(&reach, class("VM"), uuid)["tags"] == json!(["gone", "kept"])).then_some(()))
        .await;
    let body = json!({
        "name_label": "new",
        "affinity": host,
        "tags": ["kept", "fresh"],
        "other_config": {"mine": "1"},
    });
    let ran = planned(&bench, &reach, body).run(&reach, &CancellationToken::new()).await;
    assert!(ran.halted.is_none() && ran.settled == Settled::Seen, "{ran:?}");
    let after = record(&reach, class("VM"), uuid);
    assert_eq!((&after["name_label"], &after["affinity"]), (&json!("new"), &json!(host)));
    let tags = after["tags"].as_array().expect("an array");
    assert!(tags.len() == 2 && tags.contains(&json!("kept")) && tags.contains(&json!("fresh")));
    assert_eq!(after["other_config"]["mine"], "1");

    let body = json!({"other_config": {"mine": null}});
    let ran = planned(&bench, &reach, body).run(&reach, &CancellationToken::new()).await;
    assert!(ran.halted.is_none(), "{ran:?}");
    let after = record(&reach, class("VM"), uuid);
    assert!(after["other_config"].get("mine").is_none(), "{after:?}");
    bench.end().await;
}

#[tokio::test]
async fn a_patch_cut_short_says_which_fields_were_applied() {
    let bench = Bench::new().await;
    let reach = bench.caller("root").await;
    let (uuid, _) = bench.a_vm();
    let failure = Failure::new("OPERATION_NOT_ALLOWED", ["because"]);
    bench.sim.fault(Some("VM.set_affinity"), Fault::Fail(failure), None);
    let body = json!({"name_label": "new", "affinity": null, "tags": ["t"]});
    let ran = planned(&bench, &reach, body).run(&reach, &CancellationToken::new()).await;
    assert_eq!(ran.settled, Settled::Seen);
    let halted = ran.halted.expect("a halt");
    assert_eq!(halted.applied, ["name_label"]);
    assert_eq!(halted.failed, ["affinity"]);
    assert_eq!(halted.not_tried, ["tags"]);
    assert_eq!(code(&halted.error), Some("OPERATION_NOT_ALLOWED"));
    let OpError::Failure { pointer, .. } = &halted.error else { panic!("a failure") };
    assert_eq!(pointer.as_deref(), Some("/affinity"));
    assert_eq!(record(&reach, class("VM"), uuid)["name_label"], "new");
    bench.end().await;
}

#[tokio::test]
async fn a_key_that_somebody_else_added_meanwhile_is_replaced() {
    let bench = Bench::new().await;
    let reach = bench.caller("root").await;
    let (_, vm) = bench.a_vm();
    // Planned before the mirror knows of the key.
    let plan = planned(&bench, &reach, json!({"other_config": {"k": "mine"}}));
    let theirs = Value::pairs([("k", "theirs"), ("other", "stays")]);
    bench.sim.set_field("VM", &vm, "other_config", theirs).expect("it is there");
    let ran = plan.run(&reach, &CancellationToken::new()).await;
    assert!(ran.halted.is_none(), "{ran:?}");
    let now = bench.sim.field("VM", &vm, "other_config");
    assert_eq!(now, Some(Value::pairs([("k", "mine"), ("other", "stays")])));
    bench.end().await;
}

#[tokio::test]
async fn a_key_that_cannot_be_changed_keeps_its_old_value() {
    let bench = Bench::new().await;
    let reach = bench.caller("root").await;
    let (uuid, vm) = bench.a_vm();
    let old = Value::pairs([("k", "old")]);
    bench.sim.set_field("VM", &vm, "other_config", old.clone()).expect("it is there");
    until(|| {
        (record(&reach, class("VM"), uuid)["other_config"] == json!({"k": "old"})).then_some(())
    })
    .await;
    let plan = planned(&bench, &reach, json!({"other_config": {"k": "new"}}));
    let failure = Failure::new("INTERNAL_ERROR", ["no"]);
    bench.sim.fault(Some("VM.add_to_other_config"), Fault::Fail(failure), Some(1));
    let halted = plan.run(&reach, &CancellationToken::new()).await.halted.expect("a halt");
    assert_eq!(halted.failed, ["other_config"]);
    assert_eq!(bench.sim.field("VM", &vm, "other_config"), Some(old));
    bench.end().await;
}

#[tokio::test]
async fn a_patch_is_checked_whole_before_its_first_call() {
    let bench = Bench::new().await;
    let reach = bench.caller("vm-operator").await;
    let plan = planned(&bench, &reach, json!({"tags": ["mine"], "name_label": "new"}));
    let error = plan.check(&reach).expect_err("an operator names no VM");
    let OpError::Denied { call, .. } = error else { panic!("{error}") };
    assert_eq!(call, "VM.set_name_label");
    let plan = planned(&bench, &reach, json!({"other_config": {"folder": "/a"}}));
    plan.check(&reach).expect("folders are for operators too");
    let plan = planned(&bench, &reach, json!({"other_config": {"else": "/a"}}));
    assert!(plan.check(&reach).is_err());
    bench.end().await;
}
