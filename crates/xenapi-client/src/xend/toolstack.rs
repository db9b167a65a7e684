//! xend's Xen-API behind the trait that all kinds of backend have.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};

use super::{QUICK, SLOW, Xend, calls, records};
use crate::call::{Retry, Value};
use crate::connections::LaneUse;
use crate::description::{Description, UpdateMode};
use crate::error::{CallError, Misconfigured};
use crate::records::{Found, Pace, Records};
use crate::session::Session;
use crate::toolstack::{Answers, Asking, Login, Opened, Registration, Toolstack};
use xenapi_wire::Arg;
use xengate_config::{Kind, PasswordCheck};

/// A xend that speaks the Xen-API of 2006.
pub(crate) static TOOLSTACK: Registration = Registration {
    kind: Kind::Xend,
    set_up: |setup| Ok(Arc::new(Xend::new(setup)?)),
    is_it: |answers| answers == Answers::Hosts,
};

impl Toolstack for Xend {
    fn description(&self) -> Description {
        Description {
            address: Some(self.line.address()),
            last_error: self.line.last_error(),
            ..Description::of_kind(TOOLSTACK.kind)
        }
    }

    fn connections(&self) -> Vec<LaneUse> {
        self.line.used()
    }

    fn dialect(&self) -> Option<&'static str> {
        Some("XML-RPC")
    }

    fn update_mode(&self) -> UpdateMode {
        UpdateMode::Polling
    }

    fn has(&self, call: &str) -> Option<bool> {
        Some(calls::has(call))
    }

    fn has_field(&self, class: &str, field: &str) -> Option<bool> {
        Some(records::has_field(class, field))
    }

    fn password_check(&self) -> Result<PasswordCheck, Misconfigured> {
        Ok(self.check)
    }

    fn needs_account(&self) -> bool {
        self.check != PasswordCheck::Users
    }

    fn login<'a>(&'a self, login: Login<'a>) -> Asking<'a, Opened> {
        self.log_in(login.username, login.password).boxed()
    }

    fn admit<'a>(&'a self, _: &'a str) -> Asking<'a, Option<Opened>> {
        async move { self.own_session().await.map(|_| None) }.boxed()
    }

    fn logout<'a>(&'a self, session: &'a Session) -> BoxFuture<'a, ()> {
        self.log_out(session.reference()).boxed()
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        self.give_up_sessions().boxed()
    }

    fn check<'a>(&'a self, session: &'a Session) -> Asking<'a, ()> {
        async move {
            let calling = self.tally.begin("session.get_uuid");
            calling.end(self.check_session(session).await)
        }
        .boxed()
    }

    fn probe(&self) -> Asking<'_, ()> {
        async move { self.tally.begin("host.get_all").end(self.is_there().await) }.boxed()
    }

    fn call<'a>(
        &'a self,
        session: &'a Session,
        call: &'a str,
        args: &'a [Arg],
        retry: Retry,
    ) -> Asking<'a, Value> {
        self.carry_out(session, call, args, retry).boxed()
    }

    fn polls(&self, pace: Pace) -> &'static [&'static [&'static str]] {
        match pace {
            Pace::Quick => QUICK,
            Pace::Slow => SLOW,
        }
    }

    fn records<'a>(
        &'a self,
        session: &'a Session,
        pace: Pace,
        classes: &'static [&'static str],
    ) -> Asking<'a, Records> {
        async move {
            let mut records = Records::default();
            for class in classes {
                let calling = self.tally.begin(&format!("{class}.get_all_records"));
                match calling.end(self.all_records(session, class, pace).await) {
                    Ok(mut found) => {
                        records.found.append(&mut found);
                        records.classes.push(class);
                    }
                    Err(CallError::Failure(failure))
                        if *class != "VM" && !failure.code.starts_with("SESSION") =>
                    {
                        let (backend, code) = (session.backend(), failure.code);
                        tracing::warn!(backend, class, code, "a class could not be read");
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(records)
        }
        .boxed()
    }

    fn record<'a>(
        &'a self,
        session: &'a Session,
        class: &'static str,
        reference: &'a str,
    ) -> Asking<'a, Vec<Found>> {
        async move {
            let calling = self.tally.begin(&format!("{class}.get_record"));
            let found = calling.end(self.one_record(session, class, reference).await)?;
            // A VM that was started has other metrics than before.
            let vm = found.record.as_deref().filter(|_| class == "VM");
            let metrics = vm.and_then(records::metrics);
            let mut all = vec![found];
            if let Some(metrics) = metrics {
                match self.one_record(session, "VM_metrics", &metrics).await {
                    Ok(metrics) => all.push(metrics),
                    // The VM's own record is what matters.
                    Err(error) => tracing::debug!(%error, "a VM's metrics were not read"),
                }
            }
            Ok(all)
        }
        .boxed()
    }
}
