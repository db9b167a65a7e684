//! What is measured as clients get it: samples, histories and plots.

use serde::{Serialize, Serializer};

use crate::problem::{Code, Problem};
use xenapi_mirror::metrics::SampleError;

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

impl From<SampleError> for Problem {
    fn from(trouble: SampleError) -> Self {
        let code = match &trouble {
            SampleError::NotRunning | SampleError::NoHost | SampleError::NotMeasured => {
                Code::NotFound
            }
            SampleError::NotSupported => Code::NotSupported,
            SampleError::Unreachable(_) => Code::BackendUnreachable,
            SampleError::Slow | SampleError::NotYet => Code::BackendTimeout,
            SampleError::Bug => Code::Internal,
            SampleError::BadReply(_) | SampleError::Stuck => Code::BadReply,
            SampleError::NoSession => Code::Forbidden,
            SampleError::NoArchive { .. } => Code::BadParameter,
        };
        Self::new(code, trouble.to_string())
    }
}
