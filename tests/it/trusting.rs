//! Pools that let in whoever comes, as xapi does at its own Unix socket: nobody gets in there by a
//! password, whatever the socket is forwarded as and whenever it began to be.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use xengate::config::{BackendConfig, Config, PasswordCheck, SecretSource, User};
use xengate::sim::{Failure, Fault, PASSWORD, RawReply, Sim, SimConfig, SimHandle, Time};

use crate::lab::{Answer, BACKEND, Gate, Lab, logged};
use crate::xend::{USERS_PASSWORD, user};

const LOGIN: &str = "session.login_with_password";

async fn login(gate: &Gate, name: &str, password: &str) -> Answer {
    let body = json!({"username": name, "password": password});
    gate.post("/sessions", None, &body).await
}

/// A pool with a Unix socket, and the address of that.
fn with_socket(directory: &tempfile::TempDir) -> (SimHandle, String) {
    let socket = directory.path().join("xapi");
    let uri = format!("unix:{}", socket.display());
    let config = SimConfig { unix: Some(socket), ..crate::lab::pool() };
    (Sim::start(config).expect("the pool starts"), uri)
}

/// Two users of the gateway's own.
fn users() -> Vec<User> {
    vec![user("ann", "pool-admin"), user("eve", "read-only")]
}

/// A service account; the pool does not look at its password.
fn account(backend: &mut BackendConfig, directory: &tempfile::TempDir) {
    let file = directory.path().join("password");
    std::fs::write(&file, "not even good").expect("a file");
    backend.service_username = Some("xengate".to_owned());
    backend.service_password = Some(SecretSource::File(file));
}

/// Nobody gets in there, and nothing of those who tried is left.
async fn lets_nobody_in(gate: &Gate, sim: &SimHandle) {
    let open = sim.sessions_open();
    for (name, password) in [("root", "anything"), ("root", PASSWORD), ("eve", "")] {
        let refused = login(gate, name, password).await;
        let problem = refused.problem(503, "LOGIN_NOT_CONFIGURED");
        let detail = problem["detail"].as_str().expect("text");
        assert!(detail.contains("any password") && detail.contains("[[users]]"), "{detail}");
        assert_eq!((&problem["retryable"], refused.header("retry-after")), (&json!(false), None));
    }
    let gone = async {
        while sim.sessions_open() > open {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("no session is left");
}

#[tokio::test]
async fn xapis_own_socket_lets_nobody_in_by_a_password() {
    let directory = tempfile::tempdir().expect("a directory");
    let (sim, uri) = with_socket(&directory);
    let gate = Gate::start(&uri, |_| {}).await;
    lets_nobody_in(&gate, &sim).await;
    let log = String::from_utf8_lossy(&logged()).into_owned();
    assert!(log.contains("any password is accepted here"));
    gate.end(&sim.session_refs()).await;
    sim.stop().await;
}

#[tokio::test]
async fn whatever_forwards_to_it_lets_nobody_in_either() {
    for port in ["http://127.0.0.1", "http://localhost"] {
        let sim = Sim::start(SimConfig { trusting: true, ..crate::lab::pool() });
        let sim = sim.expect("the pool starts");
        let gate = Gate::start(&format!("{port}:{}", sim.addr().port()), |_| {}).await;
        lets_nobody_in(&gate, &sim).await;
        gate.end(&sim.session_refs()).await;
        sim.stop().await;
    }
}

#[tokio::test]
async fn the_gateways_own_users_work_there_with_the_service_account() {
    for auth in [None, Some(PasswordCheck::Users)] {
        let directory = tempfile::tempdir().expect("a directory");
        let (sim, uri) = with_socket(&directory);
        let own = |config: &mut Config| {
            config.users = users();
            let backend = config.backends.get_mut(BACKEND).expect("the backend");
            backend.auth = auth;
            account(backend, &directory);
        };
        let gate = Gate::start(&uri, own).await;
        // The service account feeds the mirror, though nobody is logged in.
        gate.until("/readyz", "", |answer| answer.json()["backends"][0]["state"] == "live").await;
        login(&gate, "root", "anything").await.problem(401, "LOGIN_REFUSED");
        login(&gate, "eve", "wrong").await.problem(401, "LOGIN_REFUSED");

        let eve = gate.login("eve", USERS_PASSWORD).await;
        let list = gate.get("/vms?filter=power_state%20=%20Halted", &eve).await.ok();
        let vm = list["items"][0]["uuid"].as_str().expect("a VM").to_owned();
        let start = format!("/vms/{vm}/actions/start");
        let denied = gate.post(&start, Some(&eve), &json!({})).await;
        denied.problem(403, "RBAC_PERMISSION_DENIED");
        let label = json!({"name_label": "eve's"});
        let patch = gate.request(Method::PATCH, &format!("/vms/{vm}")).bearer_auth(&eve);
        gate.send(patch.json(&label)).await.problem(403, "RBAC_PERMISSION_DENIED");
        let permissions = gate.get("/sessions/current/permissions", &eve).await.ok();
        assert_eq!(permissions["backends"][0]["role"], "read-only", "{permissions}");
        assert_eq!(permissions["backends"][0]["is_local_superuser"], false);
        assert_eq!(sim.seen("Async.VM.start") + sim.seen("VM.set_name_label"), 0, "not even tried");

        let ann = gate.login("ann", USERS_PASSWORD).await;
        let started =
            gate.request(Method::POST, &start).bearer_auth(&ann).header("prefer", "wait=20");
        gate.send(started.json(&json!({}))).await.ok();
        assert!(sim.originators().contains(&"xengate/ann".to_owned()), "{:?}", sim.originators());
        gate.end(&sim.session_refs()).await;
        assert_eq!(sim.sessions_open(), 0, "the gateway logs out when it ends");
        sim.stop().await;
    }
}

#[tokio::test]
async fn own_users_need_an_account_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let (sim, uri) = with_socket(&directory);
    let gate = Gate::start(&uri, |config| config.users = users()).await;
    login(&gate, "eve", USERS_PASSWORD).await.problem(503, "LOGIN_NOT_CONFIGURED");
    gate.end(&sim.session_refs()).await;
    sim.stop().await;
}

/// Opens the pool's port again, once it is closed.
async fn listen_again(sim: &SimHandle) {
    let opened = async {
        while sim.listen_again().is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), opened).await.expect("the same port");
}

#[tokio::test]
async fn what_a_host_was_says_nothing_of_what_it_has_become() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    lab.get("/vms", &token).await.ok();
    for _ in 0..2 {
        // Restarted, it lets in whoever comes …
        lab.sim.stop_listening();
        lab.sim.trust_anybody(true);
        listen_again(&lab.sim).await;
        let refused = async || {
            let answer = login(&lab.gate, "root", "anything").await;
            answer.status == 503 && answer.json()["code"] == "LOGIN_NOT_CONFIGURED"
        };
        let until = async {
            // The host is left alone for a moment after it could not be reached.
            while !refused().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), until).await.expect("nobody gets in");
        let further = json!({"backend": BACKEND, "username": "eve", "password": "anything"});
        let further = lab.gate.post("/sessions/current/backends", Some(&token), &further).await;
        assert_ne!(further.status, 200, "{}", further.text());
        assert_ne!(login(&lab.gate, "root", PASSWORD).await.status, 201);

        // … and restarted once more it looks at passwords again.
        lab.sim.stop_listening();
        lab.sim.trust_anybody(false);
        listen_again(&lab.sim).await;
        let until = async {
            while login(&lab.gate, "root", PASSWORD).await.status != 201 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), until).await.expect("a login");
    }
    lab.end().await;
}

#[tokio::test]
async fn a_further_login_is_no_way_in_either() {
    let trusting = Sim::start(SimConfig { seed: 2, trusting: true, ..crate::lab::pool() });
    let trusting = trusting.expect("the pool starts");
    let lab = Lab::with(
        |_| {},
        |config, _| {
            let backend = BackendConfig::new(vec![trusting.url()]);
            config.backends.insert("trusting".to_owned(), backend);
        },
    )
    .await;
    let body = json!({"username": "root", "password": PASSWORD, "backend": BACKEND});
    let made = lab.gate.post("/sessions", None, &body).await;
    let token = made.json()["token"].as_str().expect("a token").to_owned();
    for username in ["root", "eve"] {
        let body = json!({"username": username, "password": "anything", "backend": "trusting"});
        let refused = lab.gate.post("/sessions/current/backends", Some(&token), &body).await;
        refused.problem(503, "LOGIN_NOT_CONFIGURED");
    }
    let body = json!({"username": "root", "password": PASSWORD, "backend": [BACKEND, "trusting"]});
    let both = lab.gate.post("/sessions", None, &body).await.json();
    let statuses = both["session"]["backends"].as_array().expect("a list");
    let status =
        |name: &str| statuses.iter().find(|one| one["name"] == name).map(|one| &one["status"]);
    assert_eq!(status(BACKEND), Some(&Value::from("ok")));
    assert_ne!(status("trusting"), Some(&Value::from("ok")), "{both}");
    let secrets: Vec<String> =
        lab.sim.session_refs().into_iter().chain(trusting.session_refs()).collect();
    lab.gate.end(&secrets).await;
    assert_eq!((lab.sim.sessions_open(), trusting.sessions_open()), (0, 0));
    lab.sim.stop().await;
    trusting.stop().await;
}

#[tokio::test]
async fn the_first_login_waits_for_the_refusal_and_the_next_do_not() {
    let delay = Duration::from_secs(5);
    let lab = Lab::with(|sim| (sim.time, sim.refusal_delay) = (Time::Held, delay), |_, _| {}).await;
    let mut first = Box::pin(login(&lab.gate, "root", PASSWORD));
    tokio::select! {
        answer = first.as_mut() => panic!("let in before anything was refused: {}", answer.status),
        _ = lab.until("/livez", "", |_| lab.sim.seen(LOGIN) == 2) => {}
    }
    tokio::select! {
        answer = first.as_mut() => panic!("let in before anything was refused: {}", answer.status),
        _ = lab.until("/livez", "", |_| lab.sim.sessions_open() == 1) => {}
    }
    lab.sim.advance(delay);
    assert_eq!(first.await.status, 201);
    for _ in 0..3 {
        lab.login().await;
    }
    assert_eq!(lab.sim.seen(LOGIN), 5, "one made-up login for all of them");
    lab.end().await;
}

#[tokio::test]
async fn while_the_pool_cannot_be_asked_nobody_gets_in() {
    let lab = Lab::new().await;
    let page = RawReply::http("500 Internal Error", "text/html", "<html>");
    for (fault, status) in [
        (Fault::Fail(Failure::new("HOST_STILL_BOOTING", [""; 0])), 503),
        (Fault::Refuse, 503),
        (Fault::Reply(page), 502),
    ] {
        lab.sim.fault(Some(LOGIN), fault, None);
        let answer = login(&lab.gate, "root", PASSWORD).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        lab.sim.clear_faults();
    }
    lab.until("/livez", "", |_| lab.sim.sessions_open() == 0).await;
    lab.login().await;
    lab.end().await;
}
