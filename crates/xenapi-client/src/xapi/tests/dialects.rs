use super::events::follow;
use super::*;
use crate::testing::forbidden;
use xenapi_wire::{ReadError, Seen};

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
        4 => Act::Answer(http("404 Not Found", "text/html", "<html></html>")),
        // Its own error says nothing of what it speaks.
        7 => Act::Answer(http("500 Internal Error", "text/html", "<html></html>")),
        _ => Act::Answer(json("[]")),
    })
    .await;
    let (backend, session) = logged_in(&server).await;
    backend.call(&session, "VM.start", &[], Retry::Write).await.expect_err("an HTTP error");
    backend.call(&session, "VM.start", &[], Retry::Write).await.expect("a result");
    assert_eq!((calls(&server, "VM.start"), calls(&server, "pool.get_all")), (2, 1));
    backend.call(&session, "VM.start", &[], Retry::Write).await.expect_err("an HTTP error");
    backend.call(&session, "VM.start", &[], Retry::Write).await.expect("a result");
    assert_eq!((calls(&server, "VM.start"), calls(&server, "pool.get_all")), (4, 1));
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
