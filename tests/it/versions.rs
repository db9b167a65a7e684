//! Versions of what is read: entity tags, conditions, revisions.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use xengate::config::BackendConfig;
use xengate::sim::{PASSWORD, Sim, SimConfig, Value as SimValue};

use crate::lab::{Answer, Lab};

/// The headers that a 304 has in common with the answer it stands for.
const SHARED: [&str; 4] = ["etag", "vary", "xen-revision", "cache-control"];

async fn conditional(lab: &Lab, path: &str, token: &str, known: &str) -> Answer {
    let request = lab.gate.request(Method::GET, path).bearer_auth(token);
    lab.gate.send(request.header("If-None-Match", known)).await
}

async fn patch(lab: &Lab, path: &str, token: &str, tag: &str, body: &Value) -> Answer {
    let request = lab.gate.request(Method::PATCH, path).bearer_auth(token);
    lab.gate.send(request.header("If-Match", tag).json(body)).await
}

fn tag(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    answer.header("etag").expect("a tag").to_owned()
}

/// The uuids of two VMs that are halted.
async fn two_vms(lab: &Lab, token: &str) -> [String; 2] {
    let list = lab.get("/vms", token).await.ok();
    let halted = list["items"].as_array().expect("items").iter();
    let mut halted = halted.filter(|vm| vm["power_state"] == "Halted");
    [(); 2].map(|()| halted.next().expect("one more")["uuid"].as_str().expect("one").to_owned())
}

fn rename(lab: &Lab, uuid: &str, name: &str) {
    lab.sim.set_field("VM", uuid, "name_label", SimValue::text(name)).expect("set");
}

#[tokio::test]
async fn who_has_an_answer_is_told_so() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let [vm, _] = two_vms(&lab, &token).await;
    for path in [
        "/vms",
        "/vms?limit=2",
        "/hosts",
        "/tasks",
        &format!("/vms/{vm}"),
        &format!("/vms/{vm}/metrics"),
        &format!("/vms/{vm}/vbds"),
    ] {
        let answer = lab.get(path, &token).await;
        let tag = tag(&answer);
        assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
        assert_eq!(answer.header("vary"), Some("Accept-Encoding, Accept"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("private, no-cache"), "{path}");
        let weak = format!("W/{tag}");
        let listed = format!("\"other\", {tag}");
        for known in [&tag, &weak, &listed, "*"] {
            let same = conditional(&lab, path, &token, known).await;
            assert_eq!((same.status.as_u16(), same.body.len()), (304, 0), "{path} {known}");
            for name in SHARED {
                assert_eq!(same.header(name), answer.header(name), "{path}: {name}");
            }
        }
        let other = conditional(&lab, path, &token, "\"other\"").await;
        assert_eq!((tag == self::tag(&other), other.body), (true, answer.body), "{path}");
        let head = lab.gate.request(Method::HEAD, path).bearer_auth(&token);
        let head = lab.gate.send(head).await;
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
        assert_eq!(head.header("etag"), Some(&*tag));
        let head = lab.gate.request(Method::HEAD, path).bearer_auth(&token);
        assert_eq!(lab.gate.send(head.header("If-None-Match", &tag)).await.status, 304);
    }
    lab.end().await;
}

#[tokio::test]
async fn a_tag_changes_with_what_it_is_of_and_with_nothing_else() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let [one, other] = two_vms(&lab, &token).await;
    let host = lab.get("/hosts", &token).await.ok()["items"][0]["uuid"].clone();
    let paths = [
        format!("/vms/{one}"),
        format!("/vms/{one}/metrics"),
        format!("/vms/{one}/vbds"),
        "/vms".to_owned(),
        "/vm-templates".to_owned(),
        "/hosts".to_owned(),
    ];
    let tags = async || {
        let mut tags = Vec::new();
        for path in &paths {
            tags.push(tag(&lab.get(path, &token).await));
        }
        tags
    };
    // Which of the paths a change is seen at.
    let changed = |before: &[String], after: &[String]| -> Vec<bool> {
        before.iter().zip(after).map(|(before, after)| before != after).collect()
    };
    let before = tags().await;
    assert_eq!(before, tags().await, "nothing has changed");

    rename(&lab, &other, "renamed");
    let path = format!("/vms/{other}");
    lab.until(&path, &token, |vm| vm.json()["name_label"] == "renamed").await;
    let second = tags().await;
    assert_eq!(changed(&before, &second), [false, false, false, true, false, false]);

    rename(&lab, &one, "renamed too");
    lab.until(&paths[0], &token, |vm| vm.json()["name_label"] == "renamed too").await;
    let third = tags().await;
    assert_eq!(changed(&second, &third), [true, false, true, true, false, false]);

    let metrics = lab.get(&paths[1], &token).await.ok()["uuid"].clone();
    let metrics = metrics.as_str().expect("a uuid");
    lab.sim.set_field("VM_metrics", metrics, "memory_actual", SimValue::Int(77)).expect("set");
    lab.until(&paths[1], &token, |metrics| metrics.json()["memory_actual"] == 77).await;
    let fourth = tags().await;
    assert_eq!(changed(&third, &fourth), [false, true, false, false, false, false]);

    let host = host.as_str().expect("a uuid");
    lab.sim.set_field("host", host, "name_label", SimValue::text("h")).expect("set");
    lab.until(&format!("/hosts/{host}"), &token, |host| host.json()["name_label"] == "h").await;
    assert_eq!(changed(&fourth, &tags().await), [false, false, false, false, false, true]);

    lab.sim.destroy("VM", &other).expect("gone");
    lab.until(&path, &token, |vm| vm.status == 404).await;
    assert_ne!(fourth[3], tags().await[3], "a deletion is a change of the list");
    // Different questions have different tags, though the same was there to answer them.
    let asked = ["/vms", "/vms?limit=3", "/vms?limit=4", "/vms?backend=lab"];
    let mut seen = std::collections::BTreeSet::new();
    for path in &asked[..3] {
        assert!(seen.insert(tag(&lab.get(path, &token).await)), "{path}");
    }
    lab.end().await;
}

#[tokio::test]
async fn a_write_may_be_for_one_version_only() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let [vm, other] = two_vms(&lab, &token).await;
    let path = format!("/vms/{vm}");
    let old = tag(&lab.get(&path, &token).await);
    let name = |name: &str| json!({"name_label": name});
    let done = patch(&lab, &path, &token, &old, &name("one")).await;
    let new = tag(&done);
    assert_ne!(new, old);
    assert_eq!(tag(&lab.get(&path, &token).await), new, "the answer has the object's tag");

    let (patches, starts) = (lab.sim.seen("VM.set_name_label"), lab.sim.seen("Async.VM.start"));
    let others = tag(&lab.get(&format!("/vms/{other}"), &token).await);
    let lists = tag(&lab.get("/vms", &token).await);
    let weak = format!("W/{new}");
    let shortened = format!("{}\"", &new[..new.len() - 18]);
    for wrong in [&old, &others, &lists, &weak, &shortened, "\"\"", "garbage", ""] {
        patch(&lab, &path, &token, wrong, &name("no")).await.problem(412, "PRECONDITION_FAILED");
        let start = lab.gate.request(Method::POST, &format!("{path}/actions/start"));
        let start = lab.gate.send(start.bearer_auth(&token).header("If-Match", wrong)).await;
        start.problem(412, "PRECONDITION_FAILED");
        let delete = lab.gate.request(Method::DELETE, &path).bearer_auth(&token);
        let delete = lab.gate.send(delete.header("If-Match", wrong)).await;
        delete.problem(412, "PRECONDITION_FAILED");
    }
    let never = lab.gate.request(Method::PATCH, &path).bearer_auth(&token);
    let never = lab.gate.send(never.header("If-None-Match", "*").json(&name("no"))).await;
    never.problem(412, "PRECONDITION_FAILED");
    assert_eq!(lab.sim.seen("VM.set_name_label"), patches, "nothing was sent");
    assert_eq!(lab.sim.seen("Async.VM.start"), starts);
    assert_eq!(lab.sim.seen("VM.destroy"), 0);

    // The object's revision is what counts, however its tag came to be.
    let compressed = format!("{}-zstd\"", new.trim_end_matches('"'));
    let done = patch(&lab, &path, &token, &format!("\"x\", {compressed}"), &name("two")).await;
    assert_eq!(done.ok()["name_label"], "two");
    assert_eq!(patch(&lab, &path, &token, "*", &name("three")).await.status, 200);
    let tag = tag(&lab.get(&path, &token).await);
    let read = lab.gate.request(Method::GET, &path).bearer_auth(&token);
    lab.gate.send(read.header("If-Match", &old)).await.problem(412, "PRECONDITION_FAILED");
    let start = lab.gate.request(Method::POST, &format!("{path}/actions/start"));
    let start = start.bearer_auth(&token).header("If-Match", tag).header("Prefer", "wait=30");
    let started = lab.gate.send(start).await;
    assert_eq!(started.status, 200, "{}", started.json());
    assert!(started.header("xen-revision").is_some());
    lab.end().await;
}

#[tokio::test]
async fn what_is_not_mirrored_has_no_versions() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let body = json!({"value": "s", "other_config": {}});
    let made = lab.gate.post("/secrets", Some(&token), &body).await;
    assert_eq!(made.status, 201, "{}", made.json());
    assert_eq!(made.header("etag"), None);
    let path = format!("/secrets/{}", made.json()["uuid"].as_str().expect("a uuid"));
    let read = lab.get(&path, &token).await;
    assert_eq!((read.status.as_u16(), read.header("etag")), (200, None));
    let delete = |tag: &'static str| {
        let request = lab.gate.request(Method::DELETE, &path).bearer_auth(&token);
        lab.gate.send(request.header("If-Match", tag))
    };
    delete("\"0-0\"").await.problem(412, "PRECONDITION_FAILED");
    assert_eq!(delete("*").await.status, 204);
    lab.end().await;
}

#[tokio::test]
async fn a_task_has_a_tag_until_it_changes() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let [vm, _] = two_vms(&lab, &token).await;
    lab.sim.hold_tasks("VM.start");
    let start = lab.gate.request(Method::POST, &format!("/vms/{vm}/actions/start"));
    let started = lab.gate.send(start.bearer_auth(&token)).await;
    assert_eq!(started.status, 202, "{}", started.json());
    let path = started.header("location").expect("where").to_owned();
    let running = lab.until(&path, &token, |task| task.json()["status"] == "pending").await;
    let list = tag(&lab.get("/tasks", &token).await);
    let cancel = |tag: String| {
        let request = lab.gate.request(Method::POST, &format!("{path}/actions/cancel"));
        lab.gate.send(request.bearer_auth(&token).header("If-Match", tag))
    };
    cancel("\"x\"".to_owned()).await.problem(412, "PRECONDITION_FAILED");
    let old = tag(&running);
    lab.sim.release_tasks("VM.start");
    let ended = lab.until(&path, &token, |task| task.json()["status"] == "success").await;
    assert_ne!(tag(&ended), old);
    assert_ne!(tag(&lab.get("/tasks", &token).await), list);
    cancel(old).await.problem(412, "PRECONDITION_FAILED");
    lab.end().await;
}

/// The number of an `Xen-Revision`, and what names its run of the gateway.
fn revision(answer: &Answer) -> (String, u64) {
    let text = answer.header("xen-revision").expect("a revision");
    let (boot, number) = text.split_once('-').expect("two parts");
    (boot.to_owned(), number.parse().expect("a number"))
}

#[tokio::test]
async fn a_read_can_ask_for_a_revision_to_come() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let [vm, _] = two_vms(&lab, &token).await;
    let (boot, now) = revision(&lab.get("/vms", &token).await);
    let path = format!("/vms/{vm}?min_revision={boot}-{}", now + 1);
    let asked = lab.get(&path, &token);
    let change = async { rename(&lab, &vm, "new") };
    let (answer, ()) = tokio::join!(asked, change);
    assert_eq!(answer.ok()["name_label"], "new", "it waited");
    assert!(revision(&answer).1 > now);

    // What was written is there at the revision that the write answered.
    let request = lab.gate.request(Method::PATCH, &format!("/vms/{vm}")).bearer_auth(&token);
    let written = lab.gate.send(request.json(&json!({"name_label": "newer"}))).await;
    let seen = written.header("xen-revision").expect("a revision");
    for path in ["/vms", &format!("/vms/{vm}"), "/hosts", "/tasks", "/roles"] {
        let answer = lab.get(&format!("{path}?min_revision={seen}"), &token).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(revision(&answer) >= revision(&written));
    }

    let last = format!("{boot}-{}", u64::MAX);
    let paths = ["/vms", &format!("/vms/{vm}"), &format!("/vms/{vm}/metrics"), "/tasks", "/roles"];
    let late = paths.map(|path| format!("{path}?min_revision={last}"));
    let late = late.iter().map(|path| lab.get(path, &token));
    for answer in futures_util::future::join_all(late).await {
        let problem = answer.problem(504, "REVISION_NOT_REACHED");
        assert_eq!(problem["retryable"], true);
        assert!(answer.header("retry-after").is_some());
    }
    for path in paths {
        let other = lab.get(&format!("{path}?min_revision=000000000000-1"), &token).await;
        let problem = other.problem(409, "REVISION_OF_ANOTHER_BOOT");
        assert_eq!(problem["params"], json!(["min_revision"]));
        for wrong in ["", "1", "x-1", &format!("{boot}-x"), &format!("{boot}--1")] {
            let answer = lab.get(&format!("{path}?min_revision={wrong}"), &token).await;
            let problem = answer.problem(400, "BAD_PARAMETER");
            assert_eq!(problem["params"], json!(["min_revision"]), "{wrong}");
        }
        // Nothing is waited for before all of the query is known to be good.
        let both = format!("{path}?min_revision={last}&colour=red");
        lab.get(&both, &token).await.problem(400, "UNKNOWN_PARAMETER");
    }
    lab.end().await;
}

#[tokio::test]
async fn a_backend_without_changes_keeps_nobody_waiting() {
    let quiet = Sim::start(SimConfig { seed: 2, ..crate::lab::pool() }).expect("a pool");
    let lab = Lab::with(
        |_| {},
        |config, _| {
            let backend = BackendConfig::new(vec![quiet.url()]);
            config.backends.insert("quiet".to_owned(), backend);
            config.auth.default_backends = vec!["lab".to_owned(), "quiet".to_owned()];
        },
    )
    .await;
    let token = lab.login().await;
    let both = lab.until("/vms", &token, |list| list.json().get("partial").is_none()).await;
    let [vm, _] = two_vms(&lab, &token).await;
    let one = "/vms?backend=quiet";
    let before = lab.get(one, &token).await;
    rename(&lab, &vm, "new");
    let path = format!("/vms/{vm}");
    let answer = lab.until(&path, &token, |vm| vm.json()["name_label"] == "new").await;
    let seen = answer.header("xen-revision").expect("a revision");
    let after = lab.get(&format!("{one}&min_revision={seen}"), &token).await;
    assert_eq!(after.status, 200);
    assert!(revision(&after) >= revision(&answer));
    assert_eq!(tag(&lab.get(one, &token).await), tag(&before), "nothing has changed there");
    assert_ne!(tag(&lab.get("/vms", &token).await), tag(&both), "what can be read has");
    lab.gate.end(&[lab.sim.session_refs(), quiet.session_refs()].concat()).await;
    lab.sim.stop().await;
    quiet.stop().await;
}

#[tokio::test]
async fn what_cannot_be_followed_is_another_answer_and_no_ground_to_write_on() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let [vm, _] = two_vms(&lab, &token).await;
    let path = format!("/vms/{vm}");
    let (list, one) = (lab.get("/vms", &token).await, lab.get(&path, &token).await);
    lab.sim.stop_listening();
    lab.sim.drop_connections();
    let stale = lab.until("/vms", &token, |answer| answer.header("xen-stale").is_some()).await;
    assert_ne!(tag(&stale), tag(&list), "who has the other does not know that it is old");
    assert_eq!(stale.body, list.body, "the mirror keeps its objects");
    let same = conditional(&lab, "/vms", &token, &tag(&stale)).await;
    assert_eq!((same.status.as_u16(), same.header("xen-stale")), (304, Some("lab")));
    assert!(same.header("age").is_some());
    let old = tag(&lab.get(&path, &token).await);
    assert_ne!(old, tag(&one));
    for tag in [old, tag(&one)] {
        let answer = patch(&lab, &path, &token, &tag, &json!({"name_label": "x"})).await;
        let problem = answer.problem(503, "BACKEND_NOT_READY");
        assert!(problem["detail"].as_str().is_some_and(|text| text.contains("If-Match")));
    }
    lab.sim.listen_again().expect("the same port");
    let back = lab.until("/vms", &token, |answer| answer.header("xen-stale").is_none()).await;
    assert_eq!(tag(&back), tag(&list), "nothing has happened meanwhile");
    lab.end().await;
}

#[tokio::test]
async fn a_list_is_whole_while_the_mirror_is_made_anew() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let before = lab.get("/vms", &token).await;
    let failure = xengate::sim::Failure::new("EVENT_FROM_TOKEN_PARSE_FAILURE", ["x"]);
    lab.sim.fault(Some("event.from"), xengate::sim::Fault::Fail(failure), Some(1));
    // A slow resync: it takes seconds to read everything anew.
    lab.sim.pace(200_000);
    lab.sim.drop_connections();
    let everything = lab.sim.everything_read();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while lab.sim.everything_read() == everything {
        let answer = lab.get("/vms", &token).await;
        assert_eq!(answer.ok(), before.ok(), "no object is missing for a moment");
        assert!(tokio::time::Instant::now() < deadline, "it was never read anew");
    }
    lab.sim.pace(u64::MAX);
    let live = lab.until("/vms", &token, |answer| answer.header("xen-stale").is_none()).await;
    assert_eq!(tag(&live), tag(&before), "the same objects have the same tag");
    let same = conditional(&lab, "/vms", &token, &tag(&before)).await;
    assert_eq!(same.status, 304);
    lab.end().await;
}

#[tokio::test]
async fn conditions_that_make_no_sense_are_no_obstacle() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let before = lab.get("/vms", &token).await;
    let own = tag(&before);
    let forged = "\"0f3c9a71be42-1-0-0\",".repeat(400);
    let open = format!("\"{}", "x".repeat(8000));
    for wrong in [&*forged, &open, &"\"".repeat(8000), &",".repeat(8000), "W/", "", "*,", "ü"] {
        let request = lab.gate.request(Method::GET, "/vms").bearer_auth(&token);
        let wrong = reqwest::header::HeaderValue::from_bytes(wrong.as_bytes()).expect("bytes");
        let answer = lab.gate.send(request.header("If-None-Match", wrong)).await;
        assert_eq!(answer.ok(), before.ok());
    }
    // Among as much as that the right one is found.
    let hidden = format!("{forged}{own}");
    assert_eq!(conditional(&lab, "/vms", &token, &hidden).await.status, 304);
    // A login sees the same as another, and needs one.
    let nobody = lab.gate.request(Method::GET, "/vms").header("If-None-Match", &own);
    lab.gate.send(nobody).await.problem(401, "TOKEN_REQUIRED");
    let second = lab.gate.login("root", PASSWORD).await;
    assert_eq!(conditional(&lab, "/vms", &second, &own).await.status, 304);
    lab.end().await;
}

#[tokio::test]
async fn of_those_who_change_one_version_at_once_one_does() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let [uuid, _] = two_vms(&lab, &token).await;
    let path = format!("/vms/{uuid}");
    let tag = tag(&lab.get(&path, &token).await);
    // All are past their first look before any of them could have seen another's change.
    lab.sim.hold("VM.set_name_label");
    let bodies: Vec<Value> = (0..6).map(|n| json!({"name_label": format!("name {n}")})).collect();
    let all = bodies.iter().map(|body| patch(&lab, &path, &token, &tag, body));
    let release = async {
        while lab.sim.seen("VM.set_name_label") == 0 {
            tokio::task::yield_now().await;
        }
        lab.sim.release("VM.set_name_label");
    };
    let (answers, ()) = tokio::join!(futures_util::future::join_all(all), release);
    let done: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(done.len(), 1);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.problem(412, "PRECONDITION_FAILED");
    }
    assert_eq!(lab.get(&path, &token).await.ok()["name_label"], done[0].ok()["name_label"]);
    assert_eq!(lab.sim.seen("VM.set_name_label"), 1);
    lab.end().await;
}

/// Asks for the same change of one version this often at once; the answers.
async fn at_once(lab: &Lab, method: Method, path: &str, token: &str, tag: &str) -> Vec<Answer> {
    let ask = |_| {
        let request = lab.gate.request(method.clone(), path).bearer_auth(token);
        lab.gate.send(request.header("If-Match", tag).header("Prefer", "wait=30"))
    };
    futures_util::future::join_all((0..5).map(ask)).await
}

fn statuses(answers: &[Answer]) -> Vec<u16> {
    let mut all: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    all.sort_unstable();
    all
}

#[tokio::test]
async fn of_actions_and_ends_of_one_version_one_goes_through() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let [one, other] = two_vms(&lab, &token).await;
    // A task that the pool is slow to carry out: the object has changed before it has ended.
    let path = format!("/vms/{one}");
    let first = tag(&lab.get(&path, &token).await);
    let start = format!("{path}/actions/start");
    let answers = at_once(&lab, Method::POST, &start, &token, &first).await;
    assert_eq!(statuses(&answers), [200, 412, 412, 412, 412]);
    assert_eq!(lab.sim.seen("Async.VM.start"), 1);
    // A call that is carried out while its client waits.
    let running = tag(&lab.get(&path, &token).await);
    let add = |value: &str| {
        let request = lab.gate.request(Method::POST, &format!("{path}/actions/add_to_platform"));
        let request = request.bearer_auth(&token).header("If-Match", &running);
        lab.gate.send(request.json(&json!({"key": format!("x-{value}"), "value": value})))
    };
    let answers = futures_util::future::join_all(["a", "b", "c"].map(add)).await;
    assert_eq!(statuses(&answers), [204, 412, 412]);

    let path = format!("/vms/{other}");
    let last = tag(&lab.get(&path, &token).await);
    let answers = at_once(&lab, Method::DELETE, &path, &token, &last).await;
    assert_eq!(statuses(&answers)[1..], [404; 4], "whoever is late finds nothing");
    assert_eq!(lab.sim.seen("Async.VM.destroy"), 1);
    lab.get(&path, &token).await.problem(404, "NOT_FOUND");

    let body = json!({"name_label": "short-lived"});
    let made = lab.gate.post("/networks", Some(&token), &body).await;
    let path = made.header("location").expect("where").to_owned();
    let only = made.header("etag").expect("a tag").to_owned();
    let answers = at_once(&lab, Method::DELETE, &path, &token, &only).await;
    assert_eq!(statuses(&answers), [204, 404, 404, 404, 404]);
    assert_eq!(lab.sim.seen("network.destroy"), 1);
    lab.end().await;
}

#[tokio::test]
async fn who_waits_for_a_turn_learns_what_the_one_before_has_begun() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let [vm, _] = two_vms(&lab, &token).await;
    let path = format!("/vms/{vm}");
    let first = tag(&lab.get(&path, &token).await);
    lab.sim.hold_tasks("VM.start");
    let start = || {
        let request = lab.gate.request(Method::POST, &format!("{path}/actions/start"));
        lab.gate.send(request.bearer_auth(&token).header("If-Match", &first))
    };
    // Nobody waits for the task; its client has gone on when the next asks.
    let begun = start().await;
    assert_eq!(begun.status, 202, "{}", begun.json());
    start().await.problem(412, "PRECONDITION_FAILED");
    lab.sim.release_tasks("VM.start");
    let task = begun.header("location").expect("where").to_owned();
    lab.until(&task, &token, |task| task.json()["status"] == "success").await;
    assert_eq!(lab.sim.seen("Async.VM.start"), 1);
    lab.end().await;
}

#[tokio::test]
async fn of_those_who_end_one_task_one_does() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let [vm, _] = two_vms(&lab, &token).await;
    lab.sim.hold_tasks("VM.start");
    let start = lab.gate.request(Method::POST, &format!("/vms/{vm}/actions/start"));
    let started = lab.gate.send(start.bearer_auth(&token)).await;
    let path = started.header("location").expect("where").to_owned();
    let running = lab.until(&path, &token, |task| task.json()["status"] == "pending").await;
    let cancel = format!("{path}/actions/cancel");
    let answers = at_once(&lab, Method::POST, &cancel, &token, &tag(&running)).await;
    assert_eq!(statuses(&answers), [204, 412, 412, 412, 412]);
    assert_eq!(lab.sim.seen("task.cancel"), 1);
    lab.sim.release_tasks("VM.start");
    lab.end().await;
}
