//! The address of one host, and what is known about it.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

use crate::backend::error::Unreachable;
use crate::wire::reply::Dialect;

/// How long nobody else tries to connect to a host that just could not be reached, so that a dead
/// backend does not cost every caller the whole time for connecting.
const COOL_DOWN: Duration = Duration::from_secs(1);

/// The longest name DNS has; with it a request's head stays far below XAPI's limit.
const LONGEST_HOST: usize = 253;

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
        if let Some(path) = unix_path(uri) {
            if !path.starts_with('/') || path.len() < 2 {
                return Err("a Unix socket needs an absolute path: unix:/PATH");
            }
            return Ok(Self::new(Place::Unix(PathBuf::from(path)), None));
        }
        let uri: http::Uri = uri.parse().map_err(|_| "not an address")?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("an address starts with https://, http:// or unix:/"),
        };
        let authority = uri.authority().ok_or("the host is missing")?;
        if authority.as_str().contains('@') {
            return Err("a user name or a password does not belong in an address");
        }
        if uri.query().is_some() {
            return Err("an address has no query");
        }
        let forced = match uri.path() {
            "" | "/" => None,
            "/jsonrpc" => Some(Dialect::JsonRpc),
            "/RPC2" => Some(Dialect::XmlRpc),
            _ => {
                return Err(
                    "the path is none of /, /jsonrpc (JSON-RPC only), /RPC2 (XML-RPC only)",
                );
            }
        };
        let port = match (authority.port_u16(), tls) {
            (Some(0), _) => return Err("the port is no number from 1 to 65535"),
            (Some(port), _) => port,
            (None, _) if authority.as_str() != authority.host() => {
                return Err("the port is no number from 1 to 65535");
            }
            (None, true) => 443,
            (None, false) => 80,
        };
        let host = match authority.host().strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            Some(inner) if inner.parse::<Ipv6Addr>().is_err() => {
                return Err("brackets are for IPv6 addresses");
            }
            Some(inner) => inner,
            None => authority.host(),
        };
        check_host(host)?;
        Ok(Self::new(Place::Tcp { tls, host: host.to_owned(), port }, forced))
    }

    /// The same pool's host at another address, reached in the same way: same port, same TLS.
    pub(crate) fn sibling(&self, host: &str) -> Result<Self, &'static str> {
        let Place::Tcp { tls, port, .. } = &self.place else {
            return Err("a Unix socket leads to no other host");
        };
        check_host(host).map_err(|_| "the coordinator it names has no usable address")?;
        let place = Place::Tcp { tls: *tls, host: host.to_owned(), port: *port };
        Ok(Self::new(place, self.forced))
    }

    fn new(place: Place, forced: Option<Dialect>) -> Self {
        Self { place, forced, learned: Mutex::default() }
    }

    /// The `Host` header.
    pub(crate) fn host_header(&self) -> String {
        match &self.place {
            Place::Unix(_) => "localhost".to_owned(),
            Place::Tcp { host, port, tls } => {
                let host = bracketed(host);
                match (port, tls) {
                    (443, true) | (80, false) => host,
                    _ => format!("{host}:{port}"),
                }
            }
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
            Place::Tcp { tls: true, .. } => write!(f, "https://{}", self.host_header()),
            Place::Tcp { tls: false, .. } => write!(f, "http://{}", self.host_header()),
        }
    }
}

fn unix_path(uri: &str) -> Option<&str> {
    ["unix://", "unix:", "httpu://"].iter().find_map(|prefix| uri.strip_prefix(prefix))
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

fn check_host(host: &str) -> Result<(), &'static str> {
    if host.parse::<Ipv6Addr>().is_ok() {
        return Ok(());
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if host.is_empty() || host.len() > LONGEST_HOST || !host.bytes().all(plain) {
        return Err("the host is no name and no IP address");
    }
    Ok(())
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
    fn what_is_no_address_is_refused() {
        for uri in [
            "",
            "pool.example.com",
            "ftp://pool",
            "https://",
            "https://root:pw@pool",
            "https://pool/xapi",
            "https://pool?x=1",
            "https://pool:0",
            "https://pool:99999",
            "unix:run/xapi",
            "unix:/",
            "http://po ol",
            "https://[pool]",
        ] {
            assert!(place(uri).is_err(), "{uri}");
        }
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
        let coordinator = supporter.sibling("fd00::1").expect("a sibling");
        assert_eq!(coordinator.to_string(), "https://[fd00::1]:8443");
        assert!(matches!(coordinator.dialect(), Some(Dialect::XmlRpc)));
        assert!(supporter.sibling("10.0.0.1/evil?").is_err());
        assert!(supporter.sibling("").is_err());
        assert!(Endpoint::parse("unix:/run/xapi").expect("an address").sibling("a").is_err());
    }
}
