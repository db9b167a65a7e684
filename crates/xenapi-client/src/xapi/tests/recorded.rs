//! What a real XAPI 26.17 answered, whole HTTP messages; only the long counts are shortened.

use super::events::follow;
use super::*;

/// The head that all its replies have.
const HEAD: &str = "connection: keep-alive\r\n\
    cache-control: no-cache, no-store\r\n\
    content-type: {type}\r\n\
    Access-Control-Allow-Origin: *\r\n\
    Access-Control-Allow-Headers: X-Requested-With\r\n\r\n";

const LOGIN_JSON: &str =
    r#"{"jsonrpc":"2.0","result":"OpaqueRef:08f2e239-1929-cec4-66ed-633fa5259042","id":1}"#;

const LOGIN_XML: &str = r#"<?xml version="1.0"?><methodResponse><params><param><value><struct><member><name>Status</name><value>Success</value></member><member><name>Value</name><value>OpaqueRef:2a6f60b2-f5fd-6695-fd30-fce395934f13</value></member></struct></value></param></params></methodResponse>"#;

const SLAVE_JSON: &str = r#"{"jsonrpc":"2.0","error":{"code":1,"message":"HOST_IS_SLAVE","data":["127.0.0.99"]},"id":1}"#;

const UNKNOWN_JSON: &str = r#"{"jsonrpc":"2.0","error":{"code":1,"message":"MESSAGE_METHOD_UNKNOWN","data":["VM.frobnicate"]},"id":9}"#;

const UNKNOWN_XML: &str = r#"<?xml version="1.0"?><methodResponse><params><param><value><struct><member><name>Status</name><value>Failure</value></member><member><name>ErrorDescription</name><value><array><data><value>MESSAGE_METHOD_UNKNOWN</value><value>VM.frobnicate</value></data></array></value></member></struct></value></param></params></methodResponse>"#;

const TIMEOUT_XML: &str = r#"<?xml version="1.0"?><methodResponse><params><param><value><struct><member><name>Status</name><value>Success</value></member><member><name>Value</name><value><struct><member><name>events</name><value><array><data></data></array></value></member><member><name>valid_ref_counts</name><value><struct><member><name>task</name><value><i4>3</i4></value></member><member><name>host_cpu</name><value><i4>32</i4></value></member></struct></value></member><member><name>token</name><value>00000000000000000218,00000000000000000000</value></member></struct></value></member></struct></value></param></params></methodResponse>"#;

const BAD_TOKEN_XML: &str = r#"<?xml version="1.0"?><methodResponse><params><param><value><struct><member><name>Status</name><value>Failure</value></member><member><name>ErrorDescription</name><value><array><data><value>EVENT_FROM_TOKEN_PARSE_FAILURE</value><value>garbage</value></data></array></value></member></struct></value></param></params></methodResponse>"#;

const LOGOUT_XML: &str = r#"<?xml version="1.0"?><methodResponse><params><param><value><struct><member><name>Status</name><value>Failure</value></member><member><name>ErrorDescription</name><value><array><data><value>SESSION_INVALID</value><value>OpaqueRef:057ec233-4c8e-1191-d165-f64320e27d9d</value></data></array></value></member></struct></value></param></params></methodResponse>"#;

fn message(content_type: &str, body: &str) -> Act {
    let head = HEAD.replace("{type}", content_type);
    let length = body.len();
    Act::Answer(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n{head}{body}").into_bytes())
}

/// XAPI in this dialect, its answers to `event.from` in this order.
async fn xapi(dialect: &'static str) -> Server {
    let event_answers = [TIMEOUT_XML, BAD_TOKEN_XML, LOGOUT_XML];
    let followed = std::sync::atomic::AtomicUsize::new(0);
    Server::start(move |asked| match (asked.is("session.login_with_password"), dialect) {
        (true, "json") => message("application/json", LOGIN_JSON),
        (true, _) => message("text/xml", LOGIN_XML),
        _ if asked.is("event.from") => {
            let place = followed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            message("text/xml", event_answers[place])
        }
        (_, "json") => message("application/json", UNKNOWN_JSON),
        _ => message("text/xml", UNKNOWN_XML),
    })
    .await
}

#[tokio::test]
async fn both_dialects_come_to_the_same() {
    for (dialect, path) in [("json", "/jsonrpc"), ("xml", "/RPC2")] {
        let server = xapi(dialect).await;
        let backend = backend(&[format!("{}{path}", server.uri())], |_| {});
        // It does not tell what the session may do, so nothing is assumed.
        let session = login(&backend).await.expect("a session");
        assert_eq!(session.access, crate::Access::default());
        let called = backend.call(&session, "VM.frobnicate", &[], Retry::Write).await;
        let failure = failure_of(called);
        assert_eq!(failure.code, "MESSAGE_METHOD_UNKNOWN");
        assert_eq!(failure.params, ["VM.frobnicate"]);
    }
}

#[tokio::test]
async fn following_events_in_xml() {
    let server = xapi("xml").await;
    let backend = backend(&[format!("{}/RPC2", server.uri())], |_| {});
    let session = login(&backend).await.expect("a session");
    let (events, frame) = follow(&backend, &session, "").await;
    let frame = frame.expect("a frame");
    assert!(events.is_empty());
    assert_eq!(frame.token, "00000000000000000218,00000000000000000000");
    assert_eq!(frame.valid_ref_counts["host_cpu"], 32);
    let failure = failure_of(follow(&backend, &session, "garbage").await.1);
    assert_eq!(failure.code, "EVENT_FROM_TOKEN_PARSE_FAILURE");
    let failure = failure_of(follow(&backend, &session, "").await.1);
    assert_eq!(failure.code, SESSION_INVALID);
    assert!(!format!("{failure:?}").contains("057ec233"), "{failure:?}");
    assert!(session.ended().is_cancelled());
}

#[tokio::test]
async fn a_supporter_names_a_coordinator_that_is_not_there() {
    let server = Server::start(|_| message("application/json", SLAVE_JSON)).await;
    let backend = backend(&[server.uri()], |config| {
        config.connect_timeout = std::time::Duration::from_millis(200);
    });
    let error = login(&backend).await.expect_err("nobody at that address");
    let CallError::Unreachable(Unreachable { address, .. }) = &error else { panic!("{error:?}") };
    assert_eq!(*address, format!("http://127.0.0.99:{}", server.addr.port()));
}
