//! One attempt to log in to one backend.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::login_gate::{BackendGates, LoginQueue, Unclaimed};
use super::throttle::Attempt;
use super::users::Users;
use xenapi_client::{CallError, Misconfigured, Phase, Reason, Unreachable};
use xengate_config::PasswordCheck;

/// How long a client waits for the word on a password of one backend of several, which others can
/// stand in for. XAPI sleeps five seconds before it refuses one.
const ONE_OF_SEVERAL: Duration = Duration::from_secs(10);

/// Failures that say that the password was good, and that its user may not log in to this pool.
const FORBIDDEN: [&str; 3] =
    ["SESSION_AUTHORIZATION_FAILED", "RBAC_PERMISSION_DENIED", "PERMISSION_DENIED"];

/// A user name and a password, for as long as a login takes.
pub(super) struct Credentials {
    pub(super) username: String,
    pub(super) password: SecretString,
    /// What the backend will know the session by.
    pub(super) originator: String,
}

/// What a backend said.
pub(super) enum Answer {
    /// Come in.
    Ok(Unclaimed),
    /// These credentials are no good.
    Refused,
    /// They are good, and their user may not log in; with the backend's code.
    Forbidden(String),
    /// Nothing of use, and why.
    Silent(Silence),
}

/// Why a backend said nothing of use about a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Silence {
    /// For people, and fit for clients.
    pub(super) why: String,
    /// What to make of it.
    pub(super) of: Of,
}

/// What to make of a backend that said nothing of use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Of {
    /// It could not be asked.
    Unasked,
    /// It was asked, and failed with this code.
    Failure(String),
    /// It did not answer in time.
    Late,
    /// It is being asked by too many.
    Busy,
    /// Something came back that makes no sense, as from what is no Xen pool.
    Nonsense,
    /// Nobody can log in to it until somebody changes a configuration.
    Configuration,
}

impl Silence {
    pub(super) fn new(of: Of, why: impl Into<String>) -> Self {
        Self { why: why.into(), of }
    }
}

/// Tries the credentials on a backend. The attempt goes on by itself: it ends when the backend has
/// answered, even if by then nobody waits any more, since a session may have come of it.
pub(super) fn knock(
    doors: &Arc<BackendGates>,
    backend: Arc<str>,
    credentials: Arc<Credentials>,
    attempt: Arc<Attempt>,
    is_alone: bool,
) -> oneshot::Receiver<Answer> {
    let (mut answer_to, answer) = oneshot::channel();
    let own_doors = Arc::clone(doors);
    doors.spawn(async move {
        let doors = own_doors;
        let Some(door) = doors.get(&backend) else { return };
        let name = &credentials.username;
        let entered = tokio::select! {
            entered = door.enter(name, attempt.is_proven()) => entered,
            // Nobody waits for the answer, so the question need not be asked.
            () = answer_to.closed() => return,
        };
        let Ok(place) = entered else {
            let crowded = Silence::new(Of::Busy, "too many logins are waiting for it");
            drop(attempt);
            let _ = answer_to.send(Answer::Silent(crowded));
            return;
        };
        let own = door.backend.login_timeout();
        let within = if is_alone { own } else { own.min(ONE_OF_SEVERAL) };
        let began = Instant::now();
        let mut login = Box::pin(open(door, &doors.users, &credentials));
        // An answer that is not taken is dropped, and a session in it logged out.
        if let Ok(result) = tokio::time::timeout(within, &mut login).await {
            if result.is_ok() {
                door.took(name, began.elapsed());
            }
            let answer = judge(result, &doors, &attempt, &backend);
            // Over before the client hears of it, or its next attempt could come too early.
            drop((attempt, place));
            let _ = answer_to.send(answer);
        } else {
            let late = humantime::format_duration(within);
            let late = format!("it did not answer the login within {late}");
            let _ = answer_to.send(Answer::Silent(Silence::new(Of::Late, late)));
            // XAPI may yet take it, and a session that nobody uses counts there.
            drop(judge(login.await, &doors, &attempt, &backend));
        }
    });
    answer
}

/// A login came to nothing.
enum Unopened {
    /// The gateway's own users do not include this one, or it is another password.
    NoUser,
    /// Nobody is configured who could log in.
    NoUsers,
    /// The backend did not do it.
    Backend(CallError),
}

/// Opens a session, once whoever checks this backend's passwords has found this one good.
async fn open(
    door: &LoginQueue,
    users: &Users,
    credentials: &Credentials,
) -> Result<Arc<xenapi_client::Session>, Unopened> {
    let Credentials { username, password, originator } = credentials;
    let backend = &door.backend;
    if backend.password_check().await.map_err(Unopened::Backend)? == PasswordCheck::Backend {
        match backend.authenticate(username, password, originator).await {
            // It lets anybody in; the gateway does not.
            Err(CallError::Misconfigured(Misconfigured::TrustsAnybody))
                if backend.may_admit() && !users.is_empty() => {}
            opened => return opened.map_err(Unopened::Backend),
        }
    }
    if users.is_empty() {
        return Err(Unopened::NoUsers);
    }
    let access = users.verify(username, password).await.ok_or(Unopened::NoUser)?;
    backend.admit(username, access, originator).await.map_err(Unopened::Backend)
}

fn judge(
    result: Result<Arc<xenapi_client::Session>, Unopened>,
    doors: &Arc<BackendGates>,
    attempt: &Attempt,
    backend: &str,
) -> Answer {
    match result {
        Ok(session) => {
            attempt.succeeded(Instant::now());
            Answer::Ok(Unclaimed::new(session, doors))
        }
        Err(Unopened::NoUser) => {
            attempt.refused(Instant::now());
            Answer::Refused
        }
        Err(Unopened::Backend(CallError::Failure(failure))) => {
            let code = failure.code.as_str();
            if code == "SESSION_AUTHENTICATION_FAILED" {
                attempt.refused(Instant::now());
                return Answer::Refused;
            }
            if FORBIDDEN.contains(&code) {
                return Answer::Forbidden(failure.code);
            }
            tracing::warn!(backend, code, "a login failed");
            let of = Of::Failure(failure.code.clone());
            Answer::Silent(Silence::new(of, CallError::Failure(failure).to_string()))
        }
        Err(Unopened::NoUsers) => {
            tracing::warn!(backend, "nobody can log in: no [[users]] are configured");
            let why = "it checks no passwords, and the gateway has no users of its own: configure \
                       [[users]] (`xengate hash-password` makes the hashes), or auth = \"backend\" \
                       where its listener checks passwords";
            Answer::Silent(Silence::new(Of::Configuration, why))
        }
        Err(Unopened::Backend(error)) => {
            tracing::warn!(backend, %error, "a login got no answer");
            let of = match error {
                CallError::BadReply(_) => Of::Nonsense,
                // Nor does an old server's TLS get better by waiting.
                CallError::Misconfigured(_)
                | CallError::Unreachable(Unreachable { reason: Reason::NoTls(_), .. }) => {
                    Of::Configuration
                }
                CallError::Timeout(Phase::Reply | Phase::Body) => Of::Late,
                CallError::Timeout(Phase::Queue) | CallError::Busy(_) => Of::Busy,
                _ => Of::Unasked,
            };
            Answer::Silent(Silence::new(of, in_public(&error)))
        }
    }
}

/// What went wrong, for someone of whom nothing is known: no address, no name of a host.
fn in_public(error: &CallError) -> String {
    match error {
        CallError::Unreachable(Unreachable { reason: Reason::Tls(_), .. }) => {
            "there is no TLS with it, or its certificate is not good".to_owned()
        }
        CallError::Unreachable(Unreachable { reason, .. }) => reason.to_string(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_learn_no_address() {
        let reasons = [
            Reason::Tls("not valid for name secret.example.com".to_owned()),
            Reason::Resolve,
            Reason::Connect(std::io::ErrorKind::ConnectionRefused),
            Reason::TimedOut(ONE_OF_SEVERAL),
            Reason::Lost { sent: true },
        ];
        for reason in reasons {
            let address = "https://secret.example.com".to_owned();
            let error = CallError::from(Unreachable { address, reason });
            assert!(error.to_string().contains("secret.example.com"));
            let told = in_public(&error);
            assert!(!told.is_empty() && !told.contains("secret"), "{told}");
        }
    }
}
