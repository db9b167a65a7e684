//! Names of schemas that generators of clients can use.

use std::collections::HashSet;

use super::reading::{document, operations};

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
