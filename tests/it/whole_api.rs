//! The corners of the Xen-API: classes that have nothing but calls, roles, constructors that may
//! take long, failures that nobody has heard of, what a version lacks.

use reqwest::Method;
use serde_json::{Value as Json, json};
use xengate::config::BackendConfig;
use xengate::http::problem::status_of_failure;
use xengate::sim::{Failure, Fault, Value};

use crate::lab::{Answer, Lab};

/// Makes a request with a body, waiting for what comes of it.
async fn act(lab: &Lab, method: Method, path: &str, token: &str, body: &Json) -> Answer {
    let request = lab.gate.request(method, path).bearer_auth(token).json(body);
    lab.gate.send(request.header("Prefer", "wait=30")).await
}

async fn first(lab: &Lab, path: &str, token: &str) -> String {
    let list = lab.get(path, token).await.ok();
    list["items"][0]["uuid"].as_str().unwrap_or_else(|| panic!("{path}: {list}")).to_owned()
}

#[tokio::test]
async fn classes_without_objects_have_their_calls() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let name = json!({"subject_name": "vm-admin"});
    let path = "/auth/actions/get_subject_identifier";
    let result = lab.gate.post(path, Some(&token), &name).await.ok();
    assert!(result["result"].is_string(), "{result}");
    let missing = lab.gate.post(path, Some(&token), &json!({})).await;
    assert_eq!(missing.problem(422, "WRONG_SHAPE")["pointer"], "/subject_name");
    let path = "/auth/actions/get_group_membership";
    let result = lab.gate.post(path, Some(&token), &json!({"subject_identifier": "S-1"})).await;
    assert!(result.ok()["result"].is_array());

    let stats = act(&lab, Method::POST, "/diagnostics/actions/db_stats", &token, &json!({})).await;
    assert!(stats.ok()["result"].is_object());
    let host = first(&lab, "/hosts", &token).await;
    let path = "/diagnostics/actions/gc_compact";
    let task = act(&lab, Method::POST, path, &token, &json!({"host": host})).await.ok();
    assert_eq!(task["status"], "success", "{task}");
    for path in ["/auth", "/diagnostics", "/auth/actions/nonsense"] {
        lab.get(path, &token).await.problem(if path.len() > 15 { 405 } else { 404 }, {
            if path.len() > 15 { "METHOD_NOT_ALLOWED" } else { "NOT_FOUND" }
        });
    }
    lab.end().await;
}

#[tokio::test]
async fn subjects_show_their_roles() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let (mut roles, mut path) = (Vec::new(), "/roles?limit=1000".to_owned());
    loop {
        let page = lab.get(&path, &token).await.ok();
        roles.extend(page["items"].as_array().expect("items").iter().cloned());
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/roles?limit=1000&cursor={next}");
    }
    let role = |name: &str| {
        let role = roles.iter().find(|role| role["name_label"] == name).expect("a role");
        role["uuid"].as_str().expect("a uuid").to_owned()
    };
    let subjects = lab.get("/subjects", &token).await.ok();
    let subjects = subjects["items"].as_array().expect("items");
    let subject = subjects
        .iter()
        .find(|subject| subject["other_config"]["subject-name"] == "vm-admin")
        .expect("a subject");
    assert_eq!(subject["roles"], json!([role("vm-admin")]));
    // Asked for once each, however many subjects have them.
    let asked = lab.sim.seen("role.get_uuid");
    assert!(asked > 0 && asked <= subjects.len() as u64, "{asked}");

    let path = format!("/subjects/{}", subject["uuid"].as_str().expect("a uuid"));
    let one = format!("{path}/actions/add_to_roles");
    let body = json!({"role": role("pool-operator")});
    assert_eq!(act(&lab, Method::POST, &one, &token, &body).await.status, 204);
    let both = lab.get(&path, &token).await.ok()["roles"].clone();
    let both: Vec<&str> = both.as_array().expect("roles").iter().filter_map(Json::as_str).collect();
    assert!(both.contains(&&*role("pool-operator")) && both.contains(&&*role("vm-admin")));
    assert_eq!(lab.sim.seen("role.get_uuid"), asked, "it was known from another subject");
    // A role that no subject had before is asked for when one gets it.
    let rare = role("vm.start");
    let body = json!({"role": rare});
    assert_eq!(act(&lab, Method::POST, &one, &token, &body).await.status, 204);
    let now = lab.get(&path, &token).await.ok()["roles"].clone();
    assert!(now.as_array().expect("roles").contains(&json!(rare)), "{now}");
    assert_eq!(lab.sim.seen("role.get_uuid"), asked + 1);
    lab.end().await;
}

#[tokio::test]
async fn what_may_take_long_to_make_is_a_task_and_a_201_for_who_waits() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let host = first(&lab, "/hosts", &token).await;
    let sms = lab.get("/sms", &token).await.ok();
    let kind = sms["items"][0]["type"].as_str().expect("a type").to_owned();
    let body = json!({"host": host, "name_label": "slow", "type": kind, "device_config": {}});
    let answer = lab.gate.post("/srs", Some(&token), &body).await;
    assert_eq!(answer.status, 202, "{}", answer.json());
    let task = answer.header("location").expect("where").to_owned();
    let done = lab.get(&format!("{task}?wait=30"), &token).await.ok();
    assert_eq!(done["status"], "success", "{done}");
    let path = format!("/srs/{}", done["result"].as_str().expect("the SR"));
    assert_eq!(lab.get(&path, &token).await.ok()["name_label"], "slow");

    let answer = act(&lab, Method::POST, "/srs", &token, &body).await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    let sr = answer.json();
    let path = format!("/srs/{}", sr["uuid"].as_str().expect("a uuid"));
    assert_eq!(answer.header("location"), Some(&*path));
    assert_eq!(answer.header("preference-applied"), Some("wait=30"));
    assert_eq!(lab.get(&path, &token).await.ok(), sr);
    let unknown = json!({"host": host, "name_label": "x", "type": "cassette", "device_config": {}});
    let problem = act(&lab, Method::POST, "/srs", &token, &unknown).await;
    let problem = problem.problem(422, "SR_UNKNOWN_DRIVER");
    assert_eq!(problem["task"]["status"], "failure", "{problem}");

    // What the Xen-API derives is quick.
    let network = json!({"name_label": "quick"});
    let answer = lab.gate.post("/networks", Some(&token), &network).await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    let path = answer.header("location").expect("where").to_owned();
    let delete = lab.gate.request(Method::DELETE, &path).bearer_auth(&token);
    assert_eq!(lab.gate.send(delete).await.status, 204);
    lab.end().await;
}

#[tokio::test]
async fn something_in_the_body_that_went_meanwhile_is_no_404() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let host = first(&lab, "/hosts", &token).await;
    let reference = lab.sim.find("host", &host).expect("a host");
    let kind = lab.get("/sms", &token).await.ok()["items"][0]["type"].clone();
    let body = json!({"host": host, "name_label": "x", "type": kind, "device_config": {}});
    let gone = Failure::new("HANDLE_INVALID", ["host", &*reference]);
    lab.sim.fault(Some("SR.create"), Fault::Fail(gone), Some(1));
    let problem = act(&lab, Method::POST, "/srs", &token, &body).await;
    let problem = problem.problem(422, "HANDLE_INVALID");
    assert_eq!(problem["pointer"], "/host", "{problem}");
    assert_eq!(problem["task"]["error"]["pointer"], "/host", "{problem}");
    // By the time the task has failed nobody knows the ref any more.
    let other = lab.sim.create("network", &[("name_label", Value::text("short"))]);
    let other = other.expect("a network");
    let uuid = lab.sim.field("network", &other, "uuid").expect("a uuid");
    let uuid = uuid.as_text().expect("text").to_string();
    lab.until(&format!("/networks/{uuid}"), &token, |answer| answer.status == 200).await;
    let pif = first(&lab, "/pifs", &token).await;
    lab.sim.hold_tasks("VLAN.create");
    let body = json!({"tagged_PIF": pif, "tag": 77, "network": uuid});
    let answer = lab.gate.post("/vlans", Some(&token), &body).await;
    assert_eq!(answer.status, 202, "{}", answer.json());
    let task = answer.header("location").expect("where").to_owned();
    lab.sim.destroy("network", &other).expect("it was there");
    lab.until(&format!("/networks/{uuid}"), &token, |answer| answer.status == 404).await;
    let gone = Failure::new("HANDLE_INVALID", ["network", &*other]);
    lab.sim.fault(Some("VLAN.create"), Fault::Fail(gone), Some(1));
    lab.sim.release_tasks("VLAN.create");
    let task = lab.get(&format!("{task}?wait=30"), &token).await.ok();
    assert_eq!(
        (&task["error"]["status"], &task["error"]["pointer"]),
        (&json!(422), &json!("/network"))
    );
    lab.end().await;
}

#[tokio::test]
async fn a_failure_that_nobody_has_heard_of_is_no_fault_of_the_gateway() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let vms = lab.get("/vms", &token).await.ok();
    let mut vms = vms["items"].as_array().expect("items").iter();
    let vm = vms.find(|vm| vm["power_state"] == "Halted").expect("a halted VM");
    let path = format!("/vms/{}", vm["uuid"].as_str().expect("a uuid"));
    for (code, status) in [
        ("SR_BACKEND_FAILURE_460", 502),
        ("SR_BACKEND_FAILURE_46", 409),
        ("VM_IS_SNAPSHOT", 409),
        ("VDI_IS_SHARABLE", 409),
        ("REVERT_ONLY_ALLOWED_ON_SNAPSHOT", 409),
        ("MARS_NOT_IN_OPPOSITION", 502),
    ] {
        assert_eq!(status_of_failure(code).as_u16(), status);
        // At once, in the end, and below a change of a field.
        for (call, method, path, body) in [
            ("VM.assert_agile", Method::POST, format!("{path}/actions/assert_agile"), json!({})),
            ("VM.start", Method::POST, format!("{path}/actions/start"), json!({})),
            ("VM.set_name_label", Method::PATCH, path.clone(), json!({"name_label": code})),
        ] {
            let failure = Failure::new(code, ["what", "OpaqueRef:it", "is"]);
            lab.sim.fault(Some(call), Fault::Fail(failure), Some(1));
            let problem = act(&lab, method, &path, &token, &body).await.problem(status, code);
            assert_eq!(problem["params"][0], "what", "{call}: {problem}");
            lab.sim.clear_faults();
        }
    }
    lab.end().await;
}

#[tokio::test]
async fn a_backend_that_nobody_has_met_is_of_a_kind_the_document_knows() {
    let lab = Lab::with(
        |_| {},
        |config, _| {
            // Nobody listens on this port.
            let gone = BackendConfig::new(vec!["http://127.0.0.1:1".to_owned()]);
            config.backends.insert("gone".to_owned(), gone);
            config.auth.default_backends = vec![crate::lab::BACKEND.to_owned()];
        },
    )
    .await;
    let token = lab.login().await;
    let list = lab.get("/backends", &token).await.ok();
    let kinds: Vec<&Json> =
        list["items"].as_array().expect("a list").iter().map(|item| &item["kind"]).collect();
    assert_eq!(kinds, [&json!("auto"), &json!("xapi")], "{list}");
    let document = lab.get("/openapi.json", "").await.ok();
    let known = document["components"]["schemas"]["BackendKind"]["x-extensible-enum"].clone();
    let known = known.as_array().expect("the kinds");
    assert!(kinds.iter().all(|kind| known.contains(kind)), "{known:?}");
    lab.end().await;
}

#[tokio::test]
async fn a_backend_says_what_it_can_do_and_what_it_lacks() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let vm = first(&lab, "/vms", &token).await;
    let backend = lab.get("/backends", &token).await.ok()["items"][0].clone();
    assert_eq!(backend["capabilities"], json!(["events", "tasks", "roles"]));
    assert_eq!((&backend["kind"], &backend["logged_in"]), (&json!("xapi"), &json!(true)));
    for member in ["product", "version", "api_version", "pool"] {
        assert!(backend[member].is_string(), "{member}: {backend}");
    }
    let lacks = |backend: &Json, member: &str, name: &str| {
        let list = backend["lacks"][member].as_array().expect("a list");
        list.contains(&json!(name))
    };
    assert!(!lacks(&backend, "calls", "VM.restart_device_models"));
    // An old pool.
    let pool = lab.sim.refs("pool").remove(0);
    let master = lab.sim.field("pool", &pool, "master").expect("a field");
    let master = master.as_text().expect("a ref").clone();
    let old = Value::pairs([("product_version", "7.0"), ("xapi", "1.9")]);
    lab.sim.set_field("host", &master, "software_version", old).expect("it is there");
    lab.sim.set_field("host", &master, "API_version_minor", Value::Int(5)).expect("it is there");
    let old = lab
        .until("/backends", &token, |answer| answer.ok()["items"][0]["api_version"] == "2.5")
        .await;
    let old = old.ok()["items"][0].clone();
    assert!(lacks(&old, "calls", "VM.restart_device_models"), "{old}");
    assert!(lacks(&old, "classes", "Cluster") && lacks(&old, "fields", "tunnel.protocol"), "{old}");
    // What it sends all the same is there.
    assert!(!lacks(&old, "fields", "VM.NVRAM"), "{old}");
    let path = format!("/vms/{vm}/actions/restart_device_models");
    lab.gate.post(&path, Some(&token), &json!({})).await.problem(501, "NOT_SUPPORTED");
    lab.end().await;
}
