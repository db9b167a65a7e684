//! The gateway answers what its OpenAPI document says: status, media type and schema, for every
//! operation that the document has.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use jsonschema::Validator;
use reqwest::Method;
use serde_json::{Value, json};
use xengate::http::api;
use xengate::http::openapi::{Access, Endpoint};
use xengate::sim::PASSWORD;

use crate::lab::{Answer, Lab};

/// What the document promises.
struct Contract {
    document: Value,
    validators: RefCell<HashMap<String, Validator>>,
    /// `operationId status`, as they were seen.
    seen: RefCell<BTreeSet<String>>,
}

impl Contract {
    fn new() -> Self {
        let document = serde_json::from_str(api::document().json()).expect("the document is JSON");
        Self { document, validators: RefCell::default(), seen: RefCell::default() }
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(target) => self.document.pointer(&target[1..]).expect("refs resolve"),
            None => value,
        }
    }

    /// Asserts that the answer is one that the operation may give.
    fn check(&self, operation: &Endpoint, answer: &Answer) {
        let method = operation.method_name().to_lowercase();
        let status = answer.status.as_str();
        let at = format!("{} {} {status}", operation.method_name(), operation.path);
        let shown = String::from_utf8_lossy(&answer.body[..answer.body.len().min(1000)]);
        let described = &self.document["paths"][&operation.path][&method];
        let failures = described["x-problem-statuses"].as_array().expect("statuses of problems");
        let is_failure = failures.contains(&answer.status.as_u16().into());
        let known = &described["responses"][status];
        assert!(known.is_object() || is_failure, "{at} is not in the document: {shown}");
        let problem = answer.header("content-type") == Some("application/problem+json");
        let response = if is_failure && (known.is_null() || problem) { "default" } else { status };
        let response = self.resolve(&described["responses"][response]);
        self.seen.borrow_mut().insert(format!("{} {status}", operation.id));
        let Some(content) = response["content"].as_object() else {
            assert!(answer.body.is_empty(), "{at} has a body: {shown}");
            return;
        };
        let media = answer.header("content-type").unwrap_or_default();
        let media = media.split(';').next().unwrap_or_default();
        let schema = &content.get(media).unwrap_or_else(|| panic!("{at}: {media:?}"))["schema"];
        let bodies = match media {
            "text/event-stream" => crate::events::client::parse(&answer.body),
            "text/plain" | "application/openmetrics-text" => vec![shown.into()],
            _ => vec![answer.json()],
        };
        let mut validators = self.validators.borrow_mut();
        let validator =
            validators.entry(schema.to_string()).or_insert_with(|| self.compile(schema));
        let errors = bodies.iter().flat_map(|body| validator.iter_errors(body));
        let wrong: Vec<_> =
            errors.map(|error| format!("{} at {}", error, error.instance_path())).collect();
        assert!(wrong.is_empty(), "{at}: {wrong:?}");
        let body = &bodies.first().cloned().unwrap_or_default();
        if media == "application/problem+json" {
            assert_eq!(body["status"], answer.status.as_u16(), "{at}");
        }
    }

    fn compile(&self, schema: &Value) -> Validator {
        let components = &self.document["components"]["schemas"];
        let schema = json!({"allOf": [schema], "components": {"schemas": components}});
        jsonschema::draft202012::options()
            .should_validate_formats(true)
            .build(&schema)
            .expect("the document's schemas are valid")
    }
}

fn operation(id: &str) -> &'static Endpoint {
    api::endpoints().iter().find(|operation| operation.id == id).expect("an operation")
}

/// The operations that read, each with the path of its list where it has one.
fn reads() -> impl Iterator<Item = (&'static Endpoint, Option<&'static str>)> {
    api::endpoints()
        .iter()
        .filter(|one| one.method_name() == "GET" && one.access != Access::FleetScraper)
        .map(|operation| (operation, operation.path.split_once("/{uuid}").map(|(list, _)| list)))
}

#[tokio::test]
async fn every_read_answers_what_the_document_says() {
    let (lab, contract) = (Lab::new().await, Contract::new());
    let token = lab.login().await;
    for (operation, list) in reads() {
        let mut paths = vec![operation.path.clone()];
        if let Some(list) = list {
            // The Xen-API does not list users.
            let is_listed = |one: &Endpoint| one.method_name() == "GET" && one.path == list;
            if !api::endpoints().iter().any(is_listed) {
                continue;
            }
            let listed = lab.get(list, &token).await;
            // A class that this pool has not any more.
            if listed.status == 501 {
                continue;
            }
            let items = listed.ok()["items"].clone();
            let uuids = items.as_array().expect("items").iter().take(20);
            paths = uuids
                .map(|item| item["uuid"].as_str().expect("a uuid"))
                .map(|uuid| operation.path.replace("{uuid}", uuid))
                .collect();
            paths.push(operation.path.replace("{uuid}", "6a5f2d0e-8c3b-4f4e-9d7a-2b1c0e9f8d76"));
            paths.push(operation.path.replace("{uuid}", "no-uuid"));
        }
        for path in &paths {
            let path = path.as_str();
            contract.check(operation, &lab.get(path, &token).await);
        }
        let path = &paths[0];
        let unknown = lab.get(&format!("{path}?no_such_parameter=1"), &token).await;
        assert_eq!(unknown.status, 400, "{path}");
        contract.check(operation, &unknown);
        let request = lab.gate.request(Method::GET, path).bearer_auth(&token);
        let plain = lab.gate.send(request.header("Accept", "text/html")).await;
        assert_eq!(plain.status, 406, "{path}");
        contract.check(operation, &plain);
    }
    for id in ["getVm 200", "getVmMetrics 200", "getVm 404", "getVm 400", "listVms 200"] {
        assert!(contract.seen.borrow().contains(id), "{id} was not seen");
    }
    lab.end().await;
}

#[tokio::test]
async fn what_needs_a_token_is_closed_without_one() {
    let (lab, contract) = (Lab::new().await, Contract::new());
    let mut closed = 0;
    for operation in api::endpoints() {
        let method: Method = operation.method_name().parse().expect("a method");
        let path = operation.path.replace("{uuid}", "6a5f2d0e-8c3b-4f4e-9d7a-2b1c0e9f8d76");
        let request = || lab.gate.request(method.clone(), &path).json(&json!({}));
        let none = lab.gate.send(request()).await;
        let forged = lab.gate.send(request().bearer_auth("e30.e30.c2ln")).await;
        for answer in [none, forged] {
            contract.check(operation, &answer);
            // Scrapers have tokens of their own, which are tried elsewhere.
            if matches!(operation.access, Access::Scraper | Access::FleetScraper) {
                continue;
            }
            let public = operation.access == Access::Public;
            assert_eq!(answer.status == 401, !public, "{} {path}", operation.id);
            closed += usize::from(!public);
        }
    }
    assert!(closed > 200, "only {closed} requests were turned away");
    // Somebody has to have logged in for the end's look for leaks.
    lab.login().await;
    lab.end().await;
}

#[tokio::test]
async fn sessions_answer_what_the_document_says() {
    let (lab, contract) = (Lab::new().await, Contract::new());
    let login = operation("login");
    let bodies = [
        (json!({"username": "root", "password": PASSWORD}), 201),
        (json!({"username": "root", "password": PASSWORD, "backend": "lab"}), 201),
        (json!({"username": "root", "password": PASSWORD, "backend": ["lab"]}), 201),
        (json!({"username": "root", "password": "wrong"}), 401),
        (json!({"username": "root"}), 422),
        (json!({"username": "root", "password": 1}), 422),
        (json!({"username": "root", "password": PASSWORD, "backend": "nowhere"}), 422),
        (json!({"username": "root", "password": PASSWORD, "backend": []}), 422),
        (json!({"username": "root", "password": PASSWORD, "otp": "1"}), 422),
        (json!([]), 422),
    ];
    for (body, status) in bodies {
        let answer = lab.gate.post("/sessions", None, &body).await;
        contract.check(login, &answer);
        assert_eq!(answer.status, status, "{}", answer.json());
    }
    let text = lab.gate.request(Method::POST, "/sessions").body("{}");
    contract.check(login, &lab.gate.send(text).await);

    let token = lab.login().await;
    let more = json!({"username": "root", "password": PASSWORD, "backend": "lab"});
    let answer = lab.gate.post("/sessions/current/backends", Some(&token), &more).await;
    contract.check(operation("loginToBackends"), &answer);
    assert!(answer.status.is_success());
    let request = lab.gate.request(Method::DELETE, "/sessions/current").bearer_auth(&token);
    let answer = lab.gate.send(request).await;
    contract.check(operation("logout"), &answer);
    assert_eq!(answer.status, 204);
    contract.check(operation("getCurrentSession"), &lab.get("/sessions/current", &token).await);
    lab.end().await;
}
