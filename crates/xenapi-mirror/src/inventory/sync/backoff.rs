//! How long a backend is left alone between attempts.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::failing::{is_lasting, is_silence};
use crate::inventory::mirror::Mirror;
use crate::inventory::standing::Loss;
use xenapi_client::CallError;

/// The pauses between attempts that fail: the first, the longest, the longest while the backend
/// does not answer at all (which costs it nothing), and the one after a failure that the next
/// attempt is sure to meet again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(4));
pub(super) const SILENT_PAUSE: Duration = Duration::from_millis(750);
pub(super) const LONG_PAUSE: Duration = Duration::from_secs(60);
/// How often a backend may refuse a token before it is given up.
const TOKEN_TRIES: u32 = 3;

/// What is known of the attempts that failed.
#[derive(Debug)]
pub(super) struct Backoff {
    pause: Duration,
    /// Whether the last attempt failed because the backend did not answer at all, and whether that
    /// was because it could not even be asked.
    silent: bool,
    unreached: bool,
    /// How often in a row the token was of no use.
    rejected: u32,
    /// When everything was last asked for, and how long to wait before the next time.
    listed: Option<Instant>,
    until_list: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        let (pause, until_list) = (PAUSES.0, Duration::ZERO);
        Self { pause, silent: false, unreached: false, rejected: 0, listed: None, until_list }
    }

    /// An answer has come.
    pub(super) fn well(&mut self) {
        self.pause = PAUSES.0;
        (self.rejected, self.silent, self.unreached) = (0, false, false);
    }

    /// An attempt has failed.
    pub(super) fn failed(&mut self, error: &CallError, loss: &Loss) {
        if is_lasting(error) || matches!(loss, Loss::Unsupported) {
            self.pause = LONG_PAUSE;
        }
        self.silent = is_silence(error);
        self.unreached = matches!(error, CallError::Unreachable(_)) && !error.is_loss();
    }

    /// Notes what following the events failed with; whether the token is still worth a try.
    pub(super) fn may_resume(&mut self, error: &CallError) -> bool {
        let refused = !matches!(error, CallError::Unreachable(_) | CallError::Timeout(_));
        self.rejected = if refused { self.rejected + 1 } else { 0 };
        self.rejected < TOKEN_TRIES
    }

    /// Whether the backend did not answer at all.
    pub(super) fn is_silent(&self) -> bool {
        self.silent
    }

    /// The next attempt is sure to come to the same.
    pub(super) fn pause_long(&mut self) {
        self.pause = LONG_PAUSE;
    }

    /// Whether the next pause is as long as one is after what is sure to happen again.
    pub(super) fn is_long(&self) -> bool {
        self.pause >= LONG_PAUSE
    }

    /// A long pause has passed.
    pub(super) fn paused_long(&mut self) {
        self.pause = PAUSES.1;
    }

    /// Everything may be asked for once more without a pause.
    pub(super) fn list_at_once(&mut self) {
        self.listed = None;
    }

    /// Waits before the next attempt, or until a caller lends a session: then things may look up.
    /// So they may when a backend that was silent answers anybody anything.
    pub(super) async fn pause(&mut self, mirror: &Mirror) {
        let mut answers = mirror.backend.answers();
        let (pause, longest) = match self.silent {
            true => (self.pause.min(SILENT_PAUSE), SILENT_PAUSE),
            false => (self.pause, PAUSES.1),
        };
        let not_before = Instant::now() + pause.min(PAUSES.0);
        tokio::select! {
            () = sleep(pause) => {}
            () = mirror.offered.notified() => {}
            Ok(()) = answers.changed(), if self.silent => sleep_until(not_before).await,
        }
        self.pause = (self.pause * 2).min(longest);
    }

    /// Everything is a lot: whatever goes wrong, it is not asked for again and again. To a backend
    /// that never got the question it has cost nothing.
    pub(super) async fn before_everything(&mut self, mirror: &Mirror) {
        let mut answers = mirror.backend.answers();
        match self.listed {
            _ if self.unreached => self.until_list = PAUSES.0,
            Some(then) if then.elapsed() < LONG_PAUSE => {
                tokio::select! {
                    () = sleep(self.until_list) => {}
                    Ok(()) = answers.changed(), if self.silent => {}
                }
                self.until_list = (self.until_list * 2).clamp(PAUSES.0, LONG_PAUSE);
            }
            _ => self.until_list = PAUSES.0,
        }
        self.listed = Some(Instant::now());
    }
}
