use super::*;

#[tokio::test]
async fn a_session_is_checked_once_when_its_last_check_is_old() {
    let pool = Pool::start().await;
    let authority = authority(&[("lab", &pool)]);
    let login = login(&authority).await;
    pass(seconds(29)).await;
    authenticate(&authority, &login).await.expect("known");
    assert_eq!(pool.see(|state| state.checks), 0);

    pass(seconds(1)).await;
    pool.set(|state| state.hold_checks = true);
    let one = tokio::spawn({
        let (authority, token) = (Arc::clone(&authority), login.token.expose_secret().to_owned());
        async move { authority.authenticate(&token).await.map(drop) }
    });
    pool.until("the check arrives", |state| state.checks == 1).await;
    // Nineteen more do not ask, and do not wait.
    for _ in 0..19 {
        authenticate(&authority, &login).await.expect("known");
    }
    assert!(!one.is_finished());
    assert_eq!(pool.see(|state| state.checks), 1);
    pool.set(|state| state.hold_checks = false);
    assert_eq!(one.await.expect("no panic"), Ok(()));
}

#[tokio::test]
async fn a_session_killed_at_the_pool_is_noticed() {
    let pool = Pool::start().await;
    let authority = authority(&[("lab", &pool)]);
    let login = login(&authority).await;
    pool.set(|state| state.open.clear());
    pass(seconds(30)).await;
    assert_eq!(authenticate(&authority, &login).await.err(), Some(AuthError::Invalid));
    assert_eq!(authority.sessions(), 0);
}

#[tokio::test]
async fn of_several_backends_only_the_one_that_ended_is_lost() {
    let (a, b) = (Pool::start().await, Pool::start().await);
    let authority = authority(&[("a", &a), ("b", &b)]);
    let login = authority.login(PEER, "root", password(), names(&["a", "b"])).await;
    let login = login.expect("a login");
    a.set(|state| state.open.clear());
    pass(seconds(30)).await;
    let caller = authenticate(&authority, &login).await.expect("b is left");
    assert_eq!(caller.readable(), [("a".to_owned(), false), ("b".to_owned(), true)]);
    assert_eq!(caller.access("a").err(), Some(NoAccess::Ended));
    assert_eq!(statuses(&caller.session)[0], ("a".to_owned(), "ended"));
    b.set(|state| state.open.clear());
    pass(seconds(30)).await;
    assert_eq!(authenticate(&authority, &login).await.err(), Some(AuthError::Invalid));
}

#[tokio::test]
async fn a_pool_that_cannot_be_asked_is_forgiven_for_a_while() {
    let pool = Pool::start().await;
    let authority = authority(&[("lab", &pool)]);
    let login = login(&authority).await;
    pool.set(|state| state.down = true);
    for _ in 0..10 {
        pass(seconds(29)).await;
        authenticate(&authority, &login).await.expect("forgiven");
    }
    // 290 s have passed since the login; the clock ran a little on its own.
    pass(seconds(11)).await;
    let error = authenticate(&authority, &login).await.expect_err("no more");
    assert!(matches!(error, AuthError::Unconfirmed { .. }), "{error}");
    assert_eq!(authority.sessions(), 1, "nobody is logged out for it");
    let holder = authority.identify(login.token.expose_secret()).expect("it is a session");
    authority.look_up(&holder).await.expect("and not over");
    assert_eq!(statuses(&holder.session), [("lab".to_owned(), "unreachable")]);

    pool.set(|state| state.down = false);
    pass(seconds(5)).await;
    authenticate(&authority, &login).await.expect("good again");
    assert_eq!(pool.see(|state| state.open.len()), 1);
}

#[tokio::test]
async fn a_pool_that_answers_with_another_failure_has_confirmed_nothing() {
    let pool = Pool::start().await;
    let authority = authority(&[("lab", &pool)]);
    let login = login(&authority).await;
    pool.set(|state| state.failure = Some("HOST_STILL_BOOTING"));
    pass(seconds(30)).await;
    authenticate(&authority, &login).await.expect("forgiven");
    pass(seconds(271)).await;
    let error = authenticate(&authority, &login).await.expect_err("no more");
    assert!(matches!(error, AuthError::Unconfirmed { .. }), "{error}");
}

#[tokio::test]
async fn after_a_long_pause_all_requests_wait_for_the_one_check() {
    let pool = Pool::start().await;
    let authority = authority(&[("lab", &pool)]);
    let login = login(&authority).await;
    pass(seconds(1800)).await;
    pool.set(|state| state.hold_checks = true);
    let requests: Vec<_> = (0..8)
        .map(|_| {
            let (authority, token) =
                (Arc::clone(&authority), login.token.expose_secret().to_owned());
            tokio::spawn(async move { authority.authenticate(&token).await.map(drop) })
        })
        .collect();
    pool.until("the check arrives", |state| state.checks == 1).await;
    pool.set(|state| state.hold_checks = false);
    for request in requests {
        assert_eq!(request.await.expect("no panic"), Ok(()));
    }
    assert_eq!(pool.see(|state| state.checks), 1);
}

#[tokio::test]
async fn a_check_goes_on_when_its_request_is_given_up() {
    let pool = Pool::start().await;
    let authority = authority(&[("lab", &pool)]);
    let login = login(&authority).await;
    pass(seconds(30)).await;
    pool.set(|state| state.hold_checks = true);
    let request = tokio::spawn({
        let (authority, token) = (Arc::clone(&authority), login.token.expose_secret().to_owned());
        async move { authority.authenticate(&token).await.map(drop) }
    });
    pool.until("the check arrives", |state| state.checks == 1).await;
    request.abort();
    pool.set(|state| state.hold_checks = false);
    assert!(request.await.expect_err("given up").is_cancelled());
    until_tasks(&authority, 1).await;
    authenticate(&authority, &login).await.expect("known");
    assert_eq!(pool.see(|state| state.checks), 1, "the answer counted");
}

#[tokio::test]
async fn a_session_nobody_uses_ends_by_itself() {
    let pool = Pool::start().await;
    let authority = authority(&[("lab", &pool)]);
    let login = login(&authority).await;
    pass(seconds(3600)).await;
    pool.until("the sweeper logs it out", |state| state.open.is_empty()).await;
    assert_eq!(authority.sessions(), 0);
    assert_eq!(authenticate(&authority, &login).await.err(), Some(AuthError::Invalid));
}

#[tokio::test]
async fn an_idle_session_that_is_used_too_late_has_expired() {
    let pool = Pool::start().await;
    let config = AuthConfig { idle_ttl: seconds(20), ..AuthConfig::default() };
    let authority = authority_with(&[("lab", &pool)], &config);
    let login = login(&authority).await;
    pass(seconds(19)).await;
    authenticate(&authority, &login).await.expect("in time");
    // `advance` lets the sweeper have its turn, so either may come first.
    pass(seconds(20)).await;
    let error = authenticate(&authority, &login).await.expect_err("too late");
    assert!(matches!(error, AuthError::Expired | AuthError::Invalid), "{error}");
    pool.until("it is logged out", |state| state.open.is_empty()).await;
    assert_eq!(authority.sessions(), 0);
}

#[tokio::test]
async fn a_session_can_be_left_while_nobody_can_be_asked_about_it() {
    let pool = Pool::start().await;
    let authority = authority(&[("lab", &pool)]);
    let login = login(&authority).await;
    pool.set(|state| state.down = true);
    pass(seconds(301)).await;
    let error = authenticate(&authority, &login).await.expect_err("no access");
    assert!(matches!(error, AuthError::Unconfirmed { .. }), "{error}");
    let holder = authority.identify(login.token.expose_secret()).expect("it is a session");
    authority.logout(&holder.session).await;
    assert_eq!(authority.sessions(), 0);
    assert_eq!(authority.identify(login.token.expose_secret()).err(), Some(AuthError::Invalid));
}

#[tokio::test]
async fn a_session_that_is_over_has_no_holder() {
    let pool = Pool::start().await;
    let authority = authority(&[("lab", &pool)]);
    let over = login(&authority).await;
    over.session.access("lab", tokio::time::Instant::now()).expect("access").ended().cancel();
    assert_eq!(authority.identify(over.token.expose_secret()).err(), Some(AuthError::Invalid));
    let idle = login(&authority).await;
    pass(seconds(3600)).await;
    assert!(authority.identify(idle.token.expose_secret()).is_err(), "whoever came first ended it");
    let killed = login(&authority).await;
    pool.set(|state| state.open.clear());
    pass(seconds(30)).await;
    let holder = authority.identify(killed.token.expose_secret()).expect("nobody has asked");
    assert_eq!(authority.look_up(&holder).await, Err(AuthError::Invalid));
    assert_eq!(authority.sessions(), 0);
}
