//! A mirror that is live is read by whoever may read it, however slow the pool is with everything
//! else; and who may no longer does not read on.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use xengate::sim::{Fault, User};

use crate::connections::victim;
use crate::lab::{Lab, PATIENCE};

/// So short that a session has to be asked about again and again.
const GRACE: Duration = Duration::from_secs(3);

/// What asks whether a session lives.
const CHECK: &str = "pool.get_all";

/// A gateway with a short grace, and the tokens of the one whose session feeds the mirror and of
/// another.
async fn lab() -> (Lab, String, String) {
    let lab = Lab::with(|_| {}, |config, _| config.auth.revocation_grace = GRACE).await;
    lab.sim.put_user(User::superuser("other", "secret"));
    let feeds = lab.login().await;
    lab.get("/vms", &feeds).await.ok();
    let other = lab.gate.login("other", "secret").await;
    (lab, feeds, other)
}

/// Reads for longer than an unconfirmed session may.
async fn reads_on(what: &str, lab: &Lab, token: &str) {
    let begun = Instant::now();
    while begun.elapsed() < 3 * GRACE {
        victim(what, &lab.gate, token, &["/vms?limit=1", "/sessions/current"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_take_long_keep_no_session_from_being_confirmed() {
    let (lab, aggressor, other) = lab().await;
    let call = "VM.set_name_description";
    lab.sim.hold(call);
    let list = lab.get("/vms?fields=uuid", &aggressor).await.ok();
    let vms = list["items"].as_array().expect("VMs");
    let before = lab.sim.seen(CHECK);
    let gate = &lab.gate;
    let slow = (0..12).map(|number| {
        // Of different objects: changes of one take turns.
        let path = format!("/vms/{}", vms[number % vms.len()]["uuid"].as_str().expect("a uuid"));
        let body = json!({"name_description": format!("{number}")});
        let request = gate.request(Method::PATCH, &path).bearer_auth(&aggressor).json(&body);
        async { gate.send(request).await.status.as_u16() }
    });
    let slow = futures_util::future::join_all(slow);
    let reads = async {
        reads_on("12 slow calls of another user", &lab, &other).await;
        lab.sim.release(call);
    };
    let (slow, ()) = tokio::join!(slow, reads);
    assert!(slow.contains(&200), "{slow:?}");
    assert!(lab.sim.seen(CHECK) > before, "the pool was asked");
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_that_takes_long_takes_no_live_mirror_away() {
    let (lab, _feeds, other) = lab().await;
    // Longer than a request waits for it.
    lab.sim.fault(Some(CHECK), Fault::Delay(GRACE * 5 / 6), None);
    // Unused for longer than the grace.
    tokio::time::sleep(GRACE + Duration::from_secs(1)).await;
    reads_on("slow checks", &lab, &other).await;
    lab.sim.clear_faults();
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_call_that_is_answered_confirms_its_session() {
    let (lab, feeds, other) = lab().await;
    lab.sim.hold(CHECK);
    let list = lab.get("/networks?limit=1", &feeds).await.ok();
    let path = format!("/networks/{}", list["items"][0]["uuid"].as_str().expect("a network"));
    let begun = Instant::now();
    for number in 0.. {
        let body = json!({"name_description": format!("{number}")});
        let request = lab.gate.request(Method::PATCH, &path).bearer_auth(&other).json(&body);
        lab.gate.send(request).await.ok();
        if begun.elapsed() > 3 * GRACE {
            break;
        }
    }
    lab.sim.release(CHECK);
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_dead_reads_no_longer_than_the_grace() {
    let (lab, feeds, other) = lab().await;
    lab.sim.hold(CHECK);
    assert_eq!(lab.sim.end_sessions(Some("other")), 1);
    let begun = Instant::now();
    let refused = lab.gate.until("/vms?limit=1", &other, |answer| answer.status != 200).await;
    assert!(begun.elapsed() < 2 * GRACE + Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(refused.status, 503);
    lab.sim.release(CHECK);
    lab.gate.until("/vms?limit=1", &other, |answer| answer.status == 401).await;
    lab.get("/vms?limit=1", &feeds).await.ok();
    assert!(begun.elapsed() < PATIENCE);
    lab.end().await;
}
