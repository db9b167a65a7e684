//! Values as pools send them: floats that are not finite, names that come twice, dates of other
//! zones, integers in every spelling, and what nobody can read.

use std::collections::HashSet;

use reqwest::Method;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};
use xengate::config::Config;
use xengate::sim::{Fault, Integers, JsonWriter, NULL, RawReply, Value as SimValue};

use crate::events::client::Stream;
use crate::fleet::{scrape, set_up};
use crate::lab::{Answer, BACKEND, Lab};
use crate::metrics::{path, vms};

/// Both dialects of XAPI.
const DIALECTS: [&str; 2] = ["/jsonrpc", "/RPC2"];

/// A gateway that speaks one dialect with its pool.
async fn speaking(dialect: &'static str) -> Lab {
    Lab::with(|_| {}, |config, sim| in_dialect(config, &sim.url(), dialect)).await
}

fn in_dialect(config: &mut Config, url: &str, dialect: &str) {
    let backend = config.backends.get_mut(BACKEND).expect("there");
    backend.uris = vec![format!("{url}{dialect}")];
}

/// JSON without a name that comes twice.
struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Strict;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<Strict, E> {
                Ok(Strict)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Strict, E> {
                Ok(Strict)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Strict, E> {
                Ok(Strict)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Strict, E> {
                Ok(Strict)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Strict, E> {
                Ok(Strict)
            }
            fn visit_str<E>(self, _: &str) -> Result<Strict, E> {
                Ok(Strict)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Strict, A::Error> {
                while seq.next_element::<Strict>()?.is_some() {}
                Ok(Strict)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Strict, A::Error> {
                let mut names = HashSet::new();
                while let Some((name, _)) = map.next_entry::<String, Strict>()? {
                    if !names.insert(name.clone()) {
                        return Err(serde::de::Error::custom(format!("{name} twice")));
                    }
                }
                Ok(Strict)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[track_caller]
fn strict(answer: &Answer) -> Value {
    serde_json::from_slice::<Strict>(&answer.body).unwrap_or_else(|error| panic!("{error}"));
    answer.ok()
}

fn uuid_of(lab: &Lab, class: &str, name: &str) -> String {
    let uuid = lab.sim.field(class, name, "uuid").expect("a uuid");
    uuid.as_text().expect("text").to_string()
}

fn set(lab: &Lab, class: &str, key: &str, field: &str, value: SimValue) {
    lab.sim.set_field(class, key, field, value).expect("a field");
}

#[tokio::test]
async fn a_value_that_cannot_be_read_costs_its_field_alone() {
    for dialect in DIALECTS {
        let lab = speaking(dialect).await;
        let token = lab.login().await;
        let uuid = &vms(&lab.sim, "Running", None)[0];
        let vm = format!("/vms/{uuid}");
        lab.get(&vm, &token).await.ok();
        let total = lab.get("/vms", &token).await.ok()["total"].clone();
        for (number, float) in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].into_iter().enumerate()
        {
            set(&lab, "VM", uuid, "HVM_shadow_multiplier", SimValue::Float(float));
            let name = format!("named {number}");
            set(&lab, "VM", uuid, "name_label", SimValue::text(name.as_str()));
            let seen = lab.until(&vm, &token, |it| it.ok()["name_label"] == name.as_str()).await;
            assert_eq!(seen.ok()["HVM_shadow_multiplier"], Value::Null, "{dialect} {float}");
            assert_eq!(seen.header("xen-stale"), None);
        }
        for (field, value) in [
            ("memory_static_max", SimValue::text("plenty")),
            ("memory_static_min", SimValue::Float(f64::NAN)),
            ("VCPUs_max", SimValue::text("99999999999999999999")),
            ("is_a_template", SimValue::text("perhaps")),
            ("snapshot_time", SimValue::date_time("20260230T00:00:00Z")),
            ("domid", SimValue::text("")),
        ] {
            set(&lab, "VM", uuid, field, value);
        }
        set(&lab, "VM", uuid, "VBDs", SimValue::Int(7));
        set(&lab, "VM", uuid, "name_label", SimValue::Int(5));
        let seen = lab.until(&vm, &token, |it| it.ok()["name_label"] == "5").await.ok();
        for field in ["memory_static_max", "VCPUs_max", "snapshot_time", "domid"] {
            assert_eq!(seen.get(field), None, "{dialect}: {field} of {seen}");
        }
        assert_eq!(seen["power_state"], "Running");
        // After a fresh sync as well.
        let again = crate::lab::Gate::start(&lab.sim.url(), |config| {
            in_dialect(config, &lab.sim.url(), dialect);
        })
        .await;
        let token = again.login("root", xengate::sim::PASSWORD).await;
        let list = again.until("/vms", &token, |it| it.status == 200).await;
        assert_eq!((&list.ok()["total"], list.header("xen-stale")), (&total, None), "{dialect}");
        assert_eq!(again.get(&vm, &token).await.ok()["name_label"], "5");
        again.end(&lab.sim.session_refs()).await;
        assert_eq!(lab.sim.everything_read(), 2, "{dialect}: once by each gateway");
        lab.end().await;
    }
}

#[tokio::test]
async fn a_task_of_an_odd_progress_ends_like_any_other() {
    for dialect in DIALECTS {
        let lab = speaking(dialect).await;
        let token = lab.login().await;
        let uuid = &vms(&lab.sim, "Running", None)[0];
        lab.sim.hold_tasks("VM.snapshot");
        let path = format!("/vms/{uuid}/actions/snapshot");
        let answer = lab.gate.post(&path, Some(&token), &json!({"new_name": "s"})).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        let task = answer.json()["uuid"].as_str().expect("a uuid").to_owned();
        set(&lab, "task", &task, "progress", SimValue::Float(f64::NAN));
        let task_path = format!("/tasks/{task}");
        let is_odd = |it: &Answer| it.json()["progress"].is_null();
        let seen = lab.until(&task_path, &token, is_odd).await.ok();
        assert_eq!(seen["status"], "pending", "{dialect}");
        lab.sim.release_tasks("VM.snapshot");
        lab.until(&task_path, &token, |it| it.ok()["status"] == "success").await;
        lab.end().await;
    }
}

#[tokio::test]
async fn results_hold_null_where_a_float_is_not_finite() {
    for dialect in DIALECTS {
        let lab = speaking(dialect).await;
        let token = lab.login().await;
        let host = uuid_of(&lab, "host", "host-01");
        let vm = &vms(&lab.sim, "Running", None)[0];
        set(&lab, "VM", vm, "guest_metrics", SimValue::text(NULL));
        for object in [format!("/hosts/{host}"), format!("/vms/{vm}")] {
            let path = format!("{object}/actions/get_data_sources");
            let result = lab.gate.post(&path, Some(&token), &json!({})).await.ok();
            let sources = result["result"].as_array().expect("sources");
            let (bounded, others): (Vec<&Value>, Vec<&Value>) =
                sources.iter().partition(|source| source["units"] == "(fraction)");
            assert!(bounded.iter().all(|it| it["min"] == 0.0 && it["max"] == 1.0), "{result}");
            assert!(others.iter().all(|it| it["min"].is_null() && it["max"].is_null()));
            assert!(!others.is_empty() && others.iter().any(|it| it["value"].is_number()));
        }
        let path = format!("/vms/{vm}/actions/query_data_source");
        let body = json!({"data_source": "memory_internal_free"});
        let result = lab.gate.post(&path, Some(&token), &body).await.ok();
        assert_eq!(result, json!({"result": null}), "{dialect}");
        lab.end().await;
    }
}

/// A task of a read-only user, who has set its progress to what is no number.
async fn task_of_nan_progress(lab: &Lab) -> String {
    let call = async |method: &str, params: &[&str]| {
        let params = params.iter().map(|param| format!("<param><value>{param}</value></param>"));
        let params: String = params.collect();
        let body = format!(
            "<methodCall><methodName>{method}</methodName><params>{params}</params></methodCall>"
        );
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let reply = client.post(lab.sim.url()).body(body).send().await.expect("a reply");
        let reply = reply.text().await.expect("a body");
        assert!(reply.contains("Success"), "{method}: {reply}");
        let (_, value) = reply.split_once("<name>Value</name><value>").expect("a value");
        value.split_once("</value>").expect("its end").0.to_owned()
    };
    let login = ["read-only", xengate::sim::PASSWORD, "2.21", "odd"];
    let session = call("session.login_with_password", &login).await;
    let task = call("task.create", &[&session, "odd", ""]).await;
    call("task.set_progress", &[&session, &task, "<double>nan</double>"]).await;
    task
}

#[tokio::test]
async fn a_strict_json_writer_is_asked_in_xml() {
    let strict = JsonWriter { strict: true, ..JsonWriter::default() };
    let lab = Lab::new().await;
    lab.sim.write_json(strict);
    let token = lab.login().await;
    lab.until("/vms", &token, |it| it.status == 200).await;
    let everything = lab.sim.everything_read();
    let uuid = &vms(&lab.sim, "Running", None)[0];
    let vm = format!("/vms/{uuid}");
    // A read-only user may set the progress of a task of its own.
    let task = task_of_nan_progress(&lab).await;
    assert!(
        matches!(lab.sim.field("task", &task, "progress"), Some(SimValue::Float(it)) if it.is_nan())
    );
    for turn in 0..3 {
        set(&lab, "task", &task, "progress", SimValue::Float(f64::NAN));
        let name = format!("named {turn}");
        set(&lab, "VM", uuid, "name_label", SimValue::text(name.as_str()));
        let seen = lab.until(&vm, &token, |it| it.ok()["name_label"] == name.as_str()).await;
        assert_eq!(seen.header("xen-stale"), None);
        set(&lab, "task", &task, "progress", SimValue::Float(0.5));
    }
    assert_eq!(lab.sim.everything_read(), everything, "it goes on where it was");
    let host = uuid_of(&lab, "host", "host-01");
    let path = format!("/hosts/{host}/actions/get_data_sources");
    lab.gate.post(&path, Some(&token), &json!({})).await.ok();
    assert_eq!(lab.sim.seen("host.get_data_sources"), 2, "in JSON, and at once in XML");
    // A first sync that JSON cannot carry.
    set(&lab, "task", &task, "progress", SimValue::Float(f64::INFINITY));
    let again = crate::lab::Gate::start(&lab.sim.url(), |_| {}).await;
    let token = again.login("root", xengate::sim::PASSWORD).await;
    let list = again.until("/tasks", &token, |it| it.status == 200).await.ok();
    let odd = list["items"].as_array().expect("items").iter().find(|it| it["name_label"] == "odd");
    assert_eq!(odd.expect("the task")["progress"], Value::Null);
    again.end(&lab.sim.session_refs()).await;
    lab.end().await;
}

#[tokio::test]
async fn a_write_is_not_repeated_because_json_cannot_carry_its_reply() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let uuid = &vms(&lab.sim, "Running", None)[0];
    let page = || RawReply::http("500 Internal Error", "text/html", "<html>Yojson</html>");
    for (call, path, body) in [
        ("VM.set_name_description", format!("/vms/{uuid}"), json!({"name_description": "x"})),
        ("Async.VM.pause", format!("/vms/{uuid}/actions/pause"), json!({})),
    ] {
        lab.sim.fault(Some(call), Fault::Reply(page()), None);
        let method = if body == json!({}) { Method::POST } else { Method::PATCH };
        let request = lab.gate.request(method, &path).bearer_auth(&token).json(&body);
        let request = request.header("Content-Type", "application/json");
        let answer = lab.gate.send(request).await;
        assert_eq!(answer.status, 502, "{}", answer.text());
        assert_eq!(lab.sim.seen(call), 1, "{call}");
    }
    lab.sim.clear_faults();
    lab.end().await;
}

#[tokio::test]
async fn of_a_name_that_comes_twice_every_reader_takes_the_last() {
    for dialect in DIALECTS {
        let lab = speaking(dialect).await;
        let token = lab.login().await;
        let hosts = strict(&lab.until("/hosts", &token, |it| it.status == 200).await);
        let params = &hosts["items"][0]["license_params"];
        assert_eq!(params, &json!({"expiry": "20991231T00:00:00Z", "restrict_pooling": "false"}));
        let uuid = &vms(&lab.sim, "Running", None)[0];
        let metrics = lab.sim.field("VM", uuid, "metrics").expect("metrics");
        let metrics = metrics.as_text().expect("a ref").clone();
        let pairs = SimValue::pairs([("owner", "first"), ("b", "2"), ("owner", "last")]);
        set(&lab, "VM", uuid, "other_config", pairs);
        let load = [(0, 0.5), (1, 0.75), (0, 0.25)];
        let load = load.map(|(cpu, load)| (SimValue::Int(cpu), SimValue::Float(load)));
        let mut stream = Stream::open(&lab, "/events?classes=VM", &token).await;
        stream.ready().await;
        set(&lab, "VM_metrics", &metrics, "VCPUs_utilisation", SimValue::Map(load.to_vec()));
        set(&lab, "VM", uuid, "name_label", SimValue::text("twice"));
        let event = stream.until(|it| it["data"]["object"]["name_label"] == "twice").await;
        let want = json!({"b": "2", "owner": "last"});
        assert_eq!(event["data"]["object"]["other_config"], want, "{event}");
        let found = |filter: &str| format!("/vms?filter={}", filter.replace(' ', "%20"));
        for (filter, total) in [
            ("other_config.owner = last", 1),
            ("other_config.owner = first", 0),
            ("metrics.VCPUs_utilisation.0 = 0.25", 1),
            ("metrics.VCPUs_utilisation.0 = 0.5", 0),
        ] {
            let list = strict(&lab.get(&found(filter), &token).await);
            assert_eq!(list["total"], total, "{dialect}: {filter}");
        }
        let list = strict(&lab.get("/vms?sort=-other_config.owner&limit=1", &token).await);
        assert_eq!(list["items"][0]["other_config"], want);
        let expanded = strict(&lab.get(&format!("/vms/{uuid}?expand=metrics"), &token).await);
        let text = expanded.to_string();
        assert!(text.contains(r#""VCPUs_utilisation":{"0":0.25,"1":0.75}"#), "{text}");
        let csv = lab.gate.request(Method::GET, "/hosts?fields=license_params").bearer_auth(&token);
        let csv = lab.gate.send(csv.header("Accept", "text/csv")).await.text();
        assert!(csv.contains("false") && !csv.contains("true"), "{csv}");
        let metrics = strict(&lab.get(&path(uuid, ""), &token).await);
        assert_eq!(metrics["VCPUs_utilisation"], json!({"1": 0.75, "0": 0.25}));
        drop(stream);
        lab.end().await;
    }
}

#[tokio::test]
async fn dates_are_told_in_utc_or_not_at_all() {
    for dialect in DIALECTS {
        let lab = speaking(dialect).await;
        let token = lab.login().await;
        let uuid = &vms(&lab.sim, "Running", None)[0];
        let vm = format!("/vms/{uuid}");
        lab.get(&vm, &token).await.ok();
        for (number, (sent, want)) in [
            ("20260101T02:00:00+02:00", json!("2026-01-01T00:00:00Z")),
            ("20260101T02:00:00-0530", json!("2026-01-01T07:30:00Z")),
            ("20260101T02:00:00", Value::Null),
            ("20161231T23:59:60Z", json!("2017-01-01T00:00:00Z")),
            ("19610813T01:00:00+01:00", json!("1961-08-13T00:00:00Z")),
        ]
        .into_iter()
        .enumerate()
        {
            set(&lab, "VM", uuid, "snapshot_time", SimValue::date_time(sent));
            let name = format!("named {number}");
            set(&lab, "VM", uuid, "name_label", SimValue::text(name.as_str()));
            let seen = lab.until(&vm, &token, |it| it.ok()["name_label"] == name.as_str()).await;
            assert_eq!(seen.ok().get("snapshot_time"), Some(&want), "{dialect}: {sent}");
        }
        // What is before 1970 can be asked for.
        let filter = "snapshot_time%20%3C%201961-08-14%20and%20snapshot_time%20%3E=%201961-08-13T01:00:00%2B01:00";
        let list = lab.get(&format!("/vms?filter={filter}"), &token).await.ok();
        assert_eq!(list["total"], 1, "{list}");
        let guests = lab.get("/vm-guest-metrics", &token).await.ok();
        let updated = guests["items"][0]["last_updated"].as_str().expect("a date").to_owned();
        assert!(updated.ends_with('Z'), "{updated}: it came with another zone");
        lab.end().await;
    }
}

#[tokio::test]
async fn the_time_of_a_place_has_no_zone() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let host = uuid_of(&lab, "host", "host-01");
    for (call, sent, want) in [
        ("get_servertime", "20260601T10:00:00Z", json!("2026-06-01T10:00:00Z")),
        ("get_server_localtime", "20260601T12:00:00", json!("2026-06-01T12:00:00")),
        ("get_server_localtime", "20260601T12:00:00Z", json!("2026-06-01T12:00:00Z")),
        ("get_servertime", "20260601T10:00:00", Value::Null),
    ] {
        let reply = json!({"jsonrpc": "2.0", "result": sent, "id": 1}).to_string();
        let reply = RawReply::http("200 OK", "application/json", reply);
        lab.sim.fault(Some(&format!("host.{call}")), Fault::Reply(reply), Some(1));
        let path = format!("/hosts/{host}/actions/{call}");
        let result = lab.gate.post(&path, Some(&token), &json!({})).await.ok();
        assert_eq!(result, json!({"result": want}), "{call} {sent}");
    }
    lab.end().await;
}

#[tokio::test]
async fn integers_are_read_in_every_spelling() {
    let mut lists = Vec::new();
    for integers in [Integers::Plain, Integers::Point, Integers::Exponent] {
        let lab = Lab::new().await;
        lab.sim.write_json(JsonWriter { integers, ..JsonWriter::default() });
        let token = lab.login().await;
        let list = lab.until("/vms", &token, |it| it.status == 200).await.ok();
        let first = &list["items"][0];
        assert!(first["memory_static_max"].as_i64().is_some_and(|size| size > 1 << 20), "{first}");
        lists.push(list);
        // Counts are integers too: a second look does not find that objects are missing.
        for turn in 0..4 {
            let name = format!("named {turn}");
            let uuid = first_uuid(&lists[0]);
            set(&lab, "VM", &uuid, "name_label", SimValue::text(name.as_str()));
            let vm = format!("/vms/{uuid}");
            lab.until(&vm, &token, |it| it.ok()["name_label"] == name.as_str()).await;
        }
        assert_eq!(lab.sim.everything_read(), 1, "{integers:?}");
        // Clients may spell them so as well.
        let uuid = first_uuid(&lists[0]);
        let request = lab.gate.request(Method::PATCH, &format!("/vms/{uuid}")).bearer_auth(&token);
        let request = request.header("Content-Type", "application/merge-patch+json");
        let answer = lab.gate.send(request.body(r#"{"order": 3e0, "shutdown_delay": 10.0}"#)).await;
        let vm = answer.ok();
        assert_eq!((&vm["order"], &vm["shutdown_delay"]), (&json!(3), &json!(10)));
        lab.end().await;
    }
    assert_eq!(lists[0], lists[1]);
    assert_eq!(lists[0], lists[2]);
}

fn first_uuid(list: &Value) -> String {
    list["items"][0]["uuid"].as_str().expect("a uuid").to_owned()
}

/// A reply to `event.from` with this event, and a token after which the pool has nothing to tell.
fn events_of(event: &str) -> RawReply {
    let token = format!("{:020},{:020}", u64::MAX >> 1, 0);
    let body = format!(
        r#"{{"jsonrpc":"2.0","result":{{"events":[{event}],"token":"{token}","valid_ref_counts":{{}}}},"id":1}}"#
    );
    RawReply::http("200 OK", "application/json", body)
}

#[tokio::test]
async fn an_event_of_which_nobody_knows_what_it_tells_leads_to_a_fresh_sync() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let uuid = &vms(&lab.sim, "Running", None)[0];
    let vm = format!("/vms/{uuid}");
    lab.get(&vm, &token).await.ok();
    lab.sim.hold("event.from");
    set(&lab, "VM", uuid, "name_label", SimValue::text("after"));
    let event = r#"{"id":"1","class":NaN,"operation":"mod","ref":NaN,"snapshot":{}}"#;
    lab.sim.fault(Some("event.from"), Fault::Reply(events_of(event)), Some(1));
    lab.sim.drop_connections();
    let stale = |it: &Answer| it.header("xen-stale") == Some(BACKEND);
    let reason = "cannot be read as they are now";
    lab.until("/backends", &token, |it| it.text().contains(reason)).await;
    lab.until(&vm, &token, stale).await;
    lab.sim.release("event.from");
    let fresh = |it: &Answer| it.ok()["name_label"] == "after" && it.header("xen-stale").is_none();
    lab.until(&vm, &token, fresh).await;
    assert_eq!(lab.sim.everything_read(), 2, "once more, and not again and again");
    lab.end().await;
}

#[tokio::test]
async fn an_event_that_cannot_be_read_has_its_object_asked_for() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let uuid = &vms(&lab.sim, "Running", None)[0];
    let vm = format!("/vms/{uuid}");
    lab.get(&vm, &token).await.ok();
    let reference = lab.sim.find("VM", uuid).expect("a VM");
    let event = format!(
        r#"{{"id":"1","timestamp":"0.0","class":"vm","operation":"mod","ref":"{reference}","snapshot":{{"uuid"}}}}"#
    );
    let reply = events_of(&event);
    // The pool's own event of the change is held back, and lost: nothing else will tell of it.
    lab.sim.hold("event.from");
    set(&lab, "VM", uuid, "name_label", SimValue::text("after"));
    lab.sim.fault(Some("event.from"), Fault::Reply(reply), Some(1));
    lab.sim.drop_connections();
    lab.until(&vm, &token, |it| it.ok()["name_label"] == "after").await;
    assert!(lab.sim.seen("VM.get_record") >= 1);
    lab.until(&vm, &token, |it| it.header("xen-stale").is_none()).await;
    lab.sim.release("event.from");
    lab.end().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_stale_until_it_can() {
    for dialect in DIALECTS {
        let lab = speaking(dialect).await;
        let token = lab.login().await;
        let uuid = &vms(&lab.sim, "Running", None)[0];
        let vm = format!("/vms/{uuid}");
        let before = lab.get(&vm, &token).await.ok();
        let reference = lab.sim.find("VM", uuid).expect("a VM");
        set(&lab, "VM", &reference, "uuid", SimValue::text("nobody knows"));
        let seen = lab.until(&vm, &token, |it| it.header("xen-stale") == Some(BACKEND)).await;
        assert_eq!(seen.ok(), before, "{dialect}: what was there last");
        assert!(seen.header("age").is_some());
        let backends = lab.get("/backends", &token).await.ok();
        let backend = &backends["items"][0];
        assert_eq!(backend["state"], "stale", "{backend}");
        assert!(backend.to_string().contains("cannot be read as they are now"), "{backend}");
        // Others are told of as before.
        let other = vms(&lab.sim, "Halted", None)[0].clone();
        set(&lab, "VM", &other, "name_label", SimValue::text("told"));
        let path = format!("/vms/{other}");
        lab.until(&path, &token, |it| it.ok()["name_label"] == "told").await;
        set(&lab, "VM", &reference, "name_label", SimValue::text("mended"));
        set(&lab, "VM", &reference, "uuid", SimValue::text(uuid.as_str()));
        let seen = lab.until(&vm, &token, |it| it.ok()["name_label"] == "mended").await;
        assert_eq!(seen.header("xen-stale"), None, "{dialect}");
        let backends = lab.get("/backends", &token).await.ok();
        assert_eq!(backends["items"][0]["state"], "live");
        lab.end().await;
    }
}

#[tokio::test]
async fn a_vm_without_a_metrics_record_is_measured_like_any_other() {
    let directory = tempfile::tempdir().expect("a directory");
    let lab = Lab::with(|_| {}, |config, _| set_up(config, &directory)).await;
    let token = lab.login().await;
    let running = vms(&lab.sim, "Running", None);
    let (null, dangling) = (&running[0], &running[1]);
    set(&lab, "VM", null, "metrics", SimValue::text(NULL));
    let nothing = "OpaqueRef:00000000-0000-0000-0000-00000000dead";
    set(&lab, "VM", dangling, "metrics", SimValue::text(nothing));
    for uuid in [null, dangling] {
        let vm = format!("/vms/{uuid}");
        lab.until(&vm, &token, |it| it.ok()["metrics"].is_null()).await;
        let metrics = lab.get(&path(uuid, ""), &token).await.ok();
        assert_eq!((&metrics["uuid"], &metrics["backend"]), (&Value::Null, &json!(BACKEND)));
        assert!(metrics["samples"]["cpu"]["value"].is_number(), "{metrics}");
        assert!(metrics["guest"].is_object() && metrics["sampling"]["reason"].is_null());
        assert!(metrics.get("memory_actual").is_none(), "the record has it, and there is none");
        let sources = lab.get(&path(uuid, "/sources"), &token).await.ok();
        assert!(sources["total"].as_u64().is_some_and(|total| total > 3), "{sources}");
        let history = lab.get(&path(uuid, "/history?from=-10m"), &token).await.ok();
        assert!(history["columns"].as_array().is_some_and(|columns| columns.len() > 3));
    }
    let scrape = scrape(&lab.gate).await;
    for uuid in [null, dangling] {
        let of = [("uuid", uuid.as_str())];
        assert!(scrape.value("xen_vm_memory_bytes", &of) > 0.0);
        assert!(!scrape.all("xen_vm_cpu_core_usage_ratio", &of).is_empty());
        assert!(scrape.all("xen_vm_start_time_seconds", &of).is_empty(), "nobody knows it");
    }
    let mut stream = Stream::open(&lab, "/events?classes=VM_metrics&samples=true", &token).await;
    stream.ready().await;
    let event =
        stream.until(|it| it["event"] == "samples" && it["data"]["of"]["uuid"] == null.as_str());
    let event = event.await;
    assert_eq!(
        (&event["data"]["class"], &event["data"]["uuid"]),
        (&json!("VM_metrics"), &Value::Null)
    );
    assert!(event["data"]["samples"]["cpu"]["value"].is_number(), "{event}");
    drop(stream);
    lab.end().await;
}
