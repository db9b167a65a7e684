//! xend may accept anything; a gateway in front of it must not.

use serde_json::json;
use xengate::config::{Kind, PasswordCheck};

use super::server::{Server, bare, failure, recorded, success};
use super::{USER, USERS_PASSWORD, gate, gate_with};
use crate::lab::{Answer, Gate};

/// The session that the recorded xend gives to everybody.
const SESSION: &str = "e82f69ba-0c19-8b44-1b42-a1861412d9a4";

async fn login(gate: &Gate, name: &str, password: &str) -> Answer {
    let body = json!({"username": name, "password": password});
    gate.post("/sessions", None, &body).await
}

#[tokio::test]
async fn users_are_the_gateways_own_and_their_roles_count() {
    for (server, kind) in [
        (Server::xen_api().await, Kind::Xend),
        (Server::legacy().await, Kind::Legacy),
        (Server::xen_api().await, Kind::Auto),
        (Server::legacy().await, Kind::Auto),
    ] {
        let gate = gate(&server.url, kind, |_| {}).await;
        login(&gate, USER, "wrong").await.problem(401, "LOGIN_REFUSED");
        login(&gate, "nobody", USERS_PASSWORD).await.problem(401, "LOGIN_REFUSED");
        let eve = gate.login("eve", USERS_PASSWORD).await;
        let list = gate.get("/vms", &eve).await.ok();
        let vm = list["items"][1]["uuid"].as_str().expect("a VM").to_owned();
        let before = server.asked().len();
        let path = format!("/vms/{vm}/actions/start");
        let refused = gate.post(&path, Some(&eve), &json!({})).await;
        refused.problem(403, "RBAC_PERMISSION_DENIED");
        let started = ["VM.start", "xend.domain.start"];
        let sent = server.asked()[before..].iter().any(|call| started.contains(&call.as_str()));
        assert!(!sent, "nothing was sent");
        let permissions = gate.get("/sessions/current/permissions", &eve).await.ok();
        assert_eq!(permissions["backends"][0]["role"], "read-only", "{permissions}");
        assert!(!server.bodies().contains(USERS_PASSWORD), "xend learns no user's password");
        gate.end(&[SESSION.to_owned(), USERS_PASSWORD.to_owned()]).await;
    }
}

#[tokio::test]
async fn without_users_and_without_authentication_nobody_gets_in() {
    for (server, kind) in
        [(Server::xen_api().await, Kind::Xend), (Server::legacy().await, Kind::Auto)]
    {
        let gate = gate_with(&server.url, kind, |_| {}, |config| config.users.clear()).await;
        let refused = login(&gate, "anyone", "anything").await;
        let problem = refused.problem(503, "LOGIN_NOT_CONFIGURED");
        let detail = problem["detail"].as_str().expect("text");
        assert!(detail.contains("[[users]]") && detail.contains("hash-password"), "{detail}");
        assert_eq!(problem["retryable"], false);
        gate.end(&[]).await;
    }
}

#[tokio::test]
async fn a_listener_that_takes_any_password_is_no_check() {
    let server = Server::xen_api().await;
    let backend = |config: &mut xengate::config::BackendConfig| {
        config.auth = Some(PasswordCheck::Backend);
    };
    let gate = gate(&server.url, Kind::Xend, backend).await;
    for _ in 0..2 {
        let refused = login(&gate, "root", "anything").await;
        let problem = refused.problem(503, "LOGIN_NOT_CONFIGURED");
        assert!(problem["detail"].as_str().expect("text").contains("any password"), "{problem}");
    }
    assert!(!server.bodies().contains("<string>anything</string>"), "it was not even tried");
    let ready = gate.send(gate.request(reqwest::Method::GET, "/readyz")).await.json();
    assert_eq!(ready["backends"][0]["state"], "waiting", "{ready}");
    gate.end(&[SESSION.to_owned()]).await;
}

#[tokio::test]
async fn a_listener_that_checks_decides_until_it_does_so_no_more() {
    let server = Server::xen_api().await;
    let refused = || failure(&["SESSION_AUTHENTICATION_FAILED"]);
    server.says("session.login_with_password", refused());
    server.says_if("session.login_with_password", "good", success(SESSION));
    let backend = |config: &mut xengate::config::BackendConfig| {
        config.auth = Some(PasswordCheck::Backend);
    };
    let gate = gate(&server.url, Kind::Xend, backend).await;
    login(&gate, "root", "bad").await.problem(401, "LOGIN_REFUSED");
    let answer = login(&gate, "root", "good").await;
    assert_eq!(answer.status, 201, "{:?}", answer.json());
    let token = answer.json()["token"].as_str().expect("a token").to_owned();
    assert_eq!(gate.get("/vms", &token).await.ok()["total"], 10);

    // Restarted with another configuration, xend knows no session any more and takes anything.
    server.says_if_no_more();
    server.says("session.login_with_password", recorded("007-api-login"));
    server.says("session.get_uuid", recorded("040-api-dead-session"));
    login(&gate, "root", "bad").await.problem(503, "LOGIN_NOT_CONFIGURED");
    gate.end(&[SESSION.to_owned()]).await;
}

#[tokio::test]
async fn a_logout_makes_no_login_try_a_made_up_password_again() {
    let server = Server::xen_api().await;
    server.says("session.login_with_password", failure(&["SESSION_AUTHENTICATION_FAILED"]));
    server.says_if("session.login_with_password", "good", success(SESSION));
    let backend = |config: &mut xengate::config::BackendConfig| {
        config.auth = Some(PasswordCheck::Backend);
    };
    let gate = gate(&server.url, Kind::Xend, backend).await;
    let mut tried = Vec::new();
    for _ in 0..3 {
        let token = gate.login("root", "good").await;
        tried.push(server.count("session.login_with_password"));
        gate.get("/vms", &token).await.ok();
        let logout = gate.request(reqwest::Method::DELETE, "/sessions/current");
        assert_eq!(gate.send(logout.bearer_auth(&token)).await.status, 204);
        gate.get("/vms", &token).await.problem(401, "INVALID_TOKEN");
    }
    // The gateway's own look at its start may come beside the first login's.
    assert!((2..=3).contains(&tried[0]), "the first, behind one that was made up: {tried:?}");
    assert_eq!(tried[2], tried[0] + 2, "the others and no more: {tried:?}");
    assert_eq!(server.count("session.logout"), 0, "the gateway keeps it for the next ones");
    let server_after = server;
    gate.end(&[SESSION.to_owned()]).await;
    assert_eq!(server_after.count("session.logout"), 1, "until it ends itself");
}

#[tokio::test]
async fn until_it_could_be_tried_nobody_gets_in() {
    let server = Server::xen_api().await;
    server.says("session.login_with_password", bare("<nil/>"));
    let backend = |config: &mut xengate::config::BackendConfig| {
        config.auth = Some(PasswordCheck::Backend);
    };
    let gate = gate(&server.url, Kind::Xend, backend).await;
    login(&gate, "root", "good").await.problem(502, "BAD_REPLY");
    assert!(!server.bodies().contains("<string>good</string>"), "it was not even tried");
    gate.end(&[]).await;
}

#[tokio::test]
async fn a_restarted_xend_is_logged_in_to_again() {
    let server = Server::xen_api().await;
    let gate = gate(&server.url, Kind::Xend, |_| {}).await;
    let token = gate.login(USER, USERS_PASSWORD).await;
    assert_eq!(gate.get("/vms", &token).await.ok()["total"], 10);
    let before = server.count("session.login_with_password");
    // The old session is no more; the next one is another.
    let another = "11111111-2222-3333-4444-666666666666";
    for call in ["VM.get_all_records", "VM_metrics.get_all_records", "VM.pause"] {
        server.says_if(call, SESSION, recorded("040-api-dead-session"));
    }
    server.says("session.login_with_password", success(another));
    server.says("VM.pause", recorded("074-api-VM-pause"));
    let path = "/vms/87007173-4e66-c8ae-7ea5-6034004799e1/actions/pause";
    let request = gate.request(reqwest::Method::POST, path).bearer_auth(&token);
    let paused = gate.send(request.header("prefer", "wait=20").json(&json!({}))).await;
    assert_eq!(paused.ok()["status"], "success");
    assert_eq!(server.count("VM.pause"), 2, "refused once, and then done");
    assert!(server.count("session.login_with_password") > before);
    gate.end(&[SESSION.to_owned(), another.to_owned()]).await;
}

#[tokio::test]
async fn a_xend_that_is_taken_for_xapi_lets_nobody_in() {
    let server = Server::xen_api().await;
    let gate = gate(&format!("{}/RPC2", server.url), Kind::Xapi, |_| {}).await;
    login(&gate, "anyone", "anything").await.problem(502, "BAD_REPLY");
    gate.end(&[SESSION.to_owned()]).await;
}
