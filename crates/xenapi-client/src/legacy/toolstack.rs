//! xend's own interface behind the trait that all kinds of backend have.

use std::sync::Arc;

use futures_util::future::FutureExt;
use tokio::time::Instant;

use super::{FIELDS, Legacy, QUICK, SLOW, calls};
use crate::call::{Retry, Value};
use crate::connections::LaneUse;
use crate::description::{Description, UpdateMode};
use crate::error::Misconfigured;
use crate::records::{Found, Pace, Records};
use crate::session::Session;
use crate::toolstack::{Answers, Asking, Opened, Registration, Toolstack};
use xenapi_wire::Arg;
use xengate_config::{Kind, PasswordCheck};

/// A xend that speaks `xend.*`, and knows neither sessions nor passwords.
pub(crate) static TOOLSTACK: Registration = Registration {
    kind: Kind::Legacy,
    set_up: |setup| Ok(Arc::new(Legacy::new(setup)?)),
    is_it: |answers| answers == Answers::Neither,
};

impl Toolstack for Legacy {
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

    /// Those that are projected from a domain or a host.
    fn has_field(&self, class: &str, field: &str) -> Option<bool> {
        Some(FIELDS.lines().any(|known| known.split_once('.') == Some((class, field))))
    }

    fn password_check(&self) -> Result<PasswordCheck, Misconfigured> {
        match self.auth {
            Some(PasswordCheck::Backend) => Err(Misconfigured::NoLogins),
            _ => Ok(PasswordCheck::Users),
        }
    }

    fn needs_account(&self) -> bool {
        false
    }

    fn admit<'a>(&'a self, _: &'a str) -> Asking<'a, Option<Opened>> {
        async move { self.is_there().await.map(|()| None) }.boxed()
    }

    /// There are no sessions that could end.
    fn check<'a>(&'a self, _: &'a Session) -> Asking<'a, ()> {
        Toolstack::probe(self)
    }

    fn probe(&self) -> Asking<'_, ()> {
        async move { self.tally.begin("xend.node.info").end(self.is_there().await) }.boxed()
    }

    fn call<'a>(
        &'a self,
        session: &'a Session,
        call: &'a str,
        args: &'a [Arg],
        _: Retry,
    ) -> Asking<'a, Value> {
        self.make(session, call, args).boxed()
    }

    fn polls(&self, pace: Pace) -> &'static [&'static [&'static str]] {
        match pace {
            Pace::Quick => QUICK,
            Pace::Slow => SLOW,
        }
    }

    fn records<'a>(
        &'a self,
        _: &'a Session,
        pace: Pace,
        classes: &'static [&'static str],
    ) -> Asking<'a, Records> {
        async move {
            let calling = self.tally.begin(Self::method(pace));
            let found = calling.end(self.all_records(pace).await)?;
            Ok(Records { found, classes: classes.to_vec() })
        }
        .boxed()
    }

    fn record<'a>(
        &'a self,
        _: &'a Session,
        class: &'static str,
        reference: &'a str,
    ) -> Asking<'a, Vec<Found>> {
        async move {
            match class {
                "VM" => self.tally.begin("xend.domain").end(self.domain(reference).await),
                _ => Ok(Vec::new()),
            }
        }
        .boxed()
    }

    fn answers_xm(&self) -> bool {
        true
    }

    fn vcpus<'a>(
        &'a self,
        uuid: &'a str,
        name: &'a str,
        as_of: Option<Instant>,
    ) -> Asking<'a, Option<Arc<Value>>> {
        self.vcpus_of(uuid, name, as_of).boxed()
    }

    fn host_info(&self) -> Asking<'_, Value> {
        async move { self.tally.begin("xend.node.info").end(self.node_info().await) }.boxed()
    }
}
