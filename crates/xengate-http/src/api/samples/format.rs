//! What is measured as clients get it: samples, histories and plots.

use serde::{Serialize, Serializer};

use crate::problem::{Code, Problem};
use xenapi_mirror::metrics::Trouble;

/// A number as clients get it: whole ones without a fraction, unknown ones as null.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number(pub f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            number if !number.is_finite() => serializer.serialize_none(),
            number if is_whole(number) => serializer.serialize_i64(number as i64),
            number => serializer.serialize_f64(number),
        }
    }
}

/// Whether a number is an integer that a float tells from its neighbours.
pub(super) fn is_whole(number: f64) -> bool {
    number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0
}

impl From<Trouble> for Problem {
    fn from(trouble: Trouble) -> Self {
        let code = match &trouble {
            Trouble::NotRunning | Trouble::NoHost | Trouble::NotMeasured => Code::NotFound,
            Trouble::NotSupported => Code::NotSupported,
            Trouble::Unreachable(_) => Code::BackendUnreachable,
            Trouble::Slow | Trouble::NotYet => Code::BackendTimeout,
            Trouble::Bug => Code::Internal,
            Trouble::BadReply(_) | Trouble::Stuck => Code::BadReply,
            Trouble::NoSession => Code::Forbidden,
            Trouble::NoArchive { .. } => Code::BadParameter,
        };
        Self::new(code, trouble.to_string())
    }
}
