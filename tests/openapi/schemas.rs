//! Schemas and their examples are valid, and every component is used.

use serde_json::{Value, json};

use super::reading::{document, hangs_together, resolve, schemas, standalone, walk};

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
    hangs_together(&document());
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
