//! Writes XML-RPC calls.

use dxr::{MethodCall, Value};
use secrecy::ExposeSecret;

use crate::Arg;

/// Why a call cannot be written as XML-RPC. Its text names no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// A datetime that is not of the form `20261122T07:25:54Z`.
    #[error("an argument is no date of the form 20261122T07:25:54Z")]
    DateTime,
    /// A character that XML has no way to write: most control characters.
    #[error("an argument holds a character that XML cannot carry")]
    Character,
    /// A float that is not finite.
    #[error("an argument is a number that is not finite")]
    NotFinite,
    /// Anything else, which dxr does not say more safely.
    #[error("the call cannot be written as XML-RPC")]
    Write,
}

/// The body of an XML-RPC call.
pub fn call(method: &str, args: &[Arg]) -> Result<Vec<u8>, WriteError> {
    let params = args.iter().map(value).collect::<Result<_, _>>()?;
    let call = MethodCall { name: checked(method)?.into(), params };
    // dxr's error quotes what it could not write.
    let xml = call.to_xml().map_err(|_| WriteError::Write)?;
    // An XML reader takes a raw carriage return for a line feed. Ours can only be in texts.
    Ok(match xml.contains('\r') {
        true => xml.replace('\r', "&#13;").into_bytes(),
        false => xml.into_bytes(),
    })
}

fn value(arg: &Arg) -> Result<Value, WriteError> {
    Ok(match arg {
        Arg::String(text) => Value::String(checked(text)?.to_owned()),
        Arg::Secret(text) => Value::String(checked(text.expose_secret())?.to_owned()),
        Arg::Int(int) => match i32::try_from(*int) {
            Ok(short) => Value::Integer(short),
            Err(_) => Value::Long(*int),
        },
        Arg::Float(float) if float.is_finite() => Value::Double(*float),
        Arg::Float(_) => return Err(WriteError::NotFinite),
        Arg::Bool(bool) => Value::Boolean(*bool),
        Arg::DateTime(text) => {
            let date = text.strip_suffix('Z').unwrap_or(text);
            Value::DateTime(date.parse().map_err(|_| WriteError::DateTime)?)
        }
        Arg::Array(items) => Value::Array(items.iter().map(value).collect::<Result<_, _>>()?),
        Arg::Struct(members) => Value::Struct(
            members
                .iter()
                .map(|(name, arg)| Ok((checked(name)?.to_owned(), value(arg)?)))
                .collect::<Result<_, WriteError>>()?,
        ),
        Arg::Nil => Value::Nil,
    })
}

fn checked(text: &str) -> Result<&str, WriteError> {
    let unwritable = |character| {
        matches!(character, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}')
            || matches!(character, '\u{fffe}' | '\u{ffff}')
    };
    match text.contains(unwritable) {
        true => Err(WriteError::Character),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(args: &[Arg]) -> Result<String, WriteError> {
        call("VM.m", args).map(|body| String::from_utf8(body).unwrap())
    }

    #[test]
    fn every_kind_of_argument_has_its_element() {
        let args = [
            Arg::Secret("a<&>\"é\r\n".to_owned().into()),
            5.into(),
            (1_i64 << 40).into(),
            true.into(),
            1.5.into(),
            Arg::DateTime("20261122T07:25:54Z".into()),
            Arg::Array(vec![Arg::Nil]),
            Arg::Struct(vec![("k".into(), Arg::Array(vec![]))]),
        ];
        assert_eq!(
            written(&args).unwrap(),
            concat!(
                "<methodCall><methodName>VM.m</methodName><params>",
                "<param><value><string>a&lt;&amp;&gt;&quot;é&#13;\n</string></value></param>",
                "<param><value><i4>5</i4></value></param>",
                "<param><value><i8>1099511627776</i8></value></param>",
                "<param><value><boolean>1</boolean></value></param>",
                "<param><value><double>1.5</double></value></param>",
                "<param><value><dateTime.iso8601>20261122T07:25:54</dateTime.iso8601></value></param>",
                "<param><value><array><data><value><nil></nil></value></data></array></value></param>",
                "<param><value><struct><member><name>k</name><value><array><data></data></array>",
                "</value></member></struct></value></param></params></methodCall>",
            )
        );
    }

    #[test]
    fn what_xml_cannot_carry_is_refused() {
        assert_eq!(written(&["a\u{1}".into()]), Err(WriteError::Character));
        assert_eq!(written(&[Arg::Array(vec!["\u{ffff}".into()])]), Err(WriteError::Character));
        assert_eq!(written(&[f64::NAN.into()]), Err(WriteError::NotFinite));
        assert_eq!(written(&[Arg::DateTime("2026-11-22".into())]), Err(WriteError::DateTime));
        assert_eq!(written(&["\t\n".into()]).map(|_| ()), Ok(()));
    }
}
