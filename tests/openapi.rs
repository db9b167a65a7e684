//! The OpenAPI document: valid, whole, and the one that is checked in.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use serde_json::{Value, json};
use xengate::http::openapi;
use xengate::http::openapi::{Choice, Version};

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

fn document() -> Value {
    serde_json::from_str(openapi::json()).expect("the document is JSON")
}

/// Compares with a checked-in file, or writes it when told to.
fn same_as_checked_in(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi").join(file);
    if std::env::var_os("XENGATE_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&path, text).expect("openapi/ can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = kept.lines().zip(text.lines()).position(|(kept, now)| kept != now);
    let line = differs.unwrap_or_else(|| kept.lines().count().min(text.lines().count())) + 1;
    assert!(
        kept == text,
        "openapi/{file} is out of date from line {line} on; look at the change, then run \
         `XENGATE_BLESS=1 cargo test --test openapi`"
    );
}

/// Every operation with its method and path.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let mut operations = Vec::new();
    for (path, item) in paths {
        for method in METHODS {
            if let Some(operation) = item.get(method) {
                operations.push((format!("{method} {path}"), operation));
            }
        }
    }
    operations
}

/// The statuses that an operation says it may fail with.
fn problem_statuses(operation: &Value) -> BTreeSet<u64> {
    let statuses = operation["x-problem-statuses"].as_array();
    statuses.into_iter().flatten().map(|status| status.as_u64().expect("a number")).collect()
}

/// Visits every value of the document with its JSON pointer.
fn walk<'a>(value: &'a Value, pointer: &str, visit: &mut dyn FnMut(&str, &'a Value)) {
    visit(pointer, value);
    let child = |key: &str| format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, value)| walk(value, &child(key), visit));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, v)| walk(v, &child(&i.to_string()), visit));
        }
        _ => {}
    }
}

/// Follows a `$ref` within the document.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(target) => {
            let pointer = target.strip_prefix('#').expect("refs stay within the document");
            document.pointer(pointer).unwrap_or_else(|| panic!("{target} leads nowhere"))
        }
        None => value,
    }
}

/// The schema with the document's components in reach of its refs.
fn standalone(document: &Value, schema: &Value) -> Value {
    json!({"allOf": [schema], "components": {"schemas": document["components"]["schemas"]}})
}

/// Every schema of the document, by JSON pointer: components, bodies, parameters, headers.
fn schemas(document: &Value) -> BTreeMap<String, Value> {
    let mut schemas = BTreeMap::new();
    walk(document, "", &mut |pointer, value| {
        let component = pointer.strip_prefix("/components/schemas/");
        let is_component = component.is_some_and(|name| !name.contains('/'));
        let in_schema = component.is_some_and(|name| name.contains('/'));
        if is_component || (pointer.ends_with("/schema") && !in_schema) {
            schemas.insert(pointer.to_owned(), value.clone());
        }
    });
    schemas
}

#[test]
fn the_checked_in_document_is_this_one() {
    same_as_checked_in("xengate.json", &openapi::pretty());
}

#[test]
fn the_checked_in_list_of_operations_is_this_one() {
    same_as_checked_in("operations.txt", &openapi::operations_text());
}

#[test]
fn it_reads_back_as_the_document_it_was_written_from() {
    let mut written = document();
    // utoipa writes a schema that anything fits, and does not read one.
    written["components"]["schemas"]["Task"]["properties"]["result"]["type"] = json!("string");
    let read: utoipa::openapi::OpenApi = serde_json::from_value(written.clone()).expect("OpenAPI");
    assert_eq!(serde_json::to_value(read).expect("JSON"), written);
    assert_eq!(document()["openapi"], "3.1.0");
    assert_eq!(document()["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(serde_json::from_str::<Value>(&openapi::pretty()).expect("JSON"), document());
}

#[test]
fn every_schema_is_valid_json_schema() {
    let document = document();
    let found = schemas(&document);
    assert!(found.len() > 200, "only {} schemas found", found.len());
    for (pointer, schema) in &found {
        if let Err(error) = jsonschema::draft202012::meta::validate(schema) {
            panic!("{pointer}: {error}");
        }
    }
    // All in one, so that each ref is followed too.
    let every: Vec<_> = found.into_values().collect();
    let every = standalone(&document, &json!({"anyOf": every}));
    if let Err(error) = jsonschema::draft202012::new(&every) {
        panic!("{error}");
    }
}

#[test]
fn every_example_is_valid() {
    let document = document();
    let mut examples = 0;
    for (pointer, schema) in schemas(&document) {
        walk(&schema, "", &mut |within, part| {
            let Some(list) = part.get("examples").and_then(Value::as_array) else { return };
            let whole = standalone(&document, part);
            let validator = jsonschema::draft202012::options()
                .should_validate_formats(true)
                .build(&whole)
                .unwrap_or_else(|error| panic!("{pointer}{within}: {error}"));
            for example in list {
                let wrong: Vec<_> =
                    validator.iter_errors(example).map(|error| error.to_string()).collect();
                assert!(wrong.is_empty(), "{pointer}{within}: {wrong:?}");
                examples += 1;
            }
        });
    }
    assert!(examples > 10, "only {examples} examples found");
}

/// A schema that lets anything pass would make the test above worthless.
#[test]
fn examples_that_are_wrong_would_be_found() {
    let document = document();
    let schema = &document["components"]["schemas"]["Vm"];
    let validator = jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(&standalone(&document, schema))
        .expect("a schema");
    let right = &schema["examples"][0];
    assert!(validator.is_valid(right));
    let wrong = [
        ("uuid", json!("OpaqueRef:0f7c4dcb-2a0e-4c1b-9d5e-3b8f4f6a1c20")),
        ("uuid", Value::Null),
        ("power_state", json!(3)),
        ("memory_target", json!("2147483648")),
        ("resident_on", json!("OpaqueRef:NULL")),
        ("VBDs", json!([null])),
        ("snapshot_time", json!("20260801T07:25:54Z")),
        ("other_config", json!({"key": 1})),
        ("is_a_template", json!("false")),
    ];
    for (field, value) in wrong {
        let mut record = right.clone();
        record[field] = value.clone();
        assert!(!validator.is_valid(&record), "{field}: {value} passes");
    }
    let mut record = right.clone();
    record["power_state"] = json!("Hibernating");
    record["a_field_of_a_newer_server"] = json!({"any": "thing"});
    assert!(validator.is_valid(&record), "enumerations and records are open");
    let mut record = right.clone();
    record.as_object_mut().expect("a record").remove("backend");
    assert!(!validator.is_valid(&record), "backend is required");
}

#[test]
fn refs_resolve_and_components_are_used() {
    let document = document();
    let mut named = BTreeSet::new();
    walk(&document, "", &mut |pointer, value| {
        if let Some(target) = value.get("$ref").and_then(Value::as_str) {
            resolve(&document, value);
            let own = target.strip_prefix('#').unwrap_or_default();
            // A component that only names itself is not used.
            if !format!("{pointer}/").starts_with(&format!("{own}/")) {
                named.insert(own.to_owned());
            }
        }
    });
    for (kind, components) in document["components"].as_object().expect("components") {
        for name in components.as_object().expect("components by name").keys() {
            let pointer = format!("/components/{kind}/{name}");
            assert!(kind == "securitySchemes" || named.contains(&pointer), "{pointer} is not used");
        }
    }
}

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

/// The calls that an operation, or a part of its body, says it stands for.
fn calls(part: &Value) -> Vec<&'static xengate::datamodel::Call> {
    let names = match &part["x-xen-call"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        name => name.as_str().into_iter().collect::<Vec<_>>(),
    };
    let call = |name: &&str| xengate::datamodel::datamodel().call(name).map(|(_, call)| call);
    names.iter().map(|name| call(name).unwrap_or_else(|| panic!("{name} is no call"))).collect()
}

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
fn what_clients_give_is_closed() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    let mut bodies = 0;
    for (at, operation) in operations(&document) {
        let content = operation["requestBody"]["content"].as_object();
        for (media, body) in content.into_iter().flatten() {
            let schema = resolve(&document, &body["schema"]);
            let one_of = schema["oneOf"].as_array();
            let parts = one_of.map_or_else(|| vec![schema], |parts| parts.iter().collect());
            for part in parts {
                let part = resolve(&document, part);
                assert_eq!(part["additionalProperties"], false, "{at} {media}");
                walk(part, "", &mut |within, value| {
                    assert!(value.get("x-extensible-enum").is_none(), "{at}{within}: open");
                    let is_member = within.ends_with("/default") && !within.contains("/properties");
                    assert!(!is_member, "{at}{within}: generated clients would send it");
                });
                bodies += 1;
            }
        }
    }
    assert!(bodies > 300, "only {bodies} bodies seen");
    // What a body is called must not be what something else is called already.
    for name in schemas.keys().filter(|name| name.ends_with("Changes")) {
        assert_eq!(schemas[name]["additionalProperties"], false, "{name}");
    }
}

/// Whether a schema is of an object with members, and not of a map.
fn has_members(schema: &Value) -> bool {
    let members = schema["properties"].as_object().is_some_and(|members| !members.is_empty());
    members && schema["type"] == "object"
}

#[test]
fn what_clients_get_is_open() {
    let document = document();
    let mut seen = BTreeSet::new();
    let mut open = 0;
    let mut next: Vec<&Value> = Vec::new();
    for (_, operation) in operations(&document) {
        for response in operation["responses"].as_object().expect("responses").values() {
            let content = resolve(&document, response)["content"].as_object();
            next.extend(content.into_iter().flatten().map(|(_, body)| &body["schema"]));
        }
    }
    while let Some(schema) = next.pop() {
        walk(schema, "", &mut |within, part| {
            if let Some(name) = part.get("$ref").and_then(Value::as_str) {
                if seen.insert(name) {
                    next.push(resolve(&document, part));
                }
            } else if has_members(part) {
                let more = &part["additionalProperties"];
                assert!(*more == true, "{within}: {part}");
                open += 1;
            }
        });
    }
    assert!(open > 150, "only {open} objects seen");
}

/// Go has `NewVm` to make a `Vm`, `NullableVm` for one that may be null, and so on: a schema must
/// not have the name that a generator makes of another.
#[test]
fn no_schema_is_called_as_generators_call_something_of_another() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    let mut made = HashSet::new();
    for name in schemas.keys() {
        let of = [
            format!("New{name}"),
            format!("New{name}WithDefaults"),
            format!("Nullable{name}"),
            format!("NewNullable{name}"),
        ];
        made.extend(of.map(|name| name.to_lowercase()));
    }
    for (_, operation) in operations(&document) {
        let id = operation["operationId"].as_str().expect("an id");
        made.extend(
            ["Request", "Error", "Success", "Params", "Data", "Response", "Responses"]
                .map(|end| format!("{id}{end}").to_lowercase()),
        );
        made.insert(format!("Api{id}Request").to_lowercase());
    }
    for own in ["Configuration", "APIClient", "ApiException", "ApiResponse", "Error", "Any"] {
        made.insert(own.to_lowercase());
    }
    let mut names = HashSet::new();
    for name in schemas.keys() {
        assert!(!made.contains(&name.to_lowercase()), "{name}");
        assert!(names.insert(name.to_lowercase()), "{name}: differs by case only");
    }
}

/// A part of the document.
fn part(version: Version, tags: &[&str], brief: bool) -> Value {
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    let text = openapi::part(version, &Choice { tags, brief });
    serde_json::from_str(&text).expect("the document is JSON")
}

/// Every reference leads somewhere, and every component is named.
fn hangs_together(document: &Value) {
    let mut named = BTreeSet::new();
    walk(document, "", &mut |_, value| {
        if let Some(target) = value.get("$ref").and_then(Value::as_str) {
            resolve(document, value);
            named.insert(target.trim_start_matches('#').to_owned());
        }
    });
    for (kind, components) in document["components"].as_object().expect("components") {
        for name in components.as_object().expect("components by name").keys() {
            let pointer = format!("/components/{kind}/{name}");
            assert!(kind == "securitySchemes" || named.contains(&pointer), "{pointer} is not used");
        }
    }
}

#[test]
fn the_older_form_is_the_same_document_in_the_words_of_3_0() {
    let (document, older) = (document(), part(Version::Older, &[], false));
    assert_eq!(older["openapi"], "3.0.3");
    let ids = |document: &Value| -> Vec<(String, Value)> {
        let all = operations(document).into_iter();
        all.map(|(at, operation)| (at, operation["operationId"].clone())).collect()
    };
    assert_eq!(ids(&older), ids(&document));
    for kind in ["schemas", "responses", "parameters", "headers"] {
        let names = |of: &Value| -> Vec<String> {
            of["components"][kind].as_object().expect("components").keys().cloned().collect()
        };
        assert_eq!(names(&older), names(&document), "{kind}");
    }
    hangs_together(&older);
    let (mut nullable, mut examples) = (0, 0);
    walk(&older, "", &mut |at, value| {
        assert!(!value["type"].is_array(), "{at}: several types");
        assert_ne!(value["type"], "null", "{at}: null is no type");
        let is_schema = value["type"].is_string();
        assert!(!is_schema || !value["examples"].is_array(), "{at}: examples");
        assert!(!is_schema || value.get("propertyNames").is_none(), "{at}: propertyNames");
        if value["$ref"].is_string() {
            assert_eq!(value.as_object().map(|all| all.len()), Some(1), "{at}: beside a $ref");
        }
        nullable += usize::from(value["nullable"] == true);
        examples += usize::from(is_schema && value.get("example").is_some());
    });
    assert!(nullable > 300 && examples > 100, "{nullable} {examples}");
    assert!(older["info"]["license"].get("identifier").is_none());
}

#[test]
fn a_part_has_the_operations_of_its_tags_and_what_they_name() {
    let whole = openapi::json().len();
    for version in [Version::Newest, Version::Older] {
        let slim = part(version, &["VM", "task"], false);
        hangs_together(&slim);
        let found = operations(&slim);
        let all = document();
        let wanted = |(_, operation): &(String, &Value)| {
            ["VM", "task"].contains(&operation["tags"][0].as_str().unwrap_or_default())
        };
        assert_eq!(found.len(), operations(&all).into_iter().filter(wanted).count());
        assert!(found.len() > 100, "{}", found.len());
        assert_eq!(slim["tags"].as_array().expect("tags").len(), 2);
        let groups = &slim["x-tagGroups"];
        assert_eq!(groups[0]["tags"], json!(["VM"]), "{groups}");
        assert!(slim.to_string().len() * 3 < whole, "{} of {whole}", slim.to_string().len());
        // What a VM leads to is named as far as it is wanted, and may come all the same.
        let expanded = &slim["components"]["schemas"]["ExpandedObjects"];
        let classes: Vec<_> = expanded["properties"].as_object().expect("classes").keys().collect();
        assert_eq!(classes, ["VM", "task"]);
        assert_eq!(expanded["additionalProperties"], true);
    }
}

#[test]
fn what_people_read_leaves_second_ways_out() {
    let brief = part(Version::Older, &[], true);
    hangs_together(&brief);
    let second = |document: &Value| {
        let all = operations(document).into_iter();
        all.filter(|(_, operation)| operation.get("x-first-way").is_some()).count()
    };
    let document = document();
    assert_eq!(second(&brief), 0);
    assert_eq!(operations(&brief).len() + second(&document), operations(&document).len());
    // Those without a token say so, all others by default.
    assert_eq!(brief["security"], json!([{"bearer": []}]));
    assert_eq!(brief["paths"]["/livez"]["get"]["security"], json!([]));
    assert!(brief["paths"]["/vms"]["get"].get("security").is_none());
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

#[test]
fn every_field_of_every_class_is_there_unless_it_is_secret() {
    use xengate::datamodel::{State, datamodel, describe, is_secret_field};
    use xengate::http::api::catalog::collections::{Source, collections};
    let document = document();
    let schemas = &document["components"]["schemas"];
    let mut fields = 0;
    for collection in collections().iter().filter(|one| one.source == Source::Mirror) {
        let path = format!("/{}/{{uuid}}", collection.path);
        let body = &document["paths"][&path]["get"]["responses"]["200"]["content"];
        let record = resolve(&document, &body["application/json"]["schema"]);
        let class = datamodel().class(collection.class).expect("a class");
        for field in &class.fields {
            let at = format!("{}.{}", class.name, field.name);
            let schema = record["properties"].get(&field.name);
            let state = field.lifecycle.state;
            let secret = is_secret_field(&class.name, &field.name);
            assert_eq!(schema.is_none(), secret, "{at}");
            let Some(schema) = schema else { continue };
            let old = matches!(state, State::Deprecated | State::Removed);
            assert_eq!(schema.get("deprecated").is_some(), old, "{at}");
            let words = describe(&class.name).and_then(|words| words.fields.get(&field.name));
            if let Some(words) = words {
                let said = schema["description"].as_str().expect("words");
                let sent = state == State::Removed && said.ends_with("and may stop.");
                assert!(said == *words || (sent && said.starts_with(&**words)), "{at}: {said}");
            }
            fields += 1;
        }
    }
    assert!(fields > 850, "only {fields} fields seen");
    let metrics = schemas["VmMetricsDocument"]["properties"].as_object().expect("properties");
    let plain = schemas["VmMetrics"]["properties"].as_object().expect("properties");
    let more: Vec<_> = metrics.keys().filter(|name| !plain.contains_key(*name)).collect();
    assert_eq!(more, ["guest", "samples", "sampling"]);
    assert!(plain.keys().all(|name| name == "expanded" || metrics.contains_key(name)));
}
