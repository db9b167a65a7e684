//! Clients that come back.

use serde_json::{Value, json};
use xengate::sim::{Failure, Fault};

use super::client::{Stream, number};
use super::{a_vm, rename, revision};
use crate::lab::Lab;

const PATH: &str = "/events?classes=VM&fields=name_label";

fn name(event: &Value) -> &str {
    event["data"]["object"]["name_label"].as_str().unwrap_or_else(|| panic!("{event}"))
}

#[tokio::test]
async fn who_comes_back_is_told_what_was_missed_and_nothing_twice() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let uuid = a_vm(&lab, &token).await;
    let mut stream = Stream::open(&lab, PATH, &token).await;
    let ready = stream.ready().await;
    let mut ids = vec![ready["id"].as_str().expect("an id").to_owned()];
    for step in 0..5 {
        rename(&lab, &uuid, &format!("name {step}"));
        let event = stream.next().await;
        assert_eq!(name(&event), format!("name {step}"));
        ids.push(event["id"].as_str().expect("an id").to_owned());
    }
    drop(stream);
    for (seen, id) in ids.iter().enumerate() {
        let by_query = format!("{PATH}&last_event_id={id}");
        for mut stream in [
            Stream::again(&lab, PATH, &token, id).await,
            Stream::open(&lab, &by_query, &token).await,
        ] {
            let (missed, ready) = stream.snapshot().await;
            let names: Vec<&str> = missed.iter().map(name).collect();
            let expected: Vec<String> = (seen..5).map(|step| format!("name {step}")).collect();
            assert_eq!(names, expected);
            assert_eq!(ready["id"].as_str(), ids.last().map(String::as_str));
        }
    }
    // Browsers remember an id by themselves: the header is newer than the query.
    let by_query = format!("{PATH}&last_event_id={}", ids[0]);
    let mut stream = Stream::again(&lab, &by_query, &token, &ids[4]).await;
    assert_eq!(stream.snapshot().await.0.len(), 1);
    drop(stream);
    lab.end().await;
}

#[tokio::test]
async fn who_comes_back_from_elsewhere_begins_anew() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let now = revision(&lab, &token).await;
    let run = now.split_once('-').expect("an id").0.to_owned();
    let list = lab.get("/vms", &token).await.ok();
    for (id, reason) in [
        (format!("0123456789ab-{}", number(&now)), "other_run"),
        (format!("{run}-{}", number(&now) + 1), "too_old"),
        (format!("{run}-0"), "interrupted"),
    ] {
        let mut stream = Stream::again(&lab, PATH, &token, &id).await;
        let event = stream.next().await;
        assert_eq!(event["event"], "resync");
        assert_eq!(event["data"], json!({"reason": reason, "snapshot": false}));
        stream.ready().await;
        let path = "/events?collections=vms&snapshot=true";
        let mut stream = Stream::again(&lab, path, &token, &id).await;
        let event = stream.next().await;
        assert_eq!(event["data"], json!({"reason": reason, "snapshot": true}));
        assert_eq!(stream.snapshot().await.0.len(), list["items"].as_array().expect("items").len());
    }
    lab.end().await;
}

#[tokio::test]
async fn who_is_cut_off_within_a_snapshot_learns_that_it_is_not_whole() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let path = "/events?classes=VM&snapshot=true";
    let mut stream = Stream::open(&lab, path, &token).await;
    stream.next().await;
    let id = stream.last_id().expect("an id from the first").to_owned();
    drop(stream);
    let mut stream = Stream::again(&lab, path, &token, &id).await;
    assert_eq!(stream.next().await["data"]["reason"], "interrupted");
    stream.snapshot().await;
    drop(stream);
    lab.end().await;
}

#[tokio::test]
async fn who_was_away_for_too_long_is_told_to_begin_anew() {
    let lab = Lab::with(|_| {}, |config, _| config.limits.event_history = 40 << 10).await;
    let token = lab.login().await;
    let uuid = a_vm(&lab, &token).await;
    let first = revision(&lab, &token).await;
    let mut stream = Stream::open(&lab, PATH, &token).await;
    stream.ready().await;
    let mut last = first.clone();
    for step in 0..30 {
        rename(&lab, &uuid, &format!("name {step}"));
        let event = stream.next().await;
        assert_eq!(name(&event), format!("name {step}"), "who is there misses nothing");
        if step == 28 {
            last = event["id"].as_str().expect("an id").to_owned();
        }
    }
    let mut late = Stream::again(&lab, PATH, &token, &first).await;
    let event = late.next().await;
    assert_eq!(event["data"], json!({"reason": "too_old", "snapshot": false}));
    late.ready().await;
    let mut in_time = Stream::again(&lab, PATH, &token, &last).await;
    assert_eq!(name(&in_time.next().await), "name 29");
    drop((stream, late, in_time));
    lab.end().await;
}

#[tokio::test]
async fn a_fresh_sync_of_the_mirror_is_told_as_what_it_changed() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let uuid = a_vm(&lab, &token).await;
    let mut stream = Stream::open(&lab, "/events?classes=VM,VM_metrics,host", &token).await;
    let before = stream.ready().await;
    let read = lab.sim.everything_read();
    let failure = Failure::new("EVENT_FROM_TOKEN_PARSE_FAILURE", ["x"]);
    lab.sim.fault(Some("event.from"), Fault::Fail(failure), Some(1));
    // The call that waits gets this one, the next one fails: then everything is read anew.
    rename(&lab, &uuid, "one");
    assert_eq!(stream.next().await["data"]["object"]["name_label"], "one");
    rename(&lab, &uuid, "two");
    let event = stream.next().await;
    assert_eq!(event["event"], "mod", "nothing else has changed: {event}");
    assert_eq!(event["data"]["object"]["name_label"], "two");
    assert_eq!(lab.sim.everything_read(), read + 1);
    let id = before["id"].as_str().expect("an id");
    let mut again = Stream::again(&lab, "/events?classes=VM&fields=name_label", &token, id).await;
    let (missed, _) = again.snapshot().await;
    assert_eq!(missed.iter().map(name).collect::<Vec<_>>(), ["one", "two"]);
    drop((stream, again));
    lab.end().await;
}
