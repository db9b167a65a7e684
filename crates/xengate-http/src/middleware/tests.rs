use std::time::Duration;

use axum::response::IntoResponse;
use axum::routing::{get, post};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use serde::Deserialize;
use tokio::sync::Notify;
use tokio::time::Instant;
use tower::ServiceExt;

use super::*;
use crate::extract::{AcceptsJson, Json, ObjectUuid, Query};
use crate::unsent_budget::UnsentBudget;
use crate::validators::ETag;
use xengate_config::{Cors, Limits};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    text: String,
}

#[derive(Debug, Deserialize)]
struct Page {
    limit: Option<u16>,
}

fn routes() -> Router {
    Router::new()
        .route("/livez", get(async || "live"))
        .route("/readyz", get(async || "ready"))
        .route("/large", get(async || "x".repeat(6000)))
        .route("/embedded", get(async || (axum::Extension(Embedded), "x".repeat(6000))))
        .route("/things/{uuid}", get(async |ObjectUuid(uuid)| uuid.to_string()))
        .route("/json", get(async |_: AcceptsJson| "{}"))
        .route("/tagged", get(async || [(header::ETAG, "\"1\"")]))
        .route("/kept", get(async || [(header::CACHE_CONTROL, "max-age=60")]))
        .route("/page", get(async |Query(page): Query<Page>| format!("{:?}", page.limit)))
        .route("/notes", post(async |Json(note): Json<Note>| note.text.len().to_string()))
        .route("/panic", get(async || -> &str { panic!("hunter2") }))
        .route("/never", get(async || std::future::pending::<&str>().await))
        .route("/fail", get(async || Problem::new(Code::Internal, "broken").into_response()))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
}

fn bodies(limits: &Limits) -> Arc<ResponseCache> {
    Arc::new(ResponseCache::new(1 << 20, UnsentBudget::new(limits.max_unsent)))
}

fn shell(limits: Limits) -> RequestService {
    RequestService::new(routes(), &limits, &Cors::default(), bodies(&limits), Telemetry::new([]))
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn problem(&self) -> serde_json::Value {
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        let problem: serde_json::Value = serde_json::from_slice(&self.body).expect("a problem");
        assert_eq!(problem["status"], self.status.as_u16());
        assert_eq!(problem["request_id"].as_str(), self.headers["x-request-id"].to_str().ok());
        problem
    }

    fn code(&self) -> (u16, String) {
        let code = self.problem()["code"].as_str().expect("a code").to_owned();
        (self.status.as_u16(), code)
    }
}

async fn ask(
    shell: &RequestService,
    request: http::request::Builder,
    body: impl Into<Body>,
) -> Answer {
    let peer = SocketAddr::from(([192, 0, 2, 1], 4711));
    let request = request.body(body.into()).expect("a request");
    let response =
        shell.for_connection(peer, Arc::default()).oneshot(request).await.expect("infallible");
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("a body").to_bytes().to_vec();
    Answer { status: head.status, headers: head.headers, body }
}

async fn get_at(shell: &RequestService, path: &str) -> Answer {
    ask(shell, Request::get(path), Body::empty()).await
}

#[tokio::test]
async fn every_answer_has_an_id_and_is_not_kept() {
    let shell = shell(Limits::default());
    let mine = Request::get("/livez").header("x-request-id", "ci-42");
    let answer = ask(&shell, mine, Body::empty()).await;
    assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &b"live"[..]));
    assert_eq!(answer.headers["x-request-id"], "ci-42");
    assert_eq!(answer.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    let tagged = get_at(&shell, "/tagged").await;
    assert_eq!(tagged.headers[header::CACHE_CONTROL], "private, no-cache");
    let kept = get_at(&shell, "/kept").await;
    assert_eq!(kept.headers[header::CACHE_CONTROL], "max-age=60");
    assert_ne!(tagged.headers["x-request-id"], kept.headers["x-request-id"]);
}

#[tokio::test]
async fn what_no_route_takes_is_a_problem() {
    let shell = shell(Limits::default());
    assert_eq!(get_at(&shell, "/nowhere").await.code(), (404, "NOT_FOUND".to_owned()));
    for method in [Method::PUT, Method::OPTIONS, Method::TRACE] {
        let answer = ask(&shell, Request::builder().method(method).uri("/livez"), "").await;
        assert_eq!(answer.code(), (405, "METHOD_NOT_ALLOWED".to_owned()));
        assert_eq!(answer.headers[header::ALLOW], "GET,HEAD");
    }
    let bad = get_at(&shell, "/things/6d2b6a53").await;
    assert_eq!(bad.code(), (400, "MALFORMED_UUID".to_owned()));
    let bad = get_at(&shell, "/things/%ff").await;
    assert_eq!(bad.code(), (400, "MALFORMED_UUID".to_owned()));
    let bad = get_at(&shell, "/page?limit=1&sort=x").await;
    assert_eq!(bad.code(), (400, "UNKNOWN_PARAMETER".to_owned()));
    assert_eq!(bad.problem()["params"], serde_json::json!(["sort"]));
    let html = Request::get("/json").header(header::ACCEPT, "text/html");
    assert_eq!(ask(&shell, html, "").await.code(), (406, "NOT_ACCEPTABLE".to_owned()));
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let shell = shell(Limits::default());
    let answer = ask(&shell, Request::head("/livez"), "").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers[header::CONTENT_LENGTH], "4");
    assert!(answer.body.is_empty());
    for path in ["/fail", "/nowhere"] {
        let (get, head) = (get_at(&shell, path).await, ask(&shell, Request::head(path), "").await);
        assert!(head.body.is_empty() && !get.body.is_empty());
        assert_eq!(head.status, get.status);
        assert_eq!(head.headers[header::CONTENT_TYPE], "application/problem+json");
        // Give or take the request id, which is as long in both.
        assert_eq!(head.headers[header::CONTENT_LENGTH], get.headers[header::CONTENT_LENGTH]);
    }
}

#[tokio::test]
async fn answers_nobody_takes_are_no_more_than_there_is_room_for() {
    let shell = shell(Limits { max_unsent: 12 << 10, ..Limits::default() });
    let unsent = Arc::<UnsentWatch>::default();
    let open = async |path: &str| {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let stack = shell.for_connection(([192, 0, 2, 1], 1).into(), unsent.clone());
        stack.oneshot(request).await.expect("infallible")
    };
    let (one, other) = (open("/large").await, open("/large").await);
    let refused = get_at(&shell, "/large").await;
    assert_eq!(refused.code(), (503, "OVERLOADED".to_owned()));
    assert!(refused.headers.contains_key(header::RETRY_AFTER));
    for path in ["/livez", "/readyz", "/embedded"] {
        assert_eq!(get_at(&shell, path).await.status, StatusCode::OK, "{path}");
    }
    drop(one);
    assert_eq!(get_at(&shell, "/large").await.body.len(), 6000);
    assert_eq!(other.into_body().collect().await.expect("a body").to_bytes().len(), 6000);
}

#[tokio::test]
async fn answers_with_the_same_bytes_take_their_room_once() {
    let limits = Limits { max_unsent: 27 << 10, ..Limits::default() };
    let bodies = bodies(&limits);
    let shared = bodies.clone();
    let list = move || {
        let shared = shared.clone();
        async move {
            let etag = ETag::lasting("list");
            shared.whole(&etag, 20 << 10, || vec![b'x'; 20 << 10]).await.expect("room")
        }
    };
    let routes = routes().route("/list", get(list));
    let shell = RequestService::new(routes, &limits, &Cors::default(), bodies, Telemetry::new([]));
    let unsent = Arc::<UnsentWatch>::default();
    let open = async |path: &str| {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let stack = shell.for_connection(([192, 0, 2, 1], 1).into(), unsent.clone());
        stack.oneshot(request).await.expect("infallible")
    };
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(open("/list").await);
    }
    assert!(held.iter().all(|answer| answer.status() == StatusCode::OK));
    // The room is what it is: 20 KiB of 27 are taken for as long as one of them is.
    let (first, second) = (open("/large").await, open("/large").await);
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 503));
    held.truncate(1);
    assert_eq!(open("/large").await.status().as_u16(), 503);
    let last = held.pop().expect("one").into_body().collect().await.expect("a body");
    assert_eq!(last.to_bytes().len(), 20 << 10);
    assert_eq!(open("/large").await.status().as_u16(), 200);
}

#[tokio::test]
async fn a_body_is_judged_by_type_syntax_and_shape() {
    let shell = shell(Limits::default());
    let post = |kind: &'static str| Request::post("/notes").header(header::CONTENT_TYPE, kind);
    let json = "application/json";
    let good = ask(&shell, post(json), r#"{"text":"four"}"#).await;
    assert_eq!(good.body, b"4");
    let cases = [
        (json, "", 400, "MALFORMED_JSON"),
        (json, "{", 400, "MALFORMED_JSON"),
        ("text/plain", "{}", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (json, "{}", 422, "WRONG_SHAPE"),
        (json, r#"{"text":1}"#, 422, "WRONG_SHAPE"),
    ];
    for (kind, body, status, code) in cases {
        let answer = ask(&shell, post(kind), body).await;
        assert_eq!(answer.code(), (status, code.to_owned()), "{body}");
    }
    let answer = ask(&shell, post(json), r#"{"text":"a","text2":"b"}"#).await;
    assert_eq!(answer.problem()["pointer"], "/text2");
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let shell = shell(Limits { max_body: 20, max_header: 500, ..Limits::default() });
    let post = || Request::post("/notes").header(header::CONTENT_TYPE, "application/json");
    let whole = ask(&shell, post(), r#"{"text":"as much as fits?"}"#).await;
    assert_eq!(whole.code(), (413, "BODY_TOO_LARGE".to_owned()));
    // Without a length that could be looked at first.
    let chunks = [r#"{"text":"as "#, r#"much as fits?"}"#];
    let chunks = futures_util::stream::iter(chunks.map(Ok::<_, Infallible>));
    let streamed = ask(&shell, post(), Body::from_stream(chunks)).await;
    assert_eq!(streamed.code(), (413, "BODY_TOO_LARGE".to_owned()));

    let long = "x".repeat(500);
    for request in [
        Request::get("/livez").header("x-long", &long),
        Request::get(format!("/livez?{long}")),
        Request::get(format!("/{long}")),
    ] {
        let answer = ask(&shell, request, "").await;
        assert_eq!(answer.code(), (431, "HEADER_TOO_LARGE".to_owned()));
    }
}

#[tokio::test]
async fn a_panic_is_a_500_that_says_nothing() {
    let shell = shell(Limits::default());
    let answer = get_at(&shell, "/panic").await;
    assert_eq!(answer.code(), (500, "INTERNAL".to_owned()));
    assert!(!String::from_utf8_lossy(&answer.body).contains("hunter2"));
    assert_eq!(get_at(&shell, "/livez").await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_request_has_a_deadline() {
    let shell = shell(Limits { request_timeout: Duration::from_secs(7), ..Limits::default() });
    let begun = Instant::now();
    let answer = get_at(&shell, "/never").await;
    assert_eq!(answer.code(), (504, "REQUEST_TIMEOUT".to_owned()));
    assert!(answer.headers.contains_key(header::RETRY_AFTER));
    assert_eq!(begun.elapsed().as_secs(), 7);
}

#[tokio::test]
async fn one_request_too_many_is_sent_away() {
    let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (inner_entered, inner_leave) = (entered.clone(), leave.clone());
    let routes = routes().route(
        "/slow",
        get(async move || {
            inner_entered.notify_one();
            inner_leave.notified().await;
            "done"
        }),
    );
    let limits = Limits { max_concurrent_requests: 1, ..Limits::default() };
    let shell =
        RequestService::new(routes, &limits, &Cors::default(), bodies(&limits), Telemetry::new([]));
    let slow = async { get_at(&shell, "/slow").await };
    let meanwhile = async {
        entered.notified().await;
        let refused = get_at(&shell, "/tagged").await;
        let live = get_at(&shell, "/livez").await;
        let ready = get_at(&shell, "/readyz").await;
        leave.notify_one();
        (refused, live, ready)
    };
    let (slow, (refused, live, ready)) = tokio::join!(slow, meanwhile);
    assert_eq!(refused.code(), (503, "OVERLOADED".to_owned()));
    assert!(refused.headers.contains_key(header::RETRY_AFTER));
    assert_eq!((live.status, ready.status), (StatusCode::OK, StatusCode::OK));
    assert_eq!(slow.status, StatusCode::OK);
    assert_eq!(get_at(&shell, "/tagged").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_problem_of_a_route_gets_its_document_here() {
    let shell = shell(Limits::default());
    let answer = get_at(&shell, "/fail").await;
    assert_eq!(answer.problem()["detail"], "broken");
    let length = answer.headers[header::CONTENT_LENGTH].to_str().expect("digits");
    assert_eq!(length, answer.body.len().to_string());
}

#[tokio::test]
async fn other_origins_are_let_in_by_name() {
    const MINE: &str = "https://ui.example.com";
    let from = |path: &str, origin: &str| Request::get(path).header(header::ORIGIN, origin);
    let off = shell(Limits::default());
    let answer = ask(&off, from("/livez", MINE), "").await;
    assert!(!answer.headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));

    let cors = Cors { origins: vec!["https://other".to_owned(), MINE.to_owned()] };
    let limits = Limits::default();
    let on = RequestService::new(routes(), &limits, &cors, bodies(&limits), Telemetry::new([]));
    // Problems too, or a page could not read why it was refused.
    for path in ["/livez", "/nowhere"] {
        let answer = ask(&on, from(path, MINE), "").await;
        assert_eq!(answer.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], MINE);
        let exposed = &answer.headers[header::ACCESS_CONTROL_EXPOSE_HEADERS];
        let exposed: Vec<&str> = exposed.to_str().expect("names").split(',').collect();
        for name in ["x-request-id", "etag", "location", "retry-after", "xen-stale", "age"] {
            assert!(exposed.contains(&name), "{name} is not among {exposed:?}");
        }
        assert!(!answer.headers.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
    }
    for origin in ["https://evil.example.com", "https://ui.example.com.evil", "null"] {
        let answer = ask(&on, from("/livez", origin), "").await;
        assert!(!answer.headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), "{origin}");
    }
    let preflight = Request::options("/notes")
        .header(header::ORIGIN, MINE)
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
        .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "authorization,content-type");
    let answer = ask(&on, preflight, "").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], MINE);
    let methods = answer.headers[header::ACCESS_CONTROL_ALLOW_METHODS].to_str().expect("names");
    assert!(methods.contains("POST") && methods.contains("DELETE"));
    let headers = answer.headers[header::ACCESS_CONTROL_ALLOW_HEADERS].to_str().expect("names");
    assert!(headers.contains("authorization"));
}
