//! Logging in: which backends, who has to wait, and what a mixed answer means.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::attempt::{Answer, Credentials, Of, Silence, knock};
use super::authority::Authority;
use super::liveness::Liveness;
use super::login_gate::Unclaimed;
use super::registry::NotAdmitted;
use super::session::{GatewaySession, Live, Standing};
use super::throttle::Attempt;
use super::token::wall_clock;
use xenapi_client::Session;

/// Longest user name in characters, and longest password in bytes. More is no mistake of a person.
pub(super) const LONGEST_USERNAME: usize = 256;
const LONGEST_PASSWORD: usize = 1024;

/// When to come back to a backend that could not be reached, or that too many ask.
const LATER: Duration = Duration::from_secs(5);

/// When to come back to a gateway that is full.
const MUCH_LATER: Duration = Duration::from_secs(60);

/// A successful login.
pub struct Login {
    /// The bearer token.
    pub token: SecretString,
    /// The session it names.
    pub session: Arc<GatewaySession>,
}

impl Login {
    /// When the token ends at the latest.
    pub fn expires_at(&self) -> SystemTime {
        self.session.expires_at()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("session", &self.session).finish_non_exhaustive()
    }
}

/// Why there is no login. No text repeats what was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// A user name that cannot be one.
    #[error(
        "a user name has 1 to {LONGEST_USERNAME} characters, none of which is a control character"
    )]
    Username,
    /// A password that cannot be one.
    #[error(
        "a password has at most {LONGEST_PASSWORD} bytes, none of which is a control character"
    )]
    Password,
    /// Several backends, and none named: a password is never tried where nobody said to.
    #[error("name the backend to log in to, one or a list of: {}", .known.join(", "))]
    Unnamed {
        /// What there is to choose from.
        known: Vec<String>,
    },
    /// A list that names none.
    #[error("the list of backends is empty; there are: {}", .known.join(", "))]
    NoneNamed {
        /// What there is to choose from.
        known: Vec<String>,
    },
    /// A backend that is not there.
    #[error("there is no backend of this name; there are: {}", .known.join(", "))]
    Unknown {
        /// Its place in the list of those asked for.
        index: usize,
        /// What there is to choose from.
        known: Vec<String>,
    },
    /// Too many failures; no password was tried.
    #[error("too many failed logins: wait before the next")]
    Throttled {
        /// How long.
        retry_after: Duration,
    },
    /// Every backend that answered said no.
    #[error("the user name or the password is not good")]
    Refused,
    /// The password is good, and its user may not log in.
    #[error("this user has no role in the pool: {}", Reasons(.backends))]
    Forbidden {
        /// Each of those that said so, and its code.
        backends: Vec<(String, String)>,
    },
    /// The backends were asked, and failed.
    #[error("the login could not be checked: {}", Reasons(.backends))]
    Failed {
        /// The code of the first of them.
        code: String,
        /// Each of those asked for, and what it said.
        backends: Vec<(String, String)>,
    },
    /// The backends did not answer in time.
    #[error("the login was not answered: {}", Reasons(.backends))]
    Late {
        /// Each of those asked for.
        backends: Vec<(String, String)>,
        /// When to try again.
        retry_after: Duration,
    },
    /// Too many are being logged in.
    #[error("no login could be begun: {}", Reasons(.backends))]
    Busy {
        /// Each of those asked for.
        backends: Vec<(String, String)>,
        /// When to try again.
        retry_after: Duration,
    },
    /// What came back from the backends makes no sense.
    #[error("no backend gave an answer that makes sense: {}", Reasons(.backends))]
    BadReply {
        /// Each of those asked for, and what was wrong.
        backends: Vec<(String, String)>,
        /// When to try again.
        retry_after: Duration,
    },
    /// As things are configured nobody can log in.
    #[error("nobody can log in as the gateway is configured: {}", Reasons(.backends))]
    NotConfigured {
        /// Each of those asked for, and what is missing.
        backends: Vec<(String, String)>,
    },
    /// No backend answered.
    #[error("no backend could be asked: {}", Reasons(.backends))]
    Unreachable {
        /// Each of those asked for, and why not.
        backends: Vec<(String, String)>,
        /// When to try again.
        retry_after: Duration,
    },
    /// As many sessions as there may be.
    #[error("the gateway has as many sessions as it may")]
    Full {
        /// When to try again.
        retry_after: Duration,
    },
    /// The gateway is going down.
    #[error("the gateway is shutting down")]
    ShuttingDown,
    /// The gateway session to log in from ended meanwhile.
    #[error("the session has ended")]
    SessionEnded,
}

struct Reasons<'a>(&'a [(String, String)]);

impl fmt::Display for Reasons<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (backend, why)) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { "; " };
            write!(f, "{separator}{backend}: {why}")?;
        }
        Ok(())
    }
}

/// What the backends said to one login.
#[derive(Default)]
struct Answers {
    ok: Vec<(Arc<str>, Unclaimed)>,
    refused: Vec<Arc<str>>,
    forbidden: Vec<(Arc<str>, String)>,
    silent: Vec<(Arc<str>, Silence)>,
}

impl Answers {
    /// What it means that no backend said yes: a refusal is an answer, silence is none.
    fn error(&self) -> LoginError {
        if !self.refused.is_empty() {
            return LoginError::Refused;
        }
        let named = |(name, why): (&Arc<str>, &String)| (name.to_string(), why.clone());
        if !self.forbidden.is_empty() {
            let backends = self.forbidden.iter().map(|(name, code)| named((name, code)));
            return LoginError::Forbidden { backends: backends.collect() };
        }
        let silent = self.silent.iter();
        let backends = silent.map(|(name, silence)| named((name, &silence.why))).collect();
        let all = |is: fn(&Of) -> bool| self.silent.iter().all(|(_, silence)| is(&silence.of));
        let first = self.silent.first().map(|(_, silence)| &silence.of);
        match first {
            Some(Of::Failure(code)) if all(|of| matches!(of, Of::Failure(_))) => {
                LoginError::Failed { code: code.clone(), backends }
            }
            Some(Of::Configuration) if all(|of| *of == Of::Configuration) => {
                LoginError::NotConfigured { backends }
            }
            Some(Of::Nonsense) if all(|of| *of == Of::Nonsense) => {
                LoginError::BadReply { backends, retry_after: LATER }
            }
            Some(Of::Late) if all(|of| *of == Of::Late) => {
                LoginError::Late { backends, retry_after: LATER }
            }
            Some(Of::Busy) if all(|of| *of == Of::Busy) => {
                LoginError::Busy { backends, retry_after: LATER }
            }
            _ => LoginError::Unreachable { backends, retry_after: LATER },
        }
    }

    /// The standings to put into a session.
    fn standings(self) -> impl Iterator<Item = (Arc<str>, Standing)> {
        let live = move |(name, session): (_, Unclaimed)| {
            let session = session.claim();
            let liveness = Arc::new(Liveness::new(Arc::clone(session.heard())));
            (name, Standing::Live(Live { session, liveness }))
        };
        self.ok
            .into_iter()
            .map(live)
            .chain(self.refused.into_iter().map(|name| (name, Standing::Refused)))
            .chain(self.forbidden.into_iter().map(|(name, _)| (name, Standing::Forbidden)))
            .chain(self.silent.into_iter().map(|(name, _)| (name, Standing::Unreachable)))
    }
}

impl Authority {
    /// Logs in to `backends`, or to those meant when none is named, and makes a gateway session if
    /// at least one of them agrees. Dropping the future leaves no session behind anywhere.
    pub async fn login(
        &self,
        peer: IpAddr,
        username: &str,
        password: SecretString,
        backends: Option<Vec<String>>,
    ) -> Result<Login, LoginError> {
        check(username, &password)?;
        let chosen = self.choose(backends)?;
        let session = GatewaySession::new(
            username,
            self.doors.names().cloned(),
            self.terms,
            Instant::now(),
            wall_clock(),
        );
        let originator = session.originator().to_owned();
        self.registry.has_room(&originator, Instant::now()).map_err(not_admitted)?;
        let attempt = self.admit(peer, username)?;
        let credentials = Credentials { username: username.to_owned(), password, originator };
        let answers = self.ask(chosen, credentials, attempt).await;
        if answers.ok.is_empty() {
            tracing::info!(%peer, username, refused = answers.refused.len(), "login failed");
            return Err(answers.error());
        }

        // From here to the session's admission nothing waits, so nothing can be dropped half-way.
        let now = Instant::now();
        let opened = self.put(&session, answers)?;
        session.touch(now);
        let session = Arc::new(session);
        let (gone, admitted) = self.registry.admit(Arc::clone(&session), now);
        for other in gone {
            self.depart(&other);
        }
        if let Err(why) = admitted {
            self.depart(&session);
            return Err(not_admitted(why));
        }
        self.lend(opened);
        tracing::info!(%peer, username, session = %session.id(), "logged in");
        let token =
            self.tokens.issue(session.id(), username, session.created_at(), session.expires_at());
        Ok(Login { token, session })
    }

    /// Logs a session in to further backends, under its own user name unless another is
    /// given. A login it already has there is replaced if this one succeeds, and kept if not.
    pub async fn add_backends(
        &self,
        session: &GatewaySession,
        peer: IpAddr,
        username: Option<&str>,
        password: SecretString,
        backends: Vec<String>,
    ) -> Result<(), LoginError> {
        let username = username.unwrap_or(session.username());
        check(username, &password)?;
        let chosen = self.choose(Some(backends))?;
        let attempt = self.admit(peer, username)?;
        let originator = session.originator().to_owned();
        let credentials = Credentials { username: username.to_owned(), password, originator };
        let answers = self.ask(chosen, credentials, attempt).await;
        let error = answers.ok.is_empty().then(|| answers.error());
        let opened = self.put(session, answers)?;
        self.lend(opened);
        error.map_or(Ok(()), Err)
    }

    /// The backends a login goes to, each once.
    fn choose(&self, named: Option<Vec<String>>) -> Result<Vec<Arc<str>>, LoginError> {
        let known = || self.doors.names().map(ToString::to_string).collect();
        let named = match named {
            Some(named) if named.is_empty() => {
                return Err(LoginError::NoneNamed { known: known() });
            }
            Some(named) => named,
            None if self.doors.names().len() == 1 => known(),
            None if self.default_backends.is_empty() => {
                return Err(LoginError::Unnamed { known: known() });
            }
            None => self.default_backends.clone(),
        };
        let mut chosen: Vec<Arc<str>> = Vec::new();
        for (index, name) in named.iter().enumerate() {
            let known_name = self.doors.names().find(|known| ***known == **name);
            let known_name =
                known_name.ok_or_else(|| LoginError::Unknown { index, known: known() })?;
            if !chosen.contains(known_name) {
                chosen.push(Arc::clone(known_name));
            }
        }
        Ok(chosen)
    }

    fn admit(&self, peer: IpAddr, username: &str) -> Result<Arc<Attempt>, LoginError> {
        match self.throttle.admit(peer, username, Instant::now()) {
            Ok(attempt) => Ok(Arc::new(attempt)),
            Err(retry_after) => {
                if let Some(others) = self.put_off.note(Instant::now()) {
                    tracing::info!(%peer, ?retry_after, others, "login put off");
                }
                Err(LoginError::Throttled { retry_after })
            }
        }
    }

    /// Asks all the backends at once. Each answers within a bounded time.
    async fn ask(
        &self,
        backends: Vec<Arc<str>>,
        credentials: Credentials,
        attempt: Arc<Attempt>,
    ) -> Answers {
        let credentials = Arc::new(credentials);
        let is_alone = backends.len() == 1;
        let waiting: Vec<_> = backends
            .into_iter()
            .map(|name| {
                let credentials = Arc::clone(&credentials);
                let attempt = Arc::clone(&attempt);
                (Arc::clone(&name), knock(&self.doors, name, credentials, attempt, is_alone))
            })
            .collect();
        let mut answers = Answers::default();
        for (name, answer) in waiting {
            match answer.await {
                Ok(Answer::Ok(session)) => answers.ok.push((name, session)),
                Ok(Answer::Refused) => answers.refused.push(name),
                Ok(Answer::Forbidden(code)) => answers.forbidden.push((name, code)),
                Ok(Answer::Silent(silence)) => answers.silent.push((name, silence)),
                // Its task is gone, which only the runtime's end brings about.
                Err(_) => {
                    let silence = Silence::new(Of::Unasked, "the login broke off");
                    answers.silent.push((name, silence));
                }
            }
        }
        answers
    }

    /// Puts what the backends said into a session, logs out whatever has no place any more, and
    /// hands out the backend sessions that are new.
    fn put(
        &self,
        session: &GatewaySession,
        answers: Answers,
    ) -> Result<Vec<Arc<Session>>, LoginError> {
        let mut opened = Vec::new();
        let mut ended = false;
        for (backend, standing) in answers.standings() {
            let new = standing.session();
            match session.put(&backend, standing) {
                Ok(before) => {
                    opened.extend(new);
                    before.map(|before| self.doors.see_off(before));
                }
                Err(_) => {
                    ended = true;
                    new.map(|new| self.doors.see_off(new));
                }
            }
        }
        if ended { Err(LoginError::SessionEnded) } else { Ok(opened) }
    }

    /// Offers new backend sessions to the mirrors, which may borrow one for their events.
    fn lend(&self, opened: Vec<Arc<Session>>) {
        for session in opened {
            if let Some(mirror) = self.inventory.mirror(session.backend()) {
                mirror.offer(session);
            }
        }
    }
}

fn check(username: &str, password: &SecretString) -> Result<(), LoginError> {
    let length = username.chars().take(LONGEST_USERNAME + 1).count();
    if length == 0 || length > LONGEST_USERNAME || username.chars().any(char::is_control) {
        return Err(LoginError::Username);
    }
    match may_be_a_password(password.expose_secret()) {
        true => Ok(()),
        false => Err(LoginError::Password),
    }
}

/// Whether a login takes such a password, be it good or not.
pub fn may_be_a_password(password: &str) -> bool {
    // XML-RPC cannot carry control characters, so no password that has one can be good everywhere.
    password.len() <= LONGEST_PASSWORD && !password.chars().any(|c| c.is_control() && c != '\t')
}

fn not_admitted(why: NotAdmitted) -> LoginError {
    match why {
        NotAdmitted::Full => LoginError::Full { retry_after: MUCH_LATER },
        NotAdmitted::Closed => LoginError::ShuttingDown,
    }
}
