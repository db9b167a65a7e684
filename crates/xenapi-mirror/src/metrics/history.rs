//! What one object has measured over time: asked for when somebody wants it, once for all who want
//! the same, and kept for a moment.

use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;
use futures_util::future::join_all;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::time::Instant;
use uuid::Uuid;

use super::fetch::{Fetch, fetch};
use super::model::{Cf, Key, Owner};
use super::read::{Archive, Unreadable, Updates};
use super::sample_error::SampleError;
use super::sources::{Kind, of_sr};
use super::subject::{Subject, combined};
use super::table::Table;
use crate::inventory::Mirror;
use xenapi_client::{Handler, Session};

/// The archives that XAPI keeps: seconds between rows, and how many rows.
pub const STEPS: [(i64, i64); 4] = [(5, 120), (60, 120), (3600, 168), (86_400, 366)];

/// What the kept tables may take in memory, and how many there may be.
const MOST_BYTES: u64 = 32 << 20;
const MOST_TABLES: usize = 2048;

/// One end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// A time, in seconds since 1970.
    At(i64),
    /// So many seconds before the newest sample.
    Ago(i64),
}

impl Bound {
    /// The time it is, where the newest sample is of `newest`.
    pub fn time(self, newest: i64) -> i64 {
        match self {
            Self::At(time) => time,
            Self::Ago(seconds) => newest.saturating_sub(seconds),
        }
    }
}

/// Which archive is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// How its rows were consolidated.
    pub cf: Cf,
    /// Seconds between its rows; the finest that reaches back to `from`, unless told.
    pub step: Option<i64>,
    /// Where it has to begin.
    pub from: Bound,
}

/// What tells tables apart: when they were fetched, among others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Which {
    backend: String,
    key: Key,
    /// The host that was asked; none is the coordinator, about what it has put away.
    host: Option<Uuid>,
    archive: Option<(Cf, i64)>,
    age: u64,
}

/// What was fetched.
#[derive(Debug, Clone)]
enum Fetched {
    Table(Arc<Table>),
    Whole(Arc<Archive>),
    /// Nothing, which is for those who were waiting.
    Failed(SampleError),
}

#[derive(Debug, Clone)]
struct Bytes;

impl Weighter<Which, Fetched> for Bytes {
    fn weight(&self, _: &Which, fetched: &Fetched) -> u64 {
        let size = match fetched {
            Fetched::Table(table) => table.size(),
            Fetched::Whole(archive) => archive.size(),
            Fetched::Failed(..) => size_of::<SampleError>(),
        };
        (size + size_of::<Which>()) as u64
    }
}

/// Histories that were fetched a moment ago.
#[derive(Debug)]
pub(super) struct Histories {
    kept: Cache<Which, Fetched, Bytes>,
    began: Instant,
}

impl Default for Histories {
    fn default() -> Self {
        Self { kept: Cache::with_weighter(MOST_TABLES, MOST_BYTES, Bytes), began: Instant::now() }
    }
}

/// Somebody who asks, of a backend.
#[derive(Clone, Copy)]
struct By<'a> {
    mirror: &'a Mirror,
    session: &'a Session,
}

impl Histories {
    /// The archive that was asked for, as a table.
    pub(super) async fn table(
        &self,
        mirror: &Arc<Mirror>,
        session: &Arc<Session>,
        subject: &Subject,
        asked: &Asked,
    ) -> Result<Arc<Table>, SampleError> {
        let by = By { mirror, session };
        let mut finest = None;
        let step = match (asked.step, asked.from) {
            (Some(step), _) => step,
            (None, Bound::Ago(seconds)) => fitting(seconds),
            // How long ago that is, the newest sample tells.
            (None, Bound::At(from)) => {
                let table = self.of(by, subject, asked.cf, STEPS[0].0, false).await?;
                let step = fitting(table.newest.saturating_sub(from));
                finest = Some(table);
                step
            }
        };
        let table = match finest {
            Some(table) if step == STEPS[0].0 => return Ok(table),
            _ => self.of(by, subject, asked.cf, step, asked.step.is_some()).await,
        };
        match table {
            // XAPI keeps none of these.
            Err(SampleError::NotMeasured) if asked.cf == Cf::Last => Err(SampleError::NoArchive {
                cf: Cf::Last.name(),
                step,
                there: "AVERAGE, MIN and MAX".to_owned(),
            }),
            table => table,
        }
    }

    /// The sources of a subject that is no longer measured.
    pub(super) async fn sources(
        &self,
        mirror: &Arc<Mirror>,
        session: &Arc<Session>,
        subject: &Subject,
    ) -> Result<Vec<(Arc<str>, Option<Kind>)>, SampleError> {
        let archive = self.whole(By { mirror, session }, subject).await?;
        Ok(archive.sources.iter().map(|source| (source.name.clone(), source.kind)).collect())
    }

    /// A subject's table: what its host has at hand, or else what has been put away. With `exactly`
    /// no other step will do.
    async fn of(
        &self,
        by: By<'_>,
        subject: &Subject,
        cf: Cf,
        step: i64,
        exactly: bool,
    ) -> Result<Arc<Table>, SampleError> {
        if subject.key.owner == Owner::Sr {
            return self.of_sr(by, subject, cf, step).await;
        }
        let live = match subject.home {
            Some(home) => self.live(by, subject.key, home, cf, step).await,
            None => Err(SampleError::NotMeasured),
        };
        let trouble = match live {
            Ok(table) if table.step == step || !exactly => return Ok(table),
            Ok(_) => SampleError::NotMeasured,
            Err(trouble) => trouble,
        };
        // What a host cannot say now, nobody else can say for it.
        let elsewhere = matches!(
            trouble,
            SampleError::NotMeasured | SampleError::NotSupported | SampleError::BadReply(_)
        );
        if subject.key.owner != Owner::Vm || !elsewhere {
            return Err(trouble);
        }
        let archive = self.whole(by, subject).await?;
        Table::of_archive(&archive, cf, step).map(Arc::new).ok_or_else(|| SampleError::NoArchive {
            cf: cf.name(),
            step,
            there: archive.described(),
        })
    }

    /// An SR's own table, and what its hosts count for it.
    async fn of_sr(
        &self,
        by: By<'_>,
        subject: &Subject,
        cf: Cf,
        step: i64,
    ) -> Result<Arc<Table>, SampleError> {
        let home = subject.home.ok_or(SampleError::NoHost)?;
        let which = self.which(by, subject.key, None, Some((cf, step)));
        if let Some(Fetched::Table(table)) = self.kept.get(&which) {
            return Ok(table);
        }
        let hosts = subject.hosts.iter().map(|host| {
            let key = Key { owner: Owner::Host, uuid: *host };
            self.live(by, key, *host, cf, step)
        });
        let own = self.live(by, subject.key, home, cf, step);
        let (own, hosts) = tokio::join!(own, join_all(hosts));
        let lost = hosts.iter().find_map(|table| table.as_ref().err().cloned());
        let tables: Vec<Arc<Table>> = hosts.into_iter().flatten().collect();
        let joined = join(subject.key.uuid, own.as_deref().ok(), &tables, lost.is_none());
        match (joined.map(Arc::new), own, lost) {
            (Some(table), _, None) => {
                self.kept.insert(which, Fetched::Table(table.clone()));
                Ok(table)
            }
            (Some(table), _, Some(_)) => Ok(table),
            (None, Err(trouble), None) | (None, _, Some(trouble)) => Err(trouble),
            (None, Ok(own), None) => Ok(own),
        }
    }

    /// What `fetched` brings, once for all who want the same; a failure is for those who wait for it.
    async fn shared(
        &self,
        which: &Which,
        fetched: impl Future<Output = Result<Fetched, SampleError>>,
    ) -> Result<Fetched, SampleError> {
        // One of before: nobody who asks now has seen it.
        if let Some(Fetched::Failed(..)) = self.kept.get(which) {
            self.kept.remove(which);
        }
        let kept = self.kept.get_or_insert_async(which, async {
            match fetched.await {
                // Another caller's session may do.
                Err(SampleError::NoSession) => Err(SampleError::NoSession),
                Err(trouble) => Ok(Fetched::Failed(trouble)),
                fetched => fetched,
            }
        });
        match kept.await? {
            Fetched::Failed(trouble) => Err(trouble),
            fetched => Ok(fetched),
        }
    }

    /// What a host has at hand of one object, and of nothing else.
    async fn live(
        &self,
        by: By<'_>,
        key: Key,
        host: Uuid,
        cf: Cf,
        step: i64,
    ) -> Result<Arc<Table>, SampleError> {
        let which = self.which(by, key, Some(host), Some((cf, step)));
        let fetched = self.shared(
            &which,
            Box::pin(async {
                let rows =
                    STEPS.iter().find(|(known, _)| *known == step).map_or(120, |(_, rows)| *rows);
                // One row less than there are: the archive has to reach back beyond the start.
                let start = (-(rows - 1) * step).to_string();
                let (interval, uuid) = (step.to_string(), key.uuid.to_string());
                let (host_too, vm, sr) = match key.owner {
                    Owner::Host => ("true", "none", "none"),
                    Owner::Vm => ("false", uuid.as_str(), "none"),
                    Owner::Sr => ("false", "none", uuid.as_str()),
                };
                let query = [
                    ("start", start.as_str()),
                    ("interval", interval.as_str()),
                    ("cf", cf.name()),
                    ("host", host_too),
                    ("vm_uuid", vm),
                    ("sr_uuid", sr),
                    ("json", "true"),
                ];
                let body = ask(by, Some(host), Handler::RrdUpdates, &query).await?;
                let updates = match Updates::read(&body) {
                    // XAPI makes no document of nothing.
                    Err(Unreadable::Empty) => return Err(SampleError::NotMeasured),
                    read => read?,
                };
                let table = Table::of_updates(&updates, key, cf).ok_or(SampleError::NotMeasured)?;
                Ok(Fetched::Table(Arc::new(table)))
            }),
        );
        match fetched.await? {
            Fetched::Table(table) => Ok(table),
            Fetched::Whole(_) | Fetched::Failed(..) => Err(SampleError::NotMeasured),
        }
    }

    /// All that was ever measured of one VM, from wherever it is kept.
    async fn whole(&self, by: By<'_>, subject: &Subject) -> Result<Arc<Archive>, SampleError> {
        if subject.key.owner != Owner::Vm {
            return Err(SampleError::NotMeasured);
        }
        let which = self.which(by, subject.key, None, None);
        let fetched = self.shared(
            &which,
            Box::pin(async {
                let uuid = subject.key.uuid.to_string();
                let query = [("uuid", uuid.as_str()), ("json", "true")];
                let body = ask(by, subject.home, Handler::VmRrd, &query).await;
                let body = body.map_err(|trouble| match trouble {
                    // Of a VM that has never run there is no RRD.
                    SampleError::NotSupported if subject.home.is_none() => SampleError::NotMeasured,
                    trouble => trouble,
                })?;
                Ok(Fetched::Whole(Arc::new(Archive::read(&body)?)))
            }),
        );
        match fetched.await? {
            Fetched::Whole(archive) => Ok(archive),
            Fetched::Table(_) | Fetched::Failed(..) => Err(SampleError::NotMeasured),
        }
    }

    fn which(&self, by: By<'_>, key: Key, host: Option<Uuid>, archive: Option<(Cf, i64)>) -> Which {
        // What was fetched is good for about as long as nothing new is measured.
        let keep = match archive {
            Some((_, 5)) => Duration::from_secs(5),
            Some((_, 60)) => Duration::from_secs(15),
            _ => Duration::from_secs(60),
        };
        let age = self.began.elapsed().as_secs() / keep.as_secs();
        Which { backend: by.mirror.name().to_owned(), key, host, archive, age }
    }
}

/// The step of the finest archive that reaches back so many seconds.
fn fitting(seconds: i64) -> i64 {
    let reaches = |(step, rows): &&(i64, i64)| seconds <= step * rows;
    STEPS.iter().find(reaches).unwrap_or(&STEPS[STEPS.len() - 1]).0
}

async fn ask(
    by: By<'_>,
    host: Option<Uuid>,
    handler: Handler,
    query: &[(&str, &str)],
) -> Result<Vec<u8>, SampleError> {
    fetch(by.mirror, by.session, host, handler, query).await.map_err(|error| match error {
        Fetch::Refused => SampleError::NoSession,
        Fetch::Failed(trouble) => trouble,
    })
}

/// One table of an SR's own columns and those its hosts have for it. The sums are known only where
/// all hosts know, and these have to be `all` of them.
fn join(sr: Uuid, own: Option<&Table>, hosts: &[Arc<Table>], all: bool) -> Option<Table> {
    let mut names: Vec<Arc<str>> = own.map(|own| own.columns.clone()).unwrap_or_default();
    let of_own = names.len();
    let mut places: HashMap<Arc<str>, usize> =
        names.iter().enumerate().map(|(place, name)| (name.clone(), place)).collect();
    // For each sum, the hosts that count and in which of their columns.
    let mut sums: Vec<Vec<(usize, usize)>> = Vec::new();
    for (host, table) in hosts.iter().enumerate() {
        for (column, source) in table.columns.iter().enumerate() {
            let Some(key) = of_sr(source, sr) else { continue };
            let place = *places.entry(key.into()).or_insert_with_key(|key| {
                names.push(key.clone());
                sums.push(Vec::new());
                names.len() - 1
            });
            let sum = place.checked_sub(of_own).and_then(|place| sums.get_mut(place));
            if let Some(sum) = sum.filter(|sum| sum.last().is_none_or(|last| last.0 != host)) {
                sum.push((host, column));
            }
        }
    }
    if names.is_empty() || (own.is_none() && !all) {
        return None;
    }
    let frame = own.or(hosts.first().map(|table| &**table))?;
    let rows = frame.rows.iter().map(|(time, _)| {
        let mut row: Vec<f64> = vec![f64::NAN; names.len()];
        if let Some(own) = own.and_then(|own| row_at(own, *time)) {
            row[..of_own].copy_from_slice(own);
        }
        if all {
            let at: Vec<Option<&[f64]>> = hosts.iter().map(|table| row_at(table, *time)).collect();
            for ((name, cell), sum) in names.iter().zip(&mut row).skip(of_own).zip(&sums) {
                let counts = sum.iter();
                let counts =
                    counts.map(|(host, place)| at[*host].map_or(f64::NAN, |row| row[*place]));
                *cell = counts.reduce(|one, other| combined(name, one, other)).unwrap_or(f64::NAN);
            }
        }
        (*time, row.into_boxed_slice())
    });
    let rows = rows.collect();
    Some(Table { step: frame.step, newest: frame.newest, columns: names, rows })
}

fn row_at(table: &Table, time: i64) -> Option<&[f64]> {
    let place = table.rows.binary_search_by_key(&time, |(time, _)| *time).ok()?;
    Some(&table.rows[place].1)
}
