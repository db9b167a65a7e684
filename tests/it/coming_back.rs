//! Pools that come back, that cannot tell of everything at once, or that tell of nothing.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use xengate::config::SecretSource;
use xengate::sim::{Failure, Fault, PASSWORD, RawReply, Value as SimValue};

use crate::lab::{Answer, Lab, around, logged};

/// What the simulator calls the question for everything there is.
const EVERYTHING: &str = "event.from, everything";

async fn backend(lab: &Lab, token: &str) -> Value {
    lab.get("/backends", token).await.ok()["items"][0].clone()
}

async fn rename(lab: &Lab, token: &str, path: &str, name: &str) -> Answer {
    let request = lab.gate.request(Method::PATCH, path).bearer_auth(token);
    lab.gate.send(request.json(&json!({"name_description": name}))).await
}

async fn first_vm(lab: &Lab, token: &str) -> String {
    let list = lab.get("/vms?limit=1", token).await.ok();
    format!("/vms/{}", list["items"][0]["uuid"].as_str().expect("a uuid"))
}

fn lives(answer: &Answer) -> bool {
    answer.status == 200 && answer.header("xen-stale").is_none()
}

#[tokio::test]
async fn a_hang_is_over_when_the_pool_answers_anybody() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let vm = first_vm(&lab, &token).await;
    // Two questions for events are never answered, whatever becomes of the pool.
    lab.sim.fault(Some("event.from"), Fault::Hang, Some(2));
    let asked = lab.sim.seen("event.from");
    lab.sim.set_field("VM", &vm["/vms/".len()..], "name_label", SimValue::text("x")).expect("set");
    lab.until(&vm, &token, |answer| answer.json()["name_label"] == "x").await;
    while lab.sim.seen("event.from") < asked + 1 {
        tokio::task::yield_now().await;
    }
    for _ in 0..20 {
        lab.passes(Duration::from_secs(1)).await;
        if !lives(&lab.get("/vms", &token).await) {
            break;
        }
    }
    let stale = lab.get("/vms", &token).await;
    assert!(stale.header("xen-stale").is_some(), "a pool that says nothing is not live");
    // The pool answers others: a write is one of them, and does not wait for what does not come.
    let begun = std::time::Instant::now();
    let written = rename(&lab, &token, &vm, "while it hangs").await;
    assert_eq!(written.status, 200, "{}", written.text());
    assert!(begun.elapsed() < Duration::from_secs(4), "it waited for {:?}", begun.elapsed());
    lab.until(&vm, &token, |answer| {
        lives(answer) && answer.json()["name_description"] == "while it hangs"
    })
    .await;
    assert!(begun.elapsed() < Duration::from_secs(8), "live after {:?}", begun.elapsed());
    assert_eq!(lab.sim.everything_read(), 1, "the token is good");
    let log = logged();
    let line = |level: &str, state: &str| {
        String::from_utf8_lossy(&log)
            .lines()
            .any(|line| line.contains(level) && line.contains(&format!("state=\"{state}\"")))
    };
    assert!(line(" WARN ", "stale"), "{:?}", around(&log, "stale"));
    assert!(line(" INFO ", "live"));
    lab.end().await;
}

#[tokio::test]
async fn a_pool_that_comes_back_is_soon_followed_without_callers() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    std::fs::write(&file, PASSWORD).expect("written");
    let lab = Lab::with(
        |_| {},
        |config, _| {
            let backend = config.backends.get_mut("lab").expect("there");
            backend.service_username = Some("root".to_owned());
            backend.service_password = Some(SecretSource::File(file));
        },
    )
    .await;
    let state = |answer: &Answer| answer.json()["backends"][0]["state"].clone();
    lab.until("/readyz", "", |answer| state(answer) == "live").await;
    lab.sim.stop_listening();
    lab.sim.drop_connections();
    lab.until("/readyz", "", |answer| state(answer) == "stale").await;
    // However long it was away, it is asked again at once.
    for _ in 0..60 {
        lab.passes(Duration::from_secs(2)).await;
    }
    lab.sim.listen_again().expect("the same port");
    let begun = std::time::Instant::now();
    lab.until("/readyz", "", |answer| state(answer) == "live").await;
    assert!(begun.elapsed() < Duration::from_secs(3), "live after {:?}", begun.elapsed());
    lab.end().await;
}

#[tokio::test]
async fn a_pool_that_cannot_tell_of_everything_at_once_is_read_class_by_class() {
    let html = RawReply::http("500 Internal Error", "text/html", "<html>out of memory</html>");
    let internal = Failure::new("INTERNAL_ERROR", ["Out_of_memory"]);
    let faults = [Fault::Reply(html), Fault::Cut(60_000), Fault::Drop, Fault::Fail(internal)];
    for fault in faults {
        let lab = Lab::new().await;
        lab.sim.fault(Some(EVERYTHING), fault.clone(), None);
        let token = lab.login().await;
        let vm = first_vm(&lab, &token).await;
        for (class, paths) in [
            ("VM", &["/vms", "/vm-templates", "/vm-snapshots"][..]),
            ("host", &["/hosts"]),
            ("VIF_metrics", &["/vif-metrics"]),
            ("message", &["/messages"]),
            ("subject", &["/subjects"]),
        ] {
            let mut total = 0;
            for path in paths {
                total += lab.get(path, &token).await.ok()["total"].as_u64().expect("a number");
            }
            assert_eq!(total, lab.sim.count(class) as u64, "{class} after {fault:?}");
        }
        // Changes arrive as they happen, and without another question for everything.
        let asked = lab.sim.everything_read();
        let uuid = &vm["/vms/".len()..];
        lab.sim.set_field("VM", uuid, "name_label", SimValue::text("told")).expect("set");
        lab.until(&vm, &token, |answer| lives(answer) && answer.json()["name_label"] == "told")
            .await;
        let written = rename(&lab, &token, &vm, "seen").await;
        assert_eq!(written.header("xen-revision-pending"), None);
        assert_eq!(lab.sim.everything_read(), asked);
        assert_eq!(backend(&lab, &token).await["state"], "live");
        lab.end().await;
    }
}

#[tokio::test]
async fn a_class_that_cannot_be_read_at_once_is_read_one_object_after_the_other() {
    let lab = Lab::new().await;
    let html = || RawReply::http("500 Internal Error", "text/html", "<html>too long</html>");
    lab.sim.fault(Some(EVERYTHING), Fault::Reply(html()), None);
    lab.sim.fault(
        Some("event.inject"),
        Fault::Fail(Failure::new("MESSAGE_METHOD_UNKNOWN", ["event.inject"])),
        Some(1),
    );
    lab.sim.fault(Some("SR.get_all_records"), Fault::Reply(html()), None);
    lab.sim.fault(
        Some("VIF.get_all_records"),
        Fault::Fail(Failure::new::<&str>("MESSAGE_REMOVED", [])),
        None,
    );
    // A class that came with a later release.
    let unknown = Failure::new("MESSAGE_METHOD_UNKNOWN", ["Observer.get_all_records"]);
    lab.sim.fault(Some("Observer.get_all_records"), Fault::Fail(unknown), None);
    let token = lab.login().await;
    for (class, path) in [("SR", "/srs"), ("VIF", "/vifs"), ("VBD", "/vbds")] {
        let total = lab.get(path, &token).await.ok()["total"].clone();
        assert_eq!(total, lab.sim.count(class), "{class}");
    }
    lab.end().await;
}

#[tokio::test]
async fn a_pool_without_events_says_so_at_once_and_for_good() {
    let lab = Lab::new().await;
    let unknown = Failure::new("MESSAGE_METHOD_UNKNOWN", ["event.from"]);
    lab.sim.fault(Some("event.from"), Fault::Fail(unknown), None);
    let token = lab.login().await;
    let begun = std::time::Instant::now();
    let problem = lab.get("/vms", &token).await.problem(501, "NOT_SUPPORTED");
    assert!(begun.elapsed() < Duration::from_secs(5), "it was waited for: {:?}", begun.elapsed());
    assert_eq!(problem["retryable"], false);
    assert!(
        problem["detail"].as_str().is_some_and(|text| text.contains("event.from")),
        "{problem}"
    );
    let told = backend(&lab, &token).await;
    assert_eq!((&told["state"], &told["reachable"]), (&json!("down"), &json!(true)));
    assert!(told["reason"].as_str().is_some_and(|text| text.contains("event.from")), "{told}");
    let asked = lab.sim.seen("event.from");
    for _ in 0..20 {
        lab.passes(Duration::from_secs(1)).await;
        lab.get("/vms", &token).await.problem(501, "NOT_SUPPORTED");
    }
    assert!(lab.sim.seen("event.from") <= asked + 2, "it is not asked again and again");
    // It was updated meanwhile, and somebody logs in.
    lab.sim.clear_faults();
    let token = lab.login().await;
    lab.until("/vms", &token, |answer| answer.status == 200).await;
    lab.end().await;
}

#[tokio::test]
async fn a_pool_that_refuses_to_tell_is_a_problem_and_no_wait() {
    let lab = Lab::new().await;
    let broken = Failure::new("INTERNAL_ERROR", ["Not_found"]);
    lab.sim.fault(Some("event.from"), Fault::Fail(broken.clone()), None);
    lab.sim.fault(Some("event.inject"), Fault::Fail(broken), None);
    let token = lab.login().await;
    let problem = lab.get("/vms", &token).await.problem(502, "BAD_REPLY");
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("INTERNAL_ERROR")));
    assert_eq!(backend(&lab, &token).await["state"], "down");
    lab.sim.clear_faults();
    lab.until("/vms", &token, |answer| answer.status == 200).await;
    lab.end().await;
}

#[tokio::test]
async fn a_mirror_that_nobody_feeds_says_why() {
    let lab = Lab::new().await;
    let detail = |answer: &Answer| answer.json()["backends"][0]["detail"].clone();
    lab.until("/readyz", "", |answer| detail(answer) == "nobody is logged in").await;
    let token = lab.login().await;
    lab.get("/vms", &token).await.ok();
    assert_eq!(backend(&lab, &token).await["reason"], Value::Null);
    assert_eq!(detail(&lab.get("/readyz", "").await), Value::Null);
    lab.end().await;
}
