use super::*;

#[tokio::test]
async fn lasting_use_keeps_a_session_from_going_idle_and_not_from_its_end() {
    let pool = Pool::start().await;
    let config =
        AuthConfig { token_ttl: seconds(100), idle_ttl: seconds(30), ..AuthConfig::default() };
    let authority = authority_with(&[("lab", &pool)], &config);
    let login = login(&authority).await;
    let caller = authenticate(&authority, &login).await.expect("known");
    for _ in 0..9 {
        assert!(authority.renew_after(&caller.session) <= seconds(10));
        pass(seconds(10)).await;
        assert_eq!(authority.renew(&caller).await, Ok(()));
    }
    assert!(pool.see(|state| state.checks) >= 2, "the pool is asked meanwhile");
    pass(authority.renew_after(&caller.session)).await;
    pass(seconds(1)).await;
    assert_eq!(authority.renew(&caller).await, Err(Over::Expired));
    assert_eq!(authority.sessions(), 0);
}

#[tokio::test]
async fn why_a_session_is_over_is_known() {
    let pool = Pool::start().await;
    let authority = authority(&[("lab", &pool)]);
    let (one, two) = (login(&authority).await, login(&authority).await);
    let caller = authenticate(&authority, &one).await.expect("known");
    assert_eq!((authority.renew(&caller).await, caller.lost("lab")), (Ok(()), None));
    authority.logout(&one.session).await;
    caller.session_ended().await;
    assert_eq!(authority.renew(&caller).await, Err(Over::LoggedOut));
    assert_eq!(caller.lost("lab"), Some(Over::LoggedOut));

    let caller = authenticate(&authority, &two).await.expect("known");
    pool.set(|state| state.open.clear());
    pass(seconds(30)).await;
    assert_eq!(authority.renew(&caller).await, Err(Over::Ended));
    caller.session_ended().await;
    assert_eq!(caller.lost("lab"), Some(Over::Ended));
}

#[tokio::test]
async fn a_pool_that_cannot_be_asked_for_long_ends_lasting_use() {
    let pool = Pool::start().await;
    let authority = authority(&[("lab", &pool)]);
    let login = login(&authority).await;
    let caller = authenticate(&authority, &login).await.expect("known");
    pool.set(|state| state.down = true);
    pass(seconds(200)).await;
    assert_eq!(authority.renew(&caller).await, Ok(()), "forgiven for a while");
    pass(seconds(101)).await;
    assert_eq!(authority.renew(&caller).await, Err(Over::Unconfirmed));
    assert_eq!(caller.lost("lab"), Some(Over::Unconfirmed));
}
