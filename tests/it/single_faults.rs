//! Any single fault, at any call of any change, with the client leaving at any time: the pool is as
//! before or as after, or the answer (or the log) names what is not; and nothing is sent twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use reqwest::Method;
use serde_json::{Value, json};
use xengate::sim::{Failure, Fault, RawReply, SeenCall, SimHandle, Value as SimValue};

use crate::lab::{Answer, BACKEND, Lab, logged};

/// How long a call may take.
const CALL: Duration = Duration::from_secs(1);
/// How long it takes until a late call is carried out after all.
const LATE: Duration = Duration::from_secs(2);

/// How many cases are tried: a tenth unless `XENGATE_CASES` says more.
fn cases() -> u32 {
    std::env::var("XENGATE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(40)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Change {
    Patch,
    PatchKey,
    MakeNetwork,
    DestroyNetwork,
    Clone,
    Start,
    DestroyVm,
    DestroyWithDisks,
    Provision,
}

const CHANGES: [Change; 9] = [
    Change::Patch,
    Change::PatchKey,
    Change::MakeNetwork,
    Change::DestroyNetwork,
    Change::Clone,
    Change::Start,
    Change::DestroyVm,
    Change::DestroyWithDisks,
    Change::Provision,
];

fn faults() -> Vec<Fault> {
    let page = RawReply::http("500 Internal Error", "text/html", "<html>no</html>");
    let broken = RawReply::http("200 OK", "application/json", "{\"jsonrpc\":\"2.0\",\"resu");
    vec![
        Fault::Delay(Duration::from_millis(300)),
        Fault::Cut(20),
        Fault::Cut(230),
        Fault::Drop,
        Fault::Refuse,
        Fault::Hang,
        Fault::Late(LATE),
        Fault::Garble(page.clone()),
        Fault::Garble(broken),
        Fault::Reply(page),
        Fault::Fail(Failure::new("INTERNAL_ERROR", ["no"])),
        Fault::Fail(Failure::new("OTHER_OPERATION_IN_PROGRESS", ["VM", "OpaqueRef:x", "op"])),
        Fault::ExpireSession,
    ]
}

/// A pool with something to change.
struct Scene {
    lab: Lab,
    token: String,
    vm: String,
    network: String,
    template: String,
    disks: usize,
    tasks: usize,
}

const NEW: &str = "the new one";

impl Scene {
    async fn new() -> Self {
        let lab = Lab::with(
            |_| {},
            |config, _| {
                config.backends.get_mut(BACKEND).expect("there").call_timeout = CALL;
            },
        )
        .await;
        let token = lab.login().await;
        let list = lab.get("/vms?filter=power_state=Halted and VBDs!=empty", &token).await;
        let list = if list.status == 200 {
            list
        } else {
            lab.get("/vms?filter=power_state=Halted", &token).await
        };
        let vm = list.ok()["items"][0]["uuid"].as_str().expect("one").to_owned();
        let templates = lab.get("/vm-templates?limit=1", &token).await.ok();
        let template = templates["items"][0]["uuid"].as_str().expect("one").to_owned();
        let fields = [("name_label", SimValue::text("spare"))];
        let spare = lab.sim.create("network", &fields).expect("made");
        let network = lab.sim.field("network", &spare, "uuid").expect("one");
        let network = network.as_text().expect("text").to_string();
        let config = SimValue::pairs([("a", "old"), ("b", "goes"), ("stays", "1")]);
        lab.sim.set_field("VM", &vm, "other_config", config).expect("set");
        lab.sim.set_field("VM", &vm, "tags", SimValue::texts(["x", "y"])).expect("set");
        lab.sim.set_field("VM", &vm, "name_label", SimValue::text("old")).expect("set");
        lab.until(&format!("/vms/{vm}"), &token, |answer| answer.json()["name_label"] == "old")
            .await;
        lab.until(&format!("/networks/{network}"), &token, |answer| answer.status == 200).await;
        let (disks, tasks) = (lab.sim.count("VDI"), lab.sim.count("task"));
        Self { lab, token, vm, network, template, disks, tasks }
    }

    fn request(&self, change: Change, id: &str) -> reqwest::RequestBuilder {
        let vm = format!("/vms/{}", self.vm);
        let (method, path, body) = match change {
            Change::Patch => {
                let config = json!({"a": "new", "b": null, "c": "more"});
                let body = json!({"name_label": "new", "other_config": config, "tags": ["y", "z"]});
                (Method::PATCH, vm, body)
            }
            Change::PatchKey => (Method::PATCH, vm, json!({"other_config": {"a": "new"}})),
            Change::MakeNetwork => {
                (Method::POST, "/networks".to_owned(), json!({"name_label": NEW}))
            }
            Change::DestroyNetwork => {
                (Method::DELETE, format!("/networks/{}", self.network), Value::Null)
            }
            Change::Clone => {
                (Method::POST, format!("{vm}/actions/clone"), json!({"new_name": NEW}))
            }
            Change::Start => (Method::POST, format!("{vm}/actions/start"), json!({})),
            Change::DestroyVm => (Method::DELETE, vm, Value::Null),
            Change::DestroyWithDisks => (Method::DELETE, format!("{vm}?disks=delete"), Value::Null),
            Change::Provision => {
                let disk = json!({"virtual_size": 1 << 20, "name_label": NEW});
                let body = json!({"template": self.template, "name_label": NEW, "disks": [disk]});
                (Method::POST, "/vms".to_owned(), body)
            }
        };
        let request = self.lab.gate.request(method, &path).bearer_auth(&self.token);
        let request = request.header("X-Request-Id", id).header("Prefer", "wait=30");
        if body.is_null() { request } else { request.json(&body) }
    }

    /// Waits until nothing is under way any more.
    async fn rests(&self, late: bool) {
        let rested = async {
            while !self.lab.gate.is_idle()
                || (late && self.lab.sim.recorded_calls().iter().any(is_awaited))
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), rested).await.expect("it comes to rest");
    }
}

/// Whether a call may still be carried out.
fn is_awaited(call: &SeenCall) -> bool {
    changes(&call.name) && call.outcome.is_none()
}

/// Whether a call changes something that clients see.
fn changes(name: &str) -> bool {
    let Some((class, call)) = name.trim_start_matches("Async.").split_once('.') else {
        return false;
    };
    !matches!(class, "event" | "session") && !call.starts_with("get_")
}

/// Calls, each by its name and its number among those of that name.
type Calls = Vec<(String, usize)>;

/// The calls that a change makes when nothing goes wrong: each by its name and its number among
/// those of that name.
async fn calls_of(change: Change) -> Calls {
    static KNOWN: Mutex<Option<HashMap<Change, Calls>>> = Mutex::new(None);
    if let Some(calls) = KNOWN.lock().expect("sound").get_or_insert_default().get(&change) {
        return calls.clone();
    }
    let scene = Scene::new().await;
    scene.lab.sim.record_calls();
    let answer = scene.lab.gate.send(scene.request(change, "clean")).await;
    assert!(answer.status.is_success(), "{change:?}: {}", answer.text());
    scene.rests(false).await;
    let (mut counts, mut calls) = (BTreeMap::<String, usize>::new(), Vec::new());
    for SeenCall { name, .. } in scene.lab.sim.recorded_calls() {
        if name.starts_with("event.") || name.starts_with("session.") || name == "pool.get_all" {
            continue;
        }
        let count = counts.entry(name.clone()).or_default();
        calls.push((name, *count));
        *count += 1;
    }
    assert!(calls.iter().any(|(name, _)| changes(name)), "{change:?}: {calls:?}");
    scene.lab.end().await;
    KNOWN.lock().expect("sound").get_or_insert_default().insert(change, calls.clone());
    calls
}

/// What was said of a change: in the answer, or to nobody, in the log.
#[derive(Debug, Default)]
struct Said {
    /// Whether it was said to be done; `None` if nothing was said at all.
    done: Option<bool>,
    unknown: bool,
    text: String,
    lists: BTreeMap<&'static str, Vec<String>>,
}

const LISTS: [(&str, &str); 4] = [
    ("applied", "applied: "),
    ("failed", "failed: "),
    ("unknown", "unknown: "),
    ("not_tried", "not tried: "),
];

impl Said {
    fn in_answer(answer: &Answer) -> Self {
        let text = answer.text();
        if answer.status.is_success() {
            return Self { done: Some(true), text, ..Self::default() };
        }
        let problem = answer.json();
        let list = |name| {
            let names = problem[name].as_array().into_iter().flatten();
            names.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let lists = LISTS.map(|(name, _)| (name, list(name))).into();
        let unknown = problem["code"] == "OUTCOME_UNKNOWN";
        Self { done: Some(false), unknown, text, lists }
    }

    fn in_log(id: &str) -> Self {
        let log = String::from_utf8_lossy(&logged()).into_owned();
        let of_it = format!("request_id=\"{id}\"");
        let line = log.lines().find(|line| line.contains(&of_it) && line.contains("carried out"));
        let Some(line) = line else { return Self::default() };
        let list = |words: &str| {
            let rest = line.split_once(&format!("; {words}")).map_or("", |(_, rest)| rest);
            let end = rest.find([';', '"']).or(rest.find(" millis")).unwrap_or(rest.len());
            let names = rest[..end].split(", ").map(|name| name.split(' ').next().unwrap_or(name));
            names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
        };
        let lists = LISTS.map(|(name, words)| (name, list(words))).into();
        let mut done = line.contains("outcome=\"done\"");
        if line.contains("outcome=\"started\"") {
            // The task's end is told by itself.
            let task = line.split_once("task=").and_then(|(_, rest)| rest.split(' ').next());
            let task = task.expect("what was started is a task");
            let end = log.lines().find(|line| line.contains("task ended") && line.contains(task));
            let Some(end) = end else { return Self::default() };
            done = end.contains("status=\"success\"");
        }
        let unknown = line.contains("not known");
        Self { done: Some(done), unknown, text: line.to_owned(), lists }
    }

    fn lists(&self, list: &str, field: &str) -> bool {
        self.lists.get(list).is_some_and(|fields| fields.iter().any(|name| name == field))
    }
}

/// Each field of the patch has its old value or its new one, as was said of it.
fn check_patch(sim: &SimHandle, scene: (&str, Change), said: &Said) {
    let (vm, change) = scene;
    let texts = |value: Option<SimValue>| {
        let Some(SimValue::Set(members)) = value else { panic!("a set") };
        let mut texts: Vec<String> =
            members.iter().map(|member| member.as_text().expect("text").to_string()).collect();
        texts.sort();
        texts
    };
    let map = |value: Option<SimValue>| -> BTreeMap<String, String> {
        let Some(SimValue::Map(pairs)) = value else { panic!("a map") };
        let text = |value: &SimValue| value.as_text().expect("text").to_string();
        pairs.iter().map(|(key, value)| (text(key), text(value))).collect()
    };
    let pairs = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let config = map(sim.field("VM", vm, "other_config"));
    let old = pairs(&[("a", "old"), ("b", "goes"), ("stays", "1")]);
    let new = match change {
        Change::Patch => pairs(&[("a", "new"), ("c", "more"), ("stays", "1")]),
        _ => pairs(&[("a", "new"), ("b", "goes"), ("stays", "1")]),
    };
    let mut fields = vec![("other_config", config == old, config == new, format!("{config:?}"))];
    if change == Change::Patch {
        let tags = texts(sim.field("VM", vm, "tags"));
        fields.push(("tags", tags == ["x", "y"], tags == ["y", "z"], format!("{tags:?}")));
        let name = sim.field("VM", vm, "name_label");
        let is = |text: &str| name == Some(SimValue::text(text));
        fields.push(("name_label", is("old"), is("new"), String::new()));
    }
    for (field, is_old, is_new, shown) in fields {
        match said.done {
            None => assert!(is_old, "{field} {shown}: nothing was said, and it was changed"),
            Some(true) => assert!(is_new, "{field} {shown}: it was said to be done"),
            Some(false) if said.lists("applied", field) => {
                assert!(is_new, "{field} {shown}: {said:?}")
            }
            // Named as what is not known.
            Some(false) if said.lists("unknown", field) => {}
            Some(false) => assert!(is_old, "{field} {shown}: {said:?}"),
        }
    }
}

/// Whether what is made or destroyed as a whole is there or not, as was said of it.
fn check_whole(scene: &Scene, change: Change, said: &Said) {
    let sim = &scene.lab.sim;
    let named = |class: &str| {
        let refs = sim.refs(class);
        let is = |one: &&xengate::sim::Text| {
            sim.field(class, one, "name_label") == Some(SimValue::text(NEW))
        };
        refs.iter().filter(is).count()
    };
    let there = |class: &str, uuid: &str| usize::from(sim.find(class, uuid).is_some());
    // How often it is as it is to be.
    let (done, most) = match change {
        Change::MakeNetwork => (named("network"), 1),
        Change::Clone | Change::Provision => (named("VM"), 1),
        Change::DestroyNetwork => (1 - there("network", &scene.network), 1),
        Change::DestroyVm | Change::DestroyWithDisks => (1 - there("VM", &scene.vm), 1),
        Change::Start => {
            let state = sim.field("VM", &scene.vm, "power_state");
            (usize::from(state == Some(SimValue::text("Running"))), 1)
        }
        Change::Patch | Change::PatchKey => unreachable!("they have fields"),
    };
    assert!(done <= most, "it was done {done} times: {said:?}");
    let left = said.text.contains("left_behind") || log_names_what_is_left(change);
    match said.done {
        Some(true) => assert_eq!(done, 1, "it was said to be done: {said:?}"),
        _ if said.unknown || left => {}
        Some(false) => assert_eq!(done, 0, "it was said not to be done: {said:?}"),
        None => {}
    }
    if change == Change::Provision && said.done != Some(true) && !left && !said.unknown && done == 0
    {
        assert_eq!(sim.count("VDI"), scene.disks, "disks are left, and nobody says so: {said:?}");
    }
}

fn log_names_what_is_left(change: Change) -> bool {
    let name = if change == Change::Provision { "VM.provision" } else { "VM.destroy" };
    let line = format!("task=\"{name}\"");
    String::from_utf8_lossy(&logged())
        .lines()
        .any(|text| text.contains("left behind") && text.contains(&line))
}

async fn tried(change: Change, call: usize, fault: usize, leaves: Option<usize>) {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let id = format!("single-fault-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let calls = calls_of(change).await;
    let (name, nth) = &calls[call % calls.len()];
    let all = faults();
    let fault = &all[fault % all.len()];
    let scene = Scene::new().await;
    scene.lab.sim.record_calls();
    scene.lab.sim.fault_after(name, *nth, fault.clone());
    let mut asked = tokio::spawn(scene.request(change, &id).send());
    let came = || scene.lab.sim.recorded_calls().iter().filter(|call| changes(&call.name)).count();
    let leaving = async {
        match leaves {
            None => std::future::pending().await,
            Some(after) => {
                // A request that has not come yet would come to rest after all else did.
                let begun = || after > 0 || scene.lab.gate.in_flight().working() > 0;
                while came() < after || !begun() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    };
    let response = tokio::select! {
        response = &mut asked => Some(response.expect("no panic").expect("an answer")),
        () = leaving => {
            asked.abort();
            None
        }
    };
    let answer = match response {
        Some(response) => Some(Answer {
            status: response.status(),
            headers: response.headers().clone(),
            body: response.bytes().await.expect("a body").to_vec(),
        }),
        None => None,
    };
    if matches!(fault, Fault::ExpireSession) {
        // What becomes of a task shows only while somebody is logged in.
        scene.lab.login().await;
    }
    scene.rests(matches!(fault, Fault::Late(_))).await;
    let said = match &answer {
        Some(answer) => Said::in_answer(answer),
        None => Said::in_log(&id),
    };
    let seen = scene.lab.sim.recorded_calls();
    let sent: Vec<&SeenCall> =
        seen.iter().filter(|call| changes(&call.name) && call.outcome != Some(false)).collect();
    for (place, call) in sent.iter().enumerate() {
        let same = |other: &&&SeenCall| (&other.name, &other.args) == (&call.name, &call.args);
        let before = &sent[..place];
        // To take back what was done a patch removes again what it has added meanwhile.
        let is_patch = matches!(change, Change::Patch | Change::PatchKey);
        let looked_at = if is_patch { &before[place.saturating_sub(1)..] } else { before };
        assert!(looked_at.iter().find(same).is_none(), "{call:?} was sent twice: {sent:?}");
    }
    if let Some(answer) = answer.filter(|answer| !answer.status.is_success()) {
        let problem = answer.json();
        if problem["retryable"] == true {
            // What has been undone is as safe to repeat: that nothing is left is looked at below.
            let none = |list: &str| problem[list].as_array().is_none_or(Vec::is_empty);
            let is_undone = match change {
                Change::Patch | Change::PatchKey => none("applied") && none("unknown"),
                Change::Provision => {
                    let sim = &scene.lab.sim;
                    let is_new = |vm: &&xengate::sim::Text| {
                        sim.field("VM", vm, "name_label") == Some(SimValue::text(NEW))
                    };
                    let vms = sim.refs("VM");
                    !vms.iter().any(|vm| is_new(&vm)) && sim.count("VDI") == scene.disks
                }
                _ => false,
            };
            assert!(sent.is_empty() || is_undone, "{sent:?} were sent: {problem}");
        }
    }
    match change {
        Change::Patch | Change::PatchKey => {
            // What is late is still to come when the answer is given.
            check_patch(&scene.lab.sim, (&scene.vm, change), &said);
        }
        _ => check_whole(&scene, change, &said),
    }
    let lost_sight = !matches!(fault, Fault::Delay(_) | Fault::Fail(_)) || *name == "task.destroy";
    if !lost_sight {
        let forgotten = async {
            while scene.lab.sim.count("task") > scene.tasks {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), forgotten).await.expect("no task is left");
    }
    scene.lab.end().await;
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        max_shrink_iters: 0,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_single_fault_leaves_anything_in_between(
        change in prop::sample::select(&CHANGES[..]),
        call in 0_usize..64,
        fault in 0_usize..faults().len(),
        leaves in prop::option::weighted(0.4, 0_usize..4),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(tried(change, call, fault, leaves));
    }
}
