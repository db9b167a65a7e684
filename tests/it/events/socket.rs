//! The same over a WebSocket.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::client::Stream;
use super::{a_vm, rename};
use crate::lab::Lab;

const PATIENCE: Duration = Duration::from_secs(20);

/// An open WebSocket.
pub(super) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    async fn open(lab: &Lab, path: &str, headers: &[(&'static str, &str)]) -> Result<Self, Error> {
        let url = lab.gate.url(path).replace("http://", "ws://");
        let mut request = url.into_client_request().expect("a request");
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a header"));
        }
        let stream = TcpStream::connect(lab.gate.address()).await.expect("connected");
        Ok(Self(tokio_tungstenite::client_async(request, stream).await?.0))
    }

    pub(super) async fn with_token(lab: &Lab, path: &str, token: &str) -> Self {
        let token = format!("Bearer {token}");
        Self::open(lab, path, &[("authorization", &token)]).await.expect("a WebSocket")
    }

    async fn message(&mut self) -> Message {
        let message = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("in time");
        message.expect("one more").expect("a message")
    }

    /// The next event; signs of life are passed over.
    pub(super) async fn next(&mut self) -> Value {
        loop {
            match self.message().await {
                Message::Text(text) => {
                    let event: Value = serde_json::from_str(&text).expect("JSON");
                    if event["event"] != "heartbeat" && event["data"]["state"] != "live" {
                        return event;
                    }
                }
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The code and the reason with which the other end closes.
    async fn closed(&mut self) -> (u16, String) {
        loop {
            if let Message::Close(frame) = self.message().await {
                let frame = frame.expect("a reason");
                return (frame.code.into(), frame.reason.to_string());
            }
        }
    }
}

/// The status and the code of a refusal.
async fn refusal(lab: &Lab, path: &str, headers: &[(&'static str, &str)]) -> (u16, Value) {
    match Socket::open(lab, path, headers).await.err() {
        Some(Error::Http(response)) => {
            let body = response.body().clone().unwrap_or_default();
            let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
            (response.status().as_u16(), problem["code"].clone())
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_websocket_is_told_what_a_stream_is() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let path = "/events?collections=vms&snapshot=true";
    let mut stream = Stream::open(&lab, path, &token).await;
    let mut socket = Socket::with_token(&lab, path, &token).await;
    let (told, ready) = stream.snapshot().await;
    for event in told.iter().chain([&ready]) {
        assert_eq!(socket.next().await, *event);
    }
    let uuid = a_vm(&lab, &token).await;
    for step in 0..3 {
        rename(&lab, &uuid, &format!("name {step}"));
        assert_eq!(socket.next().await, stream.next().await);
    }
    // It goes on where it stopped.
    let id = ready["id"].as_str().expect("an id");
    let again = format!("{path}&last_event_id={id}");
    let mut again = Socket::with_token(&lab, &again, &token).await;
    for step in 0..3 {
        assert_eq!(again.next().await["data"]["object"]["name_label"], format!("name {step}"));
    }
    assert_eq!(again.next().await["event"], "ready");
    drop((stream, socket, again));
    lab.end().await;
}

#[tokio::test]
async fn a_browser_opens_one_with_a_ticket_from_a_page_that_may() {
    let lab = Lab::with(
        |_| {},
        |config, _| config.cors.origins = vec!["https://ui.example.com".to_owned()],
    )
    .await;
    let token = lab.login().await;
    let request = lab.gate.request(Method::POST, "/events/tickets").bearer_auth(&token);
    let ticket = lab.gate.send(request).await.json()["ticket"].as_str().expect("one").to_owned();
    let path = format!("/events?classes=pool&ticket={ticket}");
    let evil = [("origin", "https://evil.example.com")];
    assert_eq!(refusal(&lab, &path, &evil).await, (403, json!("FORBIDDEN")));
    let good = [("origin", "https://ui.example.com")];
    let mut socket = Socket::open(&lab, &path, &good).await.expect("a WebSocket");
    assert_eq!(socket.next().await["event"], "ready");
    assert_eq!(refusal(&lab, &path, &good).await, (401, json!("INVALID_TOKEN")));
    assert_eq!(refusal(&lab, "/events", &good).await, (401, json!("TOKEN_REQUIRED")));
    let bearer = format!("Bearer {token}");
    let mut headers = vec![("authorization", bearer.as_str())];
    let path = "/events?classes=vm";
    assert_eq!(refusal(&lab, path, &headers).await, (400, json!("BAD_PARAMETER")));
    headers.push(("sec-websocket-version", "8"));
    assert_eq!(refusal(&lab, "/events", &headers).await, (400, json!("BAD_REQUEST")));
    drop(socket);
    lab.end().await;
}

#[tokio::test]
async fn what_a_client_may_send_is_bounded() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let open = || Socket::with_token(&lab, "/events?classes=pool", &token);
    let mut socket = open().await;
    socket.0.send(Message::Ping("hello".into())).await.expect("sent");
    loop {
        match socket.message().await {
            Message::Pong(data) => break assert_eq!(&data[..], b"hello"),
            Message::Text(_) => {}
            other => panic!("{other:?}"),
        }
    }
    socket.0.send(Message::text("a message")).await.expect("sent");
    assert_eq!(socket.closed().await.0, 1003);

    let mut socket = open().await;
    socket.0.send(Message::binary(vec![0xff; 100])).await.expect("sent");
    assert_eq!(socket.closed().await.0, 1003);

    let mut socket = open().await;
    // The other end may hang up before all of it is written.
    let _ = socket.0.send(Message::text("x".repeat(1 << 20))).await;
    assert_eq!(socket.closed().await.0, 1009);
    lab.end().await;
}

#[tokio::test]
async fn what_breaks_the_protocol_is_told_by_its_code() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let frames: [(&[u8], u16); 7] = [
        // Not masked; a reserved bit; an opcode that there is not; a ping that is none.
        (b"\x81\x02hi", 1002),
        (b"\xc1\x82\0\0\0\0hi", 1002),
        (b"\x83\x82\0\0\0\0hi", 1002),
        (b"\x09\x80\0\0\0\0", 1002),
        // The rest of nothing; a text that is not one; more than is taken.
        (b"\x80\x82\0\0\0\0hi", 1002),
        (b"\x81\x82\0\0\0\0\xff\xfe", 1007),
        (b"\x81\xfe\x10\x01\0\0\0\0", 1009),
    ];
    for (frame, code) in frames {
        let mut socket = Socket::with_token(&lab, "/events?classes=pool", &token).await;
        socket.0.get_mut().write_all(frame).await.expect("sent");
        let (told, reason) = socket.closed().await;
        assert_eq!(told, code, "{frame:x?}: {reason}");
        assert!(!reason.is_empty());
    }
    lab.end().await;
}

#[tokio::test]
async fn a_subprotocol_that_is_not_spoken_is_not_promised() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let text = format!(
        "GET /events?classes=pool HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: graphql-ws, xengate\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let mut stream = TcpStream::connect(lab.gate.address()).await.expect("connected");
    stream.write_all(text.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    while !answer.windows(7).any(|part| part == b"\"ready\"") {
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut answer)).await;
        assert!(read.expect("in time").expect("read") > 0, "it was closed");
    }
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    let head = answer.split("\r\n\r\n").next().expect("a head");
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(!head.contains("sec-websocket-protocol"), "{head}");
    drop(stream);
    lab.end().await;
}

#[tokio::test]
async fn signs_of_life_are_pings_and_ids_that_move_on() {
    let often = Duration::from_millis(100);
    let lab = Lab::with(|_| {}, |config, _| config.limits.event_heartbeat = often).await;
    let token = lab.login().await;
    let mut socket = Socket::with_token(&lab, "/events?classes=pool", &token).await;
    assert_eq!(socket.next().await["event"], "ready");
    let (mut pings, mut beats) = (0, 0);
    // A client that answers is kept for longer than one that does not would be.
    while pings < 6 || beats < 6 {
        match socket.message().await {
            Message::Ping(_) => pings += 1,
            Message::Text(text) => {
                let event: Value = serde_json::from_str(&text).expect("JSON");
                assert_eq!(event["event"], "heartbeat");
                assert!(event["id"].is_string(), "{event}");
                beats += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    drop(socket);
    lab.end().await;
}

#[tokio::test]
async fn it_ends_with_a_word_and_a_code() {
    let short = Duration::from_secs(2);
    let lab = Lab::with(|_| {}, |config, _| config.auth.token_ttl = short).await;
    let token = lab.login().await;
    let mut expires = Socket::with_token(&lab, "/events?classes=pool", &token).await;
    assert_eq!(expires.next().await["event"], "ready");
    let end = expires.next().await;
    assert_eq!(end["data"], json!({"reason": "expired", "backend": null}));
    assert_eq!(expires.closed().await, (4402, "expired".to_owned()));

    let token = lab.login().await;
    let mut leaves = Socket::with_token(&lab, "/events?classes=pool", &token).await;
    assert_eq!(leaves.next().await["event"], "ready");
    let logout = lab.gate.request(Method::DELETE, "/sessions/current").bearer_auth(&token);
    lab.gate.send(logout).await;
    assert_eq!(leaves.next().await["data"]["reason"], "logged_out");
    assert_eq!(leaves.closed().await, (4401, "logged_out".to_owned()));

    let token = lab.login().await;
    let mut stays = Socket::with_token(&lab, "/events?classes=pool", &token).await;
    assert_eq!(stays.next().await["event"], "ready");
    let Lab { sim, gate } = lab;
    let stopping = tokio::spawn(gate.stop());
    assert_eq!(stays.next().await["data"]["reason"], "shutdown");
    assert_eq!(stays.closed().await, (1001, "shutdown".to_owned()));
    drop(stays);
    stopping.await.expect("no panic");
    sim.stop().await;
}
