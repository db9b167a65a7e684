//! In whose session a backend is polled.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;

use super::ORIGINATOR;
use crate::inventory::mirror::Mirror;
use crate::inventory::standing::Loss;
use xenapi_client::{Access, Session};
use xengate_config::PasswordCheck;

/// A session to read in.
pub(super) enum Reader {
    /// The gateway's own.
    Own(Arc<Session>),
    /// A caller lends it.
    Borrowed(Arc<Session>),
}

/// A session to read in: the gateway's own, or one that a caller lends.
pub(super) async fn reader(mirror: &Mirror, own: Option<Arc<Session>>) -> Result<Reader, Loss> {
    let backend = &mirror.backend;
    if let Some(own) = own.filter(|own| !own.ended().is_cancelled()) {
        return Ok(Reader::Own(own));
    }
    let everything = Access { is_local_superuser: true, ..Access::default() };
    let borrowed = || mirror.borrow_session().map(Reader::Borrowed);
    let opened = match (backend.password_check().await, &mirror.service) {
        (Err(error), _) => Err(error),
        (Ok(PasswordCheck::Users), _) => backend.admit(ORIGINATOR, everything, ORIGINATOR).await,
        (Ok(PasswordCheck::Backend), Some(account)) => match account.password.read() {
            Ok(password) => backend.login(&account.username, &password, ORIGINATOR).await,
            Err(error) => return Err(Loss::Refused(format!("service account: {error}"))),
        },
        (Ok(PasswordCheck::Backend), None) => return borrowed().ok_or(Loss::NoSession),
    };
    match opened {
        Ok(session) => Ok(Reader::Own(session)),
        Err(error) => borrowed().ok_or_else(|| Loss::of(&error)),
    }
}

/// A future that may not be there; then it never ends.
pub(super) struct OptionFuture<'a, T>(pub(super) &'a mut Option<BoxFuture<'static, T>>);

impl<T> Future for OptionFuture<'_, T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self.0 {
            Some(future) => {
                let output = ready!(future.as_mut().poll(cx));
                *self.0 = None;
                Poll::Ready(Some(output))
            }
            None => Poll::Pending,
        }
    }
}
