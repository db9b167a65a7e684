use super::*;
use crate::Phase;
use crate::testing::BlackHole;

#[tokio::test]
async fn a_login_tells_what_the_session_may_do_and_what_the_pool_is() {
    let server = server(|_| Act::Answer(json("\"\""))).await;
    let (backend, session) = logged_in(&server).await;
    assert!(!session.access.is_local_superuser);
    let permissions = session.access.permissions.iter().collect::<Vec<_>>();
    assert_eq!(permissions, ["vm.get_all", "vm.start"]);
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

#[tokio::test]
async fn a_login_that_gets_no_answer_does_not_hold_up_the_next_for_long() {
    let silent = Server::start(|_| Act::Hang(Vec::new())).await;
    let good = server(|_| Act::Answer(json("[]"))).await;
    let backend = backend(&[silent.uri(), good.uri()], |_| {});
    let (first, ()) = tokio::join!(login(&backend), async {
        silent.request(1).await;
        tokio::time::pause();
    });
    assert!(matches!(first, Err(CallError::Timeout(Phase::Reply))));
    tokio::time::resume();
    login(&backend).await.expect("a session, at the host that answers");
    assert_eq!(silent.asked().len(), 1);
}

#[tokio::test]
async fn a_probe_tells_whether_a_host_is_there() {
    let server =
        Server::start(|_| Act::Answer(failure(SESSION_INVALID, &["OpaqueRef:NULL"]))).await;
    let there = backend(&["unix:/dev/null/none".to_owned(), server.uri()], |_| {});
    there.probe().await.expect("somebody there");
    assert_eq!(there.description().last_error, None);
    let gone = backend(&["unix:/dev/null/none".to_owned()], |_| {});
    let error = gone.probe().await.expect_err("nobody there");
    assert_eq!(gone.description().last_error, Some(error.to_string()));
    let page = Server::start(|_| Act::Answer(http("200 OK", "text/html", "<html>"))).await;
    assert!(backend(&[page.uri()], |_| {}).probe().await.is_err());
}

#[tokio::test]
async fn a_host_that_swallows_connections_leaves_time_for_the_next() {
    let silent = BlackHole::open().await;
    let good = server(|_| Act::Answer(json("[]"))).await;
    let backend = backend(&[format!("http://{}", silent.addr), good.uri()], |_| {});
    // As long as a client waits for its login.
    let session = tokio::time::timeout(std::time::Duration::from_secs(5), login(&backend)).await;
    session.expect("in time").expect("a session");
    assert_eq!(backend.description().address, Some(good.uri()));
}
