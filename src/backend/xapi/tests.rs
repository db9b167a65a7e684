use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::SESSION_INVALID;
use crate::backend::testing::{Act, Asked, Server, failure, forbidden, http, json};
use crate::backend::{
    Backend, BadReply, CallError, EventFrame, Fault, Reason, Retry, Session, Unreachable,
    Unsendable,
};
use crate::config::{BackendConfig, Kind};
use crate::wire::reply::Failure;
use crate::wire::{Arg, ReadError, Seen};

const REF: &str = "OpaqueRef:08f2e239-1929-cec4-66ed-633fa5259042";
const TIMEOUT: Duration = Duration::from_secs(30);

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
async fn a_login_tells_what_the_session_may_do_and_what_the_pool_is() {
    let server = server(|_| Act::Answer(json("\"\""))).await;
    let (backend, session) = logged_in(&server).await;
    assert!(!session.access.is_local_superuser);
    assert_eq!(session.access.permissions, ["vm.start", "vm.get_all"]);
    assert_eq!((session.username(), session.backend()), ("root", "pool"));
    let description = backend.description();
    assert_eq!(description.product.as_deref(), Some("XCP-ng"));
    assert_eq!(description.version.as_deref(), Some("8.3.0"));
    assert_eq!(description.api_version.as_deref(), Some("2.21"));
    assert_eq!(description.address, Some(server.uri()));
    assert_eq!(
        server.asked()[0].body,
        r#"{"jsonrpc":"2.0","method":"session.login_with_password","params":["root","sentinel-password","2.21","xengate/root"],"id":1}"#
    );
    login(&backend).await.expect("another session");
    assert_eq!(calls(&server, "host.get_record"), 1, "what the pool is does not change often");
    assert!(server.asked().iter().all(|asked| asked.head.starts_with("POST /jsonrpc ")));
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
    let other = Backend::new("other", &BackendConfig::new(vec![server.uri()])).expect("a backend");
    let asked = server.asked().len();
    assert_eq!(failure_of(other.check(&session).await).code, SESSION_INVALID);
    other.logout(&session).await;
    assert_eq!(server.asked().len(), asked);
    assert!(!session.ended().is_cancelled());
}

#[tokio::test]
async fn a_refused_login_says_why_and_leaves_the_backend_well() {
    let server = Server::start(|_| {
        Act::Answer(failure("SESSION_AUTHENTICATION_FAILED", &["root", "Authentication failure"]))
    })
    .await;
    let backend = backend(&[server.uri()], |_| {});
    assert_eq!(failure_of(login(&backend).await).code, "SESSION_AUTHENTICATION_FAILED");
    assert_eq!(server.asked().len(), 1, "a password is tried once");
    assert_eq!(backend.description().last_error, None);
}

#[tokio::test]
async fn a_session_that_cannot_be_looked_at_is_logged_out_again() {
    let server = Server::start(|asked| match () {
        () if asked.is("session.login_with_password") => Act::Answer(json(&format!("\"{REF}\""))),
        () if asked.is("session.get_record") => Act::Answer(json("[1,2,3]")),
        () => Act::Answer(json("\"\"")),
    })
    .await;
    let error = login(&backend(&[server.uri()], |_| {})).await.expect_err("no record");
    assert!(matches!(error, CallError::BadReply(BadReply { fault: Fault::Unfit(_), .. })));
    assert_eq!(calls(&server, "session.logout"), 1);
}

/// Whether a request was sent to this host; one server can play several.
fn sent_to(asked: &Asked, host: &str) -> bool {
    asked.head.contains(&format!("host: {host}:"))
}

#[tokio::test]
async fn a_supporter_leads_to_its_coordinator_once() {
    let slave = |asked: &Asked| sent_to(asked, "127.0.0.1");
    let server = Server::start(move |asked| {
        Act::Answer(match around_login(asked) {
            _ if slave(asked) => failure("HOST_IS_SLAVE", &["localhost"]),
            Some(answer) => answer,
            None => json("[]"),
        })
    })
    .await;
    let backend = backend(&[server.uri()], |_| {});
    let session = login(&backend).await.expect("a session");
    let coordinator = format!("http://localhost:{}", server.addr.port());
    assert_eq!(backend.description().address, Some(coordinator));
    // From now on the coordinator is known.
    backend.call(&session, "VM.get_all", &[], Retry::Read).await.expect("a result");
    login(&backend).await.expect("another session");
    assert_eq!(server.asked().iter().filter(|asked| slave(asked)).count(), 1);
}

#[tokio::test]
async fn a_second_redirect_is_an_error() {
    let server = Server::start(|asked| {
        let other = if sent_to(asked, "localhost") { "127.0.0.1" } else { "localhost" };
        Act::Answer(failure("HOST_IS_SLAVE", &[other]))
    })
    .await;
    let error = login(&backend(&[server.uri()], |_| {})).await.expect_err("a circle");
    assert!(matches!(
        error,
        CallError::Unreachable(Unreachable { reason: Reason::Coordinator(_), .. })
    ));
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn a_coordinator_that_is_no_address_is_not_followed() {
    for named in ["", "http://evil/", "127.0.0.1", "a b"] {
        let server = Server::start(move |_| Act::Answer(failure("HOST_IS_SLAVE", &[named]))).await;
        let error = login(&backend(&[server.uri()], |_| {})).await.expect_err("nowhere to go");
        assert!(matches!(
            error,
            CallError::Unreachable(Unreachable { reason: Reason::Coordinator(_), .. })
        ));
        assert_eq!(server.asked().len(), 1);
    }
}

#[tokio::test]
async fn hosts_are_tried_in_order_and_the_good_one_first() {
    let good = server(|_| Act::Answer(json("[]"))).await;
    let page = |_: &Asked| Act::Last(http("503 Service Unavailable", "text/html", "<html>"));
    let busy = Server::start(page).await;
    let uris = ["unix:/dev/null/none".to_owned(), busy.uri(), good.uri()];
    let backend = backend(&uris, |_| {});
    login(&backend).await.expect("a session");
    assert_eq!((busy.asked().len(), backend.description().address), (1, Some(good.uri())));
    login(&backend).await.expect("a session");
    assert_eq!(busy.asked().len(), 1, "the good one is asked first");
}

#[tokio::test]
async fn when_no_host_will_do_the_first_ones_reason_is_told() {
    let uri = "unix:/dev/null/none".to_owned();
    let server = Server::start(|_| Act::Last(http("502 Bad Gateway", "text/html", "<p>"))).await;
    let backend = backend(&[uri.clone(), server.uri()], |_| {});
    let error = login(&backend).await.expect_err("nobody there");
    assert!(error.to_string().starts_with(&uri), "{error}");
    assert_eq!(backend.description().last_error, Some(error.to_string()));
}

#[tokio::test]
async fn a_host_that_owes_an_answer_is_asked_last() {
    let silent = Server::start(|_| Act::Hang(Vec::new())).await;
    let good = server(|_| Act::Answer(json("[]"))).await;
    let backend = backend(&[silent.uri(), good.uri()], |_| {});
    tokio::select! {
        _ = login(&backend) => panic!("the host does not answer"),
        () = silent.request(1) => {}
    }
    login(&backend).await.expect("a session");
    assert_eq!(silent.asked().len(), 1);
}

/// XML-RPC replies as XAPI gives them.
fn xml(asked: &Asked) -> Act {
    let success = |value: &str| {
        http(
            "200 OK",
            "text/xml",
            &format!(
                "<?xml version=\"1.0\"?><methodResponse><params><param><value><struct><member><name>Status</name><value>Success</value></member><member><name>Value</name>{value}</member></struct></value></param></params></methodResponse>"
            ),
        )
    };
    let member = |name: &str, value: &str| format!("<member><name>{name}</name>{value}</member>");
    if asked.head.starts_with("POST /jsonrpc ") {
        return Act::Last(forbidden());
    }
    Act::Answer(match () {
        () if asked.is("session.login_with_password") => success(&format!("<value>{REF}</value>")),
        () if asked.is("session.get_record") => success(&format!(
            "<value><struct>{}{}</struct></value>",
            member("is_local_superuser", "<value><boolean>1</boolean></value>"),
            member("rbac_permissions", "<value><array><data></data></array></value>"),
        )),
        () if asked.is("host.get_record") => success(&format!(
            "<value><struct>{}{}</struct></value>",
            member("API_version_major", "<value>2</value>"),
            member("API_version_minor", "<value>15</value>"),
        )),
        () if asked.is("event.from") => success(&format!(
            "<value><struct>{}{}{}</struct></value>",
            member(
                "events",
                "<value><array><data><value><struct><member><name>id</name><value>1</value></member></struct></value><value><struct><member><name>id</name><value>2</value></member></struct></value></data></array></value>"
            ),
            member(
                "valid_ref_counts",
                "<value><struct><member><name>vm</name><value><i4>1</i4></value></member></struct></value>"
            ),
            member("token", "<value>00000000000000089850,00000000000000000000</value>"),
        )),
        () => success("<value></value>"),
    })
}

#[tokio::test]
async fn a_host_without_json_rpc_is_spoken_to_in_xml_rpc() {
    let server = Server::start(xml).await;
    let (backend, session) = logged_in(&server).await;
    assert!(session.access.is_local_superuser);
    assert_eq!(backend.description().api_version.as_deref(), Some("2.15"));
    let value = backend.call(&session, "VM.start", &[], Retry::Write).await.expect("a result");
    assert_eq!(value.get(), "\"\"");
    let (events, frame) = follow(&backend, &session, "").await;
    assert_eq!(events, [r#"{"id":"1"}"#, r#"{"id":"2"}"#]);
    assert_eq!(frame.expect("a frame").valid_ref_counts["vm"], 1);
    let asked = server.asked();
    let tried = asked.iter().filter(|asked| asked.head.starts_with("POST /jsonrpc ")).count();
    assert_eq!(tried, 1, "what a host speaks is remembered");
    assert!(asked[1].head.starts_with("POST / ") && asked[1].head.contains("text/xml"));
}

#[tokio::test]
async fn what_a_host_speaks_is_found_out_without_a_write() {
    let server = server(|asked| match asked.number {
        4 => Act::Answer(http("500 Internal Error", "text/html", "<html></html>")),
        _ => Act::Answer(json("[]")),
    })
    .await;
    let (backend, session) = logged_in(&server).await;
    backend.call(&session, "VM.start", &[], Retry::Write).await.expect_err("an HTTP error");
    backend.call(&session, "VM.start", &[], Retry::Write).await.expect("a result");
    assert_eq!((calls(&server, "VM.start"), calls(&server, "pool.get_all")), (2, 1));
}

#[tokio::test]
async fn an_address_can_fix_the_dialect() {
    let server = Server::start(xml).await;
    login(&backend(&[format!("{}/RPC2", server.uri())], |_| {})).await.expect("a session");
    assert!(server.asked().iter().all(|asked| asked.head.starts_with("POST /RPC2 ")));
    let asked = server.asked().len();
    let error = login(&backend(&[format!("{}/jsonrpc", server.uri())], |_| {})).await;
    assert!(matches!(error, Err(CallError::BadReply(BadReply { status: Some(403), .. }))));
    assert_eq!(server.asked().len(), asked + 1);
}

#[tokio::test]
async fn what_is_no_xapi_is_said_to_be_none() {
    let page = "<!DOCTYPE html><html><body>Welcome to nginx sentinel</body></html>";
    for (body, seen) in [(page, Some(Seen::Html)), ("OK sentinel", Some(Seen::Text)), ("", None)] {
        let server = Server::start(move |_| Act::Answer(http("200 OK", "text/html", body))).await;
        let error = login(&backend(&[server.uri()], |_| {})).await.expect_err("no XAPI");
        let CallError::BadReply(BadReply { status: Some(200), fault, read }) = &error else {
            panic!("{error:?}")
        };
        match (fault, seen) {
            (Fault::Unread(ReadError::NotJson(what)), Some(seen)) => assert_eq!(*what, seen),
            (Fault::Unread(ReadError::Empty), None) => {}
            _ => panic!("{error:?}"),
        }
        assert_eq!(*read, body.len() as u64);
        assert!(!format!("{error} {error:?}").contains("sentinel"));
    }
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

async fn follow(
    backend: &Backend,
    session: &Session,
    token: &str,
) -> (Vec<String>, Result<EventFrame, CallError>) {
    let mut events = Vec::new();
    let mut each = |event: &[u8]| {
        events.push(String::from_utf8_lossy(event).into_owned());
        Ok(())
    };
    let frame = backend.events(session, token, TIMEOUT, &mut each).await;
    (events, frame)
}

const FRAME: &str = r#"{"events":[{"id":"156","class":"pool","operation":"add","snapshot":{"tags":[]}},{"id":"157","class":"vm","operation":"del"}],"valid_ref_counts":{"pool":1,"vm":0},"token":"00000000000000000218,00000000000000000000"}"#;

#[tokio::test]
async fn events_come_one_by_one_and_then_the_frame() {
    let server = server(|_| Act::Answer(json(FRAME))).await;
    let (backend, session) = logged_in(&server).await;
    let (events, frame) = follow(&backend, &session, "0,0").await;
    assert_eq!(events.len(), 2);
    assert!(events[0].contains("\"156\"") && events[1].contains("\"157\""));
    let frame = frame.expect("a frame");
    assert_eq!(frame.token, "00000000000000000218,00000000000000000000");
    assert_eq!(frame.valid_ref_counts["pool"], 1);
    let body = &server.asked()[3].body;
    assert!(body.contains(&format!("\"params\":[\"{REF}\",[\"*\"],\"0,0\",30.0]")), "{body}");
}

#[tokio::test]
async fn a_failure_to_follow_events_is_told() {
    let server = server(|asked| match asked.number {
        4 => Act::Answer(failure("EVENT_FROM_TOKEN_PARSE_FAILURE", &["garbage"])),
        _ => Act::Answer(failure(SESSION_INVALID, &[REF])),
    })
    .await;
    let (backend, session) = logged_in(&server).await;
    let failure = failure_of(follow(&backend, &session, "garbage").await.1);
    assert_eq!(failure.code, "EVENT_FROM_TOKEN_PARSE_FAILURE");
    let failure = failure_of(follow(&backend, &session, "").await.1);
    assert!(failure.code == SESSION_INVALID && !failure.params.concat().contains(REF));
    assert!(session.ended().is_cancelled());
}

#[tokio::test]
async fn events_that_break_off_are_an_error() {
    let whole = json(FRAME);
    let half = whole[..whole.len() - 60].to_vec();
    let server = server(move |asked| match asked.number {
        4 => Act::Last(half.clone()),
        5 => Act::Answer(json("{\"events\":[],\"valid_ref_counts\":{}}")),
        _ => Act::Answer(http("200 OK", "text/html", "<html></html>")),
    })
    .await;
    let (backend, session) = logged_in(&server).await;
    for want in ["the answer ends in the middle", "the answer does not fit the call"] {
        let error = follow(&backend, &session, "").await.1.expect_err(want);
        assert!(error.to_string().starts_with(want), "{error}");
    }
    let (events, frame) = follow(&backend, &session, "").await;
    assert!(events.is_empty());
    assert!(matches!(frame, Err(CallError::BadReply(_))), "{frame:?}");
    assert_eq!(calls(&server, "event.from"), 3, "nothing that streams is asked for twice");
}

#[tokio::test]
async fn a_sync_has_a_limit_of_its_own() {
    let long = FRAME.replace("\"add\"", &format!("\"{}\"", "a".repeat(5000)));
    let server = server(move |_| Act::Answer(json(&long))).await;
    let backend = backend(&[server.uri()], |config| {
        config.max_reply = 1000;
        config.max_sync_reply = 6000;
    });
    let session = login(&backend).await.expect("a session");
    follow(&backend, &session, "").await.1.expect("a frame");
    let error = backend.call(&session, "x", &[], Retry::Read).await.expect_err("too large");
    assert!(error.to_string().starts_with("reply exceeds max_reply"), "{error}");
}

#[tokio::test]
async fn who_takes_no_more_events_stops_them() {
    let server = server(|_| Act::Answer(json(FRAME))).await;
    let (backend, session) = logged_in(&server).await;
    let mut each = |_: &[u8]| Err(ReadError::NotAReply("no event"));
    let error = backend.events(&session, "", TIMEOUT, &mut each).await.expect_err("stopped");
    assert!(error.to_string().contains("no event"), "{error}");
}

#[tokio::test]
async fn events_end_with_their_session() {
    let server = server(|asked| match asked.is("event.from") {
        true => Act::Hang(Vec::new()),
        false => Act::Answer(json("\"\"")),
    })
    .await;
    let (backend, session) = logged_in(&server).await;
    let (events, ()) = tokio::join!(follow(&backend, &session, ""), async {
        server.request(4).await;
        backend.logout(&session).await;
    });
    assert_eq!(failure_of(events.1).code, SESSION_INVALID);
}

#[tokio::test]
async fn a_host_that_waits_too_long_with_events_is_given_up() {
    let server = server(|_| Act::Hang(Vec::new())).await;
    let (backend, session) = logged_in(&server).await;
    let (events, ()) = tokio::join!(follow(&backend, &session, ""), async {
        server.request(4).await;
        tokio::time::pause();
    });
    assert!(matches!(events.1, Err(CallError::Timeout(crate::backend::Phase::Reply))));
}

#[test]
fn what_cannot_be_spoken_to_is_refused_at_once() {
    let refusal = |uris: &[&str], kind| {
        let mut config = BackendConfig::new(uris.iter().map(|uri| (*uri).to_owned()).collect());
        config.kind = kind;
        Backend::new("pool", &config).err().map(|error| error.to_string())
    };
    let xend = refusal(&["http://localhost"], Kind::Xend).expect("not yet");
    assert!(xend.contains("\"xend\" is not supported yet"), "{xend}");
    assert!(refusal(&["http://localhost"], Kind::Legacy).is_some());
    assert!(refusal(&[], Kind::Auto).is_some());
    let uri = refusal(&["http://a", "http://root:sentinel@b"], Kind::Auto).expect("a password");
    assert!(uri.starts_with("uri number 2") && !uri.contains("sentinel"), "{uri}");
}
