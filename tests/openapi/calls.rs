//! The Xen-API's calls: each has an operation, with its roles, parameters and outcome.

use std::collections::BTreeSet;

use serde_json::Value;

use super::reading::{calls, document, operations, resolve, walk};

/// The roles it is said to be for.
fn roles(part: &Value) -> Option<BTreeSet<&str>> {
    let roles = part["x-xen-roles"].as_array()?;
    Some(roles.iter().filter_map(Value::as_str).collect())
}

#[test]
fn calls_and_roles_are_the_datamodels() {
    let document = document();
    let (mut single, mut several, mut fields) = (0, 0, 0);
    for (at, operation) in operations(&document) {
        let Some(roles) = roles(operation) else { continue };
        match calls(operation).as_slice() {
            [] => panic!("{at}: roles for no call"),
            [call] => {
                assert_eq!(roles, call.roles.names().collect(), "{at}");
                single += 1;
            }
            calls => {
                let may = |role: &&str| calls.iter().any(|c| c.roles.names().any(|r| r == *role));
                assert!(roles.iter().all(may), "{at}: {roles:?}");
                several += 1;
            }
        }
    }
    walk(&document["components"]["schemas"], "", &mut |at, part| {
        let Some(roles) = roles(part) else { return };
        let calls = calls(part);
        let all = |role: &&str| calls.iter().all(|call| call.roles.names().any(|may| may == *role));
        assert!(!calls.is_empty() && roles.iter().all(all), "{at}");
        fields += 1;
    });
    assert!(single > 600 && several > 100 && fields > 200, "{single} {several} {fields}");
}

#[test]
fn every_call_for_clients_has_an_operation() {
    use xengate::datamodel::datamodel;
    use xengate::http::api::catalog::collections::calls_of;
    use xengate::ops::actions::{On, actions};
    let document = document();
    let mut seen = 0;
    for class in &datamodel().classes {
        let Some(collection) = calls_of(&class.name) else { continue };
        for action in actions(class) {
            let call = action.call;
            let path = match action.on {
                On::Object => format!("/{}/{{uuid}}/actions/{}", collection.path, call.name),
                On::Collection => format!("/{}/actions/{}", collection.path, call.name),
            };
            let operation = &document["paths"][&path]["post"];
            if class.name == "task" && action.on == On::Object && call.name != "cancel" {
                assert!(operation.is_null(), "{path}: stands with the tasks");
                continue;
            }
            let at = &call.wire_name;
            assert_eq!(operation["x-xen-call"], **at, "{path}");
            let responses = operation["responses"].as_object().expect("responses");
            let successes: Vec<&str> =
                responses.keys().map(String::as_str).filter(|s| s.starts_with('2')).collect();
            let expected: &[&str] = match (call.has_async, &call.result) {
                _ if class.name == "task" && call.name == "cancel" => &["204"],
                (true, _) => &["200", "202"],
                (false, Some(_)) => &["200"],
                (false, None) => &["204"],
            };
            assert_eq!(successes, expected, "{at}");
            let params = &call.params[usize::from(action.on == On::Object)..];
            let body = &operation["requestBody"]["content"]["application/json"]["schema"];
            let body = resolve(&document, body);
            assert_eq!(body.is_null(), params.is_empty(), "{at}");
            for param in params {
                assert!(body["properties"][&param.name].is_object(), "{at}: {}", param.name);
            }
            seen += 1;
        }
    }
    assert!(seen > 480, "only {seen} calls seen");
}

#[test]
fn what_is_done_in_two_ways_names_the_first() {
    let document = document();
    let mut second = 0;
    for (at, operation) in operations(&document) {
        let Some(first) = operation["x-first-way"].as_str() else { continue };
        let (method, path) = first.split_once(' ').expect("a method and a path");
        let first = &document["paths"][path][method.to_lowercase()];
        assert!(at.contains("/actions/") && first.is_object(), "{at}: {first}");
        let call = operation["x-xen-call"].as_str().expect("an action is one call");
        let (_, name) = call.rsplit_once('.').expect("a class and a call");
        let body = &first["requestBody"]["content"]["application/json"]["schema"];
        let field = name.strip_prefix("set_").unwrap_or_default();
        let changes = resolve(&document, body)["properties"].get(field).is_some();
        assert!(changes || calls(first).iter().any(|one| one.wire_name == call), "{at}");
        second += 1;
    }
    assert!(second > 140, "only {second} operations are second ways");
    let first_way = |path: &str| &document["paths"][path]["post"]["x-first-way"];
    assert_eq!(*first_way("/vdis/{uuid}/actions/set_name_label"), "PATCH /vdis/{uuid}");
    assert_eq!(*first_way("/vms/{uuid}/actions/add_to_other_config"), "PATCH /vms/{uuid}");
    assert_eq!(*first_way("/vms/{uuid}/actions/set_memory_static_max"), "PATCH /vms/{uuid}");
    assert_eq!(*first_way("/srs/{uuid}/actions/destroy"), "DELETE /srs/{uuid}");
    assert_eq!(*first_way("/srs/actions/create"), "POST /srs");
    for path in ["/vms/{uuid}/actions/start", "/vms/{uuid}/actions/clone"] {
        assert_eq!(*first_way(path), Value::Null, "{path}");
    }
}
