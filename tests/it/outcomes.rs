//! What a client may believe: whether a change was made, and whether it is safe to ask again.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use xengate::sim::{Failure, Fault, RawReply, Value as SimValue};

use crate::lab::{Answer, BACKEND, Lab};

async fn halted(lab: &Lab, token: &str) -> String {
    let list = lab.get("/vms?filter=power_state=Halted", token).await.ok();
    list["items"][0]["uuid"].as_str().expect("one").to_owned()
}

/// One change of each sort: the call that makes it, and the request.
fn changes(
    lab: &Lab,
    token: &str,
    vm: &str,
    network: &str,
) -> Vec<(&'static str, reqwest::RequestBuilder)> {
    let request = |method, path: &str| lab.gate.request(method, path).bearer_auth(token);
    vec![
        (
            "Async.VM.clone",
            request(Method::POST, &format!("/vms/{vm}/actions/clone"))
                .json(&json!({"new_name": "c"})),
        ),
        ("network.create", request(Method::POST, "/networks").json(&json!({"name_label": "n"}))),
        (
            "VM.set_name_label",
            request(Method::PATCH, &format!("/vms/{vm}")).json(&json!({"name_label": "x"})),
        ),
        ("network.destroy", request(Method::DELETE, &format!("/networks/{network}"))),
    ]
}

fn known(answer: &Answer, call: &str) {
    let problem = answer.problem(502, "OUTCOME_UNKNOWN");
    assert_eq!(problem["retryable"], false, "{call}: {problem}");
    assert_eq!(answer.header("retry-after"), None, "{call}");
    assert_eq!(problem["params"][0], call.trim_start_matches("Async."), "{problem}");
    if !call.ends_with(".create") {
        assert!(problem["object"]["uuid"].is_string(), "{problem}");
    }
}

#[tokio::test]
async fn an_outcome_that_is_not_known_is_never_said_to_be_retryable() {
    let page =
        |status: &str| RawReply::http(status, "text/html", "<html><body>gateway</body></html>");
    let json = |text: &str| RawReply::http("200 OK", "application/json", text);
    let large = RawReply {
        start: b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n[".to_vec(),
        endless: Vec::new(),
    };
    let faults = [
        Fault::Drop,
        Fault::Refuse,
        Fault::Cut(5),
        Fault::Cut(120),
        Fault::Hang,
        Fault::Late(Duration::from_secs(3)),
        Fault::Garble(page("504 Gateway Timeout")),
        Fault::Garble(page("503 Service Unavailable")),
        Fault::Garble(page("404 Not Found")),
        Fault::Garble(page("200 OK")),
        Fault::Garble(json(r#"{"jsonrpc":"2.0","result":tru"#)),
        Fault::Garble(json("")),
        Fault::Garble(RawReply { start: b"220 ready\r\n".to_vec(), endless: Vec::new() }),
        Fault::Garble(large),
    ];
    let lab = Lab::with(
        |_| {},
        |config, _| {
            let backend = config.backends.get_mut(BACKEND).expect("there");
            backend.call_timeout = Duration::from_secs(1);
        },
    )
    .await;
    let token = lab.login().await;
    let (vm, network) = (halted(&lab, &token).await, lab.sim.refs("network").remove(0));
    for fault in faults {
        let fields = [("name_label", SimValue::text("spare"))];
        let spare = lab.sim.create("network", &fields).expect("made");
        let uuid = lab.sim.field("network", &spare, "uuid").expect("one");
        let uuid = uuid.as_text().expect("text").to_string();
        lab.until(&format!("/networks/{uuid}"), &token, |answer| answer.status == 200).await;
        for (call, request) in changes(&lab, &token, &vm, &uuid) {
            let before = lab.sim.seen(call);
            lab.sim.fault(Some(call), fault.clone(), Some(1));
            known(&lab.gate.send(request).await, call);
            assert_eq!(lab.sim.seen(call), before + 1, "{fault:?}: it is not sent twice");
            lab.sim.clear_faults();
        }
    }
    let _ = network;
    lab.end().await;
}

#[tokio::test]
async fn a_result_that_makes_no_sense_is_no_proof_that_nothing_was_done() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    for result in ["7", "null", "[]", "\"\""] {
        let reply = format!("{{\"jsonrpc\":\"2.0\",\"result\":{result},\"id\":1}}");
        for (call, path) in [("network.create", "/networks"), ("Async.VM.clone", "")] {
            let reply = RawReply::http("200 OK", "application/json", reply.clone());
            lab.sim.fault(Some(call), Fault::Garble(reply), Some(1));
            let (path, body) = match path {
                "" => (
                    format!("/vms/{}/actions/clone", halted(&lab, &token).await),
                    json!({"new_name": "c"}),
                ),
                path => (path.to_owned(), json!({"name_label": "n"})),
            };
            known(&lab.gate.post(&path, Some(&token), &body).await, call);
        }
    }
    lab.end().await;
}

#[tokio::test]
async fn what_provably_was_not_sent_may_be_sent_again() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let vm = halted(&lab, &token).await;
    let network = lab.get("/networks", &token).await.ok()["items"][0]["uuid"].clone();
    lab.sim.stop_listening();
    lab.until("/vms", &token, |answer| answer.header("xen-stale").is_some()).await;
    for (call, request) in changes(&lab, &token, &vm, network.as_str().expect("one")) {
        let answer = lab.gate.send(request).await;
        let problem = answer.problem(503, "BACKEND_UNREACHABLE");
        assert_eq!(problem["retryable"], true, "{call}");
        assert!(answer.header("retry-after").is_some(), "{call}");
    }
    lab.sim.listen_again().expect("the same port");
    lab.end().await;
}

#[tokio::test]
async fn a_call_that_was_accepted_is_done_whatever_comes_of_later_questions() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let vm = halted(&lab, &token).await;
    let gone = || Fault::Fail(Failure::new("HANDLE_INVALID", ["task", "OpaqueRef:x"]));
    let denied = || Fault::Fail(Failure::new("INTERNAL_ERROR", ["no"]));
    // The mirror shows nothing, and the question about the task fails.
    for (fault, action) in [(Fault::Drop, "start"), (denied(), "hard_shutdown")] {
        lab.sim.hold("event.from");
        lab.sim.fault(Some("task.get_uuid"), fault, None);
        let answer =
            lab.gate.post(&format!("/vms/{vm}/actions/{action}"), Some(&token), &json!({})).await;
        assert_eq!(answer.status, 202, "{}", answer.json());
        lab.sim.clear_faults();
        let task = answer.header("location").expect("where").to_owned();
        let shown = lab.get(&format!("{task}?wait=30"), &token).await.ok();
        assert_eq!(shown["status"], "success", "{shown}");
        assert_eq!(task, format!("/tasks/{}", shown["uuid"].as_str().expect("one")));
    }
    // It has been forgotten by then: how it ended is not known, but begun it was.
    lab.sim.hold("event.from");
    lab.sim.fault(Some("task.get_uuid"), gone(), None);
    let answer = lab.gate.post(&format!("/vms/{vm}/actions/start"), Some(&token), &json!({})).await;
    assert_eq!(answer.status, 202, "{}", answer.json());
    lab.sim.clear_faults();
    let task = lab.get(answer.header("location").expect("where"), &token).await.ok();
    assert_eq!(task["error"]["code"], "OUTCOME_UNKNOWN", "{task}");
    // A new object is made, and nobody can say which it is.
    lab.sim.hold("event.from");
    lab.sim.fault(Some("network.get_uuid"), denied(), None);
    let body = json!({"name_label": "made"});
    let answer = lab.gate.post("/networks", Some(&token), &body).await;
    assert!(answer.status.is_success(), "{}", answer.text());
    assert_eq!(answer.header("xen-revision-pending"), Some("true"));
    lab.sim.clear_faults();
    assert!(lab.sim.find("network", "made").is_some());
    lab.end().await;
}

#[tokio::test]
async fn a_failed_task_without_a_reason_is_a_failed_task() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let vm = halted(&lab, &token).await;
    let fields = [
        ("name_label", SimValue::text("Async.VM.start")),
        ("status", SimValue::text("failure")),
        ("error_info", SimValue::texts::<&str>([])),
    ];
    let task = lab.sim.create("task", &fields).expect("a task");
    let reply = json!({"jsonrpc": "2.0", "result": &*task, "id": 1}).to_string();
    let reply = RawReply::http("200 OK", "application/json", reply);
    lab.sim.fault(Some("Async.VM.start"), Fault::Reply(reply), Some(1));
    let request = lab.gate.request(Method::POST, &format!("/vms/{vm}/actions/start"));
    let answer = lab.gate.send(request.bearer_auth(&token).header("Prefer", "wait=30")).await;
    let problem = answer.problem(502, "TASK_FAILED");
    assert_eq!(problem["retryable"], false);
    assert_eq!(problem["task"]["status"], json!("failure"));
    assert_eq!(problem["task"]["error"]["code"], json!("TASK_FAILED"), "{problem}");
    lab.end().await;
}

/// What is read keeps its word: to read again harms nobody.
#[tokio::test]
async fn a_failed_read_is_retryable() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let page = RawReply::http("502 Bad Gateway", "text/html", "<html>no</html>");
    lab.sim.fault(Some("role.get_all_records"), Fault::Reply(page.clone()), Some(1));
    let problem: Value = lab.get("/roles", &token).await.problem(502, "BAD_REPLY");
    assert_eq!(problem["retryable"], true);
    let vm = halted(&lab, &token).await;
    lab.sim.fault(Some("VM.get_allowed_VBD_devices"), Fault::Reply(page), Some(1));
    let path = format!("/vms/{vm}/actions/get_allowed_VBD_devices");
    let problem = lab.gate.post(&path, Some(&token), &json!({})).await.problem(502, "BAD_REPLY");
    assert_eq!(problem["retryable"], true);
    lab.end().await;
}
