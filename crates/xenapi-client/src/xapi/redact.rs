//! Session refs are taken out of failures before those leave this floor.

use secrecy::{ExposeSecret, SecretString};

use super::SESSION_INVALID;
use xenapi_wire::reply::Failure;

/// What stands where a session ref was.
const HIDDEN: &str = "(hidden)";

/// Whether a failure says that the session which made the call is no more.
pub(crate) fn ends_session(failure: &Failure, session: &SecretString) -> bool {
    failure.code == SESSION_INVALID
        || (names_session(failure) && failure.params.iter().any(|p| p == session.expose_secret()))
}

/// Takes every session ref out of a failure: where the Xen-API puts one, and the caller's own
/// wherever it may stand.
pub(crate) fn redact(mut failure: Failure, session: Option<&SecretString>) -> Failure {
    // A code is shown to everybody and logged; a server that puts a text there may say anything in
    // it, a password too.
    if !is_code(&failure.code) {
        failure = Failure { code: "INTERNAL_ERROR".to_owned(), params: Vec::new() };
    }
    let hidden_from = match failure.code.as_str() {
        SESSION_INVALID => 0,
        _ if names_session(&failure) => 1,
        _ => failure.params.len(),
    };
    for param in failure.params.iter_mut().skip(hidden_from) {
        HIDDEN.clone_into(param);
    }
    if let Some(session) = session {
        let session = session.expose_secret();
        let texts = failure.params.iter_mut().chain([&mut failure.code]);
        for text in texts.filter(|text| text.contains(session)) {
            *text = text.replace(session, HIDDEN);
        }
    }
    failure
}

/// Whether this is a code in the Xen-API's spelling (xend's has a space).
fn is_code(code: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"_. ".contains(&byte);
    (1..=96).contains(&code.len()) && code.bytes().all(plain)
}

fn names_session(failure: &Failure) -> bool {
    failure.code == "HANDLE_INVALID"
        && failure.params.first().is_some_and(|class| class.eq_ignore_ascii_case("session"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REF: &str = "OpaqueRef:057ec233-4c8e-1191-d165-f64320e27d9d";

    fn redacted(code: &str, params: &[&str]) -> (Failure, bool) {
        let session = SecretString::from(REF);
        let params = params.iter().map(|param| (*param).to_owned()).collect();
        let failure = Failure { code: code.to_owned(), params };
        let ends = ends_session(&failure, &session);
        (redact(failure, Some(&session)), ends)
    }

    #[test]
    fn a_text_in_the_place_of_a_code_is_not_repeated() {
        for text in ["no such method login(root,hunter2)", "A\nB", "", &"X".repeat(97)] {
            let (failure, _) = redacted(text, &["hunter2"]);
            assert_eq!((failure.code.as_str(), failure.params.len()), ("INTERNAL_ERROR", 0));
        }
        assert_eq!(redacted("VM_BAD_POWER_STATE", &["a"]).0.params, ["a"]);
    }

    #[test]
    fn a_session_ref_is_hidden_wherever_it_stands() {
        for (code, params, want, ended) in [
            (SESSION_INVALID, vec![REF], vec![HIDDEN], true),
            (SESSION_INVALID, vec!["OpaqueRef:another"], vec![HIDDEN], true),
            ("HANDLE_INVALID", vec!["session", REF], vec!["session", HIDDEN], true),
            ("HANDLE_INVALID", vec!["Session", "OpaqueRef:x"], vec!["Session", HIDDEN], false),
            ("HANDLE_INVALID", vec!["VM", "OpaqueRef:x"], vec!["VM", "OpaqueRef:x"], false),
        ] {
            let (failure, ends) = redacted(code, &params);
            assert_eq!(
                (failure.params, ends),
                (want.iter().map(|p| (*p).to_owned()).collect(), ended)
            );
        }
        let (failure, _) = redacted("INTERNAL_ERROR", &[&format!("Missing_row({REF})")]);
        assert_eq!(failure.params, [format!("Missing_row({HIDDEN})")]);
    }
}
