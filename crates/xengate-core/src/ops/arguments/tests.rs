use serde_json::json;

use super::*;
use xenapi_model::Class;

/// Knows one VM, one host and one SR.
struct Few;

const VM: Uuid = Uuid::from_u128(1);
const SR: Uuid = Uuid::from_u128(2);
const HOST: Uuid = Uuid::from_u128(3);

impl Lookup for Few {
    fn reference(&self, class: ClassId, uuid: Uuid) -> Option<Arc<str>> {
        let known = match datamodel().get(class).name.as_str() {
            "VM" => VM,
            "SR" => SR,
            "host" => HOST,
            _ => return None,
        };
        (uuid == known).then(|| format!("OpaqueRef:{}", datamodel().get(class).name).into())
    }
}

/// Values as text that a test can compare.
fn shown(arg: &Arg) -> String {
    match arg {
        Arg::String(text) => format!("{text:?}"),
        Arg::Secret(_) => "(secret)".to_owned(),
        Arg::Int(int) => int.to_string(),
        Arg::Float(float) => format!("{float:?}"),
        Arg::Bool(bool) => bool.to_string(),
        Arg::DateTime(text) => format!("@{text}"),
        Arg::Array(items) => {
            format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" "))
        }
        Arg::Struct(members) => {
            let member = |(name, value): &(String, Arg)| format!("{name}={}", shown(value));
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(" "))
        }
        Arg::Nil => "nil".to_owned(),
    }
}

fn class(name: &str) -> &'static Class {
    datamodel().class(name).expect("a class")
}

fn read(ty: &Type, json: Value) -> Result<String, ArgumentError> {
    argument(ty, &json, "/x", &Few).map(|arguments| shown(&arguments.values[0]))
}

fn call(
    wire_name: &str,
    own: Option<&str>,
    body: Value,
) -> Result<(String, Arguments), ArgumentError> {
    let (_, call) = datamodel().call(wire_name).expect("a call");
    let arguments = arguments(call, own, body.as_object(), &Few)?;
    let values: Vec<_> = arguments.values.iter().map(shown).collect();
    Ok((values.join(" "), arguments))
}

#[test]
fn scalars_must_be_of_their_type() {
    let power_state = &class("VM").field("power_state").expect("a field").ty;
    for (ty, json, want) in [
        (&Type::String, json!("é"), "\"é\""),
        (&Type::Secret, json!("sentinel"), "(secret)"),
        (&Type::Int, json!(i64::MIN), "-9223372036854775808"),
        (&Type::Int, json!(3e9), "3000000000"),
        (&Type::Int, json!(-1.0), "-1"),
        (&Type::Float, json!(1), "1.0"),
        (&Type::Bool, json!(false), "false"),
        (&Type::DateTime, json!("2026-11-22T07:25:54Z"), "@20261122T07:25:54Z"),
        (power_state, json!("Halted"), "\"Halted\""),
        (&Type::Option(Box::new(Type::Int)), json!(null), "[]"),
        (&Type::Option(Box::new(Type::Int)), json!(5), "[5]"),
    ] {
        assert_eq!(read(ty, json.clone()).as_deref(), Ok(want), "{json}");
    }
    for (ty, json, what) in [
        (&Type::String, json!(5), "must be a string"),
        (&Type::String, json!(null), "must be a string"),
        (&Type::Int, json!("5"), "must be an integer of 64 bits"),
        (&Type::Int, json!(1.5), "must be an integer of 64 bits"),
        (&Type::Int, json!(1e300), "must be an integer of 64 bits"),
        (&Type::Int, json!(u64::MAX), "must be an integer of 64 bits"),
        (&Type::Float, json!("NaN"), "must be a number"),
        (&Type::Bool, json!(1), "must be true or false"),
        (&Type::DateTime, json!("19700101T00:00:00Z"), &format!("must be {}", date::FORM)),
        (power_state, json!("halted"), "must be one of Halted, Paused, Running, Suspended"),
        (power_state, json!(null), "must be one of Halted, Paused, Running, Suspended"),
    ] {
        let error = read(ty, json.clone()).expect_err("no value of the type");
        assert_eq!((error.pointer.as_str(), error.what.as_str()), ("/x", what), "{json}");
    }
}

#[test]
fn objects_are_named_by_uuid() {
    let vm = Type::Ref(class("VM").id);
    assert_eq!(read(&vm, json!(VM.to_string())).as_deref(), Ok("\"OpaqueRef:VM\""));
    assert_eq!(read(&vm, json!(null)).as_deref(), Ok("\"OpaqueRef:NULL\""));
    let what = |json| read(&vm, json).expect_err("names no VM").what;
    assert_eq!(what(json!(SR.to_string())), "this backend has no VM of that uuid");
    assert_eq!(what(json!("OpaqueRef:VM")), "must be the uuid of an object of class VM, or null");
    assert_eq!(what(json!("")), "must be the uuid of an object of class VM, or null");
}

#[test]
fn sets_and_maps_say_which_part_does_not_fit() {
    let ints = Type::Set(Box::new(Type::Int));
    assert_eq!(read(&ints, json!([1, 2])).as_deref(), Ok("[1 2]"));
    assert_eq!(read(&ints, json!([1, "2"])).expect_err("a string").pointer, "/x/1");
    let text = Box::new(Type::String);
    let map = Type::Map(text.clone(), text);
    assert_eq!(read(&map, json!({"a": "b"})).as_deref(), Ok("{a=\"b\"}"));
    assert_eq!(read(&map, json!({"a/~b": 1})).expect_err("an int").pointer, "/x/a~1~0b");
    let of_vms = Type::Map(Box::new(Type::Ref(class("VM").id)), Box::new(Type::Int));
    let json = json!({VM.to_string(): 1});
    assert_eq!(read(&of_vms, json).as_deref(), Ok("{OpaqueRef:VM=1}"));
    assert_eq!(read(&of_vms, json!({"x": 1})).expect_err("no uuid").pointer, "/x/x");
    let by_int = Type::Map(Box::new(Type::Int), Box::new(Type::Int));
    assert_eq!(
        read(&by_int, json!({"x": 1})).expect_err("no int").what,
        "must be named by an integer"
    );
}

#[test]
fn a_call_takes_its_parameters_by_name() {
    let (args, _) = call("VM.start", Some("OpaqueRef:me"), json!({})).expect("defaults");
    assert_eq!(args, "\"OpaqueRef:me\" false false");
    let (args, _) = call("VM.start", Some("r"), json!({"start_paused": true})).expect("one given");
    assert_eq!(args, "\"r\" true false");

    let error = call("VM.start", Some("r"), json!({"vm": "x"})).expect_err("the path names it");
    assert_eq!(error.pointer, "/vm");
    assert_eq!(error.what, "no parameter of VM.start; those are start_paused, force");
    let error = call("VM.clone", Some("r"), json!({})).expect_err("a name is needed");
    assert_eq!(error.to_string(), "/new_name: is missing and has no default");
    let error = call("VM.pause", Some("r"), json!({"now": 1})).expect_err("takes nothing");
    assert_eq!(error.what, "VM.pause takes no parameters");
}

#[test]
fn the_backends_own_defaults_are_left_to_it_at_the_end_only() {
    let (args, _) = call("VDI.copy", Some("r"), json!({})).expect("all have defaults");
    assert_eq!(args, "\"r\"");
    let json = json!({"base_vdi": null});
    let (args, _) = call("VDI.copy", Some("r"), json).expect("one in the middle");
    assert_eq!(args, "\"r\" \"OpaqueRef:NULL\" \"OpaqueRef:NULL\"");
}

#[test]
fn where_an_object_was_named_is_remembered() {
    let json = json!({"host": HOST.to_string(), "options": {}});
    let (args, arguments) = call("VM.pool_migrate", Some("OpaqueRef:VM"), json).expect("fits");
    assert_eq!(args, "\"OpaqueRef:VM\" \"OpaqueRef:host\" {}");
    assert_eq!(arguments.pointer_of("OpaqueRef:host"), Some("/host"));
    assert_eq!(arguments.pointer_of("OpaqueRef:VM"), None, "the path named it");
    let (_, arguments) = call("VDI.copy", Some("r"), json!({"sr": null})).expect("fits");
    assert_eq!(arguments.pointer_of("OpaqueRef:NULL"), Some("/sr"));
}

#[test]
fn a_constructor_takes_the_records_fields() {
    let json = json!({"SR": SR.to_string(), "virtual_size": 1024, "tags": ["a"]});
    let (args, arguments) = call("VDI.create", None, json).expect("fits");
    assert_eq!(
        args,
        "{name_label=\"\" name_description=\"\" SR=\"OpaqueRef:SR\" virtual_size=1024 \
         type=\"user\" sharable=false read_only=false other_config={} xenstore_data={} \
         sm_config={} tags=[\"a\"]}"
    );
    assert_eq!(arguments.pointer_of("OpaqueRef:SR"), Some("/SR"));

    let error = |json| call("VDI.create", None, json).expect_err("does not fit");
    assert_eq!(error(json!({"uuid": "x"})).what, "is kept by the backend: a new VDI takes no such");
    assert_eq!(error(json!({"nmae": "x"})).to_string(), "/nmae: VDI has no field of this name");
    assert_eq!(error(json!({"SR": SR.to_string()})).pointer, "/virtual_size");
    assert_eq!(error(json!({"SR": SR, "virtual_size": "big"})).pointer, "/virtual_size");
}

#[test]
fn the_record_of_a_vm_has_what_the_backend_was_seen_to_demand() {
    let json = json!({"name_label": "x", "memory_static_max": 1024});
    let (_, arguments) = call("VM.create", None, json).expect("fits");
    let [Arg::Struct(members)] = &arguments.values[..] else { panic!("one record") };
    let names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    for name in ["user_version", "memory_static_min", "PV_legacy_args", "recommendations"] {
        assert!(names.contains(&name), "{name}");
    }
    assert!(!names.contains(&"is_snapshot_from_vmpp"), "removed from the Xen-API");
}

#[test]
fn no_error_repeats_a_value() {
    let (_, login) = datamodel().call("pool.join").expect("a call");
    let body = json!({"master_address": ["sentinel"], "master_username": "sentinel"});
    let error = arguments(login, None, body.as_object(), &Few).expect_err("an array");
    assert!(!format!("{error} {error:?}").contains("sentinel"));
    let error = read(&class("VM").field("power_state").expect("a field").ty, json!("sentinel"));
    assert!(!error.expect_err("no state").to_string().contains("sentinel"));
}
