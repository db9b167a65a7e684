//! Keeps a mirror up to date in the way that its backend allows.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::mirror::{Loss, Mirror};
use super::poll::Poll;
use super::sync::Sync;
use crate::backend::Nature;

/// How often it is tried to find out what a backend is.
const ASK_EVERY: Duration = Duration::from_secs(4);
/// The pause before a mirror whose task has died is started anew.
const PAUSE: Duration = Duration::from_secs(4);

/// Keeps a mirror up to date until `stop`, whatever happens.
pub(super) async fn keep(mirror: Arc<Mirror>, stop: CancellationToken) {
    while let Some(nature) = stop.run_until_cancelled(nature(&mirror)).await {
        let task = match nature {
            Nature::Eventful => tokio::spawn(Sync::new(mirror.clone()).run(stop.clone())),
            Nature::Polled => tokio::spawn(Poll::new(mirror.clone()).run(stop.clone())),
        };
        if let Err(error) = task.await {
            tracing::error!(backend = mirror.name(), %error, "the mirror is started anew");
            mirror.lost(Loss::Nonsense("the mirror had to be started anew".to_owned()), None);
            stop.run_until_cancelled(sleep(PAUSE)).await;
        }
        if stop.is_cancelled() {
            return;
        }
    }
}

/// What sort of backend it is, however long it takes to find out.
async fn nature(mirror: &Mirror) -> Nature {
    loop {
        match mirror.backend.nature().await {
            Ok(nature) => return nature,
            Err(error) => mirror.lost(Loss::of(&error), None),
        }
        // Whoever has logged in has reached it.
        let _ = timeout(ASK_EVERY, mirror.offered.notified()).await;
    }
}
