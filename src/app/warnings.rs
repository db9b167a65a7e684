//! What an operator may not have meant.

use std::path::Path;

use xengate_config::{
    BackendConfig, BackendTls, Config, Kind, PasswordCheck, SecretSource, is_readable_by_others,
};

/// What monitoring systems show.
const TOKEN: &str = "the scrape token";

/// Something that works, and that an operator may not have meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Warning {
    backend: Option<String>,
    text: String,
}

impl Warning {
    /// Writes it into the log.
    pub(crate) fn log(&self) {
        match &self.backend {
            Some(backend) => tracing::warn!(backend, "{}", self.text),
            None => tracing::warn!("{}", self.text),
        }
    }
}

/// All that is to be said about a configuration that can be used.
pub(crate) fn warnings(config: &Config) -> Vec<Warning> {
    let general = |text: String| Warning { backend: None, text };
    let mut warnings = Vec::new();
    let secrets = [
        (config.tls.as_ref().map(|tls| &tls.key_file), "the private key"),
        (config.metrics.scrape_token_file.as_ref(), TOKEN),
        (config.metrics.xen_token_file.as_ref(), TOKEN),
    ];
    for (file, what) in secrets {
        if let Some(file) = file
            && is_readable_by_others(file)
        {
            warnings.push(general(readable(what, file)));
        }
        // It is read for each scrape: the gateway starts without it.
        if let Some(file) = file
            && what == TOKEN
            && let Err(error) = SecretSource::File(file.clone()).read()
        {
            warnings.push(general(format!("{what} cannot be read: {error}")));
        }
    }
    for (name, settings) in &config.backends {
        let backend = |text| Warning { backend: Some(name.clone()), text };
        warnings.extend(of_backend(settings).into_iter().map(backend));
    }
    warnings
}

fn readable(what: &str, file: &Path) -> String {
    format!("{what} in {} can be read by every user of this machine", file.display())
}

fn of_backend(settings: &BackendConfig) -> Vec<String> {
    let mut texts = Vec::new();
    if settings.tls == BackendTls::Insecure {
        texts.push("any certificate is taken for the backend's: tls.insecure is set".to_owned());
    }
    if settings.addresses().any(|address| address.is_in_the_clear()) {
        texts.push("passwords travel in the clear: the address is not https".to_owned());
    }
    if is_xapis_socket(settings) {
        texts.push(
            "xapi takes any password at its own Unix socket, so nobody logs in with one there: \
             configure a service account and [[users]], or give the host's https:// address"
                .to_owned(),
        );
    }
    if let Some(source) = &settings.service_password
        && source.readable_by_others()
    {
        texts.push(format!("{source} can be read by every user of this machine"));
    }
    texts
}

/// Whether it is likely to be xapi's own socket, and nothing is configured for those who are to work
/// there.
fn is_xapis_socket(settings: &BackendConfig) -> bool {
    let may_be = match settings.kind {
        Kind::Xapi => true,
        // xend's sockets are in folders of its name.
        Kind::Auto => !settings.uris.iter().any(|uri| uri.contains("xend")),
        _ => false,
    };
    may_be
        && settings.auth != Some(PasswordCheck::Users)
        && settings.addresses().any(|address| address.is_unix())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(uri: &str, change: impl FnOnce(&mut BackendConfig)) -> usize {
        let mut settings = BackendConfig::new(vec![uri.to_owned()]);
        change(&mut settings);
        of_backend(&settings).len()
    }

    #[test]
    fn what_may_not_be_meant_is_said() {
        assert_eq!(of("https://pool", |_| {}), 0);
        assert_eq!(of("HTTP://pool", |_| {}), 1);
        assert_eq!(of("http://localhost", |_| {}), 0);
        assert_eq!(of("https://pool", |settings| settings.tls = BackendTls::Insecure), 1);
        assert_eq!(of("unix:/var/lib/xcp/xapi", |_| {}), 1);
        assert_eq!(of("unix:/var/run/xend/xen-api.sock", |_| {}), 0);
        let users = |settings: &mut BackendConfig| settings.auth = Some(PasswordCheck::Users);
        assert_eq!(of("unix:/var/lib/xcp/xapi", users), 0);
    }
}
