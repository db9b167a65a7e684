//! Waiting is not working.

use std::sync::Arc;

use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;
use xengate::sim::PASSWORD;

use super::{alone, tenths, unharmed, until, victim};
use crate::lab::{Answer, Lab};

/// A gateway that works on so many requests at once, a VM that is being started and is not done, and
/// the task's path.
async fn lab_with_a_task(working: usize) -> (Arc<Lab>, String) {
    let lab = Lab::with(
        |_| {},
        |config, _| {
            let limits = &mut config.limits;
            limits.max_concurrent_requests = working;
            // One who may wait as often as this could take all places, if waiting took any.
            limits.max_waiting_requests_per_session = 2 * working;
            limits.max_waiting_requests_per_user = 2 * working;
        },
    )
    .await;
    let root = lab.login().await;
    lab.sim.hold_tasks("VM.start");
    let vms = lab.get("/vms?filter=power_state%20%3D%20Halted&limit=1", &root).await.ok();
    let vm = vms["items"][0]["uuid"].as_str().expect("a VM that is halted").to_owned();
    let task = lab.gate.post(&format!("/vms/{vm}/actions/start"), Some(&root), &json!({})).await;
    assert_eq!(task.status, 202);
    let path = format!("/tasks/{}", task.json()["uuid"].as_str().expect("a uuid"));
    lab.until(&path, &root, |answer| answer.status == 200).await;
    (Arc::new(lab), path)
}

/// Sends the request so often at once, and waits until as many of them wait.
async fn wait_together(
    lab: &Arc<Lab>,
    times: usize,
    request: impl Fn(&Lab) -> reqwest::RequestBuilder,
) -> JoinSet<Answer> {
    let mut waits = JoinSet::new();
    for _ in 0..times {
        let (lab, request) = (lab.clone(), request(lab));
        waits.spawn(async move { lab.gate.send(request).await });
    }
    until("as many wait", || lab.gate.in_flight().waiting() == times).await;
    assert_eq!(lab.gate.in_flight().working(), 0, "who waits does not work");
    waits
}

async fn over(lab: Arc<Lab>, mut waits: JoinSet<Answer>, good: impl Fn(&Answer) -> bool) {
    while let Some(answer) = waits.join_next().await {
        let answer = answer.expect("an answer");
        assert!(good(&answer), "{} {}", answer.status, answer.text());
    }
    until("nobody waits any more", || lab.gate.in_flight().waiting() == 0).await;
    Arc::try_unwrap(lab).ok().expect("nobody else has it").end().await;
}

#[tokio::test]
async fn waits_for_a_task_shut_nobody_out() {
    let _alone = alone().await;
    let (lab, task) = lab_with_a_task(tenths(102)).await;
    let (victim, reader) = (victim(&lab).await, lab.gate.login("read-only", PASSWORD).await);
    let path = format!("{task}?wait=60");
    let waits = wait_together(&lab, tenths(103), |lab| {
        lab.gate.request(Method::GET, &path).bearer_auth(&reader)
    })
    .await;
    unharmed("waits for a task", &lab, &victim, &["/vms", "/tasks", &task]).await;
    lab.sim.release_tasks("VM.start");
    over(lab, waits, |answer| answer.json()["status"] == "success").await;
}

#[tokio::test]
async fn waits_for_a_revision_shut_nobody_out() {
    let _alone = alone().await;
    let (lab, _) = lab_with_a_task(tenths(102)).await;
    let (victim, reader) = (victim(&lab).await, lab.gate.login("read-only", PASSWORD).await);
    let now = lab.get("/pools", &reader).await;
    let (boot, number) = now.header("xen-revision").and_then(|it| it.split_once('-')).expect("one");
    let later = number.parse::<u64>().expect("a number") + 1_000_000;
    let path = format!("/hosts?min_revision={boot}-{later}");
    let waits = wait_together(&lab, tenths(103), |lab| {
        lab.gate.request(Method::GET, &path).bearer_auth(&reader)
    })
    .await;
    unharmed("waits for a revision", &lab, &victim, &["/vms", "/hosts"]).await;
    lab.passes(std::time::Duration::from_secs(11)).await;
    over(lab, waits, |answer| answer.status == 504).await;
}

#[tokio::test]
async fn waits_for_ones_own_task_and_for_a_turn_shut_nobody_out() {
    let _alone = alone().await;
    // No more however much others do: turns come one after the other, and more would not wait at once.
    let (lab, task) = lab_with_a_task(52).await;
    let victim = victim(&lab).await;
    let operator = lab.gate.login("vm-admin", PASSWORD).await;
    lab.sim.hold_tasks("VM.suspend");
    let vms = lab.get("/vms?filter=power_state%20%3D%20Running&limit=1", &operator).await.ok();
    let vm = vms["items"][0]["uuid"].as_str().expect("a VM that runs");
    let path = format!("/vms/{vm}/actions/suspend");
    // One of them is under way, and the others wait for their turn.
    let waits = wait_together(&lab, 52, |lab| {
        let request = lab.gate.request(Method::POST, &path).bearer_auth(&operator);
        request.header("Prefer", "wait=60").header("If-Match", "*")
    })
    .await;
    unharmed("waits for a turn", &lab, &victim, &["/vms", &task]).await;
    lab.sim.release_tasks("VM.suspend");
    over(lab, waits, |answer| matches!(answer.status.as_u16(), 200 | 202 | 409 | 412)).await;
}

#[tokio::test]
async fn a_wait_more_than_there_may_be_is_refused_with_a_word() {
    let _alone = alone().await;
    let lab = Lab::with(
        |_| {},
        |config, _| {
            config.limits.max_waiting_requests = 5;
            config.limits.max_waiting_requests_per_session = 2;
            config.limits.max_waiting_requests_per_user = 3;
        },
    )
    .await;
    let lab = Arc::new(lab);
    let root = lab.login().await;
    let now = lab.get("/pools", &root).await;
    let boot = now.header("xen-revision").and_then(|it| it.split_once('-')).expect("one").0;
    let path = format!("/hosts?min_revision={boot}-1000000000");
    let mut waits = JoinSet::new();
    let mut count = 0;
    let mut wait = async |token: &str, expected: Option<(u16, &str, &str)>| {
        let Some((status, code, part)) = expected else {
            let request = lab.gate.request(Method::GET, &path).bearer_auth(token);
            let gate = lab.clone();
            waits.spawn(async move { gate.gate.send(request).await.status.as_u16() });
            count += 1;
            return until("one more waits", || lab.gate.in_flight().waiting() == count).await;
        };
        let answer = lab.get(&path, token).await;
        let problem = answer.problem(status, code);
        assert!(problem["detail"].as_str().expect("a text").contains(part), "{problem}");
        assert_eq!(problem["retryable"], true);
        assert!(answer.header("retry-after").is_some());
    };
    let (again, reader) = (lab.login().await, lab.gate.login("read-only", PASSWORD).await);
    let third = lab.gate.login("vm-admin", PASSWORD).await;
    wait(&root, None).await;
    wait(&root, None).await;
    wait(&root, Some((429, "TOO_MUCH_AT_ONCE", "of this session"))).await;
    wait(&again, None).await;
    wait(&again, Some((429, "TOO_MUCH_AT_ONCE", "of this user"))).await;
    wait(&reader, None).await;
    wait(&reader, None).await;
    wait(&third, Some((503, "OVERLOADED", "wait"))).await;
    // What is there at once waits for nothing.
    lab.get(&format!("/hosts?min_revision={boot}-0"), &root).await.ok();
    lab.passes(std::time::Duration::from_secs(11)).await;
    while let Some(status) = waits.join_next().await {
        assert_eq!(status.expect("an answer"), 504);
    }
    until("nobody waits", || lab.gate.in_flight().waiting() == 0).await;
    Arc::try_unwrap(lab).ok().expect("nobody else has it").end().await;
}

#[tokio::test]
async fn no_user_takes_all_places_among_those_that_are_worked_on() {
    let _alone = alone().await;
    let lab = Lab::with(
        |_| {},
        |config, _| {
            config.limits.max_concurrent_requests = 8;
            config.limits.max_concurrent_requests_per_user = 4;
        },
    )
    .await;
    let lab = Arc::new(lab);
    let (victim, other) = (victim(&lab).await, lab.login().await);
    // Calls that the pool does not answer, in two sessions.
    lab.sim.hold("VM.set_name_description");
    let vms = lab.get("/vms?limit=4", &other).await.ok();
    let second = lab.login().await;
    let mut calls = JoinSet::new();
    for (number, token) in [&other, &second, &other, &second].into_iter().enumerate() {
        // Of different objects: changes of one take turns, and who waits is not worked on.
        let path = format!("/vms/{}", vms["items"][number]["uuid"].as_str().expect("a uuid"));
        let request = lab.gate.request(Method::PATCH, &path).bearer_auth(token);
        let request = request.json(&json!({"name_description": "new"}));
        let lab = lab.clone();
        calls.spawn(async move { lab.gate.send(request).await.status });
    }
    until("four are worked on", || lab.gate.in_flight().working() == 4).await;
    let answer = lab.get("/vms", &second).await;
    let problem = answer.problem(429, "TOO_MUCH_AT_ONCE");
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("this user")), "{problem}");
    unharmed("requests that are worked on", &lab, &victim, &["/vms", "/hosts"]).await;
    lab.sim.release("VM.set_name_description");
    while calls.join_next().await.is_some() {}
    lab.until("/vms", &second, |answer| answer.status == 200).await;
    Arc::try_unwrap(lab).ok().expect("nobody else has it").end().await;
}
