use tokio_rustls::{TlsAcceptor, rustls};

use super::*;
use xengate_config::BackendTls;

/// A certificate authority and a certificate of its for these names.
struct Authority {
    ca_pem: String,
    leaf: rustls_pki_types::CertificateDer<'static>,
    acceptor: TlsAcceptor,
}

fn authority(names: &[&str]) -> Authority {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key).expect("a CA");
    let issuer = rcgen::Issuer::new(params, key);
    let leaf_key = rcgen::KeyPair::generate().expect("a key");
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let leaf = rcgen::CertificateParams::new(names)
        .expect("parameters")
        .signed_by(&leaf_key, &issuer)
        .expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            rustls_pki_types::PrivateKeyDer::try_from(leaf_key.serialize_der()).expect("a key"),
        )
        .expect("a server's configuration");
    Authority {
        ca_pem: ca.pem(),
        leaf: leaf.der().clone(),
        acceptor: TlsAcceptor::from(Arc::new(config)),
    }
}

/// What comes of one call to a server with a certificate for these names.
async fn over_tls(authority: &Authority, policy: BackendTls) -> Result<String, CallError> {
    let server = Server::tls(authority.acceptor.clone(), |_| Act::Answer(ok())).await;
    let one = One::new(&format!("https://{}", server.addr), |config| config.tls = policy);
    one.fetch(Retry::Read).await?;
    let again = one.fetch(Retry::Read).await;
    assert_eq!(server.opened(), 1, "kept, with its TLS");
    again
}

fn tls_error(result: Result<String, CallError>) -> String {
    match result {
        Err(CallError::Unreachable(Unreachable { reason: Reason::Tls(text), .. })) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_certificate_of_the_ca_is_good_for_its_names_only() {
    let directory = tempfile::tempdir().expect("a directory");
    let ca_file = |name: &str, pem: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, pem).expect("a file");
        BackendTls::CaFile(path)
    };
    let good = authority(&["127.0.0.1"]);
    over_tls(&good, ca_file("good.pem", &good.ca_pem)).await.expect("a reply");
    let other = authority(&["127.0.0.1"]);
    let error = tls_error(over_tls(&good, ca_file("other.pem", &other.ca_pem)).await);
    assert!(error.contains("invalid peer certificate"), "{error}");
    let elsewhere = authority(&["pool.example.com"]);
    let error = tls_error(over_tls(&elsewhere, ca_file("name.pem", &elsewhere.ca_pem)).await);
    assert!(error.contains("not valid for name"), "{error}");
}

#[tokio::test]
async fn a_pinned_certificate_is_good_and_no_other() {
    use sha2::{Digest, Sha256};
    let server = authority(&["whatever"]);
    let pin: [u8; 32] = Sha256::digest(server.leaf.as_ref()).into();
    over_tls(&server, BackendTls::Fingerprints(vec![[0; 32], pin])).await.expect("a reply");
    let error = tls_error(over_tls(&server, BackendTls::Fingerprints(vec![[0; 32]])).await);
    let seen: String = pin.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(error.contains(&seen), "{error}");
}

#[tokio::test]
async fn any_certificate_is_good_on_request() {
    over_tls(&authority(&["whatever"]), BackendTls::Insecure).await.expect("a reply");
}

#[test]
fn a_tls_policy_that_trusts_nothing_is_refused() {
    let config = |tls| {
        let mut config = BackendConfig::new(vec!["https://localhost".to_owned()]);
        config.tls = tls;
        let endpoint = Arc::new(Endpoint::parse("https://localhost").expect("an address"));
        Connections::new(&config, &[endpoint]).err()
    };
    let file = tempfile::NamedTempFile::new().expect("a file");
    let empty = config(BackendTls::CaFile(file.path().to_owned()));
    assert!(matches!(empty, Some(BackendError::CaFile(_))));
    let none = config(BackendTls::Fingerprints(Vec::new()));
    assert!(matches!(none, Some(BackendError::NoFingerprints)));
}
