//! Reads a call of JSON-RPC 1.0 or 2.0.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{Arg, BadCall, Call, Form, ocaml_string};

/// Keeps the order of members, which a tree of `serde_json` would not promise.
impl<'de> Deserialize<'de> for Arg {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ArgVisitor;
        impl<'de> Visitor<'de> for ArgVisitor {
            type Value = Arg;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }
            fn visit_unit<E>(self) -> Result<Arg, E> {
                Ok(Arg::Nil)
            }
            fn visit_bool<E>(self, bool: bool) -> Result<Arg, E> {
                Ok(Arg::Bool(bool))
            }
            fn visit_i64<E>(self, int: i64) -> Result<Arg, E> {
                Ok(Arg::Int(int))
            }
            fn visit_u64<E: Error>(self, int: u64) -> Result<Arg, E> {
                i64::try_from(int).map(Arg::Int).map_err(|_| E::custom("Int64.of_string"))
            }
            fn visit_f64<E>(self, float: f64) -> Result<Arg, E> {
                Ok(Arg::Float(float))
            }
            fn visit_str<E>(self, text: &str) -> Result<Arg, E> {
                Ok(Arg::String(text.into()))
            }
            fn visit_string<E>(self, text: String) -> Result<Arg, E> {
                Ok(Arg::String(text))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Arg, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Arg::Array(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Arg, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Arg::Struct(members))
            }
        }
        deserializer.deserialize_any(ArgVisitor)
    }
}

/// Reads a call.
pub(crate) fn read(body: &[u8]) -> Result<Call, BadCall> {
    let root: Arg = serde_json::from_slice(body).map_err(|error| {
        let what = format!("Line {}, byte {}:\nInvalid token", error.line(), error.column());
        BadCall(format!("Yojson__Common.Json_error({})", ocaml_string(&what)))
    })?;
    let Arg::Struct(members) = root else { return Err(malformed("Invalid request body")) };
    let get = |name: &str| members.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    let name = match get("method") {
        Some(Arg::String(name)) => name.clone(),
        Some(_) => return Err(malformed("Invalid field 'method' in request body")),
        None => return Err(malformed("Required field method is missing")),
    };
    let second = match get("jsonrpc") {
        None => false,
        Some(Arg::String(version)) if version == "2.0" => true,
        Some(_) => return Err(malformed("Invalid field 'jsonrpc' in request body")),
    };
    let args = match (get("params"), second) {
        (Some(Arg::Array(args)), _) => args.clone(),
        (None, false) => return Err(malformed("Required field params is missing")),
        (None | Some(Arg::Nil), true) => Vec::new(),
        (Some(named @ Arg::Struct(_)), true) => vec![named.clone()],
        _ => return Err(malformed("Invalid field 'params' in request body")),
    };
    let id = match get("id") {
        Some(id @ (Arg::Int(_) | Arg::String(_))) => id.clone(),
        _ => return Err(malformed("Invalid field 'id' in request body")),
    };
    Ok(Call { name, args, form: if second { Form::Json2(id) } else { Form::Json1(id) } })
}

fn malformed(what: &str) -> BadCall {
    BadCall(format!("Jsonrpc.Malformed_method_request({})", ocaml_string(what)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read() {
        let call = read(br#"{"method":"a.b","params":["x",1,1.0,true,null,{"z":1,"a":2}],"id":3}"#)
            .expect("a call");
        assert_eq!(call.name, "a.b");
        assert_eq!(call.form, Form::Json1(Arg::Int(3)));
        assert_eq!(call.args[1..5], [Arg::Int(1), Arg::Float(1.0), Arg::Bool(true), Arg::Nil]);
        assert_eq!(call.args[5].to_string(), "{z:I(1);a:I(2)}");
        let call = read(br#"{"jsonrpc":"2.0","method":"a.b","id":"q"}"#).expect("a call");
        assert_eq!(call.form, Form::Json2(Arg::String("q".into())));
    }

    #[test]
    fn what_is_no_call_is_refused_in_xapis_words() {
        for (body, wanted) in [
            (r#"[{"method":"a.b","params":[],"id":1}]"#, "Invalid request body"),
            (r#"{"method":"a.b","params":[]}"#, "Invalid field 'id' in request body"),
            (r#"{"method":"a.b","params":{},"id":1}"#, "Invalid field 'params' in request body"),
            (r#"{"params":[],"id":1}"#, "Required field method is missing"),
        ] {
            let BadCall(text) = read(body.as_bytes()).expect_err("no call");
            assert_eq!(text, format!("Jsonrpc.Malformed_method_request(\"{wanted}\")"));
        }
        let BadCall(text) = read(b"{nonsense").expect_err("no call");
        assert!(text.starts_with("Yojson__Common.Json_error("), "{text}");
    }
}
