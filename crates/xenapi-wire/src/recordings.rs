//! The readers over what real servers said.

use serde_json::Value;

use super::reply::{self, Dialect, Failure, Outcome};
use super::split::ArraySplitter;
use super::{Limits, ReadError, xmlrpc};

macro_rules! recorded {
    ($name:expr) => {
        include_bytes!(concat!("../../../tests/fixtures/wire/", $name)).as_slice()
    };
}

/// One call to a XAPI by XML-RPC, by JSON-RPC 1.0 and by 2.0.
macro_rules! three {
    ($name:literal) => {
        [
            recorded!(concat!("xapi/", $name, ".xml")),
            recorded!(concat!("xapi/", $name, ".json1")),
            recorded!(concat!("xapi/", $name, ".json2")),
        ]
    };
}

fn from_xml(xml: &[u8]) -> Result<Value, Failure> {
    let json = xmlrpc::to_json(xml, Limits::default()).unwrap();
    outcome(reply::read(Dialect::XmlRpc, &json))
}

fn outcome(outcome: Result<Outcome<'_>, ReadError>) -> Result<Value, Failure> {
    match outcome.unwrap() {
        Outcome::Success(result) => Ok(serde_json::from_str(result.get()).unwrap()),
        Outcome::Failure(failure) => Err(failure),
    }
}

/// Whether two replies say the same. XAPI's XML has ints without a type, so they are strings.
fn assert_same(xml: &Value, json: &Value) {
    match (xml, json) {
        (Value::String(text), Value::Number(int)) if int.is_i64() => {
            assert_eq!(*text, int.to_string());
        }
        (Value::Array(xml), Value::Array(json)) => {
            assert_eq!(xml.len(), json.len());
            xml.iter().zip(json).for_each(|(xml, json)| assert_same(xml, json));
        }
        (Value::Object(xml), Value::Object(json)) => {
            assert!(xml.keys().eq(json.keys()));
            xml.values().zip(json.values()).for_each(|(xml, json)| assert_same(xml, json));
        }
        _ => assert_eq!(xml, json),
    }
}

#[test]
fn xapi_says_the_same_in_every_dialect() {
    for [xml, json1, json2] in
        [three!("all_vm"), three!("all_vm_metrics"), three!("all_console"), three!("task_record")]
    {
        let xml = from_xml(xml).unwrap();
        assert!(xml.as_object().is_some_and(|records| !records.is_empty()));
        for json in [json1, json2] {
            assert_same(&xml, &outcome(reply::read(Dialect::JsonRpc, json)).unwrap());
        }
    }
}

#[test]
fn each_login_gives_a_session() {
    let [xml, json1, json2] = three!("login");
    let mut sessions = vec![from_xml(xml).unwrap()];
    for json in [json1, json2] {
        sessions.push(outcome(reply::read(Dialect::JsonRpc, json)).unwrap());
    }
    for session in sessions {
        assert!(session.as_str().is_some_and(|session| session.starts_with("OpaqueRef:")));
    }
}

#[test]
fn a_failure_is_the_same_in_every_dialect() {
    for ([xml, json1, json2], code, params) in [
        (
            three!("handle_invalid"),
            "HANDLE_INVALID",
            &["VM", "OpaqueRef:11111111-2222-3333-4444-555555555555"][..],
        ),
        (three!("param_count"), "MESSAGE_PARAMETER_COUNT_MISMATCH", &["VM.get_record", "1", "0"]),
    ] {
        let params = params.iter().map(|param| (*param).to_owned()).collect();
        let expected = Err(Failure { code: code.to_owned(), params });
        assert_eq!(from_xml(xml), expected);
        for json in [json1, json2] {
            assert_eq!(outcome(reply::read(Dialect::JsonRpc, json)), expected);
        }
    }
}

#[test]
fn events_are_split_from_either_dialect_in_any_chunks() {
    for chunk in [1, 7, 1000, usize::MAX] {
        let mut transcoder = xmlrpc::Transcoder::new(Limits::default());
        let mut splitter = ArraySplitter::new(&["Value", "events"], Limits::default());
        let (mut json, mut events) = (Vec::new(), Vec::new());
        for bytes in recorded!("xapi/event_from_mod.xml").chunks(chunk) {
            transcoder.push(bytes, &mut json).unwrap();
            splitter.push(&json, &mut collect(&mut events)).unwrap();
            json.clear();
        }
        transcoder.finish().unwrap();
        let frame = splitter.finish().unwrap();
        let frame = outcome(reply::read(Dialect::XmlRpc, &frame)).unwrap();
        assert_eq!(frame["events"], Value::Array(vec![]));
        assert_eq!(frame["token"], "00000000000000089850,00000000000000000000");
        assert_eq!(frame["valid_ref_counts"]["driver_variant"], 22);
        assert_eq!(events.len(), 1);
        assert_eq!(events[0]["snapshot"]["name_label"], "renamed");

        let mut splitter = ArraySplitter::new(&["result", "events"], Limits::default());
        let mut events = Vec::new();
        for bytes in recorded!("xapi/event_from_pool.json2").chunks(chunk) {
            splitter.push(bytes, &mut collect(&mut events)).unwrap();
        }
        let frame = splitter.finish().unwrap();
        let frame = outcome(reply::read(Dialect::JsonRpc, &frame)).unwrap();
        assert_eq!(frame["valid_ref_counts"]["pool"], 1);
        assert_eq!(events.len(), 1);
        assert_eq!(events[0]["class"], "pool");
    }
}

fn collect(events: &mut Vec<Value>) -> impl FnMut(&[u8]) -> Result<(), ReadError> {
    |event| {
        events.push(serde_json::from_slice(event).unwrap());
        Ok(())
    }
}

#[test]
fn xend_is_read_byte_strings_and_all() {
    assert_eq!(from_xml(recorded!("xend/latin1_bytes.xml")).unwrap(), "café");
    assert_eq!(from_xml(recorded!("xend/utf8_bytes.xml")).unwrap(), "café");
    assert_eq!(from_xml(recorded!("xend/control_bytes.xml")).unwrap(), "a\u{1}b\u{8}");

    let records = from_xml(recorded!("xend/vanished_record.xml")).unwrap();
    assert_eq!(records["deadbeef-0000-0000-0000-000000000000"], Value::Null);
    let record = &records["a9fc5bd6-39b5-5989-16d3-35764acf979d"];
    assert_eq!(record["VCPUs_params"]["weight"], "256");
    assert_eq!(record["is_a_template"], false);
}

#[test]
fn xend_fails_in_three_ways() {
    let error = from_xml(recorded!("xend/error.xml")).unwrap_err();
    assert_eq!((error.code.as_str(), error.params.len()), ("ETODO", 1));
    let fault = from_xml(recorded!("xend/fault.xml")).unwrap_err();
    assert_eq!((fault.code.as_str(), fault.params[0].as_str()), (reply::FAULT, "3"));
    // The legacy dialect has no envelope: its result stands alone.
    let json = xmlrpc::to_json(recorded!("xend/legacy_latin1_bytes.xml"), Limits::default());
    let json = json.unwrap();
    assert!(matches!(reply::read(Dialect::XmlRpc, &json), Err(ReadError::NotAReply(_))));
    let domain: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(domain[1], serde_json::json!(["domid", 11]));
    assert!(String::from_utf8(json).unwrap().contains("café"));
}
