//! When xend is asked for what: as long as somebody reads it, and no more than that costs.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::time::Instant;
use xengate::config::Kind;
use xengate::sim::Fault;
use xengate::sim::xend::{Power, Xend, XendConfig, XendHandle};

use super::{USER, USERS_PASSWORD, gate};
use crate::lab::{Answer, Gate};

const KINDS: [Kind; 2] = [Kind::Xend, Kind::Legacy];

/// A clock that only a test moves on, while sockets work as ever.
struct HeldClock {
    _held: std::sync::mpsc::Sender<()>,
}

impl HeldClock {
    fn new() -> Self {
        let (held, released) = std::sync::mpsc::channel::<()>();
        // While something of this sort is under way, the clock does not run ahead by itself.
        drop(tokio::task::spawn_blocking(move || released.recv()));
        tokio::time::pause();
        Self { _held: held }
    }

    /// Lets so much time go by, and then the gateway do what there is to do.
    async fn passes(&self, gate: &Gate, time: Duration) {
        tokio::time::advance(time).await;
        // What is read takes its time, whatever the clock says.
        let pause = || std::thread::sleep(Duration::from_millis(3));
        tokio::task::spawn_blocking(pause).await.expect("it ends");
        for _ in 0..3 {
            gate.get("/livez", "").await.ok();
        }
    }
    /// What comes of something that may have to wait for the clock.
    async fn until<T>(&self, gate: &Gate, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = self.passes(gate, Duration::from_millis(100)) => {}
            }
        }
    }
}

impl Drop for HeldClock {
    fn drop(&mut self) {
        tokio::time::resume();
    }
}

async fn house(kind: Kind) -> (XendHandle, Gate, String) {
    let xend = Xend::start(XendConfig { vms: 20, ..XendConfig::default() }).expect("it starts");
    let uri = if kind == Kind::Legacy { xend.legacy_url() } else { xend.api_url() };
    let gate = gate(&uri, kind, |_| {}).await;
    let token = gate.login(USER, USERS_PASSWORD).await;
    (xend, gate, token)
}

async fn read(gate: &Gate, path: &str, token: &str) -> Answer {
    let request = gate.request(Method::GET, path).bearer_auth(token).header("accept", "*/*");
    let answer = gate.send(request).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
    answer
}

fn age(answer: &Answer) -> u64 {
    let age = answer.header("age").expect("how old it is");
    age.parse().expect("a number")
}

#[tokio::test]
async fn reads_keep_a_mirror_alive_for_as_long_as_they_go_on() {
    for kind in KINDS {
        for path in ["/vms?limit=100", "/vms?view=brief"] {
            let (xend, gate, token) = house(kind).await;
            read(&gate, path, &token).await;
            let vm = xend.vm_that_is(Power::Running).expect("a VM").uuid;
            let (mut name, mut since) = (String::new(), Instant::now());
            let clock = HeldClock::new();
            for second in 0..600 {
                if second % 100 == 0 {
                    name = format!("renamed-{second}");
                    assert!(xend.rename(&vm, &name));
                    since = Instant::now();
                }
                clock.passes(&gate, Duration::from_secs(1)).await;
                let answer = read(&gate, path, &token).await;
                assert_eq!(answer.header("xen-stale"), None, "{kind:?} {path} {second}");
                assert!(age(&answer) <= 70, "{kind:?} {path} {second}: {}", age(&answer));
                let shows = answer.text().contains(&name);
                let is_new = since.elapsed() < Duration::from_secs(75);
                assert!(shows || is_new, "{kind:?} {path} {second}: {name} does not show");
            }
            drop(clock);
            gate.end(&[USERS_PASSWORD.to_owned()]).await;
        }
    }
}

#[tokio::test]
async fn what_nobody_reads_is_not_asked_for_and_what_somebody_does_is() {
    let (xend, gate, token) = house(Kind::Xend).await;
    for _ in 0..10 {
        read(&gate, "/vms", &token).await;
    }
    gate.until("/vms", &token, |_| xend.seen("VM.get_all_records") > 2).await;
    let others = xend.calls().into_iter().filter(|call| call.ends_with(".get_all_records"));
    let others: Vec<String> = others.collect();
    assert_eq!(others, ["VM.get_all_records", "VM_metrics.get_all_records"]);
    let vms = read(&gate, "/vms?limit=100", &token).await.ok();
    let vms = vms["items"].as_array().expect("items").clone();
    let of = |field: &str| -> usize {
        vms.iter().map(|vm| vm[field].as_array().expect(field).len()).sum()
    };
    for (path, class, count) in [
        ("/vifs?limit=200", "VIF", of("VIFs")),
        ("/vbds?limit=200", "VBD", of("VBDs")),
        ("/vif-metrics?limit=200", "VIF_metrics", of("VIFs")),
        ("/consoles?limit=200", "console", of("consoles")),
    ] {
        let call = format!("{class}.get_all_records");
        assert_eq!(xend.seen(&call), 0, "{class}");
        let list = read(&gate, path, &token).await.ok();
        assert_eq!(list["total"], count, "{class}");
        assert_eq!(xend.seen(&call), 1, "{class}");
    }
    // Objects of a class are read as well where another list looks into them.
    let path = "/vms?filter=resident_on.name_label%20=%20%22xend-host%22&expand=resident_on";
    let list = read(&gate, path, &token).await.ok();
    assert_eq!(list["total"], vms.len());
    let hosts = list["expanded"]["lab"]["host"].as_object().expect("hosts");
    assert_eq!(hosts.len(), 1);
    gate.end(&[USERS_PASSWORD.to_owned()]).await;
}

#[tokio::test]
async fn the_first_answer_shows_vms_with_their_devices() {
    for kind in KINDS {
        let (xend, gate, token) = house(kind).await;
        let vms = read(&gate, "/vms?limit=100", &token).await.ok();
        let mut devices = 0;
        for vm in vms["items"].as_array().expect("items") {
            if vm["is_control_domain"] == true {
                continue;
            }
            for (field, path) in [("VIFs", "vifs"), ("VBDs", "vbds")] {
                let uuids = vm[field].as_array().expect(field);
                assert!(!uuids.is_empty(), "{kind:?} {}: {field}", vm["name_label"]);
                devices += uuids.len();
                let uuid = uuids[0].as_str().expect("a uuid");
                let device = read(&gate, &format!("/{path}/{uuid}"), &token).await.ok();
                assert_eq!(device["VM"], vm["uuid"], "{device}");
            }
        }
        assert!(devices > 20);
        drop(xend);
        gate.end(&[USERS_PASSWORD.to_owned()]).await;
    }
}

#[tokio::test]
async fn a_class_that_costs_much_does_not_make_vms_old() {
    let (xend, gate, token) = house(Kind::Xend).await;
    read(&gate, "/vms", &token).await;
    xend.hold("VIF_metrics.get_all_records");
    let vm = xend.vm_that_is(Power::Running).expect("a VM").uuid;
    let slow = gate.get("/vif-metrics", &token);
    let meanwhile = async {
        while xend.seen("VIF_metrics.get_all_records") == 0 {
            read(&gate, "/vms", &token).await;
        }
        // Nothing else is asked apart, and VMs are polled as ever.
        let polls = xend.seen("VM.get_all_records");
        gate.until("/vms", &token, |_| xend.seen("VM.get_all_records") > polls + 1).await;
        assert!(age(&read(&gate, "/vms", &token).await) < 30);
        xend.set_power(&vm, Power::Paused);
        let path = format!("/vms/{vm}");
        gate.until(&path, &token, |vm| vm.json()["power_state"] == "Paused").await;
        xend.release("VIF_metrics.get_all_records");
    };
    let (slow, ()) = tokio::join!(slow, meanwhile);
    // It is late, or it is there; it is never said that there are none.
    match slow.status.as_u16() {
        200 => assert_ne!(slow.json()["total"], 0),
        _ => _ = slow.problem(503, "BACKEND_NOT_READY"),
    }
    gate.until("/vif-metrics", &token, |list| list.status == 200).await;
    assert_eq!(xend.most_at_once(Some("VM.get_all_records")), 1);
    gate.end(&[USERS_PASSWORD.to_owned()]).await;
}

#[tokio::test]
async fn a_xend_that_hung_is_polled_again_as_soon_as_it_answers_anybody() {
    for kind in KINDS {
        let (xend, gate, token) = house(kind).await;
        let pause = if kind == Kind::Legacy { "xend.domain.pause" } else { "VM.pause" };
        read(&gate, "/vms", &token).await;
        let vm = xend.vm_that_is(Power::Running).expect("a VM").uuid;
        let clock = HeldClock::new();
        xend.fault(None, Fault::Hang, None);
        let mut stale = false;
        for _ in 0..30 {
            clock.passes(&gate, Duration::from_secs(1)).await;
            let request = gate.request(Method::GET, "/vms").bearer_auth(&token);
            let answer = clock.until(&gate, gate.send(request)).await;
            stale |= answer.header("xen-stale").is_some();
        }
        assert!(stale, "{kind:?}: what does not answer is not live");
        // It is back, and has carried out what somebody asked for.
        xend.clear_faults();
        let path = format!("/vms/{vm}/actions/pause");
        let request = gate.request(Method::POST, &path).bearer_auth(&token).json(&json!({}));
        let paused = gate.send(request.header("prefer", "wait=30"));
        let paused = clock.until(&gate, paused).await;
        assert_eq!(paused.status, StatusCode::OK, "{}", paused.text());
        assert_eq!(xend.seen(pause), 1);
        let back = Instant::now();
        while read(&gate, "/vms", &token).await.header("xen-stale").is_some() {
            clock.passes(&gate, Duration::from_millis(200)).await;
            assert!(back.elapsed() < Duration::from_secs(15), "{kind:?}: still stale");
        }
        drop(clock);
        gate.end(&[USERS_PASSWORD.to_owned()]).await;
    }
}

#[tokio::test]
async fn the_pause_after_a_hang_is_half_a_minute_at_most() {
    for kind in KINDS {
        let (xend, gate, token) = house(kind).await;
        let all = match kind {
            Kind::Legacy => "xend.domains_with_state",
            _ => "VM.get_all_records",
        };
        read(&gate, "/vms", &token).await;
        let clock = HeldClock::new();
        xend.fault(Some(all), Fault::Hang, None);
        for _ in 0..100 {
            clock.passes(&gate, Duration::from_secs(1)).await;
            read(&gate, "/vms", &token).await;
        }
        // The poll that hangs comes to its end in vain, and nobody else asks for anything.
        xend.drop_connections();
        xend.clear_faults();
        let back = Instant::now();
        while read(&gate, "/vms", &token).await.header("xen-stale").is_some() {
            clock.passes(&gate, Duration::from_secs(1)).await;
            assert!(back.elapsed() <= Duration::from_secs(35), "{kind:?}: still stale");
        }
        drop(clock);
        gate.end(&[USERS_PASSWORD.to_owned()]).await;
    }
}
