//! What lists can be asked: `filter`, `fields`, `sort`, `limit`, `cursor`, `expand`.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use xengate::sim::{Failure, Fault, Value as SimValue};

use crate::lab::{Answer, Lab};

/// `path?name=value&…`, encoded.
pub(crate) fn asking(path: &str, pairs: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    format!("{path}?{}", query.extend_pairs(pairs).finish())
}

pub(crate) fn items(list: &Value) -> &[Value] {
    list["items"].as_array().expect("items")
}

pub(crate) fn uuids(list: &Value) -> Vec<String> {
    items(list).iter().map(|item| item["uuid"].as_str().expect("a uuid").to_owned()).collect()
}

pub(crate) async fn refused(lab: &Lab, token: &str, path: &str, pairs: &[(&str, &str)]) -> String {
    let problem = lab.get(&asking(path, pairs), token).await.problem(400, "BAD_PARAMETER");
    let name = pairs.last().expect("a pair").0;
    assert_eq!(problem["params"], json!([name]), "{problem}");
    let detail = problem["detail"].as_str().expect("a text").to_owned();
    assert!(detail.starts_with(name), "{detail}");
    detail
}

/// Whether a VM is what a filter is to let through.
type Holds<'a> = &'a dyn Fn(&Value) -> bool;

#[tokio::test]
async fn a_filter_chooses_what_it_says() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let all = lab.get("/vms", &token).await.ok();
    let some = items(&all)[0]["uuid"].as_str().expect("a uuid").to_owned();
    let pairs = SimValue::pairs([("owner", "ann"), ("a b", "1")]);
    lab.sim.set_field("VM", &some, "other_config", pairs).expect("set");
    lab.sim.set_field("VM", &some, "tags", SimValue::texts(["prod"])).expect("set");
    let path = format!("/vms/{some}");
    lab.until(&path, &token, |answer| answer.json()["tags"] == json!(["prod"])).await;
    let running = |vm: &Value| vm["power_state"] == "Running";
    let is_some = |vm: &Value| vm["uuid"] == *some;
    let checks: [(&str, Holds<'_>); 9] = [
        ("power_state = Running", &running),
        ("not power_state = Running", &|vm| !running(vm)),
        ("tags has \"prod\" and other_config.owner = ann", &is_some),
        ("other_config.\"a b\" = 1", &is_some),
        ("other_config.owner != ann", &|vm| !is_some(vm)),
        ("power_state = Running and (tags has prod or memory_static_max >= 1GiB)", &|vm| {
            let large = vm["memory_static_max"].as_u64() >= Some(1 << 30);
            running(vm) && (large || is_some(vm))
        }),
        ("metrics.start_time > 2000-01-01 and resident_on.name_label ~ *", &running),
        ("VBDs.VDI != null and resident_on = null", &|vm| {
            !running(vm) && vm["VBDs"].as_array().is_some_and(|set| !set.is_empty())
        }),
        ("uuid in (\"nobody\")", &|_| false),
    ];
    for (filter, holds) in checks {
        let list = lab.get(&asking("/vms", &[("filter", filter)]), &token).await.ok();
        let want: Vec<&Value> = items(&all).iter().filter(|vm| holds(vm)).collect();
        // A CD drive may be empty: then there is no VDI to be null or not.
        if !filter.contains("VBDs") {
            let want: Vec<_> = want.iter().map(|vm| vm["uuid"].as_str().expect("a uuid")).collect();
            assert_eq!(uuids(&list), want, "{filter}");
        }
        assert_eq!(list["total"], items(&list).len(), "{filter}");
    }
    // On templates and below an object, too.
    let path = asking("/vm-templates", &[("filter", "name_label ~ *")]);
    assert_eq!(lab.get(&path, &token).await.ok(), lab.get("/vm-templates", &token).await.ok());
    let path = asking(&format!("/vms/{some}/vbds"), &[("filter", "type = Disk")]);
    let disks = lab.get(&path, &token).await.ok();
    assert!(items(&disks).iter().all(|vbd| vbd["type"] == "Disk"), "{disks}");
    lab.end().await;
}

#[tokio::test]
async fn dates_are_rfc_3339_in_filters_and_ranges_alike() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let vm = &crate::metrics::vms(&lab.sim, "Running", None)[0];
    let history = crate::metrics::path(vm, "/history");
    for (date, is_one) in [
        ("2026-11-22T07:25:54Z", true),
        ("2026-11-22t07:25:54.5z", true),
        ("2026-11-22T07:25:54+01:30", true),
        ("2016-12-31T23:59:60Z", true),
        ("2026-11-22T07:25:54++1:30", false),
        ("2026-11-22T07:25:54+1:30", false),
        ("2026-11-22T07:25:54+01:+3", false),
        ("2026-11-22T07:25:54+0130", false),
        ("2026-11-22T07:25:54+24:00", false),
        ("2026-11-22T07:25:54", false),
        ("2026-11-22 07:25:54Z", false),
        ("20261122T07:25:54Z", false),
        ("2026-02-30T07:25:54Z", false),
    ] {
        let filter = format!("metrics.start_time > \"{date}\"");
        for (path, pair) in [("/vms", ("filter", &*filter)), (&history, ("from", date))] {
            let answer = lab.get(&asking(path, &[pair]), &token).await;
            if is_one {
                answer.ok();
            } else {
                let problem = answer.problem(400, "BAD_PARAMETER");
                assert_eq!(problem["params"], json!([pair.0]), "{problem}");
            }
        }
    }
    lab.end().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_query_is_named_with_its_column() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let long = format!("name_label = \"{}\"", "x".repeat(10_000));
    let nested = format!("{}is_a_template{}", "(".repeat(1000), ")".repeat(1000));
    for (name, text, parts) in [
        ("filter", "power_stat = Running", &["column 1", "power_stat", "power_state"][..]),
        ("filter", "power_state = Runing", &["column 15", "Runing", "Running"]),
        ("filter", "power_state & Running", &["column 13", "&", "an operator"]),
        ("filter", "memory_static_max > many", &["column 21", "many", "4GiB"]),
        ("filter", "", &["column 1", "a condition"]),
        ("filter", &long, &["column 1", "4096 bytes at most"]),
        ("filter", &nested, &["column 65", "64 levels at most"]),
        ("fields", "name_label,colour", &["column 12", "colour"]),
        ("fields", "name_label,name_label", &["column 12", "twice"]),
        ("sort", "name_label,-tags", &["column 13", "no order"]),
        ("sort", "nme_label", &["column 1", "name_label"]),
        ("expand", "name_label", &["column 1", "holds refs"]),
        ("expand", "VBDs.VM.VBDs.VM.VBDs", &["column 17", "4 at most"]),
        ("limit", "0", &["from 1 to 10000"]),
    ] {
        let detail = refused(&lab, &token, "/vms", &[(name, text)]).await;
        for part in parts {
            assert!(detail.contains(part), "{detail}");
        }
        assert!(detail.len() < 500, "{detail}");
    }
    for path in ["/vms?filtre=x", "/tasks?filtre=x", "/roles?filtre=x"] {
        let problem = lab.get(path, &token).await.problem(400, "UNKNOWN_PARAMETER");
        assert_eq!(problem["params"], json!(["filtre"]));
    }
    let vm = lab.get("/vms?limit=1", &token).await.ok();
    let path = format!("/vms/{}", uuids(&vm)[0]);
    refused(&lab, &token, &path, &[("fields", "colour")]).await;
    refused(&lab, &token, &path, &[("expand", "colour")]).await;
    // Before anything is waited for: nobody is there to answer for this backend.
    let detail = refused(&lab, &token, "/vms", &[("backend", "nowhere"), ("filter", "x")]).await;
    assert!(detail.contains("no field"), "{detail}");
    lab.end().await;
}

#[tokio::test]
async fn fields_are_those_that_are_asked_for() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let all = lab.get("/vms", &token).await.ok();
    let list = lab.get("/vms?fields=power_state,name_label", &token).await.ok();
    assert_eq!(uuids(&list), uuids(&all));
    for (vm, whole) in items(&list).iter().zip(items(&all)) {
        let keys: Vec<_> = vm.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["backend", "name_label", "power_state", "uuid"]);
        assert!(keys.iter().all(|key| vm[*key] == whole[*key]), "{vm}");
        let path =
            format!("/vms/{}?fields=power_state,name_label", vm["uuid"].as_str().expect("a uuid"));
        assert_eq!(&lab.get(&path, &token).await.ok(), vm);
    }
    let role = lab.get("/roles?fields=name_label&limit=1", &token).await.ok();
    assert_eq!(items(&role)[0].as_object().map(serde_json::Map::len), Some(3), "{role}");
    lab.end().await;
}

#[tokio::test]
async fn what_is_expanded_stands_once_and_fields_keep_their_uuids() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let all = lab.get("/vms", &token).await.ok();
    let list = lab.get("/vms?expand=VBDs.VDI,resident_on", &token).await.ok();
    assert_eq!(list["items"], all["items"]);
    let along = &list["expanded"];
    let (mut disks, mut hosts) = (0, 0);
    for vm in items(&list) {
        let of_backend = &along[vm["backend"].as_str().expect("a name")];
        if let Some(host) = vm["resident_on"].as_str() {
            assert_eq!(of_backend["host"][host]["uuid"], host);
            hosts += 1;
        }
        for vbd in vm["VBDs"].as_array().expect("a set") {
            let vbd = &of_backend["VBD"][vbd.as_str().expect("a uuid")];
            assert_eq!(vbd["VM"], vm["uuid"]);
            if let Some(vdi) = vbd["VDI"].as_str() {
                assert_eq!(of_backend["VDI"][vdi]["uuid"], vdi);
                disks += 1;
            }
        }
    }
    assert!(disks > 3 && hosts > 3, "{disks} {hosts}");
    // One object has its own beside its fields.
    let uuid = uuids(&all).remove(0);
    let one = lab.get(&format!("/vms/{uuid}?expand=VBDs&fields=VBDs"), &token).await.ok();
    for vbd in one["VBDs"].as_array().expect("a set") {
        let vbd = vbd.as_str().expect("a uuid");
        assert_eq!(one["expanded"]["lab"]["VBD"][vbd]["uuid"], vbd);
    }
    // Round and round, and back.
    let loops = "VBDs.VM.VBDs.VM,resident_on.resident_VMs.resident_on.resident_VMs";
    let list = lab.get(&asking("/vms", &[("expand", loops)]), &token).await.ok();
    assert_eq!(list["items"], all["items"]);
    let vms = list["expanded"]["lab"]["VM"].as_object().expect("VMs");
    assert!(vms.len() <= lab.sim.count("VM"));
    // Which other objects there are is part of what the answer is.
    let tag = |answer: &Answer| answer.header("etag").expect("a tag").to_owned();
    let path = format!("/vms/{uuid}?expand=VBDs");
    let before = tag(&lab.get(&path, &token).await);
    let vbd = one["VBDs"][0].as_str().expect("a VBD");
    lab.sim.set_field("VBD", vbd, "userdevice", SimValue::text("9")).expect("set");
    lab.until(&path, &token, |answer| tag(answer) != before).await;
    refused(&lab, &token, "/roles", &[("expand", "subroles")]).await;
    lab.end().await;
}

#[tokio::test]
async fn what_may_come_along_is_bounded() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let vifs = lab.get("/vifs?fields=network&limit=10000", &token).await.ok();
    let networks: BTreeSet<&str> =
        items(&vifs).iter().map(|vif| vif["network"].as_str().expect("a network")).collect();
    let each = (16 << 20) / networks.len() + 1;
    for network in &networks {
        let large = SimValue::pairs([("large", &*"x".repeat(each))]);
        lab.sim.set_field("network", network, "other_config", large).expect("set");
        let path = format!("/networks/{network}");
        lab.until(&path, &token, |answer| answer.body.len() > each).await;
    }
    let path = [("fields", "uuid"), ("limit", "1000"), ("expand", "VIFs.network")];
    let answer = lab.get(&asking("/vms", &path), &token).await;
    assert_eq!(answer.status, 400, "{} bytes", answer.body.len());
    let detail = answer.problem(400, "BAD_PARAMETER")["detail"].as_str().expect("text").to_owned();
    assert!(detail.contains("10000 objects or 16 MiB") && detail.contains("limit"), "{detail}");
    // Smaller pages have less that comes along.
    let path = [("fields", "uuid"), ("limit", "1"), ("expand", "VIFs.network")];
    assert_eq!(items(&lab.get(&asking("/vms", &path), &token).await.ok()).len(), 1);
    lab.end().await;
}

#[tokio::test]
async fn tasks_and_what_is_read_through_are_asked_alike() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let vms = lab.get(&asking("/vms", &[("filter", "power_state = Halted")]), &token).await.ok();
    for vm in uuids(&vms).iter().take(2) {
        let path = format!("/vms/{vm}/actions/start");
        let request = lab.gate.request(reqwest::Method::POST, &path).bearer_auth(&token);
        lab.gate.send(request.header("prefer", "wait=20")).await.ok();
    }
    let path = asking(
        "/tasks",
        &[("filter", "status = success"), ("sort", "-created"), ("fields", "status,error")],
    );
    let list = lab.get(&path, &token).await.ok();
    assert_eq!(list["total"], 2, "{list}");
    for task in items(&list) {
        assert_eq!((&task["status"], &task["error"]), (&json!("success"), &Value::Null));
        assert!(task.get("name_label").is_none());
        let path = format!("/tasks/{}?fields=status,error", task["uuid"].as_str().expect("a uuid"));
        assert_eq!(&lab.get(&path, &token).await.ok(), task);
    }
    let path = asking(
        "/roles",
        &[("filter", "name_label ~ \"pool-*\""), ("sort", "-name_label"), ("limit", "1")],
    );
    let roles = lab.get(&path, &token).await.ok();
    assert_eq!(
        (&items(&roles)[0]["name_label"], &roles["total"]),
        (&json!("pool-operator"), &json!(2))
    );
    let cursor = roles["next"].as_str().expect("more");
    let next = lab.get(&format!("{path}&cursor={cursor}"), &token).await.ok();
    assert_eq!(
        (&items(&next)[0]["name_label"], &next["next"]),
        (&json!("pool-admin"), &Value::Null)
    );
    lab.end().await;
}

#[tokio::test]
async fn what_the_gateway_tells_of_a_task_is_shown_and_the_pools_word_is_asked_for() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let vms = lab.get(&asking("/vms", &[("filter", "power_state = Halted")]), &token).await.ok();
    let failure = Failure::new("NO_HOSTS_AVAILABLE", Vec::<String>::new());
    lab.sim.fault(Some("VM.start"), Fault::Fail(failure), Some(1));
    for (vm, status) in uuids(&vms).iter().zip([503, 200]) {
        let path = format!("/vms/{vm}/actions/start");
        let request = lab.gate.request(reqwest::Method::POST, &path).bearer_auth(&token);
        let answer = lab.gate.send(request.header("prefer", "wait=20")).await;
        assert_eq!(answer.status == 200, status == 200, "{}", answer.json());
    }
    let failed = "status = failure and error_info has NO_HOSTS_AVAILABLE";
    let path = asking("/tasks", &[("filter", failed), ("fields", "error,left_behind,status")]);
    let list = lab.get(&path, &token).await.ok();
    assert_eq!(items(&list).len(), 1, "{list}");
    assert_eq!(items(&list)[0]["error"]["code"], "NO_HOSTS_AVAILABLE");
    for (name, text, column) in [
        ("filter", "status = failure and error != null", 22),
        ("filter", "error.code = NO_HOSTS_AVAILABLE", 1),
        ("filter", "left_behind = null", 1),
        ("sort", "-created,error", 10),
    ] {
        let detail = refused(&lab, &token, "/tasks", &[(name, text)]).await;
        let place = format!("column {column}: ");
        for part in [&*place, "the gateway's own", "error_info"] {
            assert!(detail.contains(part), "{detail}");
        }
    }
    // Of what is no task they are nothing at all.
    let detail = refused(&lab, &token, "/vms", &[("sort", "error")]).await;
    assert!(detail.contains("no field"), "{detail}");
    lab.end().await;
}

#[tokio::test]
async fn a_mirror_that_syncs_anew_answers_queries_as_before() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let path = asking(
        "/vms",
        &[("sort", "name_label"), ("limit", "4"), ("filter", "name_label ~ *"), ("expand", "VBDs")],
    );
    let first = lab.get(&path, &token).await.ok();
    lab.sim.stop_listening();
    lab.sim.drop_connections();
    let stale = lab.until(&path, &token, |answer| answer.header("xen-stale").is_some()).await.ok();
    assert_eq!(stale["items"], first["items"]);
    let cursor = stale["next"].as_str().expect("more");
    let next = lab.get(&format!("{path}&cursor={cursor}"), &token).await.ok();
    assert_eq!(items(&next).len(), 4);
    lab.sim.listen_again().expect("the same port");
    let live = lab.until(&path, &token, |answer| answer.header("xen-stale").is_none()).await.ok();
    assert_eq!(live["items"], first["items"]);
    let again = lab.get(&format!("{path}&cursor={cursor}"), &token).await.ok();
    assert_eq!(again["items"], next["items"]);
    lab.end().await;
}
