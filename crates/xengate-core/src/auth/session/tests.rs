use secrecy::SecretString;

use super::*;
use xenapi_client::{Access, Session};

const TERMS: Terms = Terms {
    absolute: Duration::from_secs(12 * 3600),
    idle: Duration::from_secs(3600),
    grace: Duration::from_secs(300),
};

/// A login to a backend that needs none.
pub(in crate::auth) fn live(backend: &str) -> (Arc<Session>, Standing) {
    let reference = SecretString::from("OpaqueRef:sentinel");
    let session = Arc::new(Session::new(backend, "root", reference, Access::default()));
    let liveness = Arc::new(Liveness::new(Arc::new(xenapi_client::Heard::new(Instant::now()))));
    let standing = Standing::Live(Live { session: Arc::clone(&session), liveness });
    (session, standing)
}

/// A session of `username` that is logged in to the backend "a", of the backends "a" to "d".
pub(in crate::auth) fn session_of_user(username: &str) -> Arc<GatewaySession> {
    let backends = ["a", "b", "c", "d"].map(Arc::from).into_iter();
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let session = GatewaySession::new(username, backends, TERMS, Instant::now(), wall);
    assert!(session.put("a", live("a").1).is_ok_and(|before| before.is_none()));
    Arc::new(session)
}

async fn pass(seconds: u64) -> Instant {
    tokio::time::advance(Duration::from_secs(seconds)).await;
    Instant::now()
}

fn accessible(session: &GatewaySession) -> Vec<&str> {
    session.accessible(Instant::now()).collect()
}

#[tokio::test(start_paused = true)]
async fn access_is_by_backend() {
    let session = session_of_user("root");
    assert!(session.put("b", Standing::Refused).is_ok());
    assert!(session.put("c", Standing::Unreachable).is_ok());
    let now = Instant::now();
    assert_eq!(session.access("a", now).expect("access").backend(), "a");
    let denied = |backend| session.access(backend, now).expect_err("no access");
    assert_eq!(denied("b"), NoAccess::LoginFailed(BackendStatus::Refused));
    assert_eq!(denied("c"), NoAccess::LoginFailed(BackendStatus::Unreachable));
    assert_eq!(denied("d"), NoAccess::NotLoggedIn);
    assert_eq!(denied("nowhere"), NoAccess::NotLoggedIn);
    assert_eq!(accessible(&session), ["a"]);
    let expected = [
        ("a", BackendStatus::Ok),
        ("b", BackendStatus::Refused),
        ("c", BackendStatus::Unreachable),
    ];
    assert_eq!(session.backends(), expected.map(|(name, status)| (name.to_owned(), status)));
}

#[tokio::test(start_paused = true)]
async fn one_backend_that_ends_takes_only_itself() {
    let session = session_of_user("root");
    let (of_b, standing) = live("b");
    assert!(session.put("b", standing).is_ok());
    of_b.ended().cancel();
    assert_eq!(session.access("b", Instant::now()).err(), Some(NoAccess::Ended));
    assert_eq!(accessible(&session), ["a"]);
    assert!(!session.is_spent());
    session.access("a", Instant::now()).expect("access").ended().cancel();
    assert!(session.is_spent() && accessible(&session).is_empty());
    assert_eq!(session.backends()[0].1, BackendStatus::Ended);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_confirmed_lapses_and_is_not_over() {
    let session = session_of_user("root");
    let now = pass(300).await;
    assert!(session.access("a", now).is_ok());
    let now = pass(1).await;
    assert_eq!(session.access("a", now).err(), Some(NoAccess::Unconfirmed));
    assert_eq!(session.backends()[0].1, BackendStatus::Unreachable);
    assert!(!session.is_spent());
}

#[tokio::test(start_paused = true)]
async fn time_ends_a_session_in_all_and_for_want_of_use() {
    let idle = session_of_user("root");
    assert!(!idle.has_expired(pass(3599).await));
    assert!(idle.has_expired(pass(1).await));

    let used = session_of_user("root");
    for _ in 0..12 {
        let now = pass(3599).await;
        assert!(!used.has_expired(now));
        used.touch(now);
    }
    assert!(!used.has_expired(pass(11).await));
    assert!(used.has_expired(pass(1).await));
    assert_eq!(used.expires_at(), used.created_at() + TERMS.absolute);
}

#[tokio::test(start_paused = true)]
async fn a_new_login_replaces_and_a_failed_one_does_not() {
    let session = session_of_user("root");
    let first = session.access("a", Instant::now()).expect("access");
    assert!(session.put("a", Standing::Refused).is_ok_and(|before| before.is_none()));
    assert_eq!(accessible(&session), ["a"]);
    let (second, standing) = live("a");
    let before = session.put("a", standing).ok().flatten().expect("the first");
    assert!(Arc::ptr_eq(&before, &first));
    assert!(Arc::ptr_eq(&session.access("a", Instant::now()).expect("access"), &second));
}

#[tokio::test(start_paused = true)]
async fn nothing_slips_into_a_session_that_has_ended() {
    let session = session_of_user("root");
    assert_eq!(session.end().len(), 1);
    let refused = session.put("b", live("b").1);
    assert!(matches!(refused, Err(Standing::Live(_))));
    assert!(session.end().iter().all(|one| one.backend() == "a"));
}

#[tokio::test(start_paused = true)]
async fn debug_shows_no_ref() {
    let session = session_of_user("root");
    let caller = crate::auth::Caller { session: Arc::clone(&session) };
    let shown = format!("{session:?} {caller:?} {:?}", session.access("a", Instant::now()));
    assert!(shown.contains("root") && !shown.contains("sentinel"), "{shown}");
}

#[test]
fn an_originator_is_one_sober_line() {
    assert_eq!(originator("root"), "xengate/root");
    for (name, start) in
        [("LAB\\ren\u{e9} b", "xengate/LAB\\ren__b~"), ("a\r\nb\0", "xengate/a__b_~")]
    {
        let originator = originator(name);
        assert!(originator.starts_with(start), "{originator}");
        assert!(originator.bytes().all(|byte| byte.is_ascii_graphic()), "{originator}");
    }
    // Nobody ends the sessions of somebody else by being called much the same.
    assert_ne!(
        originator("\u{438}\u{432}\u{430}\u{43d}"),
        originator("\u{434}\u{438}\u{43c}\u{430}")
    );
    assert_ne!(originator("a b"), originator("a_b"));
    assert_ne!(originator(&"x".repeat(1000)), originator(&"x".repeat(1001)));
    assert_eq!(originator(&"x".repeat(1000)).len(), LONGEST_ORIGINATOR);
}
