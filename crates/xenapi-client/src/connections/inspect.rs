//! Looking at an address: what a handshake with it shows, before anything is said to it.

use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::timeout;

use super::certificate::Certificate;
use super::dial;
use super::endpoint::{Endpoint, Place};
use super::tls::{self, hex};
use crate::error::{BackendError, Reason};
use xengate_config::BackendTls;

/// What was seen of an address.
#[derive(Debug)]
pub struct Looked {
    /// The address, as it was understood.
    pub address: String,
    /// What the handshake showed, where there is TLS.
    pub tls: Option<Handshake>,
}

/// What a handshake showed.
#[derive(Debug)]
pub struct Handshake {
    /// `TLSv1_2`.
    pub version: String,
    /// `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// Its certificate.
    pub certificate: Certificate,
    /// Why the configured policy does not take it, if it does not.
    pub untrusted: Option<Reason>,
}

impl Handshake {
    /// The certificate's fingerprint, as the configuration takes it.
    pub fn pin(&self) -> String {
        hex(&self.certificate.fingerprint)
    }
}

/// Connects, and shakes hands where the address is https: once with anybody, to see who is there,
/// and once by the policy. Nothing else is sent.
pub async fn look(
    uri: &str,
    policy: &BackendTls,
    within: Duration,
) -> Result<Result<Looked, Reason>, BackendError> {
    let endpoint = Endpoint::parse(uri).map_err(|why| BackendError::Uri { place: 1, why })?;
    let anybody = tls::connector(&BackendTls::Insecure)?;
    let by_policy = match endpoint.place {
        Place::Tcp { tls: true, .. } => Some(tls::connector(policy)?),
        _ => None,
    };
    let looking = async {
        let address = endpoint.to_string();
        let (host, port, policy) = match (&endpoint.place, by_policy) {
            (Place::Unix(path), _) => {
                let connected = UnixStream::connect(path).await;
                connected.map_err(|error| Reason::Connect(error.kind()))?;
                return Ok(Looked { address, tls: None });
            }
            (Place::Tcp { host, port, .. }, None) => {
                dial::tcp(host, *port).await?;
                return Ok(Looked { address, tls: None });
            }
            (Place::Tcp { host, port, .. }, Some(policy)) => (host, *port, policy),
        };
        let name = dial::server_name(host);
        let name = name.map_err(|_| Reason::Tls("no certificate has such a name".to_owned()))?;
        let stream = dial::tcp(host, port).await?;
        let stream = anybody.connect(name.clone(), stream).await;
        let stream = stream.map_err(|error| dial::tls(&error))?;
        let session = stream.get_ref().1;
        let shown = session.peer_certificates().and_then(<[_]>::first);
        let shown = shown.ok_or_else(|| Reason::Tls("it shows no certificate".to_owned()))?;
        let version = session.protocol_version().map(|version| format!("{version:?}"));
        let cipher = session.negotiated_cipher_suite().map(|cipher| cipher.suite());
        let cipher = cipher.map(|cipher| format!("{cipher:?}"));
        let certificate = Certificate::read(shown);
        let again = dial::tcp(host, port).await?;
        let untrusted = policy.connect(name, again).await.err().map(|error| dial::tls(&error));
        let (version, cipher) = (version.unwrap_or_default(), cipher.unwrap_or_default());
        let tls = Some(Handshake { version, cipher, certificate, untrusted });
        Ok(Looked { address, tls })
    };
    Ok(timeout(within, looking).await.unwrap_or(Err(Reason::TimedOut(within))))
}
