//! Pools that are down, lost, hung, or that answer nonsense.

use std::task::Poll;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use xengate::sim::{Fault, PASSWORD, RawReply, Sim, SimConfig, User, Value as SimValue};

use crate::lab::{Answer, Lab};

/// What no answer of the gateway may repeat of a backend's body.
const BODY: &str = "the-body-of-the-backend";

fn state(answer: &Answer) -> Value {
    answer.json()["backends"][0]["state"].clone()
}

async fn try_login(lab: &Lab) -> Answer {
    let body = json!({"username": "root", "password": PASSWORD});
    lab.gate.post("/sessions", None, &body).await
}

#[tokio::test]
async fn a_reply_that_is_none_is_a_502_that_says_what_was_seen() {
    let deep = |open: &str| open.repeat(10_000);
    let xml =
        |inner: String| format!("<?xml version=\"1.0\"?><methodResponse><params><param>{inner}");
    let json_type = "application/json";
    let replies = [
        RawReply::http("200 OK", "text/html", format!("<html><body>{BODY}</body></html>")),
        RawReply::http("404 Not Found", "text/html", format!("<html>{BODY}</html>")),
        RawReply::http("500 Internal Error", "text/plain", BODY),
        RawReply::http("200 OK", json_type, ""),
        RawReply::http("200 OK", json_type, format!("{{\"{BODY}\":1}}")),
        RawReply::http("200 OK", json_type, format!("{{\"jsonrpc\":\"2.0\",\"result\":\"{BODY}")),
        RawReply::http("200 OK", json_type, deep("[")),
        RawReply::http("200 OK", json_type, format!("{{\"result\":{}", deep("{\"a\":"))),
        RawReply::http("200 OK", "text/xml", xml(deep("<value><array><data>"))),
        RawReply::http("200 OK", "text/xml", xml(format!("<value>{BODY}"))),
        RawReply::http("200 OK", "application/octet-stream", vec![0, 159, 146, 150]),
        RawReply::http("200 OK", json_type, "{\"jsonrpc\":\"2.0\",\"result\":7,\"id\":1}"),
        RawReply { start: b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), endless: Vec::new() },
        RawReply::endless("<?xml version=\"1.0\"?><methodResponse>", " ".repeat(4096)),
        RawReply::endless(
            "{\"jsonrpc\":\"2.0\",\"result\":\"",
            format!("{BODY}{BODY}").into_bytes(),
        ),
    ];
    for (number, reply) in replies.into_iter().enumerate() {
        let lab = Lab::with(
            |_| {},
            |config, _| {
                let backend = config.backends.get_mut("lab").expect("there");
                backend.max_reply = 1 << 20;
                backend.call_timeout = Duration::from_secs(10);
            },
        )
        .await;
        lab.sim.fault(None, Fault::Reply(reply), None);
        let answer = try_login(&lab).await;
        let problem = answer.problem(502, "BAD_REPLY");
        let text = String::from_utf8_lossy(&answer.body);
        assert!(!text.contains(BODY), "reply {number}: {problem}");
        assert!(problem["detail"].as_str().expect("text").len() > 20, "{number}: {problem}");
        // Once the backend is itself again, so is the gateway.
        lab.sim.clear_faults();
        let token = lab.login().await;
        lab.get("/vms", &token).await.ok();
        lab.end().await;
    }
}

#[tokio::test]
async fn a_sync_that_gets_nonsense_is_a_502_until_it_gets_sense() {
    let lab = Lab::new().await;
    let html = RawReply::http("200 OK", "text/html", format!("<html>{BODY}</html>"));
    lab.sim.fault(Some("event.from"), Fault::Reply(html.clone()), None);
    lab.sim.fault(Some("event.inject"), Fault::Reply(html), None);
    let token = lab.login().await;
    let answer = lab.get("/vms", &token).await;
    answer.problem(502, "BAD_REPLY");
    assert!(!String::from_utf8_lossy(&answer.body).contains(BODY));
    lab.sim.clear_faults();
    lab.until("/vms", &token, |answer| answer.status == 200).await;
    lab.end().await;
}

#[tokio::test]
async fn a_sync_that_is_cut_short_shows_nothing_of_it() {
    let lab = Lab::new().await;
    lab.sim.fault(Some("event.from"), Fault::Cut(60_000), Some(2));
    let token = lab.login().await;
    let list = lab.until("/vms", &token, |answer| answer.status == 200).await.ok();
    let everything = lab.sim.count("VM");
    let listed = ["/vms", "/vm-templates", "/vm-snapshots"];
    let mut total = 0;
    for path in listed {
        total += lab.get(path, &token).await.ok()["total"].as_u64().expect("a number") as usize;
    }
    assert_eq!(total, everything, "{}", list["total"]);
    lab.end().await;
}

#[tokio::test]
async fn a_backend_that_is_down_at_the_start_is_no_obstacle() {
    let lab = Lab::new().await;
    lab.sim.stop_listening();
    lab.sim.drop_connections();
    let ready = lab.until("/readyz", "", |answer| answer.status == 503).await;
    let document = ready.json();
    assert_eq!(document["backends"][0]["name"], "lab");
    assert_eq!(document["backends"][0]["state"], "down");
    assert!(document["backends"][0]["detail"].as_str().is_some_and(|why| !why.is_empty()));
    let answer = try_login(&lab).await;
    answer.problem(503, "BACKEND_UNREACHABLE");
    assert!(answer.header("retry-after").is_some());
    lab.get("/livez", "").await.ok();
    lab.sim.listen_again().expect("the same port");
    lab.until("/readyz", "", |answer| answer.status == 200).await;
    let token = lab.login().await;
    lab.get("/vms", &token).await.ok();
    lab.end().await;
}

#[tokio::test]
async fn a_backend_that_is_lost_leaves_its_mirror_marked_stale() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let before = lab.get("/vms", &token).await;
    assert!(before.header("xen-stale").is_none() && before.header("age").is_none());
    lab.sim.stop_listening();
    lab.sim.drop_connections();
    let stale = lab.until("/vms", &token, |answer| answer.header("xen-stale").is_some()).await;
    assert_eq!(stale.header("xen-stale"), Some("lab"));
    stale.header("age").expect("how old").parse::<u64>().expect("seconds");
    assert_eq!(stale.ok(), before.ok(), "the mirror goes on answering");
    assert_eq!(state(&lab.until("/readyz", "", |a| state(a) == "stale").await), "stale");
    // What happens meanwhile shows once it is back.
    let uuid = before.ok()["items"][0]["uuid"].as_str().expect("a uuid").to_owned();
    lab.sim.set_field("VM", &uuid, "name_label", SimValue::text("meanwhile")).expect("set");
    lab.sim.listen_again().expect("the same port");
    let path = format!("/vms/{uuid}");
    let fresh = lab
        .until(&path, &token, |answer| {
            answer.header("xen-stale").is_none() && answer.json()["name_label"] == "meanwhile"
        })
        .await;
    assert_eq!(fresh.status, 200);
    lab.end().await;
}

#[tokio::test]
async fn a_mirror_outlives_the_session_it_lived_on() {
    let lab = Lab::new().await;
    let (first, second) = (lab.login().await, lab.login().await);
    lab.get("/vms", &first).await.ok();
    let logout = lab.gate.request(Method::DELETE, "/sessions/current");
    lab.gate.send(logout.bearer_auth(&first)).await;
    let uuid = lab.get("/vms", &second).await.ok()["items"][0]["uuid"].clone();
    let uuid = uuid.as_str().expect("a uuid");
    lab.sim.set_field("VM", uuid, "name_label", SimValue::text("later")).expect("set");
    let path = format!("/vms/{uuid}");
    lab.until(&path, &second, |answer| answer.json()["name_label"] == "later").await;
    // The next session goes on where the first one ended; the pool is not read anew.
    let everything = lab.sim.everything_read();
    assert_eq!(everything, 1);
    lab.end().await;
}

#[tokio::test]
async fn sessions_that_the_pool_ends_end_here_too() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    lab.get("/vms", &token).await.ok();
    lab.sim.end_sessions(None);
    let answer = lab.until("/vms", &token, |answer| answer.status == 401).await;
    answer.problem(401, "INVALID_TOKEN");
    let again = lab.login().await;
    lab.get("/vms", &again).await.ok();
    lab.end().await;
}

#[tokio::test]
async fn dead_sessions_hold_up_nobody_who_logs_in() {
    let lab = Lab::new().await;
    for _ in 0..12 {
        lab.login().await;
    }
    let token = lab.login().await;
    let uuid = lab.get("/vms", &token).await.ok()["items"][0]["uuid"].clone();
    let uuid = uuid.as_str().expect("a uuid");
    // All that the mirror could borrow are gone, and none of their owners comes back.
    lab.sim.end_sessions(None);
    let token = lab.login().await;
    lab.sim.set_field("VM", uuid, "name_label", SimValue::text("later")).expect("set");
    let path = format!("/vms/{uuid}");
    lab.until(&path, &token, |answer| {
        answer.status == 200 && answer.json()["name_label"] == "later"
    })
    .await;
    lab.end().await;
}

#[tokio::test]
async fn a_write_to_a_pool_that_was_restarted_shows_itself() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let uuid = lab.get("/vms", &token).await.ok()["items"][0]["uuid"].clone();
    let path = format!("/vms/{}", uuid.as_str().expect("a uuid"));
    // Much happens, so that its tokens grow beyond those of the next run.
    for number in 0..200 {
        let name = SimValue::text(format!("name {number}"));
        lab.sim.set_field("VM", uuid.as_str().expect("a uuid"), "name_label", name).expect("set");
    }
    lab.until(&path, &token, |answer| answer.json()["name_label"] == "name 199").await;
    lab.sim.stop().await;
    lab.until("/vms", &token, |answer| answer.header("xen-stale").is_some()).await;
    let again = Sim::start(SimConfig {
        listen: lab.sim.addr(),
        batching: Some(Duration::ZERO),
        session_mark: Some("5e550001".to_owned()),
        ..SimConfig::default()
    })
    .expect("the same port");
    again.hold("event.from");
    let token = lab.login().await;
    let patch = lab.gate.request(Method::PATCH, &path).json(&json!({"name_label": "fresh"}));
    let write = lab.gate.send(patch.bearer_auth(&token));
    let release = async {
        // The gateway waits for what it wrote; only now may it see anything.
        while again.seen("event.inject") == 0 {
            tokio::task::yield_now().await;
        }
        again.release("event.from");
    };
    let (written, ()) = tokio::join!(write, release);
    assert_eq!(written.ok()["name_label"], "fresh");
    assert_eq!(written.header("xen-revision-pending"), None);
    assert_eq!(lab.get(&path, &token).await.ok()["name_label"], "fresh");
    let secrets = [lab.sim.session_refs(), again.session_refs()].concat();
    lab.gate.end(&secrets).await;
    again.stop().await;
}

#[tokio::test]
async fn a_token_that_the_pool_forgot_means_a_fresh_sync() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let before = lab.get("/vms", &token).await.ok();
    let failure = xengate::sim::Failure::new("EVENT_FROM_TOKEN_PARSE_FAILURE", ["x"]);
    lab.sim.fault(Some("event.from"), Fault::Fail(failure), Some(1));
    let uuid = before["items"][0]["uuid"].as_str().expect("a uuid");
    for name in ["one", "two"] {
        lab.sim.set_field("VM", uuid, "name_label", SimValue::text(name)).expect("set");
        let path = format!("/vms/{uuid}");
        lab.until(&path, &token, |answer| answer.json()["name_label"] == name).await;
    }
    lab.end().await;
}

#[tokio::test]
async fn a_supporter_names_the_coordinator_once() {
    let lab = Lab::new().await;
    // The same server answers for the coordinator, under its other name.
    lab.sim.fault(Some("session.login_with_password"), Fault::host_is_slave("localhost"), Some(1));
    let token = lab.login().await;
    lab.get("/vms", &token).await.ok();
    lab.sim.fault(Some("session.login_with_password"), Fault::host_is_slave("127.0.0.1"), None);
    let answer = try_login(&lab).await;
    assert_eq!(answer.status, 503, "two supporters that name each other: {}", answer.json());
    lab.end().await;
}

#[tokio::test]
async fn a_service_account_keeps_the_mirror_without_callers() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "service-secret\n").expect("written");
    let lab = Lab::with(
        |sim| sim.users.push(User::superuser("xengate", "service-secret")),
        |config, _| {
            let backend = config.backends.get_mut("lab").expect("there");
            backend.service_username = Some("xengate".to_owned());
            let path = file.path().to_owned();
            backend.service_password = Some(xengate::config::SecretSource::File(path));
        },
    )
    .await;
    lab.until("/readyz", "", |answer| state(answer) == "live").await;
    assert_eq!(lab.sim.originators(), ["xengate-sync"]);
    // The pool forgets the session; the account logs in again.
    lab.sim.end_sessions(None);
    let token = lab.login().await;
    let uuid = lab.get("/vms", &token).await.ok()["items"][0]["uuid"].clone();
    let uuid = uuid.as_str().expect("a uuid");
    lab.sim.set_field("VM", uuid, "name_label", SimValue::text("after")).expect("set");
    lab.until(&format!("/vms/{uuid}"), &token, |a| a.json()["name_label"] == "after").await;
    lab.end().await;
}

#[tokio::test]
async fn shutting_down_logs_out_of_the_pool() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    lab.get("/vms", &token).await.ok();
    assert_eq!(lab.sim.sessions_open(), 1);
    let secrets = lab.sim.session_refs();
    lab.gate.end(&secrets).await;
    assert_eq!(lab.sim.sessions_open(), 0);
    lab.sim.stop().await;
}

#[tokio::test]
async fn a_service_account_that_is_refused_holds_nobody_up() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "expired").expect("written");
    let lab = Lab::with(
        |_| {},
        |config, _| {
            let backend = config.backends.get_mut("lab").expect("there");
            backend.service_username = Some("xengate".to_owned());
            let path = file.path().to_owned();
            backend.service_password = Some(xengate::config::SecretSource::File(path));
        },
    )
    .await;
    lab.until("/readyz", "", |answer| {
        answer.json()["backends"][0]["state"] == "waiting" && answer.status == 200
    })
    .await;
    // A caller's session does as well.
    let token = lab.login().await;
    lab.until("/vms", &token, |answer| answer.status == 200).await;
    assert!(lab.sim.seen("session.login_with_password") < 5, "the account is not tried for ever");
    lab.end().await;
}

#[tokio::test]
async fn an_idle_pool_that_comes_back_is_live_within_seconds() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    lab.get("/vms", &token).await.ok();
    lab.sim.stop_listening();
    lab.sim.drop_connections();
    lab.until("/vms", &token, |answer| answer.header("xen-stale").is_some()).await;
    lab.sim.listen_again().expect("the same port");
    // Nothing happens on the pool, and no event comes.
    lab.until("/vms", &token, |answer| answer.header("xen-stale").is_none()).await;
    assert_eq!(lab.sim.everything_read(), 1, "the session lives, so the token is good");
    lab.end().await;
}

#[tokio::test]
async fn what_is_public_names_no_file_and_no_address() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret-of-the-lab");
    std::fs::write(&file, "expired").expect("written");
    let lab = Lab::with(
        |_| {},
        |config, _| {
            let backend = config.backends.get_mut("lab").expect("there");
            backend.service_username = Some("xengate".to_owned());
            backend.service_password = Some(xengate::config::SecretSource::File(file));
        },
    )
    .await;
    let told =
        lab.until("/readyz", "", |answer| !answer.json()["backends"][0]["detail"].is_null()).await;
    lab.login().await;
    lab.sim.stop_listening();
    lab.sim.drop_connections();
    let address = lab.sim.addr().ip().to_string();
    let refused = try_login(&lab).await;
    refused.problem(503, "BACKEND_UNREACHABLE");
    for answer in [told, refused] {
        let text = String::from_utf8_lossy(&answer.body);
        assert!(!text.contains(&address) && !text.contains("secret"), "{text}");
    }
    lab.end().await;
}

#[tokio::test]
async fn a_list_that_is_asked_for_during_the_first_sync_waits_for_it_and_not_for_ever() {
    let lab = Lab::new().await;
    lab.sim.hold("event.from");
    let token = lab.login().await;
    lab.until("/readyz", "", |answer| state(answer) == "syncing").await;
    let mut waited = 0;
    let mut asking = Box::pin(lab.get("/vms", &token));
    let late = loop {
        match futures_util::poll!(&mut asking) {
            Poll::Ready(answer) => break answer,
            Poll::Pending => lab.passes(Duration::from_secs(1)).await,
        }
        waited += 1;
        assert!(waited < 60, "it waits for ever");
    };
    drop(asking);
    assert!(waited >= 5, "it was not waited for");
    late.problem(503, "BACKEND_NOT_READY");
    assert!(late.header("retry-after").is_some());
    assert_eq!(state(&lab.get("/readyz", "").await), "syncing");
    // Whoever waits when it is done has all of it.
    let vms = lab.sim.refs("VM").len();
    let path = "/vms?limit=10000&filter=not%20(uuid%20=%20x)";
    let everything = async {
        tokio::task::yield_now().await;
        lab.sim.release("event.from");
    };
    let (list, ()) = tokio::join!(lab.get(path, &token), everything);
    let templates = lab.get("/vm-templates", &token).await.ok()["total"].clone();
    let snapshots = lab.get("/vm-snapshots", &token).await.ok()["total"].clone();
    let others = templates.as_u64().expect("a number") + snapshots.as_u64().expect("a number");
    assert_eq!(list.ok()["total"], vms as u64 - others);
    lab.end().await;
}

#[tokio::test]
async fn a_pool_that_hangs_is_not_live_for_long() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let before = lab.get("/vms", &token).await.ok();
    let uuid = before["items"][0]["uuid"].as_str().expect("a uuid");
    // It takes the next question, and every one after it, and answers none.
    lab.sim.hold("event.from");
    let asked = lab.sim.seen("event.from");
    lab.sim.set_field("VM", uuid, "name_label", SimValue::text("unseen")).expect("set");
    lab.passes(Duration::from_secs(9)).await;
    let live = lab.get("/vms", &token).await;
    assert_eq!(live.header("xen-stale"), None, "a slow answer is no lost pool");
    lab.passes(Duration::from_secs(7)).await;
    let stale = lab.until("/vms", &token, |answer| answer.header("xen-stale").is_some()).await;
    assert_eq!(stale.ok(), before, "it goes on answering");
    let age: u64 = stale.header("age").expect("how old").parse().expect("seconds");
    assert!((15..30).contains(&age), "since it was last heard of: {age}");
    assert_eq!(state(&lab.get("/readyz", "").await), "stale");
    let backend = lab.get("/backends", &token).await.ok()["items"][0].clone();
    assert_eq!((&backend["state"], &backend["reachable"]), (&json!("stale"), &json!(false)));
    let reason = backend["reason"].as_str().expect("a reason");
    assert!(reason.contains("does not answer"), "{reason}");
    let asked_again = lab.sim.seen("event.from") - asked;
    assert!(asked_again <= 1, "it is asked once more, shortly: {asked_again}");
    // The answer is taken when it comes at last: the pool is not read anew.
    lab.sim.release("event.from");
    let path = format!("/vms/{uuid}");
    lab.until(&path, &token, |answer| answer.json()["name_label"] == "unseen").await;
    let live = lab.until("/vms", &token, |answer| answer.header("xen-stale").is_none()).await;
    assert_eq!(live.ok()["total"], before["total"]);
    assert_eq!(lab.sim.everything_read(), 1);
    lab.end().await;
}
