//! The OpenAPI document: valid, whole, and the one that is checked in.

mod bodies;
mod calls;
mod names;
mod operations;
mod parts;
mod reading;
mod schemas;

use std::path::Path;

use serde_json::{Value, json};
use xengate::http::api;

use reading::document;

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

#[test]
fn the_checked_in_document_is_this_one() {
    same_as_checked_in("xengate.json", &api::document().pretty());
}

#[test]
fn the_checked_in_list_of_operations_is_this_one() {
    same_as_checked_in("operations.txt", &api::document().operations_text());
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
    assert_eq!(serde_json::from_str::<Value>(&api::document().pretty()).expect("JSON"), document());
}
