//! Actions on xend: what is sent, what is not, and what xend's loose failures become.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use xengate::config::Kind;

use super::server::{Server, bare, changed, recorded, success};
use super::{USER, USERS_PASSWORD, gate};
use crate::lab::{Answer, Gate};

const HALTED: &str = "65669c3b-0187-80a6-70af-bb3d7e7a3969";
const TRANSIENT: &str = "87007173-4e66-c8ae-7ea5-6034004799e1";
const RUNNING: &str = "391444e4-90ec-7546-c9d3-03ab171de20a";
const PAUSED: &str = "4d558b94-983e-053e-128d-1213a24aca7e";
const CRASHED: &str = "0afbcea0-44e9-f523-c6d7-a8b371ecf861";
const WEB01: &str = "02e009d1-f691-2bde-f9b4-82605834ac6e";
const DOM0: &str = "00000000-0000-0000-0000-000000000000";

async fn act(gate: &Gate, token: &str, vm: &str, action: &str, body: Value) -> Answer {
    let path = format!("/vms/{vm}/actions/{action}");
    let request = gate.request(Method::POST, &path).bearer_auth(token).json(&body);
    gate.send(request.header("prefer", "wait=20")).await
}

async fn patch(gate: &Gate, token: &str, vm: &str, body: Value) -> Answer {
    let request = gate.request(Method::PATCH, &format!("/vms/{vm}")).bearer_auth(token);
    gate.send(request.json(&body)).await
}

#[tokio::test]
async fn every_recorded_failure_of_an_action_is_a_proper_problem() {
    let server = Server::xen_api().await;
    let gate = gate(&server.url, Kind::Xend, |_| {}).await;
    let token = gate.login(USER, USERS_PASSWORD).await;
    gate.get("/vms", &token).await.ok();
    server.says("VM.get_power_state", success("Halted"));
    for (vm, action, recording, status, code) in [
        (HALTED, "pause", "079-api-VM-pause-halted", 409, "VM_BAD_POWER_STATE"),
        (HALTED, "clean_shutdown", "088-api-VM-clean_shutdown-halted", 409, "VM_BAD_POWER_STATE"),
        (DOM0, "clean_shutdown", "089-api-VM-clean_shutdown-dom0", 409, "OPERATION_NOT_ALLOWED"),
        (DOM0, "pause", "090-api-VM-pause-dom0", 409, "OPERATION_NOT_ALLOWED"),
        (HALTED, "hard_reboot", "098-api-VM-hard_reboot-halted", 409, "VM_BAD_POWER_STATE"),
        (TRANSIENT, "suspend", "512-VM-suspend-transient", 409, "OPERATION_NOT_ALLOWED"),
        (CRASHED, "start", "521-VM-start-crashed", 409, "VM_BAD_POWER_STATE"),
        (RUNNING, "pause", "154-api-event-trigger-pause", 404, "HANDLE_INVALID"),
    ] {
        server.says(&format!("VM.{action}"), recorded(recording));
        let problem = act(&gate, &token, vm, action, json!({})).await.problem(status, code);
        assert_eq!(problem["task"]["status"], "failure", "{recording}");
        if code == "VM_BAD_POWER_STATE" {
            assert_eq!(problem["params"][0], vm, "{problem}");
            assert!(problem["params"][2].as_str().is_some_and(|state| !state.is_empty()));
        }
    }
    let count = json!({"nvcpu": 9});
    let recording = "114-api-VM-set_VCPUs_number_live-toomany";
    server.says("VM.set_VCPUs_number_live", recorded(recording));
    let answer = act(&gate, &token, RUNNING, "set_VCPUs_number_live", count).await;
    answer.problem(404, "HANDLE_INVALID");
    for (call, body, recording, status, code) in [
        (
            "VM.set_name_label",
            json!({"name_label": "Domain-0"}),
            "108-api-VM-set_name_label-dup",
            409,
            "OPERATION_NOT_ALLOWED",
        ),
        (
            "VM.set_name_label",
            json!({"name_label": "has space"}),
            "109-api-VM-set_name_label-bad",
            422,
            "INVALID_VALUE",
        ),
        (
            "VM.add_to_other_config",
            json!({"other_config": {"u": "h\u{e9}"}}),
            "117-api-VM-add_to_other_config-unicode",
            502,
            "INTERNAL_ERROR",
        ),
    ] {
        server.says(call, recorded(recording));
        patch(&gate, &token, PAUSED, body).await.problem(status, code);
    }
    server.says("VM.set_memory_static_max", recorded("115-api-VM-set_memory_static_max-bad"));
    server.says("VM.get_record", recorded("012-api-VM-get_record-web01"));
    let answer = patch(&gate, &token, WEB01, json!({"memory_static_max": 1 << 30})).await;
    answer.problem(422, "MEMORY_CONSTRAINT_VIOLATION");
    gate.end(&[]).await;
}

#[tokio::test]
async fn what_the_dialect_lacks_is_501_and_nothing_is_sent() {
    for (server, kind) in
        [(Server::xen_api().await, Kind::Xend), (Server::legacy().await, Kind::Legacy)]
    {
        let gate = gate(&server.url, kind, |_| {}).await;
        let token = gate.login(USER, USERS_PASSWORD).await;
        gate.get("/vms", &token).await.ok();
        let snapshot = json!({"new_name": "s"});
        act(&gate, &token, WEB01, "snapshot", snapshot).await.problem(501, "NOT_SUPPORTED");
        let patched = patch(&gate, &token, WEB01, json!({"name_description": "x"})).await;
        patched.problem(501, "NOT_SUPPORTED");
        for call in ["VM.snapshot", "Async.VM.snapshot", "VM.set_name_description"] {
            assert_eq!(server.count(call), 0, "{call}");
        }
        gate.end(&[]).await;
    }
}

#[tokio::test]
async fn a_method_that_a_client_names_is_never_sent() {
    for (server, kind) in
        [(Server::xen_api().await, Kind::Xend), (Server::legacy().await, Kind::Legacy)]
    {
        let gate = gate(&server.url, kind, |_| {}).await;
        let token = gate.login(USER, USERS_PASSWORD).await;
        gate.get("/vms", &token).await.ok();
        for action in [
            "xend.domain.destroy",
            "xend.domain.pause",
            "domain.destroy",
            "event.register",
            "..%2F..%2Fxend.domain.destroy",
            "VM.start",
            "start%0a",
        ] {
            let answer = act(&gate, &token, WEB01, action, json!({})).await;
            assert!(matches!(answer.status.as_u16(), 400 | 404), "{action}: {}", answer.status);
        }
        let path = "/vms/actions/xend.domain.destroy";
        assert_eq!(gate.post(path, Some(&token), &json!({})).await.status, 404);
        let known = |call: &String| xengate::datamodel::datamodel().call(call).is_some();
        let fixed = ["xend.domains_with_state", "xend.node.info"];
        for call in server.asked() {
            assert!(known(&call) || fixed.contains(&call.as_str()), "{call} was sent");
        }
        gate.end(&[]).await;
    }
}

#[tokio::test]
async fn start_has_the_parameters_that_xend_takes() {
    let server = Server::xen_api().await;
    let gate = gate(&server.url, Kind::Xend, |_| {}).await;
    let token = gate.login(USER, USERS_PASSWORD).await;
    gate.get("/vms", &token).await.ok();
    server.says("VM.start", success(""));
    server.says("VM.get_record", changed("012-api-VM-get_record-web01", "Running", "Paused"));
    let started = act(&gate, &token, WEB01, "start", json!({"start_paused": true, "force": true}));
    let task = started.await.ok();
    assert_eq!(
        (&task["status"], &task["name_label"]),
        (&json!("success"), &json!("Async.VM.start"))
    );
    let sent = server.last("VM.start").expect("it was sent");
    assert_eq!(sent.matches("<param>").count(), 3, "session, VM, paused: {sent}");
    // Only this VM was read again, and it shows at once.
    let vm = gate.get(&format!("/vms/{WEB01}"), &token).await.ok();
    assert_eq!(vm["power_state"], "Paused");
    assert!(server.asked().iter().all(|call| !call.starts_with("Async.")));
    gate.end(&[]).await;
}

#[tokio::test]
async fn a_shutdown_ends_when_the_guest_has_ended() {
    let server = Server::xen_api().await;
    server.says("VM.get_all_records", recorded("515-VM-preserved-record"));
    let gate = gate(&server.url, Kind::Xend, |_| {}).await;
    let token = gate.login(USER, USERS_PASSWORD).await;
    gate.get("/vms", &token).await.ok();
    let running = changed(
        "012-api-VM-get_record-web01",
        "<string>1</string></value>\n</member>\n<member>\n<name>name_description",
        "<string>16</string></value>\n</member>\n<member>\n<name>name_description",
    );
    server.says("VM.get_record", running);
    server.says("VM.clean_shutdown", recorded("084-api-VM-clean_shutdown"));
    let answer = act(&gate, &token, WEB01, "clean_shutdown", json!({}));
    let ends = async {
        while server.count("VM.get_record") < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        server.says("VM.get_record", changed("012-api-VM-get_record-web01", "Running", "Halted"));
    };
    let (answer, ()) = tokio::join!(answer, ends);
    assert_eq!(answer.ok()["status"], "success");
    assert_eq!(gate.get(&format!("/vms/{WEB01}"), &token).await.ok()["power_state"], "Halted");
    assert_eq!(server.count("VM.clean_shutdown"), 1);
    gate.end(&[]).await;
}

#[tokio::test]
async fn a_users_text_is_sent_as_it_is() {
    let server = Server::xen_api().await;
    let gate = gate(&server.url, Kind::Xend, |_| {}).await;
    let token = gate.login(USER, USERS_PASSWORD).await;
    gate.get("/vms", &token).await.ok();
    for call in ["VM.set_name_label", "VM.set_PV_args"] {
        server.says(call, success(""));
    }
    // However much it looks like a ref. What was written is looked at.
    for (text, shown, status) in
        [("VBD_metrics/foo", "VBD_metrics/foo", 200), ("OpaqueRef:NULL", "web01", 502)]
    {
        let members = [("uuid", WEB01), ("name_label", shown), ("PV_args", shown)];
        let member = |(name, value): (&str, &str)| {
            format!("<member><name>{name}</name><value><string>{value}</string></value></member>")
        };
        let record: String = members.map(member).concat();
        server.says("VM.get_record", success(&format!("<struct>{record}</struct>")));
        for (field, call) in [("name_label", "VM.set_name_label"), ("PV_args", "VM.set_PV_args")] {
            let answer = patch(&gate, &token, WEB01, json!({(field): text})).await;
            assert_eq!(answer.status, status, "{text}");
            let sent = server.last(call).expect("it was sent");
            assert!(sent.contains(&format!("<string>{text}</string>")), "{sent}");
        }
    }
    gate.end(&[]).await;
}

#[tokio::test]
async fn a_guest_that_does_not_end_is_told_of() {
    let server = Server::xen_api().await;
    let short = |config: &mut xengate::config::BackendConfig| {
        config.guest_timeout = Duration::from_millis(300);
    };
    let gate = gate(&server.url, Kind::Xend, short).await;
    let token = gate.login(USER, USERS_PASSWORD).await;
    gate.get("/vms", &token).await.ok();
    server.says("VM.clean_shutdown", recorded("084-api-VM-clean_shutdown"));
    server.says_if("VM.get_record", TRANSIENT, recorded("038-api-unknown-method"));
    let answer = act(&gate, &token, TRANSIENT, "clean_shutdown", json!({})).await;
    let problem = answer.problem(504, "VM_SHUTDOWN_TIMEOUT");
    assert_eq!(problem["params"], json!([TRANSIENT, "0.3"]));
    gate.end(&[]).await;
}

#[tokio::test]
async fn a_running_vm_is_not_destroyed() {
    let server = Server::xen_api().await;
    let gate = gate(&server.url, Kind::Xend, |_| {}).await;
    let token = gate.login(USER, USERS_PASSWORD).await;
    gate.get("/vms", &token).await.ok();
    server.says("VM.get_power_state", success("Running"));
    server.says("VM.destroy", recorded("106-api-VM-destroy-running"));
    let destroy = || {
        let request = gate.request(Method::DELETE, &format!("/vms/{RUNNING}")).bearer_auth(&token);
        gate.send(request.header("prefer", "wait=20"))
    };
    destroy().await.problem(409, "VM_BAD_POWER_STATE");
    assert_eq!(server.count("VM.destroy"), 0);
    server.says("VM.get_power_state", success("Halted"));
    server.says("VM.get_record", recorded("023-api-VM-get_record-bad"));
    assert_eq!(destroy().await.status, 204);
    gate.get(&format!("/vms/{RUNNING}"), &token).await.problem(404, "NOT_FOUND");
    gate.end(&[]).await;
}

#[tokio::test]
async fn memory_is_set_one_amount_after_the_other() {
    let server = Server::xen_api().await;
    let gate = gate(&server.url, Kind::Xend, |_| {}).await;
    let token = gate.login(USER, USERS_PASSWORD).await;
    gate.get("/vms", &token).await.ok();
    server.says("VM.get_record", recorded("012-api-VM-get_record-web01"));
    for call in ["static_max", "dynamic_max_live", "dynamic_min_live"] {
        server.says(&format!("VM.set_memory_{call}"), success(""));
    }
    let answer = act(&gate, &token, WEB01, "set_memory", json!({"value": 1 << 30}));
    let shows = async {
        while server.count("VM.set_memory_dynamic_min_live") == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let record = changed("012-api-VM-get_record-web01", "536870912", "1073741824");
        server.says("VM.get_record", record);
    };
    let (answer, ()) = tokio::join!(answer, shows);
    assert_eq!(answer.ok()["status"], "success");
    let set: Vec<String> =
        server.asked().into_iter().filter(|call| call.starts_with("VM.set_memory")).collect();
    let want = [
        "VM.set_memory_static_max",
        "VM.set_memory_dynamic_max_live",
        "VM.set_memory_dynamic_min_live",
    ];
    assert_eq!(set, want);
    let sent = server.last("VM.set_memory_static_max").expect("it was sent");
    assert!(sent.contains("<string>1073741824</string>"), "ints are strings: {sent}");
    gate.end(&[]).await;
}

#[tokio::test]
async fn the_legacy_dialect_acts_by_its_own_methods_and_fails_properly() {
    let server = Server::legacy().await;
    let gate = gate(&server.url, Kind::Legacy, |_| {}).await;
    let token = gate.login(USER, USERS_PASSWORD).await;
    gate.get("/vms", &token).await.ok();
    let web01 = || changed("171-leg-domain-name-0", "cpu_weight", "cpu_weight");
    server.says("xend.domain", web01());
    let nil = || bare("<nil/>");
    server.says("xend.domain.pause", recorded("197-leg-domain-pause"));
    assert_eq!(act(&gate, &token, WEB01, "pause", json!({})).await.ok()["status"], "success");
    let sent = server.last("xend.domain.pause").expect("it was sent");
    assert!(sent.contains(WEB01) && sent.matches("<param>").count() == 1, "{sent}");

    server.says("xend.domain.setVCpuCount", nil());
    let answer = act(&gate, &token, WEB01, "set_VCPUs_number_live", json!({"nvcpu": 2})).await;
    assert_eq!(answer.ok()["status"], "success");
    let answer = act(&gate, &token, WEB01, "set_VCPUs_number_live", json!({"nvcpu": 1})).await;
    answer.problem(502, "WRITE_NOT_TAKEN");
    server.says("xend.domain.setMemoryTarget", recorded("216-leg-domain-setMemoryTarget-too-big"));
    let target = json!({"target": 999_999_i64 << 20});
    let answer = act(&gate, &token, WEB01, "set_memory_target_live", target).await;
    answer.problem(422, "MEMORY_CONSTRAINT_VIOLATION");
    let sent = server.last("xend.domain.setMemoryTarget").expect("it was sent");
    assert!(sent.contains("999999<"), "in MiB: {sent}");

    for (action, method, recording, status, code) in [
        ("pause", "xend.domain.pause", "202-leg-domain-pause-dom0", 409, "OPERATION_NOT_ALLOWED"),
        (
            "clean_shutdown",
            "xend.domain.shutdown",
            "207-leg-domain-shutdown-halted",
            409,
            "VM_BAD_POWER_STATE",
        ),
        (
            "hard_shutdown",
            "xend.domain.destroy",
            "210-leg-domain-destroy-dom0",
            409,
            "OPERATION_NOT_ALLOWED",
        ),
        ("pause", "xend.domain.pause", "201-leg-domain-pause-unknown", 404, "HANDLE_INVALID"),
    ] {
        server.says(method, recorded(recording));
        act(&gate, &token, WEB01, action, json!({})).await.problem(status, code);
    }
    // A wrong state is known before anything is sent.
    let before = server.count("xend.domain.start");
    act(&gate, &token, WEB01, "start", json!({})).await.problem(409, "VM_BAD_POWER_STATE");
    assert_eq!(server.count("xend.domain.start"), before);
    // xend takes names before uuids: another domain with this one's uuid for its name is not it.
    server.says("xend.domain", changed("171-leg-domain-name-0", WEB01, HALTED));
    act(&gate, &token, WEB01, "pause", json!({})).await.problem(409, "OPERATION_NOT_ALLOWED");
    // And gone is gone.
    server.says("xend.domain", recorded("201-leg-domain-pause-unknown"));
    act(&gate, &token, WEB01, "pause", json!({})).await.problem(404, "HANDLE_INVALID");
    gate.get(&format!("/vms/{WEB01}"), &token).await.problem(404, "NOT_FOUND");
    gate.end(&[]).await;
}
