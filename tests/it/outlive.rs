//! Changes outlive who asked for them: clients that leave, sessions that end, a gateway that does.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use xengate::sim::{Fault, PASSWORD, RawReply, Value as SimValue};

use crate::lab::{Answer, Gate, Lab, around, logged};

const REMOVE: &str = "VM.remove_from_other_config";
const ADD: &str = "VM.add_to_other_config";

/// A lab with a VM whose other_config has a key, and a token.
struct Scene {
    lab: Lab,
    token: String,
    path: String,
}

impl Scene {
    async fn new() -> Self {
        Self::of(Lab::new().await).await
    }

    async fn of(lab: Lab) -> Self {
        let token = lab.login().await;
        let vm = lab.sim.refs("VM").remove(0);
        let uuid = lab.sim.field("VM", &vm, "uuid").expect("one");
        let path = format!("/vms/{}", uuid.as_text().expect("text"));
        let scene = Self { lab, token, path };
        scene.has("old").await;
        scene
    }

    fn uuid(&self) -> &str {
        self.path.trim_start_matches("/vms/")
    }

    /// Gives the key a value, behind the gateway's back, and waits until that shows.
    async fn has(&self, value: &str) {
        let map = SimValue::pairs([("k", value), ("other", "stays")]);
        self.lab.sim.set_field("VM", self.uuid(), "other_config", map).expect("set");
        let shown = json!({"k": value, "other": "stays"});
        let holds = |answer: &Answer| answer.json()["other_config"] == shown;
        self.lab.until(&self.path, &self.token, holds).await;
    }

    /// What the key has on the pool.
    fn key(&self) -> Option<String> {
        let Some(SimValue::Map(map)) = self.lab.sim.field("VM", self.uuid(), "other_config") else {
            panic!("a map")
        };
        assert!(map.iter().any(|(key, _)| **key.as_text().expect("text") == *"other"));
        let found = map.iter().find(|(key, _)| **key.as_text().expect("text") == *"k");
        found.map(|(_, value)| value.as_text().expect("text").to_string())
    }

    fn patch(&self, body: &Value) -> reqwest::RequestBuilder {
        self.lab.gate.request(Method::PATCH, &self.path).bearer_auth(&self.token).json(body)
    }

    /// The key's new value, asked for in a task of its own.
    fn patching(&self, value: &str) -> JoinHandle<reqwest::Result<reqwest::Response>> {
        tokio::spawn(self.patch(&json!({"other_config": {"k": value}})).send())
    }

    async fn until_seen(&self, call: &str, times: u64) {
        until(|| self.lab.sim.seen(call) >= times).await;
    }
}

async fn until(holds: impl Fn() -> bool) {
    let come = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), come).await.expect("it comes true in time");
}

#[tokio::test]
async fn a_client_that_leaves_between_two_calls_loses_no_key() {
    let scene = Scene::new().await;
    for (round, way) in ["closes", "resets", "half-closes"].into_iter().enumerate() {
        let value = format!("new {way}");
        scene.lab.sim.hold(REMOVE);
        let body = json!({"other_config": {"k": value}}).to_string();
        let head = format!(
            "PATCH {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: \
             application/json\r\nContent-Length: {}\r\nX-Request-Id: leaves-{way}\r\n\r\n",
            scene.path,
            scene.token,
            body.len()
        );
        let mut stream = TcpStream::connect(scene.lab.gate.address()).await.expect("connected");
        stream.write_all((head + &body).as_bytes()).await.expect("sent");
        scene.until_seen(REMOVE, round as u64 + 1).await;
        assert_eq!(scene.key(), None, "{way}: it is in between");
        let stream = match way {
            "half-closes" => {
                stream.shutdown().await.expect("half closed");
                Some(stream)
            }
            "resets" => {
                stream.set_zero_linger().expect("set");
                None
            }
            _ => None,
        };
        // Whoever has gone has gone by now, as far as the gateway can learn it.
        scene.lab.get("/livez", "").await.ok();
        scene.lab.sim.release(REMOVE);
        until(|| scene.key().as_deref() == Some(&value)).await;
        if let Some(mut stream) = stream {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("an answer");
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        let id = format!("leaves-{way}");
        until(|| around(&logged(), &format!("request_id=\"{id}\"")).is_some()).await;
    }
    assert!(around(&logged(), "operation=\"PATCH VM\"").is_some(), "the outcome is logged");
    assert!(around(&logged(), "new resets").is_none(), "values are not");
    scene.lab.end().await;
}

#[tokio::test]
async fn what_was_removed_is_put_back_whatever_went_wrong() {
    let garbled = || RawReply::http("500 Internal Error", "text/html", "<html>no</html>");
    for (fault, carried_out) in [
        (Fault::Refuse, false),
        (Fault::Drop, true),
        (Fault::Cut(20), true),
        (Fault::Garble(garbled()), true),
        (Fault::Reply(garbled()), false),
    ] {
        let scene = Scene::new().await;
        scene.lab.sim.fault(Some(ADD), fault.clone(), Some(1));
        let answer = scene.lab.gate.send(scene.patch(&json!({"other_config": {"k": "new"}}))).await;
        if carried_out {
            // The pool was asked, and has it.
            assert_eq!(answer.ok()["other_config"]["k"], "new", "{fault:?}");
            assert_eq!(scene.key().as_deref(), Some("new"));
        } else {
            let problem = answer.problem(502, "OUTCOME_UNKNOWN");
            assert_eq!(problem["retryable"], false);
            assert_eq!(problem["unknown"], json!(["other_config"]), "{problem}");
            assert!(problem.get("lost").is_none(), "{problem}");
            assert_eq!(scene.key().as_deref(), Some("old"), "{fault:?}");
        }
        scene.lab.end().await;
    }
}

#[tokio::test]
async fn a_session_that_ends_in_between_leaves_nothing_half_done() {
    // Another session of the same user's puts it back.
    let scene = Scene::new().await;
    let other = scene.lab.login().await;
    scene.lab.sim.fault(Some(ADD), Fault::ExpireSession, Some(1));
    let answer = scene.lab.gate.send(scene.patch(&json!({"other_config": {"k": "new"}}))).await;
    answer.problem(401, "SESSION_INVALID");
    assert_eq!(scene.key().as_deref(), Some("old"));
    let shown = |answer: &Answer| answer.json()["other_config"]["k"] == "old";
    scene.lab.until(&scene.path, &other, shown).await;
    scene.lab.until("/vms", &other, |answer| answer.header("xen-stale").is_none()).await;
    // With none left, the answer names what is lost.
    scene.lab.sim.fault(Some(ADD), Fault::ExpireSession, Some(1));
    let request = scene.lab.gate.request(Method::PATCH, &scene.path).bearer_auth(&other);
    let answer = scene.lab.gate.send(request.json(&json!({"other_config": {"k": "new"}}))).await;
    let problem = answer.problem(401, "SESSION_INVALID");
    assert_eq!(problem["lost"], json!(["/other_config/k"]), "{problem}");
    assert_eq!(problem["retryable"], false);
    assert_eq!(scene.key(), None);
    scene.lab.end().await;
}

#[tokio::test]
async fn of_a_field_that_fails_halfway_everything_is_taken_back() {
    let scene = Scene::new().await;
    let tags = SimValue::texts(["a", "b"]);
    scene.lab.sim.set_field("VM", scene.uuid(), "tags", tags.clone()).expect("set");
    let shown = |answer: &Answer| answer.json()["tags"] == json!(["a", "b"]);
    scene.lab.until(&scene.path, &scene.token, shown).await;
    let no = || Fault::Fail(xengate::sim::Failure::new("OPERATION_NOT_ALLOWED", ["no"]));
    // The second of two keys, and the second of two new members.
    scene.lab.sim.fault_after(ADD, 1, no());
    scene.lab.sim.fault_after("VM.add_tags", 1, no());
    let body = json!({"other_config": {"k": "new", "z": "more"}});
    let problem =
        scene.lab.gate.send(scene.patch(&body)).await.problem(409, "OPERATION_NOT_ALLOWED");
    assert_eq!(problem["failed"], json!(["other_config"]));
    assert_eq!(scene.key().as_deref(), Some("old"));
    let body = json!({"name_label": "named", "tags": ["b", "c", "d"]});
    let problem =
        scene.lab.gate.send(scene.patch(&body)).await.problem(409, "OPERATION_NOT_ALLOWED");
    assert_eq!(
        (&problem["applied"], &problem["failed"]),
        (&json!(["name_label"]), &json!(["tags"]))
    );
    let now = scene.lab.sim.field("VM", scene.uuid(), "tags").expect("tags");
    let SimValue::Set(mut now) = now else { panic!("a set") };
    now.sort_by_key(|tag| tag.as_text().cloned());
    assert_eq!(SimValue::Set(now), tags);
    scene.lab.end().await;
}

#[tokio::test]
async fn patches_of_one_key_at_once_all_succeed_and_the_last_one_stands() {
    let scene = Scene::new().await;
    let patches: Vec<_> = (0..8).map(|number| scene.patching(&format!("v{number}"))).collect();
    let mut values = Vec::new();
    for patch in patches {
        let answer = patch.await.expect("no panic").expect("an answer");
        assert_eq!(answer.status(), 200);
        let shown: Value = answer.json().await.expect("JSON");
        values.push(shown["other_config"]["k"].as_str().expect("a value").to_owned());
    }
    assert!(values.contains(&scene.key().expect("it is there")), "{values:?}");
    // Through two gateways, which know nothing of each other: who loses may ask again.
    let second = Gate::start(&scene.lab.sim.url(), |_| {}).await;
    let token = second.login("root", PASSWORD).await;
    second.until(&scene.path, &token, |answer| answer.status == 200).await;
    for round in 0..10 {
        let here = scene.patching(&format!("here {round}"));
        let body = json!({"other_config": {"k": format!("there {round}")}});
        let there = second.request(Method::PATCH, &scene.path).bearer_auth(&token).json(&body);
        let there = second.send(there).await;
        let here = here.await.expect("no panic").expect("an answer");
        for (status, answer) in
            [(here.status(), here.json().await.expect("JSON")), (there.status, there.json())]
        {
            assert!(status == 200 || answer["retryable"] == true, "{answer}");
        }
        let stands = scene.key().expect("it is there");
        assert!(
            stands == format!("here {round}") || stands == format!("there {round}"),
            "{stands}"
        );
    }
    second.stop().await;
    scene.lab.end().await;
}

#[tokio::test]
async fn a_claim_lives_until_its_call_has_ended() {
    let scene = Scene::new().await;
    let tag =
        scene.lab.get(&scene.path, &scene.token).await.header("etag").expect("one").to_owned();
    let conditional =
        |name: &str| scene.patch(&json!({"name_label": name})).header("If-Match", &tag);
    scene.lab.sim.hold("VM.set_name_label");
    let first = tokio::spawn(conditional("first").send());
    scene.until_seen("VM.set_name_label", 1).await;
    first.abort();
    let second = tokio::spawn(conditional("second").send());
    scene.lab.get("/livez", "").await.ok();
    scene.lab.sim.release("VM.set_name_label");
    let second = second.await.expect("no panic").expect("an answer");
    assert_eq!(second.status(), 412);
    assert_eq!(scene.lab.sim.seen("VM.set_name_label"), 1, "one of them reached the pool");
    let shown = scene.lab.get(&scene.path, &scene.token).await.ok();
    assert_eq!(shown["name_label"], "first");
    scene.lab.end().await;
}

#[tokio::test]
async fn tasks_of_clients_that_left_are_followed_and_forgotten() {
    let scene = Scene::new().await;
    let tasks = scene.lab.sim.count("task");
    let halted = scene.lab.get("/vms?filter=power_state=Halted", &scene.token).await.ok();
    let halted = halted["items"][0]["uuid"].as_str().expect("one").to_owned();
    let scene = Scene { path: format!("/vms/{halted}"), ..scene };
    let clone = |name: &str, token: &str| {
        let path = format!("{}/actions/clone", scene.path);
        let request = scene.lab.gate.request(Method::POST, &path).bearer_auth(token);
        request.json(&json!({"new_name": name}))
    };
    // As many as one user may have at the pool at once.
    scene.lab.sim.hold("Async.VM.clone");
    for number in 0..4 {
        let asked = tokio::spawn(clone(&format!("copy {number}"), &scene.token).send());
        scene.until_seen("Async.VM.clone", number + 1).await;
        asked.abort();
    }
    scene.lab.sim.release("Async.VM.clone");
    for number in 0..4 {
        until(|| scene.lab.sim.find("VM", &format!("copy {number}")).is_some()).await;
    }
    until(|| scene.lab.sim.count("task") == tasks).await;
    // Who logs out at once leaves neither a task nor a session.
    let sessions = scene.lab.sim.sessions_open();
    let hasty = scene.lab.login().await;
    scene.lab.sim.hold_tasks("VM.clone");
    let answer = scene.lab.gate.send(clone("copy 4", &hasty)).await;
    assert_eq!(answer.status, 202);
    let logout = scene.lab.gate.request(Method::DELETE, "/sessions/current").bearer_auth(&hasty);
    assert_eq!(scene.lab.gate.send(logout).await.status, 204);
    scene.lab.get("/vms", &hasty).await.problem(401, "INVALID_TOKEN");
    scene.lab.sim.release_tasks("VM.clone");
    until(|| scene.lab.sim.count("task") == tasks).await;
    until(|| scene.lab.sim.sessions_open() == sessions).await;
    scene.lab.end().await;
}

#[tokio::test]
async fn a_logout_waits_for_what_is_under_way() {
    let scene = Scene::new().await;
    scene.lab.sim.hold(REMOVE);
    let patch = scene.patching("new");
    scene.until_seen(REMOVE, 1).await;
    let logout = scene.lab.gate.request(Method::DELETE, "/sessions/current");
    assert_eq!(scene.lab.gate.send(logout.bearer_auth(&scene.token)).await.status, 204);
    scene.lab.sim.release(REMOVE);
    assert_eq!(patch.await.expect("no panic").expect("an answer").status(), 200);
    assert_eq!(scene.key().as_deref(), Some("new"));
    until(|| scene.lab.sim.sessions_open() == 0).await;
    scene.lab.end().await;
}

#[tokio::test]
async fn shutting_down_waits_for_what_is_under_way_and_answers_who_waits() {
    let scene = Scene::new().await;
    let (gate, sim) = (scene.lab.gate, scene.lab.sim);
    let list = gate.get("/vms?filter=power_state=Halted", &scene.token).await.ok();
    let halted = list["items"][0]["uuid"].as_str().expect("one").to_owned();
    sim.hold_tasks("VM.start");
    let start = gate.request(Method::POST, &format!("/vms/{halted}/actions/start"));
    let start = start.bearer_auth(&scene.token).header("Prefer", "wait=60").send();
    let start = tokio::spawn(start);
    until(|| sim.seen("Async.VM.start") == 1).await;
    let tasks = gate.until("/tasks", &scene.token, |answer| answer.json()["total"] == 1).await;
    let task = tasks.ok()["items"][0]["uuid"].as_str().expect("one").to_owned();
    let wait = gate.request(Method::GET, &format!("/tasks/{task}?wait=60"));
    let wait = tokio::spawn(wait.bearer_auth(&scene.token).send());
    sim.hold(REMOVE);
    let patch = gate.request(Method::PATCH, &scene.path).bearer_auth(&scene.token);
    let patch = patch.json(&json!({"other_config": {"k": "new"}})).send();
    let patch = tokio::spawn(patch);
    until(|| sim.seen(REMOVE) == 1).await;
    patch.abort();
    let stopping = tokio::spawn(gate.stop());
    // Those who wait are told what is known, long before the end of the time for shutting down.
    let start = start.await.expect("no panic").expect("an answer");
    assert_eq!(start.status(), 202);
    let wait = wait.await.expect("no panic").expect("an answer");
    assert_eq!(wait.status(), 200);
    assert_eq!(wait.json::<Value>().await.expect("JSON")["status"], "pending");
    assert!(!stopping.is_finished(), "a change is under way");
    sim.release(REMOVE);
    stopping.await.expect("no panic");
    let map = sim.field("VM", scene.path.trim_start_matches("/vms/"), "other_config");
    assert_eq!(map, Some(SimValue::pairs([("k", "new"), ("other", "stays")])));
    sim.stop().await;
}

#[tokio::test]
async fn a_request_that_takes_too_long_says_what_it_has_begun() {
    let short = Duration::from_millis(500);
    let lab = Lab::with(|_| {}, |config, _| config.limits.request_timeout = short).await;
    let scene = Scene::of(lab).await;
    scene.lab.sim.hold("VM.set_name_label");
    let answer = scene.lab.gate.send(scene.patch(&json!({"name_label": "late"}))).await;
    let problem = answer.problem(502, "OUTCOME_UNKNOWN");
    assert_eq!((&problem["retryable"], answer.header("retry-after")), (&json!(false), None));
    assert_eq!(problem["object"], json!({"class": "VM", "uuid": scene.uuid()}));
    scene.lab.sim.release("VM.set_name_label");
    let shown = |answer: &Answer| answer.json()["name_label"] == "late";
    scene.lab.until(&scene.path, &scene.token, shown).await;
    // A patch that still waits for its turn has sent nothing.
    scene.lab.sim.hold("VM.set_name_description");
    let first = tokio::spawn(scene.patch(&json!({"name_description": "a"})).send());
    scene.until_seen("VM.set_name_description", 1).await;
    let answer = scene.lab.gate.send(scene.patch(&json!({"name_label": "b"}))).await;
    assert_eq!(answer.problem(504, "REQUEST_TIMEOUT")["retryable"], true);
    scene.lab.sim.release("VM.set_name_description");
    first.await.expect("no panic").expect("an answer");
    scene.lab.end().await;
}
