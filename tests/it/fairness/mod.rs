//! Nobody stops the others: while one user does as much as it may, another does not notice.
//!
//! `XENGATE_FAIRNESS=10` has the aggressors do ten times as much. Latencies are printed
//! (`--nocapture`), and not asserted: that nobody is refused and nobody waits for 5 s is.

mod calls;
mod queries;
mod streams;
mod unsent;
mod waits;

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, timeout};
use xengate::sim::User;

use crate::lab::Lab;

/// How many requests of the victim are looked at.
const REQUESTS: usize = 200;
/// How long each may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(60);

/// A tenth of what is said to have stopped the others, or as much as the environment says.
pub(crate) fn tenths(tenth: usize) -> usize {
    let times = std::env::var("XENGATE_FAIRNESS").ok().and_then(|times| times.parse().ok());
    tenth * times.unwrap_or(1)
}

/// One of these tests at a time: what an aggressor takes of the machine would else be taken from the
/// victims of others.
pub(crate) async fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::const_new(());
    ONE.lock().await
}

/// Logs the victim in, a user that does nothing else.
pub(crate) async fn victim(lab: &Lab) -> String {
    lab.sim.put_user(User::superuser("victim", "secret"));
    lab.gate.login("victim", "secret").await
}

/// Sends requests one after the other, by turns the victim's on these paths, a login and the
/// questions of who watches the gateway. None may be refused, and none may take long.
pub(crate) async fn unharmed(what: &str, lab: &Lab, token: &str, paths: &[&str]) {
    let gets = paths.iter().map(|path| (*path, true));
    let watched = [("/sessions", false), ("/livez", true), ("/readyz", true)];
    let turns: Vec<(&str, bool)> = gets.chain(watched).collect();
    let mut took = Vec::new();
    for turn in 0..REQUESTS {
        let (path, is_get) = turns[turn % turns.len()];
        let request = match is_get {
            true => lab.gate.request(Method::GET, path).bearer_auth(token),
            false => lab
                .gate
                .request(Method::POST, path)
                .json(&serde_json::json!({"username": "victim", "password": "secret"})),
        };
        took.push(unrefused(lab, path, request).await);
    }
    took.sort_unstable();
    let (p50, p99, max) = (took[REQUESTS / 2], took[REQUESTS * 99 / 100], took[REQUESTS - 1]);
    println!("{what}: p50 {p50:.1?} p99 {p99:.1?} max {max:.1?}");
}

/// How long a request takes that is to be answered well and in time.
pub(crate) async fn unrefused(lab: &Lab, path: &str, request: RequestBuilder) -> Duration {
    let begun = Instant::now();
    let answer = timeout(DEADLINE, lab.gate.send(request)).await;
    let answer = answer.unwrap_or_else(|_| panic!("{path} met its deadline"));
    let text = String::from_utf8_lossy(&answer.body);
    assert!(answer.status.is_success(), "{path}: {} {text}", answer.status);
    begun.elapsed()
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    let mut glances = tokio::time::interval(Duration::from_millis(5));
    while !holds() {
        glances.tick().await;
        assert!(begun.elapsed() < PATIENCE, "{what}");
    }
}
