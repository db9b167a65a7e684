//! Hosts that take what they should refuse, and those that do not say.

use super::*;
use crate::Misconfigured;

const LOGIN: &str = "session.login_with_password";

/// A login that the gateway has made up.
fn is_made_up(asked: &Asked) -> bool {
    asked.is("session.login_with_password") && asked.body.contains("\"xengate-")
}

async fn authenticate(backend: &Arc<Backend>) -> Result<Arc<Session>, CallError> {
    backend.authenticate("root", &SecretString::from("sentinel-password"), "xengate/root").await
}

/// A server that lets in who is no made-up user, and answers those as told.
async fn guarded(answer: impl Fn(usize) -> Act + Send + Sync + 'static) -> Server {
    let made_up = std::sync::atomic::AtomicUsize::new(0);
    Server::start(move |asked| match around_login(asked) {
        _ if is_made_up(asked) => {
            answer(made_up.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1)
        }
        Some(bytes) => Act::Answer(bytes),
        None => Act::Answer(json("\"\"")),
    })
    .await
}

fn refusal() -> Act {
    Act::Answer(failure("SESSION_AUTHENTICATION_FAILED", &["xengate-1", "Authentication failure"]))
}

#[tokio::test]
async fn who_takes_anything_lets_nobody_in_but_the_account() {
    let server = guarded(|_| Act::Answer(json(&format!("\"{REF}\"")))).await;
    let backend = backend(&[server.uri()], |_| {});
    let error = authenticate(&backend).await.expect_err("it takes anything");
    assert!(matches!(error, CallError::Misconfigured(Misconfigured::TrustsAnybody)), "{error}");
    assert_eq!(calls(&server, "session.logout"), 2, "the made-up session, and the user's");
    let asked = server.asked().len();
    authenticate(&backend).await.expect_err("and still does");
    assert_eq!(server.asked().len(), asked, "no password is even sent there");
    login(&backend).await.expect("the operator's own account");
}

#[tokio::test]
async fn who_does_not_say_lets_nobody_in() {
    let page = |_| Act::Last(http("500 Internal Error", "text/html", "<html>"));
    let booting = |_| Act::Answer(failure("HOST_STILL_BOOTING", &[]));
    let nonsense = |_| Act::Answer(json("17"));
    let gone = |_| Act::Last(Vec::new());
    let servers =
        [guarded(page).await, guarded(booting).await, guarded(nonsense).await, guarded(gone).await];
    for server in servers {
        let backend = backend(&[server.uri()], |_| {});
        let error = authenticate(&backend).await.expect_err("nobody knows");
        assert!(!matches!(error, CallError::Misconfigured(_)), "{error}");
        assert_eq!(calls(&server, "session.logout"), 1, "{error}");
    }
    let silent = guarded(|_| Act::Hang(Vec::new())).await;
    let backend = backend(&[silent.uri()], |_| {});
    let (result, ()) = tokio::join!(authenticate(&backend), async {
        while !silent.asked().iter().any(is_made_up) || calls(&silent, LOGIN) < 2 {
            tokio::task::yield_now().await;
        }
        tokio::time::pause();
    });
    tokio::time::resume();
    let error = result.expect_err("nobody knows");
    assert!(matches!(error, CallError::Timeout(_)), "{error}");
}

#[tokio::test]
async fn a_refusal_is_good_for_as_long_as_the_host_is_surely_the_same() {
    let server = guarded(|_| refusal()).await;
    let backend = backend(&[server.uri()], |_| {});
    let made_up = || server.asked().iter().filter(|asked| is_made_up(asked)).count();
    for _ in 0..3 {
        authenticate(&backend).await.expect("a session");
    }
    assert_eq!(made_up(), 1);
    let pass = async |seconds| {
        tokio::time::pause();
        tokio::time::advance(std::time::Duration::from_secs(seconds)).await;
        tokio::time::resume();
    };
    // Nothing connects them any more.
    pass(31).await;
    tokio::task::yield_now().await;
    authenticate(&backend).await.expect("a session");
    assert_eq!(made_up(), 2);
}

#[tokio::test]
async fn a_host_that_keeps_no_connection_is_asked_each_time() {
    let server = Server::start(|asked| match around_login(asked) {
        _ if is_made_up(asked) => Act::Last(failure("SESSION_AUTHENTICATION_FAILED", &[])),
        Some(bytes) => Act::Last(bytes),
        None => Act::Last(json("\"\"")),
    })
    .await;
    let backend = backend(&[server.uri()], |_| {});
    for n in 1..=3 {
        authenticate(&backend).await.expect("a session");
        assert_eq!(server.asked().iter().filter(|asked| is_made_up(asked)).count(), n);
    }
}

#[tokio::test]
async fn a_restart_ends_what_was_known() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("xapi");
    let good = Server::unix(&path, |asked| {
        Act::Answer(match around_login(asked) {
            _ if is_made_up(asked) => failure("SESSION_AUTHENTICATION_FAILED", &[]),
            Some(bytes) => bytes,
            None => json("\"\""),
        })
    });
    let backend = backend(&[format!("unix:{}", path.display())], |_| {});
    authenticate(&backend).await.expect("a session");
    drop(good);
    std::fs::remove_file(&path).expect("the socket");
    let bad = Server::unix(&path, |asked| {
        Act::Answer(around_login(asked).unwrap_or_else(|| json("\"\"")))
    });
    // A connection that outlives its listener leads where it led; a new one does not.
    let error = loop {
        match authenticate(&backend).await {
            // The old connection is gone, and the host is left alone for a moment.
            Err(CallError::Unreachable(_)) => {}
            Err(error) => break error,
            Ok(_) => assert_eq!(bad.asked().len(), 0, "the new one has let somebody in"),
        }
        tokio::time::pause();
        tokio::time::advance(std::time::Duration::from_secs(31)).await;
        tokio::time::resume();
        tokio::task::yield_now().await;
    };
    assert!(matches!(error, CallError::Misconfigured(Misconfigured::TrustsAnybody)), "{error}");
}

#[tokio::test]
async fn a_wrong_password_is_as_good_as_a_made_up_one() {
    let server = Server::start(|asked| {
        Act::Answer(match around_login(asked) {
            _ if asked.body.contains("wrong") => failure("SESSION_AUTHENTICATION_FAILED", &[]),
            _ if is_made_up(asked) => failure("SESSION_AUTHENTICATION_FAILED", &[]),
            Some(bytes) => bytes,
            None => json("\"\""),
        })
    })
    .await;
    let backend = backend(&[server.uri()], |_| {});
    let wrong = backend.authenticate("root", &SecretString::from("wrong"), "xengate/root").await;
    assert_eq!(failure_of(wrong).code, "SESSION_AUTHENTICATION_FAILED");
    authenticate(&backend).await.expect("a session");
}
