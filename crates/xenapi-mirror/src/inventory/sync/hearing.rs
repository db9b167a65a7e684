//! How long changes are waited for.
//!
//! An answer may be late because nothing has happened, because it is long, or because the
//! connection leads nowhere any more. Which of these it is shows in what else the backend answers.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::inventory::mirror::Mirror;

/// How long one `event.from` waits for something to happen.
pub(super) const EVENT_TIMEOUT: Duration = Duration::from_secs(10);
/// How much later than that its answer may begin before the mirror no longer counts as live.
const GRACE: Duration = Duration::from_secs(5);
/// How long it waits when all that is to be found out is whether the backend is there again.
pub(super) const GLANCE: Duration = Duration::from_millis(100);
/// How much longer than others' questions a glance may take before it is made anew: at first, and
/// at last. One that was too hasty must not be so for ever.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// What is known of how the backend answers.
#[derive(Debug)]
pub(super) struct Hearing {
    /// Whether the last question came to nothing, so that a glance is due.
    unsure: bool,
    patience: Duration,
}

impl Hearing {
    pub(super) fn new() -> Self {
        Self { unsure: false, patience: PATIENCE.0 }
    }

    /// For how long the backend is told to wait for changes.
    pub(super) fn timeout(&self, mirror: &Mirror) -> Duration {
        if self.unsure || mirror.is_cut_off() { GLANCE } else { EVENT_TIMEOUT }
    }

    /// An answer has come.
    pub(super) fn well(&mut self) {
        *self = Self::new();
    }

    /// What is asked for changes; nothing when it is better asked anew. An answer of which a part
    /// has `begun` to come is waited for.
    pub(super) async fn changes<T>(
        &mut self,
        mirror: &Mirror,
        contact: Option<Instant>,
        begun: &AtomicBool,
        mut asking: Pin<Box<impl Future<Output = T>>>,
    ) -> Option<T> {
        if self.unsure || mirror.is_cut_off() {
            let mut answers = mirror.backend.answers();
            let others_heard = async {
                tokio::select! {
                    Ok(()) = answers.changed() => {}
                    () = mirror.doubted.notified() => {}
                }
                sleep(self.patience).await;
            };
            tokio::select! {
                biased;
                answer = &mut asking => return Some(answer),
                () = others_heard => {}
            }
            self.patience = (self.patience * 2).min(PATIENCE.1);
        } else {
            tokio::select! {
                biased;
                answer = &mut asking => return Some(answer),
                () = mirror.doubted.notified() => {}
                () = sleep(EVENT_TIMEOUT + GRACE) => mirror.unheard(contact),
            }
        }
        if begun.load(Ordering::Relaxed) {
            return Some(asking.await);
        }
        self.unsure = true;
        None
    }
}

/// What is asked of the backend. While it takes too long, what is mirrored counts as stale.
pub(super) async fn everything<T>(
    mirror: &Mirror,
    contact: Option<Instant>,
    mut asking: Pin<Box<impl Future<Output = T>>>,
) -> T {
    match timeout(EVENT_TIMEOUT + GRACE, asking.as_mut()).await {
        Ok(answer) => answer,
        Err(_) => {
            mirror.unheard(contact);
            asking.await
        }
    }
}
