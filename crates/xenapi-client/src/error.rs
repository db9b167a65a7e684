//! What can go wrong with a backend. No text here holds a body, a password or a session ref: every
//! one of them may be shown to a client.

use std::fmt;
use std::io;
use std::time::Duration;

use super::call::Retry;
use xenapi_wire::reply::Failure;
use xenapi_wire::xmlrpc::WriteError;
use xenapi_wire::{ReadError, Seen};

/// Why a backend cannot be set up as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// No address at all.
    #[error("a backend needs at least one uri")]
    NoUri,
    /// A kind that is not registered.
    #[error("there are no backends of this kind")]
    UnknownKind,
    /// An address that is none. The address is not repeated: it may hold a password.
    #[error("uri number {place}: {why}")]
    Uri {
        /// Its place in the list, from 1.
        place: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Too few connections to keep some for sync and login.
    #[error(
        "max_connections = {given} is too few: one is kept for sync and one for login, so at least {least} are needed"
    )]
    TooFewConnections {
        /// What was configured.
        given: usize,
        /// What is needed.
        least: usize,
    },
    /// The CA file cannot be read, or holds no certificate.
    #[error("ca_file: {0}")]
    CaFile(String),
    /// The system names no certificate authority to trust.
    #[error(
        "this system has no certificate authorities to trust; configure ca_file or fingerprints_sha256"
    )]
    NoSystemRoots,
    /// An empty list of fingerprints would trust nothing.
    #[error("fingerprints_sha256 is empty, so no certificate could be trusted")]
    NoFingerprints,
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(String),
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The backend refused it, with a code of the Xen-API.
    #[error("the backend answered {}", code(.0))]
    Failure(Failure),
    /// The backend cannot be reached, or was lost on the way.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// The backend, or a free connection to it, did not come in time.
    #[error("{0}")]
    Timeout(Phase),
    /// What came back is no reply.
    #[error(transparent)]
    BadReply(#[from] BadReply),
    /// Too many calls wait for this backend already.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// Nobody can log in until somebody changes a configuration.
    #[error(transparent)]
    Misconfigured(#[from] Misconfigured),
    /// The backend said that it was done, and it was not.
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    /// The call cannot be written down, or the backend would not take it.
    #[error(transparent)]
    Unsendable(#[from] Unsendable),
    /// The call was not sent: what had to be asked before it came to this.
    #[error(transparent)]
    Unasked(Box<Self>),
    /// It takes several calls of the backend's, and after the first this one came to this.
    #[error("it was carried out in part, and then: {0}")]
    Partly(Box<Self>),
}

impl CallError {
    /// The same as an error of what had to be asked before a call that changes something: of that,
    /// nothing was sent.
    pub(crate) fn before_the_call(self) -> Self {
        if self.maybe_done() { Self::Unasked(Box::new(self)) } else { self }
    }

    /// The same where the call changes something.
    pub(crate) fn before(self, retry: Retry) -> Self {
        if retry == Retry::Write { self.before_the_call() } else { self }
    }

    /// The same as an error of a call that others came before which have changed something.
    pub(crate) fn after_others(self) -> Self {
        match self {
            Self::Failure(_) => self,
            other => Self::Partly(Box::new(other)),
        }
    }

    /// Whether the backend may have carried out the call although no result came back.
    pub fn maybe_done(&self) -> bool {
        match self {
            Self::Failure(_)
            | Self::Busy(_)
            | Self::Unsendable(_)
            | Self::Misconfigured(_)
            | Self::NotTaken(_)
            | Self::Unasked(_) => false,
            Self::Partly(_) => true,
            Self::Timeout(phase) => *phase != Phase::Queue,
            Self::Unreachable(unreachable) => unreachable.is_lost(),
            Self::BadReply(_) => true,
        }
    }

    /// Whether the connection was lost after the call went out.
    pub fn is_loss(&self) -> bool {
        match self {
            Self::Unreachable(unreachable) => unreachable.is_lost(),
            Self::BadReply(bad) => matches!(bad.fault, Fault::Cut),
            _ => false,
        }
    }

    /// Whether a call to another host of the pool makes sense: this one was never asked, or is
    /// nothing that answers calls.
    pub fn is_about_the_host(&self) -> bool {
        match self {
            Self::Unreachable(unreachable) => !unreachable.is_lost(),
            Self::BadReply(_) => true,
            _ => false,
        }
    }
}

/// A failure's code, at a length that a log line bears.
fn code(failure: &Failure) -> &str {
    const LONGEST: usize = 128;
    let end = (0..=LONGEST.min(failure.code.len()))
        .rev()
        .find(|end| failure.code.is_char_boundary(*end))
        .unwrap_or(0);
    &failure.code[..end]
}

/// What a call waited for when its time was up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// A free connection.
    Queue,
    /// The reply's beginning.
    Reply,
    /// The rest of the reply.
    Body,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queue => "no connection to the backend came free in time",
            Self::Reply => "the backend did not answer in time",
            Self::Body => "the backend stopped in the middle of its answer",
        })
    }
}

/// A backend that cannot be reached.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{address}: {reason}")]
pub struct Unreachable {
    /// The address that was tried.
    pub address: String,
    /// What happened.
    pub reason: Reason,
}

impl Unreachable {
    /// Whether the connection was lost after the request, or a part of it, had been sent.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.reason, Reason::Lost { sent: true })
    }
}

/// Why a backend cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// No connection.
    #[error("cannot connect: {}", io::Error::from(*.0))]
    Connect(io::ErrorKind),
    /// The name has no address.
    #[error("cannot find the address of this name")]
    Resolve,
    /// No connection, and no refusal either, within the time for connecting.
    #[error("cannot connect within {}", humantime::format_duration(*.0))]
    TimedOut(Duration),
    /// No common TLS, or a certificate that is not good.
    #[error("TLS: {0}")]
    Tls(String),
    /// The same, for a cause that has a name and a way out.
    #[error("TLS: {}", .0.text())]
    NoTls(NoTls),
    /// The connection broke before a reply came.
    #[error("the connection was lost before an answer came")]
    Lost {
        /// Something of the request had been sent by then.
        sent: bool,
    },
    /// A host that cannot be reached in the way its pool is.
    #[error("there is no way to this host: {0}")]
    NoWay(&'static str),
    /// A supporter names its coordinator, and that cannot be followed.
    #[error("this host is not the pool's coordinator, and {0}")]
    Coordinator(&'static str),
}

/// Something that came back and is no reply.
#[derive(Debug, thiserror::Error)]
#[error("{fault}{}", http_status(*.status, *.read))]
pub struct BadReply {
    /// The HTTP status, if it came to that.
    pub status: Option<u16>,
    /// What is wrong.
    pub fault: Fault,
    /// How much of the body had been read.
    pub read: u64,
}

fn http_status(status: Option<u16>, read: u64) -> String {
    match status {
        Some(status) => format!(" (HTTP status {status}, {read} bytes read)"),
        None => String::new(),
    }
}

/// What is wrong with a reply.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Not HTTP.
    #[error("the answer is not HTTP")]
    NotHttp,
    /// An HTTP error, where every answer of the Xen-API has status 200.
    #[error("the answer is an HTTP error with {}", seen_or_nothing(*.0))]
    Status(Option<Seen>),
    /// Beyond the limit on replies.
    #[error("reply exceeds {setting} = {limit} bytes")]
    TooLarge {
        /// The setting that limits it.
        setting: &'static str,
        /// That limit.
        limit: u64,
    },
    /// The connection ended in the middle.
    #[error("the answer ends in the middle")]
    Cut,
    /// The body cannot be read.
    #[error("{0}")]
    Unread(#[from] ReadError),
    /// Readable, but not what this call returns.
    #[error("the answer does not fit the call: {0}")]
    Unfit(&'static str),
}

fn seen_or_nothing(seen: Option<Seen>) -> String {
    seen.map_or_else(|| "no body".to_owned(), |seen| seen.to_string())
}

/// As many calls wait for a connection as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{waiting} calls wait for this backend already")]
pub struct Busy {
    /// How many.
    pub waiting: usize,
}

/// Why nobody can log in to a backend until somebody changes a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misconfigured {
    /// It let a made-up password in.
    #[error(
        "it accepts any password: have its listener check them, or configure [[users]] and \
         auth = \"users\""
    )]
    AcceptsAnything,
    /// XAPI let a made-up password in.
    #[error(
        "it accepts any password, as xapi does at its own Unix socket: give it its https:// address, \
         or a service account, and configure [[users]]"
    )]
    TrustsAnybody,
    /// It is an interface without logins.
    #[error("it has no logins: configure [[users]] and auth = \"users\"")]
    NoLogins,
    /// Its listener wants a password that the gateway has not.
    #[error("its listener checks passwords: configure a good service_username and its password")]
    NeedsAccount,
}

/// A write that the backend accepted, and did not make.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the backend accepted {call}, but {field} is not what was asked for")]
pub struct NotTaken {
    /// The call.
    pub call: String,
    /// The field that it was to change.
    pub field: String,
}

/// A call that cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum Unsendable {
    /// XAPI takes no larger body.
    #[error("the call is {size} bytes long; the backend takes {limit}")]
    TooLarge {
        /// The call's size.
        size: usize,
        /// The backend's limit.
        limit: usize,
    },
    /// An argument cannot be written in the backend's dialect.
    #[error(transparent)]
    Unwritable(#[from] WriteError),
}

/// What old servers lack for TLS, and what to do about it. The texts name nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoTls {
    /// No cipher suite in common.
    Ciphers,
    /// No version in common.
    Versions,
    /// A certificate that no authority may issue any more.
    Outdated,
    /// What listens there speaks something else.
    NotSpoken,
}

impl NoTls {
    /// The cause, and a way out.
    pub fn text(self) -> &'static str {
        match self {
            Self::Ciphers => {
                "no cipher suite in common: it takes none with forward secrecy and none of AEAD, like \
                 XenServer 6.5 to 7.x, which knows TLS_RSA_WITH_AES_128_CBC_SHA256 only; update it, or \
                 put stunnel beside the gateway, or use http:// in a network of its own"
            }
            Self::Versions => {
                "no version in common: it speaks TLS 1.1 at most; update it, or put stunnel beside the \
                 gateway, or use http:// in a network of its own"
            }
            Self::Outdated => {
                "its certificate is of X.509 version 1, or its key is too short for a certificate \
                 authority's rules: pin it, with tls = { fingerprints_sha256 = [\"…\"] } \
                 (`xengate check-backend` prints it)"
            }
            Self::NotSpoken => "what listens there speaks no TLS; is its address http://?",
        }
    }
}
