//! Who may do what: every operation of the document, as nobody, with a forged token, as a
//! read-only user and as the pool's superuser. A new operation cannot escape it.

use std::collections::HashMap;

use reqwest::Method;
use serde_json::Value;
use xengate::http::openapi::{self, Access, Operation};
use xengate::sim::PASSWORD;

use crate::lab::{Answer, Lab};

/// Operations that would end the session the test works in.
const ENDS_THE_SESSION: &[&str] = &["logout"];

/// A token that nobody signed.
const FORGED: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0.";

/// The uuid of nothing.
const NOTHING: &str = "5bdf5f35-0b92-d5e5-d63b-7b91cb99cef4";

async fn ask(lab: &Lab, operation: &Operation, path: &str, token: Option<&str>) -> Answer {
    let method = Method::from_bytes(operation.method_name().as_bytes()).expect("a method");
    let mut request = lab.gate.request(method.clone(), path);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    // An empty object: what needs more is refused for that, and not for who asks.
    if method == Method::POST || method == Method::PATCH {
        request = request.header("Content-Type", "application/json").body("{}");
    }
    lab.gate.send(request).await
}

/// A path of the operation; with an object that is there, if the pool has one.
fn path_of(operation: &Operation, objects: &HashMap<String, String>) -> (String, bool) {
    let Some((list, _)) = operation.path.split_once("/{uuid}") else {
        return (operation.path.clone(), true);
    };
    match objects.get(list) {
        Some(uuid) => (operation.path.replace("{uuid}", uuid), true),
        None => (operation.path.replace("{uuid}", NOTHING), false),
    }
}

/// An object of each collection that has one.
async fn objects(lab: &Lab, token: &str) -> HashMap<String, String> {
    let mut objects = HashMap::new();
    for operation in openapi::operations().iter().filter(|one| one.method_name() == "GET") {
        if operation.path.contains('{') {
            continue;
        }
        let answer = lab.get(&operation.path, token).await;
        let list: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if let Some(uuid) = list["items"][0]["uuid"].as_str() {
            objects.insert(operation.path.clone(), uuid.to_owned());
        }
    }
    objects
}

#[tokio::test]
async fn nobody_passes_without_a_token_and_nobody_with_a_forged_one() {
    let lab = Lab::new().await;
    lab.login().await;
    let mut tried = 0;
    for operation in openapi::operations() {
        let (path, _) = path_of(operation, &HashMap::new());
        if !matches!(operation.access, Access::Session | Access::Roles(_)) {
            continue;
        }
        for token in [None, Some(FORGED)] {
            let answer = ask(&lab, operation, &path, token).await;
            assert_eq!(answer.status, 401, "{} {path}", operation.method_name());
        }
        tried += 1;
    }
    assert!(tried > 700, "{tried}");
    lab.end().await;
}

#[tokio::test]
async fn a_read_only_user_is_kept_from_what_the_datamodel_keeps_from_one() {
    let lab = Lab::new().await;
    let root = lab.login().await;
    let reader = lab.gate.login("read-only", PASSWORD).await;
    let objects = objects(&lab, &root).await;
    let (mut kept, mut passed) = (0, 0);
    for operation in openapi::operations() {
        let Access::Roles(roles) = operation.access else { continue };
        let (path, is_there) = path_of(operation, &objects);
        if !is_there {
            continue;
        }
        let answer = ask(&lab, operation, &path, Some(&reader)).await;
        let at = format!("{} {path}: {}", operation.method_name(), answer.status);
        assert_ne!(answer.status, 401, "{at}");
        if roles.names().any(|role| role == "read-only") {
            assert_ne!(answer.status, 403, "{at}");
            passed += 1;
        } else if operation.method_name() != "PATCH" {
            // An empty patch asks for nothing.
            assert_eq!(answer.status, 403, "{at} {}", String::from_utf8_lossy(&answer.body));
            kept += 1;
        }
    }
    assert!(kept > 200 && passed > 150, "{kept} kept, {passed} passed");
    lab.end().await;
}

#[tokio::test]
async fn a_superuser_is_never_turned_away() {
    let lab = Lab::new().await;
    let root = lab.login().await;
    let objects = objects(&lab, &root).await;
    for operation in openapi::operations() {
        // Destroying and shutting down what is there is not the point: an object that is not there
        // does as well.
        let reads = operation.method_name() == "GET";
        let none = HashMap::new();
        let (path, _) = path_of(operation, if reads { &objects } else { &none });
        let needs_session = matches!(operation.access, Access::Session | Access::Roles(_));
        if !needs_session || ENDS_THE_SESSION.contains(&&*operation.id) {
            continue;
        }
        let answer = ask(&lab, operation, &path, Some(&root)).await;
        let at = format!("{} {path}: {}", operation.method_name(), answer.status);
        assert!(answer.status != 401 && answer.status != 403, "{at}");
        assert!(answer.status != 500, "{at} {}", String::from_utf8_lossy(&answer.body));
    }
    lab.end().await;
}
