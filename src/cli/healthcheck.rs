//! `xengate healthcheck`: asks the gateway of this machine how it is, for supervisors that can only
//! run a program.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::{Failed, Healthcheck};
use xenapi_client::tls_connector;
use xengate_config::{BackendTls, Config};

/// How long the gateway may take.
const WITHIN: Duration = Duration::from_secs(5);

pub(super) async fn run(check: Healthcheck) -> Result<(), Failed> {
    let mut config = match &check.config {
        Some(file) => Config::load(file)?,
        None => Config::default(),
    };
    if let Some(address) = check.listen {
        config.listen = address;
    }
    let (address, path) =
        (reachable(config.listen), if check.ready { "/readyz" } else { "/livez" });
    let asked = tokio::time::timeout(WITHIN, ask(address, path, config.tls.is_some()));
    let why = match asked.await {
        Ok(Ok(200)) => return Ok(()),
        Ok(Ok(status)) => format!("{path} answers {status}"),
        Ok(Err(why)) => why,
        Err(_) => format!("{path} has not answered within {} seconds", WITHIN.as_secs()),
    };
    Err(Failed::Unhealthy { address, why })
}

/// An address to connect to: who listens on all of them listens on this machine's own.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

async fn ask(address: SocketAddr, path: &str, tls: bool) -> Result<u16, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    if !tls {
        return exchange(stream, address, path).await;
    }
    // The certificate is for the name its clients know the gateway by, and no secret is sent.
    let connector = tls_connector(&BackendTls::Insecure).map_err(|error| error.to_string())?;
    let name = ServerName::IpAddress(address.ip().into());
    let stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
    exchange(stream, address, path).await
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    address: SocketAddr,
    path: &str,
) -> Result<u16, String> {
    let request = Request::get(path)
        .header(header::HOST, address.to_string())
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let connected = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = connected.map_err(|error| error.to_string())?;
    tokio::select! {
        answer = sender.send_request(request) => {
            answer.map(|answer| answer.status().as_u16()).map_err(|error| error.to_string())
        }
        _ = connection => Err("the connection ended without an answer".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_everywhere_is_asked_here() {
        let reachable = |address: &str| reachable(address.parse().expect("an address")).to_string();
        assert_eq!(reachable("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(reachable("[::]:443"), "[::1]:443");
        assert_eq!(reachable("192.0.2.1:80"), "192.0.2.1:80");
    }
}
