//! What one host measures, asked for once for all who are interested, as long as somebody is.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::fetch::{Fetch, fetch};
use super::newest::{HostSamples, LOOK_BACK, unix_now};
use super::read::Updates;
use super::sample_error::SampleError;
use crate::inventory::Mirror;
use xenapi_client::{Handler, Session};

/// How often a host measures, and so how often it is asked.
const STEP: Duration = Duration::from_secs(5);

/// For how long an interest lasts: longer than the minute at which monitoring asks.
const INTEREST: Duration = Duration::from_secs(75);

/// How long somebody waits for the first samples of a host.
const PATIENCE: Duration = Duration::from_secs(5);

/// How old the newest samples may be; half of it once the host is known to be in trouble.
const FRESH: Duration = Duration::from_secs(20);

/// Answers above this many bytes are read where they are in nobody's way.
const LARGE: usize = 256 << 10;

/// As many sessions are kept to ask with.
const MOST_SESSIONS: usize = 4;

/// How things stand with a host.
#[derive(Debug, Clone, Default)]
struct Standing {
    samples: Option<Arc<HostSamples>>,
    /// What went wrong last, unless something has gone well since.
    trouble: Option<SampleError>,
    /// Since when the host has been owing an answer.
    asked: Option<Instant>,
}

impl Standing {
    /// What can be said now; nothing as long as it is worth waiting for more.
    fn answer(&self, now: Instant) -> Option<Result<Arc<HostSamples>, SampleError>> {
        let good_for = if self.trouble.is_some() { FRESH / 2 } else { FRESH };
        match (&self.samples, &self.trouble) {
            (Some(samples), _) if now < samples.received + good_for => Some(Ok(samples.clone())),
            (_, Some(trouble)) => Some(Err(trouble.clone())),
            _ if self.asked.is_some_and(|asked| now >= asked + PATIENCE) => {
                Some(Err(SampleError::Slow))
            }
            _ => None,
        }
    }
}

/// Who is interested.
#[derive(Debug, Default)]
struct Interest {
    until: Option<Instant>,
    sessions: Vec<Arc<Session>>,
    running: bool,
    /// After a bug, until when the host is left alone.
    quiet_until: Option<Instant>,
}

/// What one host measures.
#[derive(Debug)]
pub(super) struct Feed {
    mirror: Arc<Mirror>,
    host: Uuid,
    interest: Mutex<Interest>,
    standing: watch::Sender<Standing>,
    /// Counts what any host has answered.
    news: Arc<watch::Sender<u64>>,
}

/// Has a feed know it when what asks for it breaks off.
struct Asking {
    feed: Arc<Feed>,
    ended: bool,
}

/// Where the next question begins.
#[derive(Debug, Default)]
struct Cursor {
    last: Option<i64>,
    /// How often in a row nothing new came.
    nothing: u32,
}

impl Feed {
    pub(super) fn new(mirror: Arc<Mirror>, host: Uuid, news: Arc<watch::Sender<u64>>) -> Self {
        let standing = watch::Sender::new(Standing::default());
        Self { mirror, host, interest: Mutex::default(), standing, news }
    }

    /// What is at hand: samples, or why there are none; nothing while that is being asked.
    pub(super) fn known(&self) -> Option<Result<Arc<HostSamples>, SampleError>> {
        self.standing.borrow().answer(Instant::now())
    }

    /// Has the host asked for who looks at what is at hand now and then.
    pub(super) fn follow(
        self: &Arc<Self>,
        session: &Arc<Session>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) {
        self.touch(INTEREST, session, tasks, stop);
    }

    /// Whether the host is being asked.
    pub(super) fn is_running(&self) -> bool {
        self.interest.lock().running
    }

    /// The newest samples, waiting for the first ones as long as that is bearable.
    pub(super) async fn samples(
        self: &Arc<Self>,
        session: &Arc<Session>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Arc<HostSamples>, SampleError> {
        self.wait(INTEREST, session, tasks, stop).await
    }

    /// The same for who is not interested any more once there is an answer.
    pub(super) async fn glance(
        self: &Arc<Self>,
        session: &Arc<Session>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Arc<HostSamples>, SampleError> {
        self.wait(Duration::ZERO, session, tasks, stop).await
    }

    async fn wait(
        self: &Arc<Self>,
        interest: Duration,
        session: &Arc<Session>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Arc<HostSamples>, SampleError> {
        self.touch(interest, session, tasks, stop);
        if let Some(answer) = self.standing.borrow().answer(Instant::now()) {
            return answer;
        }
        let mut standing = self.standing.subscribe();
        let wait = standing.wait_for(|standing| standing.answer(Instant::now()).is_some());
        match timeout(PATIENCE, wait).await {
            Ok(Ok(standing)) => standing.answer(Instant::now()).unwrap_or(Err(SampleError::Slow)),
            _ => Err(SampleError::Slow),
        }
    }

    /// Notes an interest, and sees to it that the host is asked.
    fn touch(
        self: &Arc<Self>,
        lasting: Duration,
        session: &Arc<Session>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let mut interest = self.interest.lock();
        interest.until = interest.until.max(Some(Instant::now() + lasting));
        if !interest.sessions.iter().any(|known| Arc::ptr_eq(known, session)) {
            interest.sessions.retain(|known| !known.ended().is_cancelled());
            if interest.sessions.len() >= MOST_SESSIONS {
                interest.sessions.remove(0);
            }
            interest.sessions.push(session.clone());
        }
        let quiet = interest.quiet_until.is_some_and(|until| Instant::now() < until);
        if !interest.running && !quiet && !stop.is_cancelled() {
            interest.running = true;
            self.standing.send_replace(Standing::default());
            let (feed, stop) = (self.clone(), stop.clone());
            let asking = self.asking(async move {
                _ = stop.run_until_cancelled(feed.keep_asking()).await;
            });
            tasks.spawn(asking);
        }
    }

    /// The work of asking; a bug in it is no reason not to begin again.
    fn asking<W: Future<Output = ()>>(
        self: &Arc<Self>,
        work: W,
    ) -> impl Future<Output = ()> + use<W> {
        let asking = Asking { feed: self.clone(), ended: false };
        async move {
            work.await;
            asking.end();
        }
    }

    /// Asks until nobody is interested any more.
    async fn keep_asking(&self) {
        let mut cursor = Cursor::default();
        // Whoever began this wants one answer at least.
        let mut first = true;
        while std::mem::take(&mut first) || self.is_wanted() {
            let begun = Instant::now();
            self.standing.send_modify(|standing| standing.asked = Some(begun));
            let result = self.ask(&mut cursor).await;
            if let Err(trouble) = &result {
                tracing::debug!(backend = self.mirror.name(), host = %self.host, %trouble, "no samples");
            }
            self.standing.send_modify(|standing| {
                standing.asked = None;
                match result {
                    Ok(Some(samples)) => {
                        *standing =
                            Standing { samples: Some(Arc::new(samples)), ..Standing::default() };
                    }
                    Ok(None) => standing.trouble = standing.stuck(),
                    Err(trouble) => standing.trouble = Some(trouble),
                }
            });
            self.news.send_modify(|count| *count = count.wrapping_add(1));
            sleep_until(begun + STEP).await;
        }
    }

    /// Whether somebody is interested; if not, the next who is starts anew.
    fn is_wanted(&self) -> bool {
        let mut interest = self.interest.lock();
        let wanted = interest.until.is_some_and(|until| Instant::now() < until);
        if !wanted {
            *interest = Interest::default();
            // What was known is not worth keeping for who comes back later.
            self.standing.send_replace(Standing::default());
        }
        wanted
    }

    /// Asks the host once.
    async fn ask(&self, cursor: &mut Cursor) -> Result<Option<HostSamples>, SampleError> {
        // A negative start counts back from the host's own newest measurement.
        let start = cursor.last.map_or(-LOOK_BACK * 5, |last| last + 1).to_string();
        let query = [
            ("start", start.as_str()),
            ("interval", "5"),
            ("cf", "AVERAGE"),
            ("host", "true"),
            ("sr_uuid", "all"),
            ("json", "true"),
        ];
        let body = self.fetch(Handler::RrdUpdates, &query).await?;
        let (before, last) = (self.standing.borrow().samples.clone(), cursor.last);
        let large = body.len() > LARGE;
        let work = move || {
            let updates = Updates::read(&body)?;
            // A clock that was put back starts anew.
            let went_back =
                updates.end.zip(last).is_some_and(|(end, last)| end < last - 2 * updates.step);
            let before = before.filter(|_| !went_back);
            let now = Instant::now();
            let after = HostSamples::after(before.as_deref(), &updates, now, unix_now());
            Ok::<_, SampleError>((went_back, after))
        };
        let (went_back, after) = match large {
            true => tokio::task::spawn_blocking(work).await.unwrap_or(Err(SampleError::Bug))?,
            false => work()?,
        };
        match &after {
            Some(after) => *cursor = Cursor { last: Some(after.newest), nothing: 0 },
            None => {
                cursor.nothing += 1;
                if went_back || cursor.nothing >= 4 {
                    *cursor = Cursor::default();
                }
            }
        }
        Ok(after)
    }

    /// A path of the host, asked for in the session of somebody who is interested.
    async fn fetch(
        &self,
        handler: Handler,
        query: &[(&str, &str)],
    ) -> Result<Vec<u8>, SampleError> {
        let mut refused: Vec<Arc<Session>> = Vec::new();
        loop {
            let session = {
                let interest = self.interest.lock();
                let good = |session: &&Arc<Session>| {
                    !session.ended().is_cancelled()
                        && !refused.iter().any(|refused| Arc::ptr_eq(refused, session))
                };
                interest.sessions.iter().rev().find(good).cloned()
            };
            let session = session.ok_or(SampleError::NoSession)?;
            let result = fetch(&self.mirror, &session, Some(self.host), handler, query).await;
            match result {
                Err(Fetch::Refused) => refused.push(session),
                Err(Fetch::Failed(trouble)) => return Err(trouble),
                Ok(body) => return Ok(body),
            }
        }
    }
}

impl Standing {
    /// What to say of a host that answers and brings nothing new.
    fn stuck(&self) -> Option<SampleError> {
        match &self.samples {
            Some(samples) if samples.received.elapsed() < FRESH => self.trouble.clone(),
            Some(_) => Some(SampleError::Stuck),
            None => Some(SampleError::NotMeasured),
        }
    }
}

impl Asking {
    fn end(mut self) {
        self.ended = true;
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let quiet_until = Some(Instant::now() + STEP);
        *self.feed.interest.lock() = Interest { quiet_until, ..Interest::default() };
        let trouble = Some(SampleError::Bug);
        self.feed.standing.send_replace(Standing { trouble, ..Standing::default() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Inventory;
    use xenapi_client::{Access, Backend};
    use xengate_config::BackendConfig;

    #[tokio::test(start_paused = true)]
    async fn a_bug_is_no_reason_not_to_ask_again() {
        let uri = "http://127.0.0.1:9".to_owned();
        let config = BackendConfig::new(vec![uri]);
        let backend = Backend::new("lab", &config).expect("a backend");
        let inventory = Inventory::start(vec![(backend, &config)]);
        let mirror = inventory.mirror("lab").expect("its mirror").clone();
        let feed = Arc::new(Feed::new(mirror, Uuid::nil(), Arc::default()));
        feed.interest.lock().running = true;
        let broken = tokio::spawn(feed.asking(async { panic!("a bug") }));
        assert!(broken.await.is_err());
        assert!(!feed.is_running());
        assert_eq!(feed.known().map(|known| known.err()), Some(Some(SampleError::Bug)));

        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let secret = secrecy::SecretString::from("OpaqueRef:1");
        let session = Arc::new(Session::new("lab", "ann", secret, Access::default()));
        feed.follow(&session, &tasks, &stop);
        assert!(!feed.is_running(), "not at once: the next one may end the same way");
        tokio::time::advance(STEP).await;
        feed.follow(&session, &tasks, &stop);
        assert!(feed.is_running());
        stop.cancel();
        tasks.close();
        tasks.wait().await;
        inventory.shutdown().await;
    }
}
