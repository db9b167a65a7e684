//! Stand-in.
#![expect(missing_docs, clippy::unused_async, reason = "stand-in")]
use std::sync::Arc;

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
pub struct Failure {
    pub code: String,
    pub params: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("failure")]
    Failure(Failure),
    #[error("down")]
    Down,
}

pub struct Backend;

impl Backend {
    pub async fn login(
        self: &Arc<Self>,
        _username: &str,
        _password: &SecretString,
        _originator: &str,
    ) -> Result<Arc<Session>, CallError> {
        Err(CallError::Down)
    }
    pub async fn check(&self, _session: &Session) -> Result<(), CallError> {
        Err(CallError::Down)
    }
    pub async fn logout(&self, session: &Session) {
        session.ended.cancel();
    }
}

#[derive(Debug, Default)]
pub struct Access {
    pub is_local_superuser: bool,
    pub permissions: Vec<String>,
}

pub struct Session {
    backend: String,
    username: String,
    reference: SecretString,
    pub access: Access,
    ended: CancellationToken,
}

impl Session {
    pub(crate) fn new(
        backend: &str,
        username: &str,
        reference: SecretString,
        access: Access,
    ) -> Self {
        Self {
            backend: backend.to_owned(),
            username: username.to_owned(),
            reference,
            access,
            ended: CancellationToken::new(),
        }
    }
    pub fn ended(&self) -> &CancellationToken {
        &self.ended
    }
    pub fn username(&self) -> &str {
        &self.username
    }
    pub fn backend(&self) -> &str {
        &self.backend
    }
    pub(crate) fn reference(&self) -> &SecretString {
        &self.reference
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("username", &self.username).finish_non_exhaustive()
    }
}
