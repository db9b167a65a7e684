//! Clients that do not do their part.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use xengate::sim::Value as SimValue;

use super::a_vm;
use super::client::Stream;
use crate::lab::Lab;

/// More than the buffers of a socket hold, together.
const MUCH: usize = 24 << 20;
const TEXT: usize = 400 << 10;

/// A stream whose client reads nothing.
async fn deaf(lab: &Lab, path: &str, token: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("set");
    let mut stream = socket.connect(lab.gate.address()).await.expect("connected");
    let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).await.expect("a status");
    assert_eq!(&begin, b"HTTP/1.1 200");
    stream
}

/// Changes a VM again and again, a lot of it; another stream sees that each change is told.
async fn much_happens(lab: &Lab, token: &str, uuid: &str) {
    let mut watcher = Stream::open(lab, "/events?classes=VM", token).await;
    watcher.ready().await;
    for step in 0..MUCH / TEXT {
        let text = format!("{step} {}", "x".repeat(TEXT));
        lab.sim
            .set_field("VM", uuid, "name_description", SimValue::text(text.as_str()))
            .expect("set");
        let event = watcher.next().await;
        assert_eq!(event["event"], "mod", "a slow client is in nobody's way");
        assert_eq!(event["data"]["object"]["name_description"], text.as_str());
    }
}

#[tokio::test]
async fn who_never_reads_is_sent_away_and_gives_room() {
    let lab = Lab::with(
        |_| {},
        |config, _| {
            config.limits.write_timeout = Duration::from_millis(500);
            config.limits.max_event_streams = 2;
            // A client that has gone is noticed by writing.
            config.limits.event_heartbeat = Duration::from_millis(200);
            config.limits.event_history = 1 << 20;
        },
    )
    .await;
    let token = lab.login().await;
    let uuid = a_vm(&lab, &token).await;
    let mut stream = deaf(&lab, "/events?classes=VM&snapshot=true", &token).await;
    much_happens(&lab, &token, &uuid).await;
    // The place of the one that is gone is another's: two are open for a moment.
    let one = Stream::open(&lab, "/events?classes=pool", &token).await;
    lab.until("/events?classes=pool", &token, |answer| answer.status == 200).await;
    drop(one);
    let mut rest = Vec::new();
    // It is cut, politely or not.
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.len() < MUCH, "{} bytes had been kept for it", rest.len());
    lab.end().await;
}

#[tokio::test]
async fn who_reads_too_slowly_begins_anew_and_ends_up_with_the_same() {
    let lab = Lab::with(|_| {}, |config, _| config.limits.event_history = 1 << 20).await;
    let token = lab.login().await;
    let uuid = a_vm(&lab, &token).await;
    let path = "/events?collections=vms&snapshot=true";
    let mut slow = Stream::open(&lab, path, &token).await;
    slow.snapshot().await;
    much_happens(&lab, &token, &uuid).await;
    let resync = slow.until(|event| event["event"] == "resync").await;
    assert_eq!(resync["data"]["reason"], "too_slow");
    let (told, _) = slow.snapshot().await;
    let objects: Vec<&Value> = told.iter().map(|event| &event["data"]["object"]).collect();
    let list = lab.get("/vms", &token).await.ok();
    assert_eq!(objects, list["items"].as_array().expect("items").iter().collect::<Vec<_>>());
    drop(slow);
    lab.end().await;
}

#[tokio::test]
async fn too_much_at_once_is_a_fresh_start() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let uuid = a_vm(&lab, &token).await;
    let mut stream = Stream::open(&lab, "/events?classes=VM", &token).await;
    let mut narrow = Stream::open(&lab, "/events?classes=VM&fields=name_label", &token).await;
    stream.ready().await;
    narrow.ready().await;
    let text = "x".repeat(2 << 20);
    lab.sim.set_field("VM", &uuid, "name_description", SimValue::text(text.as_str())).expect("set");
    let event = stream.next().await;
    assert_eq!((&event["event"], &event["data"]["reason"]), (&"resync".into(), &"too_much".into()));
    stream.ready().await;
    super::rename(&lab, &uuid, "small");
    assert_eq!(narrow.next().await["data"]["object"]["name_label"], "small");
    drop((stream, narrow));
    lab.end().await;
}
