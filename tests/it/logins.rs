//! Logins at pools as they are: slow to refuse, slower with a directory, old, and with reasons of
//! their own.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use xengate::config::BackendConfig;
use xengate::sim::{Failure, Fault, PASSWORD, RawReply, Sim, SimConfig, Time, User};

use crate::lab::{Answer, BACKEND, Gate, Lab};

const LOGIN: &str = "session.login_with_password";

async fn login(gate: &Gate, name: &str, password: &str) -> Answer {
    let body = json!({"username": name, "password": password});
    gate.post("/sessions", None, &body).await
}

/// A pool whose clock a test holds, where refusals take as long as XAPI's.
async fn held(login_timeout: Duration) -> Lab {
    Lab::with(
        |sim| {
            (sim.time, sim.refusal_delay) = (Time::Held, Duration::from_secs(5));
            sim.users.push(User::superuser("LAB\\ann", PASSWORD));
        },
        |config, _| {
            let backend = config.backends.get_mut(BACKEND).expect("the backend");
            backend.login_timeout = login_timeout;
        },
    )
    .await
}

/// Moves the pool's time on until `work` is done.
async fn with_time<T>(lab: &Lab, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(Duration::from_millis(20)) => lab.sim.advance(Duration::from_secs(1)),
        }
    }
}

#[tokio::test]
async fn a_slow_answer_is_an_answer() {
    let lab = held(Duration::from_secs(30)).await;
    with_time(&lab, login(&lab.gate, "LAB\\ann", "wrong")).await.problem(401, "LOGIN_REFUSED");
    lab.sim.slow_down("LAB\\ann", Duration::from_secs(22));
    let slow = with_time(&lab, login(&lab.gate, "LAB\\ann", PASSWORD)).await;
    assert_eq!(slow.status, 201, "{}", slow.text());
    lab.end().await;
}

#[tokio::test]
async fn who_takes_too_long_is_told_so_and_logged_out_when_the_session_comes() {
    let lab = held(Duration::from_millis(300)).await;
    lab.sim.slow_down("LAB\\ann", Duration::from_secs(60));
    let late = login(&lab.gate, "LAB\\ann", PASSWORD).await;
    let problem = late.problem(504, "BACKEND_TIMEOUT");
    assert!(problem["detail"].as_str().expect("text").contains("300ms"), "{problem}");
    // The time that is left for it in the background is twice that, so it is on its way.
    lab.sim.advance(Duration::from_secs(60));
    lab.until("/livez", "", |_| lab.sim.session_refs().len() == 1).await;
    lab.until("/livez", "", |_| lab.sim.sessions_open() == 0).await;
    lab.end().await;
}

#[tokio::test]
async fn the_slow_do_not_shut_out_the_quick() {
    let lab = held(Duration::from_secs(30)).await;
    // What is known from now on: passwords are looked at.
    assert_eq!(with_time(&lab, login(&lab.gate, "root", PASSWORD)).await.status, 201);
    let slow: Vec<String> = (0..7).map(|n| format!("LAB\\user{n}")).collect();
    for name in &slow {
        lab.sim.put_user(User::superuser(name, PASSWORD));
        lab.sim.slow_down(name, Duration::from_secs(15));
    }
    let before = lab.sim.seen(LOGIN);
    let logins = slow.iter().map(|name| login(&lab.gate, name, PASSWORD));
    let mut waiting = Box::pin(futures_util::future::join_all(logins));
    let quick = async {
        lab.until("/livez", "", |_| lab.sim.seen(LOGIN) >= before + 7).await;
        // The pool's time stands still: whoever waits for it waits on.
        login(&lab.gate, "read-only", PASSWORD).await
    };
    let root = tokio::select! {
        root = quick => root,
        _ = waiting.as_mut() => panic!("the pool's time stands still"),
    };
    assert_eq!(root.status, 201, "{}", root.text());
    for answer in with_time(&lab, waiting).await {
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    lab.end().await;
}

#[tokio::test]
async fn refused_not_allowed_and_failed_are_three_answers() {
    let lab = Lab::with(|sim| sim.users.push(User::without_role("bob", PASSWORD)), |_, _| {}).await;
    login(&lab.gate, "bob", "wrong").await.problem(401, "LOGIN_REFUSED");
    for _ in 0..5 {
        // It is no guess, so nobody has to wait for it.
        let answer = login(&lab.gate, "bob", PASSWORD).await;
        let problem = answer.problem(403, "RBAC_PERMISSION_DENIED");
        let detail = problem["detail"].as_str().expect("text");
        assert!(detail.contains("no role in the pool"), "{detail}");
        assert_eq!((&problem["retryable"], answer.header("retry-after")), (&json!(false), None));
    }
    for (code, status, retryable) in [
        ("SESSION_AUTHORIZATION_FAILED", 403, false),
        ("AUTH_SERVICE_ERROR", 502, false),
        ("AUTH_DISABLED", 502, false),
        ("INVALID_VALUE", 502, false),
        ("INTERNAL_ERROR", 502, false),
        ("HOST_STILL_BOOTING", 503, true),
    ] {
        let failure = Failure::new(code, ["sentinel-in-a-parameter"]);
        lab.sim.fault(Some(LOGIN), Fault::Fail(failure), None);
        let answer = login(&lab.gate, "root", PASSWORD).await;
        let problem = answer.problem(status, code);
        assert_eq!(problem["retryable"], retryable, "{problem}");
        assert_eq!(answer.header("retry-after").is_some(), retryable, "{problem}");
        assert!(!answer.text().contains("sentinel-in-a"), "{problem}");
        assert!(!problem["detail"].as_str().expect("text").contains("reached"), "{problem}");
        lab.sim.clear_faults();
    }
    let token = lab.login().await;
    let body = json!({"backend": BACKEND, "username": "bob", "password": PASSWORD});
    let further = lab.gate.post("/sessions/current/backends", Some(&token), &body).await;
    further.problem(403, "RBAC_PERMISSION_DENIED");
    lab.get("/vms", &token).await.ok();
    lab.end().await;
}

#[tokio::test]
async fn each_of_several_backends_says_how_it_stands() {
    let other = SimConfig {
        seed: 2,
        users: vec![User::without_role("root", PASSWORD)],
        ..crate::lab::pool()
    };
    let other = Sim::start(other).expect("the pool starts");
    let lab = Lab::with(
        |_| {},
        |config, _| {
            let backend = BackendConfig::new(vec![other.url()]);
            config.backends.insert("other".to_owned(), backend);
        },
    )
    .await;
    let body = json!({"username": "root", "password": PASSWORD, "backend": [BACKEND, "other"]});
    let made = lab.gate.post("/sessions", None, &body).await.json();
    let expected =
        json!([{"name": BACKEND, "status": "ok"}, {"name": "other", "status": "forbidden"}]);
    assert_eq!(made["session"]["backends"], expected, "{made}");
    lab.end().await;
    other.stop().await;
}

#[tokio::test]
async fn servers_of_all_ages_take_logins() {
    for (login_params, xml_only) in [(4, true), (3, false), (3, true), (2, true)] {
        let lab =
            Lab::with(|sim| (sim.login_params, sim.xml_only) = (login_params, xml_only), |_, _| {})
                .await;
        for _ in 0..2 {
            let token = lab.login().await;
            lab.until("/vms", &token, |answer| answer.status == 200).await;
        }
        let asked = lab.sim.seen(LOGIN);
        lab.login().await;
        assert_eq!(lab.sim.seen(LOGIN), asked + 1, "it is known how many parameters it takes");
        lab.end().await;
    }
}

#[tokio::test]
async fn an_error_of_an_old_server_leaves_no_session_behind() {
    let lab = Lab::with(|sim| sim.xml_only = true, |_, _| {}).await;
    let page = RawReply::http("500 Internal Error", "text/html", "<html><body>500</body></html>");
    for call in ["event.from", "VM.start", "pool.get_all"] {
        lab.sim.fault(Some(call), Fault::Reply(page.clone()), None);
        for _ in 0..3 {
            let token = login(&lab.gate, "root", PASSWORD).await.json()["token"].clone();
            let token = token.as_str().expect("a token");
            let asked = lab.sim.seen(call);
            if call == "event.from" {
                lab.until("/livez", "", |_| lab.sim.seen(call) > asked).await;
            }
            let left = lab.gate.request(Method::DELETE, "/sessions/current").bearer_auth(token);
            assert_eq!(lab.gate.send(left).await.status, 204);
        }
        lab.until("/livez", "", |_| lab.sim.sessions_open() == 0).await;
        lab.sim.clear_faults();
    }
    lab.end().await;
}
