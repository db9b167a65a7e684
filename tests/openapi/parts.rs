//! The forms the document is had in: OpenAPI 3.0, a part of it, what people read.

use serde_json::{Value, json};
use xengate::http::api;
use xengate::http::openapi::{Choice, Version};

use super::reading::{document, hangs_together, operations, walk};

/// A part of the document.
fn part(version: Version, tags: &[&str], brief: bool) -> Value {
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    let text = api::document().part(version, &Choice { tags, brief });
    serde_json::from_str(&text).expect("the document is JSON")
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
    let whole = api::document().json().len();
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
