//! The certificate the gateway listens with, which can be replaced while it runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use xengate_config::{ServerTls, files};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds no PEM of that sort.
    #[error("{}: {what}: {source}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// What was found.
        source: rustls_pki_types::pem::Error,
    },
    /// There is no certificate in the file.
    #[error("{}: no certificate in this file", file.display())]
    Empty {
        /// The file.
        file: PathBuf,
    },
    /// The certificate and the key cannot be used, or not together.
    #[error("the certificate and the key cannot be used together: {0}")]
    Unusable(#[from] rustls::Error),
}

/// The certificate and the key that new connections get.
#[derive(Debug)]
pub struct Certificate {
    files: ServerTls,
    current: ArcSwap<CertifiedKey>,
}

impl Certificate {
    /// Reads the files.
    pub fn load(files: &ServerTls) -> Result<Arc<Self>, TlsError> {
        let current = ArcSwap::from_pointee(read(files)?);
        Ok(Arc::new(Self { files: files.clone(), current }))
    }

    /// Reads the files again. Connections that are open stay as they are; so does everything if the
    /// files are no good.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.current.store(Arc::new(read(&self.files)?));
        Ok(())
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn provider() -> rustls::crypto::CryptoProvider {
    rustls::crypto::ring::default_provider()
}

fn read(tls: &ServerTls) -> Result<CertifiedKey, TlsError> {
    let wrong = |file: &Path, what| {
        let file = file.to_owned();
        move |source| TlsError::File { file, what, source }
    };
    for (file, what) in
        [(&tls.cert_file, "it cannot be opened"), (&tls.key_file, "it cannot be opened")]
    {
        files::open(file)
            .map_err(|error| wrong(file, what)(rustls_pki_types::pem::Error::Io(error)))?;
    }
    let certificates = CertificateDer::pem_file_iter(&tls.cert_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(wrong(&tls.cert_file, "no certificate can be read"))?;
    if certificates.is_empty() {
        return Err(TlsError::Empty { file: tls.cert_file.clone() });
    }
    let key = PrivateKeyDer::from_pem_file(&tls.key_file)
        .map_err(wrong(&tls.key_file, "no private key can be read"))?;
    Ok(CertifiedKey::from_der(certificates, key, &provider())?)
}

/// What turns a TCP connection into a TLS one, for HTTP/2 and HTTP/1.1.
pub fn acceptor(certificate: &Arc<Certificate>) -> Result<TlsAcceptor, TlsError> {
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificate.clone());
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_and_its_key_will_do_and_others_are_named() {
        let dir = tempfile::tempdir().expect("dir");
        let write = |name: &str, text: &str| {
            let file = dir.path().join(name);
            std::fs::write(&file, text).expect("write");
            file
        };
        let pair = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("pair");
        let (one, other) = (pair(), pair());
        let cert_file = write("cert.pem", &one.cert.pem());
        let key_file = write("key.pem", &one.signing_key.serialize_pem());
        let tls = |cert_file: &PathBuf, key_file: &PathBuf| ServerTls {
            cert_file: cert_file.clone(),
            key_file: key_file.clone(),
            hsts: None,
        };
        let certificate = Certificate::load(&tls(&cert_file, &key_file)).expect("a pair");
        assert!(acceptor(&certificate).is_ok());

        let error = |cert: &PathBuf, key: &PathBuf| match Certificate::load(&tls(cert, key)) {
            Ok(_) => panic!("should not do"),
            Err(error) => error.to_string(),
        };
        let missing = dir.path().join("missing.pem");
        assert!(error(&missing, &key_file).contains("missing.pem"));
        assert!(error(&key_file, &key_file).ends_with("key.pem: no certificate in this file"));
        assert!(error(&cert_file, &cert_file).contains("cert.pem: no private key"));
        let other = write("other.pem", &other.signing_key.serialize_pem());
        assert!(error(&cert_file, &other).starts_with("the certificate and the key"));

        let before = certificate.current.load_full();
        std::fs::write(&cert_file, "no certificate").expect("written");
        assert!(certificate.reload().is_err());
        assert!(Arc::ptr_eq(&before, &certificate.current.load_full()), "the old one stays");
        let new = pair();
        write("cert.pem", &new.cert.pem());
        write("key.pem", &new.signing_key.serialize_pem());
        certificate.reload().expect("a pair");
        assert_eq!(certificate.current.load().cert, [new.cert.der().clone()]);
    }
}
