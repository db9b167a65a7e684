//! How streams end, and what keeps them and their sessions alive.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use xengate::config::BackendConfig;
use xengate::sim::{Sim, SimConfig};

use super::client::Stream;
use super::{a_vm, rename};
use crate::lab::Lab;

#[tokio::test]
async fn a_logout_ends_the_streams_of_its_session_and_no_others() {
    let lab = Lab::new().await;
    let (token, other) = (lab.login().await, lab.login().await);
    let uuid = a_vm(&lab, &token).await;
    let mut one = Stream::open(&lab, "/events?classes=VM", &token).await;
    let mut two = Stream::open(&lab, "/events?classes=task&snapshot=true", &token).await;
    let mut others = Stream::open(&lab, "/events?classes=VM", &other).await;
    one.ready().await;
    two.snapshot().await;
    others.ready().await;
    let logout = lab.gate.request(Method::DELETE, "/sessions/current").bearer_auth(&token);
    lab.gate.send(logout).await;
    for stream in [&mut one, &mut two] {
        assert_eq!(stream.end().await, json!({"reason": "logged_out", "backend": null}));
    }
    rename(&lab, &uuid, "told");
    assert_eq!(others.next().await["data"]["object"]["name_label"], "told");
    drop((one, two, others));
    lab.end().await;
}

#[tokio::test]
async fn a_stream_ends_when_its_token_does() {
    let short = Duration::from_secs(2);
    let lab = Lab::with(|_| {}, |config, _| config.auth.token_ttl = short).await;
    let token = lab.login().await;
    let mut stream = Stream::open(&lab, "/events?classes=VM", &token).await;
    stream.ready().await;
    assert_eq!(stream.end().await["reason"], "expired");
    lab.get("/vms", &token).await.problem(401, "INVALID_TOKEN");
    lab.end().await;
}

#[tokio::test]
async fn an_open_stream_keeps_its_session_from_going_idle() {
    let lab = Lab::with(
        |_| {},
        |config, _| {
            config.auth.idle_ttl = Duration::from_secs(1);
            config.limits.event_heartbeat = Duration::from_millis(200);
        },
    )
    .await;
    let (token, idle) = (lab.login().await, lab.login().await);
    let mut stream = Stream::open(&lab, "/events?classes=pool", &token).await;
    stream.ready().await;
    // Until the session that nobody uses has gone idle, which takes as long as it takes.
    for _ in 0..10 {
        stream.heartbeat().await;
    }
    lab.get("/vms", &idle).await.problem(401, "INVALID_TOKEN");
    lab.get("/vms", &token).await.ok();
    drop(stream);
    lab.end().await;
}

#[tokio::test]
async fn a_session_that_the_pool_ends_ends_its_streams() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let mut stream = Stream::open(&lab, "/events?classes=VM", &token).await;
    stream.ready().await;
    lab.sim.end_sessions(None);
    let end = stream.until(|event| event["event"] == "end").await;
    assert_eq!(end["data"]["reason"], "session_ended");
    lab.end().await;
}

#[tokio::test]
async fn a_backend_whose_login_is_over_ends_the_streams_that_have_it() {
    let other = SimConfig { batching: Some(Duration::ZERO), ..crate::lab::pool() };
    let other = Sim::start(other).expect("another pool");
    let lab = Lab::with(
        |_| {},
        |config, _| {
            let backend = BackendConfig::new(vec![other.url()]);
            config.backends.insert("other".to_owned(), backend);
            config.auth.default_backends = vec!["lab".to_owned(), "other".to_owned()];
        },
    )
    .await;
    let token = lab.login().await;
    // Until both are mirrored, so that what they say is about both.
    lab.until("/pools", &token, |answer| answer.ok()["total"] == 2).await;
    let mut both = Stream::open(&lab, "/events?classes=pool&snapshot=true", &token).await;
    let (told, ready) = both.snapshot().await;
    assert_eq!(told.len(), 2);
    let backends = ready["data"]["backends"].as_array().expect("backends");
    let names: Vec<&str> =
        backends.iter().map(|one| one["backend"].as_str().expect("a name")).collect();
    assert_eq!(names, ["lab", "other"]);
    let mut one = Stream::open(&lab, "/events?classes=VM&backend=lab", &token).await;
    one.ready().await;
    other.end_sessions(None);
    let end = both.until(|event| event["event"] == "end").await;
    assert_eq!(end["data"], json!({"reason": "session_ended", "backend": "other"}));
    let list = lab.get("/vms?backend=lab", &token).await.ok();
    let uuid = list["items"][0]["uuid"].as_str().expect("a uuid");
    rename(&lab, uuid, "told");
    assert_eq!(one.next().await["data"]["object"]["name_label"], "told");
    // Whoever comes back has what is left.
    let mut left = Stream::open(&lab, "/events?classes=pool", &token).await;
    assert_eq!(left.ready().await["data"]["backends"].as_array().map(Vec::len), Some(1));
    drop((both, one, left));
    lab.end().await;
    other.stop().await;
}

#[tokio::test]
async fn shutting_down_ends_streams_with_a_word() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let path = lab.gate.url("/events?classes=VM");
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut response = client.get(path).bearer_auth(&token).send().await.expect("a stream");
    let mut text = String::new();
    while !text.contains("event: ready") {
        let chunk = response.chunk().await.expect("a body").expect("more");
        text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
    }
    let Lab { sim, gate } = lab;
    let stopping = tokio::spawn(gate.stop());
    while let Some(chunk) = response.chunk().await.expect("an end that is no cut") {
        text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
    }
    assert!(text.ends_with("event: end\ndata: {\"reason\":\"shutdown\",\"backend\":null}\n\n"));
    stopping.await.expect("no panic");
    sim.stop().await;
}

#[tokio::test]
async fn a_stream_is_no_request_that_takes_too_long_or_too_much_room() {
    let lab = Lab::with(
        |_| {},
        |config, _| {
            config.limits.request_timeout = Duration::from_secs(1);
            config.limits.max_concurrent_requests = 1;
            config.limits.max_unsent = 64 << 10;
            config.limits.event_heartbeat = Duration::from_millis(200);
        },
    )
    .await;
    let token = lab.login().await;
    let mut streams = Vec::new();
    for _ in 0..5 {
        let mut stream = Stream::open(&lab, "/events?classes=pool", &token).await;
        stream.ready().await;
        streams.push(stream);
    }
    for _ in 0..8 {
        for stream in &mut streams {
            stream.heartbeat().await;
        }
    }
    lab.get("/hosts", &token).await.ok();
    drop(streams);
    lab.end().await;
}
