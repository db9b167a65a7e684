//! Which web pages may open a stream: CORS does not hold for WebSockets, whose pages browsers only
//! name.

use http::request::Parts;
use http::{Uri, header};

use crate::problem::{Code, Problem};
use xengate_config::Cors;

/// Refuses a page that is neither of this host nor of an origin that CORS allows. Who names none is
/// no page.
pub fn check_origin(parts: &Parts, cors: &Cors) -> Result<(), Problem> {
    let mut origins = parts.headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else { return Ok(()) };
    let refused = || {
        Problem::new(Code::Forbidden, "the page's origin is neither this host nor in cors.origins")
    };
    let origin = origin.to_str().map_err(|_| refused())?;
    if origins.next().is_none() && (allowed(origin, cors) || is_own(origin, parts)) {
        Ok(())
    } else {
        Err(refused())
    }
}

fn allowed(origin: &str, cors: &Cors) -> bool {
    cors.origins.iter().any(|allowed| allowed == origin)
}

/// Whether the page came from where the request went.
fn is_own(origin: &str, parts: &Parts) -> bool {
    let Ok(origin) = origin.parse::<Uri>() else { return false };
    let named = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = parts.uri.authority().map(http::uri::Authority::as_str).or(named);
    match (origin.authority(), host) {
        (Some(page), Some(host)) => page.as_str().eq_ignore_ascii_case(host),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn may(origins: &[&str], uri: &str) -> bool {
        let mut request = Request::get(uri).header("host", "gate.example.com:8443");
        for origin in origins {
            request = request.header("origin", *origin);
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let cors = Cors { origins: vec!["https://ui.example.com".to_owned()] };
        check_origin(&parts, &cors).is_ok()
    }

    #[test]
    fn pages_of_this_host_and_of_allowed_origins_may() {
        assert!(may(&[], "/events"));
        assert!(may(&["https://ui.example.com"], "/events"));
        assert!(may(&["https://gate.example.com:8443"], "/events"));
        assert!(may(&["https://GATE.example.com:8443"], "/events"));
        assert!(may(&["https://other.example.com"], "https://other.example.com/events"));
        for origin in [
            "null",
            "",
            "https://evil.example.com",
            "https://gate.example.com",
            "https://gate.example.com:8443.evil.example.com",
            "http://ui.example.com",
            "https://ui.example.com.evil.example.com",
        ] {
            assert!(!may(&[origin], "/events"), "{origin}");
        }
        assert!(!may(&["https://ui.example.com", "https://evil.example.com"], "/events"));
    }
}
