use std::collections::HashSet;

use super::*;
use crate::ops::arguments::{argument, of_constructor};
use crate::ops::lookup::Lookup;
use xenapi_model::{ClassId, datamodel};

struct Nobody;

impl Lookup for Nobody {
    fn reference(&self, _: ClassId, _: uuid::Uuid) -> Option<std::sync::Arc<str>> {
        None
    }
}

#[test]
fn the_tables_name_what_the_datamodel_has_and_give_no_default_of_its_own() {
    let mut seen = HashSet::new();
    for (wire_name, name, text) in PARAMETERS {
        assert!(seen.insert((wire_name, name)), "{wire_name} {name} stands there twice");
        let (_, call) = datamodel().call(wire_name).unwrap_or_else(|| panic!("{wire_name}"));
        let param = call.params.iter().find(|param| param.name == *name);
        let param = param.unwrap_or_else(|| panic!("{wire_name} takes no {name}"));
        assert!(param.default.is_none(), "{wire_name} {name} has a default");
        let fits = argument(&param.ty, &parse(text), "", &Nobody);
        assert!(fits.is_ok(), "{wire_name} {name}: {fits:?}");
    }
    let mut seen = HashSet::new();
    for (of, name, otherwise) in FIELDS {
        assert!(seen.insert((of, name)), "{of}.{name} stands there twice");
        let class = datamodel().class(of).unwrap_or_else(|| panic!("{of}"));
        let field = class.field(name).unwrap_or_else(|| panic!("{of}.{name}"));
        assert!(of_constructor(field) && field.default.is_none(), "{of}.{name}");
        let texts = match *otherwise {
            Otherwise::Json(text) => vec![text],
            Otherwise::SameAs(other) => {
                assert_eq!(class.field(other).map(|other| &other.ty), Some(&field.ty));
                vec![]
            }
            Otherwise::When { field: other, is, then, or } => {
                let other = class.field(other).unwrap_or_else(|| panic!("{of}.{other}"));
                assert!(argument(&other.ty, &parse(is), "", &Nobody).is_ok());
                vec![then, or]
            }
        };
        for text in texts {
            let fits = argument(&field.ty, &parse(text), "", &Nobody);
            assert!(fits.is_ok(), "{of}.{name}: {fits:?}");
        }
    }
}

#[test]
fn every_default_of_the_datamodel_is_a_value_of_its_type() {
    let mut count = 0;
    for class in &datamodel().classes {
        for call in class.calls.iter().filter(|call| !call.hidden && !call.pool_internal) {
            for param in call.params.iter().filter(|param| param.default.is_some()) {
                let json = of_parameter(call, param).expect("a default");
                let fits = argument(&param.ty, &json, "", &Nobody);
                assert!(fits.is_ok(), "{} {}: {json} {fits:?}", call.wire_name, param.name);
                count += 1;
            }
        }
        for field in class.fields.iter().filter(|field| of_constructor(field)) {
            if let Some(default) = &field.default {
                let json = plain(&field.ty, default);
                let fits = argument(&field.ty, &json, "", &Nobody);
                assert!(fits.is_ok(), "{}.{}: {json} {fits:?}", class.name, field.name);
                count += 1;
            }
        }
    }
    assert!(count > 150, "{count} defaults were seen");
}

#[test]
fn what_a_client_must_give_is_what_only_it_can_know() {
    let mut must: Vec<String> = Vec::new();
    for class in datamodel().classes.iter().filter(|class| class.constructor) {
        for field in class.fields.iter().filter(|field| of_constructor(field)) {
            if must_be_given(class, field) {
                must.push(format!("{}.{}", class.name, field.name));
            }
        }
    }
    assert_eq!(
        must,
        [
            "VM.memory_static_max",
            "VMSS.type",
            "VMSS.frequency",
            "VIF.device",
            "VIF.network",
            "VIF.VM",
            "VDI.SR",
            "VDI.virtual_size",
            "VBD.VM",
            "PBD.host",
            "PBD.SR",
            "user.short_name",
            "secret.value",
        ]
    );
}

#[test]
fn a_default_may_follow_another_field() {
    let class = datamodel().class("VBD").expect("VBD");
    let of = |name: &str, given: Value| {
        let given = given.as_object().expect("an object").clone();
        of_field(class, class.field(name).expect("a field"), &given)
    };
    assert_eq!(of("mode", json!({})), Some(json!("RO")), "an empty drive");
    assert_eq!(of("empty", json!({})), Some(json!(true)));
    let disk = json!({"VDI": "0f5c1d5a-0000-0000-0000-000000000000"});
    assert_eq!(of("mode", disk.clone()), Some(json!("RW")));
    assert_eq!(of("type", disk.clone()), Some(json!("Disk")));
    assert_eq!(of("empty", disk), Some(json!(false)));
    let class = datamodel().class("VM").expect("VM");
    let given = json!({"memory_static_max": 7}).as_object().expect("an object").clone();
    let minimum = class.field("memory_static_min").expect("a field");
    assert_eq!(of_field(class, minimum, &given), Some(json!(7)));
}
