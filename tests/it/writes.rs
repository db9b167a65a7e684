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
        "/sessions/actions/slave_login".to_owned(),
    ] {
        let answer = lab.gate.post(&path, Some(&token), &json!({})).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.json());
    }
    lab.end().await;
}

/// Makes a call, waiting for what comes of it.
async fn act(lab: &Lab, path: &str, token: &str, body: &Value) -> Answer {
    let request = lab.gate.request(Method::POST, path).bearer_auth(token).json(body);
    lab.gate.send(request.header("Prefer", "wait=30")).await
}

#[tokio::test]
async fn a_vm_is_started_and_stopped_and_read_as_it_then_is() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let path = path(&a_vm(&lab, &token, "Halted").await);
    // `start` needs no body at all.
    let start = lab.gate.request(Method::POST, &format!("{path}/actions/start"));
    let answer = lab.gate.send(start.bearer_auth(&token).header("Prefer", "wait=30")).await;
    let task = answer.ok();
    assert_eq!(answer.header("preference-applied"), Some("wait=30"));
    assert_eq!((&task["status"], &task["error"]), (&json!("success"), &Value::Null), "{task}");
    assert_eq!(lab.get(&path, &token).await.ok()["power_state"], "Running");
    // What the gateway started it tidies up, and remembers.
    let uuid = task["uuid"].as_str().expect("a uuid");
    let kept = lab.get(&format!("/tasks/{uuid}"), &token).await.ok();
    assert_eq!(kept["status"], "success");
    let again = act(&lab, &format!("{path}/actions/start"), &token, &json!({})).await;
    let problem = again.problem(409, "VM_BAD_POWER_STATE");
    assert_eq!(problem["task"]["status"], "failure", "{problem}");
    assert_eq!(problem["task"]["error"]["code"], "VM_BAD_POWER_STATE");
    assert_eq!(problem["params"][0], path.trim_start_matches("/vms/"), "{problem}");
    let stop = format!("{path}/actions/hard_shutdown");
    assert_eq!(act(&lab, &stop, &token, &json!({})).await.ok()["status"], "success");
    assert_eq!(lab.get(&path, &token).await.ok()["power_state"], "Halted");
    lab.end().await;
}

#[tokio::test]
async fn without_patience_a_task_is_accepted_and_can_be_waited_for() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let path = path(&a_vm(&lab, &token, "Halted").await);
    let start = format!("{path}/actions/start");
    let answer = lab.gate.post(&start, Some(&token), &json!({"start_paused": true})).await;
    assert_eq!(answer.status, 202, "{}", answer.json());
    let location = answer.header("location").expect("where").to_owned();
    let task = answer.json();
    assert_eq!(location, format!("/tasks/{}", task["uuid"].as_str().expect("a uuid")));
    let done = lab.get(&format!("{location}?wait=30"), &token).await.ok();
    assert_eq!(done["status"], "success", "{done}");
    assert_eq!(lab.get(&path, &token).await.ok()["power_state"], "Paused");
    // Only its owner and operators hear how it ended.
    let other = lab.gate.login("vm-operator", PASSWORD).await;
    assert_eq!(lab.get(&location, &other).await.status, 404);
    lab.get("/tasks?wait=1", &token).await.problem(400, "UNKNOWN_PARAMETER");
    lab.get(&format!("{location}?wait=61"), &token).await.problem(400, "BAD_PARAMETER");
    lab.end().await;
}

#[tokio::test]
async fn arguments_are_typed_and_checked_before_anything_is_sent() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let path = path(&a_vm(&lab, &token, "Halted").await);
    for (action, body, pointer) in [
        ("start", json!({"start_paused": "yes"}), "/start_paused"),
        ("start", json!({"colour": "red"}), "/colour"),
        ("clone", json!({}), "/new_name"),
        ("clone", json!({"new_name": 7}), "/new_name"),
        ("start_on", json!({"host": "5bdf5f35-0b92-d5e5-d63b-7b91cb99cef4"}), "/host"),
    ] {
        let path = format!("{path}/actions/{action}");
        let problem = act(&lab, &path, &token, &body).await.problem(422, "WRONG_SHAPE");
        assert_eq!(problem["pointer"], pointer, "{problem}");
    }
    assert_eq!(lab.sim.seen("Async.VM.start") + lab.sim.seen("Async.VM.clone"), 0);
    lab.end().await;
}

#[tokio::test]
async fn a_template_becomes_a_running_vm_with_a_disk_and_is_destroyed_with_it() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let first = async |path: &str| {
        let list = lab.get(path, &token).await.ok();
        list["items"][0]["uuid"].as_str().expect("one").to_owned()
    };
    let template = first("/vm-templates").await;
    let srs = lab.get("/srs", &token).await.ok();
    let mut srs = srs["items"].as_array().expect("items").iter();
    let sr = srs.find(|sr| sr["content_type"] != "iso" && sr["type"] != "udev").expect("a disk SR");
    let sr = sr["uuid"].as_str().expect("a uuid").to_owned();
    let network = first("/networks").await;
    let body = json!({
        "template": template, "name_label": "web", "name_description": "made by a test",
        "sr": sr, "networks": [network], "disks": [{"sr": sr, "virtual_size": 1_u64 << 30, "name_label": "data"}],
        "start": true,
    });
    let made = act(&lab, "/vms", &token, &body).await;
    assert_eq!(made.status, 201, "{}", made.json());
    assert_eq!(made.header("preference-applied"), Some("wait=30"));
    let path = made.header("location").expect("where it is").to_owned();
    let vm = lab.get(&path, &token).await.ok();
    assert_eq!(made.json(), vm, "the VM is the answer");
    assert_eq!((&vm["name_label"], &vm["power_state"]), (&json!("web"), &json!("Running")));
    assert_eq!(vm["is_a_template"], false);
    let disks = lab.get(&format!("{path}/vbds"), &token).await.ok();
    let vdis: Vec<&str> = disks["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter_map(|vbd| vbd["VDI"].as_str())
        .collect();
    assert!(!vdis.is_empty(), "{disks}");
    let vifs = lab.get(&format!("{path}/vifs"), &token).await.ok();
    let networks = vifs["items"].as_array().expect("items").iter();
    assert!(networks.clone().any(|vif| vif["network"] == network), "{vifs}");

    let stop = format!("{path}/actions/hard_shutdown");
    act(&lab, &stop, &token, &json!({})).await.ok();
    let destroy = lab.gate.request(Method::DELETE, &format!("{path}?disks=delete"));
    let answer = lab.gate.send(destroy.bearer_auth(&token).header("Prefer", "wait=30")).await;
    assert_eq!(answer.status, 204, "{}", String::from_utf8_lossy(&answer.body));
    lab.get(&path, &token).await.problem(404, "NOT_FOUND");
    for vdi in vdis {
        lab.get(&format!("/vdis/{vdi}"), &token).await.problem(404, "NOT_FOUND");
    }
    lab.end().await;
}
