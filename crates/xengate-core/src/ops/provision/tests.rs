use serde_json::json;

use super::order::spread;
use super::*;

fn object(json: Value) -> Map<String, Value> {
    match json {
        Value::Object(object) => object,
        _ => panic!("an object"),
    }
}

#[test]
fn the_calls_of_flows_are_the_datamodels() {
    for name in [
        "VM.clone",
        "VM.copy",
        "VM.provision",
        "VM.start",
        "VM.destroy",
        "VM.hard_shutdown",
        "VM.get_power_state",
        "VM.get_VBDs",
        "VM.get_allowed_VIF_devices",
        "VM.add_to_other_config",
        "VM.remove_from_other_config",
        "VBD.create",
        "VBD.get_record",
        "VDI.create",
        "VDI.destroy",
        "VDI.get_VBDs",
        "VIF.create",
    ] {
        let call = call(name);
        assert!(!call.hidden, "{name}");
    }
    for name in ["VM.clone", "VM.copy", "VM.provision", "VM.start", "VM.destroy", "VDI.create"] {
        assert!(call(name).has_async, "{name} is waited for as a task");
    }
}

#[test]
fn one_amount_of_memory_means_just_that() {
    let template = object(json!({
        "memory_static_min": 2, "memory_dynamic_min": 4,
        "memory_dynamic_max": 4, "memory_static_max": 4,
        "VCPUs_max": 1, "VCPUs_at_startup": 1,
    }));
    for (given, want) in [
        (json!({}), json!({})),
        (
            json!({"memory_static_max": 8}),
            json!({"memory_static_max": 8, "memory_dynamic_max": 8, "memory_dynamic_min": 8,
                   "memory_static_min": 2}),
        ),
        (
            json!({"memory_static_max": 1}),
            json!({"memory_static_max": 1, "memory_dynamic_max": 1, "memory_dynamic_min": 1,
                   "memory_static_min": 1}),
        ),
        (
            json!({"memory_dynamic_max": 8, "memory_dynamic_min": 3}),
            json!({"memory_static_max": 8, "memory_dynamic_max": 8, "memory_dynamic_min": 3,
                   "memory_static_min": 2}),
        ),
        (json!({"VCPUs_max": 4}), json!({"VCPUs_max": 4, "VCPUs_at_startup": 4})),
        (json!({"VCPUs_at_startup": 2}), json!({"VCPUs_max": 2, "VCPUs_at_startup": 2})),
    ] {
        let mut fields = object(given);
        spread(&mut fields, &template);
        assert_eq!(Value::Object(fields), want);
    }
}
