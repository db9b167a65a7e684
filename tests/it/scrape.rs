//! `/metrics`: who may read it, that it is well-formed, and that it counts what happened.

use std::io::Write;

use reqwest::Method;
use tempfile::NamedTempFile;
use xengate::config::Config;

use crate::exposition::{self, Scrape};
use crate::lab::{Answer, Lab, around, logged};

const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";
const TOKEN: &str = "a token of more than sixteen characters";

fn token_file(token: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a file");
    writeln!(file, "{token}").expect("written");
    file
}

async fn scrape(lab: &Lab) -> Scrape {
    let answer = lab.gate.send(lab.gate.request(Method::GET, "/metrics")).await;
    assert_eq!(answer.status, 200);
    exposition::classic(&answer.text())
}

/// A request as a proxy on this machine would pass it on.
async fn from_elsewhere(lab: &Lab, token: Option<&str>) -> Answer {
    let request = lab.gate.request(Method::GET, "/metrics").header("X-Forwarded-For", "192.0.2.7");
    lab.gate
        .send(match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
        .await
}

#[tokio::test]
async fn both_formats_are_well_formed_and_say_the_same() {
    let lab = Lab::new().await;
    // A read waits for the mirror.
    lab.get("/vms", &lab.login().await).await.ok();
    let get = async |accept: &str| {
        let request = lab.gate.request(Method::GET, "/metrics").header("Accept", accept);
        lab.gate.send(request).await
    };
    let (open, classic) = (get("application/openmetrics-text").await, get("*/*").await);
    assert_eq!(open.header("content-type"), Some(OPEN));
    assert_eq!(classic.header("content-type"), Some(CLASSIC));
    assert_eq!(classic.header("cache-control"), Some("no-store"));
    let (open, classic) = (exposition::open(&open.text()), exposition::classic(&classic.text()));
    for family in ["xengate_http_requests_total", "xengate_mirror_objects", "xengate_build_info"] {
        assert!(!open.all(family, &[]).is_empty(), "{family}");
        assert!(classic.all(family, &[]).len() >= open.all(family, &[]).len(), "{family}");
    }
    assert_eq!(classic.types["xengate_build_info"], "gauge");
    assert_eq!(open.types["xengate_build"], "info");
    for name in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
    ] {
        assert!(classic.value(name, &[]) > 0.0, "{name}");
    }
    lab.end().await;
}

#[tokio::test]
async fn what_happened_is_counted() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let page = lab.get("/vms?limit=3", &token).await.ok();
    let objects = lab.get("/backends", &token).await.ok()["items"][0]["objects"].clone();
    for item in page["items"].as_array().expect("items") {
        let uuid = item["uuid"].as_str().expect("a uuid");
        lab.get(&format!("/vms/{uuid}"), &token).await.ok();
    }
    lab.get("/vms/no-uuid", &token).await.problem(400, "MALFORMED_UUID");
    let scrape = scrape(&lab).await;
    let count = |route: &str, code: &str| {
        let labels = [("route", route), ("method", "GET"), ("code", code)];
        scrape.value("xengate_http_requests_total", &labels)
    };
    assert_eq!(count("/vms/{uuid}", "200"), 3.0);
    assert_eq!(count("/vms/{uuid}", "400"), 1.0);
    assert_eq!(count("/vms", "200"), 1.0);
    let labels = [("route", "/vms/{uuid}"), ("method", "GET")];
    assert_eq!(scrape.value("xengate_http_request_duration_seconds_count", &labels), 4.0);
    assert_eq!(scrape.value("xengate_sessions", &[]), 1.0);
    assert!(scrape.value("xengate_http_connections", &[]) >= 1.0);
    assert_eq!(scrape.value("xengate_http_requests_in_flight", &[]), 1.0);
    for (class, count) in objects.as_object().expect("objects by class") {
        let labels = [("backend", "lab"), ("class", class.as_str())];
        let counted = scrape.value("xengate_mirror_objects", &labels);
        // The session's own doings come and go.
        if class != "message" && class != "task" {
            assert_eq!(Some(counted), count.as_f64(), "{class}");
        }
    }
    assert_eq!(scrape.value("xengate_mirror_age_seconds", &[("backend", "lab")]), 0.0);
    let state = |state| scrape.value("xengate_mirror_state", &[("state", state)]);
    assert_eq!((state("live"), state("stale")), (1.0, 0.0));
    let logins = [("call", "session.login_with_password"), ("outcome", "ok")];
    assert_eq!(scrape.value("xengate_backend_calls_total", &logins), 1.0);
    let sync = [("lane", "sync"), ("state", "busy")];
    assert_eq!(scrape.value("xengate_backend_connections", &sync), 1.0);
    assert_eq!(scrape.value("xengate_backend_queue", &[("lane", "calls")]), 0.0);
    lab.end().await;
}

#[tokio::test]
async fn nobody_makes_it_grow_by_what_they_ask_for() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let strange = Method::from_bytes(b"BREW").expect("a token");
    let ask = async |n: usize| {
        lab.get(&format!("/vms/{n}"), &token).await;
        lab.get(&format!("/nowhere/{n}"), &token).await;
        lab.get(&format!("/docs/{n}/{n}"), &token).await;
        let method = Method::from_bytes(format!("BREW{n}").as_bytes()).expect("a token");
        lab.gate.send(lab.gate.request(method, "/vms")).await;
        lab.gate.send(lab.gate.request(strange.clone(), "/vms")).await;
    };
    ask(0).await;
    scrape(&lab).await;
    let before = scrape(&lab).await;
    for n in 1..50 {
        ask(n).await;
    }
    let after = scrape(&lab).await;
    let of_http = |scrape: &Scrape| {
        scrape.samples.iter().filter(|one| one.name.starts_with("xengate_http_")).count()
    };
    assert_eq!(of_http(&before), of_http(&after));
    let other = [("route", "other"), ("method", "GET"), ("code", "404")];
    assert_eq!(after.value("xengate_http_requests_total", &other), 50.0);
    let brewed = [("route", "/vms"), ("method", "other"), ("code", "405")];
    assert_eq!(after.value("xengate_http_requests_total", &brewed), 100.0);
    lab.end().await;
}

#[tokio::test]
async fn others_need_the_token() {
    let without = Lab::new().await;
    from_elsewhere(&without, Some(TOKEN)).await.problem(403, "FORBIDDEN");
    let session = without.login().await;
    from_elsewhere(&without, Some(&session)).await.problem(403, "FORBIDDEN");
    without.end().await;

    let file = token_file(TOKEN);
    let set = |config: &mut Config| {
        config.metrics.scrape_token_file = Some(file.path().to_owned());
        // A proxy on this machine: what it says of its clients is believed, and no client becomes
        // one of this machine by it.
        config.trusted_proxies = vec!["127.0.0.1/32".parse().expect("a network")];
    };
    let lab = Lab::with(|_| {}, |config, _| set(config)).await;
    let session = lab.login().await;
    from_elsewhere(&lab, None).await.problem(401, "TOKEN_REQUIRED");
    // From this machine too: it may be a proxy that does not say so.
    let own = lab.gate.send(lab.gate.request(Method::GET, "/metrics")).await;
    own.problem(401, "TOKEN_REQUIRED");
    for wrong in [&session, "wrong", &TOKEN[1..], &format!("{TOKEN}x")] {
        from_elsewhere(&lab, Some(wrong)).await.problem(401, "INVALID_TOKEN");
    }
    assert_eq!(from_elsewhere(&lab, Some(TOKEN)).await.status, 200);
    let pretended =
        lab.gate.request(Method::GET, "/metrics").header("X-Forwarded-For", "127.0.0.1");
    lab.gate.send(pretended).await.problem(401, "TOKEN_REQUIRED");
    // Changed without a restart; too short for a secret; gone.
    std::fs::write(file.path(), format!("{TOKEN} is another")).expect("written");
    from_elsewhere(&lab, Some(TOKEN)).await.problem(401, "INVALID_TOKEN");
    std::fs::write(file.path(), "short").expect("written");
    from_elsewhere(&lab, Some("short")).await.problem(501, "NOT_CONFIGURED");
    file.close().expect("removed");
    from_elsewhere(&lab, Some(TOKEN)).await.problem(501, "NOT_CONFIGURED");
    assert_eq!(around(&logged(), TOKEN), None, "a token was logged");
    lab.end().await;
}
