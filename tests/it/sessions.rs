//! Sessions: several backends, further logins, limits, and pools that are away.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use xengate::config::BackendConfig;
use xengate::sim::{PASSWORD, Sim, SimConfig, SimHandle, User};

use crate::lab::{Answer, Gate, Lab};

/// The password at the second pool, where the first one's is no good.
const OTHER_PASSWORD: &str = "simulated elsewhere";

const CURRENT: &str = "/sessions/current";
const FURTHER: &str = "/sessions/current/backends";

/// A lab with three backends: its own, `office` with other passwords, and `away`, where nobody is.
struct Three {
    lab: Lab,
    office: SimHandle,
    away: SimHandle,
}

impl Three {
    async fn new() -> Self {
        let pool = |seed| {
            let users = vec![User::superuser("root", OTHER_PASSWORD)];
            Sim::start(SimConfig { seed, users, ..crate::lab::pool() }).expect("a pool")
        };
        let (office, away) = (pool(2), pool(3));
        away.stop_listening();
        let lab = Lab::with(
            |_| {},
            |config, _| {
                for (name, pool) in [("office", &office), ("away", &away)] {
                    let backend = BackendConfig::new(vec![pool.url()]);
                    config.backends.insert(name.to_owned(), backend);
                }
            },
        )
        .await;
        Self { lab, office, away }
    }

    /// Logs in as root with the first pool's password.
    async fn login(&self, backend: Value) -> Answer {
        let body = json!({"username": "root", "password": PASSWORD, "backend": backend});
        self.lab.gate.post("/sessions", None, &body).await
    }

    async fn end(self) {
        let Self { lab: Lab { sim, gate }, office, away } = self;
        let pools = [sim, office, away];
        let secrets: Vec<String> = pools.iter().flat_map(SimHandle::session_refs).collect();
        gate.end(&secrets).await;
        for pool in pools {
            assert_eq!(pool.sessions_open(), 0, "the gateway logs out when it ends");
            pool.stop().await;
        }
    }
}

fn statuses(session: &Value) -> Vec<(&str, &str)> {
    let backends = session["backends"].as_array().expect("a list");
    backends
        .iter()
        .map(|one| (one["name"].as_str().expect("text"), one["status"].as_str().expect("text")))
        .collect()
}

fn token(answer: &Answer) -> String {
    answer.json()["token"].as_str().expect("a token").to_owned()
}

async fn logout(gate: &Gate, token: &str) -> Answer {
    gate.send(gate.request(Method::DELETE, CURRENT).bearer_auth(token)).await
}

#[tokio::test]
async fn a_session_can_be_left_while_its_pool_is_away() {
    let grace = Duration::from_millis(50);
    let lab = Lab::with(|_| {}, |config, _| config.auth.revocation_grace = grace).await;
    let (first, second) = (lab.login().await, lab.login().await);
    lab.sim.stop_listening();
    lab.sim.drop_connections();
    let refused = lab.until("/vms", &first, |answer| answer.status == 503).await;
    refused.problem(503, "BACKEND_UNREACHABLE");

    lab.until(CURRENT, &first, |answer| {
        answer.status == 200 && statuses(&answer.json()) == [("lab", "unreachable")]
    })
    .await;
    let body = json!({"backend": "lab", "password": PASSWORD});
    let again = lab.gate.post(FURTHER, Some(&first), &body).await;
    again.problem(503, "BACKEND_UNREACHABLE");

    let left = logout(&lab.gate, &first).await;
    assert_eq!((left.status.as_u16(), left.body.as_slice()), (204, &b""[..]));
    lab.get(CURRENT, &first).await.problem(401, "INVALID_TOKEN");
    logout(&lab.gate, &first).await.problem(401, "INVALID_TOKEN");

    // Whoever stayed is let in again.
    lab.sim.listen_again().expect("the same port");
    lab.until("/vms", &second, |answer| answer.status == 200).await;
    lab.end().await;
}

#[tokio::test]
async fn a_login_tells_how_each_backend_answered() {
    let three = Three::new().await;
    let made = three.login(json!(["office", "lab", "away", "lab"])).await;
    assert_eq!(made.status, 201);
    let session = &made.json()["session"];
    let expected = [("away", "unreachable"), ("lab", "ok"), ("office", "refused")];
    assert_eq!(statuses(session), expected);
    let token = token(&made);
    assert_eq!(&three.lab.get(CURRENT, &token).await.ok(), session);
    let list = three.lab.get("/vms", &token).await.ok();
    let items = list["items"].as_array().expect("items");
    assert!(!items.is_empty() && items.iter().all(|vm| vm["backend"] == "lab"));

    let made = three.login(json!("lab")).await;
    assert_eq!(statuses(&made.json()["session"]), [("lab", "ok")]);

    three.login(json!("office")).await.problem(401, "LOGIN_REFUSED");
    // A refusal is an answer, silence is none.
    three.login(json!(["away", "office"])).await.problem(401, "LOGIN_REFUSED");
    let away = three.login(json!("away")).await;
    let problem = away.problem(503, "BACKEND_UNREACHABLE");
    assert_eq!(problem["params"], json!(["away"]));
    assert!(away.header("retry-after").is_some());

    let known = json!(["away", "lab", "office"]);
    for (backend, pointer) in [
        (json!(null), "/backend"),
        (json!([]), "/backend"),
        (json!("nowhere"), "/backend"),
        (json!(["lab", "nowhere"]), "/backend/1"),
    ] {
        let problem = three.login(backend.clone()).await.problem(422, "WRONG_SHAPE");
        assert_eq!((&problem["pointer"], &problem["params"]), (&json!(pointer), &known));
    }
    three.end().await;
}

#[tokio::test]
async fn a_session_is_logged_in_to_further_backends() {
    let three = Three::new().await;
    let token = token(&three.login(json!("lab")).await);
    let lab = &three.lab;
    let add = async |body: Value| lab.gate.post(FURTHER, Some(&token), &body).await;
    let office = |password| json!({"backend": "office", "password": password});

    let refused = add(office(PASSWORD)).await;
    refused.problem(403, "BACKEND_LOGIN_REFUSED");
    assert_eq!(refused.header("www-authenticate"), None, "a client would drop its token");
    add(json!({"backend": "away", "password": PASSWORD})).await.problem(503, "BACKEND_UNREACHABLE");
    let session = lab.get(CURRENT, &token).await.ok();
    let expected = [("away", "unreachable"), ("lab", "ok"), ("office", "refused")];
    assert_eq!(statuses(&session), expected);

    let added = add(office(OTHER_PASSWORD)).await.ok();
    assert_eq!(statuses(&added), [("away", "unreachable"), ("lab", "ok"), ("office", "ok")]);
    let in_office = |answer: &Answer| {
        let list = answer.json();
        let items = list["items"].as_array().map_or(&[][..], Vec::as_slice);
        ["lab", "office"].iter().all(|name| items.iter().any(|host| host["backend"] == *name))
    };
    lab.until("/hosts", &token, in_office).await;

    // A login that fails takes nothing away from one that holds.
    add(office(PASSWORD)).await.problem(403, "BACKEND_LOGIN_REFUSED");
    assert_eq!(statuses(&lab.get(CURRENT, &token).await.ok())[2], ("office", "ok"));
    three.end().await;
}

#[tokio::test]
async fn beyond_the_limit_of_a_user_the_least_recently_used_session_goes() {
    let lab = Lab::with(|_| {}, |config, _| config.auth.max_sessions_per_user = 2).await;
    let (first, second) = (lab.login().await, lab.login().await);
    let reader = lab.gate.login("read-only", PASSWORD).await;
    // Used until that is surely later than the second's login.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(20) {
        lab.get(CURRENT, &first).await.ok();
    }
    let third = lab.login().await;
    lab.get(CURRENT, &second).await.problem(401, "INVALID_TOKEN");
    for token in [&first, &third, &reader] {
        lab.get(CURRENT, token).await.ok();
    }
    lab.until("/livez", "", |_| lab.sim.sessions_open() == 3).await;
    lab.end().await;
}

#[tokio::test]
async fn a_full_gateway_says_so() {
    let lab = Lab::with(|_| {}, |config, _| config.auth.max_sessions = 1).await;
    let token = lab.login().await;
    let body = json!({"username": "read-only", "password": PASSWORD});
    let full = lab.gate.post("/sessions", None, &body).await;
    full.problem(503, "TOO_MANY_SESSIONS");
    assert!(full.header("retry-after").is_some());
    // The first, and the gateway's own that looks whether passwords are looked at.
    assert_eq!(lab.sim.seen("session.login_with_password"), 2, "no password is tried for nothing");
    assert_eq!(logout(&lab.gate, &token).await.status, 204);
    lab.gate.login("read-only", PASSWORD).await;
    lab.end().await;
}

#[tokio::test]
async fn a_session_nobody_uses_ends() {
    let idle = Duration::from_millis(100);
    let lab = Lab::with(|_| {}, |config, _| config.auth.idle_ttl = idle).await;
    let token = lab.login().await;
    // Nobody comes back for it; the pool is rid of it all the same.
    lab.until("/livez", "", |_| lab.sim.sessions_open() == 0).await;
    lab.get(CURRENT, &token).await.problem(401, "INVALID_TOKEN");
    lab.end().await;
}

#[tokio::test]
async fn a_session_ends_in_time_however_much_it_is_used() {
    let ttl = Duration::from_secs(1);
    let lab = Lab::with(|_| {}, |config, _| config.auth.token_ttl = ttl).await;
    let made = lab.login().await;
    let ended = lab.until(CURRENT, &made, |answer| answer.status == 401).await;
    ended.problem(401, "INVALID_TOKEN");
    assert!(ended.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")));
    lab.end().await;
}

#[tokio::test]
async fn tokens_of_another_gateway_or_another_run_are_no_good() {
    let directory = tempfile::tempdir().expect("a directory");
    let key_file = directory.path().join("token.key");
    let lab = Lab::with(|_| {}, |config, _| config.auth.key_file = Some(key_file.clone())).await;
    let mine = lab.login().await;
    lab.get(CURRENT, &mine).await.ok();

    let stranger = Gate::start(&lab.sim.url(), |_| {}).await;
    let theirs = stranger.login("root", PASSWORD).await;
    lab.get(CURRENT, &theirs).await.problem(401, "INVALID_TOKEN");
    stranger.get("/vms", &mine).await.problem(401, "INVALID_TOKEN");

    // The key is the same, but the sessions are gone with the run that knew them.
    let secrets = lab.sim.session_refs();
    stranger.end(&secrets).await;
    lab.gate.end(&secrets).await;
    let gate =
        Gate::start(&lab.sim.url(), |config| config.auth.key_file = Some(key_file.clone())).await;
    gate.get(CURRENT, &mine).await.problem(401, "INVALID_TOKEN");
    logout(&gate, &mine).await.problem(401, "INVALID_TOKEN");
    let token = gate.login("root", PASSWORD).await;
    gate.get(CURRENT, &token).await.ok();
    gate.end(&lab.sim.session_refs()).await;
    lab.sim.stop().await;
}
