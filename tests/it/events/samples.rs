//! What is measured, told to who listens.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::client::Stream;
use super::problem;
use super::socket::Socket;
use crate::lab::Lab;

const PATH: &str = "/events?classes=VM_metrics&samples=true";
const UPDATES: &str = "/rrd_updates";

async fn two_hosts() -> Lab {
    Lab::with(|sim| (sim.vms, sim.hosts) = (20, Some(2)), |_, _| {}).await
}

fn is_samples(event: &Value) -> bool {
    event["event"] == "samples"
}

/// The uuids of the running VMs.
async fn running(lab: &Lab, token: &str) -> BTreeSet<String> {
    let list = lab.get("/vms?filter=power_state%20=%20Running&limit=10000", token).await.ok();
    let items = list["items"].as_array().expect("items").iter();
    items.map(|vm| vm["uuid"].as_str().expect("a uuid").to_owned()).collect()
}

#[tokio::test]
async fn samples_of_every_running_vm_are_told_on_either_wire() {
    let lab = two_hosts().await;
    let token = lab.login().await;
    let vms = running(&lab, &token).await;
    let mut stream = Stream::open(&lab, PATH, &token).await;
    let mut socket = Socket::with_token(&lab, PATH, &token).await;
    stream.ready().await;
    assert_eq!(socket.next().await["event"], "ready");
    let (mut told, mut told_there) = (BTreeSet::new(), BTreeSet::new());
    while told != vms || told_there != vms {
        let event = match told != vms {
            true => stream.until(is_samples).await,
            false => socket.next().await,
        };
        if !is_samples(&event) {
            continue;
        }
        let data = &event["data"];
        assert_eq!(event["id"], Value::Null, "no place to go on from: {event}");
        assert_eq!((&data["class"], &data["backend"]), (&json!("VM_metrics"), &json!("lab")));
        assert_eq!(data["of"]["class"], "VM");
        assert!(data["samples"]["cpu"]["value"].is_number(), "{event}");
        assert_eq!(data["samples"]["memory_bytes"]["unit"], "bytes");
        assert_eq!(data["sampling"]["reason"], Value::Null);
        let vm = data["of"]["uuid"].as_str().expect("a uuid").to_owned();
        if told != vms {
            let record = lab.get(&format!("/vms/{vm}"), &token).await.ok();
            assert_eq!(record["metrics"], data["uuid"]);
            assert!(told.insert(vm), "once each until the next measurement");
        } else {
            told_there.insert(vm);
        }
    }
    assert!(told.is_subset(&vms), "what does not run has no samples");
    drop((stream, socket));
    lab.end().await;
}

#[tokio::test]
async fn many_listeners_cost_a_host_and_the_gateway_what_one_does() {
    let lab = two_hosts().await;
    let token = lab.login().await;
    let mut streams = Vec::new();
    for _ in 0..5 {
        streams.push(Stream::open(&lab, PATH, &token).await);
    }
    let before = lab.gate.streams().encoded;
    let mut first = Vec::new();
    for stream in &mut streams {
        first.push(stream.until(is_samples).await);
    }
    let first_time = |event: &Value| event["data"]["sampling"]["time"].clone();
    // The next measurement of the same host.
    let (host, time) = (first[0]["data"]["sampling"]["host"].clone(), first_time(&first[0]));
    for stream in &mut streams {
        let next = |event: &Value| {
            is_samples(event)
                && event["data"]["sampling"]["host"] == host
                && first_time(event) != time
        };
        stream.until(next).await;
    }
    // Each host was asked for the first samples and for those after them.
    let asked = lab.sim.seen(UPDATES);
    assert!((2..=6).contains(&asked), "{asked} times");
    let encoded = lab.gate.streams().encoded - before;
    assert!((2..=6).contains(&encoded), "{encoded} times");
    assert_eq!(lab.gate.streams().groups, 1);
    drop(streams);
    lab.end().await;
}

#[tokio::test]
async fn hosts_and_srs_have_samples_and_filters_choose() {
    let lab = two_hosts().await;
    let token = lab.login().await;
    let mut stream =
        Stream::open(&lab, "/events?classes=host_metrics,SR&samples=true", &token).await;
    let (mut hosts, mut srs) = (BTreeSet::new(), false);
    while hosts.len() < 2 || !srs {
        let event = stream.until(is_samples).await;
        let of = &event["data"]["of"];
        match event["data"]["class"].as_str() {
            Some("host_metrics") => {
                assert_eq!(of["class"], "host");
                assert!(event["data"]["samples"]["memory_total_bytes"]["value"].is_number());
                hosts.insert(of["uuid"].as_str().expect("a uuid").to_owned());
            }
            Some("SR") => {
                assert_eq!(of, &json!({"class": "SR", "uuid": event["data"]["uuid"]}));
                srs = true;
            }
            _ => panic!("{event}"),
        }
    }
    drop(stream);
    let vm = running(&lab, &token).await.into_iter().next().expect("a VM");
    let metrics = lab.get(&format!("/vms/{vm}"), &token).await.ok()["metrics"].clone();
    let metrics = metrics.as_str().expect("a uuid");
    let mut stream =
        Stream::open(&lab, &format!("{PATH}&filter=uuid%20=%20{metrics}"), &token).await;
    for _ in 0..2 {
        let event = stream.until(is_samples).await;
        assert_eq!(event["data"]["of"]["uuid"], *vm);
    }
    drop(stream);
    lab.end().await;
}

#[tokio::test]
async fn samples_are_asked_for_where_there_are_some() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    for path in ["/events?classes=VM&samples=true", "/events?collections=vms&samples=true"] {
        problem(&lab.get(path, &token).await, "BAD_PARAMETER", "samples");
    }
    let answer = lab.get("/events?samples=1", &token).await;
    assert_eq!(answer.status, 400);
    let mut stream = Stream::open(&lab, "/events?samples=true", &token).await;
    stream.until(is_samples).await;
    // Who does not ask for them gets none, and no host is asked for their sake.
    drop(stream);
    let lone = Lab::new().await;
    let token = lone.login().await;
    let mut stream = Stream::open(&lone, "/events?classes=VM_metrics", &token).await;
    stream.ready().await;
    assert_eq!(lone.sim.seen(UPDATES), 0);
    drop(stream);
    lone.end().await;
    lab.end().await;
}

#[tokio::test]
async fn a_host_that_falls_silent_is_told_of_with_a_reason() {
    let lab = two_hosts().await;
    let token = lab.login().await;
    lab.sim.hold("host-02/rrd_updates");
    let mut stream = Stream::open(&lab, PATH, &token).await;
    let slow =
        |event: &Value| is_samples(event) && event["data"]["sampling"]["reason"] != Value::Null;
    let event = stream.until(slow).await;
    assert_eq!(event["data"]["sampling"]["reason"]["code"], "HOST_SLOW");
    assert_eq!(event["data"]["samples"]["cpu"]["value"], Value::Null);
    let host = event["data"]["sampling"]["host"].clone();
    lab.sim.release("host-02/rrd_updates");
    let well = |event: &Value| {
        is_samples(event)
            && event["data"]["sampling"]["host"] == host
            && event["data"]["samples"]["cpu"]["value"].is_number()
    };
    stream.until(well).await;
    drop(stream);
    lab.end().await;
}

#[tokio::test]
async fn samples_go_on_in_the_name_of_who_is_left() {
    let lab = Lab::new().await;
    let (one, two) = (lab.login().await, lab.login().await);
    let mut first = Stream::open(&lab, PATH, &one).await;
    let mut second = Stream::open(&lab, PATH, &two).await;
    first.until(is_samples).await;
    let request = lab.gate.request(reqwest::Method::DELETE, "/sessions/current");
    assert_eq!(lab.gate.send(request.bearer_auth(&one)).await.status, 204);
    first.until(|event| event["event"] == "end").await;
    let time = second.until(is_samples).await["data"]["sampling"]["time"].clone();
    let newer = |event: &Value| is_samples(event) && event["data"]["sampling"]["time"] != time;
    assert_eq!(second.until(newer).await["data"]["sampling"]["reason"], Value::Null);
    drop((first, second));
    lab.end().await;
}
