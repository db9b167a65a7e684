//! What holds for made-up replies.

use std::collections::BTreeMap;

use dxr::{MethodResponse, Value};
use proptest::prelude::*;
use serde_json::json;

use super::{Limits, invariants, xmlrpc};

/// Pieces of replies, well put together or not.
const PIECES: [&[u8]; 42] = [
    b"<?xml version='1.0'?>",
    b"<methodResponse><params><param>",
    b"</param></params></methodResponse>",
    b"<methodResponse><fault>",
    b"</fault></methodResponse>",
    b"<params/>",
    b"<value>",
    b"</value>",
    b"<value/>",
    b"<struct>",
    b"</struct>",
    b"<struct/></value>",
    b"<member>",
    b"</member>",
    b"<name>",
    b"</name>",
    b"<name>a</name>",
    b"<array><data>",
    b"</data></array>",
    b"<data/>",
    b"<string>",
    b"</string>",
    b"<int>5</int>",
    b"<i8>",
    b"</i8>",
    b"<double>1e3</double>",
    b"<boolean>1</boolean></value>",
    b"<ex:nil/>",
    b"<dateTime.iso8601>20261122T07:25:54Z</dateTime.iso8601>",
    b"<!-- - -->",
    b"<![CDATA[]]]>]]>",
    b"<!DOCTYPE html>",
    b"<?pi?>",
    b"&lt;",
    b"&#x1F600;",
    b"&unknown;",
    b" \n",
    b"text \"\\ ",
    b"\xe2\x82\xac",
    b"\xe9\xf0\x9f",
    b"\x01",
    b"<",
];

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        20 => prop::sample::select(&PIECES[..]).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// A reply that is well put together around a value that need not be.
fn reply() -> impl Strategy<Value = Vec<u8>> {
    pieces().prop_map(|value| {
        let head = &b"<methodResponse><params><param><value>"[..];
        [head, &value, b"</value></param></params></methodResponse>"].concat()
    })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[ -~\n\t]{0,12}"]
        // Neither XML nor dxr can carry these.
        .prop_map(|text| text.replace(['\r', '\u{fffe}', '\u{ffff}'], ""))
        .prop_map(|text| text.replace(|c: char| c.is_control() && c != '\n' && c != '\t', ""))
}

/// A value, and the JSON it should become.
fn value() -> impl Strategy<Value = (Value, serde_json::Value)> {
    let leaf = prop_oneof![
        text().prop_map(|text| (Value::String(text.clone()), json!(text))),
        any::<i32>().prop_map(|int| (Value::Integer(int), json!(int))),
        any::<i64>().prop_map(|int| (Value::Long(int), json!(int))),
        any::<bool>().prop_map(|bool| (Value::Boolean(bool), json!(bool))),
        any::<f64>().prop_map(|float| (Value::Double(float), json!(float))),
        Just((Value::Nil, json!(null))),
        (1970..2100, 1..13, 1..29, 0..24, 0..60).prop_map(|(year, month, day, hour, minute)| {
            let date = format!("{year}{month:02}{day:02}T{hour:02}:{minute:02}:00");
            (Value::DateTime(date.parse().unwrap()), json!(date))
        }),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(|items| {
                let (values, jsons): (Vec<_>, Vec<_>) = items.into_iter().unzip();
                (Value::Array(values), json!(jsons))
            }),
            prop::collection::btree_map(text(), inner, 0..8).prop_map(|members| {
                let (mut values, mut jsons) = (BTreeMap::new(), serde_json::Map::new());
                for (name, (value, json)) in members {
                    values.insert(name.clone(), value);
                    jsons.insert(name, json);
                }
                (Value::Struct(values), jsons.into())
            }),
        ]
    })
}

/// Pieces of JSON, well put together or not.
fn json_text() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: [&str; 20] = [
        "{\"result\":{\"events\":[",
        "]}}",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\\\"",
        "\"result\":",
        "\"events\":[",
        "{\"a\":[1,\"]\"]}",
        "5",
        "null",
        " ",
        "\"b\"",
        "é",
        "}}",
    ];
    prop::collection::vec(prop::sample::select(&PIECES[..]), 0..30)
        .prop_map(|pieces| pieces.concat().into_bytes())
}

fn seed(chunk: u8, body: &[u8]) -> Vec<u8> {
    [&[chunk], body].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_bytes_are_read_alike_in_any_chunks(body in pieces(), chunk in any::<u8>()) {
        invariants::xmlrpc_reply(&seed(chunk, &body));
    }

    #[test]
    fn any_value_is_read_alike_in_any_chunks(body in reply(), chunk in any::<u8>()) {
        invariants::xmlrpc_reply(&seed(chunk, &body));
    }

    #[test]
    fn any_json_is_split_alike_in_any_chunks(body in json_text(), chunk in any::<u8>()) {
        invariants::json_split(&seed(chunk, &body));
    }

    #[test]
    fn events_come_out_as_they_went_in((_, event) in value(), count in 0..5_usize, pretty: bool) {
        let events = vec![event; count];
        let reply = json!({"a": {"events": [1]}, "result": {"b": [[]], "events": events, "c": 1}});
        let text = if pretty { serde_json::to_vec_pretty(&reply) } else { serde_json::to_vec(&reply) };
        invariants::json_split(&seed(9, &text.unwrap()));
        let mut splitter = super::split::ArraySplitter::new(&["result", "events"], Limits::default());
        let mut seen = 0;
        splitter.push(&text_of(&reply), &mut |element: &[u8]| {
            assert_eq!(serde_json::from_slice::<serde_json::Value>(element).unwrap(), events[0]);
            seen += 1;
            Ok::<_, super::ReadError>(())
        }).unwrap();
        prop_assert_eq!(seen, count);
        let frame: serde_json::Value = serde_json::from_slice(&splitter.finish().unwrap()).unwrap();
        prop_assert_eq!(frame, json!({"a": {"events": [1]}, "result": {"b": [[]], "events": [], "c": 1}}));
    }

    #[test]
    fn what_dxr_writes_becomes_its_json((value, expected) in value(), chunk in any::<u8>()) {
        let body = MethodResponse { value }.to_xml().unwrap();
        invariants::xmlrpc_reply(&seed(chunk, body.as_bytes()));
        let json = xmlrpc::to_json(body.as_bytes(), Limits::default()).unwrap();
        prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&json).unwrap(), expected);
    }
}

fn text_of(json: &serde_json::Value) -> Vec<u8> {
    serde_json::to_vec(json).unwrap()
}
