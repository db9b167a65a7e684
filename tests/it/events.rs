//! Streams of events: what is told, in which order, to whom, for how long, and at what cost.

mod bad_days;
pub(crate) mod client;
mod ends;
mod filters;
mod limits;
mod resume;
mod samples;
mod socket;
mod state;
mod tickets;

use serde_json::{Value, json};
use xengate::sim::Value as SimValue;

use crate::lab::{Answer, Lab};
use client::Stream;

/// The uuid of some VM that is neither a template nor a control domain.
async fn a_vm(lab: &Lab, token: &str) -> String {
    let list = lab.get("/vms", token).await.ok();
    let items = list["items"].as_array().expect("items");
    let vm = items.iter().find(|vm| vm["is_control_domain"] == false).expect("a VM");
    vm["uuid"].as_str().expect("a uuid").to_owned()
}

fn rename(lab: &Lab, uuid: &str, name: &str) {
    lab.sim.set_field("VM", uuid, "name_label", SimValue::text(name)).expect("set");
}

/// How far the pool's mirror has come, as an id.
async fn revision(lab: &Lab, token: &str) -> String {
    let mut stream = Stream::open(lab, "/events?classes=pool", token).await;
    stream.ready().await["data"]["revision"].as_str().expect("a revision").to_owned()
}

fn problem(answer: &Answer, code: &str, name: &str) {
    let problem = answer.problem(400, code);
    assert_eq!(problem["params"], json!([name]), "{problem}");
}

#[tokio::test]
async fn a_stream_tells_what_there_is_and_then_what_happens() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let list = lab.get("/vms?limit=10000", &token).await.ok();
    let mut stream = Stream::open(&lab, "/events?collections=vms&snapshot=true", &token).await;
    let (told, ready) = stream.snapshot().await;
    let objects: Vec<&Value> = told.iter().map(|event| &event["data"]["object"]).collect();
    let items: Vec<&Value> = list["items"].as_array().expect("items").iter().collect();
    assert_eq!(objects, items, "the same objects in the same order");
    for event in &told {
        assert_eq!(event["event"], "add");
        assert_eq!(event["id"], Value::Null, "a snapshot is whole or nothing");
        assert_eq!(event["data"]["class"], "VM");
        assert_eq!(event["data"]["backend"], "lab");
        assert_eq!(event["data"]["uuid"], event["data"]["object"]["uuid"]);
        assert_eq!(event["data"]["changed"], json!([]));
    }
    assert_eq!(ready["id"], ready["data"]["revision"]);
    let live = json!([{"backend": "lab", "state": "live", "reason": null}]);
    assert_eq!(ready["data"]["backends"], live);

    let uuid = a_vm(&lab, &token).await;
    rename(&lab, &uuid, "another name");
    let event = stream.next().await;
    assert_eq!(event["event"], "mod");
    assert_eq!(event["data"]["uuid"], uuid.as_str());
    assert_eq!(event["data"]["changed"], json!(["name_label"]));
    assert_eq!(event["data"]["object"], lab.get(&format!("/vms/{uuid}"), &token).await.ok());
    assert_eq!(event["id"], event["data"]["revision"]);
    let number = |event: &Value| client::number(event["id"].as_str().expect("an id"));
    assert!(number(&event) > number(&ready));

    lab.sim.create("VM", &[("name_label", SimValue::text("new"))]).expect("made");
    let event = stream.next().await;
    assert_eq!(
        (&event["event"], &event["data"]["object"]["name_label"]),
        (&json!("add"), &json!("new"))
    );
    let new = event["data"]["uuid"].as_str().expect("a uuid").to_owned();
    lab.sim.destroy("VM", &new).expect("destroyed");
    let event = stream.next().await;
    assert_eq!(event["event"], "del");
    assert_eq!((&event["data"]["uuid"], &event["data"]["object"]), (&json!(new), &Value::Null));
    drop(stream);
    lab.end().await;
}

#[tokio::test]
async fn a_stream_without_a_snapshot_begins_with_word_of_where_it_stands() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let mut stream = Stream::open(&lab, "/events?classes=VM,task", &token).await;
    assert_eq!(stream.header("cache-control"), "no-store");
    assert_eq!(stream.header("x-accel-buffering"), "no");
    let ready = stream.next().await;
    assert_eq!(ready["event"], "ready");
    let uuid = a_vm(&lab, &token).await;
    let start = json!({});
    let path = format!("/vms/{uuid}/actions/clean_reboot");
    lab.gate.post(&path, Some(&token), &start).await;
    let answer = lab.gate.post(&format!("/vms/{uuid}/actions/start"), Some(&token), &start).await;
    assert!(answer.status == 202 || answer.status == 409, "{}", answer.status);
    rename(&lab, &uuid, "told");
    let event = stream.until(|event| event["data"]["object"]["name_label"] == "told").await;
    assert_eq!(event["data"]["class"], "VM");
    drop(stream);
    lab.end().await;
}

#[tokio::test]
async fn what_is_wrong_with_the_query_is_said_before_the_stream_begins() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    for (query, name) in [
        ("classes=VM,vm", "classes"),
        ("classes=", "classes"),
        ("classes=VM,,task", "classes"),
        ("classes=session", "classes"),
        ("classes=secret", "classes"),
        ("collections=VM", "collections"),
        ("collections=secrets", "collections"),
        ("classes=VM&filter=power_stat%20=%20Running", "filter"),
        ("classes=VM&filter=power_state%20=", "filter"),
        ("classes=VM&fields=name_labl", "fields"),
        ("classes=VM&fields=", "fields"),
        ("last_event_id=yesterday", "last_event_id"),
        ("last_event_id=0f3c9a71be42-", "last_event_id"),
        ("last_event_id=0f3c9a71be42-99999999999999999999999", "last_event_id"),
        ("snapshot=yes", "snapshot"),
    ] {
        problem(&lab.get(&format!("/events?{query}"), &token).await, "BAD_PARAMETER", name);
    }
    let long = "%28".repeat(1000);
    let answer = lab.get(&format!("/events?classes=VM&filter={long}"), &token).await;
    problem(&answer, "BAD_PARAMETER", "filter");
    for name in ["token", "access_token", "Authorization", "since"] {
        let answer = lab.get(&format!("/events?{name}={token}"), &token).await;
        problem(&answer, "UNKNOWN_PARAMETER", name);
    }
    lab.get("/events?backend=nowhere", &token).await.problem(404, "UNKNOWN_BACKEND");
    let request = lab.gate.request(reqwest::Method::GET, "/events").bearer_auth(&token);
    let answer = lab.gate.send(request.header("Accept", "application/json")).await;
    answer.problem(406, "NOT_ACCEPTABLE");
    lab.get("/events", "nonsense").await.problem(401, "INVALID_TOKEN");
    lab.end().await;
}

#[tokio::test]
async fn a_mirror_that_is_lost_and_found_is_told_of() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let mut stream = Stream::open(&lab, "/events?classes=VM", &token).await;
    stream.ready().await;
    let uuid = a_vm(&lab, &token).await;
    lab.sim.stop_listening();
    let event = stream.next().await;
    assert_eq!(event["event"], "backend");
    assert_eq!(
        (&event["data"]["backend"], &event["data"]["state"]),
        (&json!("lab"), &json!("stale"))
    );
    assert!(event["data"]["reason"].is_string(), "{event}");
    let mut late = Stream::open(&lab, "/events?classes=VM", &token).await;
    assert_eq!(late.ready().await["data"]["backends"][0]["state"], "stale");
    rename(&lab, &uuid, "meanwhile");
    lab.sim.listen_again().expect("the same port");
    for stream in [&mut stream, &mut late] {
        assert_eq!(stream.next().await["data"]["object"]["name_label"], "meanwhile");
        stream.live().await;
    }
    drop((stream, late));
    lab.end().await;
}

#[tokio::test]
async fn a_stream_gives_signs_of_life_and_its_id_moves_on() {
    let second = std::time::Duration::from_millis(100);
    let lab = Lab::with(|_| {}, |config, _| config.limits.event_heartbeat = second).await;
    let token = lab.login().await;
    let mut stream = Stream::open(&lab, "/events?classes=pool", &token).await;
    let ready = stream.ready().await;
    stream.heartbeat().await;
    assert_eq!(stream.last_id(), ready["id"].as_str());
    let uuid = a_vm(&lab, &token).await;
    rename(&lab, &uuid, "not for this stream");
    let first = client::number(stream.last_id().expect("an id"));
    while client::number(stream.last_id().expect("an id")) <= first {
        stream.heartbeat().await;
    }
    drop(stream);
    lab.end().await;
}

#[tokio::test]
async fn streams_that_ask_for_the_same_are_told_the_same() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let uuid = a_vm(&lab, &token).await;
    let mut streams = Vec::new();
    for number in 0..20 {
        // However it is written, it is the same.
        let filter =
            if number % 2 == 0 { "name_label~%22a*%22" } else { "name_label%20~%20%22a*%22" };
        let path = format!("/events?classes=VM&filter={filter}");
        let mut stream = Stream::open(&lab, &path, &token).await;
        stream.ready().await;
        streams.push(stream);
    }
    let before = lab.gate.streams();
    assert_eq!((before.streams, before.groups), (20, 1));
    rename(&lab, &uuid, "a name");
    let mut told = Vec::new();
    for stream in &mut streams {
        told.push(stream.next().await);
    }
    assert!(told.iter().all(|event| *event == told[0] && event["event"] == "add"), "{told:?}");
    assert_eq!(lab.gate.streams().encoded, before.encoded + 1, "encoded once for all");
    drop(streams);
    lab.end().await;
}
