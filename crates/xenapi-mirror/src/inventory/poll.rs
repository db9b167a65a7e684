//! The task that keeps the mirror of a backend up to date that has to be asked.
//!
//! One poll serves every reader. A poll can cost the backend seconds, so a tenth of the time is
//! spent on polls, more only where objects would be too old else, and while nobody asks there are
//! none. What changes by itself (VMs and their metrics) is read again and again. Of the rest each
//! class is read by itself, one at a time, in the pauses, now and then or when a VM has come to have
//! other devices, and only while somebody wants it. What somebody has just changed through the
//! gateway is read again by itself, and a poll that began before that does not undo it.

mod reader;
mod schedule;
mod take;

use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::apart::TOO_OLD;
use super::demand::{FIRST_POLL_WITHIN, Reread};
use super::encode::Encoder;
use super::mirror::Mirror;
use super::refs::RefIndex;
use super::standing::{Loss, MirrorState};
use reader::{OptionFuture, Reader, reader};
use schedule::Schedule;
use xenapi_client::{CallError, Found, Pace, Records, Session};
use xenapi_model::datamodel;

/// The least and the longest time between the end of a poll and the next one.
const PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));
/// How many times as long as a poll took the pause after it is at least.
const SHARE: u32 = 9;
/// How often a backend is asked whether it is there while nobody reads.
const PROBE_EVERY: Duration = Duration::from_secs(15);
/// The shortest and the longest pause after a poll that failed.
const FAILED: (Duration, Duration) = (Duration::from_secs(4), Duration::from_secs(30));
/// How soon a backend is polled again that has answered somebody else.
const BACK: Duration = Duration::from_secs(1);
/// How long a poll may take before the backend counts as one that does not answer: at least so
/// long, and so many times what the one before took.
const PATIENCE: Duration = Duration::from_secs(15);
const MUCH_LONGER: u32 = 10;
/// The same after one that was given up because the backend had answered others: at first, and at
/// most, as long as it has not been too often.
const AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));
const TOO_OFTEN: u32 = 8;
/// How long nobody gives up on a poll.
const LONGEST: Duration = Duration::from_secs(120);
/// How long a mirror outlives its last reader.
const IDLE_LIFE: Duration = Duration::from_secs(300);
/// How long reading one record again may take.
const REREAD_WITHIN: Duration = Duration::from_secs(10);
/// How long it is remembered what was read again: longer than any poll takes.
const REREAD_KEPT: Duration = Duration::from_secs(600);
/// The classes of what belongs to a VM.
const DEVICES: [&str; 6] = ["VBD", "VIF", "console", "VBD_metrics", "VIF_metrics", "VDI"];
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
    Polled(Reader, Polled),
}

/// What the backend is being asked.
#[derive(Default)]
struct Asking {
    quick: Option<Polling>,
    apart: Option<Polling>,
    probe: Option<Probing>,
}

/// A class that is being read apart: its place in the schedule, and since when.
#[derive(Clone, Copy)]
struct Apart {
    place: usize,
    began: Instant,
}

pub(super) struct Poll {
    mirror: Arc<Mirror>,
    encoder: Option<Encoder>,
    own: Option<Arc<Session>>,
    /// When the current poll began, and when the next one is due.
    began: Instant,
    due: Instant,
    /// How long the current one is waited for before the backend counts as silent.
    patience: Duration,
    is_silent: bool,
    /// How long the last one took that came to an end, and how many were given up since.
    took: Option<Duration>,
    given_up: u32,
    /// Tells of answers of the backend since it last failed to, or began to be silent.
    failing: Option<watch::Receiver<u64>>,
    schedule: Schedule,
    apart: Option<Apart>,
    /// Which objects have been read again, and when.
    reread: HashMap<String, Instant>,
    /// The backend last answered.
    contact: Option<Instant>,
    /// When somebody last read, and since when somebody has.
    wanted: Instant,
    awake: Option<Instant>,
    probe_due: Instant,
    complained: Option<Instant>,
}

impl Poll {
    pub(super) fn new(mirror: Arc<Mirror>) -> Self {
        let now = Instant::now();
        mirror.with_refs(|refs| *refs = RefIndex::new(true));
        Self {
            encoder: Some(Encoder::in_utc(mirror.name())),
            schedule: Schedule::new(mirror.backend.polls(Pace::Slow)),
            mirror,
            own: None,
            began: now,
            due: now,
            patience: LONGEST,
            is_silent: false,
            took: None,
            given_up: 0,
            failing: None,
            apart: None,
            reread: HashMap::default(),
            contact: None,
            wanted: now,
            awake: None,
            probe_due: now,
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
        let mut asking = Asking::default();
        let mut rereading: FuturesUnordered<Rereading> = FuturesUnordered::new();
        loop {
            let alarm = self.begin_what_is_due(&mut asking);
            tokio::select! {
                Some(ended) = OptionFuture(&mut asking.quick) => {
                    if let Some(polled) = self.polled(ended) {
                        self.after(polled).await;
                    }
                }
                Some(ended) = OptionFuture(&mut asking.apart) => self.after_apart(ended).await,
                Some(probed) = OptionFuture(&mut asking.probe) => self.probed(probed),
                Some((reread, polled)) = rereading.next(), if !rereading.is_empty() => {
                    self.after_reread(reread, polled).await;
                }
                Some(reread) = inbox.recv() => rereading.push(self.read_again(reread)),
                () = answered(&mut self.failing) => self.is_back(&mut asking),
                () = self.mirror.demand.wake.notified() => {}
                () = sleep_until(alarm) => {}
            }
        }
    }

    /// Begins what it is time for; when to look again.
    fn begin_what_is_due(&mut self, asking: &mut Asking) -> Instant {
        let now = Instant::now();
        let wanted = self.is_wanted(asking.quick.is_none());
        let mut alarm = now + PROBE_EVERY;
        if asking.quick.is_some() {
            let silent = self.began + self.patience;
            if !self.is_silent && silent <= now {
                self.is_silent = true;
                self.mirror.unheard(self.contact);
                self.failing = Some(self.mirror.backend.answers());
            }
            if !self.is_silent {
                alarm = alarm.min(silent);
            }
        } else if wanted && self.due <= now {
            asking.quick = Some(self.begin());
            return now + PATIENCE;
        } else if wanted {
            alarm = alarm.min(self.due);
            if asking.apart.is_none() && self.mirror.reading().is_some() {
                let wants = |class| self.mirror.demand.wants(class);
                match self.schedule.next(wants) {
                    Some((place, at)) if at <= now => {
                        asking.apart = Some(self.begin_apart(place));
                    }
                    Some((_, at)) => alarm = alarm.min(at),
                    None => {}
                }
            }
        } else if asking.probe.is_none() && self.probe_due <= now {
            let backend = self.mirror.backend.clone();
            asking.probe = Some(async move { backend.probe().await }.boxed());
            self.probe_due = now + PROBE_EVERY;
        } else {
            alarm = alarm.min(self.probe_due.max(now + Duration::from_millis(1)));
        }
        if let Some(old) = self.grows_old() {
            match old <= now {
                true => {
                    let age = humantime::format_duration(TOO_OLD);
                    let reason = format!("what is shown was asked for more than {age} ago");
                    self.mirror.lost(Loss::Refused(reason), self.contact);
                }
                false => alarm = alarm.min(old),
            }
        }
        alarm
    }

    /// Whether somebody wants to read; if not, the backend is left alone.
    fn is_wanted(&mut self, is_idle: bool) -> bool {
        if self.mirror.is_wanted() {
            self.wanted = Instant::now();
            self.awake.get_or_insert(self.wanted);
            return true;
        }
        if is_idle {
            self.mirror.demand.sleep();
            // Whoever asked in between has woken nobody.
            if self.mirror.is_wanted() {
                return true;
            }
            self.awake = None;
            if self.wanted.elapsed() >= IDLE_LIFE {
                self.mirror.forget();
                self.schedule.forget();
            }
        }
        false
    }

    /// When what readers see will be too old, if it is not called so already.
    fn grows_old(&self) -> Option<Instant> {
        let awake = self.awake?;
        let as_of = self.mirror.reading().filter(|reading| reading.stale_since.is_none())?.as_of?;
        let is_live = self.mirror.status().state == MirrorState::Live;
        is_live.then(|| (as_of + TOO_OLD).max(awake + FIRST_POLL_WITHIN * 2))
    }

    /// Begins a poll.
    fn begin(&mut self) -> Polling {
        (self.began, self.is_silent) = (Instant::now(), false);
        self.patience = patience(self.took, self.given_up);
        self.reread.retain(|_, at| at.elapsed() < REREAD_KEPT);
        let quick = self.mirror.backend.polls(Pace::Quick);
        self.poll(Pace::Quick, quick.first().copied().unwrap_or_default())
    }

    /// Begins to read what is read apart.
    fn begin_apart(&mut self, place: usize) -> Polling {
        self.apart = Some(Apart { place, began: Instant::now() });
        self.poll(Pace::Slow, self.schedule.unit(place).0)
    }

    fn poll(&self, pace: Pace, classes: &'static [&'static str]) -> Polling {
        let (mirror, own) = (self.mirror.clone(), self.own.clone());
        async move {
            let reader = match reader(&mirror, own).await {
                Ok(reader) => reader,
                Err(loss) => return Ended::Lost(loss),
            };
            mirror.syncing();
            let (Reader::Own(session) | Reader::Borrowed(session)) = &reader;
            let polled = mirror.backend.records(session, pace, classes).await;
            Ended::Polled(reader, polled)
        }
        .boxed()
    }

    /// What a poll brought, unless there was none.
    fn polled(&mut self, ended: Ended) -> Option<Polled> {
        match ended {
            Ended::Lost(loss) => {
                self.lost(loss);
                None
            }
            Ended::Polled(reader, polled) => {
                if let Reader::Own(session) = reader {
                    self.own = Some(session);
                }
                Some(polled)
            }
        }
    }

    /// Takes what a poll brought.
    async fn after(&mut self, polled: Polled) {
        let Records { found, classes } = match polled {
            Ok(records) => records,
            Err(error) => return self.failed(&error),
        };
        self.contact = Some(Instant::now());
        self.failing = None;
        let at = self.began;
        let publish = move |mirror: &Mirror, finished| mirror.publish_polled(finished, at);
        if self.apply(found, classes, at, publish).await {
            self.schedule.hurry(&DEVICES);
        }
        let took = self.began.elapsed();
        self.due = Instant::now() + pause_after(took);
        (self.took, self.given_up) = (Some(took), 0);
        self.mirror.demand.polled();
    }

    /// Takes what was read apart.
    async fn after_apart(&mut self, ended: Ended) {
        let Some(Apart { place, began }) = self.apart.take() else { return };
        let polled = match ended {
            Ended::Lost(_) => None,
            Ended::Polled(Reader::Own(session), polled) => {
                self.own = Some(session);
                Some(polled)
            }
            Ended::Polled(Reader::Borrowed(_), polled) => Some(polled),
        };
        match (polled, self.mirror.reading()) {
            (Some(Ok(Records { found, classes })), Some(before)) => {
                let mut asked = self.schedule.unit(place).1.to_vec();
                // One that the backend fails to tell of is as old as it was, or empty.
                let is_read = |class: &_| classes.contains(&&*datamodel().get(*class).name);
                asked.retain(|class| is_read(class) || !before.apart.contains_key(class));
                self.apply(found, classes, began, move |mirror, finished| {
                    // What is shown beside may be newer than it was.
                    if let Some(before) = mirror.reading() {
                        mirror.publish_apart(finished, &before, asked, began);
                    }
                })
                .await;
                self.schedule.read(place, began.elapsed());
            }
            (polled, _) => {
                if let Some(Err(error)) = polled {
                    let (backend, classes) = (self.mirror.name(), self.schedule.unit(place).0);
                    tracing::debug!(backend, ?classes, %error, "classes could not be read");
                    self.drop_dead_session();
                }
                self.schedule.failed(place, began.elapsed());
            }
        }
        self.mirror.demand.polled();
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
        self.drop_dead_session();
        self.mirror.rotate_sessions();
        // One that has answered is there already.
        let is_silent = !matches!(error, CallError::Failure(_) | CallError::Misconfigured(_));
        self.failing = is_silent.then(|| self.mirror.backend.answers());
        self.lost(Loss::of(error));
    }

    fn drop_dead_session(&mut self) {
        if let Some(own) = self.own.take_if(|own| own.ended().is_cancelled()) {
            tracing::debug!(backend = own.backend(), "the mirror's session has ended");
        }
    }

    fn lost(&mut self, loss: Loss) {
        self.mirror.lost(loss, self.contact);
        self.due = Instant::now() + pause_after_failure(self.began.elapsed());
        self.mirror.demand.polled();
    }

    /// The backend has answered somebody. A poll that it was silent to is not waited for any longer.
    fn is_back(&mut self, asking: &mut Asking) {
        let soon = Instant::now() + BACK;
        if asking.quick.is_none() {
            self.failing = None;
            self.due = self.due.min(soon);
        } else if self.is_silent {
            asking.quick = None;
            self.failing = None;
            self.due = soon;
            self.given_up += 1;
        }
    }
}

/// Returns once the backend has answered somebody, if that is waited for.
async fn answered(failing: &mut Option<watch::Receiver<u64>>) {
    if let Some(answers) = failing
        && answers.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// How long a backend is left alone that has taken so long to answer.
fn pause_after(took: Duration) -> Duration {
    took.saturating_mul(SHARE).clamp(PAUSES.0, PAUSES.1)
}

/// The same after a poll that came to nothing: one that was given up may still be at work.
fn pause_after_failure(took: Duration) -> Duration {
    took.saturating_mul(SHARE).clamp(FAILED.0, FAILED.1)
}

/// How long a poll may take before the backend counts as silent.
fn patience(took: Option<Duration>, given_up: u32) -> Duration {
    let Some(took) = took.filter(|_| given_up <= TOO_OFTEN) else { return LONGEST };
    let usual = took.saturating_mul(MUCH_LONGER);
    match given_up {
        0 => usual.clamp(PATIENCE, LONGEST),
        // It may only have become slow.
        times => (AGAIN.0 * (1 << (times - 1))).min(AGAIN.1).max(usual).min(LONGEST),
    }
}

#[cfg(test)]
mod tests;
