//! Secrets: never in the configuration itself, only where it says to look.

use std::path::PathBuf;

use secrecy::SecretString;

use super::{files, xm};

/// Where a secret is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A file that holds the secret; a newline at its end is not part of it.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// xm's own configuration; there a password may be empty.
    Xm(PathBuf),
}

/// A secret that could not be read. The texts name the place, never the content.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file could not be read.
    #[error("secret file {}: {source}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The variable is unset or not UTF-8.
    #[error("environment variable {name} is not set, or not UTF-8")]
    Env {
        /// The variable.
        name: String,
    },
    /// xm's configuration cannot be read.
    #[error("{0}")]
    Xm(String),
    /// There is nothing in it.
    #[error("{place} is empty")]
    Empty {
        /// Where.
        place: SecretSource,
    },
}

impl std::fmt::Display for SecretSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(file) => write!(f, "secret file {}", file.display()),
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::Xm(file) => write!(f, "xm's configuration {}", file.display()),
        }
    }
}

impl SecretSource {
    /// Reads the secret, anew each time: it may have been changed meanwhile.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        let mut text = match self {
            Self::File(file) => files::read(file)
                .map_err(|source| SecretError::File { file: file.clone(), source })?,
            Self::Env(name) => {
                std::env::var(name).map_err(|_| SecretError::Env { name: name.clone() })?
            }
            Self::Xm(file) => {
                let config = xm::read(file).map_err(|error| SecretError::Xm(error.to_string()))?;
                return Ok(config.password);
            }
        };
        if matches!(self, Self::File(_)) {
            text.truncate(text.trim_end_matches(['\r', '\n']).len());
        }
        if text.is_empty() {
            return Err(SecretError::Empty { place: self.clone() });
        }
        Ok(SecretString::from(text))
    }

    /// The key of the setting that says so.
    pub fn key(&self) -> &'static str {
        match self {
            Self::File(_) => "service_password_file",
            Self::Env(_) => "service_password_env",
            Self::Xm(_) => "xm_config",
        }
    }

    /// Whether users other than its owner and group may read the secret's file.
    pub fn readable_by_others(&self) -> bool {
        match self {
            Self::File(file) | Self::Xm(file) => files::is_readable_by_others(file),
            Self::Env(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_file_loses_its_last_newline_and_nothing_else() {
        let dir = tempfile::tempdir().expect("dir");
        let file = dir.path().join("password");
        std::fs::write(&file, " pa ss \r\n").expect("write");
        let secret = SecretSource::File(file.clone()).read().expect("secret");
        assert_eq!(secret.expose_secret(), " pa ss ");

        std::fs::write(&file, "\n").expect("write");
        let error = SecretSource::File(file.clone()).read().expect_err("empty");
        assert!(error.to_string().ends_with("password is empty"), "{error}");

        std::fs::remove_file(&file).expect("remove");
        assert!(matches!(SecretSource::File(file).read(), Err(SecretError::File { .. })));
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let error = SecretSource::Env("XENGATE_NO_SUCH_VARIABLE".to_owned()).read();
        assert!(error.expect_err("unset").to_string().contains("XENGATE_NO_SUCH_VARIABLE"));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_open_to_all_is_noticed() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().expect("file");
        let source = SecretSource::File(file.path().to_owned());
        let mode = |mode| std::fs::Permissions::from_mode(mode);
        file.as_file().set_permissions(mode(0o640)).expect("chmod");
        assert!(!source.readable_by_others());
        file.as_file().set_permissions(mode(0o644)).expect("chmod");
        assert!(source.readable_by_others());
    }
}
