//! What a server's certificate says, and whether the server holds its key, whatever its age.
//!
//! Old hosts made certificates of X.509 version 1, or with RSA keys of 1,024 bits. The rules of
//! certificate authorities have neither, so rustls reads the one and checks the other no more. Where
//! the operator has named the very certificate, or wants none looked at, those rules decide nothing;
//! that the server holds the key is checked all the same.

use std::time::{Duration, SystemTime};

use rsa::pkcs1::RsaPublicKey as Pkcs1Key;
use rsa::signature::Verifier;
use rsa::{BigUint, RsaPublicKey, pkcs1v15, pss};
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256, Sha384, Sha512};
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::WebPkiSupportedAlgorithms;
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, Error, PeerMisbehaved, SignatureScheme,
};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

/// RSA keys in bits: with fewer anyone makes signatures, and with more checking one takes long.
const FEWEST_BITS: usize = 1024;
const MOST_BITS: usize = 16_384;

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The SHA-256 of the DER.
    pub fingerprint: [u8; 32],
    /// Whom it is for.
    pub subject: String,
    /// The names and addresses that it is good for.
    pub names: Vec<String>,
    /// When it ends, if that is after 1970.
    pub expires: Option<SystemTime>,
    /// Of X.509: 1 or 3.
    pub version: u32,
    /// Its key: `RSA, 1024 bits`.
    pub key: String,
}

impl Certificate {
    /// Reads one; what cannot be read is left out.
    pub(super) fn read(certificate: &CertificateDer<'_>) -> Self {
        let fingerprint = Sha256::digest(certificate.as_ref()).into();
        let Ok((_, read)) = X509Certificate::from_der(certificate.as_ref()) else {
            let unknown = "cannot be read".to_owned();
            let (subject, key) = (unknown.clone(), unknown);
            return Self {
                fingerprint,
                subject,
                names: Vec::new(),
                expires: None,
                version: 0,
                key,
            };
        };
        let names = read.subject_alternative_name().ok().flatten();
        let names = names.iter().flat_map(|names| &names.value.general_names);
        let seconds = u64::try_from(read.validity().not_after.timestamp()).ok();
        let key = match read.public_key().parsed() {
            Ok(PublicKey::RSA(key)) => format!("RSA, {} bits", key.key_size()),
            Ok(PublicKey::EC(point)) => format!("EC, {} bits", point.key_size()),
            _ => format!("algorithm {}", read.public_key().algorithm.algorithm),
        };
        Self {
            fingerprint,
            subject: read.subject().to_string(),
            names: names.filter_map(name).collect(),
            expires: seconds.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)),
            version: read.version().0 + 1,
            key,
        }
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
            let v6 = || <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from);
            v4.or_else(|_| v6()).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

/// Whether the signature of a handshake was made with the certificate's key.
pub(super) fn verify(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let encoding = || Error::InvalidCertificate(CertificateError::BadEncoding);
    let (_, read) = X509Certificate::from_der(certificate.as_ref()).map_err(|_| encoding())?;
    let key = read.public_key();
    let (bits, signature) = (&*key.subject_public_key.data, signed.signature());
    if matches!(key.parsed(), Ok(PublicKey::RSA(_))) {
        return verify_rsa(message, bits, signed.scheme, signature);
    }
    // The provider's own algorithms, without its way of reading certificates.
    let known = algorithms.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme);
    let (_, known) = known.ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    // The key's algorithm as it is written, without the sequence around it.
    let written = key.raw;
    let fits = |one: &&&dyn rustls_pki_types::SignatureVerificationAlgorithm| {
        let wanted = one.public_key_alg_id();
        written.windows(wanted.len()).any(|part| part == &*wanted)
    };
    let good =
        known.iter().filter(fits).any(|one| one.verify_signature(bits, message, signature).is_ok());
    if good { Ok(HandshakeSignatureValid::assertion()) } else { Err(bad_signature()) }
}

fn verify_rsa(
    message: &[u8],
    key: &[u8],
    scheme: SignatureScheme,
    signature: &[u8],
) -> Result<HandshakeSignatureValid, Error> {
    let encoding = || Error::InvalidCertificate(CertificateError::BadEncoding);
    let key = Pkcs1Key::try_from(key).map_err(|_| encoding())?;
    let modulus = BigUint::from_bytes_be(key.modulus.as_bytes());
    if modulus.bits() < FEWEST_BITS {
        let text = format!("the certificate's RSA key has {} bits: too few", modulus.bits());
        return Err(Error::General(text));
    }
    let exponent = BigUint::from_bytes_be(key.public_exponent.as_bytes());
    let key = RsaPublicKey::new_with_max_size(modulus, exponent, MOST_BITS);
    let key = key.map_err(|_| encoding())?;
    let verified = match scheme {
        SignatureScheme::RSA_PKCS1_SHA256 => pkcs1::<Sha256>(key, message, signature),
        SignatureScheme::RSA_PKCS1_SHA384 => pkcs1::<Sha384>(key, message, signature),
        SignatureScheme::RSA_PKCS1_SHA512 => pkcs1::<Sha512>(key, message, signature),
        SignatureScheme::RSA_PSS_SHA256 => in_pss::<Sha256>(key, message, signature),
        SignatureScheme::RSA_PSS_SHA384 => in_pss::<Sha384>(key, message, signature),
        SignatureScheme::RSA_PSS_SHA512 => in_pss::<Sha512>(key, message, signature),
        _ => return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into()),
    };
    match verified {
        Some(()) => Ok(HandshakeSignatureValid::assertion()),
        None => Err(bad_signature()),
    }
}

fn pkcs1<D: Digest + rsa::pkcs8::AssociatedOid>(
    key: RsaPublicKey,
    message: &[u8],
    signature: &[u8],
) -> Option<()> {
    let signature = pkcs1v15::Signature::try_from(signature).ok()?;
    pkcs1v15::VerifyingKey::<D>::new(key).verify(message, &signature).ok()
}

fn in_pss<D: Digest + sha2::digest::FixedOutputReset>(
    key: RsaPublicKey,
    message: &[u8],
    signature: &[u8],
) -> Option<()> {
    let signature = pss::Signature::try_from(signature).ok()?;
    pss::VerifyingKey::<D>::new(key).verify(message, &signature).ok()
}

fn bad_signature() -> Error {
    Error::General("the server does not show that it holds its certificate's key".to_owned())
}
