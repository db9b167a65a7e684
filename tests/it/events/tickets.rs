//! Tickets, and the pages that use them.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::client::Stream;
use crate::lab::{Lab, around, logged};

const PATH: &str = "/events?classes=pool";

async fn ticket(lab: &Lab, token: &str) -> String {
    let answer =
        lab.gate.send(lab.gate.request(Method::POST, "/events/tickets").bearer_auth(token));
    let answer = answer.await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let body = answer.json();
    assert!(body["expires_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{body}");
    body["ticket"].as_str().expect("a ticket").to_owned()
}

#[tokio::test]
async fn a_ticket_opens_one_stream_and_nothing_else() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let good = ticket(&lab, &token).await;
    let anyone = |path: String| lab.gate.send(lab.gate.request(Method::GET, &path));
    let elsewhere = anyone(format!("/vms?ticket={good}")).await;
    assert!(elsewhere.status == 401 || elsewhere.status == 400, "{}", elsewhere.status);
    let bearer = lab.get("/vms", &good).await;
    bearer.problem(401, "INVALID_TOKEN");

    let request = lab.gate.request(Method::GET, &format!("{PATH}&ticket={good}"));
    let mut stream = Stream::of(&lab, request).await;
    stream.ready().await;
    let again = anyone(format!("{PATH}&ticket={good}")).await;
    let problem = again.problem(401, "INVALID_TOKEN");
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("ticket")), "{problem}");
    anyone(format!("{PATH}&ticket={token}")).await.problem(401, "INVALID_TOKEN");
    anyone(format!("{PATH}&ticket=")).await.problem(401, "INVALID_TOKEN");
    anyone(PATH.to_owned()).await.problem(401, "TOKEN_REQUIRED");
    let second = ticket(&lab, &token).await;
    lab.get(&format!("{PATH}&ticket={second}"), &token).await.problem(400, "BAD_REQUEST");

    // A stream that a ticket opened is the session's as any other.
    let logout = lab.gate.request(Method::DELETE, "/sessions/current").bearer_auth(&token);
    lab.gate.send(logout).await;
    assert_eq!(stream.end().await["reason"], "logged_out");
    anyone(format!("{PATH}&ticket={second}")).await.problem(401, "INVALID_TOKEN");
    drop(stream);
    let logs = logged();
    for secret in [&good, &second, &token] {
        assert_eq!(around(&logs, secret), None, "a secret was logged");
    }
    lab.end().await;
}

#[tokio::test]
async fn a_ticket_that_is_too_old_opens_nothing() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    lab.get("/vms", &token).await.ok();
    let (one, two) = (ticket(&lab, &token).await, ticket(&lab, &token).await);
    let open = |ticket: &str| lab.gate.request(Method::GET, &format!("{PATH}&ticket={ticket}"));
    lab.passes(Duration::from_secs(20)).await;
    Stream::of(&lab, open(&one)).await.ready().await;
    lab.passes(Duration::from_secs(11)).await;
    lab.gate.send(open(&two)).await.problem(401, "INVALID_TOKEN");
    lab.get("/vms", &token).await.ok();
    lab.end().await;
}

#[tokio::test]
async fn a_session_has_so_many_tickets_and_no_more() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    for _ in 0..32 {
        ticket(&lab, &token).await;
    }
    let request = || lab.gate.request(Method::POST, "/events/tickets");
    let answer = lab.gate.send(request().bearer_auth(&token)).await;
    answer.problem(429, "TOO_MANY_TICKETS");
    lab.gate.send(request()).await.problem(401, "TOKEN_REQUIRED");
    let other = lab.login().await;
    let good = ticket(&lab, &other).await;
    let request = lab.gate.request(Method::GET, &format!("{PATH}&ticket={good}"));
    Stream::of(&lab, request).await.ready().await;
    lab.end().await;
}

#[tokio::test]
async fn pages_of_strangers_get_no_stream() {
    let ui = "https://ui.example.com";
    let lab = Lab::with(|_| {}, |config, _| config.cors.origins = vec![ui.to_owned()]).await;
    let token = lab.login().await;
    let own = format!("http://{}", lab.gate.address());
    for (origin, may) in
        [(ui, true), (&own, true), ("https://evil.example.com", false), ("null", false)]
    {
        let request = lab.gate.request(Method::GET, PATH).bearer_auth(&token);
        let answer = lab.gate.send(request.header("Origin", origin)).await;
        if may {
            assert_eq!(answer.status, 200, "{origin}");
        } else {
            let problem = answer.problem(403, "FORBIDDEN");
            assert_eq!(problem["params"], json!([]));
        }
    }
    lab.end().await;
}
