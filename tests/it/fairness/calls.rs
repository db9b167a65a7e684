//! One user's slow calls leave connections to the backend for others.

use std::sync::Arc;

use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

use super::{REQUESTS, alone, tenths, unharmed, unrefused, until, victim};
use crate::lab::Lab;

/// Calls of the superuser that the pool does not answer, so many that some wait for a connection.
async fn slow_calls(lab: &Arc<Lab>, count: usize) -> JoinSet<u16> {
    let tokens = [lab.login().await, lab.login().await];
    lab.sim.hold("VM.set_name_description");
    // Of different objects, for changes of one take turns; the first is the victim's.
    let paths = paths(lab, &tokens[0]).await;
    let mut calls = JoinSet::new();
    for number in 0..count {
        let path = &paths[1 + number % (paths.len() - 1)];
        let request = lab.gate.request(Method::PATCH, path).bearer_auth(&tokens[number % 2]);
        let request = request.json(&json!({"name_description": format!("new {number}")}));
        let lab = lab.clone();
        calls.spawn(async move { lab.gate.send(request).await.status.as_u16() });
    }
    until("as many as may are at work", || lab.sim.seen("VM.set_name_description") >= 4).await;
    calls
}

/// The paths of all VMs.
async fn paths(lab: &Lab, token: &str) -> Vec<String> {
    let vms = lab.get("/vms?fields=uuid", token).await.ok();
    let vms = vms["items"].as_array().expect("VMs").iter();
    vms.map(|vm| format!("/vms/{}", vm["uuid"].as_str().expect("a uuid"))).collect()
}

async fn over(lab: Arc<Lab>, mut calls: JoinSet<u16>) {
    lab.sim.release("VM.set_name_description");
    while let Some(status) = calls.join_next().await {
        let status = status.expect("an answer");
        assert!(matches!(status, 200 | 503), "{status}");
    }
    Arc::try_unwrap(lab).ok().expect("nobody else has it").end().await;
}

#[tokio::test]
async fn slow_calls_of_one_user_leave_connections_to_others() {
    let _alone = alone().await;
    let lab = Arc::new(Lab::new().await);
    let victim = victim(&lab).await;
    let calls = slow_calls(&lab, 12).await;
    unharmed("slow calls, beside reads", &lab, &victim, &["/roles", "/secrets", "/vms"]).await;
    let path = paths(&lab, &victim).await.swap_remove(0);
    let mut took = Vec::new();
    for number in 0..REQUESTS {
        let request = lab.gate.request(Method::PATCH, &path).bearer_auth(&victim);
        let request = request.json(&json!({"name_label": format!("name {number}")}));
        took.push(unrefused(&lab, "PATCH", request).await);
    }
    took.sort_unstable();
    println!("slow calls, beside writes: p50 {:.1?} max {:.1?}", took[100], took[REQUESTS - 1]);
    assert_eq!(lab.sim.seen("VM.set_name_description"), 4, "others' places stay free");
    over(lab, calls).await;
}

#[tokio::test]
async fn those_who_wait_for_a_connection_have_their_turns_by_user() {
    let _alone = alone().await;
    // One connection for calls: whoever has it is waited for.
    let lab = Lab::with(
        |_| {},
        |config, _| {
            let backend = config.backends.get_mut(crate::lab::BACKEND).expect("the one");
            backend.max_connections = 4;
        },
    )
    .await;
    let lab = Arc::new(lab);
    let victim = victim(&lab).await;
    let other = lab.login().await;
    let paths = paths(&lab, &other).await;
    // Always more of one user than there is room for, and all of them are answered in time.
    let mut calls = JoinSet::new();
    for number in 0..tenths(20) {
        let path = paths[number % paths.len()].clone();
        let (lab, other) = (lab.clone(), other.clone());
        calls.spawn(async move {
            for again in 0..20 {
                let request = lab.gate.request(Method::PATCH, &path).bearer_auth(&other);
                let text = format!("{number} {again}");
                lab.gate.send(request.json(&json!({"name_description": text}))).await;
            }
        });
    }
    unharmed("a queue of calls", &lab, &victim, &["/roles", "/secrets"]).await;
    calls.shutdown().await;
    Arc::try_unwrap(lab).ok().expect("nobody else has it").end().await;
}
