//! The live mirror of each backend: records, revisions, changes.
//!
//! [`Inventory`] starts one task per backend, the only writer of that backend's [`Mirror`].
//! Readers take a [`Snapshot`] and keep it for as long as they need; nothing waits for them.

mod apart;
mod bound;
mod counts;
mod date;
mod demand;
mod document;
mod draft;
mod encode;
mod feed;
mod json;
mod keep;
mod mirror;
mod moment;
mod poll;
pub mod query;
mod record;
mod refs;
mod revision;
mod standing;
mod store;
mod sync;
mod unread;
mod untold;
mod usage;
mod value;
mod workbench;

pub use apart::Following;
pub use document::of_document;
pub use draft::is_mirrored;
pub use feed::{Batch, Feed, LogEntry, Next, Present, What};
pub use mirror::{Mirror, Reading};
pub use moment::Moment;
pub use record::Record;
pub use refs::Target;
pub use revision::Revisions;
pub use standing::{Cause, MirrorState, NotReady, Status};
pub use store::{Change, Object, Snapshot, Table, View};
pub use usage::Usage;
pub use workbench::Workbench;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use bound::Bound;
use mirror::ServiceAccount;
use xenapi_client::Backend;
use xengate_config::BackendConfig;

/// How long shutting down waits for the mirrors' own logouts.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);

/// How much memory mirrors may take, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// What is kept of what has happened, about.
    pub history: usize,
    /// The objects of all mirrors together, if they are bounded at all.
    pub objects: Option<usize>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { history: 16 << 20, objects: None }
    }
}

/// The mirrors of all backends.
#[derive(Debug)]
pub struct Inventory {
    mirrors: BTreeMap<String, Arc<Mirror>>,
    revisions: Arc<Revisions>,
    feed: Arc<Feed>,
    tasks: Mutex<JoinSet<()>>,
    stop: CancellationToken,
}

impl Inventory {
    /// Starts to mirror these backends. Must be called within a runtime.
    pub fn start(backends: Vec<(Arc<Backend>, &BackendConfig)>) -> Arc<Self> {
        Self::within(Bounds::default(), backends)
    }

    /// The same, within bounds.
    pub fn within(bounds: Bounds, backends: Vec<(Arc<Backend>, &BackendConfig)>) -> Arc<Self> {
        let (revisions, stop) = (Arc::new(Revisions::default()), CancellationToken::new());
        let feed = Arc::new(Feed::new(bounds.history));
        let bound = Arc::new(Bound::new(bounds.objects));
        let (mut mirrors, mut tasks) = (BTreeMap::new(), JoinSet::new());
        for (backend, config) in backends {
            let service = config.service_username.clone().zip(config.service_password.clone());
            let service = service.map(|(username, password)| ServiceAccount { username, password });
            let mirror =
                Mirror::new(backend, service, revisions.clone(), feed.clone(), bound.clone());
            let mirror = Arc::new(mirror);
            tasks.spawn(keep::keep(mirror.clone(), stop.clone()));
            mirrors.insert(mirror.name().to_owned(), mirror);
        }
        Arc::new(Self { mirrors, revisions, feed, tasks: Mutex::new(tasks), stop })
    }

    /// The mirrors, by the name of their backend.
    pub fn mirrors(&self) -> &BTreeMap<String, Arc<Mirror>> {
        &self.mirrors
    }

    /// The mirror of the backend of this name.
    pub fn mirror(&self, name: &str) -> Option<&Arc<Mirror>> {
        self.mirrors.get(name)
    }

    /// What happens to the mirrors, in order.
    pub fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// The newest revision of any mirror.
    pub fn revision(&self) -> u64 {
        self.revisions.last()
    }

    /// Whether readers can see this revision, or come to within `patience`. One counter serves all
    /// backends, so a backend on which nothing happens keeps nobody waiting.
    pub async fn reached(&self, revision: u64, patience: Duration) -> bool {
        self.revisions.reached(revision, patience).await
    }

    /// What these mirrors hold at one revision: everything up to it, and nothing beyond. A mirror
    /// that holds nothing is left out.
    pub fn readings(&self, mirrors: &[&Arc<Mirror>]) -> (u64, Vec<Arc<Reading>>) {
        self.revisions.at_one(|| {
            let readings: Vec<_> = mirrors.iter().filter_map(|mirror| mirror.reading()).collect();
            let newest = readings.iter().map(|reading| reading.snapshot.revision()).max();
            (readings, newest.unwrap_or(0))
        })
    }

    /// Ends the tasks and logs out of their own sessions; what takes too long is given up.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        let joined = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(SHUTDOWN_PATIENCE, joined).await.is_err() {
            tracing::warn!("a mirror did not end in time");
        }
    }
}
