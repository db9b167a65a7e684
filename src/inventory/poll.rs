//! The task that keeps the mirror of a backend up to date that has to be asked.
//!
//! One poll serves every reader. A poll can cost the backend seconds, so never more than a tenth of
//! the time is spent on polls, never are there two at a time, and while nobody asks there are none.
//! What changes by itself (VMs and their metrics) is read every time; the rest only now and then,
//! or when a VM has come to have other devices. What somebody has just changed through the gateway
//! is read again by itself, and a poll that began before that does not undo it.

use std::sync::Arc;
use std::time::Duration;

use foldhash::{HashMap, HashSet};
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::demand::Reread;
use super::draft::{Draft, is_mirrored};
use super::encode::Encoder;
use super::mirror::Mirror;
use super::standing::Loss;
use super::store::Snapshot;
use crate::backend::{Access, CallError, Found, Pace, Records, Session};
use crate::config::PasswordCheck;
use crate::datamodel::datamodel;

/// The least time between the end of a poll and the next one.
const LEAST_PAUSE: Duration = Duration::from_secs(2);
/// How many times as long as a poll took the pause after it is at least.
const SHARE: u32 = 9;
/// How often what hardly ever changes is read.
const SLOW_EVERY: Duration = Duration::from_secs(30);
/// A poll that has taken longer than this is shown before the rest is read.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a backend is asked whether it is there while nobody reads.
const PROBE_EVERY: Duration = Duration::from_secs(15);
/// The pause after a poll that failed.
const PAUSE: Duration = Duration::from_secs(4);
/// How long a mirror outlives its last reader.
const IDLE_LIFE: Duration = Duration::from_secs(300);
/// How long reading one record again may take.
const REREAD_WITHIN: Duration = Duration::from_secs(10);
/// Under which name the mirror's own session is known.
const ORIGINATOR: &str = "xengate-sync";

/// What a poll brought.
type Polled = Result<Records, CallError>;
type Polling = BoxFuture<'static, Ended>;
type Rereading = BoxFuture<'static, (Reread, Result<Vec<Found>, CallError>)>;
type Probing = BoxFuture<'static, Result<(), CallError>>;

/// How a poll has ended.
enum Ended {
    /// There was no session for it.
    Lost(Loss),
    /// It was made in this session.
    Polled(Pace, Reader, Polled),
}

/// A session to read in.
enum Reader {
    /// The gateway's own.
    Own(Arc<Session>),
    /// A caller lends it.
    Borrowed(Arc<Session>),
}

pub(super) struct Poll {
    mirror: Arc<Mirror>,
    encoder: Option<Encoder>,
    own: Option<Arc<Session>>,
    /// When the current poll began, and which objects have been read again since.
    began: Instant,
    reread: HashSet<String>,
    /// When the next poll is due, and when the next one of everything.
    due: Instant,
    slow_due: Instant,
    /// The backend last answered.
    contact: Option<Instant>,
    /// When somebody last read.
    wanted: Instant,
    complained: Option<Instant>,
}

impl Poll {
    pub(super) fn new(mirror: Arc<Mirror>) -> Self {
        let now = Instant::now();
        Self {
            encoder: Some(Encoder::in_utc(mirror.name())),
            mirror,
            own: None,
            began: now,
            reread: HashSet::default(),
            due: now,
            slow_due: now,
            contact: None,
            wanted: now,
            complained: None,
        }
    }

    /// Polls until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mirror = self.mirror.clone();
        let Some(mut inbox) = stop.run_until_cancelled(mirror.demand.inbox()).await else { return };
        stop.run_until_cancelled(Box::pin(self.work(&mut inbox))).await;
        if let Some(own) = &self.own {
            self.mirror.backend.logout(own).await;
        }
        self.mirror.backend.leave().await;
    }

    async fn work(&mut self, inbox: &mut mpsc::Receiver<Reread>) {
        let mut polling: Option<Polling> = None;
        let mut rereading: FuturesUnordered<Rereading> = FuturesUnordered::new();
        let mut probing: Option<Probing> = None;
        let mut probe_at = Instant::now();
        loop {
            let wanted = self.mirror.is_wanted();
            if wanted {
                self.wanted = Instant::now();
            } else if polling.is_none() {
                self.mirror.demand.sleep();
                // Whoever asked in between has woken nobody.
                if self.mirror.is_wanted() {
                    continue;
                }
                if self.wanted.elapsed() >= IDLE_LIFE {
                    self.mirror.forget();
                }
            }
            let idle = polling.is_none();
            let next = match (idle, wanted) {
                (true, true) => self.due,
                // A look at the clock, and at the backend.
                _ => probe_at,
            };
            tokio::select! {
                Some(ended) = OptionFuture(&mut polling) => {
                    polling = match ended {
                        Ended::Lost(loss) => {
                            self.lost(loss);
                            None
                        }
                        Ended::Polled(pace, reader, polled) => {
                            if let Reader::Own(session) = reader {
                                self.own = Some(session);
                            }
                            self.after(pace, polled).await
                        }
                    };
                }
                Some(probed) = OptionFuture(&mut probing) => self.probed(probed),
                Some((reread, polled)) = rereading.next(), if !rereading.is_empty() => {
                    self.after_reread(reread, polled).await;
                }
                Some(reread) = inbox.recv() => rereading.push(self.read_again(reread)),
                () = self.mirror.demand.wake.notified(), if idle => {}
                () = sleep_until(next), if idle => {
                    // It may have been a long sleep.
                    if self.mirror.is_wanted() {
                        polling = Some(self.begin());
                    } else {
                        let backend = self.mirror.backend.clone();
                        probing = Some(async move { backend.probe().await }.boxed());
                        probe_at = Instant::now() + PROBE_EVERY;
                    }
                }
            }
        }
    }

    /// Begins a poll.
    fn begin(&mut self) -> Polling {
        self.began = Instant::now();
        self.reread.clear();
        self.poll(Pace::Quick)
    }

    fn poll(&self, pace: Pace) -> Polling {
        let (mirror, own) = (self.mirror.clone(), self.own.clone());
        async move {
            let reader = match reader(&mirror, own).await {
                Ok(reader) => reader,
                Err(loss) => return Ended::Lost(loss),
            };
            mirror.syncing();
            let (Reader::Own(session) | Reader::Borrowed(session)) = &reader;
            let polled = mirror.backend.records(session, pace).await;
            Ended::Polled(pace, reader, polled)
        }
        .boxed()
    }

    /// Takes what a poll brought, and says what is to be read next, if anything.
    async fn after(&mut self, pace: Pace, polled: Polled) -> Option<Polling> {
        let Records { found, classes } = match polled {
            Ok(records) => records,
            Err(error) => {
                self.failed(&error);
                return None;
            }
        };
        self.contact = Some(Instant::now());
        let everything = pace == Pace::Quick && self.slow_due <= Instant::now();
        let at = self.began;
        let devices = self.apply(found, classes, at).await;
        let again = pace == Pace::Quick && (everything || devices);
        if again {
            // Whoever waits sees what there is rather than wait for the rest, if that takes long.
            if self.began.elapsed() > PATIENCE {
                self.mirror.demand.polled();
            }
            self.slow_due = Instant::now() + SLOW_EVERY;
            return Some(self.poll(Pace::Slow));
        }
        self.due = Instant::now() + pause_after(self.began.elapsed());
        self.mirror.demand.polled();
        None
    }

    /// Shows the readers what was found. Whether a VM has devices that are not known yet.
    async fn apply(&mut self, found: Vec<Found>, classes: Vec<&'static str>, at: Instant) -> bool {
        let Some(mut encoder) = self.encoder.take() else { return false };
        let (mirror, reread, now) = (self.mirror.clone(), self.reread.clone(), Instant::now());
        let old = mirror.reading().map(|reading| reading.snapshot.clone());
        let work = move || {
            if classes.contains(&"VM_metrics") {
                mirror.usages.take(&found, now, true);
            }
            let old = old.unwrap_or_else(|| Arc::new(Snapshot::empty()));
            let finished = mirror.with_refs(|refs| {
                let mut draft = Draft::from(Snapshot::clone(&old));
                let mut known: HashMap<&str, HashSet<&str>> = HashMap::default();
                for object in &found {
                    known.entry(object.class).or_default().insert(&object.reference);
                    // What has been read since the poll began is newer, and so is what is gone.
                    // An object that vanished while it was asked for may yet be there.
                    if object.record.is_some() && !reread.contains(&object.reference) {
                        draft.take_found(object, &mut encoder, refs);
                    }
                }
                for class in classes {
                    let Some(class) = datamodel().class(class).filter(|class| is_mirrored(class))
                    else {
                        continue;
                    };
                    let mut known = known.remove(class.name.as_str()).unwrap_or_default();
                    known.extend(reread.iter().map(String::as_str));
                    draft.keep_only(class, &known, refs);
                }
                draft.settle(&mut encoder, refs);
                draft.finish()
            });
            let vanished: Vec<Found> =
                found.into_iter().filter(|object| object.record.is_none()).collect();
            (finished, encoder, vanished)
        };
        let Ok((finished, encoder, vanished)) = tokio::task::spawn_blocking(work).await else {
            self.encoder = Some(Encoder::in_utc(self.mirror.name()));
            tracing::error!(backend = self.mirror.name(), "what a poll brought was not taken in");
            let why = "what the backend answered could not be taken in".to_owned();
            self.mirror.lost(Loss::Nonsense(why), self.contact);
            return false;
        };
        self.encoder = Some(encoder);
        self.complain(finished.unreadable);
        let devices = finished.changes.iter().any(|change| {
            change.after.as_ref().is_some_and(|object| object.class().name == "VM")
                && change.before.as_ref().is_none_or(|before| {
                    change.after.as_ref().is_some_and(|after| before.sources != after.sources)
                })
        });
        self.mirror.publish_polled(finished, at);
        for object in vanished {
            // Whether it has really gone, one question tells.
            self.mirror.demand.reread_later(object.class, &object.reference);
        }
        devices
    }

    /// Reads one object again.
    fn read_again(&mut self, reread: Reread) -> Rereading {
        let mirror = self.mirror.clone();
        let session = self.own.clone().or_else(|| mirror.borrow_session());
        async move {
            let Some(session) = session else { return (reread, Ok(Vec::new())) };
            let asked = mirror.backend.record(&session, reread.class, &reread.reference);
            let polled = match timeout(REREAD_WITHIN, asked).await {
                Ok(polled) => polled,
                Err(_) => Ok(Vec::new()),
            };
            (reread, polled)
        }
        .boxed()
    }

    async fn after_reread(&mut self, reread: Reread, read: Result<Vec<Found>, CallError>) {
        let found = match read {
            Ok(found) if !found.is_empty() => found,
            Ok(_) => return,
            Err(error) => {
                tracing::debug!(backend = self.mirror.name(), %error, "a record was not read again");
                return;
            }
        };
        // Readers who have nothing yet get it all at once.
        let Some(reading) = self.mirror.reading() else { return };
        let Some(mut encoder) = self.encoder.take() else { return };
        self.mirror.usages.take(&found, Instant::now(), false);
        let finished = self.mirror.with_refs(|refs| {
            let mut draft = Draft::from(Snapshot::clone(&reading.snapshot));
            for object in &found {
                draft.take_found(object, &mut encoder, refs);
            }
            draft.settle(&mut encoder, refs);
            draft.finish()
        });
        self.encoder = Some(encoder);
        self.complain(finished.unreadable);
        self.reread.extend(found.into_iter().map(|object| object.reference));
        self.mirror.publish_part(finished, &reading);
        // Nobody may wait for it any more.
        let _ = reread.done.send(());
    }

    /// Takes note of whether the backend is there, while nobody reads.
    fn probed(&mut self, probed: Result<(), CallError>) {
        match probed {
            // Whoever reads now will know more.
            _ if self.mirror.is_wanted() => {}
            // What there is may be old, which its age tells, and not stale.
            Ok(()) => self.mirror.at_rest(),
            Err(error) => self.mirror.lost(Loss::of(&error), self.contact),
        }
    }

    fn failed(&mut self, error: &CallError) {
        if let Some(own) = self.own.take_if(|own| own.ended().is_cancelled()) {
            tracing::debug!(backend = own.backend(), "the mirror's session has ended");
        }
        self.mirror.rotate_sessions();
        self.lost(Loss::of(error));
    }

    fn lost(&mut self, loss: Loss) {
        self.mirror.lost(loss, self.contact);
        self.due = Instant::now() + pause_after_failure(self.began.elapsed());
        self.mirror.demand.polled();
    }

    fn complain(&mut self, unreadable: u64) {
        let lately = self.complained.is_some_and(|then| then.elapsed() < Duration::from_secs(60));
        if unreadable > 0 && !lately {
            self.complained = Some(Instant::now());
            let backend = self.mirror.name();
            tracing::warn!(backend, count = unreadable, "records that could not be read");
        }
    }
}

/// A session to read in: the gateway's own, or one that a caller lends.
async fn reader(mirror: &Mirror, own: Option<Arc<Session>>) -> Result<Reader, Loss> {
    let backend = &mirror.backend;
    if let Some(own) = own.filter(|own| !own.ended().is_cancelled()) {
        return Ok(Reader::Own(own));
    }
    let everything = Access { is_local_superuser: true, ..Access::default() };
    let borrowed = || mirror.borrow_session().map(Reader::Borrowed);
    let opened = match (backend.password_check().await, &mirror.service) {
        (Err(error), _) => Err(error),
        (Ok(PasswordCheck::Users), _) => backend.admit(ORIGINATOR, everything, ORIGINATOR).await,
        (Ok(PasswordCheck::Backend), Some(account)) => match account.password.read() {
            Ok(password) => backend.login(&account.username, &password, ORIGINATOR).await,
            Err(error) => return Err(Loss::Refused(format!("service account: {error}"))),
        },
        (Ok(PasswordCheck::Backend), None) => return borrowed().ok_or(Loss::NoSession),
    };
    match opened {
        Ok(session) => Ok(Reader::Own(session)),
        Err(error) => borrowed().ok_or_else(|| Loss::of(&error)),
    }
}

/// How long a backend is left alone that has taken so long to answer.
fn pause_after(took: Duration) -> Duration {
    took.saturating_mul(SHARE).max(LEAST_PAUSE)
}

/// The same after a poll that came to nothing: one that was given up may still be at work.
fn pause_after_failure(took: Duration) -> Duration {
    took.saturating_mul(SHARE).max(PAUSE)
}

/// A future that may not be there; then it never ends.
struct OptionFuture<'a, T>(&'a mut Option<BoxFuture<'static, T>>);

impl<T> Future for OptionFuture<'_, T> {
    type Output = Option<T>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        match &mut *self.0 {
            Some(future) => {
                let output = std::task::ready!(future.as_mut().poll(cx));
                *self.0 = None;
                std::task::Poll::Ready(Some(output))
            }
            None => std::task::Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests;
