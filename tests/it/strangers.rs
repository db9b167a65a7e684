//! What strangers cannot do to others: hold the places of requests with bodies that never come,
//! speak something that is not quite HTTP, or make a dead pool look alive.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use xengate::config::SecretSource;
use xengate::sim::PASSWORD;

use crate::lab::{Gate, Lab};

/// Sends this as it stands.
async fn connection(gate: &Gate, text: &str) -> TcpStream {
    let url = gate.url("");
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).await.expect("connects");
    stream.write_all(text.as_bytes()).await.expect("sends");
    stream
}

/// The answer to what was sent, to its end.
async fn answer(gate: &Gate, text: &str) -> String {
    let mut answer = String::new();
    let mut stream = connection(gate, text).await;
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test]
async fn half_a_login_holds_no_place_that_others_need() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let half = "POST /sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                Content-Length: 100\r\n\r\n{\"username\":";
    let mut halves = Vec::new();
    let credentials = json!({"username": "root", "password": PASSWORD});
    // As many as are needed until no more are taken.
    let refused = loop {
        let answer = lab.gate.post("/sessions", None, &credentials).await;
        if answer.status != StatusCode::CREATED {
            break answer;
        }
        assert!(halves.len() < 100, "no end to it");
        halves.push(connection(&lab.gate, half).await);
    };
    let problem = refused.problem(503, "OVERLOADED");
    assert_eq!(problem["retryable"], true);
    assert!(refused.header("retry-after").is_some());
    lab.get("/vms", &token).await.ok();
    let body = json!({"name_label": "mine"});
    let answer = lab.gate.post("/networks", Some(&token), &body).await;
    assert!(answer.status == 201 || answer.status == 503, "{}", answer.status);
    drop(halves);
    let again = async {
        while lab.gate.post("/sessions", None, &credentials).await.status != StatusCode::CREATED {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), again).await.expect("places are back");
    lab.end().await;
}

#[tokio::test]
async fn a_login_is_short_and_no_body_is_read_for_nobody() {
    let lab = Lab::new().await;
    let long = json!({"username": "root", "password": "x".repeat(20_000)});
    lab.gate.post("/sessions", None, &long).await.problem(413, "BODY_TOO_LARGE");
    // In pieces, its length unsaid.
    let chunk = format!("4000\r\n{}\r\n", " ".repeat(0x4000));
    let text = format!(
        "POST /sessions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\
         Content-Type: application/json\r\n\r\n{chunk}{chunk}0\r\n\r\n"
    );
    assert!(answer(&lab.gate, &text).await.starts_with("HTTP/1.1 413 "));
    // The token comes first: the answer is there before the body is.
    let text = "POST /networks HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    assert!(answer(&lab.gate, text).await.starts_with("HTTP/1.1 401 "));
    lab.login().await;
    lab.end().await;
}

#[tokio::test]
async fn a_request_is_for_one_host_and_its_body_is_plain() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    for (host, status) in [
        ("", "400"),
        ("Host: a\r\nHost: a\r\n", "400"),
        ("Host: a\r\nHost: b\r\n", "400"),
        ("Host: a\r\n", "200"),
    ] {
        let text = format!("GET /livez HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
        let answer = answer(&lab.gate, &text).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {answer}");
        assert!(answer.contains("x-request-id: "), "{answer}");
        assert_eq!(answer.contains("application/problem+json"), status == "400", "{answer}");
    }
    assert!(answer(&lab.gate, "GET /livez HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 200 "));
    for (coding, status) in [("gzip", 415), ("identity, br", 415), ("identity", 201)] {
        let body = json!({"name_label": "packed"});
        let request = lab.gate.request(Method::POST, "/networks").bearer_auth(&token).json(&body);
        let answer = lab.gate.send(request.header("Content-Encoding", coding)).await;
        assert_eq!(answer.status, status, "{coding}");
        if status == 415 {
            answer.problem(415, "UNSUPPORTED_MEDIA_TYPE");
            assert_eq!(answer.header("accept-encoding"), Some("identity"));
        }
    }
    lab.end().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_answered_in_words() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let long = format!("X-Long: {}\r\n", "x".repeat(200_000));
    for (request, status, code, part) in [
        ("GET /vms?filter=name_label=\"a\" HTTP/1.1\r\nHost: x\r\n\r\n", 400, "BAD_REQUEST", "%22"),
        ("GET /vms?filter=a = b HTTP/1.1\r\nHost: x\r\n\r\n", 400, "BAD_REQUEST", "%20"),
        ("GET /vms?limit=<1> HTTP/1.1\r\nHost: x\r\n\r\n", 400, "BAD_REQUEST", "percent"),
        ("GET /vms HTTP/1.1\r\nHo st: x\r\n\r\n", 400, "BAD_REQUEST", "cannot be read"),
        (&format!("GET /vms HTTP/1.1\r\nHost: x\r\n{long}\r\n"), 431, "HEADER_TOO_LARGE", "large"),
    ] {
        let mut stream = connection(&lab.gate, request).await;
        let mut answer = Vec::new();
        // What is left unread of a request that is too long may end the connection the hard way.
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).expect("text");
        let last = answer.rsplit_once("HTTP/1.1 ").expect("an answer").1;
        assert!(last.starts_with(&status.to_string()), "{answer}");
        for header in ["content-type: application/problem+json", "x-request-id: ", "nosniff"] {
            assert!(last.contains(header), "{header}: {answer}");
        }
        let problem: Value = serde_json::from_str(last.split_once("\r\n\r\n").expect("a body").1)
            .unwrap_or_else(|error| panic!("{error}: {answer}"));
        assert_eq!((&problem["code"], &problem["status"]), (&json!(code), &json!(status)));
        assert!(problem.to_string().contains(part), "{problem}");
    }
    // On a connection that has been used.
    let mut stream = connection(&lab.gate, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        assert!(stream.read_buf(&mut answer).await.expect("an answer") > 0);
    }
    stream.write_all(b"GET /\" HTTP/1.1\r\nHost: x\r\n<>\r\n\r\n").await.expect("sent");
    let mut second = String::new();
    stream.read_to_string(&mut second).await.expect("an answer");
    assert!(second.contains("problem+json") && second.ends_with('}'), "{second}");
    lab.get("/vms", &token).await.ok();
    lab.end().await;
}

#[tokio::test]
async fn a_preflight_has_the_headers_that_all_answers_have() {
    let origin = "https://ui.example.com";
    let lab = Lab::with(|_| {}, |config, _| config.cors.origins = vec![origin.to_owned()]).await;
    let preflight = || {
        lab.gate
            .request(Method::OPTIONS, "/vms")
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "GET")
    };
    let answer = lab.gate.send(preflight()).await;
    assert!(answer.status.is_success());
    assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()));
    let named = lab.gate.send(preflight().header("X-Request-Id", "mine")).await;
    assert_eq!(named.header("x-request-id"), Some("mine"));
    lab.login().await;
    lab.end().await;
}

#[tokio::test]
async fn a_dead_pool_is_down_though_its_account_is_refused() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "not the password").expect("written");
    let path = file.path().to_owned();
    let lab = Lab::with(
        |_| {},
        |config, _| {
            let backend = config.backends.values_mut().next().expect("one");
            backend.service_username = Some("xengate".to_owned());
            backend.service_password = Some(SecretSource::File(path));
        },
    )
    .await;
    // It is there, only the account is of no use: logins can be taken.
    let waiting = |answer: &crate::lab::Answer| {
        answer.status == 200 && !answer.json()["backends"][0]["detail"].is_null()
    };
    lab.until("/readyz", "", waiting).await;
    lab.sim.stop_listening();
    lab.sim.drop_connections();
    let down = lab.until("/readyz", "", |answer| answer.status == 503).await;
    assert_eq!(down.json()["backends"][0]["state"], "down");
    lab.sim.listen_again().expect("it listens");
    lab.until("/readyz", "", waiting).await;
    lab.login().await;
    lab.end().await;
}
