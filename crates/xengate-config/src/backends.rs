//! `[backends.NAME]`: one Xen pool.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::address::Address;
use super::document::Complaint;
use super::secret::SecretSource;
use super::{units, xm};

/// One Xen pool.
#[derive(Debug, Clone)]
pub struct BackendConfig {
    /// Addresses of the pool's hosts; the coordinator is found among them.
    pub uris: Vec<String>,
    /// What listens there.
    pub kind: Kind,
    /// The account that feeds the mirror while no caller is logged in.
    pub service_username: Option<String>,
    /// Its password.
    pub service_password: Option<SecretSource>,
    /// What makes a server's certificate good.
    pub tls: BackendTls,
    /// Who checks passwords; unless said, whoever does so for backends of its kind.
    pub auth: Option<PasswordCheck>,
    /// How long a guest may take to shut down or reboot, where the backend does not say that it
    /// has.
    pub guest_timeout: Duration,
    /// Connections to the pool in all.
    pub max_connections: usize,
    /// How long a connection may take to open, TLS included.
    pub connect_timeout: Duration,
    /// How long a call may take.
    pub call_timeout: Duration,
    /// How long a login is waited for where no other backend can stand in for this one.
    pub login_timeout: Duration,
    /// Largest reply to a call, in bytes.
    pub max_reply: u64,
    /// Largest reply to a first sync, in bytes.
    pub max_sync_reply: u64,
}

/// What listens at a backend's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Found out by asking.
    #[default]
    Auto,
    /// XAPI, of XenServer and XCP-ng.
    Xapi,
    /// xend's Xen-API.
    Xend,
    /// xend's own interface, `server.xend.*`.
    Legacy,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Xapi, Self::Xend, Self::Legacy, Self::Auto];

    /// Its name in the configuration and in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Xapi => "xapi",
            Self::Xend => "xend",
            Self::Legacy => "legacy",
        }
    }
}

/// Who checks a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PasswordCheck {
    /// The gateway, against its own `[[users]]`.
    Users,
    /// The backend.
    Backend,
}

/// What makes a backend's certificate good.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum BackendTls {
    /// The system's certificate authorities.
    #[default]
    System,
    /// The certificate authorities in this PEM file, and no others.
    CaFile(PathBuf),
    /// Being one of these, by the SHA-256 of the DER; names and dates are not looked at.
    Fingerprints(Vec<[u8; 32]>),
    /// Nothing: any certificate will do.
    Insecure,
}

impl BackendConfig {
    /// A pool at these addresses, everything else as it is by default.
    pub fn new(uris: Vec<String>) -> Self {
        Self {
            uris,
            kind: Kind::Auto,
            service_username: None,
            service_password: None,
            tls: BackendTls::System,
            auth: None,
            guest_timeout: Duration::from_secs(120),
            max_connections: 8,
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(60),
            login_timeout: Duration::from_secs(30),
            max_reply: 64 << 20,
            max_sync_reply: 1 << 30,
        }
    }

    /// Its addresses, as far as they are any.
    pub fn addresses(&self) -> impl Iterator<Item = Address> {
        self.uris.iter().filter_map(|uri| Address::parse(uri).ok())
    }

    /// Whether it has addresses, and none that is not read yet could be https.
    fn is_without_tls(&self) -> bool {
        let tls = |address| matches!(address, Address::Tcp { tls: true, .. });
        !self.uris.is_empty()
            && self.addresses().count() == self.uris.len()
            && !self.addresses().any(tls)
    }

    /// The xend that xm's own configuration names.
    pub(super) fn of_xm(file: &Path) -> Result<Self, Complaint> {
        let config = xm::read(file).map_err(|error| Complaint::new(error.to_string()))?;
        check_uri(&config.uri)
            .map_err(|complaint| Complaint::new(format!("its uri: {}", complaint.text)))?;
        let password = config.username.as_ref().map(|_| SecretSource::Xm(file.to_owned()));
        Ok(Self {
            kind: config.kind,
            service_username: config.username,
            service_password: password,
            ..Self::new(vec![config.uri])
        })
    }
}

/// `[backends.NAME]` as it is written.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawBackend {
    uri: Option<String>,
    uris: Option<Vec<String>>,
    kind: Kind,
    xm_config: Option<PathBuf>,
    service_username: Option<String>,
    service_password_file: Option<PathBuf>,
    service_password_env: Option<String>,
    auth: Option<PasswordCheck>,
    tls: Option<RawTls>,
    #[serde(deserialize_with = "units::duration")]
    guest_timeout: Duration,
    #[serde(deserialize_with = "units::count")]
    max_connections: usize,
    #[serde(deserialize_with = "units::duration")]
    connect_timeout: Duration,
    #[serde(deserialize_with = "units::duration")]
    call_timeout: Duration,
    #[serde(deserialize_with = "units::duration")]
    login_timeout: Duration,
    #[serde(deserialize_with = "units::size")]
    max_reply: u64,
    #[serde(deserialize_with = "units::size")]
    max_sync_reply: u64,
}

impl Default for RawBackend {
    fn default() -> Self {
        let defaults = BackendConfig::new(Vec::new());
        Self {
            uri: None,
            uris: None,
            kind: defaults.kind,
            service_username: None,
            service_password_file: None,
            service_password_env: None,
            xm_config: None,
            auth: None,
            tls: None,
            guest_timeout: defaults.guest_timeout,
            max_connections: defaults.max_connections,
            connect_timeout: defaults.connect_timeout,
            call_timeout: defaults.call_timeout,
            login_timeout: defaults.login_timeout,
            max_reply: defaults.max_reply,
            max_sync_reply: defaults.max_sync_reply,
        }
    }
}

/// `tls = { … }` as it is written: exactly one of the three.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawTls {
    ca_file: Option<PathBuf>,
    fingerprints_sha256: Option<Vec<String>>,
    insecure: Option<bool>,
}

impl RawBackend {
    /// The backend these settings describe, and what is wrong with them; paths are relative to
    /// `directory`. Without an address there is none.
    pub(super) fn check(mut self, directory: &Path) -> (Option<BackendConfig>, Vec<Complaint>) {
        let mut complaints = Vec::new();
        let named = match self.xm_config.take() {
            Some(file) => match self.of_xm(&directory.join(file)) {
                Ok(xm) => {
                    self.kind = xm.kind;
                    xm
                }
                Err(complaint) => {
                    complaints.push(complaint.at("xm_config"));
                    return (None, complaints);
                }
            },
            None => {
                let account = self.account(directory);
                let (service_username, service_password) =
                    account.map_err(|complaint| complaints.push(complaint)).unwrap_or_default();
                let uris = self.uris(&mut complaints);
                BackendConfig {
                    kind: self.kind,
                    service_username,
                    service_password,
                    ..BackendConfig::new(uris)
                }
            }
        };
        let checked = self.with(named, directory, &mut complaints);
        (Some(checked).filter(|checked| !checked.uris.is_empty()), complaints)
    }

    /// What xm's file says, if nothing that is said here contradicts it.
    fn of_xm(&self, file: &Path) -> Result<BackendConfig, Complaint> {
        let said = [
            (self.uri.is_some(), "uri"),
            (self.uris.is_some(), "uris"),
            (self.kind != Kind::Auto, "kind"),
            (self.service_username.is_some(), "service_username"),
            (self.service_password_file.is_some(), "service_password_file"),
            (self.service_password_env.is_some(), "service_password_env"),
        ];
        match said.iter().find(|(is_said, _)| *is_said) {
            Some((_, key)) => Err(Complaint::new(format!("says what `{key}` says too: drop one"))),
            None => BackendConfig::of_xm(file),
        }
    }

    /// The addresses, as they are written.
    fn uris(&mut self, complaints: &mut Vec<Complaint>) -> Vec<String> {
        match (self.uri.take(), self.uris.take()) {
            (Some(_), Some(_)) => {
                let text = "give either `uri` or `uris`, not both";
                complaints.push(Complaint::new(text).at("uris"));
                Vec::new()
            }
            (None, None) => {
                let text = "`uri` (or `uris`, the hosts of one pool) is missing";
                complaints.push(Complaint::new(text));
                Vec::new()
            }
            (Some(uri), None) => {
                let wrong = check_uri(&uri).err();
                complaints.extend(wrong.map(|complaint| complaint.at("uri")));
                vec![uri]
            }
            (None, Some(uris)) => {
                if uris.is_empty() {
                    complaints.push(Complaint::new("at least one address is needed").at("uris"));
                }
                for (index, uri) in uris.iter().enumerate() {
                    let wrong = check_uri(uri).err();
                    complaints.extend(wrong.map(|complaint| complaint.at(index).at("uris")));
                }
                uris
            }
        }
    }

    /// The service account.
    fn account(
        &mut self,
        directory: &Path,
    ) -> Result<(Option<String>, Option<SecretSource>), Complaint> {
        let written = (self.service_password_file.take(), self.service_password_env.take());
        let service_password = match written {
            (Some(_), Some(_)) => {
                let text =
                    "give either `service_password_file` or `service_password_env`, not both";
                return Err(Complaint::new(text).at("service_password_env"));
            }
            (Some(file), None) => Some(SecretSource::File(directory.join(file))),
            (None, Some(name)) => Some(SecretSource::Env(name)),
            (None, None) => None,
        };
        // XML has no way to write them, and no user is called so.
        let unwritable = |name: &String| name.is_empty() || name.chars().any(char::is_control);
        if self.service_username.as_ref().is_some_and(unwritable) {
            let text = "must not be empty and holds no control characters";
            return Err(Complaint::new(text).at("service_username"));
        }
        match (&self.service_username, &service_password) {
            (Some(_), None) => {
                let text = "needs `service_password_file` or `service_password_env` to go with it";
                return Err(Complaint::new(text).at("service_username"));
            }
            (None, Some(source)) => {
                return Err(
                    Complaint::new("needs `service_username` to go with it").at(source.key())
                );
            }
            _ => {}
        }
        Ok((self.service_username.take(), service_password))
    }

    /// Who checks passwords, if that one can.
    fn password_check(&self, named: &BackendConfig) -> Result<Option<PasswordCheck>, Complaint> {
        let wrong = |text: &str| Err(Complaint::new(text).at("auth"));
        match (self.kind, self.auth) {
            (Kind::Xapi, Some(PasswordCheck::Users)) if named.service_username.is_none() => wrong(
                "the gateway's own users need a service account here, which their calls are made with",
            ),
            (Kind::Legacy, Some(PasswordCheck::Backend)) => {
                wrong("this interface checks no passwords: only \"users\" makes sense")
            }
            (_, auth) => Ok(auth),
        }
    }

    /// The rest of the settings, for the backend that is named so far.
    fn with(
        self,
        named: BackendConfig,
        directory: &Path,
        complaints: &mut Vec<Complaint>,
    ) -> BackendConfig {
        let auth = self.password_check(&named).unwrap_or_else(|complaint| {
            complaints.push(complaint);
            None
        });
        if matches!(self.kind, Kind::Xend | Kind::Legacy) && named.uris.len() > 1 {
            complaints.push(Complaint::new("xend is one host, at one address").at("uris"));
        }
        let tls = match self.tls {
            None => Ok(BackendTls::System),
            Some(_) if named.is_without_tls() => {
                Err(Complaint::new("means nothing without an https:// address"))
            }
            Some(tls) => tls.check(directory),
        };
        let tls = tls.unwrap_or_else(|complaint| {
            complaints.push(complaint.at("tls"));
            BackendTls::System
        });
        BackendConfig {
            tls,
            auth,
            guest_timeout: self.guest_timeout,
            max_connections: self.max_connections,
            connect_timeout: self.connect_timeout,
            call_timeout: self.call_timeout,
            login_timeout: self.login_timeout,
            max_reply: self.max_reply,
            max_sync_reply: self.max_sync_reply,
            ..named
        }
    }
}

impl RawTls {
    fn check(self, directory: &Path) -> Result<BackendTls, Complaint> {
        let insecure = match self.insecure {
            Some(false) => None,
            other => other,
        };
        match (self.ca_file, self.fingerprints_sha256, insecure) {
            (None, None, None) => Ok(BackendTls::System),
            (Some(file), None, None) => Ok(BackendTls::CaFile(directory.join(file))),
            (None, Some(texts), None) if texts.is_empty() => {
                Err(Complaint::new("at least one is needed").at("fingerprints_sha256"))
            }
            (None, Some(texts), None) => texts
                .iter()
                .enumerate()
                .map(|(index, text)| {
                    fingerprint(text).ok_or_else(|| {
                        Complaint::new("a SHA-256 is 64 hex digits, with or without colons")
                            .at(index)
                            .at("fingerprints_sha256")
                    })
                })
                .collect::<Result<_, _>>()
                .map(BackendTls::Fingerprints),
            (None, None, Some(_)) => Ok(BackendTls::Insecure),
            _ => Err(Complaint::new(
                "give one of `ca_file`, `fingerprints_sha256` and `insecure`, not several",
            )),
        }
    }
}

/// The bytes of a SHA-256 written in hex, with or without colons, as `openssl x509 -fingerprint`
/// prints it.
pub fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let digits: Vec<u32> = text
        .chars()
        .filter(|character| *character != ':')
        .map(|character| character.to_digit(16))
        .collect::<Option<_>>()?;
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::try_from(pair[0] * 16 + pair[1]).ok()?;
    }
    Some(bytes)
}

/// Refuses an address no backend can have. What can be reached there is found out later.
pub(super) fn check_uri(uri: &str) -> Result<(), Complaint> {
    Address::parse(uri).map(drop).map_err(Complaint::new)
}
