//! `xengate check-config`.

use std::path::Path;

use super::Failed;
use crate::auth::{Users, check_key_file};
use crate::backend::Backend;
use crate::config::{Config, ConfigError};
use crate::http::tls;

/// Everything that can be found out without connecting to anything: the file, and the files it
/// names.
pub(super) fn run(file: &Path) -> Result<(), Failed> {
    let config = Config::load(file)?;
    let wrong = |keys: &[&str], text: String| Failed::from(ConfigError::about(file, keys, text));
    if let Some(settings) = &config.tls {
        tls::acceptor(settings).map_err(|error| wrong(&["tls"], error.to_string()))?;
    }
    if let Err(error) = Users::new(&config.users) {
        return Err(ConfigError::about_user(file, error.index, error.key, error.why).into());
    }
    if let Some(key_file) = &config.auth.key_file {
        check_key_file(key_file)
            .map_err(|error| wrong(&["auth", "key_file"], error.to_string()))?;
    }
    for (name, settings) in &config.backends {
        Backend::new(name, settings)
            .map_err(|error| wrong(&["backends", name], error.to_string()))?;
        if let Some(source) = &settings.service_password {
            let key = source.key();
            source.read().map_err(|error| wrong(&["backends", name, key], error.to_string()))?;
            if source.readable_by_others() {
                tracing::warn!(
                    backend = name,
                    "{source} can be read by every user of this machine"
                );
            }
        }
    }
    Ok(())
}
