//! SXP over what a real xend and xm said, and over anything.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{Limits, ReadError, xmlrpc};

macro_rules! recorded {
    ($name:literal) => {
        include_bytes!(concat!("../../../../tests/fixtures/xend/matched/", $name))
    };
}

fn legacy(body: &[u8]) -> Sxp {
    let json = xmlrpc::to_json(body, Limits::default()).unwrap();
    read_reply(&json, Limits::default()).unwrap().unwrap()
}

fn of(json: &serde_json::Value) -> Sxp {
    read(json.to_string().as_bytes(), Limits::default()).unwrap()
}

#[test]
fn every_domain_prints_as_xm_printed_it() {
    let domains = legacy(recorded!("legacy-domains_with_state-all-1.response.xml"));
    let printed: String = domains.items().unwrap().iter().map(Sxp::pretty).collect();
    let xm = String::from_utf8_lossy(recorded!("xm-legacy-list-long.txt"));
    assert_eq!(printed, xm);
    let one = legacy(recorded!("legacy-domain-1-hvm01.response.xml"));
    assert_eq!(one.pretty(), String::from_utf8_lossy(recorded!("xm-legacy-list-long-hvm01.txt")));
}

#[test]
fn a_domain_is_looked_up_in() {
    let domain = legacy(recorded!("legacy-domain-1-web01.response.xml"));
    assert_eq!(domain.name(), Some("domain"));
    assert_eq!(domain.int("domid"), Some(1));
    assert_eq!(domain.text("name").as_deref(), Some("web01"));
    assert_eq!(domain.text("domid").as_deref(), Some("1"));
    assert_eq!(domain.double("cpu_time"), Some(31.486));
    assert_eq!(domain.value("nothing"), None);
    assert_eq!(domain.value("cpus").and_then(Sxp::items).map(<[_]>::len), Some(2));
    let kinds = |device: &Sxp| device.children()[0].name().unwrap().to_owned();
    assert_eq!(domain.all("device").map(kinds).collect::<Vec<_>>(), ["vif", "console"]);
    let image = domain.value("image").unwrap();
    assert_eq!(image.text("kernel").as_deref(), Some("/boot/vmlinuz-lab"));
}

#[test]
fn odd_shapes_have_no_values_but_do_no_harm() {
    let odd = of(&json!([
        "domain", ["@", ["id", 1]], 5, null, [], ["empty"], ["nil", null], ["big", "4294967296"],
        ["half", 2.9], ["list", [1]], ["twice", 1], ["twice", 2], {"a": [1]}
    ]));
    assert_eq!(odd.children().len(), 11);
    assert_eq!(odd.value("empty"), None);
    assert_eq!(odd.value("nil"), Some(&Sxp::Nil));
    assert_eq!((odd.text("nil"), odd.int("nil")), (None, None));
    assert_eq!((odd.int("big"), odd.int("half")), (Some(4_294_967_296), Some(2)));
    assert_eq!((odd.int("list"), odd.int("twice")), (None, Some(1)));
    assert_eq!(Sxp::Double(1e30).as_int(), None);
    assert_eq!(Sxp::Double(f64::NAN).as_int(), None);
    assert_eq!(of(&json!("web01")).children(), []);
}

#[test]
fn text_is_quoted_as_python_quotes_it() {
    for (value, text) in [
        (json!(""), "''"),
        (json!([]), "()"),
        (json!([[]]), "(())"),
        (json!(null), "'None'"),
        (json!(true), "True"),
        (json!("a-b_c.d:e/f~0"), "a-b_c.d:e/f~0"),
        (json!("@"), "@"),
        (json!("a@b"), "'a@b'"),
        (json!("a b"), "'a b'"),
        (json!("it's"), "\"it's\""),
        (json!("'\""), "'\\'\"'"),
        (json!("a\\b\n\t\r\u{1}\u{7f}"), "'a\\\\b\\n\\t\\r\\x01\\x7f'"),
        (json!("café"), "'caf\\xc3\\xa9'"),
        (json!(-7), "-7"),
        (json!("99999999999999999999"), "99999999999999999999"),
        (json!({"a": [1, "x", null]}), "\"{'a': [1, 'x', None]}\""),
    ] {
        assert_eq!(of(&value).show(), text);
    }
    let huge = read(b"99999999999999999999", Limits::default()).unwrap();
    assert_eq!(huge, Sxp::Text("99999999999999999999".into()));
}

#[test]
fn floats_have_twelve_digits() {
    for (float, text) in [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (638.713, "638.713"),
        (1_795_335_935.104_361, "1795335935.1"),
        (1_795_335_934.98, "1795335934.98"),
        (0.1 + 0.2, "0.3"),
        (99_999_999_999.0, "99999999999.0"),
        (99_999_999_999.96, "1e+11"),
        (1e11, "1e+11"),
        (123_456_789_012.0, "1.23456789012e+11"),
        (1e12, "1e+12"),
        (123_456_789_012_345.0, "1.23456789012e+14"),
        (1.5e-5, "1.5e-05"),
        (0.0001, "0.0001"),
        (1e300, "1e+300"),
        (f64::INFINITY, "inf"),
        (f64::NAN, "nan"),
    ] {
        assert_eq!(text_of_float(float), text);
    }
}

#[test]
fn a_list_breaks_where_it_does_not_fit() {
    let fits = of(&json!(["a", "b".repeat(76)]));
    assert_eq!(fits.show().len(), 80);
    assert_eq!(fits.pretty(), format!("(a {})\n", "b".repeat(76)));
    let wide = "b".repeat(77);
    assert_eq!(of(&json!(["a", wide])).pretty(), format!("(a\n    {wide}\n)\n"));
    // A first item that is a list starts behind its parenthesis.
    let nested = of(&json!([["a", wide], "c"]));
    assert_eq!(nested.pretty(), format!("((a\n     {wide}\n )\n    c\n)\n"));
    // Far to the right nothing fits any more, not even an empty list.
    let mut deep = of(&json!([]));
    for _ in 0..21 {
        deep = Sxp::List(vec!["x".into(), deep]);
    }
    let pretty = deep.pretty();
    let (outer, inner) = (" ".repeat(80), " ".repeat(84));
    assert!(pretty.contains(&format!("\n{outer}(x\n{inner}(\n{inner})\n{outer})\n")), "{pretty}");
}

#[test]
fn escapes_of_single_strings_are_taken_back() {
    for (escaped, text) in [
        ("", ""),
        ("plain", "plain"),
        ("a\\nb\\\\n\\t\\'\\\"", "a\nb\\n\t'\""),
        ("caf\\xe9", "café"),
        ("caf\\xc3\\xa9", "café"),
        ("h\\u20ac\\U0001f600", "h€😀"),
        ("\\", "\\"),
        ("\\q\\x4\\xzz\\u12", "\\q\\x4\\xzz\\u12"),
        ("\\ud800", "\\ud800"),
    ] {
        assert_eq!(unescape(escaped), text);
    }
}

#[test]
fn faults_and_unknown_methods_are_failures() {
    let failure = |body: &[u8]| {
        let json = xmlrpc::to_json(body, Limits::default()).unwrap();
        read_reply(&json, Limits::default()).unwrap().unwrap_err()
    };
    let fault = failure(recorded!("legacy-domain-0-nosuch.response.xml"));
    assert_eq!(
        (fault.code.as_str(), &fault.params[..]),
        ("FAULT", &["3".into(), "nosuch".into()][..])
    );
    let unknown = br#"{"Status":"Failure","ErrorDescription":["MESSAGE_METHOD_UNKNOWN","x"]}"#;
    let unknown = read_reply(unknown, Limits::default()).unwrap().unwrap_err();
    assert_eq!(unknown.code, "MESSAGE_METHOD_UNKNOWN");
    let map = read_reply(br#"{"weight":256,"cap":0}"#, Limits::default()).unwrap().unwrap();
    assert_eq!(map, Sxp::Map(vec![("weight".into(), Sxp::Int(256)), ("cap".into(), Sxp::Int(0))]));
    assert_eq!(read_reply(b"null", Limits::default()), Ok(Ok(Sxp::Nil)));
}

#[test]
fn what_is_no_json_or_too_much_is_refused() {
    let limits = Limits { max_depth: 3, max_bytes: 100 };
    for (json, wanted) in [
        (&b""[..], ReadError::Empty),
        (b" \n", ReadError::Empty),
        (b"[[[[]]]]", ReadError::TooDeep { limit: 3 }),
        (&[b' '; 101], ReadError::TooLarge { limit: 100 }),
        (b"[1", ReadError::Truncated { offset: 2 }),
    ] {
        assert_eq!(read(json, limits), Err(wanted));
    }
    for json in [&b"[1,]"[..], b"<html>", b"]", b"{1:2}", b"\"\\ud800\"", b"\"\xff\"", b"1 2"] {
        assert!(read(json, limits).is_err(), "{}", json.escape_ascii());
    }
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        any::<String>().prop_map(|text| json!(text)),
        "[a-z0-9]{0,40}".prop_map(|text| json!(text)),
        any::<i64>().prop_map(|int| json!(int)),
        any::<bool>().prop_map(|bool| json!(bool)),
        // What serde_json reads back exactly, so that the comparison is of this reader.
        any::<i32>().prop_map(|int| json!(f64::from(int) / 8.0)),
        Just(json!(null)),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(|items| json!(items)),
            prop::collection::hash_map(any::<String>(), inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_json_is_read_without_loss(value in value(), pretty: bool) {
        let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) };
        let sxp = read(&text.unwrap(), Limits::default()).unwrap();
        prop_assert_eq!(serde_json::to_value(&sxp).unwrap(), value);
        let (flat, broken) = (sxp.show(), sxp.pretty());
        prop_assert!(flat.is_ascii() && flat.bytes().all(|byte| !byte.is_ascii_control()));
        // Broken over lines or not, it is the same text.
        let words = |text: &str| text.replace(['\n', ' '], "");
        prop_assert_eq!(words(&broken), words(&flat));
        for name in ["", "name", "@"] {
            let _ = (sxp.text(name), sxp.int(name), sxp.double(name), sxp.all(name).count());
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = read_reply(&bytes, Limits::default());
    }

    #[test]
    fn anything_like_json_is_read_or_refused(
        text in r#"([\[\]{},:"\\]|-?[0-9]{1,3}|[eE.+-]|null|true|"[a-z]*"|"\\u[0-9a-f]{4}"| ){0,30}"#,
    ) {
        let read = read_reply(text.as_bytes(), Limits::default());
        if let Ok(Ok(sxp)) = read {
            let again = serde_json::to_vec(&sxp).unwrap();
            // An int beyond 64 bits has become text, and stays it.
            prop_assert_eq!(super::read(&again, Limits::default()), Ok(sxp));
        }
    }

    #[test]
    fn quoting_can_be_taken_back(text in any::<String>()) {
        let quoted = repr(&text);
        prop_assert_eq!(unescape(&quoted[1..quoted.len() - 1]), text);
    }
}
