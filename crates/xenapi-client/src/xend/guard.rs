//! Whether xend checks passwords at all.
//!
//! A Xen-API listener of xend's may accept anything, and nothing but trying tells. So a made-up
//! password is tried, and nobody is let in unless xend has refused it. xend may be restarted with
//! another configuration at any time; its sessions die with it. So what was found out holds for as
//! long as a session that was opened since is known to xend, and is found out anew otherwise. That
//! session is kept when its user logs out: else every login after that would try a password that is
//! refused, which takes PAM its time and looks like an attack.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use super::line::Line;
use crate::call::Retry;
use crate::connections::Use;
use crate::error::{CallError, Misconfigured};
use xenapi_wire::Arg;

/// Someone whom every host has, so that it is the password that is refused.
const SOMEONE: &str = "root";

/// How long xend may take. PAM makes who is refused wait.
const WITHIN: Duration = Duration::from_secs(15);

/// What is known of a listener.
#[derive(Default)]
pub(super) struct Guard(Mutex<Option<Verdict>>);

/// It refuses what it should. The session, if any, was opened after that was found out.
struct Verdict {
    witness: Option<SecretString>,
}

impl Guard {
    /// Returns once it is certain that xend checks passwords; an error if it does not, or could not
    /// be asked.
    pub(super) async fn pass(&self, line: &Line) -> Result<(), CallError> {
        let mut verdict = self.0.lock().await;
        if let Some(Verdict { witness: Some(witness) }) = &*verdict
            && knows(line, witness).await?
        {
            return Ok(());
        }
        *verdict = None;
        let args = [Arg::from(SOMEONE), Arg::Secret(made_up())];
        let within = WITHIN.min(line.call_timeout);
        let login = "session.login_with_password";
        match line.ask(Use::Login, login, &args, Retry::Write, within).await {
            Ok(session) => {
                tracing::error!("this xend accepts any password: nobody can log in to it");
                if let Ok(session) = serde_json::from_str::<String>(session.get()) {
                    let session = [Arg::Secret(session.into())];
                    // It harms nobody if it stays.
                    let _ =
                        line.ask(Use::Login, "session.logout", &session, Retry::Read, within).await;
                }
                Err(Misconfigured::AcceptsAnything.into())
            }
            Err(CallError::Failure(failure)) if failure.code == REFUSED => {
                *verdict = Some(Verdict { witness: None });
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Whether it has been found out that xend checks passwords.
    pub(super) async fn is_settled(&self) -> bool {
        self.0.lock().await.is_some()
    }

    /// Remembers a session that was opened after [`Guard::pass`], unless there is one already.
    pub(super) async fn saw(&self, session: &SecretString) {
        if let Some(verdict) = &mut *self.0.lock().await {
            verdict.witness.get_or_insert_with(|| session.clone());
        }
    }

    /// Whether a session is the one by which xend is known, and so outlives its user.
    pub(super) async fn keeps(&self, session: &SecretString) -> bool {
        let verdict = self.0.lock().await;
        let witness = verdict.as_ref().and_then(|verdict| verdict.witness.as_ref());
        witness.is_some_and(|witness| witness.expose_secret() == session.expose_secret())
    }

    /// The session by which xend is known, to be closed.
    pub(super) async fn give_up(&self) -> Option<SecretString> {
        self.0.lock().await.take().and_then(|verdict| verdict.witness)
    }
}

/// What xend answers to a wrong password.
pub(super) const REFUSED: &str = "SESSION_AUTHENTICATION_FAILED";

async fn knows(line: &Line, session: &SecretString) -> Result<bool, CallError> {
    let args = [Arg::Secret(session.clone()), Arg::Secret(session.clone())];
    let within = WITHIN.min(line.call_timeout);
    match line.ask(Use::Login, "session.get_uuid", &args, Retry::Read, within).await {
        Ok(_) => Ok(true),
        Err(CallError::Failure(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn made_up() -> SecretString {
    SecretString::from(format!(
        "{}{}",
        uuid::Uuid::new_v4().simple(),
        uuid::Uuid::new_v4().simple()
    ))
}
