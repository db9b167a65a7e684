use super::*;

#[tokio::test]
async fn a_ticket_stands_for_its_session_and_not_longer() {
    let pool = Pool::start().await;
    let authority = authority(&[("lab", &pool)]);
    let login = login(&authority).await;
    let holder = authority.identify(login.token.expose_secret()).expect("the session");
    let ticket = || authority.issue_ticket(&holder).expect("a ticket");
    let (one, two) = (ticket(), ticket());
    let caller = authority.redeem(one.secret.expose_secret()).await.expect("good");
    assert_eq!(caller.session.id(), login.session.id());
    let again = authority.redeem(one.secret.expose_secret()).await;
    assert_eq!(again.err(), Some(AuthError::Invalid));
    let token = authority.redeem(login.token.expose_secret()).await;
    assert_eq!(token.err(), Some(AuthError::Invalid), "a token is no ticket");
    authority.logout(&holder.session).await;
    let late = authority.redeem(two.secret.expose_secret()).await;
    assert_eq!(late.err(), Some(AuthError::Invalid));
}
