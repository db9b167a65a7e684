mod dialects;
mod events;
mod guard;
mod login;
mod recorded;

use std::sync::Arc;

use secrecy::SecretString;

use super::SESSION_INVALID;
use crate::testing::{Act, Asked, Server, failure, http, json};
use crate::{Backend, BadReply, CallError, Fault, Reason, Retry, Session, Unreachable, Unsendable};
use xenapi_wire::Arg;
use xenapi_wire::reply::Failure;
use xengate_config::{BackendConfig, Kind};

const REF: &str = "OpaqueRef:08f2e239-1929-cec4-66ed-633fa5259042";

/// What a healthy XAPI answers to what is asked around a login.
fn around_login(asked: &Asked) -> Option<Vec<u8>> {
    let session = r#"{"uuid":"2f3d","is_local_superuser":false,"this_host":"OpaqueRef:h",
        "rbac_permissions":["vm.start","vm.get_all"],"auth_user_name":"root"}"#;
    let host = r#"{"API_version_major":2,"API_version_minor":21,"software_version":
        {"product_brand":"XCP-ng","product_version":"8.3.0","xapi":"24.19"}}"#;
    Some(match () {
        () if asked.is("session.login_with_password") => json(&format!("\"{REF}\"")),
        () if asked.is("session.get_record") => json(session),
        () if asked.is("host.get_record") => json(host),
        () => return None,
    })
}

/// A server that lets everyone in and does with every other call what it is told to.
async fn server(rest: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> Server {
    Server::start(move |asked| around_login(asked).map_or_else(|| rest(asked), Act::Answer)).await
}

fn backend(uris: &[String], change: impl FnOnce(&mut BackendConfig)) -> Arc<Backend> {
    let mut config = BackendConfig::new(uris.to_vec());
    config.kind = Kind::Xapi;
    change(&mut config);
    Backend::new("pool", &config).expect("a good configuration")
}

async fn login(backend: &Arc<Backend>) -> Result<Arc<Session>, CallError> {
    backend.login("root", &SecretString::from("sentinel-password"), "xengate/root").await
}

async fn logged_in(server: &Server) -> (Arc<Backend>, Arc<Session>) {
    let backend = backend(&[server.uri()], |_| {});
    let session = login(&backend).await.expect("a session");
    (backend, session)
}

fn failure_of<T: std::fmt::Debug>(result: Result<T, CallError>) -> Failure {
    match result {
        Err(CallError::Failure(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

fn calls(server: &Server, call: &str) -> usize {
    server.asked().iter().filter(|asked| asked.is(call)).count()
}

#[tokio::test]
async fn a_call_carries_the_session_first_and_gives_the_result() {
    let server = server(|_| Act::Answer(json("[\"OpaqueRef:1\"]"))).await;
    let (backend, session) = logged_in(&server).await;
    let args = [Arg::String("web".to_owned())];
    let value = backend.call(&session, "VM.get_by_name_label", &args, Retry::Read).await;
    assert_eq!(value.expect("a result").get(), "[\"OpaqueRef:1\"]");
    let body = &server.asked()[3].body;
    assert!(body.contains(&format!("\"params\":[\"{REF}\",\"web\"]")), "{body}");
    assert_eq!(backend.description().last_error, None);
}

#[tokio::test]
async fn no_session_ref_and_no_password_gets_out() {
    let server = server(|asked| match asked.number {
        4 => Act::Answer(failure("INTERNAL_ERROR", &[&format!("Read_missing_uuid({REF})")])),
        5 => Act::Answer(failure("HANDLE_INVALID", &["session", "OpaqueRef:another"])),
        _ => Act::Answer(failure(SESSION_INVALID, &[REF])),
    })
    .await;
    let (backend, session) = logged_in(&server).await;
    let mut told = format!("{backend:?} {session:?}");
    for _ in 0..3 {
        let failure = failure_of(backend.call(&session, "VM.get_all", &[], Retry::Read).await);
        told += &format!("{failure:?}");
    }
    assert!(told.contains("SESSION_INVALID"), "{told}");
    for secret in [REF, "another", "sentinel-password"] {
        assert!(!told.contains(secret), "{told}");
    }
}

#[tokio::test]
async fn a_session_that_is_no_more_ends() {
    let server = server(|_| Act::Answer(failure(SESSION_INVALID, &[REF]))).await;
    let (backend, session) = logged_in(&server).await;
    assert!(!session.ended().is_cancelled());
    assert_eq!(failure_of(backend.check(&session).await).code, SESSION_INVALID);
    assert!(session.ended().is_cancelled());
    let asked = server.asked().len();
    assert_eq!(failure_of(backend.check(&session).await).code, SESSION_INVALID);
    backend.logout(&session).await;
    assert_eq!(server.asked().len(), asked, "there is nobody left to ask about");
}

#[tokio::test]
async fn a_logout_ends_the_session_once() {
    let server = server(|_| Act::Answer(json("\"\""))).await;
    let (backend, session) = logged_in(&server).await;
    backend.check(&session).await.expect("a good session");
    // Whoever holds the session may give the word; the backend is told all the same.
    session.ended().cancel();
    backend.logout(&session).await;
    backend.logout(&session).await;
    assert_eq!(calls(&server, "session.logout"), 1);
}

#[tokio::test]
async fn a_session_is_shown_to_no_other_backend() {
    let server = server(|_| Act::Answer(json("\"\""))).await;
    let (_, session) = logged_in(&server).await;
    let config = BackendConfig { kind: Kind::Xapi, ..BackendConfig::new(vec![server.uri()]) };
    let other = Backend::new("other", &config).expect("a backend");
    let asked = server.asked().len();
    assert_eq!(failure_of(other.check(&session).await).code, SESSION_INVALID);
    other.logout(&session).await;
    assert_eq!(server.asked().len(), asked);
    assert!(!session.ended().is_cancelled());
}

#[tokio::test]
async fn bad_replies_to_a_call_are_errors() {
    let deep = json(&format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)));
    for (reply, want) in [
        (http("200 OK", "text/html", "<html></html>"), "the reply is not JSON but looks like HTML"),
        (http("200 OK", "application/json", ""), "the reply is empty"),
        (http("200 OK", "application/json", "{\"jsonrpc\":\"2.0\",\"resu"), "the reply is cut off"),
        (
            http("200 OK", "application/json", "{\"jsonrpc\":\"2.0\"}"),
            "the reply is no Xen-API reply",
        ),
        (http("404 Not Found", "text/plain", "no"), "the answer is an HTTP error with plain text"),
        (deep, "the reply is nested more than"),
    ] {
        let server = server(move |_| Act::Answer(reply.clone())).await;
        let (backend, session) = logged_in(&server).await;
        let error = backend.call(&session, "VM.get_all", &[], Retry::Write).await.expect_err(want);
        assert!(error.to_string().starts_with(want), "{error}");
        assert!(matches!(error, CallError::BadReply(_)));
        assert_eq!(backend.description().last_error, Some(error.to_string()));
        assert!(!session.ended().is_cancelled());
    }
}

#[tokio::test]
async fn a_call_that_xapi_would_not_take_is_not_sent() {
    let server = server(|_| Act::Answer(json("\"\""))).await;
    let (backend, session) = logged_in(&server).await;
    let args = [Arg::String("x".repeat(300 * 1024))];
    let asked = server.asked().len();
    let error = backend.call(&session, "VM.set_name_label", &args, Retry::Write).await;
    assert!(matches!(error, Err(CallError::Unsendable(Unsendable::TooLarge { .. }))));
    assert_eq!(server.asked().len(), asked);
    assert_eq!(backend.description().last_error, None);
}

#[test]
fn what_cannot_be_spoken_to_is_refused_at_once() {
    let refusal = |uris: &[&str], kind| {
        let mut config = BackendConfig::new(uris.iter().map(|uri| (*uri).to_owned()).collect());
        config.kind = kind;
        Backend::new("pool", &config).err().map(|error| error.to_string())
    };
    for kind in [Kind::Auto, Kind::Xapi, Kind::Xend, Kind::Legacy] {
        assert!(refusal(&["http://localhost"], kind).is_none());
        assert!(refusal(&["http://root:sentinel@a"], kind).is_some());
    }
    assert!(refusal(&[], Kind::Auto).is_some());
    let uri = refusal(&["http://a", "http://root:sentinel@b"], Kind::Auto).expect("a password");
    assert!(uri.starts_with("uri number 2") && !uri.contains("sentinel"), "{uri}");
}
