//! Whether a host checks passwords at all.
//!
//! xapi takes whoever comes to its own Unix socket for root, whatever the name and the password; what
//! forwards to that socket (socat, `ssh -L`, stunnel) looks like any other address. So a made-up
//! login is tried, and nobody is let in by a password unless it has been refused. XAPI takes five
//! seconds to refuse one: it is tried beside the login that wants to know, and what came of it holds
//! for the host's epoch, in which nothing there can have been restarted or replaced unseen, and not
//! for ever.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use secrecy::SecretString;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Xapi;
use super::redact::redact;
use crate::connections::{Endpoint, Use};
use crate::error::{BadReply, CallError, Fault, Misconfigured, Phase, Unreachable};
use xenapi_wire::reply::Failure;

/// How long a refusal is believed within one epoch. When half of it is over, the next login has it
/// tried again without waiting for it.
const GOOD_FOR: Duration = Duration::from_secs(300);

/// How long nobody is asked again after a made-up login was taken.
const BAD_FOR: Duration = Duration::from_secs(2);

/// How often the log says that it was.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// More hosts than any pool has.
const MOST_HOSTS: usize = 256;

/// What made-up names begin with, so that those who read a pool's log know whose they are.
const NAME: &str = "xengate-";

/// What is known of the hosts.
#[derive(Default)]
pub(super) struct Guard(Mutex<Vec<Known>>);

/// What is known of one host.
struct Known {
    host: Arc<Endpoint>,
    /// Its epoch when it last refused what it should, and when that was.
    refused: Option<(u64, Instant)>,
    accepted: Option<Instant>,
    complained: Option<Instant>,
    asking: Option<watch::Receiver<Option<Outcome>>>,
}

/// What came of a made-up login.
#[derive(Clone)]
enum Outcome {
    Refused,
    Accepted,
    /// The host could not be asked, or did not say.
    Unasked(Unasked),
}

/// Why not, for all who wait for it.
#[derive(Clone)]
enum Unasked {
    Failure(Failure),
    Unreachable(Unreachable),
    Timeout(Phase),
    Other,
}

/// The word of a host on whether it checks passwords, which may yet be outstanding.
pub(super) enum Proof {
    /// It does.
    There,
    /// It has been asked.
    Awaited(Awaited),
}

pub(super) struct Awaited(watch::Receiver<Option<Outcome>>);

impl Proof {
    /// Whether the host has given it already.
    pub(super) fn is_there(&self) -> bool {
        matches!(self, Self::There)
    }

    /// Returns once the host has refused a made-up login; an error if it has not.
    pub(super) async fn wait(self) -> Result<(), CallError> {
        let Self::Awaited(Awaited(mut outcome)) = self else { return Ok(()) };
        // Where the one who asked is gone, nothing has been found out.
        let outcome = match outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        match outcome.unwrap_or(Outcome::Unasked(Unasked::Other)) {
            Outcome::Refused => Ok(()),
            Outcome::Accepted => Err(Misconfigured::TrustsAnybody.into()),
            Outcome::Unasked(why) => Err(why.into_call_error()),
        }
    }
}

impl Guard {
    fn with<T>(&self, host: &Arc<Endpoint>, work: impl FnOnce(&mut Known) -> T) -> T {
        let mut all = self.0.lock();
        let place = all.iter().position(|known| known.host.place == host.place);
        let place = place.unwrap_or_else(|| {
            if all.len() >= MOST_HOSTS {
                all.remove(0);
            }
            all.push(Known::new(host));
            all.len() - 1
        });
        // Another endpoint of the same place has epochs of its own.
        if !Arc::ptr_eq(&all[place].host, host) {
            all[place] = Known::new(host);
        }
        work(&mut all[place])
    }

    /// Notes that a host has refused a login that began in this epoch: whoever takes any password
    /// refuses none.
    pub(super) fn refused(&self, host: &Arc<Endpoint>, epoch: u64) {
        self.with(host, |known| {
            if host.epoch() == epoch {
                known.refused = Some((epoch, Instant::now()));
                known.accepted = None;
            }
        });
    }
}

impl Known {
    fn new(host: &Arc<Endpoint>) -> Self {
        Self {
            host: Arc::clone(host),
            refused: None,
            accepted: None,
            complained: None,
            asking: None,
        }
    }

    /// How long ago it refused what it should, if that still counts.
    fn good_since(&self) -> Option<Duration> {
        let (epoch, at) = self.refused?;
        let since = at.elapsed();
        (epoch == self.host.epoch() && since < GOOD_FOR).then_some(since)
    }
}

impl Xapi {
    /// Whether the host checks passwords, or its word on that in a moment. An error where it has just
    /// shown that it does not.
    pub(super) fn proof(self: &Arc<Self>, host: &Arc<Endpoint>) -> Result<Proof, CallError> {
        self.guard.with(host, |known| {
            if known.accepted.is_some_and(|at| at.elapsed() < BAD_FOR) {
                return Err(Misconfigured::TrustsAnybody.into());
            }
            let good = known.good_since();
            if good.is_some_and(|since| since < GOOD_FOR / 2) {
                return Ok(Proof::There);
            }
            let under_way = known
                .asking
                .clone()
                .filter(|asking| asking.borrow().is_none() && asking.has_changed().is_ok());
            let asking = under_way.unwrap_or_else(|| {
                let (tell, asking) = watch::channel(None);
                let (xapi, host) = (Arc::clone(self), Arc::clone(host));
                // Its own task: it ends, and leaves no session behind, whatever becomes of the login.
                tokio::spawn(async move {
                    let outcome = xapi.try_made_up(&host).await;
                    tell.send_replace(Some(outcome));
                });
                known.asking = Some(asking.clone());
                asking
            });
            Ok(if good.is_some() { Proof::There } else { Proof::Awaited(Awaited(asking)) })
        })
    }

    /// The word of the host that a login would go to.
    pub(super) async fn prove(self: &Arc<Self>) -> Result<(), CallError> {
        self.proof(&self.hosts.current_or_first())?.wait().await
    }

    async fn try_made_up(self: &Arc<Self>, host: &Arc<Endpoint>) -> Outcome {
        let epoch = host.epoch();
        let (name, password) = made_up();
        let within = self.login_within.into();
        match self.log_in(host, &name, &password, "xengate", within, Use::Password).await {
            Ok(session) => {
                let complain = self.guard.with(host, |known| {
                    known.refused = None;
                    known.accepted = Some(Instant::now());
                    let lately = known.complained.is_some_and(|at| at.elapsed() < COMPLAIN_EVERY);
                    if !lately {
                        known.complained = Some(Instant::now());
                    }
                    !lately
                });
                if complain {
                    tracing::error!(
                        address = %host,
                        "any password is accepted here: nobody can log in to it with one"
                    );
                }
                self.log_out_at(host, &session).await;
                Outcome::Accepted
            }
            Err(CallError::Failure(failure)) if is_of_passwords(&failure) => {
                self.guard.refused(host, epoch);
                Outcome::Refused
            }
            Err(error) => {
                tracing::debug!(%error, address = %host, "a made-up login came to nothing");
                Outcome::Unasked(Unasked::of(error))
            }
        }
    }
}

/// Whether a failure of a login comes from looking at the password, be it that the directory which
/// should have done so did not answer. Who takes any password does not come to that.
pub(super) fn is_of_passwords(failure: &Failure) -> bool {
    let code = failure.code.as_str();
    matches!(
        code,
        "SESSION_AUTHENTICATION_FAILED"
            | "SESSION_AUTHORIZATION_FAILED"
            | "RBAC_PERMISSION_DENIED"
            | "PERMISSION_DENIED"
    ) || code.starts_with("AUTH_")
}

impl Unasked {
    fn of(error: CallError) -> Self {
        match error {
            CallError::Failure(failure) => Self::Failure(redact(failure, None)),
            CallError::Unreachable(why) => Self::Unreachable(why),
            CallError::Timeout(phase) => Self::Timeout(phase),
            _ => Self::Other,
        }
    }

    fn into_call_error(self) -> CallError {
        match self {
            Self::Failure(failure) => CallError::Failure(failure),
            Self::Unreachable(why) => why.into(),
            Self::Timeout(phase) => CallError::Timeout(phase),
            Self::Other => {
                let what = "whether it checks passwords could not be found out";
                BadReply { status: None, fault: Fault::Unfit(what), read: 0 }.into()
            }
        }
    }
}

/// A user whom nobody has, and a password that nobody guesses.
fn made_up() -> (String, SecretString) {
    let random = || uuid::Uuid::new_v4().simple().to_string();
    let name = format!("{NAME}{}", &random()[..16]);
    (name, SecretString::from(random() + &random()))
}
