use serde_json::json;
use uuid::Uuid;

use super::*;
use xenapi_model::{ClassId, datamodel};

/// Knows one host.
struct Few;

const HOST: Uuid = Uuid::from_u128(3);

impl Lookup for Few {
    fn reference(&self, class: ClassId, uuid: Uuid) -> Option<Arc<str>> {
        (datamodel().get(class).name == "host" && uuid == HOST).then(|| "OpaqueRef:host".into())
    }
}

/// The same of a backend whose VMs have one number of VCPUs.
struct Xend;

impl Lookup for Xend {
    fn reference(&self, _: ClassId, _: Uuid) -> Option<Arc<str>> {
        None
    }

    fn has_one_count_of_vcpus(&self) -> bool {
        true
    }
}

/// The calls as text: `set_name_label("x")`, without the object itself.
fn shown(invocation: &Invocation) -> String {
    let values: Vec<String> = invocation.arguments.values[1..].iter().map(value).collect();
    format!("{}({})", invocation.call.name, values.join(", "))
}

fn value(arg: &Arg) -> String {
    match arg {
        Arg::String(text) => text.clone(),
        Arg::Int(int) => int.to_string(),
        Arg::Bool(bool) => bool.to_string(),
        Arg::Array(items) => format!("[{}]", items.iter().map(value).collect::<Vec<_>>().join(" ")),
        Arg::Struct(members) => {
            let member = |(name, of): &(String, Arg)| format!("{name}={}", value(of));
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(" "))
        }
        other => format!("{other:?}"),
    }
}

fn steps(plan: &Plan) -> Vec<String> {
    let act = |act: &Act| match act {
        Act::Call(call) => shown(call),
        Act::Add { add, .. } => shown(add),
        Act::Remove { remove, .. } => shown(remove),
        Act::Replace { remove, add, old, .. } => {
            let old = old.as_ref().map(shown).unwrap_or_default();
            format!("{} then {} or {old}", shown(remove), shown(add))
        }
    };
    plan.steps.iter().map(|step| act(&step.act)).collect()
}

fn object(json: Value) -> Map<String, Value> {
    match json {
        Value::Object(object) => object,
        _ => panic!("an object"),
    }
}

fn vm() -> Map<String, Value> {
    object(json!({
        "uuid": "00000000-0000-0000-0000-000000000001",
        "backend": "lab",
        "name_label": "old",
        "name_description": "",
        "power_state": "Halted",
        "affinity": null,
        "tags": ["a", "b"],
        "other_config": {"keep": "1", "change": "old"},
        "bios_strings": {"vendor": "x"},
        "blocked_operations": {},
        "memory_static_min": 1, "memory_dynamic_min": 2,
        "memory_dynamic_max": 3, "memory_static_max": 4,
        "VCPUs_max": 4, "VCPUs_at_startup": 2,
    }))
}

fn plan_for(current: &Map<String, Value>, body: Value) -> Result<Plan, OpError> {
    let class = datamodel().class("VM").expect("VM");
    plan(class, current, &"OpaqueRef:vm".into(), &object(body), &Few)
}

fn planned(body: Value) -> Vec<String> {
    steps(&plan_for(&vm(), body).expect("a good patch"))
}

#[track_caller]
fn refused(body: Value) -> (String, String) {
    match plan_for(&vm(), body).expect_err("a bad patch") {
        OpError::Argument(ArgumentError { pointer, what }) => (pointer, what),
        other => panic!("{other}"),
    }
}

#[test]
fn plain_fields_are_set_in_the_datamodels_order() {
    let body = json!({"affinity": HOST, "name_description": "", "name_label": "new"});
    assert_eq!(
        planned(body),
        ["set_name_label(new)", "set_name_description()", "set_affinity(OpaqueRef:host)"]
    );
    assert_eq!(planned(json!({"affinity": null})), ["set_affinity(OpaqueRef:NULL)"]);
    assert!(planned(json!({})).is_empty());
}

#[test]
fn what_cannot_be_changed_is_refused_before_anything_is_done() {
    for (body, pointer, what) in [
        (json!({"nmae_label": "x"}), "/nmae_label", "VM has no field of this name"),
        (json!({"uuid": "x"}), "/uuid", "cannot be changed"),
        (json!({"power_state": "Running"}), "/power_state", "cannot be changed"),
        (json!({"name_label": null}), "/name_label", "must be a string"),
        (json!({"tags": "a"}), "/tags", "must be an array, or null"),
        (json!({"tags": ["a", 1]}), "/tags/1", "must be a string"),
        (json!({"other_config": []}), "/other_config", "must be an object, or null"),
        (json!({"other_config": {"a/b": 1}}), "/other_config/a~1b", "must be a string"),
        (
            json!({"name_label": "fine", "VCPUs_max": "4"}),
            "/VCPUs_max",
            "must be an integer of 64 bits",
        ),
    ] {
        assert_eq!(refused(body.clone()), (pointer.to_owned(), what.to_owned()), "{body}");
    }
    let (pointer, what) = refused(json!({"blocked_operations": {"fly": "no"}}));
    assert_eq!(pointer, "/blocked_operations/fly");
    assert!(what.starts_with("must be one of "), "{what}");
}

#[test]
fn a_field_that_the_backend_lacks_is_not_supported() {
    let error = plan_for(&vm(), json!({"groups": []})).expect_err("the record has none");
    let OpError::NotSupported { what, pointer, .. } = error else { panic!("{error}") };
    assert_eq!((what.as_str(), pointer.as_deref()), ("VM.groups", Some("/groups")));
}

#[test]
fn maps_are_changed_key_by_key() {
    let body = json!({"other_config": {"keep": "1", "change": "new", "fresh": "2", "gone": null}});
    assert_eq!(
        planned(body),
        [
            "remove_from_other_config(change) then add_to_other_config(change, new) \
             or add_to_other_config(change, old)",
            "add_to_other_config(fresh, 2)",
            "remove_from_other_config(gone)",
        ]
    );
    assert_eq!(planned(json!({"other_config": null})), ["set_other_config({})"]);
    let pool = datamodel().class("pool").expect("pool");
    let current = object(json!({"guest_agent_config": {"a": "1", "b": "2"}}));
    let body = object(json!({"guest_agent_config": null}));
    let plan = plan(pool, &current, &"r".into(), &body, &Few).expect("a good patch");
    assert_eq!(
        steps(&plan),
        ["remove_from_guest_agent_config(a)", "remove_from_guest_agent_config(b)"],
        "there is no call that clears it at once"
    );
}

#[test]
fn a_map_that_can_only_be_set_is_merged_first() {
    let body = json!({"bios_strings": {"vendor": null, "version": "2"}});
    assert_eq!(planned(body), ["set_bios_strings({version=2})"]);
}

#[test]
fn sets_are_changed_member_by_member() {
    assert_eq!(planned(json!({"tags": ["b", "c", "c"]})), ["remove_tags(a)", "add_tags(c)"]);
    assert_eq!(planned(json!({"tags": null})), ["remove_tags(a)", "remove_tags(b)"]);
    assert!(planned(json!({"tags": ["b", "a"]})).is_empty(), "a set has no order");
}

#[test]
fn memory_is_changed_at_once_and_must_fit() {
    assert_eq!(
        planned(json!({"memory_static_max": 8, "memory_dynamic_max": 8})),
        ["set_memory_limits(1, 8, 2, 8)"]
    );
    assert_eq!(planned(json!({"memory_dynamic_min": 3})), ["set_memory_dynamic_range(3, 3)"]);
    for (body, pointer, what) in [
        (json!({"memory_static_max": 2}), "/memory_static_max", "is below memory_dynamic_max"),
        (json!({"memory_dynamic_min": 4}), "/memory_dynamic_min", "is above memory_dynamic_max"),
        (json!({"memory_dynamic_min": -1}), "/memory_dynamic_min", "must not be negative"),
    ] {
        assert_eq!(refused(body), (pointer.to_owned(), what.to_owned()));
    }
    let plan = plan_for(&vm(), json!({"memory_static_max": 8, "memory_static_min": 0}));
    let plan = plan.expect("a good patch");
    assert_eq!(plan.steps[0].fields, ["memory_static_min", "memory_static_max"]);
}

#[test]
fn vcpus_never_exceed_their_maximum_on_the_way() {
    assert_eq!(
        planned(json!({"VCPUs_max": 8, "VCPUs_at_startup": 8})),
        ["set_VCPUs_max(8)", "set_VCPUs_at_startup(8)"]
    );
    assert_eq!(
        planned(json!({"VCPUs_max": 1, "VCPUs_at_startup": 1})),
        ["set_VCPUs_at_startup(1)", "set_VCPUs_max(1)"]
    );
    let mut running = vm();
    running.insert("power_state".to_owned(), json!("Running"));
    let plan = plan_for(&running, json!({"VCPUs_at_startup": 3})).expect("a good patch");
    assert_eq!(steps(&plan), ["set_VCPUs_number_live(3)"]);
    assert_eq!(refused(json!({"VCPUs_max": 1})).1, "is below VCPUs_at_startup");
    assert_eq!(refused(json!({"VCPUs_at_startup": 0})).1, "must be at least 1");
}

#[test]
fn where_there_is_one_number_of_vcpus_it_is_set_once() {
    let class = datamodel().class("VM").expect("VM");
    let current = object(json!({"VCPUs_max": 4, "VCPUs_at_startup": 4, "power_state": "Halted"}));
    let plan = |body: Value| plan(class, &current, &"r".into(), &object(body), &Xend);
    for (body, calls) in [
        (json!({"VCPUs_max": 2}), &["set_VCPUs_max(2)"][..]),
        (json!({"VCPUs_max": 8, "VCPUs_at_startup": 8}), &["set_VCPUs_max(8)"]),
        (json!({"VCPUs_at_startup": 4}), &[]),
        (json!({"VCPUs_max": 4}), &[]),
    ] {
        assert_eq!(steps(&plan(body.clone()).expect("a good patch")), calls, "{body}");
    }
    for body in [json!({"VCPUs_at_startup": 2}), json!({"VCPUs_at_startup": 2, "VCPUs_max": 8})] {
        let error = plan(body.clone()).expect_err("there is no such thing");
        let OpError::NotSupported { pointer, .. } = error else { panic!("{body}: {error}") };
        assert_eq!(pointer.as_deref(), Some("/VCPUs_at_startup"), "{body}");
    }
    assert!(plan(json!({"VCPUs_max": 0})).is_err());
}

#[test]
fn the_calls_of_fields_that_change_together_exist() {
    let class = datamodel().class("VM").expect("VM");
    for (field, writing) in writable(class) {
        for name in writing.calls(field) {
            assert!(datamodel().call(name).is_some(), "{name}");
        }
    }
}

#[test]
fn a_patch_is_as_good_as_what_it_says_it_does() {
    let plan = plan_for(&vm(), json!({"name_label": "x", "tags": ["a"]})).expect("a good patch");
    assert_eq!(plan.calls().collect::<Vec<_>>(), ["VM.set_name_label", "VM.remove_tags"]);
    assert!(!plan.is_empty());
    assert!(plan_for(&vm(), json!({})).expect("a good patch").is_empty());
}
