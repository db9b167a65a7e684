//! xend's own interface, `xend.*`: domains as s-expressions, no sessions, no passwords.
//!
//! A fixed list of methods is all that is ever sent; what clients ask for are calls of the
//! datamodel, and each of those is one of these or is not there.

mod calls;
mod device;
mod node;
mod project;
mod sxp;
mod toolstack;
mod vcpus;

pub(super) use toolstack::TOOLSTACK;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::time::{Instant, sleep};

use super::call::{Retry, Value, not_there};
use super::connections::Use;
use super::error::{BackendError, CallError, Phase};
use super::records::{Found, Pace};
use super::session::Session;
use super::tally::Tally;
use super::toolstack::Setup;
use super::xend::taken::{self, Expected};
use super::xend::{BAD_POWER_STATE, Envelope, Line, one_each, power, proper, unfit};
use vcpus::Vcpus;
use xenapi_wire::reply::Failure;
use xenapi_wire::sxp::Sxp;
use xenapi_wire::{Arg, Limits};
use xengate_config::PasswordCheck;

/// How long the question may take whether xend is there.
const CHECK_WITHIN: Duration = Duration::from_secs(5);

/// How long a call may take that saves or restores a guest's memory.
const LONG_CALL: Duration = Duration::from_secs(3600);

/// What one poll of the domains brings, and what the other of the host.
const QUICK: &[&[&str]] = &[&["VM", "VM_metrics", "VBD", "VIF", "console"]];
const SLOW: &[&[&str]] = &[&["host", "host_metrics"]];

/// The fields that are projected from a domain and from a host.
pub(super) const FIELDS: &str = include_str!("fields.txt");

/// A xend that speaks `xend.*`.
pub(super) struct Legacy {
    line: Line,
    auth: Option<PasswordCheck>,
    vcpus: Vcpus,
    tally: Arc<Tally>,
}

impl Legacy {
    fn new(setup: &Setup<'_>) -> Result<Self, BackendError> {
        let line = Line::new(setup.config, setup.endpoint()?, Envelope::Bare)?;
        let (auth, tally) = (setup.config.auth, Arc::clone(&setup.tally));
        Ok(Self { line, auth, vcpus: Vcpus::default(), tally })
    }

    /// The call that reads them.
    fn method(pace: Pace) -> &'static str {
        match pace {
            Pace::Quick => "xend.domains_with_state",
            Pace::Slow => "xend.node.info",
        }
    }

    /// Every object of those classes.
    async fn all_records(&self, pace: Pace) -> Result<Vec<Found>, CallError> {
        match pace {
            Pace::Quick => {
                let args = [Arg::Bool(true), Arg::from("all"), Arg::Int(1)];
                let value = self.line.ask_much(pace, Self::method(pace), &args).await?;
                let found = tokio::task::spawn_blocking(move || {
                    let domains: Vec<&RawValue> = serde_json::from_str(value.get())
                        .map_err(|_| unfit("no list of domains", value.get().len()))?;
                    let found = domains.iter().flat_map(|domain| project::domain(domain.get()));
                    Ok(one_each(found.collect()))
                });
                found.await.unwrap_or_else(|_| Err(unfit("the domains could not be read", 0)))
            }
            Pace::Slow => {
                let value = self.line.ask_much(pace, Self::method(pace), &[]).await?;
                let info = xenapi_wire::sxp::read(value.get().as_bytes(), Limits::default())
                    .map_err(|_| unfit("no information on the host", value.get().len()))?;
                Ok(node::host(&info))
            }
        }
    }

    /// One domain and all that is its; a VM without a record if it is gone.
    async fn domain(&self, uuid: &str) -> Result<Vec<Found>, CallError> {
        match self.read(Use::Calls, uuid, 1).await {
            // It may have a successor already, which xend finds only among all of them.
            Ok((_, domain)) if domain.text("state").is_some_and(|flags| flags.ends_with('d')) => {
                let all = self.all_records(Pace::Quick).await?;
                let metrics =
                    uuid.parse().map(|vm| project::made_up(vm, "VM_metrics").to_string()).ok();
                let is_its = |found: &Found| match found.class {
                    "VM" => found.reference == uuid,
                    "VM_metrics" => metrics.as_ref() == Some(&found.reference),
                    _ => false,
                };
                Ok(all.into_iter().filter(is_its).collect())
            }
            Ok((value, _)) => Ok(project::domain(value.get())),
            Err(CallError::Failure(failure)) if failure.code == "HANDLE_INVALID" => {
                let (reference, record, raw) = (uuid.to_owned(), None, None);
                Ok(vec![Found { class: "VM", reference, record, raw }])
            }
            Err(error) => Err(error),
        }
    }

    /// The VCPUs of a domain, as xend lists them; none if it is gone. They are asked for once for
    /// all who read what the poll brought that began then. xm asks by the name, which
    /// xend looks for first; the uuid is for a name that is none any more.
    async fn vcpus_of(
        &self,
        uuid: &str,
        name: &str,
        as_of: Option<Instant>,
    ) -> Result<Option<Arc<Value>>, CallError> {
        let ask = async {
            let calling = self.tally.begin("xend.domain.getVCPUInfo");
            calling.end(self.ask_for_vcpus(uuid, name).await)
        };
        self.vcpus.of(uuid, as_of, ask).await
    }

    async fn ask_for_vcpus(&self, uuid: &str, name: &str) -> Result<Option<Value>, CallError> {
        for key in [name, uuid] {
            let args = [Arg::from(key)];
            let within = self.line.call_timeout;
            let call = "xend.domain.getVCPUInfo";
            let asked = self.line.ask(Use::Calls, call, &args, Retry::Read, within).await;
            match asked.map_err(|error| told("VM.get_record", uuid, error)) {
                Err(CallError::Failure(failure)) if failure.code == "HANDLE_INVALID" => {}
                // There may be a domain of this uuid all the same.
                Err(CallError::Failure(_)) if key == name && name != uuid => {}
                other => return other.map(Some),
            }
        }
        Ok(None)
    }

    /// What xend tells of its host.
    async fn node_info(&self) -> Result<Value, CallError> {
        let within = self.line.call_timeout;
        self.line.ask(Use::Calls, "xend.node.info", &[], Retry::Read, within).await
    }

    /// The domain of this uuid. xend takes names before uuids, so that a domain whose name is
    /// another's uuid would be taken for it: what comes back is looked at.
    async fn read(&self, of: Use, uuid: &str, full: i64) -> Result<(Value, Sxp), CallError> {
        let args = [Arg::from(uuid), Arg::Int(full)];
        let within = self.line.call_timeout;
        let asked = self.line.ask(of, "xend.domain", &args, Retry::Read, within).await;
        let value = asked.map_err(|error| told("VM.get_record", uuid, error))?;
        let domain =
            sxp::domain(value.get()).ok_or_else(|| unfit("no domain", value.get().len()))?;
        let is_its = domain.text("uuid").map(|found| found.eq_ignore_ascii_case(uuid));
        match is_its {
            Some(true) => Ok((value, domain)),
            Some(false) => {
                let text = "another domain has this one's uuid for its name".to_owned();
                let code = "OPERATION_NOT_ALLOWED".to_owned();
                Err(CallError::Failure(Failure { code, params: vec![text] }))
            }
            None => Err(unfit("no domain", value.get().len())),
        }
    }

    /// Makes a call of the datamodel, as far as it can be said in this dialect.
    async fn make(&self, session: &Session, call: &str, args: &[Arg]) -> Result<Value, CallError> {
        self.vcpus.forget();
        let of = Use::CallsOf(session.sharer());
        let result = self.carry_out(of, call, args).await;
        self.vcpus.forget();
        result
    }

    async fn carry_out(&self, of: Use, call: &str, args: &[Arg]) -> Result<Value, CallError> {
        let Some((uuid, rest)) = calls::split(args).filter(|_| calls::has(call)) else {
            return Err(not_there(call));
        };
        let (_, domain) = self.read(of, uuid, 0).await.map_err(CallError::before_the_call)?;
        let state = sxp::power_state(&domain);
        if let Some(failure) = power::refused(call, uuid, state) {
            return Err(CallError::Failure(failure));
        }
        let steps = calls::steps(call, uuid, rest, &domain)?;
        let shown: Vec<_> = steps.iter().filter_map(|step| calls::shown(step, &domain)).collect();
        for (index, (method, args)) in steps.into_iter().enumerate() {
            let within = if calls::takes_long(call) { LONG_CALL } else { self.line.call_timeout };
            let done = self.line.ask(of, method, &args, Retry::Write, within).await;
            done.map_err(|error| {
                let mut error = told(call, uuid, error);
                if let CallError::Failure(failure) = &mut error
                    && failure.code == BAD_POWER_STATE
                    && let Some(actual) = failure.params.get_mut(2)
                {
                    state.clone_into(actual);
                }
                if index > 0 { error.after_others() } else { error }
            })?;
        }
        for (name, value) in shown {
            self.look_for(of, Expected::value(call, ("VM", uuid), name, value), name).await?;
        }
        Ok(Value::void())
    }

    /// Waits a little for what was written to show; an error if it does not.
    async fn look_for(&self, of: Use, expected: Expected, name: &str) -> Result<(), CallError> {
        for pause in taken::pauses() {
            let look = self.read(of, &expected.reference, 0).await.map(|(_, domain)| {
                let value = domain.value(name).and_then(|value| match value.as_int() {
                    Some(int) => Some(int.to_string()),
                    None => value.as_text().map(Cow::into_owned),
                });
                Some(value.map(|value| (name.to_owned(), value.into())).into_iter().collect())
            });
            if expected.is_seen(look) {
                return Ok(());
            }
            if let Some(pause) = pause {
                sleep(pause).await;
            }
        }
        Err(expected.not_taken())
    }

    /// Asks whether xend is there.
    async fn is_there(&self) -> Result<(), CallError> {
        let within = CHECK_WITHIN.min(self.line.call_timeout);
        match self.line.ask(Use::Login, "xend.node.info", &[], Retry::Read, within).await {
            Ok(_) | Err(CallError::Failure(_)) => Ok(()),
            Err(CallError::Busy(_) | CallError::Timeout(Phase::Queue)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn told(call: &str, uuid: &str, error: CallError) -> CallError {
    match error {
        CallError::Failure(failure) => CallError::Failure(proper(call, uuid, failure)),
        other => other,
    }
}
