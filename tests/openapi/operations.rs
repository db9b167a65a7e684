//! Each operation: its name, tag, who may, parameters and responses.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Value, json};

use super::reading::{document, operations, problem_statuses, resolve};

#[test]
fn operations_are_named_tagged_and_secured() {
    let document = document();
    let tags: HashSet<&str> = document["tags"]
        .as_array()
        .expect("tags")
        .iter()
        .map(|tag| {
            let description = tag["description"].as_str().unwrap_or_default();
            assert!(!description.is_empty(), "{tag} has no description");
            tag["name"].as_str().expect("a name")
        })
        .collect();
    let mut ids = HashSet::new();
    let mut used = HashSet::new();
    for (at, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap_or_default();
        let camel_case = id.starts_with(|first: char| first.is_ascii_lowercase())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        assert!(camel_case, "{at}: operationId {id:?}");
        assert!(ids.insert(id), "{at}: operationId {id} twice");
        let tag = operation["tags"][0].as_str().unwrap_or_default();
        assert!(tags.contains(tag), "{at}: tag {tag:?} is not declared");
        used.insert(tag);
        assert!(operation["summary"].is_string(), "{at}: no summary");
        for requirement in operation["security"].as_array().expect("security is said") {
            for scheme in requirement.as_object().expect("a requirement").keys() {
                assert!(document["components"]["securitySchemes"].get(scheme).is_some(), "{at}");
            }
        }
        let public = operation["security"] == json!([]);
        let declares_401 = problem_statuses(operation).contains(&401);
        assert!(declares_401 || public, "{at}: needs a token, but has no 401");
    }
    assert_eq!(used, tags, "every tag is used");
}

#[test]
fn the_public_operations_are_these() {
    let document = document();
    let public: BTreeSet<_> = operations(&document)
        .into_iter()
        .filter(|(_, operation)| operation["security"] == json!([]))
        .map(|(at, _)| at)
        .collect();
    let expected = [
        "get /livez",
        "get /openapi.json",
        "get /openapi-3.0.json",
        "get /readyz",
        "post /sessions",
    ];
    assert_eq!(public, expected.map(str::to_owned).into());
}

#[test]
fn path_parameters_are_declared() {
    let document = document();
    for (at, operation) in operations(&document) {
        let mut declared = BTreeSet::new();
        let mut seen = HashSet::new();
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let parameter = resolve(&document, parameter);
            let name = parameter["name"].as_str().expect("a name");
            assert!(seen.insert((name, parameter["in"].to_string())), "{at}: {name} twice");
            assert!(parameter["description"].is_string(), "{at}: {name} has no description");
            assert!(parameter["schema"].is_object(), "{at}: {name} has no schema");
            if parameter["in"] == "path" {
                assert_eq!(parameter["required"], true, "{at}: {name}");
                declared.insert(name);
            }
        }
        let segments = at.split(['/', ' ']);
        let in_path: BTreeSet<_> = segments
            .filter_map(|part| part.strip_prefix('{').and_then(|part| part.strip_suffix('}')))
            .collect();
        assert_eq!(declared, in_path, "{at}");
    }
}

#[test]
fn every_response_is_described_and_has_one_schema() {
    let document = document();
    for (at, operation) in operations(&document) {
        let responses = operation["responses"].as_object().expect("responses");
        assert!(responses.keys().any(|status| status.starts_with('2')), "{at}: no success");
        // One response for all failures, and the statuses beside it.
        assert_eq!(responses["default"]["$ref"], "#/components/responses/Problem", "{at}");
        let statuses = problem_statuses(operation);
        assert!(statuses.iter().all(|status| (400..600).contains(status)), "{at}: {statuses:?}");
        assert!(statuses.contains(&400) && statuses.contains(&500), "{at}: {statuses:?}");
        for (status, response) in responses.iter().filter(|(status, _)| *status != "default") {
            let response = resolve(&document, response);
            let number: u16 = status.parse().unwrap_or_else(|_| panic!("{at}: status {status}"));
            assert!(number < 400 || at == "get /readyz", "{at}: {status} is a failure");
            assert!(
                response["description"].as_str().is_some_and(|d| !d.is_empty()),
                "{at} {status}"
            );
            assert!(response["headers"]["X-Request-Id"].is_object(), "{at} {status}");
            let content = response.get("content").and_then(Value::as_object);
            if matches!(number, 101 | 204 | 304) {
                assert!(content.is_none(), "{at} {status} has no body");
                continue;
            }
            let content = content.unwrap_or_else(|| panic!("{at} {status}: no body"));
            let plain = content.keys().filter(|media| *media != "application/problem+json");
            // Metrics come in the two text formats that monitoring systems read.
            let forms = plain.count();
            let most = if at.starts_with("get /metrics") { 2 } else { 1 };
            let is_list = response["headers"]["Link"].is_object();
            // A history can be plotted.
            let several = is_list || (at.ends_with("/metrics/history") && number == 200);
            let right = if several { forms == 4 } else { forms <= most };
            assert!(right, "{at} {status}: {forms} forms");
            for (media, body) in content {
                assert!(body["schema"].is_object(), "{at} {status}: no schema");
                let problem = body["schema"]["$ref"] == "#/components/schemas/Problem";
                assert_eq!(problem, media == "application/problem+json", "{at} {status}");
            }
        }
    }
}

#[test]
fn every_tag_is_in_one_group() {
    let document = document();
    let mut grouped = Vec::new();
    for group in document["x-tagGroups"].as_array().expect("groups") {
        grouped.extend(group["tags"].as_array().expect("tags").iter().cloned());
    }
    let tags = document["tags"].as_array().expect("tags").iter();
    let mut tags: Vec<String> = tags.map(|tag| tag["name"].to_string()).collect();
    let mut grouped: Vec<String> = grouped.iter().map(ToString::to_string).collect();
    tags.sort();
    grouped.sort();
    assert_eq!(tags, grouped);
}
