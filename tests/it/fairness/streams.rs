//! Event streams of one user that ask for much leave the others whole.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use xengate::sim::{PASSWORD, Value};

use super::queries::costly;
use super::{alone, tenths, unharmed, victim};
use crate::lab::Lab;
use crate::queries::asking;

#[tokio::test]
async fn different_filters_of_one_user_leave_groups_to_others() {
    let _alone = alone().await;
    let lab = Lab::with(
        |_| {},
        |config, _| {
            // By which it is noticed that a client has gone.
            config.limits.event_heartbeat = Duration::from_millis(200);
            config.limits.max_event_groups = 20;
            config.limits.max_event_groups_per_user = 10;
        },
    )
    .await;
    let (victim, root, again) = (victim(&lab).await, lab.login().await, lab.login().await);
    let mut open = Vec::new();
    let mut refused = 0;
    for number in 0..tenths(50) {
        let path =
            asking("/events", &[("filter", &format!("name_label = n{number}")), ("classes", "VM")]);
        let token = if number % 2 == 0 { &root } else { &again };
        let response = lab.gate.request(Method::GET, &path).bearer_auth(token).send().await;
        let response = response.expect("an answer");
        match response.status().as_u16() {
            200 => open.push(response),
            429 => refused += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!((open.len(), refused), (10, tenths(50) - 10));
    // What one asks for already is nothing more.
    let same = asking("/events", &[("filter", "name_label = n0"), ("classes", "VM")]);
    lab.get(&same, &again).await.text();
    for number in 0..10 {
        let path =
            asking("/events", &[("filter", &format!("name_label = v{number}")), ("classes", "VM")]);
        let response = lab.gate.request(Method::GET, &path).bearer_auth(&victim).send().await;
        let response = response.expect("an answer");
        assert_eq!(response.status(), 200);
        open.push(response);
    }
    let problem = lab.get(&asking("/events", &[("classes", "host")]), &victim).await;
    let problem = problem.problem(429, "TOO_MANY_OWN_STREAMS");
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("different")), "{problem}");
    drop(open);
    lab.until("/events?classes=host", &root, |answer| answer.status == 200).await;
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_with_costly_filters_hold_up_nobody_else() {
    let _alone = alone().await;
    let vms = tenths(60);
    let lab =
        Lab::with(|sim| sim.vms = vms, |config, _| config.limits.max_query_cost = 1 << 40).await;
    let lab = Arc::new(lab);
    let (victim, reader) = (victim(&lab).await, lab.gate.login("read-only", PASSWORD).await);
    let mut open = Vec::new();
    for number in 0..20 {
        let filter = costly(number);
        let path =
            asking("/events", &[("classes", "VM"), ("snapshot", "true"), ("filter", &filter)]);
        let response = lab.gate.request(Method::GET, &path).bearer_auth(&reader).send().await;
        let response = response.expect("an answer");
        assert_eq!(response.status(), 200);
        open.push(response);
    }
    // Each change of a disk has every VM asked anew, for each of them.
    let sim = lab.sim.refs("SR");
    let sr = sim[0].to_string();
    let changing = async {
        for number in 0.. {
            let name = Value::text(format!("name {number}"));
            lab.sim.set_field("SR", &sr, "name_label", name).expect("set");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = changing => unreachable!("it goes on"),
        () = unharmed("costly streams", &lab, &victim, &["/vms", "/hosts"]) => {}
    }
    drop(open);
    Arc::try_unwrap(lab).ok().expect("nobody else has it").end().await;
}

#[tokio::test]
async fn a_stream_whose_filter_has_come_to_cost_too_much_ends_with_a_word() {
    let _alone = alone().await;
    let lab = Lab::with(|_| {}, |config, _| config.limits.max_query_cost = 20_000).await;
    let token = lab.login().await;
    let filter =
        "resident_on.name_label = q or resident_on.address = q or resident_on.hostname = q";
    let path = asking("/events", &[("classes", "VM"), ("filter", filter)]);
    let request = lab.gate.request(Method::GET, &path).bearer_auth(&token);
    let mut stream = request.send().await.expect("an answer");
    assert_eq!(stream.status(), 200);
    for _ in 0..1000 {
        lab.sim.create("VM", &[]).expect("a VM");
    }
    // One that begins now is refused like a list.
    let refused = lab.until(&path, &token, |answer| answer.status == 400).await;
    refused.problem(400, "QUERY_TOO_COSTLY");
    let host = lab.sim.refs("host")[0].to_string();
    lab.sim.set_field("host", &host, "name_label", Value::text("other")).expect("set");
    let mut text = String::new();
    while let Some(chunk) = stream.chunk().await.expect("a stream") {
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(text.contains("event: end") && text.contains("\"too_costly\""), "{text}");
    lab.end().await;
}
