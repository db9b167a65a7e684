//! The sessions in which calls are made: those of users whom xend has let in, and the gateway's own
//! for users whom it has let in itself.

use std::time::Duration;

use secrecy::SecretString;
use tokio::time::Instant;

use super::{NOBODY, Xend, guard, unfit};
use crate::call::{Retry, Value};
use crate::connections::Use;
use crate::error::{CallError, Misconfigured, Phase, Unreachable};
use crate::session::{Access, Session};
use crate::xapi::redact::{ends_session, redact};
use crate::xapi::session_invalid;
use xenapi_wire::Arg;
use xengate_config::PasswordCheck;

/// How long it may take to log in, out, or to say whether a session is good.
const LOGIN_WITHIN: Duration = Duration::from_secs(20);
const CHECK_WITHIN: Duration = Duration::from_secs(5);

/// How long nobody else tries to open the gateway's own session after an attempt has failed.
const REFUSED_FOR: Duration = Duration::from_secs(2);

impl Xend {
    /// Logs a user in whose password xend is to check.
    pub(super) async fn log_in(
        &self,
        username: &str,
        password: &SecretString,
    ) -> Result<(SecretString, Access), CallError> {
        self.guard.pass(&self.line).await?;
        let session = self.open(username, password).await?;
        self.guard.saw(&session).await;
        // xend knows no roles: whoever is let in may do everything.
        Ok((session, Access { is_local_superuser: true, ..Access::default() }))
    }

    async fn open(&self, name: &str, password: &SecretString) -> Result<SecretString, CallError> {
        let args = [Arg::from(name), Arg::Secret(password.clone())];
        let within = LOGIN_WITHIN.min(self.line.call_timeout);
        let login = "session.login_with_password";
        let opened = self.line.ask(Use::Login, login, &args, Retry::Write, within).await;
        let value = opened.map_err(|error| hidden(error, None))?;
        match serde_json::from_str::<String>(value.get()) {
            Ok(session) if !session.is_empty() => Ok(session.into()),
            _ => Err(unfit("a login's result is no session ref", value.get().len())),
        }
    }

    pub(super) async fn own_session(&self) -> Result<SecretString, CallError> {
        let mut own = self.own.lock().await;
        if let Some(session) = &own.session {
            return Ok(session.clone());
        }
        if let Some(refusal) = own.refused_lately() {
            return Err(refusal);
        }
        let (name, password) = match &self.account {
            Some((name, password)) => {
                let password = password.read().map_err(|error| {
                    tracing::warn!(%error, "the service account has no password");
                    CallError::from(Misconfigured::NeedsAccount)
                })?;
                (name.as_str(), password)
            }
            None => (NOBODY, SecretString::default()),
        };
        let session = self.open(name, &password).await.map_err(|error| match error {
            CallError::Failure(failure) if failure.code == guard::REFUSED => {
                Misconfigured::NeedsAccount.into()
            }
            other => other,
        });
        let session = session.inspect_err(|error| own.refused(error))?;
        Ok(own.session.insert(session).clone())
    }

    /// Forgets the gateway's own session, unless there is another by now.
    async fn drop_own(&self, dead: &SecretString) {
        use secrecy::ExposeSecret;
        let mut own = self.own.lock().await;
        own.session.take_if(|own| own.expose_secret() == dead.expose_secret());
    }

    /// Sends a call with the session that it is to be made in. Failures come as xend gave them, but
    /// for the session's ref.
    pub(super) async fn send(
        &self,
        session: &Session,
        call: &str,
        args: &[Arg],
        retry: Retry,
        within: Duration,
    ) -> Result<Value, CallError> {
        let once = async |reference: SecretString| {
            let args = with_session(&reference, args);
            let of = Use::CallsOf(session.sharer());
            let result = self.line.ask(of, call, &args, retry, within).await;
            self.settled(session, &reference, result).await
        };
        match once(self.reference(session).await?).await {
            // Its session was gone, so nothing has been done: xend has been restarted.
            Err(Lost::Session) => {
                once(self.own_session().await?).await.map_err(|error| error.into_call_error())
            }
            result => result.map_err(|error| error.into_call_error()),
        }
    }

    /// The ref of the session in which a call is made.
    pub(super) async fn reference(&self, session: &Session) -> Result<SecretString, CallError> {
        match self.check {
            PasswordCheck::Users => self.own_session().await,
            PasswordCheck::Backend if session.ended().is_cancelled() => Err(session_invalid()),
            PasswordCheck::Backend => Ok(session.reference().clone()),
        }
    }

    pub(super) async fn settled<T>(
        &self,
        session: &Session,
        reference: &SecretString,
        result: Result<T, CallError>,
    ) -> Result<T, Lost> {
        match result {
            Err(CallError::Failure(failure)) if ends_session(&failure, reference) => {
                match self.check {
                    PasswordCheck::Users => {
                        self.drop_own(reference).await;
                        Err(Lost::Session)
                    }
                    PasswordCheck::Backend => {
                        session.lose();
                        let failure = redact(failure, Some(reference));
                        Err(Lost::Other(CallError::Failure(failure)))
                    }
                }
            }
            Err(error) => Err(Lost::Other(hidden(error, Some(reference)))),
            Ok(value) => Ok(value),
        }
    }

    /// Whether the session is still good.
    pub(super) async fn check_session(&self, session: &Session) -> Result<(), CallError> {
        let reference = self.reference(session).await?;
        let args = with_session(&reference, &[Arg::Secret(reference.clone())]);
        let within = CHECK_WITHIN.min(self.line.call_timeout);
        let call = "session.get_uuid";
        let result = self.line.ask(Use::Check, call, &args, Retry::Read, within).await;
        match self.settled(session, &reference, result).await {
            Ok(_) => Ok(()),
            // The gateway's own: those whom it has let in lose nothing.
            Err(Lost::Session) => self.own_session().await.map(drop),
            Err(error) => Err(error.into_call_error()),
        }
    }

    pub(super) async fn log_out(&self, session: &SecretString) {
        if self.check == PasswordCheck::Backend && !self.guard.keeps(session).await {
            self.close(session).await;
        }
    }

    async fn close(&self, session: &SecretString) {
        let args = [Arg::Secret(session.clone())];
        let within = CHECK_WITHIN.min(self.line.call_timeout);
        let logout = self.line.ask(Use::Login, "session.logout", &args, Retry::Read, within);
        if let Err(error) = logout.await {
            tracing::debug!(error = %hidden(error, Some(session)), "a session is left behind");
        }
    }

    /// Logs the gateway itself out.
    pub(super) async fn give_up_sessions(&self) {
        let own = self.own.lock().await.session.take();
        for session in own.into_iter().chain(self.guard.give_up().await) {
            self.close(&session).await;
        }
    }
}

/// The gateway's own session, and how it went when there was to be one.
#[derive(Default)]
pub(super) struct Own {
    session: Option<SecretString>,
    refused: Option<(Instant, Refusal)>,
}

/// Why there was none, as far as it is the same for everybody.
enum Refusal {
    Misconfigured(Misconfigured),
    Unreachable(Unreachable),
    Other,
}

impl Own {
    fn refused(&mut self, error: &CallError) {
        let refusal = match error {
            CallError::Misconfigured(why) => Refusal::Misconfigured(*why),
            CallError::Unreachable(why) => Refusal::Unreachable(why.clone()),
            _ => Refusal::Other,
        };
        self.refused = Some((Instant::now(), refusal));
    }

    /// What the last attempt came to, if it was a moment ago: those who waited for it do not try
    /// one after the other.
    fn refused_lately(&self) -> Option<CallError> {
        let (at, refusal) = self.refused.as_ref()?;
        let error = match refusal {
            Refusal::Misconfigured(why) => (*why).into(),
            Refusal::Unreachable(why) => why.clone().into(),
            Refusal::Other => CallError::Timeout(Phase::Reply),
        };
        (at.elapsed() < REFUSED_FOR).then_some(error)
    }
}

/// Why a call that was sent has no result.
pub(super) enum Lost {
    /// The gateway's own session is no more.
    Session,
    Other(CallError),
}

impl Lost {
    pub(super) fn into_call_error(self) -> CallError {
        match self {
            Self::Session => session_invalid(),
            Self::Other(error) => error,
        }
    }
}

pub(super) fn with_session(session: &SecretString, args: &[Arg]) -> Vec<Arg> {
    let session = [Arg::Secret(session.clone())];
    session.into_iter().chain(args.iter().cloned()).collect()
}

/// The error without any session's ref.
fn hidden(error: CallError, session: Option<&SecretString>) -> CallError {
    match error {
        CallError::Failure(failure) => CallError::Failure(redact(failure, session)),
        other => other,
    }
}
