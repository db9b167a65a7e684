//! The envelope around every result: success or a failure with its code.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::error::{BYTE_ORDER_MARK, ReadError, Seen};
use super::json::check_depth;
use super::mend::{may_hold_half_pairs, mended};

/// How a reply was asked for, which decides its envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// XML-RPC, transcoded to JSON: `{Status, Value | ErrorDescription}`, or `{fault}`.
    XmlRpc,
    /// JSON-RPC 2.0 or 1.0.
    JsonRpc,
}

/// A call that the server refused: a Xen-API failure code and its parameters. Its `Debug` leaves
/// the parameters out, for one of them may be a session ref.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure {
    /// The code, as in `HANDLE_INVALID`.
    pub code: String,
    /// The parameters; one that is no string is given as its JSON text.
    pub params: Vec<String>,
}

/// The code given to an XML-RPC fault; its parameters are the fault's code and its text.
pub const FAULT: &str = "FAULT";

/// What the server made of a call. Its `Debug` leaves the result out: a login's is a session ref.
#[derive(Clone)]
pub enum Outcome<'a> {
    /// The result as JSON text.
    Success(&'a RawValue),
    /// The failure.
    Failure(Failure),
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failure({}, {} params)", self.code, self.params.len())
    }
}

impl fmt::Debug for Outcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Success(result) => write!(f, "Success({} bytes)", result.get().len()),
            Outcome::Failure(failure) => failure.fmt(f),
        }
    }
}

/// How deep a whole reply may be nested. Beyond it serde_json would refuse what it reads from the
/// result anyway.
pub(crate) const MAX_DEPTH: usize = 127;

/// Reads the envelope. The result is checked to be JSON but not built as a tree.
pub fn read(dialect: Dialect, json: &[u8]) -> Result<Outcome<'_>, ReadError> {
    let json = json.strip_prefix(BYTE_ORDER_MARK).unwrap_or(json);
    match json.trim_ascii_start().first() {
        None => return Err(ReadError::Empty),
        Some(b'{') => {}
        Some(b'[') => {
            check::<serde::de::IgnoredAny>(json)?;
            return Err(ReadError::NotAReply("an array instead of an envelope"));
        }
        Some(_) => {
            return Err(match (check::<serde::de::IgnoredAny>(json), Seen::of(json)) {
                (Ok(_), _) => ReadError::NotAReply("a bare value instead of an envelope"),
                (Err(error), Seen::Json) => error,
                (Err(_), seen) => ReadError::NotJson(seen),
            });
        }
    }
    check_depth(json, MAX_DEPTH)?;
    match dialect {
        Dialect::XmlRpc => envelope(json, Status::of)?.outcome(),
        Dialect::JsonRpc => envelope(json, JsonRpc::of)?.outcome(),
    }
}

/// The same where strict readers of JSON would refuse the reply, which is mended then: see
/// [`mended`]. `room` is where the mended text is put.
pub fn read_leniently<'a>(
    dialect: Dialect,
    json: &'a [u8],
    room: &'a mut String,
) -> Result<Outcome<'a>, ReadError> {
    let strict = read(dialect, json);
    let unreadable = match &strict {
        Ok(_) => dialect == Dialect::JsonRpc && may_hold_half_pairs(json),
        Err(ReadError::Malformed { .. }) => {
            let json = json.strip_prefix(BYTE_ORDER_MARK).unwrap_or(json);
            json.trim_ascii_start().starts_with(b"{")
        }
        Err(_) => false,
    };
    if !unreadable {
        return strict;
    }
    *room = mended(json);
    read(dialect, room.as_bytes()).or(strict)
}

/// Members of an object by name, the last one of each.
pub(crate) type Members<'a> = HashMap<String, &'a RawValue>;

/// Reads an envelope. One that has a name twice is read once more, by its last members.
fn envelope<'a, T: Deserialize<'a>>(
    json: &'a [u8],
    of: impl FnOnce(&Members<'a>) -> Option<T>,
) -> Result<T, ReadError> {
    check(json).or_else(|error| match error {
        ReadError::NotAReply(_) => {
            serde_json::from_slice(json).ok().and_then(|members| of(&members)).ok_or(error)
        }
        error => Err(error),
    })
}

/// serde_json's error quotes the body's own words, so only its place is taken from it.
pub(crate) fn check<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, ReadError> {
    serde_json::from_slice(json).map_err(|error| match error.classify() {
        serde_json::error::Category::Eof => ReadError::Truncated { offset: json.len() as u64 },
        serde_json::error::Category::Data => ReadError::NotAReply("a member of the wrong type"),
        _ => ReadError::Malformed { offset: offset(json, &error), what: "not JSON" },
    })
}

fn offset(json: &[u8], error: &serde_json::Error) -> u64 {
    let line = match error.line() {
        0 | 1 => 0,
        line => memchr::memchr_iter(b'\n', json).nth(line - 2).map_or(0, |newline| newline + 1),
    };
    (line + error.column().saturating_sub(1)).min(json.len()) as u64
}

/// Tells a member that is null from one that is not there.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct Status<'a> {
    #[serde(rename = "Status", borrow)]
    status: Option<Cow<'a, str>>,
    #[serde(rename = "Value", borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    #[serde(rename = "ErrorDescription", borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    fault: Option<&'a RawValue>,
}

impl<'a> Status<'a> {
    fn of(members: &Members<'a>) -> Option<Self> {
        let status = match members.get("Status") {
            Some(status) => Some(serde_json::from_str::<String>(status.get()).ok()?.into()),
            None => None,
        };
        let of = |name: &str| members.get(name).copied();
        let (value, error, fault) = (of("Value"), of("ErrorDescription"), of("fault"));
        Some(Self { status, value, error, fault })
    }

    fn outcome(self) -> Result<Outcome<'a>, ReadError> {
        if let Some(fault) = self.fault {
            return fault_of(fault).map(Outcome::Failure);
        }
        match self.status.as_deref() {
            Some("Success") => self
                .value
                .map(Outcome::Success)
                .ok_or(ReadError::NotAReply("a Status of Success without a Value")),
            // xend answers `Error` for what it never implemented.
            Some("Failure" | "Error") => {
                const WITHOUT: ReadError = ReadError::NotAReply("a failure without its code");
                let parts = self.error.map(params_of).ok_or(WITHOUT)?;
                failure_of(parts).map(Outcome::Failure).ok_or(WITHOUT)
            }
            Some(_) => Err(ReadError::NotAReply("an unknown Status")),
            None => Err(ReadError::NotAReply("no Status")),
        }
    }
}

#[derive(Deserialize)]
struct JsonRpc<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct JsonRpcError<'a> {
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl<'a> JsonRpcError<'a> {
    fn of(members: &Members<'a>) -> Option<Self> {
        let message = serde_json::from_str::<String>(members.get("message")?.get()).ok()?.into();
        let data = members.get("data").copied().filter(|data| data.get() != "null");
        Some(Self { message, data })
    }
}

impl<'a> JsonRpc<'a> {
    fn of(members: &Members<'a>) -> Option<Self> {
        let error = members.get("error").copied().filter(|error| error.get() != "null");
        Some(Self { result: members.get("result").copied(), error })
    }

    fn outcome(self) -> Result<Outcome<'a>, ReadError> {
        let Some(error) = self.error else {
            return self
                .result
                .map(Outcome::Success)
                .ok_or(ReadError::NotAReply("neither a result nor an error"));
        };
        // 2.0 gives an object, 1.0 the failure's own array.
        let failure = if error.get().starts_with('{') {
            envelope(error.get().as_bytes(), JsonRpcError::of).ok().map(|error| {
                let params = error.data.map(params_of).unwrap_or_default();
                Failure { code: error.message.into_owned(), params }
            })
        } else {
            failure_of(params_of(error))
        };
        failure.map(Outcome::Failure).ok_or(ReadError::NotAReply("an error without its code"))
    }
}

fn failure_of(mut parts: Vec<String>) -> Option<Failure> {
    if parts.is_empty() {
        return None;
    }
    let code = parts.remove(0);
    Some(Failure { code, params: parts })
}

fn fault_of(fault: &RawValue) -> Result<Failure, ReadError> {
    #[derive(Deserialize)]
    struct Fault<'a> {
        #[serde(rename = "faultCode", borrow)]
        code: &'a RawValue,
        #[serde(rename = "faultString", borrow)]
        text: &'a RawValue,
    }
    let fault: Fault<'_> = serde_json::from_str(fault.get())
        .map_err(|_| ReadError::NotAReply("a fault without its code"))?;
    Ok(Failure { code: FAULT.to_owned(), params: vec![text_of(fault.code), text_of(fault.text)] })
}

/// The items of an array, or the one value that stands where an array should.
fn params_of(params: &RawValue) -> Vec<String> {
    match serde_json::from_str::<Vec<&RawValue>>(params.get()) {
        Ok(items) => items.into_iter().map(text_of).collect(),
        Err(_) => vec![text_of(params)],
    }
}

fn text_of(value: &RawValue) -> String {
    serde_json::from_str::<String>(value.get()).unwrap_or_else(|_| value.get().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn success(dialect: Dialect, json: &str) -> String {
        match read(dialect, json.as_bytes()) {
            Ok(Outcome::Success(result)) => result.get().to_owned(),
            other => panic!("{other:?}"),
        }
    }

    fn failure(dialect: Dialect, json: &str) -> Failure {
        match read(dialect, json.as_bytes()) {
            Ok(Outcome::Failure(failure)) => failure,
            other => panic!("{other:?}"),
        }
    }

    fn error(dialect: Dialect, json: &str) -> ReadError {
        read(dialect, json.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_success_gives_its_result_untouched() {
        use Dialect::{JsonRpc, XmlRpc};
        for (dialect, json, result) in [
            (XmlRpc, r#"{"Status":"Success","Value":{"a": [1]}}"#, r#"{"a": [1]}"#),
            (XmlRpc, r#"{"Value":"","Status":"Success"}"#, r#""""#),
            (XmlRpc, r#"{"Status":"Success","Value":null}"#, "null"),
            (JsonRpc, r#"{"jsonrpc":"2.0","result":"","id":1}"#, r#""""#),
            (JsonRpc, "\n{\"result\":[1 ,2],\"error\":null,\"id\":6}\n", "[1 ,2]"),
            (JsonRpc, r#"{"jsonrpc":"2.0","result":null,"id":1}"#, "null"),
            (JsonRpc, "\u{feff}{\"result\":1}", "1"),
        ] {
            assert_eq!(success(dialect, json), result);
        }
    }

    #[test]
    fn a_failure_gives_its_code_and_parameters() {
        use Dialect::{JsonRpc, XmlRpc};
        for (dialect, json, code, params) in [
            (
                XmlRpc,
                r#"{"Status":"Failure","ErrorDescription":["HANDLE_INVALID","VM","OpaqueRef:1"]}"#,
                "HANDLE_INVALID",
                &["VM", "OpaqueRef:1"][..],
            ),
            (
                XmlRpc,
                r#"{"Status":"Error","ErrorDescription":["ETODO",{"a":1},5]}"#,
                "ETODO",
                &[r#"{"a":1}"#, "5"],
            ),
            (
                XmlRpc,
                r#"{"fault":{"faultCode":3,"faultString":"nosuch"}}"#,
                FAULT,
                &["3", "nosuch"],
            ),
            (JsonRpc, r#"{"result":null,"error":["CODE","a\"b"],"id":6}"#, "CODE", &["a\"b"]),
            (
                JsonRpc,
                r#"{"jsonrpc":"2.0","error":{"code":1,"message":"CODE","data":["p"]},"id":5}"#,
                "CODE",
                &["p"],
            ),
            (JsonRpc, r#"{"error":{"code":-32600,"message":"Invalid"}}"#, "Invalid", &[]),
            (JsonRpc, r#"{"error":{"message":"C","data":null}}"#, "C", &[]),
            (JsonRpc, r#"{"error":{"message":"C","data":{"a":1}}}"#, "C", &[r#"{"a":1}"#]),
            (JsonRpc, r#"{"error":"CODE"}"#, "CODE", &[]),
        ] {
            let failure = failure(dialect, json);
            assert_eq!((failure.code.as_str(), failure.params), (code, strings(params)), "{json}");
        }
    }

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn what_strict_readers_refuse_costs_itself_alone() {
        let leniently = |json: &[u8]| {
            let mut room = String::new();
            match read_leniently(Dialect::JsonRpc, json, &mut room) {
                Ok(Outcome::Success(result)) => Ok(result.get().to_owned()),
                other => Err(format!("{other:?}")),
            }
        };
        for (json, result) in [
            (&br#"{"jsonrpc":"2.0","result":NaN,"id":1}"#[..], "null"),
            (br#"{"result":[{"min":-Infinity,"max":Infinity}]}"#, r#"[{"min":null,"max":null}]"#),
            (b"\xef\xbb\xbf{\"result\":nan}", "null"),
            (b"{\"result\":\"caf\xe9\"}", "\"caf\u{e9}\""),
            (br#"{"result":"\ud800"}"#, r#""\ufffd""#),
            (br#"{"result":1,"result":2}"#, "2"),
        ] {
            assert_eq!(leniently(json).as_deref(), Ok(result));
        }
        for json in [&b"{\"result\":NaN"[..], b"<html>NaN", b"NaN", b"[NaN]", b"{NaN}"] {
            assert!(leniently(json).is_err(), "{json:?}");
        }
    }

    #[test]
    fn of_a_name_that_comes_twice_the_last_counts() {
        use Dialect::{JsonRpc, XmlRpc};
        for (dialect, json) in [
            (XmlRpc, r#"{"Status":"Failure","Status":"Success","Value":1,"Value":2}"#),
            (JsonRpc, r#"{"result":1,"error":["X"],"error":null,"result":2,"id":1,"id":2}"#),
        ] {
            assert_eq!(success(dialect, json), "2");
        }
    }

    #[test]
    fn debug_shows_neither_results_nor_parameters() {
        for json in [r#"{"result":"sentinel"}"#, r#"{"error":["SESSION_INVALID","sentinel"]}"#] {
            let outcome = read(Dialect::JsonRpc, json.as_bytes()).unwrap();
            assert!(!format!("{outcome:?}").contains("sentinel"));
        }
    }

    #[test]
    fn json_that_is_no_envelope_is_not_a_reply() {
        for json in [
            "{}",
            "[]",
            "5",
            "null",
            r#"{"id":1}"#,
            r#"{"Status":"Success"}"#,
            r#"{"Status":"Odd","Value":1}"#,
            r#"{"Status":5,"Value":1}"#,
            r#"{"Status":"Failure"}"#,
            r#"{"Status":"Failure","ErrorDescription":[]}"#,
            r#"{"error":{"code":1}}"#,
            r#"{"error":[]}"#,
            r#"{"fault":"x"}"#,
        ] {
            for dialect in [Dialect::XmlRpc, Dialect::JsonRpc] {
                assert!(matches!(error(dialect, json), ReadError::NotAReply(_)), "{json}");
            }
        }
    }

    #[test]
    fn what_is_no_json_is_named_without_being_quoted() {
        for (body, expected) in [
            ("", ReadError::Empty),
            (" \n", ReadError::Empty),
            ("<!DOCTYPE html><p>sentinel", ReadError::NotJson(Seen::Html)),
            ("<html>sentinel", ReadError::NotJson(Seen::Html)),
            ("<?xml version='1.0'?><methodResponse>", ReadError::NotJson(Seen::Xml)),
            ("sentinel", ReadError::NotJson(Seen::Text)),
            ("\"sentinel", ReadError::Truncated { offset: 9 }),
            (r#"{"result":"senti"#, ReadError::Truncated { offset: 16 }),
            ("{\"result\":\n sentinel}", ReadError::Malformed { offset: 12, what: "not JSON" }),
            (r#"{"result":1} sentinel"#, ReadError::Malformed { offset: 13, what: "not JSON" }),
        ] {
            let error = error(Dialect::JsonRpc, body);
            assert_eq!(error, expected, "{body}");
            assert!(!format!("{error} {error:?}").contains("sentinel"));
        }
        let latin1 = b"{\"result\":\"caf\xe9\"}";
        assert!(matches!(
            read(Dialect::JsonRpc, latin1),
            Err(ReadError::Malformed { what: "not JSON", .. })
        ));
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_overflow() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            for depth in [200, 10_000, 1_000_000] {
                let body = format!("{{\"result\":{}1{}}}", open.repeat(depth), close.repeat(depth));
                assert_eq!(error(Dialect::JsonRpc, &body), ReadError::TooDeep { limit: MAX_DEPTH });
                let bare = format!("{}1{}", open.repeat(depth), close.repeat(depth));
                assert!(read(Dialect::JsonRpc, bare.as_bytes()).is_err());
            }
        }
        // Brackets in strings nest nothing.
        let body = format!("{{\"result\":\"{}\\\"{}\"}}", "[".repeat(500), "{".repeat(500));
        assert!(matches!(read(Dialect::JsonRpc, body.as_bytes()), Ok(Outcome::Success(_))));
    }
}
