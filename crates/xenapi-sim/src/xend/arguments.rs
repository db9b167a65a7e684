//! Arguments as Python takes them: a string of digits is as good as an int.

use super::life::Trouble;
use crate::protocol::Arg;

/// A string, or an int's digits.
pub(super) fn text(args: &[Arg], index: usize) -> Result<String, Trouble> {
    match args.get(index) {
        Some(Arg::String(text) | Arg::DateTime(text)) => Ok(text.clone()),
        Some(Arg::Int(int)) => Ok(int.to_string()),
        Some(Arg::Bool(bool)) => Ok(i64::from(*bool).to_string()),
        Some(_) => Err(Trouble::Internal("unhashable type".into())),
        None => Err(missing()),
    }
}

/// An int, or its digits.
pub(super) fn int(args: &[Arg], index: usize) -> Result<i64, Trouble> {
    match args.get(index) {
        Some(Arg::Int(int)) => Ok(*int),
        Some(Arg::Bool(bool)) => Ok(i64::from(*bool)),
        Some(Arg::String(text)) => text.trim().parse().map_err(|_| {
            Trouble::Internal(format!("invalid literal for int() with base 10: '{text}'"))
        }),
        Some(_) => Err(Trouble::Internal("int() argument must be a string or a number".into())),
        None => Err(missing()),
    }
}

/// Whether an argument is true; one left out is not.
pub(super) fn truth(args: &[Arg], index: usize) -> bool {
    match args.get(index) {
        None | Some(Arg::Nil) => false,
        Some(Arg::Bool(bool)) => *bool,
        Some(Arg::Int(int)) => *int != 0,
        Some(Arg::Float(float)) => *float != 0.0,
        Some(Arg::String(text) | Arg::DateTime(text) | Arg::Base64(text)) => !text.is_empty(),
        Some(Arg::Array(items)) => !items.is_empty(),
        Some(Arg::Struct(members)) => !members.is_empty(),
    }
}

fn missing() -> Trouble {
    Trouble::Internal("takes exactly more arguments than were given".into())
}
