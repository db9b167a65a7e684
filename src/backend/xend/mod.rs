//! xend's Xen-API: the Xen-API of 2006, in XML-RPC.
//!
//! Only calls of the datamodel are ever sent, and of these only the ones that xend has: its listener
//! carries out `xend.*` for anybody, and `event.*` makes it hang.

mod calls;
mod failures;
mod guard;
mod line;
mod memory;
mod records;
mod sessions;

pub(super) use failures::{BAD_POWER_STATE, proper};
pub(super) use line::{Envelope, Line, unfit};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::value::RawValue;
use tokio::sync::Mutex;

use super::connections::{Endpoint, LaneUse, Use};
use super::error::{BackendError, CallError};
use super::session::Session;
use super::{Description, Failure, Found, Pace, Retry, Value};
use crate::config::{BackendConfig, PasswordCheck, SecretSource};
use crate::wire::Arg;
use guard::Guard;
use sessions::{Lost, Own, with_session};

/// How long it may take to say whether it is there.
const CHECK_WITHIN: Duration = Duration::from_secs(5);

/// How long a call may take that saves or restores a guest's memory.
const LONG_CALL: Duration = Duration::from_secs(3600);

/// Whom the gateway logs in as where nobody asks.
const NOBODY: &str = "xengate";

/// What changes by itself, and what hardly ever does.
const QUICK: &[&[&str]] = &[&["VM", "VM_metrics"]];
const SLOW: &[&[&str]] = &[
    &["host"],
    &["host_metrics"],
    &["host_cpu"],
    &["network"],
    &["SR"],
    &["VDI"],
    &["VBD"],
    &["VIF"],
    &["console"],
    &["PBD"],
    &["PIF"],
    &["task"],
    &["VBD_metrics"],
    &["PIF_metrics"],
    // Each record looks through all of them.
    &["VIF_metrics"],
];

/// A xend that speaks the Xen-API.
pub(super) struct Xend {
    line: Line,
    check: PasswordCheck,
    account: Option<(String, SecretSource)>,
    /// The gateway's own session, for whoever the gateway has let in.
    own: Mutex<Own>,
    guard: Guard,
}

impl Xend {
    pub(super) fn new(
        config: &BackendConfig,
        endpoint: Arc<Endpoint>,
    ) -> Result<Self, BackendError> {
        let account = config.service_username.clone().zip(config.service_password.clone());
        Ok(Self {
            line: Line::new(config, endpoint, Envelope::Status)?,
            check: config.auth.unwrap_or(PasswordCheck::Users),
            account,
            own: Mutex::default(),
            guard: Guard::default(),
        })
    }

    pub(super) fn password_check(&self) -> PasswordCheck {
        self.check
    }

    /// Whether it has this call.
    pub(super) fn has(call: &str) -> bool {
        calls::has(call)
    }

    /// Whether its records have this field.
    pub(super) fn has_field(class: &str, field: &str) -> bool {
        records::has_field(class, field)
    }

    /// The classes that are worth reading at this pace, those together that are read together.
    pub(super) fn polls(pace: Pace) -> &'static [&'static [&'static str]] {
        match pace {
            Pace::Quick => QUICK,
            Pace::Slow => SLOW,
        }
    }

    /// Makes a call on behalf of a session.
    pub(super) async fn call(
        &self,
        session: &Session,
        call: &str,
        args: &[Arg],
        retry: Retry,
    ) -> Result<Value, CallError> {
        if !calls::has(call) {
            let params = vec![call.to_owned()];
            let code = "MESSAGE_METHOD_UNKNOWN".to_owned();
            return Err(CallError::Failure(Failure { code, params }));
        }
        let args = calls::plain(call, args);
        if memory::is_of_memory(call) {
            return memory::set(self, session, call, &args).await;
        }
        if call == "VM.destroy" {
            // xend destroys a running VM too, which nobody who knows XAPI means.
            self.want_state(session, &args, "Halted").await?;
        }
        let args = calls::shaped(call, args);
        let within = if calls::takes_long(call) { LONG_CALL } else { self.line.call_timeout };
        let result = self.send(session, call, &args, retry, within).await;
        match result {
            Err(CallError::Failure(failure)) => {
                Err(CallError::Failure(self.told(session, call, &args, failure).await))
            }
            result => result,
        }
    }

    /// The failure as XAPI would have it.
    async fn told(&self, session: &Session, call: &str, args: &[Arg], failure: Failure) -> Failure {
        let reference = calls::reference(args).unwrap_or_default().to_owned();
        let mut failure = proper(call, &reference, failure);
        if failure.code == BAD_POWER_STATE
            && let Some(actual) = failure.params.get_mut(2)
            && actual.is_empty()
            && let Ok(state) = self.power_state(session, args.get(..1).unwrap_or_default()).await
        {
            *actual = state;
        }
        failure
    }

    async fn want_state(
        &self,
        session: &Session,
        args: &[Arg],
        wanted: &str,
    ) -> Result<(), CallError> {
        let state = self.power_state(session, args).await?;
        if state == wanted {
            return Ok(());
        }
        let reference = calls::reference(args).unwrap_or_default().to_owned();
        let params = vec![reference, wanted.to_owned(), state];
        Err(CallError::Failure(Failure { code: BAD_POWER_STATE.to_owned(), params }))
    }

    async fn power_state(&self, session: &Session, args: &[Arg]) -> Result<String, CallError> {
        let call = "VM.get_power_state";
        let value = self.send(session, call, args, Retry::Read, self.line.call_timeout).await?;
        serde_json::from_str(value.get())
            .map_err(|_| unfit("a power state is no text", value.get().len()))
    }

    /// Asks whether xend is there, and whether it checks passwords if it is to.
    pub(super) async fn probe(&self) -> Result<(), CallError> {
        if self.check == PasswordCheck::Backend && !self.guard.is_settled().await {
            return match self.guard.pass(&self.line).await {
                Ok(()) | Err(CallError::Failure(_)) => Ok(()),
                Err(error) => Err(error),
            };
        }
        let args = [Arg::from("")];
        let within = CHECK_WITHIN.min(self.line.call_timeout);
        match self.line.ask(Use::Login, "host.get_all", &args, Retry::Read, within).await {
            Ok(_) | Err(CallError::Failure(_)) => Ok(()),
            Err(CallError::Busy(_) | CallError::Timeout(super::Phase::Queue)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Every record of a class.
    pub(super) async fn records(
        &self,
        session: &Session,
        class: &'static str,
        pace: Pace,
    ) -> Result<Vec<Found>, CallError> {
        let call = format!("{class}.get_all_records");
        let once = async |reference: SecretString| {
            let args = with_session(&reference, &[]);
            self.settled(session, &reference, self.line.ask_much(pace, &call, &args).await).await
        };
        let result = match once(self.reference(session).await?).await {
            Err(Lost::Session) => once(self.own_session().await?).await,
            result => result,
        };
        let value = match result.map_err(|error| error.into_call_error()) {
            // A class that this xend has not.
            Err(CallError::Failure(failure)) if failure.code == "MESSAGE_METHOD_UNKNOWN" => {
                return Ok(Vec::new());
            }
            result => result?,
        };
        let records: BTreeMap<String, &RawValue> = serde_json::from_str(value.get())
            .map_err(|_| unfit("no map of records", value.get().len()))?;
        Ok(records.iter().map(|(name, json)| records::found(class, name, json)).collect())
    }

    /// One record; `None` in it when there is none any more.
    pub(super) async fn record(
        &self,
        session: &Session,
        class: &'static str,
        reference: &str,
    ) -> Result<Found, CallError> {
        let call = format!("{class}.get_record");
        let bare = records::bare(reference);
        let args = [Arg::from(bare)];
        let within = self.line.call_timeout;
        let value = match self.send(session, &call, &args, Retry::Read, within).await {
            Ok(value) => value,
            Err(CallError::Failure(failure)) if failure.code == "HANDLE_INVALID" => {
                Value(RawValue::from_string("null".to_owned()).expect("null is JSON"))
            }
            Err(error) => return Err(error),
        };
        Ok(records::found(class, bare, &value.0))
    }

    pub(super) fn connections(&self) -> Vec<LaneUse> {
        self.line.used()
    }

    pub(super) fn description(&self) -> Description {
        Description {
            kind: "xend",
            product: None,
            version: None,
            api_version: None,
            address: Some(self.line.address()),
            last_error: self.line.last_error(),
        }
    }
}
