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
mod newest;
mod polled;
mod read;
mod sources;
mod subject;
mod table;
mod trouble;

#[cfg(test)]
mod tests;

pub use history::{Asked, Bound, STEPS};
pub use newest::{HostSamples, Sample};
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
use tokio::sync::watch;
use tokio::time::Instant;
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
    /// Seconds between two measurements, where they are regular.
    pub step: Option<i64>,
    /// How far the host's clock is ahead of the gateway's, in seconds; a few are no sign of anything.
    /// None where times are the gateway's own.
    pub clock_offset: Option<i64>,
    /// Why not all of them are known.
    pub gap: Option<Trouble>,
}

/// How things stand with what measures.
#[derive(Debug, Clone)]
pub enum Standing {
    /// A host has measured this.
    Measured(Arc<HostSamples>),
    /// A backend that measures nothing by itself was read at this time.
    Read(Instant),
    /// Nothing is known.
    Trouble(Trouble),
}

impl Standing {
    /// Whether nothing is new.
    pub fn is_the_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Measured(one), Self::Measured(other)) => Arc::ptr_eq(one, other),
            (Self::Read(one), Self::Read(other)) => one == other,
            (Self::Trouble(one), Self::Trouble(other)) => one == other,
            _ => false,
        }
    }
}

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
    ) -> Result<Samples, Trouble> {
        if mirror.is_polled() {
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
    ) -> Option<Result<Samples, Trouble>> {
        if mirror.is_polled() {
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
            Err(trouble) => Standing::Trouble(trouble),
        })
    }

    /// The newest samples of everything that one host measures, for who comes by now and then: the
    /// host is asked once, unless others have it asked all the time.
    pub async fn of_host(
        &self,
        mirror: &Arc<Mirror>,
        session: &Arc<Session>,
        host: Uuid,
    ) -> Result<Arc<HostSamples>, Trouble> {
        if mirror.is_polled() {
            return Err(Trouble::NotSupported);
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
    ) -> Result<Arc<Table>, Trouble> {
        if mirror.is_polled() {
            return Err(Trouble::NotSupported);
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
    ) -> Result<Vec<(Arc<str>, Option<Kind>)>, Trouble> {
        match self.samples(mirror, session, subject).await {
            Ok(found) => Ok(found.samples.iter().map(|one| (one.source.clone(), None)).collect()),
            Err(trouble) if trouble.is_absence() && mirror.is_polled() => Ok(Vec::new()),
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

impl Samples {
    /// What is measured of a subject, by what its hosts have to say, in their order.
    fn of(
        subject: &Subject,
        home: Uuid,
        hosts: &[Result<Arc<HostSamples>, Trouble>],
    ) -> Result<Self, Trouble> {
        let place = subject.hosts.iter().position(|host| *host == home).unwrap_or_default();
        let at_home = hosts.get(place).ok_or(Trouble::NotMeasured)?;
        let own = |host: &Arc<HostSamples>| host.objects.get(&subject.key).cloned();
        if subject.key.owner != Owner::Sr {
            let host = at_home.as_ref().map_err(Clone::clone)?;
            return Ok(Self::by(host, own(host).ok_or(Trouble::NotMeasured)?));
        }
        // A host counts what it does with an SR as its own; all hosts together are the SR's. Where
        // one is silent, nobody knows what that is, and the SR's size is known all the same.
        let gap = hosts.iter().find_map(|host| host.as_ref().err().cloned());
        let known: Vec<&Arc<HostSamples>> = hosts.iter().flatten().collect();
        let nothing = || gap.clone().unwrap_or(Trouble::NotMeasured);
        let frame = at_home.as_ref().ok().or(known.first().copied()).ok_or_else(nothing)?;
        let own = at_home.as_ref().ok().and_then(own).map(|own| own.to_vec()).unwrap_or_default();
        let samples = subject::together(subject.key.uuid, own, &known, gap.is_none());
        if samples.is_empty() {
            return Err(nothing());
        }
        Ok(Self { gap, ..Self::by(frame, samples.into()) })
    }

    fn by(host: &HostSamples, samples: Arc<[Sample]>) -> Self {
        let (newest, step) = (host.newest, Some(host.step));
        Self { samples, newest, step, clock_offset: Some(host.clock_offset), gap: None }
    }
}
