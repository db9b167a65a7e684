//! `Prefer: wait=N`.

use std::time::Duration;

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::problem::{Code, Problem};

/// The longest a client may have a task waited for.
pub const LONGEST_WAIT: u64 = 60;

/// How long the client would wait for a task to end; none unless it says so. Longer waits than
/// [`LONGEST_WAIT`] are cut to it, and preferences of other kinds are left alone, as RFC 7240 has
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreferWait(pub Option<Duration>);

impl<S: Sync> FromRequestParts<S> for PreferWait {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let values = parts.headers.get_all("prefer").iter();
        let values = values.filter_map(|value| value.to_str().ok());
        let mut preferences = values.flat_map(|value| value.split(','));
        let wait = preferences.find_map(|preference| {
            let (name, value) = preference.split_once('=')?;
            name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"'))
        });
        wait.map(seconds).transpose().map(Self)
    }
}

fn seconds(text: &str) -> Result<Duration, Problem> {
    match text.parse::<u64>() {
        Ok(seconds) => Ok(Duration::from_secs(seconds.min(LONGEST_WAIT))),
        Err(_) => Err(Problem::new(
            Code::BadRequest,
            format!("Prefer: wait takes whole seconds, {LONGEST_WAIT} at most"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    async fn wait(header: Option<&str>) -> Result<Option<u64>, Problem> {
        let mut request = Request::builder();
        if let Some(value) = header {
            request = request.header("Prefer", value);
        }
        let (mut parts, ()) = request.body(()).expect("a request").into_parts();
        let wait = PreferWait::from_request_parts(&mut parts, &()).await?;
        Ok(wait.0.map(|wait| wait.as_secs()))
    }

    #[tokio::test]
    async fn waits_are_read_among_other_preferences() {
        assert_eq!(wait(None).await.ok(), Some(None));
        assert_eq!(wait(Some("wait=5")).await.ok(), Some(Some(5)));
        assert_eq!(wait(Some("respond-async, Wait=\"7\"")).await.ok(), Some(Some(7)));
        assert_eq!(wait(Some("wait=3600")).await.ok(), Some(Some(60)));
        assert_eq!(wait(Some("return=minimal")).await.ok(), Some(None));
        assert!(wait(Some("wait=soon")).await.is_err());
        assert!(wait(Some("wait=-1")).await.is_err());
    }
}
