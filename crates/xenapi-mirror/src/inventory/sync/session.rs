//! In whose session the events are followed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::Sync;
use super::backoff::{LONG_PAUSE, SILENT_PAUSE};
use crate::inventory::mirror::ServiceAccount;
use crate::inventory::standing::{Loss, ends_session};
use xenapi_client::Session;

/// How often a backend is asked whether it is there while nobody lends a session.
const PROBE_EVERY: Duration = Duration::from_secs(4);
/// How long a mirror outlives its last caller.
const IDLE_LIFE: Duration = Duration::from_secs(300);
/// Under which name the mirror's own sessions are known to the backend.
const ORIGINATOR: &str = "xengate-sync";

impl Sync {
    /// Waits for a session to work on.
    pub(super) async fn session(&mut self) -> Arc<Session> {
        match self.mirror.service.clone() {
            Some(account) => self.own_session(&account).await,
            None => self.borrowed_session().await,
        }
    }

    async fn own_session(&mut self, account: &ServiceAccount) -> Arc<Session> {
        let backend = self.mirror.backend.clone();
        loop {
            if let Some(own) = &self.own {
                match backend.check(own).await {
                    Ok(()) => return own.clone(),
                    // Perhaps another host has become the coordinator: a login tells.
                    Err(error) if ends_session(&error) || error.is_about_the_host() => {
                        self.own = None;
                        self.mirror.set_account_session(None);
                    }
                    Err(error) => {
                        self.lost(&error, Loss::of(&error));
                        self.backoff.pause(&self.mirror).await;
                        continue;
                    }
                }
            }
            match account.password.read() {
                Ok(password) => match backend.login(&account.username, &password, ORIGINATOR).await
                {
                    Ok(session) => {
                        self.mirror.set_account_session(Some(session.clone()));
                        return self.own.insert(session).clone();
                    }
                    Err(error) => self.lost(&error, Loss::of(&error)),
                },
                Err(error) => {
                    let reason = format!("service account: {error}");
                    self.mirror.lost(Loss::Refused(reason), self.contact);
                    self.backoff.pause_long();
                }
            }
            // Callers can lend what the account does not get.
            if let Some(session) = self.mirror.borrow_session() {
                return session;
            }
            if self.backoff.is_long() {
                self.wait_refused().await;
            } else {
                self.backoff.pause(&self.mirror).await;
            }
        }
    }

    /// Waits for long before the account is tried again. Meanwhile it shows whether the backend is
    /// there at all, which the account does not.
    async fn wait_refused(&mut self) {
        let reason = self.mirror.status().reason.unwrap_or_default();
        let until = Instant::now() + LONG_PAUSE;
        loop {
            match self.mirror.backend.probe().await {
                Ok(()) => self.mirror.lost(Loss::Refused(reason.clone()), self.contact),
                Err(error) => self.lost(&error, Loss::of(&error)),
            }
            let wait = PROBE_EVERY.min(until.saturating_duration_since(Instant::now()));
            let offered = timeout(wait, self.mirror.offered.notified()).await.is_ok();
            if offered || Instant::now() >= until {
                break;
            }
        }
        self.backoff.paused_long();
    }

    async fn borrowed_session(&mut self) -> Arc<Session> {
        let since = Instant::now();
        loop {
            if let Some(session) = self.mirror.borrow_session() {
                break session;
            }
            if since.elapsed() >= IDLE_LIFE {
                self.mirror.forget();
            }
            let wait = match self.mirror.backend.probe().await {
                Ok(()) => {
                    self.mirror.lost(Loss::NoSession, self.contact);
                    PROBE_EVERY
                }
                Err(error) => {
                    self.lost(&error, Loss::of(&error));
                    if self.backoff.is_silent() { SILENT_PAUSE } else { PROBE_EVERY }
                }
            };
            let _ = timeout(wait, self.mirror.offered.notified()).await;
        }
    }
}
