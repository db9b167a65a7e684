//! The same API in front of a simulated xend, whichever of its dialects it is spoken to in.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use xengate::config::Kind;
use xengate::sim::Fault;
use xengate::sim::xend::{Power, Xend, XendConfig, XendHandle};

use super::{USER, USERS_PASSWORD, gate};
use crate::lab::{Answer, Gate};

/// A gateway in front of one of a xend's interfaces.
struct House {
    xend: XendHandle,
    gate: Gate,
    kind: Kind,
    _sockets: tempfile::TempDir,
}

/// How a xend is reached.
#[derive(Clone, Copy)]
enum Over {
    Tcp,
    /// A Unix socket, by an address that begins so.
    Socket(&'static str),
}

impl House {
    async fn new(kind: Kind, over: Over) -> Self {
        Self::with(kind, kind, over, |_| {}).await
    }

    async fn with(
        kind: Kind,
        configured: Kind,
        over: Over,
        change: impl FnOnce(&XendHandle),
    ) -> Self {
        let sockets = tempfile::tempdir().expect("a directory");
        let socket = |name: &str| sockets.path().join(name);
        let config = XendConfig {
            vms: 20,
            api_socket: Some(socket("xen-api.sock")),
            legacy_socket: Some(socket("xmlrpc.sock")),
            ..XendConfig::default()
        };
        let xend = Xend::start(config).expect("it starts");
        change(&xend);
        let is_legacy = kind == Kind::Legacy;
        let uri = match over {
            Over::Tcp if is_legacy => xend.legacy_url(),
            Over::Tcp => xend.api_url(),
            Over::Socket(prefix) => {
                let name = if is_legacy { "xmlrpc.sock" } else { "xen-api.sock" };
                format!("{prefix}{}", socket(name).display())
            }
        };
        let gate = gate(&uri, configured, |config| {
            config.call_timeout = Duration::from_secs(8);
        })
        .await;
        Self { xend, gate, kind, _sockets: sockets }
    }

    async fn get(&self, path: &str, token: &str) -> Value {
        self.gate.get(path, token).await.ok()
    }

    async fn act(&self, token: &str, vm: &str, action: &str, body: Value) -> Answer {
        let path = format!("/vms/{vm}/actions/{action}");
        let request = self.gate.request(Method::POST, &path).bearer_auth(token).json(&body);
        self.gate.send(request.header("prefer", "wait=30")).await
    }

    /// Carries an action out, and looks at what has become of the VM.
    async fn done(&self, token: &str, vm: &str, action: &str, body: Value) -> Value {
        let answer = self.act(token, vm, action, body).await;
        let task = answer.ok();
        assert_eq!(task["status"], "success", "{action}: {task}");
        self.get(&format!("/vms/{vm}"), token).await
    }

    async fn end(self) {
        if self.kind == Kind::Xend {
            assert_eq!(self.xend.called_without_session(), 0, "{:?}", self.xend.calls());
        } else {
            assert!(self.xend.session_refs().is_empty(), "no session is asked of this dialect");
        }
        assert_eq!(self.xend.event_calls(), 0, "events make xend hang");
        let mut secrets = self.xend.session_refs();
        secrets.push(USERS_PASSWORD.to_owned());
        self.gate.end(&secrets).await;
        assert_eq!(self.xend.sessions_open(), 0, "the gateway has logged out");
        self.xend.stop().await;
    }
}

const KINDS: [Kind; 2] = [Kind::Xend, Kind::Legacy];

#[tokio::test]
async fn every_vm_is_there_over_every_address() {
    for (kind, over, configured) in [
        (Kind::Xend, Over::Tcp, Kind::Xend),
        (Kind::Xend, Over::Socket("unix:"), Kind::Auto),
        (Kind::Legacy, Over::Tcp, Kind::Auto),
        (Kind::Legacy, Over::Socket("httpu://"), Kind::Legacy),
        (Kind::Legacy, Over::Socket("unix://"), Kind::Auto),
    ] {
        let house = House::with(kind, configured, over, |_| {}).await;
        let token = house.gate.login("eve", USERS_PASSWORD).await;
        let answer = house.gate.get("/vms?limit=100", &token).await;
        let age = answer.header("age").map(str::to_owned);
        let list = answer.ok();
        assert!(age.is_some_and(|age| age.parse::<u64>().is_ok()), "how old the answer is");
        let mut shown: Vec<(String, String)> = list["items"]
            .as_array()
            .expect("items")
            .iter()
            .map(|vm| {
                let text = |field: &str| vm[field].as_str().expect(field).to_owned();
                (text("uuid"), text("name_label"))
            })
            .collect();
        let mut there: Vec<_> = house.xend.vms().into_iter().map(|vm| (vm.uuid, vm.name)).collect();
        shown.sort();
        there.sort();
        assert_eq!(shown, there);
        for vm in house.xend.vms() {
            let shown = house.get(&format!("/vms/{}", vm.uuid), &token).await;
            assert_eq!(shown["power_state"], format!("{:?}", vm.power), "{}", vm.name);
            assert_eq!(shown["domid"], vm.domid.unwrap_or(-1), "{}", vm.name);
            assert_eq!(shown["memory_static_max"], vm.memory.0, "{}", vm.name);
            assert_eq!(shown["VCPUs_max"], vm.vcpus.0, "{}", vm.name);
            let metrics = house.get(&format!("/vms/{}/metrics", vm.uuid), &token).await;
            let running = vm.power == Power::Running;
            assert!(!running || metrics["memory_actual"] == vm.memory.1, "{metrics}");
        }
        house.gate.until("/hosts", &token, |answer| answer.json()["total"] == 1).await;
        let vbd = house.get("/vbds?limit=1", &token).await["items"][0].clone();
        let vif = house.get("/vifs?limit=1", &token).await["items"][0].clone();
        for device in [vbd, vif] {
            let owner = device["VM"].as_str().expect("a VM");
            assert!(house.xend.vm(owner).is_some(), "{device}");
        }
        house.end().await;
    }
}

#[tokio::test]
async fn a_vm_goes_through_its_whole_life() {
    for kind in KINDS {
        let house = House::new(kind, Over::Tcp).await;
        let token = house.gate.login(USER, USERS_PASSWORD).await;
        house.get("/vms", &token).await;
        let vm = house.xend.vm_that_is(Power::Running).expect("a VM").uuid;
        let steps = [
            ("pause", json!({}), Power::Paused),
            ("unpause", json!({}), Power::Running),
            ("suspend", json!({}), Power::Suspended),
            ("resume", json!({}), Power::Running),
            ("clean_reboot", json!({}), Power::Running),
            ("hard_reboot", json!({}), Power::Running),
            ("clean_shutdown", json!({}), Power::Halted),
            ("start", json!({"start_paused": true}), Power::Paused),
            ("hard_shutdown", json!({}), Power::Halted),
            ("hard_shutdown", json!({}), Power::Halted),
            ("start", json!({}), Power::Running),
        ];
        let mut domid = house.xend.vm(&vm).expect("a VM").domid;
        for (action, body, power) in steps {
            let shown = house.done(&token, &vm, action, body).await;
            let now = house.xend.vm(&vm).expect("still there");
            assert_eq!(now.power, power, "{action}");
            // Who has waited for the task reads what it has done.
            assert_eq!(shown["power_state"], format!("{power:?}"), "{action}");
            assert_eq!(shown["domid"], now.domid.unwrap_or(-1), "{action}");
            assert!(!action.ends_with("reboot") || now.domid != domid, "{action}: a new domain");
            domid = now.domid;
        }
        // What does not fit the state is refused, and so is what does not exist.
        for action in ["start", "resume"] {
            let refused = house.act(&token, &vm, action, json!({})).await;
            assert_eq!(refused.problem(409, "VM_BAD_POWER_STATE")["params"][0], vm, "{action}");
        }
        house.done(&token, &vm, "hard_shutdown", json!({})).await;
        for action in ["pause", "unpause", "suspend", "clean_shutdown", "clean_reboot"] {
            house.act(&token, &vm, action, json!({})).await.problem(409, "VM_BAD_POWER_STATE");
        }
        let path = format!("/vms/{vm}");
        let destroy = house.gate.request(Method::DELETE, &path).bearer_auth(&token);
        let destroyed = house.gate.send(destroy.header("prefer", "wait=30")).await;
        assert_eq!(destroyed.status, StatusCode::NO_CONTENT);
        assert!(house.xend.vm(&vm).is_none());
        house.gate.get(&path, &token).await.problem(404, "NOT_FOUND");
        house.act(&token, &vm, "start", json!({})).await.problem(404, "NOT_FOUND");
        house.end().await;
    }
}

#[tokio::test]
async fn memory_and_vcpus_are_set() {
    for kind in KINDS {
        let house = House::new(kind, Over::Tcp).await;
        let token = house.gate.login(USER, USERS_PASSWORD).await;
        house.get("/vms", &token).await;
        let halted = house.xend.vm_that_is(Power::Halted).expect("a VM").uuid;
        let shown = house.done(&token, &halted, "set_memory", json!({"value": 384 << 20})).await;
        assert_eq!(house.xend.vm(&halted).expect("a VM").memory, (384 << 20, 384 << 20));
        assert_eq!(shown["memory_static_max"], 384 << 20);
        assert_eq!(shown["memory_dynamic_max"], 384 << 20);

        let vm = house.xend.vm_that_is(Power::Running).expect("a VM");
        let target = vm.memory.0 / 2;
        let shown =
            house.done(&token, &vm.uuid, "set_memory_target_live", json!({"target": target}));
        assert_eq!(shown.await["memory_dynamic_max"], target);
        assert_eq!(house.xend.vm(&vm.uuid).expect("a VM").memory.1, target);
        let too_much = json!({"target": vm.memory.0 * 4});
        let refused = house.act(&token, &vm.uuid, "set_memory_target_live", too_much).await;
        refused.problem(422, "MEMORY_CONSTRAINT_VIOLATION");

        let many = house.xend.vms().into_iter().find(|vm| vm.domid > Some(0) && vm.vcpus.0 > 1);
        let many = many.expect("a VM of several VCPUs");
        let one = json!({"nvcpu": 1});
        house.done(&token, &many.uuid, "set_VCPUs_number_live", one).await;
        assert_eq!(house.xend.vm(&many.uuid).expect("a VM").vcpus.1, 1);
        let metrics = house.get(&format!("/vms/{}/metrics", many.uuid), &token).await;
        assert_eq!(metrics["VCPUs_number"], 1, "{metrics}");
        house.end().await;
    }
}

#[tokio::test]
async fn tasks_are_the_gateways_own() {
    for kind in KINDS {
        let house = House::new(kind, Over::Tcp).await;
        let token = house.gate.login(USER, USERS_PASSWORD).await;
        house.get("/vms", &token).await;
        house.xend.set_guest_delay(Duration::from_secs(600));
        let vm = house.xend.vm_that_is(Power::Running).expect("a VM").uuid;
        let path = format!("/vms/{vm}/actions/clean_shutdown");
        let begun = house.gate.post(&path, Some(&token), &json!({})).await;
        assert_eq!(begun.status, StatusCode::ACCEPTED);
        let task = begun.header("location").expect("a task").to_owned();
        assert_eq!(begun.json()["status"], "pending");
        let pending = house.get(&task, &token).await;
        assert_eq!(pending["name_label"], "Async.VM.clean_shutdown", "{pending}");
        // xend has said yes to it; the guest has not acted.
        let asked = if kind == Kind::Legacy { "xend.domain.shutdown" } else { "VM.clean_shutdown" };
        house.gate.until(&task, &token, |_| house.xend.seen(asked) == 1).await;
        assert_eq!(house.get(&task, &token).await["status"], "pending");
        house.xend.set_power(&vm, Power::Halted);
        let ended = house.get(&format!("{task}?wait=30"), &token).await;
        assert_eq!(ended["status"], "success", "{ended}");
        assert_eq!(house.get(&format!("/vms/{vm}"), &token).await["power_state"], "Halted");
        assert!(house.xend.calls().iter().all(|call| !call.starts_with("Async.")));
        // Who may only read starts nothing, and nothing is sent.
        let eve = house.gate.login("eve", USERS_PASSWORD).await;
        let before = house.xend.seen_in_all();
        let refused = house.act(&eve, &vm, "start", json!({})).await;
        refused.problem(403, "RBAC_PERMISSION_DENIED");
        for call in ["VM.start", "xend.domain.start"] {
            assert_eq!(house.xend.seen(call), 0, "{before}");
        }
        house.end().await;
    }
}

#[tokio::test]
async fn a_guest_that_began_anew_unnoticed_has_not_shut_down() {
    for kind in KINDS {
        let house = House::new(kind, Over::Tcp).await;
        // The next poll is far away.
        let all =
            if kind == Kind::Legacy { "xend.domains_with_state" } else { "VM.get_all_records" };
        house.xend.set_delay(Some(all), Duration::from_millis(1500));
        let token = house.gate.login(USER, USERS_PASSWORD).await;
        house.get("/vms", &token).await;
        house.xend.set_guest_delay(Duration::from_secs(600));
        let vm = house.xend.vm_that_is(Power::Running).expect("a VM").uuid;
        house.xend.set_power(&vm, Power::Halted);
        house.xend.set_power(&vm, Power::Running);
        for action in ["clean_shutdown", "clean_reboot"] {
            let path = format!("/vms/{vm}/actions/{action}");
            let request = house.gate.request(Method::POST, &path).bearer_auth(&token);
            let begun = house.gate.send(request.header("prefer", "wait=3").json(&json!({}))).await;
            assert_eq!(begun.status, StatusCode::ACCEPTED, "{action}: {}", begun.json());
        }
        assert_eq!(house.xend.vm(&vm).expect("a VM").power, Power::Running);
        house.end().await;
    }
}

#[tokio::test]
async fn what_changes_by_itself_is_told_as_it_is_polled() {
    for kind in KINDS {
        let house = House::new(kind, Over::Tcp).await;
        let token = house.gate.login("eve", USERS_PASSWORD).await;
        house.get("/vms", &token).await;
        let vm = house.xend.vm_that_is(Power::Running).expect("a VM").uuid;
        let path = "/events?collections=vms&fields=power_state,name_label";
        let request = house.gate.request(Method::GET, path).bearer_auth(&token);
        let mut stream =
            request.header("accept", "text/event-stream").send().await.expect("a stream");
        let mut heard = String::new();
        let mut hear = async |wanted: &[&str]| {
            while !wanted.iter().all(|part| heard.contains(part)) {
                let piece = tokio::time::timeout(Duration::from_secs(30), stream.chunk()).await;
                let piece = piece.expect("in time").expect("it goes on").expect("no end");
                heard.push_str(&String::from_utf8_lossy(&piece));
            }
            std::mem::take(&mut heard)
        };
        hear(&["event: ready"]).await;
        house.xend.set_power(&vm, Power::Crashed);
        let crashed = hear(&["event: mod", "\n\n"]).await;
        assert!(crashed.contains(&vm) && crashed.contains("Crashed"), "{crashed}");
        let added = house.xend.add_vm("newcomer");
        let news = hear(&["event: add", "newcomer", "\n\n"]).await;
        assert!(news.contains(&added), "{news}");
        house.xend.remove_vm(&added);
        let gone = hear(&["event: del", "\n\n"]).await;
        assert!(gone.contains(&added), "{gone}");
        drop(stream);
        house.end().await;
    }
}

#[tokio::test]
async fn after_a_write_only_that_record_is_read() {
    for kind in KINDS {
        let house = House::new(kind, Over::Tcp).await;
        // Polls are far apart where they take long.
        let (all, one) = match kind {
            Kind::Legacy => ("xend.domains_with_state", "xend.domain"),
            _ => ("VM.get_all_records", "VM.get_record"),
        };
        house.xend.set_delay(Some(all), Duration::from_millis(1500));
        let token = house.gate.login(USER, USERS_PASSWORD).await;
        assert_eq!(house.xend.seen(all), 0, "nobody reads, and nothing is polled");
        house.get("/vms", &token).await;
        let polls = house.xend.seen(all);
        let vm = house.xend.vm_that_is(Power::Running).expect("a VM").uuid;
        let before = house.xend.seen(one);
        assert_eq!(house.done(&token, &vm, "pause", json!({})).await["power_state"], "Paused");
        assert_eq!(house.xend.seen(all), polls, "the others are not read again for that");
        assert!(house.xend.seen(one) > before);
        assert_eq!(house.xend.most_at_once(Some(all)), 1);
        house.end().await;
    }
}

#[tokio::test]
async fn what_xend_cannot_make_is_said_clearly() {
    for kind in KINDS {
        let house = House::new(kind, Over::Tcp).await;
        let token = house.gate.login(USER, USERS_PASSWORD).await;
        house.get("/vms", &token).await;
        let calls = house.xend.calls();
        for body in [
            json!({"name_label": "new", "template": "4f1a6c5e-9f0b-4c8d-8a51-2f7de0c3b944"}),
            json!({"name_label": "new", "memory_static_max": 1 << 30, "VCPUs_max": 1}),
        ] {
            let refused = house.gate.post("/vms", Some(&token), &body).await;
            if refused.status == 501 {
                let problem = refused.problem(501, "NOT_SUPPORTED");
                let detail = problem["detail"].as_str().expect("text");
                assert!(detail.contains("has no VM."), "which call: {detail}");
            } else {
                assert_eq!(refused.status, 422, "{}", refused.json());
            }
        }
        let made = |call: &String| call.ends_with(".create") || call.ends_with(".clone");
        assert!(!house.xend.calls().iter().any(made), "{calls:?}");
        house.end().await;
    }
}

#[tokio::test]
async fn what_a_backend_lacks_is_what_its_records_lack() {
    for kind in KINDS {
        let house = House::new(kind, Over::Tcp).await;
        let token = house.gate.login(USER, USERS_PASSWORD).await;
        house.get("/vms", &token).await;
        house.gate.until("/hosts", &token, |answer| answer.json()["total"] == 1).await;
        let backend = house.get("/backends", &token).await["items"][0].clone();
        let lacks = |what: &str, name: &str| {
            backend["lacks"][what].as_array().expect(what).contains(&json!(name))
        };
        assert!(lacks("fields", "VM.allowed_operations") && lacks("fields", "VM.snapshots"));
        assert!(!lacks("fields", "VM.power_state") && !lacks("fields", "host.name_label"));
        assert!(lacks("calls", "VM.snapshot") && !lacks("calls", "VM.clean_shutdown"));
        assert!(lacks("classes", "VTPM") && !lacks("classes", "VIF"));
        for (path, class) in [
            ("/vms", "VM"),
            ("/vm-metrics", "VM_metrics"),
            ("/hosts", "host"),
            ("/vbds", "VBD"),
            ("/vifs", "VIF"),
            ("/consoles", "console"),
        ] {
            let list = house.get(path, &token).await;
            let items = list["items"].as_array().expect("items");
            assert!(!items.is_empty(), "{path}");
            for field in items.iter().flat_map(|item| item.as_object().expect("one").keys()) {
                assert!(!lacks("fields", &format!("{class}.{field}")), "{class}.{field} is there");
            }
        }
        house.end().await;
    }
}

#[tokio::test]
async fn a_xend_that_hung_at_first_is_known_for_one_later() {
    for kind in KINDS {
        let hung = |xend: &XendHandle| xend.fault(None, Fault::Hang, None);
        let house = House::with(kind, Kind::Auto, Over::Tcp, hung).await;
        let login = json!({"username": USER, "password": USERS_PASSWORD});
        let refused = house.gate.post("/sessions", None, &login).await;
        assert!(refused.status.is_server_error(), "{}", refused.json());
        house.xend.clear_faults();
        house.xend.drop_connections();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        let token = loop {
            let answer = house.gate.post("/sessions", None, &login).await;
            if answer.status == 201 {
                break answer.json()["token"].as_str().expect("a token").to_owned();
            }
            assert!(tokio::time::Instant::now() < deadline, "{}", answer.json());
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        house.gate.until("/vms", &token, |answer| answer.status == 200).await;
        let name = if kind == Kind::Legacy { "legacy" } else { "xend" };
        let backends = house.get("/backends", &token).await;
        assert_eq!(backends["items"][0]["kind"], name, "{backends}");
        // And it is polled like any other.
        let vm = house.xend.vm_that_is(Power::Running).expect("a VM").uuid;
        house.xend.set_power(&vm, Power::Paused);
        let path = format!("/vms/{vm}");
        house.gate.until(&path, &token, |vm| vm.json()["power_state"] == "Paused").await;
        house.end().await;
    }
}
