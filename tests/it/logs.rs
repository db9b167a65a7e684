//! The log at INFO: who logs in and out, and who changes what, from where, with what outcome.

use std::net::{IpAddr, Ipv4Addr};

use reqwest::Method;
use serde_json::json;
use xengate::sim::{Failure, Fault, PASSWORD};

use crate::lab::{Lab, logged};

/// What has been logged since, lines with all of these words.
fn lines(words: &[&str]) -> Vec<String> {
    let log = String::from_utf8_lossy(&logged()).into_owned();
    let fits = |line: &&str| words.iter().all(|word| line.contains(word));
    log.lines().filter(fits).map(str::to_owned).collect()
}

/// The address of a documentation network, other than those of tests beside this one.
const CLIENT: &str = "198.51.100.77";

#[tokio::test]
async fn logins_logouts_and_writes_are_logged_with_user_and_client() {
    let lab = Lab::with(
        |_| {},
        |config, _| config.trusted_proxies = vec![IpAddr::V4(Ipv4Addr::LOCALHOST).into()],
    )
    .await;
    let warm = lab.login().await;
    let from = |request: reqwest::RequestBuilder| request.header("X-Forwarded-For", CLIENT);
    let login = |password: &str| {
        let body = json!({"username": "root", "password": password});
        from(lab.gate.request(Method::POST, "/sessions")).json(&body)
    };
    let refused = lab.gate.send(login("swordfish-77")).await;
    refused.problem(401, "LOGIN_REFUSED");
    assert_eq!(lines(&["login failed", CLIENT, "root"]).len(), 1);
    let token = lab.gate.send(login(PASSWORD)).await;
    assert_eq!(token.status, 201);
    let token = token.json()["token"].as_str().expect("a token").to_owned();
    assert_eq!(lines(&["logged in", CLIENT, "root"]).len(), 1);

    let list = lab.get("/vms?filter=power_state%20%3D%20Halted&limit=1", &warm).await.ok();
    let vm = list["items"][0]["uuid"].as_str().expect("one is halted").to_owned();
    let write = async |method: Method, path: String, body: serde_json::Value| {
        let request = from(lab.gate.request(method, &path)).bearer_auth(&token);
        lab.gate.send(request.header("Prefer", "wait=30").json(&body)).await
    };
    let start = format!("/vms/{vm}/actions/start");
    write(Method::POST, start.clone(), json!({})).await.ok();
    write(Method::POST, start, json!({})).await.problem(409, "VM_BAD_POWER_STATE");
    let description = "a text that is not to be logged";
    let changes = json!({"name_description": description});
    write(Method::PATCH, format!("/vms/{vm}"), changes).await.ok();
    let network = write(Method::POST, "/networks".to_owned(), json!({"name_label": "n"})).await;
    let network = network.json()["uuid"].as_str().expect("a uuid").to_owned();
    let gone = write(Method::DELETE, format!("/networks/{network}"), json!({})).await;
    assert_eq!(gone.status, 204);
    for words in [
        ["POST /vms/{uuid}/actions/start", &*vm, "done"],
        ["POST /vms/{uuid}/actions/start", &*vm, "VM_BAD_POWER_STATE"],
        ["PATCH /vms/{uuid}", &*vm, "done"],
        ["POST /networks", &*network, "done"],
        ["DELETE /networks/{uuid}", &*network, "done"],
    ] {
        let found = lines(&[&words[..], &["INFO", "write", "root", CLIENT, "request_id"]].concat());
        assert_eq!(found.len(), 1, "{words:?}: {found:?}");
    }

    let out = from(lab.gate.request(Method::DELETE, "/sessions/current")).bearer_auth(&token);
    assert_eq!(lab.gate.send(out).await.status, 204);
    assert_eq!(lines(&["logged out", CLIENT, "root"]).len(), 1);
    for secret in [&*token, PASSWORD, "swordfish-77", description, "OpaqueRef:"] {
        let found = lines(&["INFO", CLIENT, secret]);
        assert!(found.is_empty(), "{found:?}");
    }
    lab.end().await;
}

#[tokio::test]
async fn each_line_of_a_request_bears_its_id_and_user() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let list = lab.get("/vms?filter=power_state%20%3D%20Halted&limit=1", &token).await.ok();
    let vm = list["items"][0]["uuid"].as_str().expect("one is halted").to_owned();
    let ask = async |id: &str, method: Method, path: &str, body: serde_json::Value| {
        let request = lab.gate.request(method, path).bearer_auth(&token);
        let request = request.header("X-Request-Id", id).header("Prefer", "wait=30");
        lab.gate.send(request.json(&body)).await
    };
    // A task that fails, and what was logged until then in other tasks of the gateway.
    let bad =
        ask("spans-pause", Method::POST, &format!("/vms/{vm}/actions/pause"), json!({})).await;
    bad.problem(409, "VM_BAD_POWER_STATE");
    let of = "request{request_id=\"spans-pause\" operation=\"POST /vms/{uuid}/actions/pause\" \
              user=\"root\"}";
    for words in
        [["task ended", "VM_BAD_POWER_STATE"], ["carried out", "started"], [": write ", "refused"]]
    {
        let found = lines(&[&words[..], &[of]].concat());
        assert_eq!(found.len(), 1, "{words:?}: {found:?}");
    }
    // A task that goes on after the answer, and a reading request.
    ask("spans-start", Method::POST, &format!("/vms/{vm}/actions/start"), json!({})).await.ok();
    assert_eq!(lines(&["task ended", "request_id=\"spans-start\"", "Async.VM.start"]).len(), 1);
    ask("spans-read", Method::GET, &format!("/vms/{vm}"), json!({})).await.ok();
    let of = "request{request_id=\"spans-read\" operation=\"GET /vms/{uuid}\" user=\"root\"}";
    assert_eq!(lines(&[of, "DEBUG", &*vm]).len(), 1);
    // Nobody's lines are taken for a request's.
    assert!(!lines(&["xenapi_mirror::inventory::mirror"]).is_empty());
    assert!(lines(&["xenapi_mirror::inventory::mirror", "request{"]).is_empty());
    lab.end().await;
}

#[tokio::test]
async fn a_login_that_fails_is_logged_with_its_request() {
    let lab = Lab::new().await;
    lab.login().await;
    let full = Fault::Fail(Failure::new("HOST_STILL_BOOTING", [] as [&str; 0]));
    lab.sim.fault(Some("session.login_with_password"), full, None);
    let body = json!({"username": "root", "password": PASSWORD});
    let request = lab.gate.request(Method::POST, "/sessions").header("X-Request-Id", "spans-login");
    lab.gate.send(request.json(&body)).await;
    let of = "request{request_id=\"spans-login\" operation=\"POST /sessions\"}";
    assert!(!lines(&["WARN", "a login failed", of]).is_empty(), "{:?}", lines(&["spans-login"]));
    lab.end().await;
}

#[tokio::test]
async fn the_access_line_is_a_setting_and_names_the_client() {
    let lab = Lab::with(
        |_| {},
        |config, _| {
            config.log.access = true;
            config.trusted_proxies = vec![IpAddr::V4(Ipv4Addr::LOCALHOST).into()];
        },
    )
    .await;
    let token = lab.login().await;
    let client = "198.51.100.78";
    let request = lab.gate.request(Method::GET, "/vms?limit=3&fields=name_label");
    let request = request.header("X-Forwarded-For", client).bearer_auth(&token);
    lab.gate.send(request).await.ok();
    let found = lines(&["INFO", "request", client, "root", "/vms", "200"]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(!found[0].contains("name_label"), "a query is logged: {found:?}");
    lab.end().await;
}
