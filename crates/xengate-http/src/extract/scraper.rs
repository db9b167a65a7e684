//! Who scrapes: monitoring systems have no session, but a token from the configuration.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::request::Parts;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::Gateway;
use crate::extract::caller::bearer_or;
use crate::middleware::ConnectInfo;
use crate::problem::{Code, Problem};
use xengate_config::SecretSource;

/// Who may read the gateway's own metrics: whoever has the token of `metrics.scrape_token_file` or,
/// where none is set, a request of this machine's own.
#[derive(Debug, Clone, Copy)]
pub struct Scraper;

/// Who may read the pools' metrics: whoever has the token of `metrics.xen_token_file`.
#[derive(Debug, Clone, Copy)]
pub struct FleetScraper;

/// Headers that proxies add. Where one is, the request came from somewhere else, whatever the
/// connection's other end says.
const FORWARDED: [&str; 6] =
    ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via"];

/// A shorter token could be guessed.
const SHORTEST: usize = 16;

impl FromRequestParts<Arc<Gateway>> for Scraper {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        gateway: &Arc<Gateway>,
    ) -> Result<Self, Problem> {
        // A proxy on this machine need not say that it is one: who has set a token wants it seen.
        if let Some(file) = &gateway.config.metrics.scrape_token_file {
            return check(&parts.headers, file, "metrics.scrape_token_file").map(|()| Self);
        }
        let peer = parts.extensions.get::<ConnectInfo>().map(|arrival| arrival.peer.ip());
        if peer.is_some_and(|peer| is_own(peer, &parts.headers)) {
            return Ok(Self);
        }
        let detail = "this is answered to the gateway's own machine; others need the token of \
                      metrics.scrape_token_file, which is not set";
        Err(Problem::new(Code::Forbidden, detail))
    }
}

impl FromRequestParts<Arc<Gateway>> for FleetScraper {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        gateway: &Arc<Gateway>,
    ) -> Result<Self, Problem> {
        // Strangers are not told how the gateway is set up.
        bearer_or(
            &parts.headers,
            "send the token of metrics.xen_token_file as Authorization: Bearer",
        )?;
        let Some(file) = &gateway.config.metrics.xen_token_file else {
            let detail = "the pools' metrics need a token of their own: set metrics.xen_token_file";
            return Err(Problem::new(Code::NotConfigured, detail));
        };
        check(&parts.headers, file, "metrics.xen_token_file").map(|()| Self)
    }
}

/// Whether a request comes from the gateway's own machine, and through nobody.
fn is_own(peer: IpAddr, headers: &HeaderMap) -> bool {
    peer.to_canonical().is_loopback() && !FORWARDED.iter().any(|name| headers.contains_key(*name))
}

fn check(headers: &HeaderMap, file: &Path, setting: &str) -> Result<(), Problem> {
    let how = format!("send the token of {setting} as Authorization: Bearer");
    let given = bearer_or(headers, &how)?;
    // Read anew each time, so that a token can be changed without a restart.
    let expected = match SecretSource::File(file.to_owned()).read() {
        Ok(token) if token.expose_secret().chars().count() >= SHORTEST => token,
        Ok(_) => {
            let detail = format!("the token of {setting} is shorter than {SHORTEST} characters");
            return Err(Problem::new(Code::NotConfigured, detail));
        }
        Err(error) => {
            tracing::warn!(%error, setting, "no scrape can be answered");
            let detail = format!("the file of {setting} holds no token that can be read");
            return Err(Problem::new(Code::NotConfigured, detail));
        }
    };
    match is_same(given, &expected) {
        true => Ok(()),
        false => Err(Problem::new(Code::InvalidToken, format!("not the token of {setting}"))),
    }
}

/// Compares in a time that tells nothing: neither where they differ, nor how long either is.
fn is_same(given: &str, expected: &SecretString) -> bool {
    let hash = |text: &str| -> [u8; 32] { Sha256::digest(text).into() };
    hash(given).ct_eq(&hash(expected.expose_secret())).into()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_what_came_through_nobody_is_this_machines_own() {
        let own = |peer: &str, forwarded: Option<&'static str>| {
            let name = forwarded.map(http::HeaderName::from_static);
            let headers = name.map(|name| (name, HeaderValue::from_static("127.0.0.1")));
            is_own(peer.parse().expect("an address"), &headers.into_iter().collect())
        };
        assert!(own("127.0.0.1", None) && own("::1", None) && own("::ffff:127.9.9.9", None));
        assert!(!own("192.0.2.1", None) && !own("::", None));
        for header in FORWARDED {
            assert!(!own("127.0.0.1", Some(header)), "{header}");
        }
    }

    #[test]
    fn a_token_is_the_same_or_it_is_not() {
        let expected = SecretString::from("0123456789abcdef");
        assert!(is_same("0123456789abcdef", &expected));
        for other in ["", "0123456789abcde", "0123456789abcdeF", "0123456789abcdef0"] {
            assert!(!is_same(other, &expected), "{other}");
        }
    }
}
