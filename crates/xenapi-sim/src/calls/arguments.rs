//! Turns what came into what the datamodel wants, or into XAPI's complaint.

use crate::database::Value;
use crate::protocol::{Arg, Failure, ocaml_string};
use xenapi_model::{Class, Param, Qualifier, Type, datamodel};

/// A string, such as a session.
pub(super) fn string(arg: &Arg) -> Result<String, Failure> {
    match arg {
        Arg::String(text) => Ok(text.clone()),
        other => Err(Failure::internal(&format!("Expected string, got '{other}'"))),
    }
}

/// An argument, or its default when it was left out.
pub(super) fn typed(param: &Param, arg: Option<&Arg>) -> Result<Value, Failure> {
    if let Some(arg) = arg {
        return value(arg, &param.ty);
    }
    let default = param.default.as_ref().and_then(|default| Value::of_default(default, &param.ty));
    Ok(default.unwrap_or_else(|| Value::empty(&param.ty, datamodel())))
}

/// A value of a type.
pub(crate) fn value(arg: &Arg, ty: &Type) -> Result<Value, Failure> {
    let expected = |what: &str| Failure::internal(&format!("Expected {what}, got '{arg}'"));
    let expecting = |what: &str| Failure::internal(&format!("Expecting {what}, but found '{arg}'"));
    Ok(match (ty, arg) {
        (Type::String | Type::Secret | Type::Ref(_), _) => Value::text(string(arg)?),
        (Type::Int, Arg::Int(int)) => Value::Int(*int),
        (Type::Int, Arg::String(text)) => {
            Value::Int(ocaml_int(text).ok_or_else(|| Failure::internal("Int64.of_string"))?)
        }
        (Type::Int, _) => return Err(expected("int64")),
        (Type::Float, Arg::Float(float)) => Value::Float(*float),
        (Type::Float, Arg::Int(int)) => Value::Float(*int as f64),
        (Type::Float, Arg::String(text)) => {
            Value::Float(text.parse().map_err(|_| Failure::internal("float_of_string"))?)
        }
        (Type::Float, _) => return Err(expected("float")),
        (Type::Bool, Arg::Bool(bool)) => Value::Bool(*bool),
        (Type::Bool, _) => return Err(expected("bool")),
        (Type::DateTime, Arg::DateTime(text) | Arg::String(text)) => {
            Value::date_time(date_time(text)?)
        }
        (Type::DateTime, _) => return Err(Failure::internal("Date.t_of_rpc")),
        (Type::Enum(id), Arg::String(text)) => {
            let known = &datamodel().enumeration(*id).values;
            let known = known.iter().find(|known| known.eq_ignore_ascii_case(text));
            let known = known.ok_or_else(|| Failure::internal("Unknown tag/contents"))?;
            Value::text(known.as_str())
        }
        (Type::Enum(_), _) => return Err(Failure::internal("Unknown tag/contents")),
        (Type::Set(of), Arg::Array(items)) => {
            Value::Set(items.iter().map(|item| value(item, of)).collect::<Result<_, _>>()?)
        }
        (Type::Option(of), Arg::Array(items)) if items.is_empty() => Value::empty(of, datamodel()),
        (Type::Option(of), Arg::Array(items)) if items.len() == 1 => value(&items[0], of)?,
        (Type::Set(_) | Type::Option(_), _) => return Err(expecting("Rpc.Enum")),
        (Type::Map(key, of), Arg::Struct(members)) => Value::Map(
            members
                .iter()
                .map(|(name, member)| {
                    Ok((value(&Arg::String(name.clone()), key)?, value(member, of)?))
                })
                .collect::<Result<_, Failure>>()?,
        ),
        (Type::Map(..), _) => return Err(expecting("Rpc.Dict")),
        (Type::Record(class), Arg::Struct(members)) => record(datamodel().get(*class), members)?,
        (Type::Record(_), _) => return Err(Failure::internal("bad __structure")),
    })
}

/// The record that a constructor takes: the fields a client may give, as a map by their names.
/// Others are ignored, as XAPI does.
fn record(class: &Class, members: &[(String, Arg)]) -> Result<Value, Failure> {
    let mut fields = Vec::new();
    for field in class.fields.iter().filter(|field| field.qualifier != Qualifier::Runtime) {
        let given = members.iter().find(|(name, _)| *name == field.name);
        let value = match (given, &field.default) {
            (Some((_, arg)), _) => value(arg, &field.ty)?,
            (None, Some(default)) => Value::of_default(default, &field.ty)
                .unwrap_or_else(|| Value::empty(&field.ty, datamodel())),
            (None, None) => {
                let name = ocaml_string(&field.name);
                let exception = format!("Server_helpers.Dispatcher_FieldNotFound({name})");
                return Err(Failure::new("INTERNAL_ERROR", [exception]));
            }
        };
        fields.push((Value::text(field.name.as_str()), value));
    }
    Ok(Value::Map(fields))
}

/// `Int64.of_string`, which also knows other bases and underscores.
fn ocaml_int(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match digits.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        Some("0u") => (10, &digits[2..]),
        _ => (10, digits),
    };
    if !digits.starts_with(|first: char| first.is_digit(radix)) {
        return None;
    }
    let digits: String = digits.chars().filter(|digit| *digit != '_').collect();
    let int = i128::from_str_radix(&digits, radix).ok()?;
    i64::try_from(if negative { -int } else { int }).ok()
}

/// An instant as XAPI would print it again.
fn date_time(text: &str) -> Result<String, Failure> {
    let invalid = || {
        let text = format!("Invalid argument: Clock__Date.of_iso8601: {text}");
        Failure::new("INTERNAL_ERROR", [text])
    };
    let (date, time) = text.split_once('T').ok_or_else(invalid)?;
    let date = date.replace('-', "");
    let (clock, zone) = time.split_at_checked(8).ok_or_else(invalid)?;
    let digits = |text: &str, len| text.len() == len && text.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<_> = clock.split(':').collect();
    if !digits(&date, 8) || parts.len() != 3 || !parts.iter().all(|part| digits(part, 2)) {
        return Err(invalid());
    }
    Ok(format!("{date}T{clock}{}", if zone.is_empty() { "Z" } else { zone }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(arg: Arg, ty: &Type) -> String {
        let failure = value(&arg, ty).expect_err("a complaint");
        assert_eq!(failure.code, "INTERNAL_ERROR");
        failure.params.concat()
    }

    #[test]
    fn ints_come_in_many_forms() {
        for (text, int) in [("10", 10), ("-5", -5), ("0x1F", 31), ("1_000", 1000), ("0b11", 3)] {
            assert_eq!(value(&Arg::String(text.into()), &Type::Int), Ok(Value::Int(int)), "{text}");
        }
        let wrong = Arg::String("1.0".into());
        assert_eq!(complaint(wrong, &Type::Int), "Failure(\"Int64.of_string\")");
        assert_eq!(
            complaint(Arg::Float(1.0), &Type::Int),
            "Failure(\"Expected int64, got 'F(1)'\")"
        );
    }

    #[test]
    fn bools_and_sets_are_strict() {
        let text = Arg::String("true".into());
        assert_eq!(
            complaint(text.clone(), &Type::Bool),
            "Failure(\"Expected bool, got 'S(true)'\")"
        );
        let set = Type::Set(Box::new(Type::String));
        assert_eq!(complaint(text, &set), "Failure(\"Expecting Rpc.Enum, but found 'S(true)'\")");
        let enumeration = Type::Enum(xenapi_model::EnumId(0));
        let wrong = Arg::String("nonsense".into());
        assert_eq!(complaint(wrong, &enumeration), "Failure(\"Unknown tag/contents\")");
    }

    #[test]
    fn instants_are_read_in_both_forms() {
        let read = |text: &str| value(&Arg::String(text.into()), &Type::DateTime);
        let wanted = Ok(Value::date_time("20261122T07:25:54Z"));
        for text in ["20261122T07:25:54Z", "2026-11-22T07:25:54Z", "20261122T07:25:54"] {
            assert_eq!(read(text), wanted, "{text}");
        }
        for wrong in ["", "now", "20261122", "2026T07:25", "20261122T07h25m54", "é0261122T07:25:54"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
