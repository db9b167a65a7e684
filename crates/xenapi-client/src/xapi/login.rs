//! Logging in and out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout};

use super::calls::Question;
use super::guard::{Proof, is_of_passwords};
use super::redact::redact;
use super::{Facts, SESSION_INVALID, Xapi};
use crate::call::{Retry, Value};
use crate::connections::{Endpoint, Use, Within};
use crate::error::{BadReply, CallError, Fault, Misconfigured, Reason, Unreachable};
use crate::session::Access;
use crate::software::HostSoftware;
use crate::toolstack::{Login, Trust};
use xenapi_wire::Arg;

/// The version of the Xen-API we claim to speak. XAPI takes any; it writes it down.
const API_VERSION: &str = "2.21";

/// The longest originator: XAPI keeps it in its database, and counts sessions by it.
const LONGEST_ORIGINATOR: usize = 64;

/// A name and a password.
const FEWEST_PARAMS: usize = 2;

/// The longest session ref that is believed to be one.
const LONGEST_REF: usize = 256;

/// What XAPI answers to a wrong password.
const AUTHENTICATION_FAILED: &str = "SESSION_AUTHENTICATION_FAILED";

/// How long the questions around a login may take.
const LOOK_WITHIN: Duration = Duration::from_secs(20);

/// How long connecting to a host may take while there are others to try.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// How long a logout may take; after that XAPI's own expiry does it.
const LOGOUT_WITHIN: Duration = Duration::from_secs(5);

/// How long a login is held up for what only describes the backend, and for how long that is good.
const FACTS_WITHIN: Duration = Duration::from_secs(2);
const FACTS_GOOD_FOR: Duration = Duration::from_secs(600);

impl Xapi {
    pub(super) async fn login(
        self: &Arc<Self>,
        login: Login<'_>,
    ) -> Result<(SecretString, Access), CallError> {
        let result = self.login_anywhere(&login).await;
        self.note(&result);
        // A failure to log in names no session, unless something is odd.
        result.map_err(|error| match error {
            CallError::Failure(failure) => CallError::Failure(redact(failure, None)),
            other => other,
        })
    }

    /// Opens a session with the configured account, for someone whom the gateway itself has let in.
    pub(super) async fn admit(
        self: &Arc<Self>,
        originator: &str,
    ) -> Result<(SecretString, Access), CallError> {
        let (name, password) = self.account.as_ref().ok_or(Misconfigured::NeedsAccount)?;
        let password = password.read().map_err(|error| {
            tracing::warn!(%error, "the service account has no password");
            CallError::from(Misconfigured::NeedsAccount)
        })?;
        let trust = Trust::Account;
        let login = Login { username: name, password: &password, originator, trust };
        let opened = self.login(login).await;
        opened.map_err(|error| match error {
            // It is not this user's password that is refused.
            CallError::Failure(failure) if is_of_passwords(&failure) => {
                tracing::warn!(code = %failure.code, "the service account is refused");
                Misconfigured::NeedsAccount.into()
            }
            other => other,
        })
    }

    /// Whether there is an account that those whom the gateway lets in can work with.
    pub(super) fn has_account(&self) -> bool {
        self.account.is_some()
    }

    async fn login_anywhere(
        self: &Arc<Self>,
        login: &Login<'_>,
    ) -> Result<(SecretString, Access), CallError> {
        let mut first = None;
        let mut candidates = self.hosts.candidates().into_iter();
        while let Some(host) = candidates.next() {
            let whole = self.login_within;
            // Nobody waits long for a login, so a host that may be no more must leave time for the
            // others. It gets all of it when it is the last, as it is next time.
            let connect = if candidates.len() > 0 { CONNECT_WITHIN } else { Duration::MAX };
            match self.login_at(&host, login, Within { whole, connect }).await {
                Ok((coordinator, session)) => {
                    self.hosts.settle(Arc::clone(&coordinator));
                    let access = self.look_around(&coordinator, &session).await?;
                    return Ok((session, access));
                }
                Err(error) if error.is_about_the_host() => {
                    tracing::debug!(%error, address = %host, "no login here");
                    first.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(first.expect("there is at least one host"))
    }

    /// Logs in at this host, or at the coordinator that it names.
    async fn login_at(
        self: &Arc<Self>,
        host: &Arc<Endpoint>,
        login: &Login<'_>,
        within: Within,
    ) -> Result<(Arc<Endpoint>, SecretString), CallError> {
        let error = match self.enter(host, login, within).await {
            Ok(session) => return Ok((Arc::clone(host), session)),
            Err(error) => error,
        };
        let Some(named) = coordinator_named(&error) else { return Err(error) };
        let lost = |address: &Endpoint, why| {
            let reason = Reason::Coordinator(why);
            CallError::from(Unreachable { address: address.to_string(), reason })
        };
        let coordinator = self.hosts.named_by(host, named).map_err(|why| lost(host, why))?;
        match self.enter(&coordinator, login, within).await {
            Ok(session) => Ok((coordinator, session)),
            Err(error) if coordinator_named(&error).is_some() => {
                Err(lost(&coordinator, "neither is the one that a supporter names"))
            }
            Err(error) => Err(error),
        }
    }

    /// Logs in at this host, if it looks at passwords where it has to.
    async fn enter(
        self: &Arc<Self>,
        host: &Arc<Endpoint>,
        login: &Login<'_>,
        within: Within,
    ) -> Result<SecretString, CallError> {
        let Login { username, password, originator, trust } = *login;
        let (proof, of) = match trust {
            Trust::Account => (Proof::There, Use::Login),
            Trust::Backend => (self.proof(host)?, Use::Password),
        };
        let epoch = host.epoch();
        let result = self.log_in(host, username, password, originator, within, of).await;
        let session = match result {
            Ok(session) => session,
            Err(CallError::Failure(failure)) if failure.code == AUTHENTICATION_FAILED => {
                self.guard.refused(host, epoch);
                return Err(CallError::Failure(failure));
            }
            Err(error) => return Err(error),
        };
        // What was known before may have ended with the connection.
        let proof = match trust {
            Trust::Backend if proof.is_there() => self.proof(host),
            _ => Ok(proof),
        };
        let proven = match proof {
            Ok(proof) => proof.wait().await,
            Err(error) => Err(error),
        };
        match proven {
            Ok(()) => Ok(session),
            Err(error) => {
                self.log_out_at(host, &session).await;
                Err(error)
            }
        }
    }

    /// Opens a session at this host.
    pub(super) async fn log_in(
        &self,
        host: &Arc<Endpoint>,
        username: &str,
        password: &SecretString,
        originator: &str,
        within: Within,
        of: Use,
    ) -> Result<SecretString, CallError> {
        let args = [
            Arg::String(username.to_owned()),
            Arg::Secret(password.clone()),
            Arg::String(API_VERSION.to_owned()),
            Arg::String(tidy(originator)),
        ];
        let mut count = host.login_params().unwrap_or(args.len()).min(args.len());
        let value = loop {
            let question = Question {
                of,
                call: "session.login_with_password",
                args: &args[..count],
                retry: Retry::Write,
                within,
            };
            match self.ask_either(host, question).await {
                // Before 6.2 it took no originator, before 4.1 no version.
                Err(CallError::Failure(failure))
                    if failure.code == "MESSAGE_PARAMETER_COUNT_MISMATCH"
                        && count > FEWEST_PARAMS =>
                {
                    count -= 1;
                    host.learn_login_params(count);
                }
                result => break result?,
            }
        };
        let session: String = parse(&value, "a login's result is no session ref")?;
        if uuid::Uuid::try_parse(&session).is_ok() {
            // XAPI's refs are opaque; a bare uuid is xend's, which may let anybody in.
            return Err(unfit("this is xend's answer to a login, not XAPI's", &value));
        }
        if session.is_empty() || session.len() > LONGEST_REF {
            return Err(unfit("a login's result is no session ref", &value));
        }
        Ok(SecretString::from(session))
    }

    /// What the new session may do and, now and then, what the pool is.
    async fn look_around(
        &self,
        host: &Arc<Endpoint>,
        session: &SecretString,
    ) -> Result<Access, CallError> {
        let args = [Arg::Secret(session.clone()), Arg::Secret(session.clone())];
        let record = match self.read(host, "session.get_record", &args).await {
            Ok(value) => SessionRecord::of(&value),
            Err(error) => Err(error),
        };
        let record = match record {
            Ok(record) => record,
            Err(CallError::Failure(failure)) if failure.code != SESSION_INVALID => {
                // The session is good; it may just not say what it may do. Then nothing is assumed.
                tracing::warn!(code = %failure.code, "a session does not tell its permissions");
                SessionRecord::default()
            }
            Err(error) => {
                self.logout(session).await;
                return Err(match error {
                    CallError::Failure(failure) => {
                        CallError::Failure(redact(failure, Some(session)))
                    }
                    other => other,
                });
            }
        };
        if self.facts.lock().read.is_none_or(|read| read.elapsed() > FACTS_GOOD_FOR) {
            let read = self.read_facts(host, session, record.this_host);
            // They only describe the backend; without them it works as well.
            if let Ok(Some(facts)) = timeout(FACTS_WITHIN, read).await {
                *self.facts.lock() = facts;
            }
        }
        Ok(Access {
            is_local_superuser: record.is_local_superuser,
            permissions: self.permissions.shared(record.rbac_permissions.into_iter().collect()),
        })
    }

    async fn read_facts(
        &self,
        host: &Arc<Endpoint>,
        session: &SecretString,
        this_host: String,
    ) -> Option<Facts> {
        let args = [Arg::Secret(session.clone()), Arg::String(this_host)];
        let value = self.read(host, "host.get_record", &args).await.ok()?;
        let software = HostSoftware::of_record(value.get().as_bytes());
        Some(Facts { software, read: Some(Instant::now()) })
    }

    async fn read(
        &self,
        host: &Arc<Endpoint>,
        call: &str,
        args: &[Arg],
    ) -> Result<Value, CallError> {
        let within = self.call_timeout.min(LOOK_WITHIN).into();
        self.ask(host, Question { of: Use::Login, call, args, retry: Retry::Read, within }).await
    }

    /// Ends a session at the backend, if that can be done soon.
    pub(super) async fn logout(&self, session: &SecretString) {
        self.log_out_at(&self.hosts.current_or_first(), session).await;
    }

    pub(super) async fn log_out_at(&self, host: &Arc<Endpoint>, session: &SecretString) {
        let question = Question {
            of: Use::Login,
            call: "session.logout",
            args: &[Arg::Secret(session.clone())],
            // A second logout finds nothing left to do.
            retry: Retry::Read,
            within: LOGOUT_WITHIN.min(self.call_timeout).into(),
        };
        match timeout(LOGOUT_WITHIN, self.ask_either(host, question)).await {
            Ok(Ok(_)) => {}
            Ok(Err(CallError::Failure(failure))) => {
                tracing::debug!(code = %failure.code, "nothing to log out of");
            }
            Ok(Err(error)) => tracing::warn!(%error, "a session is left to expire"),
            Err(_) => tracing::warn!("a session is left to expire: logging out takes too long"),
        }
    }
}

/// The part of a session's record that matters here.
#[derive(Default)]
struct SessionRecord {
    is_local_superuser: bool,
    rbac_permissions: Vec<String>,
    this_host: String,
}

impl SessionRecord {
    /// A field that cannot be read gives nobody a right.
    fn of(value: &Value) -> Result<Self, CallError> {
        let record: HashMap<String, &RawValue> =
            serde_json::from_str(value.get()).map_err(|_| unfit("a session's record", value))?;
        Ok(Self {
            is_local_superuser: field(&record, "is_local_superuser"),
            rbac_permissions: field(&record, "rbac_permissions"),
            this_host: field(&record, "this_host"),
        })
    }
}

/// A field of a record; nothing where it cannot be read.
fn field<'a, T: Deserialize<'a> + Default>(
    record: &HashMap<String, &'a RawValue>,
    name: &str,
) -> T {
    let json = record.get(name).map(|json| json.get());
    json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}

/// The coordinator's address, if a call failed because it went to a supporter.
fn coordinator_named(error: &CallError) -> Option<&str> {
    match error {
        CallError::Failure(failure) if failure.code == "HOST_IS_SLAVE" => {
            Some(failure.params.first().map_or("", String::as_str))
        }
        _ => None,
    }
}

/// An originator in characters and at a length that every XAPI takes.
fn tidy(originator: &str) -> String {
    let tidy = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '_' };
    originator.chars().take(LONGEST_ORIGINATOR).map(tidy).collect()
}

fn parse<'a, T: Deserialize<'a>>(value: &'a Value, what: &'static str) -> Result<T, CallError> {
    serde_json::from_str(value.get()).map_err(|_| unfit(what, value))
}

pub(super) fn unfit(what: &'static str, value: &Value) -> CallError {
    let read = value.get().len() as u64;
    BadReply { status: Some(200), fault: Fault::Unfit(what), read }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_originator_is_tidied() {
        assert_eq!(tidy("xengate/root"), "xengate/root");
        assert_eq!(tidy("xengate/rené\n\u{0}"), "xengate/ren___");
        assert_eq!(tidy(&"x".repeat(1000)).len(), LONGEST_ORIGINATOR);
    }
}
