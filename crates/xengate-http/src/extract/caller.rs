//! Who asks: a route that takes [`Authenticated`] is closed to everyone else, and one that takes
//! [`OfSession`] to everyone without a session.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, header};

use crate::Gateway;
use crate::in_flight;
use crate::middleware::ConnectInfo;
use crate::problem::{Code, Problem};
use xengate_core::auth::{AuthError, Caller, SessionHolder};

/// Somebody with a session that the backend has confirmed.
#[derive(Debug)]
pub struct Authenticated(pub Caller);

/// Somebody with a session, confirmed or not.
#[derive(Debug)]
pub struct OfSession(pub SessionHolder);

impl FromRequestParts<Arc<Gateway>> for Authenticated {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        gateway: &Arc<Gateway>,
    ) -> Result<Self, Problem> {
        let SessionHolder { session } = gateway.authority.identify(bearer(&parts.headers)?)?;
        in_flight::belongs_to(&session)?;
        let caller = gateway.authority.confirm(session).await.map_err(Problem::from)?;
        told(parts, caller.session.shared_username());
        Ok(Self(caller))
    }
}

impl FromRequestParts<Arc<Gateway>> for OfSession {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        gateway: &Arc<Gateway>,
    ) -> Result<Self, Problem> {
        let holder = gateway.authority.identify(bearer(&parts.headers)?)?;
        in_flight::belongs_to(&holder.session)?;
        told(parts, holder.session.shared_username());
        Ok(Self(holder))
    }
}

/// Tells the log whose request it is.
fn told(parts: &Parts, user: &Arc<str>) {
    if let Some(arrival) = parts.extensions.get::<ConnectInfo>() {
        arrival.span.is_from(user);
    }
}

/// The token of a session.
fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let how = "log in with POST /sessions and send its token as Authorization: Bearer";
    bearer_or(headers, how)
}

/// The token of `Authorization: Bearer …`; without one, `how` to get it. Of two headers, which the
/// `headers` crate takes the first of, nobody knows which is meant.
pub(super) fn bearer_or<'a>(headers: &'a HeaderMap, how: &str) -> Result<&'a str, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Err(Problem::new(Code::TokenRequired, how));
    };
    if values.next().is_some() {
        return Err(Problem::new(Code::TokenRequired, "Authorization comes more than once"));
    }
    value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .filter(|token| !token.is_empty())
        .ok_or_else(|| Problem::new(Code::TokenRequired, "Authorization is not Bearer and a token"))
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Invalid | AuthError::Expired => {
                Self::new(Code::InvalidToken, error.to_string())
            }
            AuthError::Unconfirmed { retry_after } => {
                Self::new(Code::BackendUnreachable, error.to_string()).retry_after(retry_after)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        let pairs =
            values.iter().map(|value| (header::AUTHORIZATION, HeaderValue::from_static(value)));
        pairs.collect()
    }

    #[test]
    fn only_one_bearer_token_will_do() {
        assert_eq!(bearer(&headers(&["Bearer abc"])).expect("token"), "abc");
        assert_eq!(bearer(&headers(&["bearer  abc "])).expect("token"), "abc");
        let wrong: [&[&'static str]; 6] =
            [&[], &["Basic YTpi"], &["Bearer"], &["Bearer "], &["abc"], &["Bearer a", "Bearer a"]];
        for values in wrong {
            let problem = bearer(&headers(values)).expect_err("no token");
            assert_eq!(problem.code(), "TOKEN_REQUIRED");
        }
    }
}
