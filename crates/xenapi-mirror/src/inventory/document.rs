//! Objects that no mirror holds: what was read through, and tasks as the gateway keeps them.

use std::sync::Arc;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::encode::Sources;
use super::record::RecordBuilder;
use super::store::Object;
use xenapi_model::Class;

fn write(value: &Value) -> impl FnOnce(&mut Vec<u8>) -> bool {
    |out| serde_json::to_writer(out, value).is_ok()
}

/// An object that can be asked for like one of a mirror, from its document. Members that are no
/// field of its class follow the fields.
pub fn of_document(
    class: &Class,
    uuid: Uuid,
    backend: &str,
    document: &Map<String, Value>,
) -> Arc<Object> {
    let mut builder = RecordBuilder::default();
    builder.start(uuid, backend);
    for field in &class.fields {
        match document.get(&field.name).filter(|_| field.name != "uuid") {
            Some(value) => builder.slot(&field.name, write(value)),
            None => builder.copy(None),
        }
    }
    let known = |name: &str| matches!(name, "uuid" | "backend") || class.field(name).is_some();
    for (name, value) in document.iter().filter(|(name, _)| !known(name)) {
        builder.slot(name, write(value));
    }
    let reference: Arc<str> = "".into();
    Arc::new(Object::new(class.id, uuid, reference, builder.finish(), Sources::default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use xenapi_model::datamodel;

    #[test]
    fn a_document_becomes_an_object() {
        let class = datamodel().class("task").expect("tasks");
        let document = serde_json::json!({
            "uuid": "ignored", "backend": "ignored", "error": {"code": "X"}, "status": "failure",
            "result": null, "name_label": "a",
        });
        let document = document.as_object().expect("an object");
        let object = of_document(class, Uuid::from_u128(7), "lab", document);
        assert_eq!(
            std::str::from_utf8(object.record().json()).expect("UTF-8"),
            "{\"uuid\":\"00000000-0000-0000-0000-000000000007\",\"backend\":\"lab\",\
             \"name_label\":\"a\",\"status\":\"failure\",\"result\":null,\"error\":{\"code\":\"X\"}}"
        );
        assert_eq!(object.record().text(class, "status"), Some("failure"));
        assert_eq!(object.backend(), "lab");
    }
}
