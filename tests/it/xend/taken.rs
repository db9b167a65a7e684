//! Writes that xend says yes to, and what it says no to: in one way, whichever dialect it is spoken
//! to in.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use xengate::config::Kind;
use xengate::sim::xend::{Power, Xend, XendConfig, XendHandle, XendVm};
use xengate::sim::{Failure, Fault};

use super::{USER, USERS_PASSWORD, gate};
use crate::lab::{Answer, Gate};

const KINDS: [Kind; 2] = [Kind::Xend, Kind::Legacy];

struct House {
    xend: XendHandle,
    gate: Gate,
    token: String,
}

impl House {
    async fn new(kind: Kind) -> Self {
        let xend = Xend::start(XendConfig { vms: 20, ..XendConfig::default() });
        let xend = xend.expect("it starts");
        let uri = if kind == Kind::Legacy { xend.legacy_url() } else { xend.api_url() };
        let gate = gate(&uri, kind, |config| {
            config.guest_timeout = Duration::from_secs(25);
        })
        .await;
        let token = gate.login(USER, USERS_PASSWORD).await;
        gate.get("/vms", &token).await.ok();
        Self { xend, gate, token }
    }

    async fn patch(&self, vm: &str, body: Value) -> Answer {
        let request = self.gate.request(Method::PATCH, &format!("/vms/{vm}"));
        self.gate.send(request.bearer_auth(&self.token).json(&body)).await
    }

    async fn act(&self, vm: &str, action: &str, body: Value) -> Answer {
        let path = format!("/vms/{vm}/actions/{action}");
        let request = self.gate.request(Method::POST, &path).bearer_auth(&self.token).json(&body);
        self.gate.send(request.header("prefer", "wait=50")).await
    }

    async fn vm(&self, vm: &str) -> Value {
        self.gate.get(&format!("/vms/{vm}"), &self.token).await.ok()
    }

    fn that_is(&self, power: Power) -> XendVm {
        self.xend.vm_that_is(power).expect("a VM")
    }
}

#[tokio::test]
async fn no_write_makes_a_vm_that_never_starts_again() {
    for kind in KINDS {
        let house = House::new(kind).await;
        let vm = house.that_is(Power::Halted).uuid;
        for body in [
            json!({"VCPUs_max": 3}),
            json!({"VCPUs_max": 2, "VCPUs_at_startup": 2}),
            json!({"VCPUs_at_startup": 2}),
            json!({"VCPUs_at_startup": 1}),
            json!({"VCPUs_params": {"weight": "512"}}),
            json!({"VCPUs_params": {"cap": "50", "weight": "512"}}),
            json!({"name_label": "another-name"}),
            json!({"memory_dynamic_max": 64 << 20, "memory_static_max": 64 << 20}),
        ] {
            let answer = house.patch(&vm, body.clone()).await;
            let shown = house.vm(&vm).await;
            match answer.status.as_u16() {
                200 => {
                    for (field, value) in body.as_object().expect("an object") {
                        assert_eq!(&shown[field], value, "{kind:?} {body}");
                    }
                }
                501 => _ = answer.problem(501, "NOT_SUPPORTED"),
                422 => {}
                other => panic!("{kind:?} {body}: {other} {}", answer.text()),
            }
            let started = house.act(&vm, "start", json!({})).await.ok();
            assert_eq!(started["status"], "success", "{kind:?} {body}");
            house.act(&vm, "hard_shutdown", json!({})).await.ok();
        }
        let answer = house.patch(&vm, json!({"VCPUs_max": 3})).await;
        assert_eq!((answer.status, &answer.json()["VCPUs_max"]), (StatusCode::OK, &json!(3)));
        assert_eq!(house.xend.vm(&vm).expect("a VM").vcpus.0, 3);
        let acted = house.act(&vm, "set_VCPUs_max", json!({"value": 2})).await;
        assert!(acted.status.is_success(), "{}", acted.text());
        assert_eq!(house.vm(&vm).await["VCPUs_max"], 2);
        let acted = house.act(&vm, "set_VCPUs_at_startup", json!({"value": 1})).await;
        acted.problem(501, "NOT_IMPLEMENTED");
        assert!(!house.xend.calls().iter().any(|call| call == "VM.set_VCPUs_max"));
        house.gate.end(&[]).await;
    }
}

#[tokio::test]
async fn what_a_running_vm_cannot_have_is_refused() {
    for kind in KINDS {
        let house = House::new(kind).await;
        let vm = house.that_is(Power::Running);
        let most = json!({"VCPUs_max": vm.vcpus.0 + 1});
        let refused = house.patch(&vm.uuid, most).await.problem(409, "VM_BAD_POWER_STATE");
        assert_eq!(refused["params"], json!([vm.uuid, "Halted", "Running"]));
        let startup = json!({"VCPUs_at_startup": vm.vcpus.0 + 1});
        house.patch(&vm.uuid, startup).await.problem(501, "NOT_SUPPORTED");
        assert_eq!(house.vm(&vm.uuid).await["VCPUs_max"], vm.vcpus.0);
        house.gate.end(&[]).await;
    }
}

#[tokio::test]
async fn a_write_that_was_not_taken_is_no_success() {
    for kind in KINDS {
        let house = House::new(kind).await;
        let (halted, running) = (house.that_is(Power::Halted), house.that_is(Power::Running));
        house.xend.ignore_writes(true);
        let memory = json!({"memory_static_max": halted.memory.0 * 2});
        for (vm, body, field) in [
            (&halted, json!({"name_label": "never"}), "name_label"),
            (&running, json!({"name_label": "never"}), "name_label"),
            (&halted, json!({"VCPUs_max": halted.vcpus.0 + 1}), "VCPUs_max"),
            (&halted, memory, "memory_static_max"),
        ] {
            let problem = house.patch(&vm.uuid, body.clone()).await.problem(502, "WRITE_NOT_TAKEN");
            assert_eq!(problem["retryable"], false, "{problem}");
            let failed = problem["failed"].to_string();
            assert!(failed.contains(field), "{kind:?} {body}: {problem}");
        }
        let count = json!({"nvcpu": halted.vcpus.0 + 1});
        let acted = house.act(&halted.uuid, "set_VCPUs_number_live", count).await;
        acted.problem(502, "WRITE_NOT_TAKEN");
        if kind == Kind::Xend {
            for body in [
                json!({"other_config": {"k": "v"}}),
                json!({"PV_args": "quiet"}),
                json!({"actions_after_crash": "preserve"}),
            ] {
                let answer = house.patch(&halted.uuid, body.clone()).await;
                answer.problem(502, "WRITE_NOT_TAKEN");
            }
        }
        house.xend.ignore_writes(false);
        let taken = house.patch(&halted.uuid, json!({"name_label": "taken"})).await;
        assert_eq!(taken.status, StatusCode::OK, "{}", taken.text());
        house.gate.end(&[]).await;
    }
}

/// What comes of each call in each state, in the order of [`CALLS`].
const CALLS: [&str; 9] = [
    "start",
    "pause",
    "unpause",
    "suspend",
    "resume",
    "clean_shutdown",
    "clean_reboot",
    "hard_shutdown",
    "hard_reboot",
];

#[tokio::test]
async fn the_dialects_agree_on_every_call_in_every_state() {
    let states = [
        (Power::Halted, [200, 409, 409, 409, 409, 409, 409, 200, 409]),
        (Power::Running, [409, 200, 409, 200, 409, 200, 200, 200, 200]),
        (Power::Paused, [409, 409, 200, 409, 409, 409, 409, 200, 200]),
        (Power::Suspended, [409, 409, 409, 409, 200, 409, 409, 409, 409]),
        (Power::Crashed, [409, 409, 409, 409, 409, 409, 409, 200, 409]),
    ];
    for kind in KINDS {
        let house = House::new(kind).await;
        let vm = house.that_is(Power::Running).uuid;
        for (power, statuses) in states {
            for (call, status) in CALLS.into_iter().zip(statuses) {
                house.xend.set_power(&vm, Power::Halted);
                house.xend.set_power(&vm, power);
                let answer = house.act(&vm, call, json!({})).await;
                assert_eq!(answer.status, status, "{kind:?} {power:?} {call}: {}", answer.text());
                if status == 409 {
                    let problem = answer.problem(409, "VM_BAD_POWER_STATE");
                    assert_eq!(problem["params"][0], vm, "{kind:?} {power:?} {call}");
                    assert_eq!(problem["params"][2], format!("{power:?}"), "{kind:?} {call}");
                    let now = house.xend.vm(&vm).expect("a VM").power;
                    assert_eq!(now, power, "{kind:?} {call}: nothing was done");
                }
            }
            // xend destroys what runs; XAPI does not.
            house.xend.set_power(&vm, power);
            let request = house.gate.request(Method::DELETE, &format!("/vms/{vm}"));
            let request = request.bearer_auth(&house.token).header("prefer", "wait=50");
            if power != Power::Halted {
                house.gate.send(request).await.problem(409, "VM_BAD_POWER_STATE");
            }
        }
        house.gate.end(&[]).await;
    }
}

#[tokio::test]
async fn a_guest_that_reboots_and_does_not_come_back_ends_the_task() {
    for kind in KINDS {
        let house = House::new(kind).await;
        for (mode, too_fast) in [("destroy", false), ("preserve", false), ("restart", true)] {
            let vm = house.that_is(Power::Running).uuid;
            assert!(house.xend.set_on_reboot(&vm, mode));
            assert!(house.xend.set_restarts_too_fast(&vm, too_fast));
            let answer = house.act(&vm, "clean_reboot", json!({})).await;
            if too_fast {
                let problem = answer.problem(502, "VM_HALTED");
                assert_eq!(problem["params"][0], vm, "{problem}");
            } else {
                assert_eq!(answer.ok()["status"], "success", "{kind:?} {mode}");
            }
            assert_eq!(house.vm(&vm).await["power_state"], "Halted", "{kind:?} {mode}");
        }
        house.gate.end(&[]).await;
    }
}

#[tokio::test]
async fn what_xend_says_is_understood_as_it_is_meant() {
    for kind in KINDS {
        let house = House::new(kind).await;
        let vm = house.that_is(Power::Halted).uuid;
        let memory = "I need 262144 KiB, but dom0_min_mem is 131072 and shrinking to 131072 KiB \
                      would leave only 1024 KiB free.";
        for (text, status, code, param) in [
            ("Kernel image does not exist: /boot/no", 409, "OPERATION_NOT_ALLOWED", "/boot/no"),
            ("Disk image does not exist: /no.img", 409, "OPERATION_NOT_ALLOWED", "/no.img"),
            ("(22, 'Invalid argument')", 502, "INTERNAL_ERROR", "(22,"),
            ("", 502, "INTERNAL_ERROR", "gave no reason"),
            (memory, 409, "HOST_NOT_ENOUGH_FREE_MEMORY", "268435456"),
        ] {
            assert!(house.xend.set_complaint(&vm, text));
            let problem = house.act(&vm, "start", json!({})).await.problem(status, code);
            assert!(problem["params"].to_string().contains(param), "{kind:?} {problem}");
        }
        let gone = Failure {
            code: "INTERNAL_ERROR".to_owned(),
            params: vec!["Domain 'x' does not exist.".to_owned()],
        };
        let call = if kind == Kind::Legacy { "xend.domain.start" } else { "VM.start" };
        house.xend.fault(Some(call), Fault::Fail(gone), Some(1));
        house.act(&vm, "start", json!({})).await.problem(404, "HANDLE_INVALID");
        house.gate.end(&[]).await;
    }
}

#[tokio::test]
async fn a_dying_domain_hides_no_successor() {
    for kind in KINDS {
        let house = House::new(kind).await;
        let vm = house.that_is(Power::Running).uuid;
        assert!(house.xend.leave_dying(&vm));
        let domid = house.xend.vms().into_iter().filter(|one| one.uuid == vm).map(|one| one.domid);
        let domid = domid.max().flatten().expect("a domain");
        let path = format!("/vms/{vm}");
        let token = &house.token;
        house.gate.until(&path, token, |vm| vm.json()["domid"] == domid).await;
        let shown = house.vm(&vm).await;
        assert_eq!(shown["power_state"], "Running", "{kind:?} {shown}");
        assert!(!shown["name_label"].to_string().contains("Zombie"), "{kind:?} {shown}");
        let metrics = house.gate.get(&format!("{path}/metrics"), token).await.ok();
        assert!(!metrics["state"].to_string().contains("dying"), "{kind:?} {metrics}");
        house.gate.end(&[]).await;
    }
}

#[tokio::test]
async fn views_show_what_the_domain_is_in_either_dialect() {
    for kind in KINDS {
        let house = House::new(kind).await;
        let vm = house.that_is(Power::Running);
        assert!(house.xend.set_at_rest(&vm.uuid, true));
        assert!(house.xend.set_on_crash(&vm.uuid, "coredump_and_destroy"));
        let path = format!("/vms/{}", vm.uuid);
        let crash = "coredump_and_destroy";
        let token = &house.token;
        house.gate.until(&path, token, |vm| vm.json()["actions_after_crash"] == crash).await;
        let print = async |query: &str| {
            let request = house.gate.request(Method::GET, &format!("/vms?{query}"));
            let request = request.bearer_auth(token).header("accept", "text/plain");
            house.gate.send(request).await.text()
        };
        let line = |text: &str| {
            let line = text.lines().find(|line| line.starts_with(&vm.name)).map(str::to_owned);
            line.unwrap_or_default()
        };
        let all = print("view=brief").await;
        assert!(line(&all).contains(" ------ "), "{kind:?} {all}");
        assert_eq!(line(&print("view=brief&pool=Pool-0").await), line(&all), "{kind:?}");
        assert_eq!(print("view=brief&pool=Pool-1").await.lines().count(), 1, "{kind:?}");
        assert!(print("view=long").await.contains("(on_crash coredump-destroy)"), "{kind:?}");
        // A name comes before a uuid.
        let other = house.that_is(Power::Paused).uuid;
        assert!(house.xend.rename(&other, &vm.uuid));
        house
            .gate
            .until(&format!("/vms/{other}"), token, |one| {
                one.json()["name_label"] == vm.uuid.as_str()
            })
            .await;
        let vcpus = print("view=vcpus").await;
        let id = vm.domid.expect("a domain").to_string();
        let of = vcpus.lines().filter(|line| line.starts_with(&vm.name));
        assert!(of.clone().count() > 0, "{kind:?} {vcpus}");
        for line in of {
            assert_eq!(line.split_whitespace().nth(1), Some(&*id), "{kind:?} {vcpus}");
        }
        house.gate.end(&[]).await;
    }
}
