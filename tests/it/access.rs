//! Who may do what: every endpoint of the table, as nobody, with forged tokens, as a read-only
//! user and as the weakest user who may. A new endpoint cannot escape it.

use std::collections::{BTreeSet, HashMap};

use reqwest::Method;
use serde_json::{Value as Json, json};
use xengate::datamodel::{Class, Field, Roles, Type, datamodel};
use xengate::http::api;
use xengate::http::api::catalog::collections::collection;
use xengate::http::openapi::{Access, Endpoint};
use xengate::http::router::routes;
use xengate::inventory::is_mirrored;
use xengate::ops::patch::writable;
use xengate::sim::{Failure, Fault, PASSWORD};

use crate::lab::{Answer, Lab};

/// Operations that would end the session the test works in.
const ENDS_THE_SESSION: &[&str] = &["logout"];

/// A token that nobody signed, and one that somebody else did.
const FORGED: &[&str] = &[
    "eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0.",
    "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJyb290In0.\
     S0W5zXcJ9Yl3Q0VxQbQ0S7mZ1B5oJ3yD8v2n4k6p8r0",
];

/// The uuid of nothing.
const NOTHING: &str = "5bdf5f35-0b92-d5e5-d63b-7b91cb99cef4";

/// A path of the operation; with an object that is there, if the pool has one.
fn path_of(operation: &Endpoint, objects: &HashMap<String, String>) -> (String, bool) {
    let Some((list, _)) = operation.path.split_once("/{uuid}") else {
        return (operation.path.clone(), true);
    };
    match objects.get(list) {
        Some(uuid) => (operation.path.replace("{uuid}", uuid), true),
        None => (operation.path.replace("{uuid}", NOTHING), false),
    }
}

async fn ask(
    lab: &Lab,
    operation: &Endpoint,
    path: &str,
    token: Option<&str>,
    body: &Json,
) -> Answer {
    let method = Method::from_bytes(operation.method_name().as_bytes()).expect("a method");
    let mut request = lab.gate.request(method.clone(), path);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if method == Method::POST || method == Method::PATCH {
        request = request.json(body);
    }
    lab.gate.send(request).await
}

/// An object of each collection that can have one; where the pool has none, one is made.
async fn objects(lab: &Lab, token: &str) -> HashMap<String, String> {
    lab.get("/vms", token).await.ok();
    for class in datamodel().classes.iter().filter(|class| is_mirrored(class)) {
        if lab.sim.count(&class.name) == 0 {
            lab.sim.create(&class.name, &[]).expect("an object");
        }
    }
    let mut objects = HashMap::new();
    for operation in api::endpoints().iter().filter(|one| one.method_name() == "GET") {
        let path = operation.path.as_str();
        let Some(collection) = collection(path.trim_start_matches('/')) else { continue };
        let holds = |answer: &Answer| answer.ok()["items"][0]["uuid"].is_string();
        let waits = collection.path != "vm-snapshots";
        let list = match waits {
            true => lab.until(path, token, holds).await.ok(),
            false => lab.get(path, token).await.ok(),
        };
        // A control domain is too special.
        let items = list["items"].as_array().expect("items");
        let plain = items.iter().find(|item| item["is_control_domain"] != true);
        if let Some(uuid) = plain.and_then(|item| item["uuid"].as_str()) {
            objects.insert(path.to_owned(), uuid.to_owned());
        }
    }
    objects
}

/// A task that the user has made: others' are for operators.
async fn own_task(lab: &Lab, token: &str) -> String {
    let body = json!({"label": "mine"});
    let task = lab.gate.post("/tasks/actions/create", Some(token), &body).await.ok();
    task["result"].as_str().expect("a uuid").to_owned()
}

/// The class of a patch.
fn class_of(operation: &Endpoint) -> &'static Class {
    let path = operation.path.trim_start_matches('/').split('/').next().expect("a path");
    datamodel().class(collection(path).expect("a collection").class).expect("a class")
}

/// A new value of a field that has this one now.
fn another(field: &Field, now: &Json) -> Option<Json> {
    Some(match &field.ty {
        Type::String => json!("something else"),
        Type::Map(key, value) if (&**key, &**value) == (&Type::String, &Type::String) => {
            json!({"something": "else"})
        }
        Type::Set(item) if **item == Type::String => json!(["something else"]),
        Type::Bool => json!(now != &json!(true)),
        Type::Int => json!(now.as_i64().unwrap_or(0) + 1),
        _ => return None,
    })
}

/// Patches of an object that take one field's calls each, with the roles that may make all of
/// those.
fn patches(class: &'static Class, record: &Json) -> Vec<(Json, Roles)> {
    let patch = |(field, writing): (&Field, xengate::ops::patch::Writing)| {
        let calls = writing.calls(field);
        // What is changed together takes more than its own calls.
        let [first, ..] = calls[..] else { return None };
        if !first.ends_with(&field.name) {
            return None;
        }
        let roles = calls.iter().map(|call| datamodel().call(call).expect("a call").1.roles.0);
        let roles = Roles(roles.fold(u8::MAX, |all, roles| all & roles));
        let value = another(field, record.get(&field.name)?)?;
        Some((json!({ (field.name.as_str()): value }), roles))
    };
    writable(class).filter_map(patch).collect()
}

/// What the router has and the document leaves out: pages for people, and the calls of a class at
/// the collections that show a part of it.
const UNDOCUMENTED: &[&str] = &[
    "/docs",
    "/docs/",
    "/docs/{*file}",
    "/vm-snapshots/actions/{call}",
    "/vm-snapshots/{uuid}/actions/{call}",
    "/vm-templates/actions/{call}",
    "/vm-templates/{uuid}/actions/{call}",
];

#[tokio::test]
async fn the_router_and_the_document_have_the_same_paths_and_methods() {
    let lab = Lab::new().await;
    lab.login().await;
    let document: Json = serde_json::from_str(api::document().json()).expect("JSON");
    let paths = document["paths"].as_object().expect("paths");
    for (path, item) in paths {
        let answer = lab.gate.request(Method::OPTIONS, &path.replace("{uuid}", NOTHING));
        let answer = lab.gate.send(answer).await;
        assert_eq!(answer.status, 405, "{path}");
        let allowed = answer.header("allow").unwrap_or_default().split(',');
        // Whatever can be read has a HEAD too.
        let allowed = allowed.filter(|method| *method != "HEAD").map(str::to_lowercase);
        let described = item.as_object().expect("an item").keys().cloned();
        assert_eq!(allowed.collect::<BTreeSet<_>>(), described.collect(), "{path}");
    }
    let routes = routes();
    let routed: BTreeSet<&str> = routes.paths().collect();
    let table: BTreeSet<&str> = api::endpoints().iter().map(Endpoint::route).collect();
    let others: Vec<&str> = routed.difference(&table).copied().collect();
    assert_eq!(others, UNDOCUMENTED);
    assert!(routed.is_superset(&table) && paths.len() > 700, "{}", paths.len());
    lab.end().await;
}

#[tokio::test]
async fn nobody_passes_without_a_token_and_nobody_with_a_forged_one() {
    let lab = Lab::new().await;
    let root = lab.login().await;
    // One with another signature.
    let (front, signature) = root.rsplit_once('.').expect("a token has three parts");
    let mut signature: Vec<char> = signature.chars().collect();
    signature[0] = if signature[0] == 'A' { 'B' } else { 'A' };
    let bent = format!("{front}.{}", signature.iter().collect::<String>());
    let mut tokens = vec![None, Some(&*bent)];
    tokens.extend(FORGED.iter().map(|token| Some(*token)));
    let (mut tried, objects) = (0, objects(&lab, &root).await);
    for operation in api::endpoints() {
        let (path, _) = path_of(operation, &objects);
        if !matches!(operation.access, Access::Session | Access::Roles(_)) {
            continue;
        }
        for token in &tokens {
            let answer = ask(&lab, operation, &path, *token, &json!({})).await;
            assert_eq!(answer.status, 401, "{} {path}", operation.method_name());
        }
        tried += 1;
    }
    println!("{tried} operations are closed to {} kinds of nobody", tokens.len());
    assert!(tried > 800, "{tried}");
    lab.end().await;
}

#[tokio::test]
async fn a_read_only_user_is_kept_from_exactly_what_the_datamodel_keeps_from_one() {
    let lab = Lab::new().await;
    let root = lab.login().await;
    let reader = lab.gate.login("read-only", PASSWORD).await;
    let mut objects = objects(&lab, &root).await;
    objects.insert("/tasks".to_owned(), own_task(&lab, &reader).await);
    let (mut kept, mut passed, mut patched, mut absent) = (0, 0, 0, Vec::new());
    let may = |roles: Roles| roles.names().any(|role| role == "read-only");
    for operation in api::endpoints() {
        let Access::Roles(roles) = operation.access else { continue };
        if operation.id == "destroyTask" {
            objects.insert("/tasks".to_owned(), own_task(&lab, &reader).await);
        }
        let (path, is_there) = path_of(operation, &objects);
        if !is_there {
            absent.push(operation.id.as_str());
            continue;
        }
        let at = |answer: &Answer| {
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            format!("{} {path}: {} {body}", operation.method_name(), answer.status)
        };
        if operation.method_name() == "PATCH" {
            let record = lab.get(&path, &root).await.ok();
            for (body, roles) in patches(class_of(operation), &record) {
                let answer = ask(&lab, operation, &path, Some(&reader), &body).await;
                if may(roles) {
                    assert!(answer.status != 403 && answer.status != 401, "{}", at(&answer));
                } else {
                    assert_eq!(answer.status, 403, "{body} {}", at(&answer));
                }
                patched += 1;
            }
            continue;
        }
        let answer = ask(&lab, operation, &path, Some(&reader), &json!({})).await;
        if may(roles) {
            assert!(answer.status != 403 && answer.status != 401, "{}", at(&answer));
            passed += 1;
        } else {
            assert_eq!(answer.status, 403, "{}", at(&answer));
            answer.problem(403, "RBAC_PERMISSION_DENIED");
            kept += 1;
        }
    }
    println!("read-only: kept from {kept}, not from {passed}, tried {patched} patches of fields");
    println!("nothing there for {}: {absent:?}", absent.len());
    assert!(kept > 400 && passed > 250 && patched > 150, "{kept} {passed} {patched}");
    assert!(absent.len() < 10, "{absent:?}");
    lab.end().await;
}

/// What the pool answers to whatever is tried: nothing shall come of it.
fn refuse(lab: &Lab, operation: &Endpoint) {
    for call in &operation.calls {
        for name in [call.clone(), format!("Async.{call}")] {
            let failure = Failure::new("OPERATION_NOT_ALLOWED", ["a test"]);
            lab.sim.fault(Some(&name), Fault::Fail(failure), None);
        }
    }
}

#[tokio::test]
async fn the_weakest_user_who_may_is_never_turned_away() {
    let lab = Lab::new().await;
    let root = lab.login().await;
    let objects = objects(&lab, &root).await;
    let mut tokens = HashMap::new();
    for role in &datamodel().roles {
        tokens.insert(role.as_str(), lab.gate.login(role, PASSWORD).await);
    }
    let (mut tried, mut patched) = (0, 0);
    for operation in api::endpoints() {
        let needs_session = matches!(operation.access, Access::Session | Access::Roles(_));
        if !needs_session || ENDS_THE_SESSION.contains(&&*operation.id) {
            continue;
        }
        let weakest = |roles: Roles| roles.names().last().map_or(&root, |role| &tokens[role]);
        let token = match operation.access {
            Access::Roles(roles) => weakest(roles),
            _ => &tokens["read-only"],
        };
        let (path, _) = path_of(operation, &objects);
        let passes = |answer: Answer| {
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            let at = format!("{} {path}: {} {body}", operation.method_name(), answer.status);
            assert!(answer.status != 401 && answer.status != 403 && answer.status != 500, "{at}");
        };
        let reads = operation.method_name() == "GET";
        if !reads {
            refuse(&lab, operation);
        }
        if operation.method_name() == "PATCH" {
            let record = lab.get(&path, &root).await;
            let record = serde_json::from_slice(&record.body).unwrap_or_default();
            for (body, roles) in patches(class_of(operation), &record) {
                passes(ask(&lab, operation, &path, Some(weakest(roles)), &body).await);
                patched += 1;
            }
        } else {
            passes(ask(&lab, operation, &path, Some(token), &json!({})).await);
            tried += 1;
        }
        lab.sim.clear_faults();
    }
    println!("{tried} operations and {patched} patches are open to the weakest who may");
    assert!(tried > 700 && patched > 150, "{tried} {patched}");
    lab.end().await;
}
