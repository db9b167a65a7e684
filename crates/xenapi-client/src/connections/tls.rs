//! What makes a server's certificate good.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::certificate;
use crate::error::BackendError;
use xengate_config::{BackendTls, files};

/// The connector for this policy. It is the same for every host of the pool, so a redirect never
/// weakens it.
pub fn connector(policy: &BackendTls) -> Result<TlsConnector, BackendError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| BackendError::Tls(error.to_string()))?;
    let builder = match policy {
        BackendTls::System => builder.with_root_certificates(system_roots()?),
        BackendTls::CaFile(path) => builder.with_root_certificates(roots_of(path)?),
        BackendTls::Fingerprints(pins) if pins.is_empty() => {
            return Err(BackendError::NoFingerprints);
        }
        BackendTls::Fingerprints(pins) => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchained {
                pins: Some(pins.clone()),
                provider,
            }))
        }
        BackendTls::Insecure => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unchained { pins: None, provider })),
    };
    Ok(TlsConnector::from(Arc::new(builder.with_no_client_auth())))
}

fn system_roots() -> Result<RootCertStore, BackendError> {
    let mut roots = RootCertStore::empty();
    // Systems carry odd certificates; the good ones are enough.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(BackendError::NoSystemRoots) } else { Ok(roots) }
}

fn roots_of(path: &Path) -> Result<RootCertStore, BackendError> {
    let wrong = |why: String| BackendError::CaFile(format!("{}: {why}", path.display()));
    files::open(path).map_err(|error| wrong(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in
        CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?
    {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("no certificate in it".to_owned()));
    }
    Ok(roots)
}

/// Looks at the server's certificate alone, at no chain and no name. The handshake's signature is
/// verified all the same: it proves that the server holds the certificate's key.
#[derive(Debug)]
struct Unchained {
    /// The certificates that are good, by SHA-256; `None` when any is.
    pins: Option<Vec<[u8; 32]>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Unchained {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let seen: [u8; 32] = Sha256::digest(end_entity.as_ref()).into();
        match &self.pins {
            Some(pins) if !pins.contains(&seen) => Err(Error::General(format!(
                "the server's certificate has the SHA-256 fingerprint {}, which is none of the configured ones",
                hex(&seen)
            ))),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
            .or_else(|_| certificate::verify(message, certificate, signature, algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms).or_else(|error| {
            match signature.scheme {
                // TLS 1.3 has no others for RSA.
                SignatureScheme::RSA_PKCS1_SHA256
                | SignatureScheme::RSA_PKCS1_SHA384
                | SignatureScheme::RSA_PKCS1_SHA512 => Err(error),
                _ => certificate::verify(message, certificate, signature, algorithms),
            }
        })
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// In hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
