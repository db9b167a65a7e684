use super::*;

#[tokio::test]
async fn who_logs_in_is_known_until_the_logout() {
    let pool = Pool::start().await;
    let authority = authority(&[("lab", &pool)]);
    let login = login(&authority).await;
    assert_eq!(pool.see(|state| state.open.len()), 1);
    assert_eq!(pool.see(|state| state.originators.clone()), ["xengate/root"]);

    let caller = authenticate(&authority, &login).await.expect("known");
    assert_eq!(caller.session.username(), "root");
    assert_eq!(caller.readable_backends().collect::<Vec<_>>(), ["lab"]);
    assert_eq!(caller.session_for("lab").expect("a session").username(), "root");
    assert!(caller.session_for("elsewhere").is_none());

    authority.logout(&caller.session).await;
    assert_eq!(pool.see(|state| state.open.len()), 0, "the logout waits for the backend");
    assert_eq!(authenticate(&authority, &login).await.err(), Some(AuthError::Invalid));
    assert!(caller.session_for("lab").is_none(), "not even for requests under way");
    authority.logout(&caller.session).await;
}

#[tokio::test]
async fn no_debug_output_shows_a_secret() {
    let pool = Pool::start().await;
    let authority = authority(&[("lab", &pool)]);
    let login = login(&authority).await;
    let caller = authenticate(&authority, &login).await.expect("known");
    let error = authority.login(PEER, "root", "wrong-sentinel".into(), None).await;
    let shown = format!(
        "{login:?} {caller:?} {authority:?} {:?} {error:?} {}",
        caller.session_for("lab"),
        error.as_ref().expect_err("refused"),
    );
    assert!(shown.contains("root") && shown.contains("lab"), "{shown}");
    assert!(!shown.contains("sentinel"), "{shown}");
    assert!(!shown.contains(login.token.expose_secret()), "{shown}");
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_soon_not_even_tried() {
    let pool = Pool::start().await;
    let authority = authority(&[("lab", &pool)]);
    for _ in 0..3 {
        let error = authority.login(PEER, "root", "wrong".into(), None).await.expect_err("no");
        assert_eq!(error, LoginError::Refused);
    }
    let error = authority.login(PEER, "root", password(), None).await.expect_err("not yet");
    let LoginError::Throttled { retry_after } = error else { panic!("{error}") };
    assert!(retry_after <= seconds(1), "{retry_after:?}");
    assert_eq!(pool.see(|state| state.asked), 3, "the pool is spared");
    pass(seconds(1)).await;
    authority.login(PEER, "root", password(), None).await.expect("the wait is over");
    assert_eq!(authority.sessions(), 1);
}

#[tokio::test]
async fn a_login_given_up_leaves_no_session_behind() {
    let pool = Pool::start().await;
    pool.set(|state| state.hold_logins = true);
    let authority = authority(&[("lab", &pool)]);
    let login = tokio::spawn({
        let authority = Arc::clone(&authority);
        async move { authority.login(PEER, "root", password(), None).await.map(drop) }
    });
    pool.until("the login arrives", |state| state.asked == 1).await;
    login.abort();
    assert!(login.await.expect_err("given up").is_cancelled());
    pool.set(|state| state.hold_logins = false);
    pool.until("the login is answered", |state| state.answered == 1).await;
    pool.until("and its session logged out", |state| state.open.is_empty()).await;
    assert_eq!(authority.sessions(), 0);
}

#[tokio::test]
async fn a_late_answer_is_no_login_and_leaves_no_session_behind() {
    let (late, prompt) = (Pool::start().await, Pool::start().await);
    late.set(|state| state.hold_logins = true);
    let authority = authority(&[("late", &late), ("prompt", &prompt)]);
    let login = tokio::spawn({
        let authority = Arc::clone(&authority);
        async move { authority.login(PEER, "root", password(), names(&["late", "prompt"])).await }
    });
    late.until("the login arrives", |state| state.asked == 1).await;
    until_tasks(&authority, 2).await;
    pass(seconds(10)).await;
    let login = login.await.expect("no panic").expect("one backend is enough");
    let expected = [("late", "unreachable"), ("prompt", "ok")];
    assert_eq!(statuses(&login.session), expected.map(|(name, is)| (name.to_owned(), is)));
    late.set(|state| state.hold_logins = false);
    late.until("the login is answered", |state| state.answered == 1).await;
    late.until("and its session logged out", |state| state.open.is_empty()).await;
    let caller = authenticate(&authority, &login).await.expect("known");
    assert_eq!(caller.readable(), [("late".to_owned(), false), ("prompt".to_owned(), true)]);
}

#[tokio::test]
async fn a_late_refusal_counts_all_the_same() {
    let pool = Pool::start().await;
    let authority = authority(&[("lab", &pool)]);
    for n in 1..=3 {
        pool.set(|state| state.hold_logins = true);
        let login = tokio::spawn({
            let authority = Arc::clone(&authority);
            async move { authority.login(PEER, "root", "wrong".into(), None).await.map(drop) }
        });
        pool.until("the login arrives", |state| state.asked == n).await;
        pass(seconds(30)).await;
        let error = login.await.expect("no panic").expect_err("late");
        assert!(matches!(error, LoginError::Late { .. }), "{error}");
        pool.set(|state| state.hold_logins = false);
        pool.until("the login is answered", |state| state.answered == n).await;
        until_tasks(&authority, 1).await;
    }
    let error = authority.login(PEER, "root", password(), None).await.expect_err("not yet");
    assert!(matches!(error, LoginError::Throttled { .. }), "{error}");
}

#[tokio::test]
async fn a_password_goes_only_where_somebody_said() {
    let (a, b) = (Pool::start().await, Pool::start().await);
    let pools = [("a", &a), ("b", &b)];
    let known: Vec<String> = vec!["a".into(), "b".into()];
    let authority = authority(&pools);
    let refused = async |backends| {
        authority.login(PEER, "root", password(), backends).await.expect_err("refused")
    };
    assert_eq!(refused(None).await, LoginError::Unnamed { known: known.clone() });
    assert_eq!(refused(names(&[])).await, LoginError::NoneNamed { known: known.clone() });
    let error = refused(names(&["a", "sentinel"])).await;
    assert!(!error.to_string().contains("sentinel"), "{error}");
    assert_eq!(error, LoginError::Unknown { index: 1, known });
    assert_eq!(a.see(|state| state.asked) + b.see(|state| state.asked), 0);

    let login = authority.login(PEER, "root", password(), names(&["b", "b"])).await;
    assert_eq!(statuses(&login.expect("a login").session), [("b".to_owned(), "ok")]);
    assert_eq!((a.see(|state| state.asked), b.see(|state| state.asked)), (0, 1));

    let config = AuthConfig { default_backends: vec!["a".into()], ..AuthConfig::default() };
    let authority = authority_with(&pools, &config);
    let login = authority.login(PEER, "root", password(), None).await.expect("a login");
    assert_eq!(statuses(&login.session), [("a".to_owned(), "ok")]);
}

#[tokio::test]
async fn a_default_that_is_no_backend_is_no_start() {
    let config = AuthConfig { default_backends: vec!["nowhere".into()], ..AuthConfig::default() };
    let error = Authority::new(&config, &[], Inventory::start(Vec::new()), BTreeMap::new());
    assert!(matches!(error, Err(StartError::UnknownDefault(name)) if name == "nowhere"));
}

#[tokio::test]
async fn a_mixed_answer_is_a_refusal_unless_one_agrees() {
    let (good, bad, down) = (Pool::start().await, Pool::start().await, Pool::start().await);
    bad.set(|state| state.failure = Some("SESSION_AUTHENTICATION_FAILED"));
    down.set(|state| state.down = true);
    let authority = authority(&[("bad", &bad), ("down", &down), ("good", &good)]);
    let login = authority.login(PEER, "root", password(), names(&["good", "bad", "down"])).await;
    let login = login.expect("one is enough");
    let expected = [("bad", "refused"), ("down", "unreachable"), ("good", "ok")];
    assert_eq!(statuses(&login.session), expected.map(|(name, is)| (name.to_owned(), is)));

    let error = authority.login(PEER, "root", password(), names(&["down", "bad"])).await;
    assert_eq!(error.err(), Some(LoginError::Refused));
    let error = authority.login(PEER, "root", password(), names(&["down"])).await;
    let Err(LoginError::Unreachable { backends, .. }) = error else { panic!("{error:?}") };
    assert_eq!(backends[0].0, "down");
}

#[tokio::test]
async fn a_host_that_is_busy_starting_refuses_nobody() {
    let pool = Pool::start().await;
    pool.set(|state| state.failure = Some("HOST_STILL_BOOTING"));
    let authority = authority(&[("lab", &pool)]);
    for _ in 0..5 {
        let error = authority.login(PEER, "root", password(), None).await.expect_err("not yet");
        assert!(matches!(error, LoginError::Failed { .. }), "{error}");
        assert!(error.to_string().contains("HOST_STILL_BOOTING"), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_pool_is_told_apart_from_one_that_is_down() {
    let (web, down) = (Pool::start().await, Pool::start().await);
    web.set(|state| state.page = true);
    down.set(|state| state.down = true);
    let authority = authority(&[("down", &down), ("web", &web)]);
    let error = authority.login(PEER, "root", password(), names(&["web"])).await.expect_err("no");
    assert!(matches!(error, LoginError::BadReply { .. }), "{error}");
    assert!(error.to_string().contains("HTML") && !error.to_string().contains("It works"));
    let error = authority.login(PEER, "root", password(), names(&["web", "down"])).await;
    assert!(matches!(error, Err(LoginError::Unreachable { .. })), "{error:?}");
}

#[tokio::test]
async fn names_and_passwords_that_cannot_be_are_not_tried() {
    let pool = Pool::start().await;
    let authority = authority(&[("lab", &pool)]);
    for username in ["", "ro\0ot", "ro\not", &"r".repeat(257)] {
        let error = authority.login(PEER, username, password(), None).await.expect_err("refused");
        assert_eq!(error, LoginError::Username);
    }
    for password in [&"p".repeat(1025), "pass\0word", "password\n"] {
        let error = authority.login(PEER, "root", password.into(), None).await.expect_err("no");
        assert_eq!(error, LoginError::Password);
    }
    assert_eq!(pool.see(|state| state.asked), 0);
}

#[tokio::test]
async fn a_crowd_gets_its_answers_a_few_at_a_time() {
    let pool = Pool::start().await;
    let authority = authority(&[("lab", &pool)]);
    pool.set(|state| state.hold_logins = true);
    let crowd: Vec<_> = (1..=20)
        .map(|n| {
            let authority = Arc::clone(&authority);
            let (peer, username) = (IpAddr::from([198, 51, 100, n]), format!("user{n}"));
            tokio::spawn(async move {
                authority.login(peer, &username, "wrong".into(), None).await.map(drop)
            })
        })
        .collect();
    pool.until("the first arrive", |state| state.asked > 0).await;
    // Whatever could still arrive has had its turns.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(pool.see(|state| state.asked) <= 12);
    pool.set(|state| state.hold_logins = false);
    for one in crowd {
        assert_eq!(one.await.expect("no panic"), Err(LoginError::Refused));
    }
    assert_eq!(pool.see(|state| state.asked), 20);
}

#[tokio::test]
async fn beyond_the_cap_per_user_the_oldest_session_is_logged_out() {
    let pool = Pool::start().await;
    let config = AuthConfig { max_sessions_per_user: 2, ..AuthConfig::default() };
    let authority = authority_with(&[("lab", &pool)], &config);
    let (first, second) = (login(&authority).await, login(&authority).await);
    pass(seconds(1)).await;
    authenticate(&authority, &first).await.expect("known");
    let third = login(&authority).await;
    pool.until("one is logged out", |state| state.open.len() == 2).await;
    assert!(authenticate(&authority, &first).await.is_ok());
    assert_eq!(authenticate(&authority, &second).await.err(), Some(AuthError::Invalid));
    assert!(authenticate(&authority, &third).await.is_ok());
}

#[tokio::test]
async fn a_full_gateway_tries_no_password() {
    let pool = Pool::start().await;
    let config = AuthConfig { max_sessions: 1, ..AuthConfig::default() };
    let authority = authority_with(&[("lab", &pool)], &config);
    login(&authority).await;
    let error = authority.login(PEER, "other", password(), None).await.expect_err("full");
    assert!(matches!(error, LoginError::Full { .. }), "{error}");
    assert_eq!(pool.see(|state| state.asked), 1);
}

#[tokio::test]
async fn a_further_backend_joins_the_session() {
    let (a, b) = (Pool::start().await, Pool::start().await);
    let authority = authority(&[("a", &a), ("b", &b)]);
    let login = authority.login(PEER, "root", password(), names(&["a"])).await.expect("a login");
    let caller = authenticate(&authority, &login).await.expect("known");
    let add = async |username, password: &str, backend: &str| {
        authority
            .add_backends(
                &caller.session,
                PEER,
                username,
                password.into(),
                vec![backend.to_owned()],
            )
            .await
    };
    assert_eq!(add(None, "wrong", "b").await, Err(LoginError::Refused));
    assert_eq!(statuses(&caller.session)[1], ("b".to_owned(), "refused"));
    assert_eq!(caller.readable(), [("a".to_owned(), true)]);

    assert_eq!(add(Some("admin"), PASSWORD, "b").await, Ok(()));
    assert_eq!(caller.session_for("b").expect("a session").username(), "admin");
    assert_eq!(b.see(|state| state.originators[1].clone()), "xengate/root");
    assert_eq!(caller.readable_backends().collect::<Vec<_>>(), ["a", "b"]);

    // A login that fails takes nothing away, one that succeeds replaces the one before.
    assert_eq!(add(None, "wrong", "b").await, Err(LoginError::Refused));
    assert_eq!(caller.session_for("b").expect("a session").username(), "admin");
    assert_eq!(add(None, PASSWORD, "b").await, Ok(()));
    assert_eq!(caller.session_for("b").expect("a session").username(), "root");
    b.until("the one before is logged out", |state| state.open.len() == 1).await;

    authority.logout(&caller.session).await;
    assert_eq!(add(None, PASSWORD, "b").await, Err(LoginError::SessionEnded));
    b.until("nothing stays open", |state| state.answered == 5 && state.open.is_empty()).await;
    a.until("nothing stays open", |state| state.open.is_empty()).await;
}

#[tokio::test]
async fn shutdown_logs_everyone_out_and_lets_nobody_in() {
    let (a, b) = (Pool::start().await, Pool::start().await);
    let authority = authority(&[("a", &a), ("b", &b)]);
    for n in 0..20 {
        let user = format!("user{n}");
        let login = authority.login(PEER, &user, password(), names(&["a", "b"])).await;
        login.expect("a login");
    }
    assert_eq!((a.see(|state| state.open.len()), b.see(|state| state.open.len())), (20, 20));
    authority.shutdown().await;
    assert_eq!((a.see(|state| state.open.len()), b.see(|state| state.open.len())), (0, 0));
    let error = authority.login(PEER, "root", password(), names(&["a"])).await.expect_err("over");
    assert_eq!(error, LoginError::ShuttingDown);
}

#[tokio::test]
async fn a_login_under_way_at_shutdown_is_logged_out_too() {
    let pool = Pool::start().await;
    pool.set(|state| state.hold_logins = true);
    let authority = authority(&[("lab", &pool)]);
    let login = tokio::spawn({
        let authority = Arc::clone(&authority);
        async move { authority.login(PEER, "root", password(), None).await.map(drop) }
    });
    pool.until("the login arrives", |state| state.asked == 1).await;
    let ((), ()) = tokio::join!(authority.shutdown(), async {
        pool.set(|state| state.hold_logins = false);
    });
    assert_eq!(login.await.expect("no panic"), Err(LoginError::ShuttingDown));
    pool.until("nothing stays open", |state| state.answered == 1 && state.open.is_empty()).await;
}
