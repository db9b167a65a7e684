//! `{uuid}` in a path.

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use uuid::Uuid;

use super::echo;
use crate::problem::{Code, Problem};

/// The uuid in the path, of the object it is about; what is no uuid gets a 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectUuid(pub Uuid);

impl<S: Send + Sync> FromRequestParts<S> for ObjectUuid {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::new(Code::MalformedUuid, "the path is not UTF-8"))?;
        let text =
            params.iter().find(|(name, _)| *name == "uuid").map(|(_, value)| value).unwrap_or("");
        parse(text).map(Self).ok_or_else(|| {
            let detail = format!("{:?} is not a uuid", echo(text));
            Problem::new(Code::MalformedUuid, detail).with_params([echo(text)])
        })
    }
}

/// A uuid in the one form the Xen-API uses; the other forms of RFC 9562 would give one object
/// several addresses.
fn parse(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hyphenated_form_is_a_uuid() {
        assert!(parse("6d2b6a53-9c2c-4b1c-9d1c-0123456789ab").is_some());
        assert!(parse("6D2B6A53-9C2C-4B1C-9D1C-0123456789AB").is_some());
        for wrong in [
            "",
            "6d2b6a539c2c4b1c9d1c0123456789ab",
            "{6d2b6a53-9c2c-4b1c-9d1c-0123456789ab}",
            "6d2b6a53-9c2c-4b1c-9d1c-0123456789ag",
            "OpaqueRef:6d2b6a53-9c2c-4b1c-9d1c-01",
        ] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }
}
