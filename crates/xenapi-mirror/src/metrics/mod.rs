//! What is measured: the newest samples of VMs, hosts and SRs, and their history.
//!
//! XAPI measures on each host and keeps what it has measured there, in round-robin databases
//! (RRDs). [`Metrics`] asks each host for what is new as long as somebody is interested, once for
//! all who are, and for the history of one object when somebody wants that.
//!
//! Times are those of the host that has measured, in seconds since 1970, and are never moved: a
//! clock that is wrong neither shifts nor loses samples, because everything relative is counted
//! from the host's own newest sample.

mod feed;
mod fetch;
mod history;
mod model;
mod newest;
mod polled;
mod read;
mod sample_error;
mod samples;
mod sources;
mod subject;
mod table;

#[cfg(test)]
mod tests;

pub use history::{Asked, Bound, STEPS};
pub use model::{Cf, Key, Owner};
pub use newest::{HostSamples, Sample};
pub use read::{Archive, Column, Rra, Source, Unreadable, Updates, invariants};
pub use sample_error::SampleError;
pub use samples::{Samples, Standing};
pub use sources::{Kind, Meaning, Unit, meaning};
pub use subject::Subject;
pub use table::Table;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::inventory::Mirror;
use feed::Feed;
use history::Histories;
use xenapi_client::{Measurements, Session};

/// How long shutting down waits for what is being asked.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(2);

/// More hosts than any gateway follows; beyond it those that nobody is interested in are forgotten.
const MOST_FEEDS: usize = 4096;

/// The samples of every backend, as far as somebody is interested.
#[derive(Debug)]
pub struct Metrics {
    feeds: Mutex<HashMap<(String, Uuid), Arc<Feed>>>,
    news: Arc<watch::Sender<u64>>,
    histories: Histories,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            feeds: Mutex::default(),
            news: Arc::default(),
            histories: Histories::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }
}

impl Metrics {
    /// The newest samples of a subject. Whoever asks first waits, for as long as that is bearable;
    /// while somebody asks now and then, they are at hand.
    pub async fn samples(
        &self,
        mirror: &Arc<Mirror>,
        session: &Arc<Session>,
        subject: &Subject,
    ) -> Result<Samples, SampleError> {
        if is_in_records(mirror) {
            return polled::samples(mirror, subject);
        }
        let home = subject.home.ok_or_else(|| subject.absence.clone())?;
        if subject.key.owner != Owner::Sr {
            let host = self.feed(mirror, home).samples(session, &self.tasks, &self.stop).await;
            return Samples::of(subject, home, &[host]);
        }
        let hosts = subject.hosts.iter().map(|host| {
            let feed = self.feed(mirror, *host);
            async move { feed.samples(session, &self.tasks, &self.stop).await }
        });
        Samples::of(subject, home, &join_all(hosts).await)
    }

    /// The same as far as it is at hand, for who follows what measures it; nothing while that is
    /// being asked for the first time.
    pub fn known(
        &self,
        mirror: &Arc<Mirror>,
        subject: &Subject,
    ) -> Option<Result<Samples, SampleError>> {
        if is_in_records(mirror) {
            return Some(polled::samples(mirror, subject));
        }
        let Some(home) = subject.home else { return Some(Err(subject.absence.clone())) };
        let mut hosts = Vec::new();
        for host in &subject.hosts {
            hosts.push(self.feed(mirror, *host).known()?);
        }
        Some(Samples::of(subject, home, &hosts))
    }

    /// Has a host asked for a while, for who looks at what is known when there is news of it.
    pub fn follow(&self, mirror: &Arc<Mirror>, session: &Arc<Session>, host: Uuid) {
        self.feed(mirror, host).follow(session, &self.tasks, &self.stop);
    }

    /// Changes whenever a host has answered.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// How things stand with a host, or with a backend that measures nothing by itself.
    pub fn standing(&self, mirror: &Arc<Mirror>, host: Option<Uuid>) -> Option<Standing> {
        let Some(host) = host else { return Some(Standing::Read(mirror.reading()?.as_of?)) };
        Some(match self.feed(mirror, host).known()? {
            Ok(samples) => Standing::Measured(samples),
            Err(trouble) => Standing::SampleError(trouble),
        })
    }

    /// The newest samples of everything that one host measures, for who comes by now and then: the
    /// host is asked once, unless others have it asked all the time.
    pub async fn of_host(
        &self,
        mirror: &Arc<Mirror>,
        session: &Arc<Session>,
        host: Uuid,
    ) -> Result<Arc<HostSamples>, SampleError> {
        if is_in_records(mirror) {
            return Err(SampleError::NotSupported);
        }
        self.feed(mirror, host).glance(session, &self.tasks, &self.stop).await
    }

    /// What a subject has measured over time, in the archive that was asked for.
    pub async fn history(
        &self,
        mirror: &Arc<Mirror>,
        session: &Arc<Session>,
        subject: &Subject,
        asked: &Asked,
    ) -> Result<Arc<Table>, SampleError> {
        if is_in_records(mirror) {
            return Err(SampleError::NotSupported);
        }
        self.histories.table(mirror, session, subject, asked).await
    }

    /// The names of the sources that a subject has or, if it is no longer measured, had; with what
    /// its RRD takes them for, where that is known.
    pub async fn sources(
        &self,
        mirror: &Arc<Mirror>,
        session: &Arc<Session>,
        subject: &Subject,
    ) -> Result<Vec<(Arc<str>, Option<Kind>)>, SampleError> {
        match self.samples(mirror, session, subject).await {
            Ok(found) => Ok(found.samples.iter().map(|one| (one.source.clone(), None)).collect()),
            Err(trouble) if trouble.is_absence() && is_in_records(mirror) => Ok(Vec::new()),
            Err(trouble) if trouble.is_absence() => {
                self.histories.sources(mirror, session, subject).await
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Ends what asks for samples.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(SHUTDOWN_PATIENCE, self.tasks.wait()).await.is_err() {
            tracing::warn!("a host's samples were still being asked for");
        }
    }

    fn feed(&self, mirror: &Arc<Mirror>, host: Uuid) -> Arc<Feed> {
        let mut feeds = self.feeds.lock();
        if let Some(feed) = feeds.get(&(mirror.name().to_owned(), host)) {
            return feed.clone();
        }
        if feeds.len() >= MOST_FEEDS {
            feeds.retain(|_, feed| feed.is_running());
        }
        let feed = Arc::new(Feed::new(mirror.clone(), host, self.news.clone()));
        feeds.insert((mirror.name().to_owned(), host), feed.clone());
        feed
    }
}

/// Whether all that is known of what is measured is in the records of the mirror.
pub fn is_in_records(mirror: &Mirror) -> bool {
    mirror.backend().measurements() == Measurements::Records
}
