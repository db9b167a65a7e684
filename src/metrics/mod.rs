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
mod history;
mod read;
mod sources;
mod subject;
mod table;
mod trouble;

#[cfg(test)]
mod tests;

pub use feed::{HostSamples, Sample};
pub use history::{Asked, Bound, STEPS};
pub use read::{Archive, Column, Rra, Source, Unreadable, Updates, invariants};
pub use sources::{Kind, Meaning, Unit, meaning};
pub use subject::Subject;
pub use table::Table;
pub use trouble::Trouble;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::backend::Session;
use crate::inventory::Mirror;
use feed::Feed;
use history::Histories;

/// How long shutting down waits for what is being asked.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(2);

/// More hosts than any gateway follows; beyond it those that nobody is interested in are forgotten.
const MOST_FEEDS: usize = 4096;

/// How several measurements become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cf {
    /// Their mean.
    Average,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// The last.
    Last,
}

impl Cf {
    /// Every one of them.
    pub const ALL: [Self; 4] = [Self::Average, Self::Min, Self::Max, Self::Last];

    /// As XAPI writes it: `AVERAGE`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Average => "AVERAGE",
            Self::Min => "MIN",
            Self::Max => "MAX",
            Self::Last => "LAST",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cf| cf.name() == name)
    }
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// A VM, by its host.
    Vm,
    /// A host, by itself.
    Host,
    /// An SR, by a host that it is plugged into.
    Sr,
}

/// One thing that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// What it is.
    pub owner: Owner,
    /// Its uuid.
    pub uuid: Uuid,
}

/// The newest samples of one object.
#[derive(Debug, Clone)]
pub struct Samples {
    /// Each source's newest; NaN where the newest is not known.
    pub samples: Arc<[Sample]>,
    /// The newest measurement of the host, by its clock.
    pub newest: i64,
    /// Seconds between two measurements.
    pub step: i64,
    /// How far the host's clock is ahead of the gateway's, in seconds; a few are no sign of anything.
    pub clock_offset: i64,
}

/// The samples of every backend, as far as somebody is interested.
#[derive(Debug)]
pub struct Metrics {
    feeds: Mutex<HashMap<(String, Uuid), Arc<Feed>>>,
    histories: Histories,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            feeds: Mutex::default(),
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
    ) -> Result<Samples, Trouble> {
        let home = subject.home.ok_or_else(|| subject.absence.clone())?;
        if subject.key.owner != Owner::Sr {
            let host = self.feed(mirror, home).samples(session, &self.tasks, &self.stop).await?;
            let samples = host.objects.get(&subject.key).ok_or(Trouble::NotMeasured)?;
            return Ok(Samples::of(&host, samples.clone()));
        }
        // A host counts what it does with an SR as its own; all hosts together are the SR's.
        let hosts = subject.hosts.iter().map(|host| {
            let feed = self.feed(mirror, *host);
            async move { feed.samples(session, &self.tasks, &self.stop).await }
        });
        let hosts = join_all(hosts).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        let place = subject.hosts.iter().position(|host| *host == home).unwrap_or_default();
        let at_home = hosts.get(place).ok_or(Trouble::NotMeasured)?;
        let own = at_home.objects.get(&subject.key).map(|own| own.to_vec()).unwrap_or_default();
        let samples = subject::together(subject.key.uuid, own, &hosts);
        if samples.is_empty() {
            return Err(Trouble::NotMeasured);
        }
        Ok(Samples::of(at_home, samples.into()))
    }

    /// The newest samples of everything that one host measures, for who comes by now and then: the
    /// host is asked once, unless others have it asked all the time.
    pub async fn of_host(
        &self,
        mirror: &Arc<Mirror>,
        session: &Arc<Session>,
        host: Uuid,
    ) -> Result<Arc<HostSamples>, Trouble> {
        self.feed(mirror, host).glance(session, &self.tasks, &self.stop).await
    }

    /// What a subject has measured over time, in the archive that was asked for.
    pub async fn history(
        &self,
        mirror: &Arc<Mirror>,
        session: &Arc<Session>,
        subject: &Subject,
        asked: &Asked,
    ) -> Result<Arc<Table>, Trouble> {
        self.histories.table(mirror, session, subject, asked).await
    }

    /// The names of the sources that a subject has or, if it is no longer measured, had; with what
    /// its RRD takes them for, where that is known.
    pub async fn sources(
        &self,
        mirror: &Arc<Mirror>,
        session: &Arc<Session>,
        subject: &Subject,
    ) -> Result<Vec<(Arc<str>, Option<Kind>)>, Trouble> {
        match self.samples(mirror, session, subject).await {
            Ok(found) => Ok(found.samples.iter().map(|one| (one.source.clone(), None)).collect()),
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
        let feed = Arc::new(Feed::new(mirror.clone(), host));
        feeds.insert((mirror.name().to_owned(), host), feed.clone());
        feed
    }
}

impl Samples {
    fn of(host: &HostSamples, samples: Arc<[Sample]>) -> Self {
        Self { samples, newest: host.newest, step: host.step, clock_offset: host.clock_offset }
    }
}
