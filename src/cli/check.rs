//! `xengate check-config`.

use std::path::Path;

use super::{Failed, tell};
use crate::app::warnings;
use xenapi_client::Backend;
use xengate_config::Config;
use xengate_core::auth::{Users, check_key_file};
use xengate_http::connection::possible_connections;
use xengate_http::tls;

/// Everything that can be found out without connecting to anything: the file, and the files it
/// names. All mistakes are told at once, with the warnings that `serve` would give.
pub(super) fn run(file: &Path) -> Result<(), Failed> {
    let mut examined = Config::examine(file)?;
    let config = examined.config.clone();
    if let Some(settings) = &config.tls
        && let Err(error) = tls::Certificate::load(settings)
    {
        examined.wrong(&["tls"], error.to_string());
    }
    for (index, user) in config.users.iter().enumerate() {
        // What is no hash at all has been told.
        if user.password_hash.starts_with("$argon2id$")
            && let Err(error) = Users::new(std::slice::from_ref(user))
        {
            examined.wrong_user(index, error.key, error.why);
        }
    }
    if let Some(key_file) = &config.auth.key_file
        && let Err(error) = check_key_file(key_file)
    {
        examined.wrong(&["auth", "key_file"], error.to_string());
    }
    for (name, settings) in &config.backends {
        // An address that is none has been told.
        if settings.addresses().count() == settings.uris.len()
            && let Err(error) = Backend::new(name, settings)
        {
            examined.wrong(&["backends", name], error.to_string());
        }
        if let Some(source) = &settings.service_password
            && let Err(error) = source.read()
        {
            examined.wrong(&["backends", name, source.key()], error.to_string());
        }
    }
    let good = examined.into_result();
    if let Err(error) = &good {
        // What is wrong comes before what may be meant.
        tell(error);
    }
    for warning in warnings(&config) {
        warning.log();
    }
    // It says so itself where there are too few files for them.
    let _ = possible_connections(config.limits.max_connections);
    good.map(drop).map_err(|_| Failed::Told)
}
