//! Opening a connection to a host.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::{InvalidDnsNameError, ServerName};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls;
use tokio_rustls::rustls::CertificateError;

use super::endpoint::{Endpoint, Place};
use super::live::Live;
use crate::error::{NoTls, Reason, Unreachable};

/// When a connection over which nothing comes is looked at, and how often.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(10)).with_interval(Duration::from_secs(5));

/// How long an address is given before the next one of the same name is tried beside it.
const HEAD_START: Duration = Duration::from_millis(250);

/// As many addresses of a name are tried.
const MOST_ADDRESSES: usize = 8;

/// A stream of any sort.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Opens connections.
pub(super) struct Dialer {
    /// Present when an address needs it.
    pub(super) tls: Option<TlsConnector>,
    /// The time for name, connection and TLS together.
    pub(super) within: Duration,
}

impl Dialer {
    /// A new connection to this host within at most this time, unless the last attempt failed a
    /// moment ago.
    pub(super) async fn dial(
        &self,
        endpoint: &Arc<Endpoint>,
        at_most: Duration,
    ) -> Result<Live, Unreachable> {
        if let Some(recent) = endpoint.cooling_down() {
            return Err(recent);
        }
        let within = self.within.min(at_most);
        let result = match timeout(within, self.open(endpoint)).await {
            Ok(result) => result,
            Err(_) => Err(Reason::TimedOut(within)),
        };
        match result {
            Ok(live) => {
                endpoint.reached();
                Ok(live)
            }
            Err(reason) => {
                let why = Unreachable { address: endpoint.to_string(), reason };
                tracing::debug!(error = %why, "no connection");
                endpoint.failed(why.clone());
                Err(why)
            }
        }
    }

    async fn open(&self, endpoint: &Arc<Endpoint>) -> Result<Live, Reason> {
        let stream: Box<dyn Stream> = match &endpoint.place {
            Place::Unix(path) => Box::new(UnixStream::connect(path).await.map_err(connect)?),
            Place::Tcp { tls: false, host, port } => Box::new(tcp(host, *port).await?),
            Place::Tcp { tls: true, host, port } => {
                let no_tls = || Reason::Tls("not set up for this address".to_owned());
                let connector = self.tls.as_ref().ok_or_else(no_tls)?;
                let name = server_name(host).map_err(|_| {
                    Reason::Tls("the host's name cannot be in a certificate".to_owned())
                })?;
                let stream = tcp(host, *port).await?;
                Box::new(connector.connect(name, stream).await.map_err(|error| tls(&error))?)
            }
        };
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|_| Reason::Lost { sent: false })?;
        Ok(Live::new(Arc::clone(endpoint), sender, connection))
    }
}

/// Whom the certificate is for: an address without its zone.
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, InvalidDnsNameError> {
    ServerName::try_from(host.split('%').next().unwrap_or(host).to_owned())
}

pub(super) async fn tcp(host: &str, port: u16) -> Result<TcpStream, Reason> {
    let addresses = lookup_host((host, port)).await.map_err(|_| Reason::Resolve)?;
    let stream = first_of(by_turns(addresses)).await?;
    // Small calls must not wait for more to send; one that does is slow, not wrong.
    let _ = stream.set_nodelay(true);
    // A host that vanishes while it is waited for must not take the whole deadline.
    let _ = SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE);
    Ok(stream)
}

/// Addresses of either family by turns, the resolver's favourite first.
fn by_turns(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses = addresses.peekable();
    let v6_first = addresses.peek().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.partition(|address| address.is_ipv6() == v6_first);
    let mut turns: Vec<SocketAddr> = (0..first.len().max(second.len()))
        .flat_map(|place| [first.get(place), second.get(place)])
        .flatten()
        .copied()
        .collect();
    turns.truncate(MOST_ADDRESSES);
    turns
}

/// The first connection that any of these addresses gives. The next one is tried as soon as one
/// fails, and beside those that keep silent, so that none takes the others' time.
async fn first_of(addresses: Vec<SocketAddr>) -> Result<TcpStream, Reason> {
    let mut addresses = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut last = Reason::Resolve;
    loop {
        let begun = addresses.next().map(|address| attempts.push(TcpStream::connect(address)));
        let answer = match begun {
            Some(()) => timeout(HEAD_START, attempts.next()).await.ok(),
            None => Some(attempts.next().await),
        };
        match answer {
            Some(Some(Ok(stream))) => return Ok(stream),
            Some(Some(Err(error))) => last = connect(error),
            Some(None) => return Err(last),
            None => {}
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used as a map_err function")]
fn connect(error: io::Error) -> Reason {
    Reason::Connect(error.kind())
}

/// A TLS error in rustls's words, which hold names and reasons, never data.
pub(super) fn tls(error: &io::Error) -> Reason {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(known) = inner.and_then(no_tls) {
        return Reason::NoTls(known);
    }
    match inner {
        Some(error @ rustls::Error::InvalidCertificate(CertificateError::BadSignature)) => {
            Reason::Tls(format!(
                "{error}: it is of another authority, or its key is too short for one; such a \
                 certificate can be pinned, by tls = {{ fingerprints_sha256 = [\"…\"] }}"
            ))
        }
        Some(rustls::Error::General(text)) => Reason::Tls(text.clone()),
        Some(inner) => Reason::Tls(inner.to_string()),
        None => Reason::Tls(format!("the handshake broke off: {}", io::Error::from(error.kind()))),
    }
}

/// The cause, where it is one of an old server's.
fn no_tls(error: &rustls::Error) -> Option<NoTls> {
    use rustls::{AlertDescription as Alert, Error, PeerIncompatible};
    Some(match error {
        Error::AlertReceived(Alert::HandshakeFailure | Alert::InsufficientSecurity)
        | Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon) => NoTls::Ciphers,
        Error::AlertReceived(Alert::ProtocolVersion)
        | Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => NoTls::Versions,
        Error::InvalidCertificate(CertificateError::Other(other))
            if format!("{other:?}").contains("UnsupportedCertVersion") =>
        {
            NoTls::Outdated
        }
        Error::InvalidMessage(_) => NoTls::NotSpoken,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use tokio::net::TcpListener;

    use super::*;
    use crate::testing::BlackHole;

    #[test]
    fn families_take_turns() {
        let v4 = |last| SocketAddr::from((Ipv4Addr::new(10, 0, 0, last), 443));
        let v6 = |last| SocketAddr::from((Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last), 443));
        let resolved = [v6(1), v6(2), v6(3), v4(1), v4(2)];
        assert_eq!(by_turns(resolved.into_iter()), [v6(1), v4(1), v6(2), v4(2), v6(3)]);
        assert_eq!(by_turns([v4(1), v6(1)].into_iter()), [v4(1), v6(1)]);
        assert_eq!(by_turns((0..20).map(v4)).len(), MOST_ADDRESSES);
        assert!(by_turns(std::iter::empty()).is_empty());
    }

    #[tokio::test]
    async fn an_address_that_keeps_silent_is_in_nobodys_way() {
        let silent = BlackHole::open().await;
        let good = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let good = (good.local_addr().expect("an address"), good);
        let stream = first_of(vec![silent.addr, good.0]).await.expect("a connection");
        assert_eq!(stream.peer_addr().expect("connected"), good.0);
    }

    #[tokio::test]
    async fn after_a_refusal_the_next_address_has_its_turn() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let gone = listener.local_addr().expect("an address");
        drop(listener);
        let good = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let good = (good.local_addr().expect("an address"), good);
        let stream = first_of(vec![gone, good.0]).await.expect("a connection");
        assert_eq!(stream.peer_addr().expect("connected"), good.0);
        let refused = first_of(vec![gone, gone]).await.expect_err("nobody listens");
        assert_eq!(refused, Reason::Connect(io::ErrorKind::ConnectionRefused));
        assert_eq!(first_of(Vec::new()).await.expect_err("no address"), Reason::Resolve);
    }
}
