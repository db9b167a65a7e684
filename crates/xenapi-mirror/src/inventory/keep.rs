//! Keeps a mirror up to date in the way that its backend allows.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::mirror::Mirror;
use super::poll::Poll;
use super::standing::Loss;
use super::sync::Sync;
use xenapi_client::{CallError, UpdateMode};

/// How often it is tried to find out what a backend is: where nothing listens, and where something
/// does.
const ASK_SOON: Duration = Duration::from_millis(750);
const ASK_EVERY: Duration = Duration::from_secs(4);
/// How seldom it is tried at last, where a backend has said nothing and is taken for XAPI.
const ASK_AT_LEAST_EVERY: Duration = Duration::from_secs(60);
/// The pause before a mirror whose task has died is started anew.
const PAUSE: Duration = Duration::from_secs(4);

/// Keeps a mirror up to date until `stop`, whatever happens.
pub(super) async fn keep(mirror: Arc<Mirror>, stop: CancellationToken) {
    while let Some(mode) = stop.run_until_cancelled(update_mode(&mirror)).await {
        let own_stop = stop.child_token();
        let mut task = match mode {
            UpdateMode::Events => tokio::spawn(Sync::new(mirror.clone()).run(own_stop.clone())),
            UpdateMode::Polling => tokio::spawn(Poll::new(mirror.clone()).run(own_stop.clone())),
        };
        let ended = tokio::select! {
            ended = &mut task => ended,
            () = turns_out_otherwise(&mirror, mode) => {
                own_stop.cancel();
                task.await
            }
        };
        if let Err(error) = ended {
            tracing::error!(backend = mirror.name(), %error, "the mirror is started anew");
            mirror.lost(Loss::Nonsense("the mirror had to be started anew".to_owned()), None);
            stop.run_until_cancelled(sleep(PAUSE)).await;
        }
        if stop.is_cancelled() {
            return;
        }
    }
}

/// How the mirror is to be kept up to date, however long it takes to find out.
async fn update_mode(mirror: &Mirror) -> UpdateMode {
    let mut pause;
    loop {
        match mirror.backend.update_mode().await {
            Ok(mode) => return mode,
            Err(error) => {
                pause =
                    if matches!(error, CallError::Unreachable(_)) { ASK_SOON } else { ASK_EVERY };
                mirror.lost(Loss::of(&error), None);
            }
        }
        // Whoever has logged in has reached it, and so has whoever was told anything.
        let mut answers = mirror.backend.answers();
        tokio::select! {
            () = sleep(pause) => {}
            () = mirror.offered.notified() => {}
            Ok(()) = answers.changed() => {}
        }
    }
}

/// Waits until it is known that the mirror is to be kept otherwise than it was taken for; for ever
/// if it is not.
async fn turns_out_otherwise(mirror: &Mirror, taken_for: UpdateMode) {
    let mut pause = ASK_EVERY;
    loop {
        match mirror.backend.known_update_mode() {
            Some(known) if known == taken_for => std::future::pending().await,
            Some(_) => return,
            None => {}
        }
        sleep(pause).await;
        pause = (pause * 2).min(ASK_AT_LEAST_EVERY);
        mirror.backend.ask_again().await;
    }
}
