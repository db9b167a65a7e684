//! Revisions as clients see them: `Xen-Revision` and `min_revision=`.
//!
//! A revision says how far the mirrors had come: an answer of revision n shows everything up to n.
//! Whoever asks with `min_revision=` sees at least that much, on whichever backend: one counter
//! serves them all.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Deserializer, de};

use super::Gateway;
use crate::in_flight::waiting;
use crate::problem::{Code, Problem};

/// How far the mirrors had come when the answer was made.
pub static XEN_REVISION: HeaderName = HeaderName::from_static("xen-revision");

/// How long a read waits for a revision that is still to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// A revision of a run of the gateway: `0f3c9a71be42-1207`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Names the run.
    pub boot: Arc<str>,
    /// Counts up while it lasts.
    pub number: u64,
}

impl Revision {
    /// The newest revision of this run.
    pub fn last(gateway: &Gateway) -> Self {
        Self { boot: gateway.boot_id.clone(), number: gateway.inventory.revision() }
    }

    /// Says in the answer's headers that this is how far the mirrors had come.
    pub fn mark(&self, response: &mut Response) {
        if let Ok(value) = HeaderValue::try_from(self.to_string()) {
            response.headers_mut().insert(XEN_REVISION.clone(), value);
        }
    }

    /// The answer to a write, with word of how far the mirrors have come by now.
    pub fn after(gateway: &Gateway, mut response: Response) -> Response {
        Self::last(gateway).mark(&mut response);
        response
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.boot, self.number)
    }
}

/// Not a revision that any gateway gave.
#[derive(Debug, thiserror::Error)]
#[error("not a value of Xen-Revision")]
pub struct NoRevision;

impl FromStr for Revision {
    type Err = NoRevision;

    fn from_str(text: &str) -> Result<Self, NoRevision> {
        let (boot, number) = text.split_once('-').ok_or(NoRevision)?;
        let is_boot = boot.len() == super::BOOT_ID_LENGTH
            && boot.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
        match number.parse() {
            Ok(number) if is_boot && is_number => Ok(Self { boot: boot.into(), number }),
            _ => Err(NoRevision),
        }
    }
}

impl<'de> Deserialize<'de> for Revision {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Waits, a while, until reads show at least this revision.
pub async fn reached(gateway: &Gateway, wanted: Option<&Revision>) -> Result<(), Problem> {
    let Some(wanted) = wanted else { return Ok(()) };
    if wanted.boot != gateway.boot_id {
        let detail = "min_revision: the gateway was started anew since; read again without it";
        return Err(Problem::new(Code::ForeignRevision, detail).with_params(["min_revision"]));
    }
    let reached = gateway.inventory.reached(wanted.number, PATIENCE);
    match waiting(gateway.stopping.run_until_cancelled(reached)).await? {
        Some(true) => Ok(()),
        Some(false) => {
            let last = Revision::last(gateway);
            let detail = format!("min_revision: reads have not come that far yet, but to {last}");
            Err(Problem::new(Code::RevisionNotReached, detail).with_params(["min_revision"]))
        }
        None => Err(Problem::from(Code::ShuttingDown)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_comes_back_as_it_went_and_nothing_else_does() {
        let revision = Revision { boot: "0f3c9a71be42".into(), number: 1207 };
        assert_eq!(revision.to_string().parse::<Revision>().ok(), Some(revision));
        let too_large = format!("0f3c9a71be42-{}0", u64::MAX);
        for wrong in [
            "",
            "1207",
            "0f3c9a71be42",
            "0f3c9a71be42-",
            "0f3c9a71be42--1",
            "0f3c9a71be42-+1",
            "0f3c9a71be42-1 ",
            "0F3C9A71BE42-1",
            "0f3c9a71be4-1",
            "0f3c9a71be4z-1",
            &too_large,
        ] {
            assert!(wrong.parse::<Revision>().is_err(), "{wrong}");
        }
    }
}
