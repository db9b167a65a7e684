//! `xengate check-backend`.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;
use secrecy::SecretString;

use super::{Failed, hash_password, say};
use xenapi_client::{Backend, CallError, Handshake, Misconfigured, look};
use xengate_config::{BackendConfig, BackendTls, Config, SecretSource, fingerprint};
use xengate_core::auth::roles;

/// How long connecting and shaking hands may take.
const LOOK_WITHIN: Duration = Duration::from_secs(15);

#[derive(Debug, Args)]
pub(super) struct CheckBackend {
    /// The address, as in the configuration.
    uri: String,

    /// Log in as this user. The password comes from a prompt, from standard input or from a file.
    #[arg(long, value_name = "NAME")]
    username: Option<String>,

    /// The file that the password is in.
    #[arg(long, value_name = "FILE", requires = "username")]
    password_file: Option<PathBuf>,

    /// The certificate authorities to trust, instead of the system's.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["pin", "insecure"])]
    ca_file: Option<PathBuf>,

    /// The certificate to trust, by its SHA-256.
    #[arg(long, value_name = "SHA256", conflicts_with = "insecure")]
    pin: Option<String>,

    /// Trust any certificate, with a password too.
    #[arg(long)]
    insecure: bool,
}

pub(super) async fn run(check: CheckBackend) -> Result<(), Failed> {
    let policy = check.policy()?;
    let mut config = Config::with_backends(std::slice::from_ref(&check.uri))?;
    let settings = config.backends.pop_first().map(|(_, settings)| settings);
    let mut settings = settings.unwrap_or_else(|| BackendConfig::new(vec![check.uri.clone()]));
    let looked = look(&check.uri, &policy, LOOK_WITHIN).await?;
    let looked = looked.map_err(|why| check.bad(&why))?;
    say(format_args!("address:     {}", looked.address));
    say("reachable:   yes");
    settings.tls = policy;
    let mut untrusted = None;
    if let Some(shown) = &looked.tls {
        tell(shown);
        untrusted = shown.untrusted.as_ref();
        if untrusted.is_some() {
            // What needs no password is asked of whoever is there.
            settings.tls = BackendTls::Fingerprints(vec![shown.certificate.fingerprint]);
        }
    }
    let backend = Backend::new("backend", &settings)?;
    backend.probe().await.map_err(|error| check.bad(&error))?;
    say(format_args!("kind:        {}", backend.description().kind.name()));
    if let Some(dialect) = backend.dialect() {
        say(format_args!("dialect:     {dialect}"));
    }
    match backend.prove().await {
        Ok(true) => say("passwords:   it looks at them: a made-up login was refused"),
        Ok(false) => say("passwords:   not looked at by this interface: configure [[users]]"),
        Err(CallError::Misconfigured(Misconfigured::TrustsAnybody)) => {
            say("passwords:   ANY IS TAKEN: nobody logs in here with one; see the README");
        }
        Err(error) => {
            say(format_args!("passwords:   whether it looks at them is not known: {error}"))
        }
    }
    let done = match (&check.username, untrusted) {
        (None, _) => Ok(()),
        (Some(_), Some(why)) => Err(check.bad(&format!(
            "no password is sent there: {why}; give --ca-file, or --pin if that is its certificate"
        ))),
        (Some(username), None) => check.log_in(&backend, username).await,
    };
    backend.leave().await;
    done
}

fn tell(shown: &Handshake) {
    let certificate = &shown.certificate;
    say(format_args!("tls:         {} {}", shown.version, shown.cipher));
    say(format_args!(
        "certificate: {}; X.509 version {}; {}",
        certificate.subject, certificate.version, certificate.key
    ));
    say(format_args!(
        "names:       {}",
        match certificate.names.is_empty() {
            true => "none".to_owned(),
            false => certificate.names.join(", "),
        }
    ));
    if let Some(expires) = certificate.expires {
        let over = if expires < SystemTime::now() { ": IT HAS EXPIRED" } else { "" };
        say(format_args!("expires:     {}{over}", humantime::format_rfc3339_seconds(expires)));
    }
    match &shown.untrusted {
        None => say("trusted:     yes"),
        Some(why) => say(format_args!("trusted:     no: {why}")),
    }
    say(format_args!("pin:         tls = {{ fingerprints_sha256 = [\"{}\"] }}", shown.pin()));
}

impl CheckBackend {
    fn policy(&self) -> Result<BackendTls, Failed> {
        Ok(match (&self.ca_file, &self.pin) {
            (Some(file), _) => BackendTls::CaFile(file.clone()),
            (None, Some(pin)) => {
                let pin = fingerprint(pin).ok_or_else(|| {
                    self.bad(&"--pin: a SHA-256 is 64 hex digits, with or without colons")
                })?;
                BackendTls::Fingerprints(vec![pin])
            }
            (None, None) if self.insecure => BackendTls::Insecure,
            (None, None) => BackendTls::System,
        })
    }

    async fn log_in(
        &self,
        backend: &std::sync::Arc<Backend>,
        username: &str,
    ) -> Result<(), Failed> {
        let password = self.password()?;
        let login = backend.authenticate(username, &password, "xengate-check").await;
        let session = login.map_err(|error| self.bad(&format!("login: {error}")))?;
        let permissions = roles::permissions(&session.access);
        let role = match permissions.role {
            _ if permissions.is_local_superuser => "local superuser",
            Some(role) => role,
            None => "none",
        };
        say("login:       taken");
        say(format_args!("role:        {role}"));
        let about = backend.description();
        let known = [about.product, about.version, about.api_version.map(|it| format!("API {it}"))];
        let known: Vec<String> = known.into_iter().flatten().collect();
        if !known.is_empty() {
            say(format_args!("product:     {}", known.join(", ")));
        }
        if let Some(address) = about.address {
            say(format_args!("coordinator: {address}"));
        }
        backend.logout(&session).await;
        Ok(())
    }

    /// Never from an argument, which every user of the machine can read.
    fn password(&self) -> Result<SecretString, Failed> {
        match &self.password_file {
            Some(file) => {
                let read = SecretSource::File(file.clone()).read();
                read.map_err(|error| Failed::Password(io::Error::other(error.to_string())))
            }
            None if io::stdin().is_terminal() => hash_password::prompt("Password: "),
            None => hash_password::first_line(io::stdin().lock()),
        }
    }

    fn bad(&self, why: &dyn std::fmt::Display) -> Failed {
        // An address that somebody has put a password into is not said back.
        let address = match self.uri.contains('@') {
            true => "the backend".to_owned(),
            false => self.uri.clone(),
        };
        Failed::Bad { address, why: why.to_string() }
    }
}
