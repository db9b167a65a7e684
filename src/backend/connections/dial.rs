//! Opening a connection to a host.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls;

use super::endpoint::{Endpoint, Place};
use super::live::Live;
use crate::backend::error::{Reason, Unreachable};

/// When a connection over which nothing comes is looked at, and how often.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(10)).with_interval(Duration::from_secs(5));

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
    /// A new connection to this host, unless the last attempt failed a moment ago.
    pub(super) async fn dial(&self, endpoint: &Arc<Endpoint>) -> Result<Live, Unreachable> {
        if let Some(recent) = endpoint.cooling_down() {
            return Err(recent);
        }
        let result = match timeout(self.within, self.open(endpoint)).await {
            Ok(result) => result,
            Err(_) => Err(Reason::TimedOut(self.within)),
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
                let name = ServerName::try_from(host.clone()).map_err(|_| {
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

async fn tcp(host: &str, port: u16) -> Result<TcpStream, Reason> {
    let addresses = lookup_host((host, port)).await.map_err(|_| Reason::Resolve)?;
    let mut last = Reason::Resolve;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Small calls must not wait for more to send; one that does is slow, not wrong.
                let _ = stream.set_nodelay(true);
                // A host that vanishes while it is waited for must not take the whole deadline.
                let _ = SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE);
                return Ok(stream);
            }
            Err(error) => last = connect(error),
        }
    }
    Err(last)
}

#[expect(clippy::needless_pass_by_value, reason = "used as a map_err function")]
fn connect(error: io::Error) -> Reason {
    Reason::Connect(error.kind())
}

/// A TLS error in rustls's words, which hold names and reasons, never data.
fn tls(error: &io::Error) -> Reason {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::General(text)) => Reason::Tls(text.clone()),
        Some(inner) => Reason::Tls(inner.to_string()),
        None => Reason::Tls(format!("the handshake broke off: {}", io::Error::from(error.kind()))),
    }
}
