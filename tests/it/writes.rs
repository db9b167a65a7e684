//! Changes: patches, calls and tasks, in the caller's own session of the pool.

use reqwest::Method;
use serde_json::{Value, json};
use xengate::sim::PASSWORD;

use crate::lab::{Answer, Lab};

/// A VM of the pool that is in this state and no control domain.
async fn a_vm(lab: &Lab, token: &str, state: &str) -> Value {
    let list = lab.get("/vms", token).await.ok();
    let items = list["items"].as_array().expect("items");
    let fits = |vm: &&Value| vm["power_state"] == state && vm["is_control_domain"] == false;
    items.iter().find(fits).expect("a VM in this state").clone()
}

fn path(vm: &Value) -> String {
    format!("/vms/{}", vm["uuid"].as_str().expect("a uuid"))
}

async fn patch(lab: &Lab, path: &str, token: &str, body: &Value) -> Answer {
    let request = lab.gate.request(Method::PATCH, path).bearer_auth(token).json(body);
    lab.gate.send(request).await
}

#[tokio::test]
async fn a_patch_is_seen_at_once_and_leaves_other_keys_alone() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let vm = a_vm(&lab, &token, "Halted").await;
    let path = path(&vm);
    let first = json!({"name_label": "one", "other_config": {"mine": "1", "gone": "x"}, "tags": ["a", "b"]});
    let shown = patch(&lab, &path, &token, &first).await.ok();
    assert_eq!(shown["name_label"], "one");
    assert_eq!(lab.get(&path, &token).await.ok(), shown, "what was written is read");
    let second = json!({"other_config": {"gone": null, "yours": "2"}, "tags": ["b", "c"]});
    let shown = patch(&lab, &path, &token, &second).await.ok();
    let config = &shown["other_config"];
    assert_eq!((&config["mine"], &config["yours"]), (&json!("1"), &json!("2")));
    assert!(config.get("gone").is_none());
    let mut tags: Vec<&str> =
        shown["tags"].as_array().expect("a set").iter().filter_map(Value::as_str).collect();
    tags.sort_unstable();
    assert_eq!(tags, ["b", "c"]);
    let before = vm["other_config"].as_object().expect("a map");
    assert!(before.keys().all(|key| config.get(key).is_some()), "{before:?}");
    lab.end().await;
}

#[tokio::test]
async fn a_patch_is_checked_whole_before_anything_is_sent() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let path = path(&a_vm(&lab, &token, "Halted").await);
    let sent = lab.sim.seen("VM.set_name_label");
    for (body, pointer) in [
        (json!({"name_label": "x", "colour": "red"}), "/colour"),
        (json!({"name_label": "x", "power_state": "Running"}), "/power_state"),
        (json!({"name_label": "x", "is_a_template": "yes"}), "/is_a_template"),
        (json!({"name_label": "x", "other_config": {"a": 1}}), "/other_config/a"),
        (json!({"name_label": "x", "affinity": "not-a-uuid"}), "/affinity"),
        (
            json!({"name_label": "x", "affinity": "5bdf5f35-0b92-d5e5-d63b-7b91cb99cef4"}),
            "/affinity",
        ),
        (json!({"name_label": null}), "/name_label"),
    ] {
        let problem = patch(&lab, &path, &token, &body).await.problem(422, "WRONG_SHAPE");
        assert_eq!(problem["pointer"], pointer, "{problem}");
    }
    let (dry, body) = (format!("{path}?dry_run=true"), json!({"name_label": "x"}));
    let plan = patch(&lab, &dry, &token, &body).await;
    assert_eq!(plan.ok(), json!({"calls": ["VM.set_name_label"]}));
    assert_eq!(lab.sim.seen("VM.set_name_label"), sent, "nothing was sent");
    lab.end().await;
}

#[tokio::test]
async fn who_may_not_write_is_told_which_roles_may() {
    let lab = Lab::new().await;
    let root = lab.login().await;
    let path = path(&a_vm(&lab, &root, "Halted").await);
    let reader = lab.gate.login("read-only", PASSWORD).await;
    lab.get(&path, &reader).await.ok();
    let answer = patch(&lab, &path, &reader, &json!({"name_label": "mine"})).await;
    let problem = answer.problem(403, "RBAC_PERMISSION_DENIED");
    assert_eq!(problem["params"][0], "VM.set_name_label");
    assert!(problem["params"].as_array().expect("names").contains(&json!("vm-admin")));
    let start = format!("{path}/actions/start");
    lab.gate.post(&start, Some(&reader), &json!({})).await.problem(403, "RBAC_PERMISSION_DENIED");
    assert_eq!(lab.sim.seen("Async.VM.start"), 0, "nothing was sent");
    let mine = lab.get("/sessions/current/permissions", &reader).await.ok();
    assert_eq!(mine["backends"][0]["role"], "read-only");
    assert_eq!(mine["backends"][0]["is_local_superuser"], false);
    let all = lab.get("/sessions/current/permissions", &root).await.ok();
    assert_eq!(all["backends"][0]["is_local_superuser"], true);
    lab.end().await;
}

#[tokio::test]
async fn only_calls_of_the_datamodel_that_are_for_clients_can_be_made() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let vm = path(&a_vm(&lab, &token, "Halted").await);
    for path in [
        format!("{vm}/actions/frobnicate"),
        format!("{vm}/actions/get_record"),
        format!("{vm}/actions/atomic_set_resident_on"),
        format!("{vm}/actions/xend.domain.destroy"),
        "/vms/actions/start".to_owned(),
        "/tasks/actions/set_status".to_owned(),
        "/sessions/actions/logout_subject_identifier".to_owned(),
    ] {
        let answer = lab.gate.post(&path, Some(&token), &json!({})).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.json());
    }
    lab.end().await;
}
