//! A kind that does nothing but be there: what it takes to add one.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{FutureExt, ready};

use super::call::{Retry, Value};
use super::connections::LaneUse;
use super::description::{Description, Measurements, UpdateMode};
use super::error::{CallError, Misconfigured};
use super::records::Pace;
use super::rrd::{Handler, RrdRequest};
use super::session::{Access, Session};
use super::testing::{Act, Server, failure, http};
use super::toolstack::{Answers, Asking, Opened, Registration, TOOLSTACKS, Toolstack};
use super::{Backend, xapi};
use xenapi_wire::Arg;
use xengate_config::{BackendConfig, Kind, PasswordCheck};

/// The line that registers it.
static KINDS: &[&Registration] = &[&xapi::TOOLSTACK, &NOTHING];

/// It is found where a backend knows neither pools nor hosts. The configuration's names are its own,
/// so it borrows one.
static NOTHING: Registration = Registration {
    kind: Kind::Legacy,
    set_up: |_| Ok(Arc::new(Nothing)),
    is_it: |answers| answers == Answers::Neither,
};

/// What its folder has to hold at least.
struct Nothing;

impl Toolstack for Nothing {
    fn description(&self) -> Description {
        Description::of_kind(NOTHING.kind)
    }

    fn connections(&self) -> Vec<LaneUse> {
        Vec::new()
    }

    fn dialect(&self) -> Option<&'static str> {
        None
    }

    fn update_mode(&self) -> UpdateMode {
        UpdateMode::Polling
    }

    fn has(&self, call: &str) -> Option<bool> {
        Some(call == "VM.start")
    }

    fn has_field(&self, _: &str, _: &str) -> Option<bool> {
        Some(false)
    }

    fn password_check(&self) -> Result<PasswordCheck, Misconfigured> {
        Ok(PasswordCheck::Users)
    }

    fn needs_account(&self) -> bool {
        false
    }

    fn admit<'a>(&'a self, _: &'a str) -> Asking<'a, Option<Opened>> {
        ready(Ok(None)).boxed()
    }

    fn check<'a>(&'a self, _: &'a Session) -> Asking<'a, ()> {
        ready(Ok(())).boxed()
    }

    fn probe(&self) -> Asking<'_, ()> {
        ready(Ok(())).boxed()
    }

    fn call<'a>(&'a self, _: &'a Session, _: &'a str, _: &'a [Arg], _: Retry) -> Asking<'a, Value> {
        ready(Ok(Value::void())).boxed()
    }
}

/// What xend says of a call that it has not.
const UNKNOWN_IN_XML: &str = "<?xml version='1.0'?><methodResponse><params><param><value><struct>\
    <member><name>Status</name><value><string>Failure</string></value></member>\
    <member><name>ErrorDescription</name><value><array><data>\
    <value><string>MESSAGE_METHOD_UNKNOWN</string></value></data></array></value></member>\
    </struct></value></param></params></methodResponse>";

async fn user(backend: &Arc<Backend>) -> Arc<Session> {
    let access = Access { is_local_superuser: true, ..Access::default() };
    backend.admit("anna", access, "xengate/anna").await.expect("a session")
}

fn is_lacking<T>(result: Result<T, CallError>) -> bool {
    matches!(result, Err(CallError::Failure(failure)) if failure.code == "MESSAGE_METHOD_UNKNOWN")
}

#[tokio::test]
async fn a_kind_needs_its_folder_and_one_line() {
    let config = BackendConfig { kind: Kind::Legacy, ..BackendConfig::new(Vec::new()) };
    let backend = Backend::of_kinds("pool", &config, KINDS).expect("a backend");
    assert_eq!(backend.description().kind, Kind::Legacy);
    assert_eq!(backend.update_mode().await.expect("known"), UpdateMode::Polling);
    assert_eq!(backend.password_check().await.expect("known"), PasswordCheck::Users);
    assert_eq!((backend.has("VM.start"), backend.has("VM.stop")), (Some(true), Some(false)));
    let session = user(&backend).await;
    backend.check(&session).await.expect("good");
    backend.call(&session, "VM.start", &[], Retry::Write).await.expect("a result");
    backend.logout(&session).await;
    assert!(session.ended().is_cancelled());
    let calls = backend.calls();
    assert_eq!(calls.iter().map(|call| &*call.call).collect::<Vec<_>>(), ["VM.start"]);
}

#[tokio::test]
async fn what_a_kind_leaves_out_it_lacks() {
    let config = BackendConfig { kind: Kind::Legacy, ..BackendConfig::new(Vec::new()) };
    let backend = Backend::of_kinds("pool", &config, KINDS).expect("a backend");
    let session = user(&backend).await;
    assert!(backend.capabilities().is_empty() && !backend.answers_xm() && !backend.may_admit());
    assert_eq!(backend.measurements(), Measurements::Records);
    assert!(backend.polls(Pace::Quick).is_empty());
    let mut each = |_: &[u8]| Ok(());
    assert!(is_lacking(backend.events(&session, &["*"], "", Duration::ZERO, &mut each).await));
    let request = RrdRequest {
        host: None,
        coordinator: None,
        handler: Handler::VmRrd,
        query: &[],
        pool: &[],
        within: Duration::ZERO,
    };
    assert!(is_lacking(backend.rrd(&session, &request).await));
    assert!(is_lacking(backend.record(&session, "VM", "a").await));
    assert!(is_lacking(backend.vcpus(&session, "a", "a", None).await));
    assert!(is_lacking(backend.host_info(&session).await));
    let found = backend.records(&session, Pace::Slow, &["host"]).await.expect("nothing");
    assert!(found.found.is_empty() && found.classes.is_empty());
    let login = backend.login("anna", &"sentinel-password".into(), "xengate/anna").await;
    assert!(matches!(login, Err(CallError::Misconfigured(Misconfigured::NoLogins))));
}

#[tokio::test]
async fn a_kind_is_found_out_by_what_it_says_of_itself() {
    let server = Server::start(|asked| {
        Act::Answer(match asked.body.starts_with('<') {
            true => http("200 OK", "text/xml", UNKNOWN_IN_XML),
            false => failure("MESSAGE_METHOD_UNKNOWN", &["pool.get_all"]),
        })
    })
    .await;
    let backend = Backend::of_kinds("pool", &BackendConfig::new(vec![server.uri()]), KINDS);
    let backend = backend.expect("a backend");
    assert_eq!((backend.description().kind, backend.known_update_mode()), (Kind::Auto, None));
    assert_eq!(backend.update_mode().await.expect("found out"), UpdateMode::Polling);
    assert_eq!(backend.description().kind, Kind::Legacy);
}

#[test]
fn every_kind_that_can_be_configured_is_registered_once() {
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Auto) {
        let count = TOOLSTACKS.iter().filter(|one| one.kind == kind).count();
        assert_eq!(count, 1, "{}", kind.name());
    }
    assert!(TOOLSTACKS.iter().all(|one| one.kind != Kind::Auto));
}
