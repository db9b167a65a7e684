//! Passwords in what xend and pools tell of objects: nobody is shown them, and nobody who writes back
//! what was shown destroys them.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use xengate::config::Kind;
use xengate::sim::xend::{Power, Xend, XendConfig, XendHandle};

use super::{USER, USERS_PASSWORD, gate};
use crate::lab::{Answer, Gate, Lab};

const PASSWORD: &str = "s3cr3t-of-the-console";

async fn house(kind: Kind) -> (XendHandle, Gate, String) {
    let xend = Xend::start(XendConfig { vms: 20, ..XendConfig::default() }).expect("it starts");
    for vm in xend.vms() {
        assert!(xend.set_vncpasswd(&vm.uuid, PASSWORD));
    }
    let uri = if kind == Kind::Legacy { xend.legacy_url() } else { xend.api_url() };
    let gate = gate(&uri, kind, |_| {}).await;
    let token = gate.login(USER, USERS_PASSWORD).await;
    (xend, gate, token)
}

async fn read(gate: &Gate, path: &str, token: &str, accept: &str) -> Answer {
    let request = gate.request(Method::GET, path).bearer_auth(token).header("accept", accept);
    gate.send(request).await
}

async fn patch(gate: &Gate, path: &str, token: &str, body: &Value) -> Answer {
    gate.send(gate.request(Method::PATCH, path).bearer_auth(token).json(body)).await
}

#[tokio::test]
async fn no_answer_has_the_password_of_a_console() {
    for kind in [Kind::Xend, Kind::Legacy] {
        let (xend, gate, token) = house(kind).await;
        let vm = xend.vms().into_iter().find(|vm| vm.name.ends_with("0007")).expect("HVM");
        let path = format!("/vms/{}", vm.uuid);
        let mut shown = 0;
        for (path, accept) in [
            (path.as_str(), "application/json"),
            (path.as_str(), "application/sxp"),
            ("/vms?limit=100", "application/json"),
            ("/vms?limit=100", "application/x-ndjson"),
            ("/vms?limit=100", "text/csv"),
            ("/vms?limit=100", "text/plain"),
            ("/vms?view=long", "text/plain"),
            ("/vms?expand=consoles", "application/json"),
            ("/consoles?limit=100", "application/json"),
            ("/consoles?limit=100", "text/csv"),
        ] {
            let answer = read(&gate, path, &token, accept).await;
            if accept == "application/sxp" && kind == Kind::Xend {
                continue;
            }
            assert_eq!(answer.status, StatusCode::OK, "{kind:?} {path} {accept}");
            let text = answer.text();
            assert!(!text.contains(PASSWORD), "{kind:?} {path} {accept}");
            shown += usize::from(text.contains("vncpasswd") && text.contains("***"));
        }
        assert!(shown >= 3, "{kind:?}: what is hidden is marked: {shown}");
        let complaint = format!("cannot start (vfb (vncpasswd {PASSWORD}) (vnc 1))");
        assert!(xend.set_complaint(&vm.uuid, &complaint));
        let request = gate.request(Method::POST, &format!("{path}/actions/start"));
        let request = request.bearer_auth(&token).header("prefer", "wait=30").json(&json!({}));
        let failed = gate.send(request).await;
        assert!(failed.status.is_server_error(), "{}", failed.text());
        assert!(failed.text().contains("(vncpasswd ***) (vnc 1)"), "{}", failed.text());
        gate.end(&[PASSWORD.to_owned()]).await;
    }
}

#[tokio::test]
async fn who_writes_back_what_was_shown_destroys_no_password() {
    let (xend, gate, token) = house(Kind::Xend).await;
    let vm = xend.vm_that_is(Power::Halted).expect("a VM").uuid;
    for (key, value) in [("app_Password", "pw"), ("note", "the password: 7")] {
        assert!(xend.set_other_config(&vm, key, value.as_bytes()));
    }
    let path = format!("/vms/{vm}");
    let kept = |key: &str| xend.other_config(&vm, key);
    let shown = gate.get(&path, &token).await.ok()["other_config"].clone();
    assert_eq!(shown["app_Password"], "***");
    assert_eq!(shown["note"], "the password: 7", "free text stays");
    let mut edited = shown.clone();
    edited["note"] = json!("other");
    let answer = patch(&gate, &path, &token, &json!({"other_config": edited})).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!((kept("app_Password"), kept("note")), (Some("pw".into()), Some("other".into())));
    let unknown = json!({"other_config": {"other_secret": "***"}});
    let refused = patch(&gate, &path, &token, &unknown).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.text());
    let action = gate.request(Method::POST, &format!("{path}/actions/set_other_config"));
    let refused = gate.send(action.bearer_auth(&token).json(&json!({"value": shown}))).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.text());
    assert_eq!(kept("app_Password"), Some("pw".into()));
    let new = json!({"other_config": {"app_Password": "new", "note": null}});
    assert_eq!(patch(&gate, &path, &token, &new).await.status, StatusCode::OK);
    assert_eq!((kept("app_Password"), kept("note")), (Some("new".into()), None));
    gate.end(&[]).await;
}

#[tokio::test]
async fn a_pools_passwords_are_hidden_and_kept_as_well() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let vms = lab.get("/vms?filter=not%20is_control_domain&limit=1", &token).await.ok();
    let uuid = vms["items"][0]["uuid"].as_str().expect("a uuid").to_owned();
    let path = format!("/vms/{uuid}");
    let new = json!({"other_config": {"join_passwd": PASSWORD, "note": "1"}});
    let answer = patch(&lab.gate, &path, &token, &new).await;
    assert_eq!(answer.json()["other_config"]["join_passwd"], "***", "{}", answer.text());
    let mut shown = answer.json()["other_config"].clone();
    shown["note"] = json!("2");
    let answer = patch(&lab.gate, &path, &token, &json!({"other_config": shown})).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let field = lab.sim.field("VM", &uuid, "other_config");
    let kept = format!("{field:?}");
    assert!(kept.contains(PASSWORD) && !kept.contains("***"), "{kept}");
    let csv = read(&lab.gate, "/vms?limit=1000", &token, "text/csv").await.text();
    assert!(csv.contains("join_passwd") && !csv.contains(PASSWORD));
    lab.end().await;
}

#[tokio::test]
async fn names_obey_nobody_in_cells_and_labels() {
    let (xend, gate, token) = house(Kind::Legacy).await;
    let vm = xend.vm_that_is(Power::Running).expect("a VM").uuid;
    assert!(xend.rename(&vm, "a\u{9b}31mb\u{202e}cd"));
    let cleaned = "a\u{fffd}31mb\u{fffd}cd";
    for (path, accept) in [("/vms?limit=100", "text/csv"), ("/vms?limit=100", "text/plain")] {
        let text = read(&gate, path, &token, accept).await.text();
        assert!(text.contains(cleaned), "{accept}: {text}");
        assert!(!text.contains('\u{202e}') && !text.contains('\u{9b}'), "{accept}");
    }
    gate.end(&[]).await;
}
