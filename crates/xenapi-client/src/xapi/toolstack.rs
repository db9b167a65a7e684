//! XAPI behind the trait that all kinds of backend have.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};

use super::Xapi;
use crate::call::{EventFrame, Retry, Value};
use crate::connections::LaneUse;
use crate::description::{Capability, Description, Measurements, UpdateMode};
use crate::error::Misconfigured;
use crate::rrd::RrdRequest;
use crate::session::Session;
use crate::toolstack::{Answers, Asking, Each, Login, Opened, Registration, Toolstack};
use xenapi_wire::Arg;
use xengate_config::{Kind, PasswordCheck};

/// XAPI, of XenServer and XCP-ng.
pub(crate) static TOOLSTACK: Registration = Registration {
    kind: Kind::Xapi,
    set_up: |setup| Ok(Arc::new(Arc::new(Xapi::new(setup)?))),
    is_it: |answers| answers == Answers::Pools,
};

// A login goes on when nobody waits for it any more, and holds the pool meanwhile.
impl Toolstack for Arc<Xapi> {
    fn description(&self) -> Description {
        Xapi::description(self)
    }

    fn connections(&self) -> Vec<LaneUse> {
        Xapi::connections(self).to_vec()
    }

    fn dialect(&self) -> Option<&'static str> {
        Xapi::dialect(self)
    }

    fn update_mode(&self) -> UpdateMode {
        UpdateMode::Events
    }

    fn measurements(&self) -> Measurements {
        Measurements::Rrds
    }

    fn capabilities(&self) -> &'static [Capability] {
        &Capability::ALL
    }

    /// Pools differ by their versions.
    fn has(&self, _: &str) -> Option<bool> {
        None
    }

    fn has_field(&self, _: &str, _: &str) -> Option<bool> {
        None
    }

    fn password_check(&self) -> Result<PasswordCheck, Misconfigured> {
        Ok(self.auth.unwrap_or(PasswordCheck::Backend))
    }

    fn needs_account(&self) -> bool {
        true
    }

    fn has_account(&self) -> bool {
        Xapi::has_account(self)
    }

    fn login<'a>(&'a self, login: Login<'a>) -> Asking<'a, Opened> {
        Xapi::login(self, login).boxed()
    }

    fn admit<'a>(&'a self, originator: &'a str) -> Asking<'a, Option<Opened>> {
        async move {
            let calling = self.tally.begin("session.login_with_password");
            calling.end(Xapi::admit(self, originator).await).map(Some)
        }
        .boxed()
    }

    fn logout<'a>(&'a self, session: &'a Session) -> BoxFuture<'a, ()> {
        Xapi::logout(self, session.reference()).boxed()
    }

    fn check<'a>(&'a self, session: &'a Session) -> Asking<'a, ()> {
        async move {
            let calling = self.tally.begin("pool.get_all");
            calling.end(Xapi::check(self, session).await)
        }
        .boxed()
    }

    fn probe(&self) -> Asking<'_, ()> {
        async move { self.tally.begin("pool.get_all").end(Xapi::probe(self).await) }.boxed()
    }

    fn prove(&self) -> Asking<'_, bool> {
        async move { Xapi::prove(self).await.map(|()| true) }.boxed()
    }

    fn call<'a>(
        &'a self,
        session: &'a Session,
        call: &'a str,
        args: &'a [Arg],
        retry: Retry,
    ) -> Asking<'a, Value> {
        Xapi::call(self, session, call, args, retry).boxed()
    }

    fn read_otherwise<'a>(
        &'a self,
        session: &'a Session,
        call: &'a str,
        args: &'a [Arg],
    ) -> Option<Asking<'a, Value>> {
        Some(Xapi::read_otherwise(self, session, call, args).boxed())
    }

    fn events<'a>(
        &'a self,
        session: &'a Session,
        classes: &'a [&'a str],
        token: &'a str,
        timeout: Duration,
        each: Each<'a>,
    ) -> Asking<'a, EventFrame> {
        Xapi::events(self, session, classes, token, timeout, each).boxed()
    }

    fn rrd<'a>(&'a self, session: &'a Session, request: &'a RrdRequest<'a>) -> Asking<'a, Vec<u8>> {
        Xapi::rrd(self, session, request).boxed()
    }
}
