//! TLS of old hosts: certificates that no authority would issue any more, and what cannot be had.

use rsa::pkcs8::DecodePrivateKey;
use rsa::rand_core::{CryptoRng, RngCore};
use rsa::signature::{RandomizedSigner, SignatureEncoding, Signer as _};
use rsa::{RsaPrivateKey, pkcs1v15, pss};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest, Sha256, Sha384, Sha512};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::{TlsAcceptor, rustls};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::*;
use crate::error::NoTls;
use xengate_config::BackendTls;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/tls/", $name))
    };
}

const RSA_1024: (&[u8], &[u8]) = (fixture!("rsa1024.crt"), fixture!("rsa1024.key"));
const V1: (&[u8], &[u8]) = (fixture!("v1.crt"), fixture!("v1.key"));
const EC_V1: (&[u8], &[u8]) = (fixture!("ecv1.crt"), fixture!("ecv1.key"));

/// A key that signs whatever its size, in one scheme.
#[derive(Debug, Clone)]
struct OldKey {
    key: RsaPrivateKey,
    scheme: SignatureScheme,
}

struct Random;

impl RngCore for Random {
    fn next_u32(&mut self) -> u32 {
        getrandom::u32().expect("random")
    }

    fn next_u64(&mut self) -> u64 {
        getrandom::u64().expect("random")
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("random");
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for Random {}

impl SigningKey for OldKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&self.scheme).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::RSA
    }
}

impl Signer for OldKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let key = self.key.clone();
        Ok(match self.scheme {
            SignatureScheme::RSA_PKCS1_SHA256 => {
                pkcs1v15::SigningKey::<Sha256>::new(key).sign(message).to_vec()
            }
            SignatureScheme::RSA_PKCS1_SHA384 => {
                pkcs1v15::SigningKey::<Sha384>::new(key).sign(message).to_vec()
            }
            SignatureScheme::RSA_PKCS1_SHA512 => {
                pkcs1v15::SigningKey::<Sha512>::new(key).sign(message).to_vec()
            }
            SignatureScheme::RSA_PSS_SHA256 => {
                pss::SigningKey::<Sha256>::new(key).sign_with_rng(&mut Random, message).to_vec()
            }
            _ => pss::SigningKey::<Sha384>::new(key).sign_with_rng(&mut Random, message).to_vec(),
        })
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

fn certificate(pem: &[u8]) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem).expect("a certificate")
}

fn pin(pem: &[u8]) -> [u8; 32] {
    Sha256::digest(certificate(pem).as_ref()).into()
}

fn old_key(pem: &[u8], scheme: SignatureScheme) -> Arc<dyn SigningKey> {
    let pem = std::str::from_utf8(pem).expect("text");
    Arc::new(OldKey { key: RsaPrivateKey::from_pkcs8_pem(pem).expect("a key"), scheme })
}

fn acceptor(
    certificate_pem: &[u8],
    key: Arc<dyn SigningKey>,
    version: &'static rustls::SupportedProtocolVersion,
) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certified = CertifiedKey::new(vec![certificate(certificate_pem)], key);
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Always(Arc::new(certified))));
    TlsAcceptor::from(Arc::new(config))
}

/// What comes of one call to such a server.
async fn over(acceptor: TlsAcceptor, policy: BackendTls) -> Result<String, CallError> {
    let server = Server::tls(acceptor, |_| Act::Answer(ok())).await;
    let one = One::new(&format!("https://{}", server.addr), |config| config.tls = policy);
    one.fetch(Retry::Read).await
}

fn reason(result: Result<String, CallError>) -> Reason {
    match result {
        Err(CallError::Unreachable(Unreachable { reason, .. })) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn old_certificates_are_good_when_pinned_or_when_any_is() {
    use SignatureScheme as Scheme;
    let (two, three) = (&rustls::version::TLS12, &rustls::version::TLS13);
    for (pair, scheme, version) in [
        (RSA_1024, Scheme::RSA_PKCS1_SHA256, two),
        (RSA_1024, Scheme::RSA_PKCS1_SHA384, two),
        (RSA_1024, Scheme::RSA_PKCS1_SHA512, two),
        (RSA_1024, Scheme::RSA_PSS_SHA256, two),
        (RSA_1024, Scheme::RSA_PSS_SHA256, three),
        (RSA_1024, Scheme::RSA_PSS_SHA384, three),
        (V1, Scheme::RSA_PKCS1_SHA256, two),
        (V1, Scheme::RSA_PSS_SHA384, two),
        (V1, Scheme::RSA_PSS_SHA256, three),
    ] {
        let acceptor = || acceptor(pair.0, old_key(pair.1, scheme), version);
        for policy in [BackendTls::Insecure, BackendTls::Fingerprints(vec![pin(pair.0)])] {
            let got = over(acceptor(), policy).await;
            assert!(got.is_ok(), "{scheme:?}: {got:?}");
        }
        let other = BackendTls::Fingerprints(vec![[7; 32]]);
        let Reason::Tls(text) = reason(over(acceptor(), other).await) else { panic!("{scheme:?}") };
        assert!(text.contains("fingerprint"), "{text}");
    }
}

#[tokio::test]
async fn an_old_certificate_of_another_kind_of_key_is_good_as_well() {
    let key = rustls_pki_types::PrivateKeyDer::from_pem_slice(EC_V1.1).expect("a key");
    let key = rustls::crypto::ring::sign::any_supported_type(&key).expect("a key");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let policy = BackendTls::Fingerprints(vec![pin(EC_V1.0)]);
        over(acceptor(EC_V1.0, key.clone(), version), policy).await.expect("a reply");
    }
}

#[tokio::test]
async fn who_has_not_the_key_of_a_certificate_is_refused_whatever_its_age() {
    use SignatureScheme as Scheme;
    for (shown, held, scheme, version) in [
        (RSA_1024, V1, Scheme::RSA_PKCS1_SHA256, &rustls::version::TLS12),
        (RSA_1024, V1, Scheme::RSA_PSS_SHA256, &rustls::version::TLS13),
        (V1, RSA_1024, Scheme::RSA_PKCS1_SHA512, &rustls::version::TLS12),
        (V1, RSA_1024, Scheme::RSA_PSS_SHA256, &rustls::version::TLS13),
        (EC_V1, V1, Scheme::RSA_PSS_SHA256, &rustls::version::TLS13),
    ] {
        for policy in [BackendTls::Insecure, BackendTls::Fingerprints(vec![pin(shown.0)])] {
            let acceptor = acceptor(shown.0, old_key(held.1, scheme), version);
            reason(over(acceptor, policy).await);
        }
    }
}

#[tokio::test]
async fn by_an_authority_they_are_not_good_and_the_way_out_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    for (number, pair) in [RSA_1024, V1].into_iter().enumerate() {
        let file = directory.path().join(number.to_string());
        std::fs::write(&file, pair.0).expect("a file");
        let key = old_key(pair.1, SignatureScheme::RSA_PKCS1_SHA256);
        let acceptor = acceptor(pair.0, key, &rustls::version::TLS12);
        let server = Server::tls(acceptor, |_| Act::Answer(ok())).await;
        let mut config = BackendConfig::new(vec![format!("https://{}", server.addr)]);
        config.tls = BackendTls::CaFile(file);
        let endpoint = Arc::new(Endpoint::parse(&config.uris[0]).expect("an address"));
        // An authority's file may be refused for holding such a certificate at all.
        let Ok(connections) = Connections::new(&config, &[Arc::clone(&endpoint)]) else { continue };
        let one = One { connections, endpoint };
        let why = reason(one.fetch(Retry::Read).await).to_string();
        assert!(why.contains("fingerprints_sha256") || why.contains("certificate"), "{why}");
    }
}

/// A server that answers a client's first words with these bytes.
async fn answering(bytes: &'static [u8]) -> Reason {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(bytes).await;
        let _ = stream.read(&mut [0; 4096]).await;
    });
    let one = One::new(&format!("https://{address}"), |config| config.tls = BackendTls::Insecure);
    let reason = reason(one.fetch(Retry::Read).await);
    server.abort();
    reason
}

#[tokio::test]
async fn what_cannot_be_had_is_named_with_a_way_out() {
    for (bytes, cause) in [
        (&b"\x15\x03\x03\x00\x02\x02\x28"[..], NoTls::Ciphers),
        (b"\x15\x03\x01\x00\x02\x02\x28", NoTls::Ciphers),
        (b"\x15\x03\x03\x00\x02\x02\x47", NoTls::Ciphers),
        (b"\x15\x03\x01\x00\x02\x02\x46", NoTls::Versions),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", NoTls::NotSpoken),
    ] {
        let reason = answering(bytes).await;
        assert_eq!(reason, Reason::NoTls(cause), "{bytes:?}");
        assert!(reason.to_string().contains("http://"), "{reason}");
    }
}
