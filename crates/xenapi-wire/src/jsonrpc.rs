//! Writes JSON-RPC 2.0 calls.

use secrecy::ExposeSecret;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::Arg;

/// The body of a JSON-RPC 2.0 call. A float that is not finite is written as null, which XAPI
/// refuses as it would any other wrong type.
pub fn call(id: u64, method: &str, args: &[Arg]) -> Vec<u8> {
    #[derive(serde::Serialize)]
    struct Call<'a> {
        jsonrpc: &'static str,
        method: &'a str,
        params: Args<'a>,
        id: u64,
    }
    let call = Call { jsonrpc: "2.0", method, params: Args(args), id };
    serde_json::to_vec(&call).expect("every key is a string and a Vec takes every byte")
}

struct Args<'a>(&'a [Arg]);

impl Serialize for Args<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut array = serializer.serialize_seq(Some(self.0.len()))?;
        for arg in self.0 {
            array.serialize_element(&One(arg))?;
        }
        array.end()
    }
}

/// Not an impl on [`Arg`] itself: nothing but a call may write a secret out.
struct One<'a>(&'a Arg);

impl Serialize for One<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Arg::String(text) | Arg::DateTime(text) => serializer.serialize_str(text),
            Arg::Secret(text) => serializer.serialize_str(text.expose_secret()),
            Arg::Int(int) => serializer.serialize_i64(*int),
            Arg::Float(float) => serializer.serialize_f64(*float),
            Arg::Bool(bool) => serializer.serialize_bool(*bool),
            Arg::Array(items) => Args(items).serialize(serializer),
            Arg::Struct(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, &One(value))?;
                }
                map.end()
            }
            Arg::Nil => serializer.serialize_unit(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_written_as_recorded() {
        let session = Arg::Secret("OpaqueRef:1".to_owned().into());
        let body = call(7, "VM.get_all_records", &[session]);
        assert_eq!(
            String::from_utf8(body).unwrap(),
            r#"{"jsonrpc":"2.0","method":"VM.get_all_records","params":["OpaqueRef:1"],"id":7}"#
        );
    }

    #[test]
    fn every_kind_of_argument_has_its_json() {
        let args = [
            "a\"\u{1}é".into(),
            i64::MIN.into(),
            1.0.into(),
            f64::NAN.into(),
            true.into(),
            Arg::DateTime("20261122T07:25:54Z".into()),
            Arg::Array(vec![Arg::Nil]),
            Arg::Struct(vec![("k".into(), Arg::Struct(vec![]))]),
        ];
        let body = call(0, "m", &args);
        assert_eq!(
            String::from_utf8(body).unwrap(),
            concat!(
                r#"{"jsonrpc":"2.0","method":"m","params":["a\"\u0001é",-9223372036854775808,1.0,"#,
                r#"null,true,"20261122T07:25:54Z",[null],{"k":{}}],"id":0}"#
            )
        );
    }
}
