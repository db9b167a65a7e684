//! xend's Xen-API: the Xen-API of 2006, in XML-RPC.
//!
//! Only calls of the datamodel are ever sent, and of these only the ones that xend has: its listener
//! carries out `xend.*` for anybody, and `event.*` makes it hang.

mod calls;
mod failures;
mod guard;
mod line;
mod memory;
pub(super) mod power;
mod records;
mod sessions;
pub(super) mod taken;
mod toolstack;
mod vcpus;

pub(super) use failures::proper;
pub(super) use line::{Envelope, Line, unfit};
pub(super) use power::BAD_POWER_STATE;
pub(super) use records::one_each;
pub(super) use toolstack::TOOLSTACK;

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::value::RawValue;
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::call::{Retry, Value, not_there};
use super::connections::Use;
use super::error::{BackendError, CallError, Phase};
use super::records::{Found, Pace};
use super::session::Session;
use super::tally::Tally;
use super::toolstack::Setup;
use guard::Guard;
use sessions::{Lost, Own, with_session};
use taken::Expected;
use xenapi_wire::Arg;
use xenapi_wire::reply::Failure;
use xengate_config::{PasswordCheck, SecretSource};

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
    tally: Arc<Tally>,
}

impl Xend {
    fn new(setup: &Setup<'_>) -> Result<Self, BackendError> {
        let config = setup.config;
        let account = config.service_username.clone().zip(config.service_password.clone());
        Ok(Self {
            line: Line::new(config, setup.endpoint()?, Envelope::Status)?,
            check: config.auth.unwrap_or(PasswordCheck::Users),
            account,
            own: Mutex::default(),
            guard: Guard::default(),
            tally: Arc::clone(&setup.tally),
        })
    }

    /// Makes a call on behalf of a session.
    async fn carry_out(
        &self,
        session: &Session,
        call: &str,
        args: &[Arg],
        retry: Retry,
    ) -> Result<Value, CallError> {
        if !calls::has(call) {
            return Err(not_there(call));
        }
        let args = calls::plain(call, args);
        if memory::is_of_memory(call) {
            return memory::set(self, session, call, &args).await;
        }
        if power::is_of_power(call) {
            let state = self.check_state(session, call, &args).await;
            state.map_err(CallError::before_the_call)?;
        }
        if vcpus::is_of_vcpus(call) {
            return vcpus::set(self, session, call, &args).await;
        }
        let args = calls::shaped(call, args);
        let within = if calls::takes_long(call) { LONG_CALL } else { self.line.call_timeout };
        let value = self.made(session, call, &args, retry, within).await?;
        if let Some(expected) = Expected::of(call, &args) {
            self.look_for(session, expected).await?;
        }
        Ok(value)
    }

    /// Makes a call. A failure comes as XAPI would have it.
    async fn made(
        &self,
        session: &Session,
        call: &str,
        args: &[Arg],
        retry: Retry,
        within: Duration,
    ) -> Result<Value, CallError> {
        match self.send(session, call, args, retry, within).await {
            Err(CallError::Failure(failure)) => {
                Err(CallError::Failure(self.told(session, call, args, failure).await))
            }
            result => result,
        }
    }

    /// Waits a little for what was written to show; an error if it does not.
    async fn look_for(&self, session: &Session, expected: Expected) -> Result<(), CallError> {
        for pause in taken::pauses() {
            let look = self.plain_record(session, expected.class, &expected.reference).await;
            if expected.is_seen(look) {
                return Ok(());
            }
            if let Some(pause) = pause {
                sleep(pause).await;
            }
        }
        Err(expected.not_taken())
    }

    /// A record as xend has it.
    async fn plain_record(
        &self,
        session: &Session,
        class: &'static str,
        reference: &str,
    ) -> Result<Option<serde_json::Map<String, serde_json::Value>>, CallError> {
        let found = self.one_record(session, class, reference).await?;
        let Some(record) = found.record else { return Ok(None) };
        let unfit = |_| unfit("no record", record.len());
        serde_json::from_str(&record).map(Some).map_err(unfit)
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

    /// Refuses a call that xend would say yes to although the VM's state is none for it. What it
    /// refuses by itself it has words of its own for.
    async fn check_state(
        &self,
        session: &Session,
        call: &str,
        args: &[Arg],
    ) -> Result<(), CallError> {
        let by_itself = match call {
            "VM.start" | "VM.suspend" | "VM.resume" | "VM.hard_reboot" => return Ok(()),
            "VM.pause" | "VM.unpause" | "VM.clean_shutdown" | "VM.clean_reboot" => "Halted",
            _ => "",
        };
        let state = match self.power_state(session, args.get(..1).unwrap_or_default()).await {
            Ok(state) => state,
            // It cannot say; then it decides.
            Err(CallError::Failure(failure))
                if !by_itself.is_empty() && failure.code != "HANDLE_INVALID" =>
            {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let reference = calls::reference(args).unwrap_or_default();
        match power::refused(call, reference, &state).filter(|_| state != by_itself) {
            Some(failure) => Err(CallError::Failure(failure)),
            None => Ok(()),
        }
    }

    async fn power_state(&self, session: &Session, args: &[Arg]) -> Result<String, CallError> {
        let call = "VM.get_power_state";
        let value = self.send(session, call, args, Retry::Read, self.line.call_timeout).await?;
        serde_json::from_str(value.get())
            .map_err(|_| unfit("a power state is no text", value.get().len()))
    }

    /// Asks whether xend is there, and whether it checks passwords if it is to.
    async fn is_there(&self) -> Result<(), CallError> {
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
            Err(CallError::Busy(_) | CallError::Timeout(Phase::Queue)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Every record of a class.
    async fn all_records(
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
        let records::Pairs(records) = serde_json::from_str(value.get())
            .map_err(|_| unfit("no map of records", value.get().len()))?;
        let found = records.iter().map(|(name, json)| records::found(class, name, json));
        Ok(one_each(found.collect()))
    }

    /// One record; `None` in it when there is none any more.
    async fn one_record(
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
        let found = records::found(class, bare, &value.0);
        if class == "VM" && records::may_be_dying(&found) && self.is_dying(session, &found).await {
            // It may have a successor already, which xend finds only among all of them.
            let all = self.all_records(session, class, Pace::Quick).await?;
            let other = all.into_iter().find(|other| other.reference == found.reference);
            return Ok(other.unwrap_or(found));
        }
        Ok(found)
    }

    /// Whether a VM's domain is on its way out, as far as its metrics tell.
    async fn is_dying(&self, session: &Session, vm: &Found) -> bool {
        let metrics = vm.record.as_deref().and_then(records::metrics).unwrap_or_default();
        let (args, within) = ([Arg::from(metrics)], self.line.call_timeout);
        let state = self.send(session, "VM_metrics.get_state", &args, Retry::Read, within).await;
        state.is_ok_and(|state| {
            let words: Vec<String> = serde_json::from_str(state.get()).unwrap_or_default();
            words.iter().any(|word| word == "dying")
        })
    }
}
