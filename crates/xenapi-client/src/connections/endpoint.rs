//! The address of one host, and what is known about it.

use std::fmt;
use std::path::PathBuf;

use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

use crate::error::Unreachable;
use xenapi_wire::reply::Dialect;
use xengate_config::address::{self, Address, RpcPath};

/// How long nobody else tries to connect to a host that just could not be reached, so that a dead
/// backend does not cost every caller the whole time for connecting.
const COOL_DOWN: Duration = Duration::from_secs(1);

/// How long events are followed in XML-RPC once JSON could not carry them. What it could not carry
/// may be gone by then, and JSON is read faster.
const EVENTS_IN_XML_FOR: Duration = Duration::from_secs(3600);

/// Where a host listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A TCP port. `host` is a name or an IP address, without brackets.
    Tcp { tls: bool, host: String, port: u16 },
    /// A Unix socket.
    Unix(PathBuf),
}

/// The address of one host, and what is known about it.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) place: Place,
    /// The path of the configured address fixes the dialect.
    forced: Option<Dialect>,
    learned: Mutex<Learned>,
}

#[derive(Debug, Default)]
struct Learned {
    dialect: Option<Dialect>,
    /// Since when its events are followed in XML-RPC, whatever else it speaks.
    events_in_xml: Option<Instant>,
    failed: Option<(Instant, Unreachable)>,
    unanswered: bool,
    /// How many parameters its login takes, if fewer than today's.
    login_params: Option<usize>,
    /// Connections to it that are open.
    open: usize,
    epoch: u64,
}

impl Endpoint {
    /// Reads an address:
    ///
    /// - `https://HOST[:PORT]`, `http://HOST[:PORT]`: JSON-RPC where the host speaks it, else
    ///   XML-RPC. With the path `/jsonrpc` always JSON-RPC, with `/RPC2` always XML-RPC.
    /// - `unix:/PATH`, `unix:///PATH`, `httpu:///PATH`: a Unix socket.
    pub(crate) fn parse(uri: &str) -> Result<Self, &'static str> {
        Ok(match Address::parse(uri)? {
            Address::Unix(path) => Self::new(Place::Unix(path), None),
            Address::Tcp { tls, host, port, path } => {
                let forced = match path {
                    RpcPath::Any => None,
                    RpcPath::JsonRpc => Some(Dialect::JsonRpc),
                    RpcPath::XmlRpc => Some(Dialect::XmlRpc),
                };
                Self::new(Place::Tcp { tls, host, port }, forced)
            }
        })
    }

    /// The same pool's host at another address, reached in the same way: same port, same TLS.
    pub(crate) fn sibling(&self, host: &str) -> Result<Self, &'static str> {
        let Place::Tcp { tls, port, .. } = &self.place else {
            return Err("a Unix socket leads to no other host");
        };
        let host = address::host(host).ok_or("its address is no name and no IP address")?;
        let place = Place::Tcp { tls: *tls, host, port: *port };
        Ok(Self::new(place, self.forced))
    }

    fn new(place: Place, forced: Option<Dialect>) -> Self {
        Self { place, forced, learned: Mutex::default() }
    }

    /// The `Host` header.
    pub(crate) fn host_header(&self) -> String {
        match &self.place {
            Place::Unix(_) => "localhost".to_owned(),
            // A zone means something on this machine only (RFC 6874, section 4).
            Place::Tcp { host, .. } => self.authority(host.split('%').next().unwrap_or(host)),
        }
    }

    fn authority(&self, host: &str) -> String {
        let host = bracketed(host);
        match &self.place {
            Place::Tcp { port: 443, tls: true, .. } | Place::Tcp { port: 80, tls: false, .. } => {
                host
            }
            Place::Tcp { port, .. } => format!("{host}:{port}"),
            Place::Unix(_) => host,
        }
    }

    /// Where XML-RPC is spoken. XAPI answers it everywhere but at `/jsonrpc`.
    pub(crate) fn xml_rpc_path(&self) -> &'static str {
        if self.forced.is_some() { "/RPC2" } else { "/" }
    }

    /// Whether it is reached without a network.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self.place, Place::Unix(_))
    }

    /// The dialect this host is known to speak.
    pub(crate) fn dialect(&self) -> Option<Dialect> {
        self.forced.or(self.learned.lock().dialect)
    }

    /// Remembers what this host speaks, or (`None`) that it has to be found out again.
    pub(crate) fn learn_dialect(&self, dialect: Option<Dialect>) {
        self.learned.lock().dialect = dialect;
    }

    /// Whether it may be spoken to in XML-RPC at all.
    pub(crate) fn may_speak_xml(&self) -> bool {
        self.forced != Some(Dialect::JsonRpc)
    }

    /// The dialect to follow events in.
    pub(crate) fn dialect_of_events(&self) -> Option<Dialect> {
        let learned = self.learned.lock();
        let in_xml = learned.events_in_xml.is_some_and(|since| since.elapsed() < EVENTS_IN_XML_FOR);
        if in_xml { Some(Dialect::XmlRpc) } else { self.forced.or(learned.dialect) }
    }

    /// Remembers that its JSON cannot carry its events, or (`false`) that its XML cannot either.
    pub(crate) fn follow_in_xml(&self, in_xml: bool) {
        self.learned.lock().events_in_xml = in_xml.then(Instant::now);
    }

    /// Whether its address says what it speaks.
    pub(crate) fn is_bound_to_dialect(&self) -> bool {
        self.forced.is_some()
    }

    /// How many parameters its login takes, as far as known.
    pub(crate) fn login_params(&self) -> Option<usize> {
        self.learned.lock().login_params
    }

    /// Remembers that its login takes so many.
    pub(crate) fn learn_login_params(&self, count: usize) {
        self.learned.lock().login_params = Some(count);
    }

    /// The failure to connect that is too recent to try again.
    pub(crate) fn cooling_down(&self) -> Option<Unreachable> {
        let learned = self.learned.lock();
        let (at, why) = learned.failed.as_ref()?;
        (at.elapsed() < COOL_DOWN).then(|| why.clone())
    }

    /// Whether other hosts are better asked first.
    pub(crate) fn is_doubtful(&self) -> bool {
        let learned = self.learned.lock();
        learned.unanswered || learned.failed.is_some()
    }

    /// Remembers that this host owes an answer.
    pub(crate) fn doubt(&self) {
        self.learned.lock().unanswered = true;
    }

    /// Remembers that this host answers.
    pub(crate) fn answered(&self) {
        self.learned.lock().unanswered = false;
    }

    /// Remembers that this host cannot be reached.
    pub(crate) fn failed(&self, why: Unreachable) {
        let mut learned = self.learned.lock();
        learned.failed = Some((Instant::now(), why));
        // It may be upgraded meanwhile.
        learned.login_params = None;
        learned.epoch += 1;
    }

    /// The time through which it is surely the same that listens here: at least one connection has
    /// been open all along, and none was broken by the other side. What is restarted, or replaced,
    /// ends it.
    pub(crate) fn epoch(&self) -> u64 {
        self.learned.lock().epoch
    }

    /// A connection is open.
    pub(super) fn opened(&self) {
        self.learned.lock().open += 1;
    }

    /// It is no more.
    pub(super) fn closed(&self) {
        let mut learned = self.learned.lock();
        learned.open = learned.open.saturating_sub(1);
        if learned.open == 0 {
            learned.epoch += 1;
        }
    }

    /// The other side has broken a connection.
    pub(super) fn broken(&self) {
        self.learned.lock().epoch += 1;
    }

    /// Remembers that this host can be reached.
    pub(crate) fn reached(&self) {
        self.learned.lock().failed = None;
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
            Place::Tcp { tls: true, host, .. } => write!(f, "https://{}", self.authority(host)),
            Place::Tcp { tls: false, host, .. } => write!(f, "http://{}", self.authority(host)),
        }
    }
}

fn bracketed(host: &str) -> String {
    match host.split_once('%') {
        Some((address, zone)) => format!("[{address}%25{zone}]"),
        None if host.contains(':') => format!("[{host}]"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(uri: &str) -> Result<Place, &'static str> {
        Endpoint::parse(uri).map(|endpoint| endpoint.place)
    }

    #[test]
    fn addresses_are_read() {
        let tcp = |tls, host: &str, port| Ok(Place::Tcp { tls, host: host.to_owned(), port });
        assert_eq!(place("https://pool.example.com"), tcp(true, "pool.example.com", 443));
        assert_eq!(place("http://10.0.0.1:8880/"), tcp(false, "10.0.0.1", 8880));
        assert_eq!(place("https://[fd00::1]:8443"), tcp(true, "fd00::1", 8443));
        for unix in ["unix:/run/xapi", "unix:///run/xapi", "httpu:///run/xapi"] {
            assert_eq!(place(unix), Ok(Place::Unix("/run/xapi".into())), "{unix}");
        }
    }

    #[test]
    fn a_zone_is_shown_and_told_to_no_server() {
        let host = Endpoint::parse("https://[fe80::1%25eth0]:8443").expect("an address");
        assert_eq!(host.to_string(), "https://[fe80::1%25eth0]:8443");
        assert_eq!(host.host_header(), "[fe80::1]:8443");
        let sibling = host.sibling("[fe80::2%eth0]").expect("a sibling");
        assert_eq!(sibling.to_string(), "https://[fe80::2%25eth0]:8443");
    }

    #[test]
    fn a_path_fixes_the_dialect() {
        let dialect = |uri| Endpoint::parse(uri).expect("an address").dialect();
        assert!(dialect("https://pool").is_none());
        assert!(matches!(dialect("https://pool/jsonrpc"), Some(Dialect::JsonRpc)));
        assert!(matches!(dialect("https://pool/RPC2"), Some(Dialect::XmlRpc)));
    }

    #[test]
    fn a_sibling_is_reached_in_the_same_way() {
        let supporter = Endpoint::parse("https://10.0.0.2:8443/RPC2").expect("an address");
        let coordinator = supporter.sibling("[fd00::1]").expect("a sibling");
        assert_eq!(coordinator.place, supporter.sibling("FD00::1").expect("the same").place);
        assert_eq!(coordinator.to_string(), "https://[fd00::1]:8443");
        assert!(matches!(coordinator.dialect(), Some(Dialect::XmlRpc)));
        assert!(supporter.sibling("10.0.0.1/evil?").is_err());
        assert!(supporter.sibling("").is_err());
        assert!(Endpoint::parse("unix:/run/xapi").expect("an address").sibling("a").is_err());
    }
}
