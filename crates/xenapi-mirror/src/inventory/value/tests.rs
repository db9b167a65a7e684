use super::*;
use xenapi_model::{ClassId, EnumId};

fn encoded(ty: &Type, json: &str) -> String {
    field(ty, Hidden::No, json)
}

fn field(ty: &Type, hidden: Hidden, json: &str) -> String {
    let mut refs = RefIndex::default();
    let known = refs.intern("OpaqueRef:known");
    refs.set_target(known, Some((ClassId(9), Uuid::from_u128(1))));
    let mut out = Vec::new();
    let mut links = Links { refs: &mut refs, shown: Vec::new(), zoneless: Zoneless::default() };
    if !write_field(ty, hidden, json, &mut links, &mut out) {
        assert!(out.is_empty());
        return LEFT_OUT.to_owned();
    }
    let text = String::from_utf8(out).expect("UTF-8");
    serde_json::from_str::<serde_json::Value>(&text).expect("valid JSON");
    text
}

/// Stands for a value that is left out.
const LEFT_OUT: &str = "(left out)";

const ONE: &str = "\"00000000-0000-0000-0000-000000000001\"";

#[test]
fn scalars_are_typed_whatever_their_spelling() {
    for (json, want) in [
        ("10", "10"),
        ("\"10\"", "10"),
        ("\"-1\"", "-1"),
        ("\"007\"", "7"),
        ("3.0", "3"),
        ("3e9", "3000000000"),
        ("\"3221225472.0\"", "3221225472"),
        ("9223372036854775807.0", "9223372036854775807"),
        ("1.5", LEFT_OUT),
        ("1e999", LEFT_OUT),
        ("\"9223372036854775807\"", "9223372036854775807"),
        ("\"x\"", LEFT_OUT),
        ("null", LEFT_OUT),
        ("{}", LEFT_OUT),
        ("\"-0\"", "0"),
    ] {
        assert_eq!(encoded(&Type::Int, json), want, "int {json}");
    }
    for (json, want) in [
        ("1.0", "1.0"),
        ("\"0.5\"", "0.5"),
        ("\"NaN\"", "null"),
        ("1e999", "null"),
        ("1e3", "1000.0"),
    ] {
        assert_eq!(encoded(&Type::Float, json), want, "float {json}");
    }
    for (json, want) in [("true", "true"), ("\"0\"", "false"), ("1", "true"), ("[]", LEFT_OUT)] {
        assert_eq!(encoded(&Type::Bool, json), want, "bool {json}");
    }
    assert_eq!(encoded(&Type::String, "[\"a\"]"), "\"[\\\"a\\\"]\"", "nothing is lost");
    assert_eq!(encoded(&Type::Enum(EnumId(0)), "\"never_heard_of\""), "\"never_heard_of\"");
}

#[test]
fn dates_become_rfc_3339() {
    for (json, want) in [
        ("\"20261122T07:25:54Z\"", "\"2026-11-22T07:25:54Z\""),
        ("\"20261122T06:59:52\"", "null"),
        ("\"20260101T02:00:00+02:00\"", "\"2026-01-01T00:00:00Z\""),
        ("\"19610813T02:00:00Z\"", "\"1961-08-13T02:00:00Z\""),
        ("\"20260230T00:00:00Z\"", LEFT_OUT),
        ("\"2026-11-22T06:59:52.5Z\"", "\"2026-11-22T06:59:52.5Z\""),
        ("\"20261322T06:59:52\"", LEFT_OUT),
        ("\"2026\"", LEFT_OUT),
        ("\"2026112éT06:59:52\"", LEFT_OUT),
        ("7", LEFT_OUT),
    ] {
        assert_eq!(encoded(&Type::DateTime, json), want, "{json}");
    }
    for (zoneless, want) in [
        (Zoneless::Null, "null"),
        (Zoneless::Utc, "\"2026-11-22T06:59:52Z\""),
        (Zoneless::Local, "\"2026-11-22T06:59:52\""),
    ] {
        let mut refs = RefIndex::default();
        let mut links = Links { refs: &mut refs, shown: Vec::new(), zoneless };
        let mut out = Vec::new();
        assert!(write(&Type::DateTime, "\"20261122T06:59:52\"", &mut links, &mut out));
        assert_eq!(String::from_utf8(out).expect("UTF-8"), want);
    }
}

#[test]
fn of_a_name_that_comes_twice_the_last_counts() {
    let text = || Box::new(Type::String);
    let strings = Type::Map(text(), text());
    for (ty, json, want) in [
        (&strings, r#"{"a":"1","b":"2","a":"3"}"#, r#"{"b":"2","a":"3"}"#),
        (&strings, r#"{"a":"1","\u0061":"2"}"#, r#"{"a":"2"}"#),
        (&strings, r#"{"a\"":"1","a\"":"2"}"#, r#"{"a\"":"2"}"#),
        (&strings, r#"{"a":"1","a":["x"]}"#, r#"{"a":"[\"x\"]"}"#),
        (
            &Type::Map(Box::new(Type::Int), Box::new(Type::Float)),
            r#"{"0":0.5,"0":0.25}"#,
            r#"{"0":0.25}"#,
        ),
        (&Type::Map(text(), Box::new(Type::Int)), r#"{"a":1,"a":"x","b":2}"#, r#"{"b":2}"#),
    ] {
        assert_eq!(encoded(ty, json), want, "{json}");
    }
    let mut refs = RefIndex::default();
    for name in ["OpaqueRef:one", "OpaqueRef:other"] {
        let id = refs.intern(name);
        refs.set_target(id, Some((ClassId(9), Uuid::from_u128(1))));
    }
    let mut links = Links { refs: &mut refs, shown: Vec::new(), zoneless: Zoneless::default() };
    let json = r#"{"OpaqueRef:one":"start","OpaqueRef:gone":"x","OpaqueRef:other":"destroy"}"#;
    let (mut hidden, mut unknown) = (Vec::new(), Vec::new());
    let map = Type::Map(text(), text());
    assert!(write_field(&map, Hidden::Keys, json, &mut links, &mut hidden));
    assert_eq!(String::from_utf8(hidden).expect("UTF-8"), format!("{{{ONE}:\"destroy\"}}"));
    write_unknown(r#"{"a":{"b":1,"b":2},"a":{"b":3,"b":4}}"#, &mut links, &mut unknown);
    assert_eq!(String::from_utf8(unknown).expect("UTF-8"), r#"{"a":{"b":4}}"#);
}

#[test]
fn refs_become_uuids_and_dangling_ones_null_or_nothing() {
    let vm = Type::Ref(ClassId(9));
    assert_eq!(encoded(&vm, "\"OpaqueRef:known\""), ONE);
    for nothing in ["\"OpaqueRef:gone\"", "\"OpaqueRef:NULL\"", "\"\"", "null", "[]"] {
        assert_eq!(encoded(&vm, nothing), "null", "{nothing}");
    }
    let set = Type::Set(Box::new(vm.clone()));
    let json = r#"["OpaqueRef:gone","OpaqueRef:known","OpaqueRef:NULL"]"#;
    assert_eq!(encoded(&set, json), format!("[{ONE}]"));
    let map = Type::Map(Box::new(vm), Box::new(Type::Int));
    let json = r#"{"OpaqueRef:gone":"1","OpaqueRef:known":"2"}"#;
    assert_eq!(encoded(&map, json), format!("{{{ONE}:2}}"));
}

#[test]
fn refs_are_found_where_the_type_does_not_tell() {
    let map = Type::Map(Box::new(Type::String), Box::new(Type::Enum(EnumId(0))));
    let json = r#"{"OpaqueRef:known":"destroy"}"#;
    assert_eq!(field(&map, Hidden::Keys, json), format!("{{{ONE}:\"destroy\"}}"));
    let location = "\"https://h/console?ref=OpaqueRef:known\"";
    let want = "\"https://h/console?uuid=00000000-0000-0000-0000-000000000001\"";
    assert_eq!(field(&Type::String, Hidden::Text, location), want);
    let set = Type::Set(Box::new(Type::String));
    let json = r#"["SESSION_INVALID","OpaqueRef:secret"]"#;
    assert_eq!(field(&set, Hidden::Text, json), r#"["SESSION_INVALID",""]"#);
}

#[test]
fn sets_and_maps_keep_what_they_can() {
    let set = Type::Set(Box::new(Type::String));
    assert_eq!(encoded(&set, r#"["a\"]",""]"#), r#"["a\"]",""]"#);
    assert_eq!(encoded(&set, "[1,\"b\"]"), r#"["1","b"]"#);
    assert_eq!(encoded(&set, "\"\""), "[]");
    let map = Type::Map(Box::new(Type::String), Box::new(Type::String));
    assert_eq!(encoded(&map, r#"{"pci":["0:1"]}"#), r#"{"pci":"[\"0:1\"]"}"#);
    assert_eq!(encoded(&map, "null"), "{}");
    let map = Type::Map(Box::new(Type::Int), Box::new(Type::Float));
    assert_eq!(encoded(&map, r#"{"0":0.5,"1":"nan"}"#), r#"{"0":0.5,"1":null}"#);
    let map = Type::Map(Box::new(Type::String), Box::new(Type::Int));
    assert_eq!(encoded(&map, r#"{"a":"1","b":"x"}"#), r#"{"a":1}"#);
    assert_eq!(encoded(&Type::Option(Box::new(Type::Int)), "\"x\""), "null");
}

#[test]
fn passwords_in_maps_are_hidden_by_the_names_of_their_keys() {
    let map = Type::Map(Box::new(Type::String), Box::new(Type::String));
    for (json, want) in [
        (r#"{"vncpasswd":"s3cret","vnc":"1"}"#, r#"{"vncpasswd":"***","vnc":"1"}"#),
        (r#"{"CifsPassword":"x","a":"\"b"}"#, r#"{"CifsPassword":"***","a":"\"b"}"#),
        (r#"{"pass\u0077ord":"x"}"#, r#"{"password":"***"}"#),
        (r#"{"password_secret":7}"#, r#"{"password_secret":"***"}"#),
        (r#"{"password":"","passwords":"x"}"#, r#"{"password":"","passwords":"x"}"#),
        (r#"{"note":"the password: x"}"#, r#"{"note":"the password: x"}"#),
    ] {
        assert_eq!(encoded(&map, json), want);
    }
    let (mut refs, mut out) = (RefIndex::default(), Vec::new());
    let mut links = Links { refs: &mut refs, shown: Vec::new(), zoneless: Zoneless::Null };
    write_unknown(r#"{"own":{"secret":"x","n":[{"passwd":1}]}}"#, &mut links, &mut out);
    let want = r#"{"own":{"secret":"***","n":[{"passwd":"***"}]}}"#;
    assert_eq!(String::from_utf8(out).expect("UTF-8"), want);
}

#[test]
fn unknown_fields_are_typed_by_their_looks() {
    let mut refs = RefIndex::default();
    let mut links = Links { refs: &mut refs, shown: Vec::new(), zoneless: Zoneless::default() };
    let mut out = Vec::new();
    let json = r#"{"a":[1,"OpaqueRef:x"],"when":"20260101T00:00:00Z","t":"text"}"#;
    write_unknown(json, &mut links, &mut out);
    let want = r#"{"a":[1,null],"when":"2026-01-01T00:00:00Z","t":"text"}"#;
    assert_eq!(String::from_utf8(out).expect("UTF-8"), want);
}
