use std::collections::BTreeMap;

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use self::pool::{PASSWORD, Pool, REFERENCE};
use super::*;
use xengate_core::auth::Authority;

// What the floor below tries its logins with.
#[path = "../../../../xengate-core/src/auth/tests/pool.rs"]
#[allow(dead_code)]
mod pool;
use crate::middleware::RequestService;
use crate::router::routes;
use crate::telemetry::Telemetry;
use xenapi_client::Backend;
use xenapi_mirror::inventory::Inventory;
use xengate_config::{BackendConfig, Config, Kind};

struct Front {
    gateway: Arc<Gateway>,
    shell: RequestService,
}

struct Answer {
    status: u16,
    headers: http::HeaderMap,
    body: Value,
}

/// The whole gateway, without a socket of its own, before these pools.
fn front(pools: &[(&str, &Pool)]) -> Front {
    let backends: BTreeMap<String, Arc<Backend>> = pools
        .iter()
        .map(|(name, pool)| {
            let mut config = BackendConfig::new(vec![pool.uri.clone()]);
            config.kind = Kind::Xapi;
            ((*name).to_owned(), Backend::new(name, &config).expect("a backend"))
        })
        .collect();
    let (config, inventory) = (Arc::new(Config::default()), Inventory::start(Vec::new()));
    let authority = Authority::new(&config.auth, &[], Arc::clone(&inventory), backends);
    let (routes, authority) = (routes(), authority.expect("a gate"));
    let telemetry = Telemetry::new(routes.paths());
    let gateway = Gateway::new(Arc::clone(&config), inventory, authority, telemetry.clone());
    let gateway = Arc::new(gateway);
    let bodies = gateway.bodies.clone();
    let routes = routes.answered_by(Arc::clone(&gateway));
    let shell = RequestService::new(routes, &config.limits, &config.cors, bodies, telemetry);
    Front { gateway, shell }
}

impl Front {
    async fn send(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Body::from(body.to_owned())).expect("a request");
        let service = self.shell.for_connection(([192, 0, 2, 1], 4711).into(), Arc::default());
        let response = service.oneshot(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        assert!(!text.contains(REFERENCE) && !text.contains(PASSWORD), "{text}");
        let body = if text.is_empty() { Value::Null } else { text.parse().expect("JSON") };
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    async fn login(&self, body: Value) -> Answer {
        self.send("POST", "/sessions", None, &body.to_string()).await
    }
}

fn credentials() -> Value {
    json!({"username": "root", "password": PASSWORD})
}

fn with(mut body: Value, name: &str, value: Value) -> Value {
    body[name] = value;
    body
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
}

#[tokio::test]
async fn a_login_answers_a_token_that_opens_and_closes_its_session() {
    let pool = Pool::start().await;
    let front = front(&[("lab", &pool)]);
    let made = front.login(credentials()).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(header(&made, "cache-control"), "no-store");
    assert_eq!(header(&made, "location"), "/sessions/current");
    let members: Vec<&String> = made.body.as_object().expect("an object").keys().collect();
    assert_eq!(members, ["expires_at", "session", "token", "token_type"]);
    assert_eq!(made.body["token_type"], "Bearer");
    let session = &made.body["session"];
    assert_eq!(session["username"], "root");
    assert_eq!(session["backends"], json!([{"name": "lab", "status": "ok"}]));
    let expires = made.body["expires_at"].as_str().expect("a string");
    let expires = humantime::parse_rfc3339(expires).expect("RFC 3339");
    let left = expires.duration_since(SystemTime::now()).expect("to come").as_secs();
    assert!((12 * 3600 - 60..=12 * 3600).contains(&left), "{left}");

    let token = made.body["token"].as_str();
    let seen = front.send("GET", "/sessions/current", token, "").await;
    assert_eq!((seen.status, &seen.body), (200, session));
    assert_eq!(header(&seen, "cache-control"), "no-store");

    let ended = front.send("DELETE", "/sessions/current", token, "").await;
    assert_eq!((ended.status, ended.body), (204, Value::Null));
    assert!(pool.see(|state| state.open.is_empty()));
    for method in ["GET", "DELETE"] {
        let gone = front.send(method, "/sessions/current", token, "").await;
        assert_eq!((gone.status, gone.body["code"].as_str()), (401, Some("INVALID_TOKEN")));
        assert!(header(&gone, "www-authenticate").starts_with("Bearer"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_a_401_and_then_a_429() {
    let pool = Pool::start().await;
    let front = front(&[("lab", &pool)]);
    let wrong = json!({"username": "root", "password": "wrong"});
    for _ in 0..3 {
        let refused = front.login(wrong.clone()).await;
        assert_eq!((refused.status, refused.body["code"].as_str()), (401, Some("LOGIN_REFUSED")));
        assert!(header(&refused, "www-authenticate").starts_with("Bearer"));
        assert_eq!(refused.body["retryable"], false);
    }
    let late = front.login(credentials()).await;
    assert_eq!((late.status, late.body["code"].as_str()), (429, Some("TOO_MANY_ATTEMPTS")));
    assert_eq!(header(&late, "retry-after"), "1");
}

#[tokio::test]
async fn what_is_wrong_with_a_body_has_a_pointer_and_is_not_said_back() {
    let (a, b) = (Pool::start().await, Pool::start().await);
    let front = front(&[("a", &a), ("b", &b)]);
    let body = credentials;
    for (body, pointer) in [
        (body(), "/backend"),
        (with(body(), "backend", json!([])), "/backend"),
        (with(body(), "backend", json!("sentinel")), "/backend"),
        (with(body(), "backend", json!(["a", "sentinel"])), "/backend/1"),
        (with(body(), "backend", json!(["a", 7])), "/backend/1"),
        (with(body(), "backend", json!(7)), "/backend"),
        (with(body(), "backend", json!({"a": 1})), "/backend"),
        (with(body(), "username", json!("")), "/username"),
        (with(body(), "username", json!(7)), "/username"),
        (with(body(), "password", json!(["sentinel"])), "/password"),
        (with(body(), "password", json!("sentinel\u{1}")), "/password"),
        (with(body(), "otp", json!("sentinel")), "/otp"),
        (json!({"username": "root"}), "/password"),
    ] {
        let answer = front.login(body.clone()).await;
        assert_eq!(
            (answer.status, answer.body["pointer"].as_str()),
            (422, Some(pointer)),
            "{body}"
        );
        assert!(!answer.body.to_string().contains("sentinel"), "{}", answer.body);
    }
    let unnamed = front.login(credentials()).await;
    assert_eq!(unnamed.body["params"], json!(["a", "b"]));
    assert_eq!(a.see(|state| state.asked) + b.see(|state| state.asked), 0);
    assert_eq!(front.send("POST", "/sessions", None, "{").await.status, 400);
    assert_eq!(front.send("POST", "/sessions?x=1", None, "{}").await.status, 400);
    assert_eq!(front.send("PUT", "/sessions", None, "{}").await.status, 405);
}

#[tokio::test]
async fn no_backend_to_ask_is_a_503_and_nonsense_a_502() {
    let (web, down) = (Pool::start().await, Pool::start().await);
    web.set(|state| state.page = true);
    down.set(|state| state.down = true);
    let front = front(&[("down", &down), ("web", &web)]);
    let answer = front.login(with(credentials(), "backend", json!("down"))).await;
    assert_eq!((answer.status, answer.body["code"].as_str()), (503, Some("BACKEND_UNREACHABLE")));
    assert_eq!((header(&answer, "retry-after"), &answer.body["params"]), ("5", &json!(["down"])));
    let answer = front.login(with(credentials(), "backend", json!("web"))).await;
    assert_eq!((answer.status, answer.body["code"].as_str()), (502, Some("BAD_REPLY")));
    assert!(answer.body["detail"].as_str().expect("a text").contains("HTML"), "{}", answer.body);
}

#[tokio::test]
async fn a_session_grows_by_a_backend() {
    let (a, b) = (Pool::start().await, Pool::start().await);
    let front = front(&[("a", &a), ("b", &b)]);
    let made = front.login(with(credentials(), "backend", json!("a"))).await;
    let token = made.body["token"].as_str();
    let path = "/sessions/current/backends";
    let add = async |body: Value| front.send("POST", path, token, &body.to_string()).await;

    let refused = add(json!({"backend": "b", "password": "wrong"})).await;
    let code = refused.body["code"].as_str();
    assert_eq!((refused.status, code), (403, Some("BACKEND_LOGIN_REFUSED")));
    assert_eq!(header(&refused, "www-authenticate"), "", "the token is as good as it was");
    let added = add(json!({"backend": ["b"], "password": PASSWORD, "username": "admin"})).await;
    assert_eq!(added.status, 200, "{}", added.body);
    let expected = json!([{"name": "a", "status": "ok"}, {"name": "b", "status": "ok"}]);
    assert_eq!(added.body["backends"], expected);
    assert_eq!(added.body["id"], made.body["session"]["id"]);
    assert_eq!(header(&added, "cache-control"), "no-store");

    assert_eq!(add(json!({"password": PASSWORD})).await.body["pointer"], "/backend");
    let unknown = add(json!({"backend": "c", "password": PASSWORD})).await;
    assert_eq!((unknown.status, unknown.body["pointer"].as_str()), (422, Some("/backend")));
    let stranger = front.send("POST", path, None, "{}").await;
    assert_eq!((stranger.status, stranger.body["code"].as_str()), (401, Some("TOKEN_REQUIRED")));

    front.gateway.authority.shutdown().await;
    assert!(a.see(|state| state.open.is_empty()) && b.see(|state| state.open.is_empty()));
}

#[test]
fn debug_shows_neither_password_nor_token() {
    let body: CredentialsBody = serde_json::from_value(credentials()).expect("credentials");
    let made = SessionCreated {
        token: "sentinel-token".into(),
        token_type: "Bearer",
        expires_at: String::new(),
        session: SessionView {
            id: Uuid::nil(),
            username: "root".to_owned(),
            expires_at: String::new(),
            backends: Vec::new(),
        },
    };
    let shown = format!("{body:?} {made:?}");
    assert!(shown.contains("root") && !shown.contains("sentinel"), "{shown}");
}
