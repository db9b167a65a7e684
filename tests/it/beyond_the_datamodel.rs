//! What a real XAPI does and its datamodel does not say: calls that never work, fields that were
//! removed and are sent, refs of what no event tells of, texts that its database does not take,
//! changes that it takes and ignores.

use reqwest::Method;
use serde_json::{Value as Json, json};
use xengate::sim::{PASSWORD, User, Value};

use crate::lab::{Answer, Lab};

async fn act(lab: &Lab, method: Method, path: &str, token: &str, body: &Json) -> Answer {
    let request = lab.gate.request(method, path).bearer_auth(token).json(body);
    lab.gate.send(request.header("Prefer", "wait=30")).await
}

async fn all(lab: &Lab, path: &str, token: &str) -> Vec<Json> {
    let list = lab.get(&format!("{path}?limit=10000"), token).await.ok();
    list["items"].as_array().expect("items").clone()
}

async fn first(lab: &Lab, path: &str, token: &str) -> String {
    let items = all(lab, path, token).await;
    items.first().unwrap_or_else(|| panic!("{path} is empty"))["uuid"]
        .as_str()
        .expect("a uuid")
        .to_owned()
}

async fn lacks(lab: &Lab, token: &str) -> Json {
    lab.get("/backends", token).await.ok()["items"][0]["lacks"].clone()
}

fn names(lacks: &Json, member: &str) -> Vec<String> {
    let names = lacks[member].as_array().expect("a list").iter();
    names.map(|name| name.as_str().expect("a name").to_owned()).collect()
}

#[tokio::test]
async fn calls_that_no_pool_carries_out_are_not_sent() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let vm = format!("/vms/{}", first(&lab, "/vms", &token).await);
    let host = format!("/hosts/{}", first(&lab, "/hosts", &token).await);
    let pool = format!("/pools/{}", first(&lab, "/pools", &token).await);
    let key = json!({"key": "b"});
    let cases = [
        ("host.list_methods", "/hosts/actions/list_methods".to_owned(), json!({})),
        ("host.get_log", format!("{host}/actions/get_log"), json!({})),
        ("host.dmesg_clear", format!("{host}/actions/dmesg_clear"), json!({})),
        (
            "pool.test_archive_target",
            format!("{pool}/actions/test_archive_target"),
            json!({"config": {}}),
        ),
        ("VM.send_sysrq", format!("{vm}/actions/send_sysrq"), key.clone()),
        ("VM.send_trigger", format!("{vm}/actions/send_trigger"), json!({"trigger": "reset"})),
        ("VM.query_services", format!("{vm}/actions/query_services"), json!({})),
        ("console.create", "/consoles".to_owned(), json!({"other_config": {}})),
    ];
    let named = names(&lacks(&lab, &token).await, "calls");
    for (call, path, body) in cases {
        let answer = act(&lab, Method::POST, &path, &token, &body).await;
        let problem = answer.problem(501, "NOT_SUPPORTED");
        assert!(problem["detail"].as_str().is_some_and(|text| text.contains(call)), "{problem}");
        assert_eq!(problem["retryable"], false);
        assert_eq!(lab.sim.seen(call) + lab.sim.seen(&format!("Async.{call}")), 0, "{call}");
        assert!(call.starts_with("console.") || named.contains(&call.to_owned()), "{named:?}");
    }
    // Removed once, and published again.
    assert!(!named.contains(&"VDI.resize_online".to_owned()), "{named:?}");
    let vdi = all(&lab, "/vdis", &token).await.into_iter().find(|vdi| vdi["type"] == "user");
    let vdi = vdi.expect("a disk");
    let body = json!({"size": vdi["virtual_size"].as_i64().expect("bytes") + (1 << 30)});
    let path = format!("/vdis/{}/actions/resize_online", vdi["uuid"].as_str().expect("a uuid"));
    let answer = act(&lab, Method::POST, &path, &token, &body).await;
    // What the storage can do is another matter.
    assert_ne!(answer.json()["code"], "NOT_SUPPORTED", "{}", answer.text());
    assert!(lab.sim.seen("VDI.resize_online") + lab.sim.seen("Async.VDI.resize_online") > 0);
    lab.end().await;
}

#[tokio::test]
async fn what_a_backend_is_said_to_lack_is_not_there() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    lab.get("/vms", &token).await.ok();
    let lacks = lacks(&lab, &token).await;
    let backend = lab.get("/backends", &token).await.ok()["items"][0].clone();
    let objects = backend["objects"].as_object().expect("counts");
    for class in names(&lacks, "classes") {
        assert!(!objects.contains_key(&class), "{class} is there: {lacks}");
    }
    for class in ["VIF_metrics", "VBD_metrics"] {
        assert!(!names(&lacks, "classes").contains(&class.to_owned()), "{lacks}");
    }
    let lists = [
        ("VM", "/vms"),
        ("VM_metrics", "/vm-metrics"),
        ("VM_guest_metrics", "/vm-guest-metrics"),
        ("host_metrics", "/host-metrics"),
        ("VIF", "/vifs"),
        ("VBD", "/vbds"),
        ("PIF_metrics", "/pif-metrics"),
    ];
    for (class, path) in lists {
        let objects = all(&lab, path, &token).await;
        assert!(!objects.is_empty(), "{path}");
        for name in names(&lacks, "fields") {
            let Some(field) = name.strip_prefix(&format!("{class}.")) else { continue };
            assert!(objects.iter().all(|object| object.get(field).is_none()), "{name} is there");
        }
    }
    // A class that has gone for good has no list; of those that are told of there is one.
    assert!(names(&lacks, "classes").contains(&"VMPP".to_owned()), "{lacks}");
    let problem = lab.get("/vmpps", &token).await.problem(501, "NOT_SUPPORTED");
    assert!(
        problem["detail"].as_str().is_some_and(|text| text.contains("clearwater")),
        "{problem}"
    );
    lab.get("/vif-metrics", &token).await.ok();
    lab.get("/vbd-metrics", &token).await.ok();
    lab.end().await;
}

#[tokio::test]
async fn fields_that_were_removed_and_are_sent_are_documented() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let document = lab.get("/openapi.json", "").await.ok();
    let fields = [
        ("Vm", "is_snapshot_from_vmpp"),
        ("VmMetrics", "VCPUs_utilisation"),
        ("VmGuestMetrics", "memory"),
        ("VmGuestMetrics", "disks"),
        ("HostMetrics", "memory_free"),
        ("Vif", "metrics"),
        ("Vbd", "metrics"),
        ("PifMetrics", "io_read_kbs"),
        ("PifMetrics", "io_write_kbs"),
    ];
    for (schema, field) in fields {
        let property = &document["components"]["schemas"][schema]["properties"][field];
        assert_eq!(property["deprecated"], true, "{schema}.{field}: {property}");
        let text = property["description"].as_str().expect("words");
        assert!(text.contains("removed it with") && text.contains("still send it"), "{text}");
    }
    let vif = all(&lab, "/vifs", &token).await.remove(0);
    assert!(vif["metrics"].is_string(), "{vif}");
    lab.end().await;
}

#[tokio::test]
async fn refs_of_what_no_event_tells_of_are_uuids() {
    let lab = Lab::with(
        |sim| sim.users.push(User::with_role("reader", PASSWORD, "read-only")),
        |_, _| {},
    )
    .await;
    let secret = lab.sim.create("secret", &[("value", Value::text("hidden"))]).expect("made");
    let uuid = lab.sim.field("secret", &secret, "uuid").expect("a uuid");
    let uuid = uuid.as_text().expect("text").to_string();
    let pool = lab.sim.refs("pool").remove(0);
    for field in ["telemetry_uuid", "repository_proxy_password"] {
        lab.sim.set_field("pool", &pool, field, Value::text(&*secret)).expect("set");
    }
    // Who may not ask for secrets learns nothing of them.
    let reader = lab.gate.login("reader", PASSWORD).await;
    let shown = all(&lab, "/pools", &reader).await.remove(0);
    assert_eq!(shown["telemetry_uuid"], Json::Null);
    assert_eq!(
        lab.gate
            .send(lab.gate.request(Method::DELETE, "/sessions/current").bearer_auth(&reader))
            .await
            .status,
        204
    );
    let token = lab.login().await;
    let told = |answer: &Answer| answer.json()["items"][0]["telemetry_uuid"] == *uuid;
    let pools = lab.until("/pools", &token, told).await.ok();
    assert_eq!(pools["items"][0]["repository_proxy_password"], *uuid);
    // One that is named later.
    let other = lab.sim.create("secret", &[("value", Value::text("hidden"))]).expect("made");
    let other_uuid = lab.sim.field("secret", &other, "uuid").expect("a uuid");
    let other_uuid = other_uuid.as_text().expect("text").to_string();
    lab.sim.set_field("pool", &pool, "telemetry_uuid", Value::text(&*other)).expect("set");
    let told = |answer: &Answer| answer.json()["items"][0]["telemetry_uuid"] == *other_uuid;
    lab.until("/pools", &token, told).await;

    let odd = lab.sim.create(
        "role",
        &[
            ("name_label", Value::text("odd")),
            ("subroles", Value::texts(lab.sim.refs("role").into_iter().take(3))),
        ],
    );
    let odd = lab.sim.field("role", &odd.expect("made"), "uuid").expect("a uuid");
    let roles = all(&lab, "/roles", &token).await;
    let known: std::collections::HashSet<&str> =
        roles.iter().filter_map(|role| role["uuid"].as_str()).collect();
    let mut parts = 0;
    for role in &roles {
        let subroles = role["subroles"].as_array().expect("a list");
        let name = role["name_label"].as_str().expect("a name");
        let there = lab.sim.field("role", name, "subroles").expect("a field");
        let Value::Set(there) = there else { panic!("a set") };
        assert_eq!(subroles.len(), there.len(), "{name}");
        assert!(subroles.iter().all(|part| known.contains(part.as_str().expect("a uuid"))));
        parts += subroles.len();
    }
    assert!(parts > 1000, "{parts}");
    let admin = roles.iter().find(|role| role["name_label"] == "pool-admin").expect("a role");
    let asked = lab.sim.seen_in_all();
    for uuid in [admin["uuid"].as_str().expect("a uuid"), odd.as_text().expect("text")] {
        let one = lab.get(&format!("/roles/{uuid}"), &token).await.ok();
        let same = roles.iter().find(|role| role["uuid"] == uuid).expect("listed");
        let parts = |role: &Json| role["subroles"].as_array().expect("a list").len();
        assert!(parts(&one) > 0 && parts(&one) == parts(same));
    }
    assert!(lab.sim.seen_in_all() - asked < 10, "each is not asked for by itself");
    lab.end().await;
}

#[tokio::test]
async fn texts_that_no_database_takes_are_a_422_that_names_them() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let vm = format!("/vms/{}", first(&lab, "/vms", &token).await);
    let cases = [
        (Method::PATCH, vm.clone(), json!({"name_description": "a\u{1}b"}), "/name_description"),
        (Method::PATCH, vm.clone(), json!({"other_config": {"a": "\u{b}"}}), "/other_config/a"),
        (Method::PATCH, vm.clone(), json!({"other_config": {"": "x"}}), "/other_config/"),
        (Method::PATCH, vm.clone(), json!({"tags": ["fine", "\u{1f}"]}), "/tags/1"),
        (Method::POST, "/networks".to_owned(), json!({"name_label": "\u{1b}[2J"}), "/name_label"),
        (Method::POST, format!("{vm}/actions/clone"), json!({"new_name": "x\u{7}"}), "/new_name"),
    ];
    for (method, path, body, pointer) in cases {
        let answer = act(&lab, method, &path, &token, &body).await;
        let problem = answer.json();
        assert_eq!(answer.status, 422, "{path} {body}: {problem}");
        assert_eq!(problem["pointer"], pointer, "{path} {body}: {problem}");
        assert_eq!(problem["retryable"], false);
    }
    // A tab, a line's end and what lies beyond the first plane are text like any other.
    let fine = json!({"name_description": "a\tb\r\n\u{1f600}"});
    assert_eq!(
        act(&lab, Method::PATCH, &vm, &token, &fine).await.ok()["name_description"],
        fine["name_description"]
    );

    let schedule = |schedule: Json| {
        json!({"name_label": "nightly", "type": "snapshot",
        "frequency": "daily", "schedule": schedule})
    };
    let made =
        act(&lab, Method::POST, "/vmsses", &token, &schedule(json!({"hour": "3", "min": "0"})))
            .await;
    assert_eq!(made.status, 201, "{}", made.text());
    let vmss = format!("/vmsses/{}", made.json()["uuid"].as_str().expect("a uuid"));
    let unknown = json!({"hours": "3"});
    let refused = act(&lab, Method::POST, "/vmsses", &token, &schedule(unknown.clone())).await;
    assert_eq!(refused.problem(422, "INVALID_VALUE")["pointer"], "/schedule/hours");
    let refused = act(&lab, Method::PATCH, &vmss, &token, &json!({"schedule": unknown})).await;
    assert_eq!(refused.problem(422, "INVALID_VALUE")["pointer"], "/schedule");
    assert_eq!(lab.get(&vmss, &token).await.ok()["schedule"], json!({"hour": "3", "min": "0"}));
    lab.end().await;
}

#[tokio::test]
async fn a_boot_record_shows_no_ref_of_any_kind() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let vms = all(&lab, "/vms", &token).await;
    let vm = vms.iter().find(|vm| vm["power_state"] == "Running").expect("one that runs");
    let path = format!("/vms/{}/actions/get_boot_record", vm["uuid"].as_str().expect("a uuid"));
    let answer = act(&lab, Method::POST, &path, &token, &json!({})).await;
    let text = answer.text();
    assert!(!text.contains("DummyRef"), "{}", &text[..text.len().min(3000)]);
    assert_eq!(answer.ok()["result"]["current_operations"], json!({}));
    lab.end().await;
}

#[tokio::test]
async fn what_a_pool_takes_and_ignores_is_named() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let vm = format!("/vms/{}", first(&lab, "/vms", &token).await);
    let pool = format!("/pools/{}", first(&lab, "/pools", &token).await);
    let cases = [
        (&vm, json!({"ha_always_run": true, "name_description": "kept"}), Some("ha_always_run")),
        (
            &pool,
            json!({"local_auth_max_threads": 9, "other_config": {"a": "b"}, "tags": ["x", "a"]}),
            Some("local_auth_max_threads"),
        ),
        (
            &pool,
            json!({"ext_auth_max_threads": 3, "local_auth_max_threads": 3}),
            Some("local_auth_max_threads, ext_auth_max_threads"),
        ),
        (&pool, json!({"tags": ["a", "x"], "other_config": {"a": null}}), None),
        (
            &vm,
            json!({"name_description": "again", "start_delay": 7, "other_config": {"k": "v"}}),
            None,
        ),
        (&vm, json!({}), None),
    ];
    for (path, body, ignored) in cases {
        let answer = act(&lab, Method::PATCH, path, &token, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("xen-ignored"), ignored, "{body}");
    }
    let dry = format!("{vm}?dry_run=true");
    let answer = act(&lab, Method::PATCH, &dry, &token, &json!({"ha_always_run": true})).await;
    assert_eq!((answer.status.as_u16(), answer.header("xen-ignored")), (200, None));
    lab.end().await;
}

#[tokio::test]
async fn sessions_of_a_pool_are_ended_and_its_password_is_changed() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let admin = lab.gate.login("vm-admin", PASSWORD).await;
    let vm = format!("/vms/{}", first(&lab, "/vms", &admin).await);
    let path = "/sessions/actions/get_all_subject_identifiers";
    let listed = act(&lab, Method::POST, path, &admin, &json!({})).await.ok();
    let identifiers = listed["result"].as_array().expect("a list").clone();
    assert_eq!(identifiers.len(), 1, "{listed}");
    let body = json!({"subject_identifier": identifiers[0]});
    let path = "/sessions/actions/logout_subject_identifier";
    act(&lab, Method::POST, path, &admin, &body).await.problem(403, "RBAC_PERMISSION_DENIED");
    assert!(act(&lab, Method::POST, path, &token, &body).await.status.is_success());
    let change = json!({"name_description": "by nobody"});
    let refused = act(&lab, Method::PATCH, &vm, &admin, &change).await;
    assert_eq!(refused.status, 401, "{}", refused.text());
    assert_eq!(act(&lab, Method::PATCH, &vm, &token, &change).await.status, 200);

    let path = "/sessions/actions/change_password";
    let body = json!({"old_pwd": PASSWORD, "new_pwd": "another-password-of-the-lab"});
    let admin = lab.gate.login("vm-admin", PASSWORD).await;
    act(&lab, Method::POST, path, &admin, &body).await.problem(403, "RBAC_PERMISSION_DENIED");
    let missing = act(&lab, Method::POST, path, &token, &json!({"old_pwd": "x"})).await;
    assert_eq!(missing.problem(422, "WRONG_SHAPE")["pointer"], "/new_pwd");
    assert_eq!(act(&lab, Method::POST, path, &token, &body).await.status, 204);
    lab.gate.login("root", "another-password-of-the-lab").await;
    assert!(crate::lab::around(&crate::lab::logged(), "another-password-of-the-lab").is_none());
    lab.get("/sessions", &token).await.problem(405, "METHOD_NOT_ALLOWED");
    lab.get("/sessions/actions/change_password", &token).await.problem(405, "METHOD_NOT_ALLOWED");
    let path = "/sessions/actions/login_with_password";
    let login = act(&lab, Method::POST, path, &token, &json!({})).await;
    login.problem(404, "NOT_FOUND");
    lab.end().await;
}
