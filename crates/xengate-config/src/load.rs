//! Reading and checking `xengate.toml`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::Error as _;
use toml::Spanned;
use toml::de::DeTable;

use super::backends::{RawBackend, check_uri};
use super::document::{self, Complaint, Step};
use super::files;
use super::listen;
use super::users;
use super::{
    AuthConfig, BackendConfig, Config, Cors, Kind, Limits, LogConfig, MetricsConfig, PasswordCheck,
    ServerTls, User,
};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{}: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A setting is wrong.
    #[error("{}:{line}:{column}: {}{text}", file.display(), Prefix(key))]
    Invalid {
        /// The file.
        file: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// The line's column, from 1, in characters.
        column: usize,
        /// The key, with the tables it stands in; empty when the text is no TOML there.
        key: String,
        /// What is wrong.
        text: String,
    },
    /// Several things are wrong.
    #[error("{}", Lines(.0))]
    Several(Vec<ConfigError>),
    /// An argument of the command line that cannot be used.
    #[error("{option} {argument}: {text}")]
    Argument {
        /// The option.
        option: &'static str,
        /// The argument.
        argument: String,
        /// What is wrong.
        text: String,
    },
}

/// As many mistakes of one file are told.
const MOST_TOLD: usize = 50;

/// A configuration as far as it can be used, and all that is wrong with it.
#[derive(Debug)]
pub struct Examined {
    /// What can be used; the rest is as it is by default, or left out.
    pub config: Config,
    errors: Vec<ConfigError>,
    file: PathBuf,
    text: String,
}

impl Examined {
    /// Adds what was found out about the setting under these keys after the file was read.
    pub fn wrong(&mut self, keys: &[&str], text: String) {
        self.add(keys.iter().rev().fold(Complaint::new(text), |c, key| c.at(*key)));
    }

    /// The same about a key of the user at this place in the list, from 0.
    pub fn wrong_user(&mut self, index: usize, key: &str, text: String) {
        self.add(Complaint::new(text).at(key).at(index).at("users"));
    }

    fn add(&mut self, complaint: Complaint) {
        let document = DeTable::parse(&self.text).ok();
        let document = document.as_ref().map(Spanned::get_ref);
        self.errors.push(ConfigError::placed(&self.file, &self.text, document, complaint));
    }

    /// The configuration, if nothing is wrong with it.
    pub fn into_result(self) -> Result<Config, ConfigError> {
        match ConfigError::all(self.errors) {
            None => Ok(self.config),
            Some(error) => Err(error),
        }
    }
}

impl ConfigError {
    /// All of these, in the order of their lines; none if there are none.
    fn all(mut errors: Vec<Self>) -> Option<Self> {
        errors.sort_by_key(|error| match error {
            Self::Invalid { line, column, .. } => (*line, *column),
            _ => (0, 0),
        });
        errors.truncate(MOST_TOLD);
        match errors.len() {
            0 | 1 => errors.pop(),
            _ => Some(Self::Several(errors)),
        }
    }

    fn placed(
        file: &Path,
        content: &str,
        document: Option<&DeTable<'_>>,
        complaint: Complaint,
    ) -> Self {
        let place = document.and_then(|document| document::position(document, &complaint.path));
        let (line, column) = line_and_column(content, place.unwrap_or(0));
        let key = document::Path(&complaint.path).to_string();
        Self::Invalid { file: file.to_owned(), line, column, key, text: complaint.text }
    }
}

struct Lines<'a>(&'a [ConfigError]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, error) in self.0.iter().enumerate() {
            let before = if place == 0 { "" } else { "\n" };
            write!(f, "{before}{error}")?;
        }
        Ok(())
    }
}

struct Prefix<'a>(&'a str);

impl fmt::Display for Prefix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "{}: ", self.0) }
    }
}

impl Config {
    /// Reads and checks a file. Paths in it are relative to the file's own directory.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        Self::examine(file)?.into_result()
    }

    /// The same, with what can be used where something is wrong.
    pub fn examine(file: &Path) -> Result<Examined, ConfigError> {
        let text = files::read(file)
            .map_err(|source| ConfigError::Unreadable { file: file.to_owned(), source })?;
        Ok(Self::examine_text(text, file))
    }

    /// Checks the text of `file`.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        Self::examine_text(text.to_owned(), file).into_result()
    }

    pub(super) fn examine_text(text: String, file: &Path) -> Examined {
        let (config, errors) = read(&text, file);
        Examined { config, errors, file: file.to_owned(), text }
    }

    /// Listens elsewhere than was configured, as `--listen` asks.
    pub fn listen_on(&mut self, address: SocketAddr) -> Result<(), ConfigError> {
        self.listen = address;
        check_listen(address, self.tls.is_some() || self.allow_plaintext).map_err(|complaint| {
            ConfigError::Argument {
                option: "--listen",
                argument: address.to_string(),
                text: complaint.text,
            }
        })
    }

    /// The configuration that `--backend [NAME=]URI` stands for, `default` where no name is given.
    pub fn with_backends(arguments: &[String]) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        for argument in arguments {
            let invalid = |text: &str| ConfigError::Argument {
                option: "--backend",
                argument: without_credentials(argument),
                text: text.to_owned(),
            };
            let (name, uri) = match argument.split_once('=') {
                // A `=` behind `://` belongs to the address.
                Some((name, uri)) if !name.contains("://") => (name, uri),
                _ => ("default", argument.as_str()),
            };
            check_name(name).map_err(|complaint| invalid(&complaint.text))?;
            check_uri(uri).map_err(|complaint| invalid(&complaint.text))?;
            let backend = BackendConfig::new(vec![uri.to_owned()]);
            if config.backends.insert(name.to_owned(), backend).is_some() {
                return Err(invalid(&format!("the name {name:?} is taken by another --backend")));
            }
        }
        Ok(config)
    }

    /// The configuration that `--xm-config FILE` stands for: one backend, called `xend`.
    ///
    /// There is no place for users of the gateway's own in it, so where xend can check passwords at
    /// all it is the one to do so.
    pub fn with_xm_config(file: &Path) -> Result<Self, ConfigError> {
        let wrong = |complaint: Complaint| ConfigError::Argument {
            option: "--xm-config",
            argument: file.display().to_string(),
            text: complaint.text,
        };
        let mut backend = BackendConfig::of_xm(file).map_err(wrong)?;
        if backend.kind == Kind::Xend {
            backend.auth = Some(PasswordCheck::Backend);
        }
        let backends = [("xend".to_owned(), backend)].into();
        Ok(Self { backends, ..Self::default() })
    }
}

/// Reads a file's text. What is wrong is told and left out, and the rest read on, so that one mistake
/// does not hide the others.
fn read(text: &str, file: &Path) -> (Config, Vec<ConfigError>) {
    let invalid = |offset: usize, key: String, message: &str| {
        let (line, column) = line_and_column(text, offset);
        ConfigError::Invalid { file: file.to_owned(), line, column, key, text: sentence(message) }
    };
    let offset_of = |error: &toml::de::Error| error.span().map_or(0, |span| span.start);
    let (whole, unreadable) = DeTable::parse_recoverable(text);
    if !unreadable.is_empty() {
        // Where a table or a text ends is not known any more, so nothing else is either.
        let key = |offset| document::Path(&document::path_at(whole.get_ref(), offset)).to_string();
        let told = unreadable.iter().map(|error| {
            let offset = offset_of(error);
            invalid(offset, key(offset), error.message())
        });
        return (Config::default(), told.collect());
    }
    let (mut left, mut errors, mut removed) = (whole.clone(), Vec::new(), Vec::new());
    let raw = loop {
        let error = match Raw::deserialize(toml::Deserializer::from(left.clone())) {
            Ok(raw) => break raw,
            Err(error) => error,
        };
        let offset = offset_of(&error);
        let path = document::path_at(whole.get_ref(), offset);
        errors.push(invalid(offset, document::Path(&path).to_string(), error.message()));
        removed.push(path);
        if errors.len() >= MOST_TOLD || !document::remove_at(left.get_mut(), offset) {
            return (Config::default(), errors);
        }
    };
    let directory = file.parent().unwrap_or(Path::new(""));
    let (config, complaints) = raw.check(directory);
    // What was left out is missed now; that is no mistake of its own.
    let follows = |complaint: &Complaint| {
        removed.iter().any(|path: &Vec<Step>| {
            let parent = path.split_last().map_or(&path[..], |(_, parent)| parent);
            let goes_with = |path: &[Step]| {
                matches!(path.last(), Some(Step::Key(key)) if key.starts_with("service_") || key == "auth")
            };
            complaint.path == parent
                || (complaint.path.starts_with(parent)
                    && goes_with(&complaint.path)
                    && goes_with(path))
                || (complaint.path == [Step::from("listen")] && path.first() == Some(&"tls".into()))
        })
    };
    // That there is no backend goes without saying while something else is wrong.
    let goes_without = |complaint: &Complaint| complaint.path.is_empty() && !removed.is_empty();
    let mut complaints = complaints;
    complaints.retain(|complaint| !follows(complaint) && !goes_without(complaint));
    let told = complaints
        .into_iter()
        .map(|complaint| ConfigError::placed(file, text, Some(left.get_ref()), complaint));
    errors.extend(told);
    (config, errors)
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Raw {
    #[serde(deserialize_with = "address")]
    listen: SocketAddr,
    allow_plaintext: bool,
    #[serde(deserialize_with = "networks")]
    trusted_proxies: Vec<IpNet>,
    tls: Option<ServerTls>,
    cors: Cors,
    log: LogConfig,
    limits: Limits,
    backends: BTreeMap<String, RawBackend>,
    auth: AuthConfig,
    metrics: MetricsConfig,
    users: Vec<User>,
}

impl Default for Raw {
    fn default() -> Self {
        let defaults = Config::default();
        Self {
            listen: defaults.listen,
            allow_plaintext: defaults.allow_plaintext,
            trusted_proxies: defaults.trusted_proxies,
            tls: defaults.tls,
            cors: defaults.cors,
            log: defaults.log,
            limits: defaults.limits,
            backends: BTreeMap::new(),
            auth: defaults.auth,
            metrics: defaults.metrics,
            users: defaults.users,
        }
    }
}

impl Raw {
    fn check(mut self, directory: &Path) -> (Config, Vec<Complaint>) {
        let mut complaints = Vec::new();
        let listens = check_listen(self.listen, self.tls.is_some() || self.allow_plaintext);
        complaints.extend(listens.err().map(|complaint| complaint.at("listen")));
        if let Some(tls) = &mut self.tls {
            tls.cert_file = directory.join(&tls.cert_file);
            tls.key_file = directory.join(&tls.key_file);
        }
        for (index, origin) in self.cors.origins.iter().enumerate() {
            let wrong = check_origin(origin).err();
            complaints.extend(wrong.map(|complaint| complaint.at(index).at("origins").at("cors")));
        }
        if self.backends.is_empty() {
            let text = "there is no backend: add a [backends.NAME] with a `uri`";
            complaints.push(Complaint::new(text));
        }
        let names: Vec<String> = self.backends.keys().cloned().collect();
        let mut backends = BTreeMap::new();
        for (name, raw) in self.backends {
            let (backend, wrong) = raw.check(directory);
            let wrong = check_name(&name).err().into_iter().chain(wrong);
            complaints.extend(wrong.map(|wrong| wrong.at(name.as_str()).at("backends")));
            backends.extend(backend.map(|backend| (name, backend)));
        }
        for (index, name) in self.auth.default_backends.iter().enumerate() {
            if !names.contains(name) {
                let complaint = Complaint::new(format!("there is no backend called {name:?}"));
                complaints.push(complaint.at(index).at("default_backends").at("auth"));
            }
        }
        complaints.extend(users::check(&self.users));
        self.auth.key_file = self.auth.key_file.map(|file| directory.join(file));
        let MetricsConfig { scrape_token_file, xen_token_file } = &mut self.metrics;
        for file in scrape_token_file.iter_mut().chain(xen_token_file) {
            *file = directory.join(&*file);
        }
        let config = Config {
            listen: self.listen,
            allow_plaintext: self.allow_plaintext,
            trusted_proxies: self.trusted_proxies,
            tls: self.tls,
            cors: self.cors,
            log: self.log,
            limits: self.limits,
            backends,
            auth: self.auth,
            metrics: self.metrics,
            users: self.users,
        };
        (config, complaints)
    }
}

/// Tokens and passwords go over this connection, so it is secured or it stays in the machine.
fn check_listen(address: SocketAddr, permitted: bool) -> Result<(), Complaint> {
    if permitted || address.ip().is_loopback() {
        return Ok(());
    }
    Err(Complaint::new(format!(
        "{} is not a loopback address: set `[tls]`, or `allow_plaintext = true` behind a proxy \
         that speaks TLS",
        address.ip()
    )))
}

/// Names stand in paths, queries and headers: letters, digits, `_` and `-`.
fn check_name(name: &str) -> Result<(), Complaint> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if (1..=64).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(Complaint::new("a backend's name is 1 to 64 letters, digits, `_` or `-`"))
}

/// An origin is compared as text, so it has to be written the way browsers write it.
fn check_origin(origin: &str) -> Result<(), Complaint> {
    let wrong =
        || Complaint::new("an origin is a scheme, a host and maybe a port: https://ui.example.com");
    let uri: http::Uri = origin.parse().map_err(|_| wrong())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(wrong());
    };
    let canonical = format!("{scheme}://{}", authority.as_str().to_ascii_lowercase());
    if authority.as_str().contains('@') || canonical != origin {
        return Err(wrong());
    }
    Ok(())
}

fn address<'de, D: serde::Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(from)?;
    listen::parse(&text).map_err(D::Error::custom)
}

fn networks<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let parse = |text: &String| {
        text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| {
            let wrong = serde::de::Unexpected::Str(text);
            D::Error::invalid_value(wrong, &"a network such as \"10.0.0.0/8\" or one address")
        })
    };
    texts.iter().map(parse).collect()
}

fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// A message on one line, with a hint where a secret was written into the file.
fn sentence(message: &str) -> String {
    let line = message.trim().replace('\n', "; ");
    if line.starts_with("unknown field `service_password`") {
        return "a password never stands in this file: use `service_password_file` or \
                `service_password_env`"
            .to_owned();
    }
    line
}

/// `--backend` as it may be shown: someone may have put a password into the address.
fn without_credentials(argument: &str) -> String {
    match (argument.find("://"), argument.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            format!("{}…{}", &argument[..scheme + 3], &argument[at..])
        }
        _ => argument.to_owned(),
    }
}
