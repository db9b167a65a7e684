//! What clients that were generated from the document send beside what was asked of them.

use reqwest::Method;
use serde_json::{Value, json};

use crate::lab::Lab;

const PROBLEM: &str = "application/problem+json";

async fn halted_vm(lab: &Lab, token: &str) -> String {
    let path = "/vms?filter=power_state%20%3D%20Halted&limit=1&fields=uuid";
    let list = lab.get(path, token).await.ok();
    list["items"][0]["uuid"].as_str().expect("one is halted").to_owned()
}

/// `null` where a body may be left out is no body, and where there is none to take it is none
/// either; a body that is needed is not `null`.
#[tokio::test]
async fn null_is_no_body() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let vm = halted_vm(&lab, &token).await;
    let send = |method: Method, path: String| {
        let request = lab.gate.request(method, &path).bearer_auth(&token);
        lab.gate.send(request.header("Prefer", "wait=30").json(&Value::Null))
    };
    let started = send(Method::POST, format!("/vms/{vm}/actions/start")).await.ok();
    assert_eq!(started["status"], "success");
    let taken = send(Method::POST, format!("/vms/{vm}/actions/hard_shutdown")).await.ok();
    assert_eq!(taken["status"], "success");
    let made = send(Method::POST, "/networks".to_owned()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let bare = lab.gate.request(Method::POST, "/networks").bearer_auth(&token);
    assert_eq!(lab.gate.send(bare).await.status, 201);

    let snapshot = send(Method::POST, format!("/vms/{vm}/actions/snapshot")).await;
    snapshot.problem(422, "WRONG_SHAPE");
    send(Method::PATCH, format!("/vms/{vm}")).await.problem(422, "WRONG_SHAPE");
    send(Method::POST, "/vifs".to_owned()).await.problem(422, "WRONG_SHAPE");
    lab.end().await;
}

/// Where a success has no body, or one that a client does not know, all that it says it takes is a
/// problem: it gets the answer that there is.
#[tokio::test]
async fn who_takes_problems_only_is_answered_all_the_same() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let ask = |method: Method, path: &str| {
        let request = lab.gate.request(method, path).bearer_auth(&token);
        request.header("Accept", PROBLEM)
    };
    for (path, media) in [
        ("/vms", "application/json"),
        ("/backends", "application/json"),
        ("/livez", "application/json"),
        ("/openapi.json", "application/json"),
    ] {
        let answer = lab.gate.send(ask(Method::GET, path)).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some(media), "{path}");
    }
    let stream = ask(Method::GET, "/events").send().await.expect("an answer");
    assert_eq!(stream.status(), 200);
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    drop(stream);
    // Its own machine may scrape without a token.
    let scrape = lab.gate.request(Method::GET, "/metrics").header("Accept", PROBLEM);
    let scrape = lab.gate.send(scrape).await;
    assert_eq!(scrape.status, 200, "{}", scrape.text());
    assert!(scrape.header("content-type").is_some_and(|media| media.starts_with("text/plain")));
    // Problems are what it asks for; what is refused by name stays refused.
    let missing = "/vms/6a5f2d0e-8c3b-4f4e-9d7a-2b1c0e9f8d76";
    lab.gate.send(ask(Method::GET, missing)).await.problem(404, "NOT_FOUND");
    for path in ["/vms", "/events", "/metrics"] {
        let request = lab.gate.request(Method::GET, path).bearer_auth(&token);
        let accept = "application/problem+json, */*;q=0";
        lab.gate.send(request.header("Accept", accept)).await.problem(406, "NOT_ACCEPTABLE");
    }
    let vm = halted_vm(&lab, &token).await;
    let patch = ask(Method::PATCH, &format!("/vms/{vm}")).json(&json!({"name_label": "renamed"}));
    assert_eq!(lab.gate.send(patch).await.ok()["name_label"], "renamed");
    assert_eq!(lab.gate.send(ask(Method::DELETE, "/sessions/current")).await.status, 204);
    lab.end().await;
}
