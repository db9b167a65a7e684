//! How many streams there may be.

use std::time::Duration;

use super::client::Stream;
use crate::lab::Lab;
use xengate::sim::User;

const PATH: &str = "/events?classes=pool";
/// A client that has gone is noticed by writing.
const HEARTBEAT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn one_stream_more_than_there_may_be_is_refused_with_a_word() {
    let lab = Lab::with(
        |_| {},
        |config, _| {
            config.limits.event_heartbeat = HEARTBEAT;
            config.limits.max_event_streams = 5;
            config.limits.max_event_streams_per_session = 3;
        },
    )
    .await;
    let (one, two) = (lab.login().await, lab.login().await);
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(Stream::open(&lab, PATH, &one).await);
    }
    let answer = lab.get(PATH, &one).await;
    answer.problem(429, "TOO_MANY_OWN_STREAMS");
    assert!(answer.header("retry-after").is_some());
    for _ in 0..2 {
        streams.push(Stream::open(&lab, PATH, &two).await);
    }
    let answer = lab.get(PATH, &two).await;
    let problem = answer.problem(503, "TOO_MANY_STREAMS");
    assert_eq!(problem["retryable"], true);
    assert!(answer.header("retry-after").is_some());
    lab.get("/vms", &two).await.ok();
    // Whoever goes makes room.
    drop(streams.remove(0));
    lab.until(PATH, &one, |answer| answer.status == 200).await;
    drop(streams);
    lab.end().await;
}

#[tokio::test]
async fn no_user_takes_the_places_of_all_others() {
    let lab = Lab::with(
        |_| {},
        |config, _| {
            config.limits.event_heartbeat = HEARTBEAT;
            config.limits.max_event_streams = 6;
            config.limits.max_event_streams_per_session = 3;
            config.limits.max_event_streams_per_user = 4;
        },
    )
    .await;
    lab.sim.put_user(User::superuser("other", "secret"));
    let mut streams = Vec::new();
    for (taken, free) in [(0, 3), (3, 1), (4, 0)] {
        // Another session is no other user, and one after another is no way around it.
        let token = lab.login().await;
        for _ in 0..free {
            streams.push(Stream::open(&lab, PATH, &token).await);
        }
        let answer = lab.get(PATH, &token).await;
        let problem = answer.problem(429, "TOO_MANY_OWN_STREAMS");
        let of = if taken == 0 { "session has" } else { "user has" };
        assert!(problem["detail"].as_str().expect("text").contains(of), "{problem}");
        assert!(answer.header("retry-after").is_some());
    }
    let other = lab.gate.login("other", "secret").await;
    for _ in 0..2 {
        streams.push(Stream::open(&lab, PATH, &other).await);
    }
    lab.get(PATH, &other).await.problem(503, "TOO_MANY_STREAMS");
    drop(streams.remove(0));
    lab.until(PATH, &other, |answer| answer.status == 200).await;
    drop(streams);
    lab.end().await;
}

#[tokio::test]
async fn thousands_of_streams_leave_room_for_requests() {
    let lab = Lab::with(|_| {}, |config, _| config.limits.max_event_streams = 50).await;
    let token = lab.login().await;
    let (mut taken, mut refused) = (Vec::new(), 0);
    for _ in 0..500 {
        let request = lab.gate.request(reqwest::Method::GET, PATH).bearer_auth(&token);
        let response = request.send().await.expect("an answer");
        match response.status().as_u16() {
            200 => taken.push(response),
            503 => refused += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!((taken.len(), refused), (50, 450));
    lab.get("/vms", &token).await.ok();
    drop(taken);
    lab.end().await;
}

#[tokio::test]
async fn what_streams_ask_for_may_not_differ_without_bounds() {
    let lab = Lab::with(
        |_| {},
        |config, _| {
            config.limits.event_heartbeat = HEARTBEAT;
            config.limits.max_event_groups = 2;
        },
    )
    .await;
    let token = lab.login().await;
    let streams = [
        Stream::open(&lab, "/events?classes=pool", &token).await,
        Stream::open(&lab, "/events?classes=pool&snapshot=true", &token).await,
        Stream::open(&lab, "/events?classes=host", &token).await,
    ];
    lab.get("/events?classes=VM", &token).await.problem(503, "TOO_MANY_STREAMS");
    drop(streams);
    lab.until("/events?classes=VM", &token, |answer| answer.status == 200).await;
    lab.end().await;
}
