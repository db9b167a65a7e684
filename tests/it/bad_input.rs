//! What clients get wrong, and what they are told.

use reqwest::Method;
use serde_json::json;
use xengate::http::api;
use xengate::sim::PASSWORD;

use crate::lab::Lab;

/// A token in the form of ours, signed with a key of somebody else's.
const FOREIGN: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJ4ZW5nYXRlIiwic3ViIjoicm9vdCIs\
    ImV4cCI6NDEwMjQ0NDgwMH0.c2lnbmVkIHdpdGggYW5vdGhlciBrZXksIGJ5IHNvbWVib2R5";

/// `{"alg":"none"}` with an empty signature.
const UNSIGNED: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0.eyJpc3MiOiJ4ZW5nYXRlIiwic3ViIjoicm9vdCIs\
    ImV4cCI6NDEwMjQ0NDgwMH0.";

#[tokio::test]
async fn without_a_good_token_nothing_is_told() {
    let lab = Lab::new().await;
    let good = lab.login().await;
    let tampered = format!("{}x{}", &good[..good.len() - 2], &good[good.len() - 1..]);
    for path in ["/vms", "/backends", "/sessions/current", "/vms/not-a-uuid", "/vms?nonsense=1"] {
        let request = lab.gate.request(Method::GET, path);
        let answer = lab.gate.send(request).await;
        answer.problem(401, "TOKEN_REQUIRED");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"xengate\""), "{path}");
        for bad in [FOREIGN, UNSIGNED, &tampered, "x", "", &"a.".repeat(5000)] {
            let answer = lab.get(path, bad).await;
            assert_eq!(answer.status, 401, "{path} with {bad:.20}");
            let challenge = answer.header("www-authenticate").expect("a challenge");
            assert!(challenge.starts_with("Bearer realm="), "{challenge}");
        }
    }
    let basic = lab.gate.request(Method::GET, "/vms").basic_auth("root", Some(PASSWORD));
    assert_eq!(lab.gate.send(basic).await.status, 401);
    lab.end().await;
}

#[tokio::test]
async fn a_token_dies_with_its_session() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let current = lab.get("/sessions/current", &token).await.ok();
    assert_eq!(current["username"], "root");
    assert_eq!(current["backends"], json!([{"name": "lab", "status": "ok"}]));
    let logout = lab.gate.request(Method::DELETE, "/sessions/current").bearer_auth(&token);
    let answer = lab.gate.send(logout).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0));
    lab.get("/vms", &token).await.problem(401, "INVALID_TOKEN");
    let again = lab.login().await;
    assert_ne!(again, token);
    assert_eq!(lab.sim.sessions_open(), 1, "the first was logged out of the pool");
    lab.end().await;
}

#[tokio::test]
async fn paths_and_queries_are_strict() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    for (path, status, code, named) in [
        ("/vms/5bdf5f35-0b92-d5e5-d63b-7b91cb99cef4", 404, "NOT_FOUND", None),
        ("/vms/5bdf5f35-0b92-d5e5-d63b-7b91cb99cef4/metrics", 404, "NOT_FOUND", None),
        ("/vms/Domain-0", 400, "MALFORMED_UUID", None),
        ("/vms/%00", 400, "MALFORMED_UUID", None),
        ("/vms/%ff", 400, "MALFORMED_UUID", None),
        ("/vms?colour=red", 400, "UNKNOWN_PARAMETER", Some("colour")),
        ("/vms?limit=1&limit=2", 400, "DUPLICATE_PARAMETER", Some("limit")),
        ("/vms?limit=-1", 400, "BAD_PARAMETER", Some("limit")),
        ("/vms?limit=0", 400, "BAD_PARAMETER", Some("limit")),
        ("/vms?limit=10001", 400, "BAD_PARAMETER", Some("limit")),
        ("/vms?cursor=forged", 400, "BAD_PARAMETER", Some("cursor")),
        ("/vms?backend=elsewhere", 404, "UNKNOWN_BACKEND", None),
        ("/backends?x", 400, "UNKNOWN_PARAMETER", Some("x")),
        ("/nothing", 404, "NOT_FOUND", None),
        ("/vms/", 404, "NOT_FOUND", None),
        ("/VMs", 404, "NOT_FOUND", None),
    ] {
        let problem = lab.get(path, &token).await.problem(status, code);
        if let Some(name) = named {
            assert!(problem["detail"].as_str().expect("text").contains(name), "{problem}");
            assert_eq!(problem["params"][0], name, "{problem}");
        }
    }
    let cursor = lab.get("/vms?limit=1", &token).await.ok()["next"].clone();
    let path = format!("/hosts?cursor={}", cursor.as_str().expect("a cursor"));
    let problem = lab.get(&path, &token).await.problem(400, "BAD_PARAMETER");
    assert!(problem["detail"].as_str().expect("text").contains("another query"), "{problem}");
    lab.end().await;
}

#[tokio::test]
async fn methods_and_media_types_are_checked() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    for (method, path) in [(Method::DELETE, "/backends"), (Method::PUT, "/livez")] {
        let request = lab.gate.request(method.clone(), path).bearer_auth(&token);
        let answer = lab.gate.send(request).await;
        answer.problem(405, "METHOD_NOT_ALLOWED");
        let allow = answer.header("allow").expect("Allow");
        assert!(allow.contains("GET") && !allow.contains(method.as_str()), "{allow}");
    }
    for (accept, status) in [
        ("application/json", 200),
        ("*/*", 200),
        ("text/html, application/*;q=0.5", 200),
        ("image/png", 406),
        ("application/json;q=0", 406),
    ] {
        let request = lab.gate.request(Method::GET, "/vms").bearer_auth(&token);
        let answer = lab.gate.send(request.header("Accept", accept)).await;
        assert_eq!(answer.status, status, "{accept}");
    }
    let head = lab.gate.request(Method::HEAD, "/vms").bearer_auth(&token);
    let answer = lab.gate.send(head).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
    lab.end().await;
}

#[tokio::test]
async fn login_bodies_are_strict_and_never_said_back() {
    let lab = Lab::new().await;
    let login = |body: &'static str| {
        let request = lab.gate.request(Method::POST, "/sessions");
        lab.gate.send(request.header("Content-Type", "application/json").body(body))
    };
    for (body, status, code, pointer) in [
        ("", 400, "MALFORMED_JSON", None),
        ("{\"username\":", 400, "MALFORMED_JSON", None),
        ("\u{feff}{}", 400, "MALFORMED_JSON", None),
        ("[]", 422, "WRONG_SHAPE", Some("")),
        ("{\"username\":\"root\"}", 422, "WRONG_SHAPE", Some("/password")),
        ("{\"username\":7,\"password\":\"hunter2\"}", 422, "WRONG_SHAPE", Some("/username")),
        (
            "{\"username\":\"root\",\"password\":\"hunter2\",\"otp\":\"hunter2\"}",
            422,
            "WRONG_SHAPE",
            Some("/otp"),
        ),
        (
            "{\"username\":\"root\",\"password\":[\"hunter2\"]}",
            422,
            "WRONG_SHAPE",
            Some("/password"),
        ),
    ] {
        let answer = login(body).await;
        let problem = answer.problem(status, code);
        assert_eq!(problem.get("pointer").and_then(|p| p.as_str()), pointer, "{body}: {problem}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("hunter2"), "{problem}");
    }
    let request = lab.gate.request(Method::POST, "/sessions").body("{}");
    lab.gate.send(request).await.problem(415, "UNSUPPORTED_MEDIA_TYPE");
    let body = json!({"username": "root", "password": PASSWORD, "backend": "elsewhere"});
    let answer = lab.gate.post("/sessions", None, &body).await;
    assert_eq!(answer.status, 422, "{}", answer.json());
    assert_eq!(answer.json()["pointer"], "/backend");
    let huge = lab.gate.request(Method::POST, "/sessions").body(vec![b' '; 2 << 20]);
    let huge = huge.header("Content-Type", "application/json");
    lab.gate.send(huge).await.problem(413, "BODY_TOO_LARGE");
    assert_eq!(lab.sim.seen("session.login_with_password"), 0, "nothing reached the pool");
    let token = lab.login().await;
    lab.get("/vms", &token).await.ok();
    lab.end().await;
}

#[tokio::test]
async fn a_body_where_none_is_taken_is_refused_before_anything_is_done() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let vms = lab.get("/vms", &token).await.ok()["items"].clone();
    let vm = vms.as_array().expect("items").iter().find(|vm| vm["power_state"] == "Halted");
    let vm = vm.expect("one is halted")["uuid"].as_str().expect("a uuid");
    let mut refused = 0;
    let without_body = api::endpoints().iter().filter(|operation| !operation.has_body());
    for operation in without_body {
        let method: Method = operation.method_name().parse().expect("a method");
        let path = operation.path.replace("{uuid}", vm);
        let request = || lab.gate.request(method.clone(), &path).bearer_auth(&token);
        for body in ["{\"force\":true}", "[]", "[null]", "x", &"{} ".repeat(100_000)] {
            let answer = lab.gate.send(request().body(body.to_owned())).await;
            answer.problem(400, "UNEXPECTED_BODY");
            refused += 1;
        }
    }
    assert!(refused > 1000, "only {refused} requests were refused");
    // That there is no such thing comes first.
    for (method, path, status, code) in [
        (Method::DELETE, "/vms", 405, "METHOD_NOT_ALLOWED"),
        (Method::GET, "/vms/actions/create", 405, "METHOD_NOT_ALLOWED"),
        (Method::GET, "/nowhere", 404, "NOT_FOUND"),
    ] {
        let request = lab.gate.request(method, path).bearer_auth(&token);
        lab.gate.send(request.json(&json!({"force": true}))).await.problem(status, code);
    }
    lab.get("/sessions/current", &token).await.ok();
    // Some clients send an empty object, or say that they send nothing.
    let tickets = || lab.gate.request(Method::POST, "/events/tickets").bearer_auth(&token);
    for nothing in [
        tickets().header("Content-Length", "0"),
        tickets().json(&json!({})),
        tickets().body("{ }\n"),
        tickets().json(&json!(null)),
    ] {
        assert_eq!(lab.gate.send(nothing).await.status, 201);
    }
    let list = lab.gate.request(Method::GET, "/vms").bearer_auth(&token).json(&json!({}));
    lab.gate.send(list).await.ok();
    let logout = lab.gate.request(Method::DELETE, "/sessions/current").bearer_auth(&token);
    assert_eq!(lab.gate.send(logout.json(&json!({}))).await.status, 204);
    for call in ["VM.destroy", "Async.VM.destroy", "Async.VM.hard_shutdown"] {
        assert_eq!(lab.sim.seen(call), 0, "{call} was sent");
    }
    lab.end().await;
}

#[tokio::test]
async fn a_field_given_twice_is_named_wherever_it_stands() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let networks = lab.get("/networks", &token).await.ok();
    let network = format!("/networks/{}", networks["items"][0]["uuid"].as_str().expect("one"));
    let start = "/vms/6a5f2d0e-8c3b-4f4e-9d7a-2b1c0e9f8d76/actions/start";
    for (method, path, body, pointer) in [
        (Method::PATCH, &*network, r#"{"name_label":"a","name_label":"b"}"#, "/name_label"),
        (
            Method::PATCH,
            &network,
            r#"{"other_config":{"a":"1","b":"","a":"2"}}"#,
            "/other_config/a",
        ),
        (
            Method::POST,
            "/networks",
            r#"{"name_label":"a","tags":[{"x/y":1,"x/y":1}]}"#,
            "/tags/0/x~1y",
        ),
        (Method::POST, start, r#"{"force":true,"start_paused":false,"force":false}"#, "/force"),
        (
            Method::POST,
            "/sessions",
            r#"{"username":"root","password":"hunter2","password":"x"}"#,
            "/password",
        ),
        (
            Method::POST,
            "/sessions/current/backends",
            r#"{"backend":"lab","backend":"lab"}"#,
            "/backend",
        ),
    ] {
        let request = lab.gate.request(method, path).bearer_auth(&token).body(body);
        let answer = lab.gate.send(request.header("Content-Type", "application/json")).await;
        let problem = answer.problem(400, "DUPLICATE_FIELD");
        assert_eq!(problem["pointer"], pointer, "{problem}");
        let name = pointer.rsplit('/').next().expect("a name").replace("~1", "/");
        assert!(problem["detail"].as_str().expect("text").contains(&name), "{problem}");
        assert!(!problem.to_string().contains("hunter2"), "{problem}");
    }
    assert_eq!(lab.get("/networks", &token).await.ok(), networks, "nothing was done");
    lab.end().await;
}

#[tokio::test]
async fn who_keeps_failing_is_slowed_down() {
    let lab = Lab::new().await;
    let attempt = |password: &str| {
        let body = json!({"username": "root", "password": password});
        async move { body }
    };
    let mut refusals = 0;
    let slowed = loop {
        let answer = lab.gate.post("/sessions", None, &attempt("wrong").await).await;
        match answer.status.as_u16() {
            401 => refusals += 1,
            _ => break answer,
        }
        assert!(refusals < 20, "a bad password is tried for ever");
    };
    slowed.problem(429, "TOO_MANY_ATTEMPTS");
    let wait: u64 = slowed.header("retry-after").expect("when").parse().expect("seconds");
    assert!((1..=300).contains(&wait));
    // One more is the gateway's own, which looks whether passwords are looked at.
    assert_eq!(lab.sim.seen("session.login_with_password"), refusals + 1, "the pool is spared");
    lab.gate.end(&[]).await;
}

#[tokio::test]
async fn request_ids_come_back_or_are_made() {
    let lab = Lab::new().await;
    let ask = |id: &'static str| {
        let request = lab.gate.request(Method::GET, "/livez").header("X-Request-Id", id);
        lab.gate.send(request)
    };
    assert_eq!(ask("build-77.a_b").await.header("x-request-id"), Some("build-77.a_b"));
    for odd in ["", "a b", "<script>", &"x".repeat(65).leak()[..]] {
        let answer = ask(odd.to_owned().leak()).await;
        let made = answer.header("x-request-id").expect("one is made").to_owned();
        assert!(made != odd && !made.is_empty());
    }
    assert_eq!(ask("x").await.header("x-content-type-options"), Some("nosniff"));
    lab.gate.end(&[]).await;
}

#[tokio::test]
async fn other_origins_are_kept_out_unless_listed() {
    let lab = Lab::with(
        |_| {},
        |config, _| config.cors.origins = vec!["https://ui.example.com".to_owned()],
    )
    .await;
    let preflight = |origin: &'static str| {
        let request = lab.gate.request(Method::OPTIONS, "/vms").header("Origin", origin);
        let request = request.header("Access-Control-Request-Method", "GET");
        lab.gate.send(request.header("Access-Control-Request-Headers", "authorization"))
    };
    let listed = preflight("https://ui.example.com").await;
    assert_eq!(
        listed.header("access-control-allow-origin"),
        Some("https://ui.example.com"),
        "{listed:?}"
    );
    let other = preflight("https://evil.example.com").await;
    assert_eq!(other.header("access-control-allow-origin"), None);
    lab.gate.end(&[]).await;
    let closed = Lab::new().await;
    let request = closed.gate.request(Method::GET, "/livez");
    let answer = closed.gate.send(request.header("Origin", "https://ui.example.com")).await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
    closed.gate.end(&[]).await;
}
