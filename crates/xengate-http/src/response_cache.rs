//! Large bodies that many clients get: made once, compressed once, held once.
//!
//! A body is known by what its entity tag is made of. Of each there is one version, the newest: a
//! newer one takes its place, so that changes do not fill the cache with what nobody asks for any
//! more. Whoever asks while a body is being made waits for it; a client that goes away leaves the
//! work to the next.
//!
//! What is kept takes its room together with what is under way, and makes way for it. Where there is
//! none even then, no body is made.
//!
//! Compressing tells about a body's content by its length (BREACH). What comes here holds no secret
//! of the session, and a page of another origin cannot have a browser ask for it: the token is no
//! cookie.

use std::sync::{Arc, OnceLock, Weak};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderMap;
use parking_lot::Mutex;
use quick_cache::sync::{Cache, DefaultLifecycle, EntryAction, EntryResult, PlaceholderGuard};
use quick_cache::{OptionsBuilder, Weighter};
use tokio::sync::Semaphore;

use super::compression;
use super::unsent_budget;
use crate::compression::Encoding;
use crate::unsent_budget::{OverBudget, UnsentBudget};
use crate::validators::ETag;
use xengate_core::auth::Unsent;

/// Smaller bodies are quicker made than shared.
const LEAST: usize = 16 << 10;

/// Larger ones take long enough to be in others' way.
const LONG_WORK: usize = 256 << 10;

/// About how many bodies there are at a time; no limit.
const EXPECTED: usize = 1024;

/// Which body: its subject and shape, and how it is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    of: (u32, u64),
    encoding: Option<Encoding>,
}

/// Which version of which body an answer has; an extension of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// What it is about and how that is shown.
    pub of: (u32, u64),
    /// The newest revision that it shows.
    pub revision: u64,
}

/// The bytes of a body that several answers have. Until the last of their clients has taken them
/// they take their memory once.
#[derive(Debug)]
pub struct CachedBody {
    bytes: Bytes,
    /// The headers that belong to it, once its first answer is complete.
    headers: OnceLock<HeaderMap>,
    /// What it takes of the room, for as long as an answer with it is under way or it is kept.
    share: Arc<unsent_budget::Share>,
    /// What answers of each user with it hold of the user's share.
    by_user: Mutex<Vec<(u64, Weak<Unsent>)>>,
}

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmade {
    /// There is no room for it.
    OverBudget,
    /// Making it failed.
    Failed,
}

impl CachedBody {
    fn new(bytes: Vec<u8>, share: unsent_budget::Share) -> Arc<Self> {
        let (headers, share) = (OnceLock::new(), Arc::new(share));
        Arc::new(Self { bytes: bytes.into(), headers, share, by_user: Mutex::default() })
    }

    /// What answers with these bytes hold of the room.
    pub fn share(&self) -> Option<Arc<unsent_budget::Share>> {
        Some(Arc::clone(&self.share))
    }

    /// What answers of one user with these bytes hold together of the user's share, which `take`
    /// takes for the first.
    pub fn of_user(&self, user: u64, take: impl FnOnce() -> Option<Unsent>) -> Option<Arc<Unsent>> {
        let mut by_user = self.by_user.lock();
        let own = by_user.iter().find(|(of, _)| *of == user);
        if let Some(held) = own.and_then(|(_, held)| held.upgrade()) {
            return Some(held);
        }
        by_user.retain(|(_, held)| held.strong_count() > 0);
        let taken = Arc::new(take()?);
        by_user.push((user, Arc::downgrade(&taken)));
        Some(taken)
    }
}

#[derive(Debug, Clone)]
struct Kept {
    revision: u64,
    body: Arc<CachedBody>,
}

#[derive(Debug, Clone)]
struct Weigh;

impl Weighter<Key, Kept> for Weigh {
    fn weight(&self, _: &Key, kept: &Kept) -> u64 {
        // And what it takes to keep it.
        kept.body.bytes.len() as u64 + 256
    }
}

type Guard<'a> = PlaceholderGuard<'a, Key, Kept, Weigh, foldhash::fast::RandomState, Lifecycle>;
type Lifecycle = DefaultLifecycle<Key, Kept>;

/// The bodies.
#[derive(Debug)]
pub struct ResponseCache {
    cache: Cache<Key, Kept, Weigh, foldhash::fast::RandomState>,
    /// Large bodies are made and compressed one at a time for each two processors.
    working: Semaphore,
    room: UnsentBudget,
}

impl ResponseCache {
    /// Keeps bodies of at most so many bytes together, within this room.
    pub fn new(bytes: u64, room: UnsentBudget) -> Self {
        let options = OptionsBuilder::new()
            .estimated_items_capacity(EXPECTED)
            .weight_capacity(bytes)
            // A part of the whole could be too small for a body that fits the whole.
            .shards(1)
            .build()
            .expect("both capacities are given");
        let hasher = foldhash::fast::RandomState::default();
        let cache = Cache::with_options(options, Weigh, hasher, Lifecycle::default());
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { cache, working: Semaphore::new(processors.div_ceil(2)), room }
    }

    /// The room that they and all other answers have.
    pub fn room(&self) -> &UnsentBudget {
        &self.room
    }

    /// Takes of the room; what is kept and nobody needs now makes way.
    pub fn make_room<T>(
        &self,
        take: impl Fn(&UnsentBudget) -> Result<T, OverBudget>,
    ) -> Result<T, OverBudget> {
        take(&self.room).or_else(|OverBudget| {
            self.cache.clear();
            take(&self.room)
        })
    }

    /// An answer with the body of this tag, which is `make`'s if there is none yet. It is about
    /// `expected` bytes long.
    pub async fn whole(
        &self,
        etag: &ETag,
        expected: usize,
        make: impl FnOnce() -> Vec<u8> + Send + 'static,
    ) -> Result<Response, Unmade> {
        if expected < LEAST {
            return Ok(Body::from(make()).into_response());
        }
        let Version { of, revision } = etag.version();
        let key = Key { of, encoding: None };
        let shared = self
            .once(key, revision, async || {
                // Before it is made: then it would be there.
                if expected as u64 > self.room.whole() {
                    return Err(Unmade::OverBudget);
                }
                let share = self.make_room(|room| room.reserve(expected as u64));
                let mut share = share.map_err(|OverBudget| Unmade::OverBudget)?;
                let bytes = self.work(expected, make).await.ok_or(Unmade::Failed)?;
                if let Some(more @ 1..) = bytes.len().checked_sub(expected) {
                    let more = self.make_room(|room| room.reserve(more as u64));
                    share.merge(more.map_err(|OverBudget| Unmade::OverBudget)?);
                }
                Ok(CachedBody::new(bytes, share))
            })
            .await?;
        let mut response = body(&shared).into_response();
        response.extensions_mut().insert(shared);
        Ok(response)
    }

    /// The whole answer of this tag, headers and all, if it is there already: then nothing need be
    /// looked for to make it.
    pub fn ready(&self, etag: &ETag) -> Option<Response> {
        let Version { of, revision } = etag.version();
        let kept = self.cache.get(&Key { of, encoding: None })?;
        let headers = kept.body.headers.get().filter(|_| kept.revision == revision)?.clone();
        let mut response = Response::new(body(&kept.body));
        *response.headers_mut() = headers;
        response.extensions_mut().insert(kept.body);
        Some(etag.on(response))
    }

    /// Notes that the answer has all the headers that its body and its tag tell of, for
    /// [`Self::ready`].
    pub fn complete(response: &Response) {
        if let Some(shared) = response.extensions().get::<Arc<CachedBody>>() {
            // Whoever was first had the same ones.
            let _ = shared.headers.set(response.headers().clone());
        }
    }

    /// The body that `plain` becomes with this coding; none when that fails.
    pub(super) async fn encoded(
        &self,
        version: Option<Version>,
        encoding: Encoding,
        plain: Bytes,
    ) -> Option<Arc<CachedBody>> {
        let length = plain.len();
        let compress = move || compression::compress(encoding, &plain);
        let work = async || {
            let packed = self.work(length, compress).await.and_then(Result::ok);
            let packed = packed.ok_or(Unmade::Failed)?;
            let share = self.make_room(|room| room.reserve(packed.len() as u64));
            Ok(CachedBody::new(packed, share.map_err(|OverBudget| Unmade::OverBudget)?))
        };
        let made = match version {
            Some(Version { of, revision }) => {
                self.once(Key { of, encoding: Some(encoding) }, revision, work).await
            }
            None => work().await,
        };
        made.ok()
    }

    /// The body of this key and revision. Of all who want it at a time one does the work.
    async fn once(
        &self,
        key: Key,
        revision: u64,
        work: impl AsyncFnOnce() -> Result<Arc<CachedBody>, Unmade>,
    ) -> Result<Arc<CachedBody>, Unmade> {
        match self.cache.get(&key) {
            Some(kept) if kept.revision == revision => return Ok(kept.body),
            _ => {}
        }
        let entry = self.cache.entry_async(&key, |_, kept| match kept {
            kept if kept.revision < revision => EntryAction::ReplaceWithGuard,
            kept => EntryAction::Retain((kept.revision == revision).then(|| kept.body.clone())),
        });
        let guard: Option<Guard<'_>> = match entry.await {
            EntryResult::Retained(Some(body)) => return Ok(body),
            // Others have a newer one already; this one is nobody else's.
            EntryResult::Retained(None) => None,
            EntryResult::Vacant(guard) | EntryResult::Replaced(guard, _) => Some(guard),
            EntryResult::Removed(..) | EntryResult::Timeout => None,
        };
        let body = work().await?;
        if let Some(guard) = guard {
            // It may be too large to be kept.
            let _ = guard.insert(Kept { revision, body: body.clone() });
        }
        Ok(body)
    }

    /// Does what takes long where it is in nobody's way.
    async fn work<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        if bytes < LONG_WORK {
            return Some(work());
        }
        let _turn = self.working.acquire().await.ok()?;
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => Some(done),
            Err(error) => {
                tracing::error!(%error, "a body could not be made");
                None
            }
        }
    }
}

/// These bytes, for an answer that has them as an extension too.
pub(super) fn body(shared: &Arc<CachedBody>) -> Body {
    Body::from(shared.bytes.clone())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures_util::future::join_all;

    use super::*;
    use crate::validators::EtagBuilder;

    const LARGE: usize = 1 << 20;

    fn version(revision: u64) -> Version {
        Version { of: (1, 2), revision }
    }

    fn shared(bodies: &ResponseCache, bytes: Vec<u8>) -> Result<Arc<CachedBody>, Unmade> {
        let share = bodies.room.reserve(bytes.len() as u64).expect("room");
        Ok(CachedBody::new(bytes, share))
    }

    fn bytes(response: Result<Response, Unmade>) -> Bytes {
        let response = response.expect("made");
        response.extensions().get::<Arc<CachedBody>>().expect("shared").bytes.clone()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_asks_at_once_has_it_made_and_compressed_once() {
        let (bodies, made) = (
            ResponseCache::new(64 << 20, UnsentBudget::new(256 << 20)),
            Arc::new(AtomicUsize::new(0)),
        );
        let etag = EtagBuilder::of(&"list").etag_of_boot("0f3c9a71be42");
        let asked = (0..100).map(|_| {
            let made = made.clone();
            bodies.whole(&etag, LARGE, move || {
                made.fetch_add(1, Ordering::Relaxed);
                vec![b'x'; LARGE]
            })
        });
        let answers: Vec<Bytes> = join_all(asked).await.into_iter().map(bytes).collect();
        assert_eq!(made.load(Ordering::Relaxed), 1);
        assert!(answers.iter().all(|one| one.as_ptr() == answers[0].as_ptr()));
        let plain = &answers[0];
        for encoding in Encoding::ALL {
            let ask = || bodies.encoded(Some(etag.version()), encoding, plain.clone());
            let packed = join_all((0..100).map(|_| ask())).await;
            let packed: Vec<_> = packed.into_iter().map(|one| one.expect("packed")).collect();
            assert!(packed.iter().all(|one| Arc::ptr_eq(one, &packed[0])), "{encoding:?}");
        }
    }

    async fn once(bodies: &ResponseCache, revision: u64, size: usize) -> (Arc<CachedBody>, bool) {
        let mut made = false;
        let key = Key { of: version(0).of, encoding: None };
        let work = async || {
            made = true;
            shared(bodies, vec![0; size])
        };
        (bodies.once(key, revision, work).await.expect("made"), made)
    }

    #[tokio::test]
    async fn a_newer_version_takes_the_place_of_the_old_one() {
        let bodies = ResponseCache::new(64 << 20, UnsentBudget::new(256 << 20));
        assert!(once(&bodies, 1, LARGE).await.1);
        assert!(!once(&bodies, 1, LARGE).await.1);
        assert!(once(&bodies, 2, LARGE).await.1);
        assert!(bodies.cache.weight() < 2 * LARGE as u64, "one of them is there");
        assert!(once(&bodies, 1, LARGE).await.1, "who came with the older one gets that");
        assert!(!once(&bodies, 2, LARGE).await.1, "which nobody keeps");
    }

    #[tokio::test]
    async fn a_complete_answer_is_there_with_its_headers() {
        let bodies = ResponseCache::new(64 << 20, UnsentBudget::new(256 << 20));
        let etag = EtagBuilder::of(&"list").etag_of_boot("0f3c9a71be42");
        assert!(bodies.ready(&etag).is_none());
        let first = bodies.whole(&etag, LARGE, || vec![b'x'; LARGE]).await;
        let mut first = first.expect("made");
        assert!(bodies.ready(&etag).is_none(), "its headers are not known");
        first.headers_mut().insert("xen-total", 7.into());
        ResponseCache::complete(&first);
        let second = bodies.ready(&etag).expect("complete");
        assert_eq!(second.headers()["xen-total"], "7");
        assert!(second.headers().contains_key("etag"));
        assert_eq!(second.extensions().get::<Version>(), Some(&etag.version()));
        assert_eq!(bytes(Ok(second)).as_ptr(), bytes(Ok(first)).as_ptr());
        // A short one is not shared, so there is nothing to complete.
        ResponseCache::complete(&bodies.whole(&etag, 1, || vec![b'x']).await.expect("made"));
    }

    #[tokio::test]
    async fn no_more_is_kept_than_may_be() {
        let bodies = ResponseCache::new(4 * LARGE as u64, UnsentBudget::new(256 << 20));
        for number in 0..20 {
            let key = Key { of: (number, 0), encoding: None };
            bodies.once(key, 1, async || shared(&bodies, vec![0; LARGE])).await.expect("made");
            assert!(bodies.cache.weight() <= 4 * LARGE as u64);
        }
        let huge = bodies.once(Key { of: (99, 0), encoding: None }, 1, async || {
            shared(&bodies, vec![0; 5 * LARGE])
        });
        assert_eq!(huge.await.expect("made").bytes.len(), 5 * LARGE);
        assert!(bodies.cache.weight() <= 4 * LARGE as u64);
    }

    #[tokio::test]
    async fn a_client_that_goes_away_leaves_the_work_to_the_next() {
        let bodies = ResponseCache::new(64 << 20, UnsentBudget::new(256 << 20));
        let key = Key { of: (1, 1), encoding: None };
        let gone = bodies.once(key, 1, async || {
            std::future::pending::<()>().await;
            Err(Unmade::Failed)
        });
        let waits = bodies.once(key, 1, async || shared(&bodies, vec![1]));
        let gone = async {
            assert!(tokio::time::timeout(Duration::from_millis(1), gone).await.is_err());
        };
        let ((), body) = tokio::join!(gone, waits);
        assert_eq!(&*body.expect("made").bytes, [1]);
        // A failure is nobody else's.
        let failed = bodies.once(Key { of: (2, 2), ..key }, 1, async || Err(Unmade::Failed)).await;
        assert_eq!(failed.err(), Some(Unmade::Failed));
        let again =
            bodies.once(Key { of: (2, 2), ..key }, 1, async || shared(&bodies, vec![])).await;
        assert!(again.is_ok());
    }

    #[tokio::test]
    async fn what_is_kept_makes_way_and_what_is_under_way_does_not() {
        let bodies = ResponseCache::new(64 << 20, UnsentBudget::new(2 * LARGE as u64));
        let etag = |name: &str| EtagBuilder::of(&name).etag_of_boot("0f3c9a71be42");
        let whole = async |name: &str, made: usize| {
            bodies.whole(&etag(name), LARGE, move || vec![b'x'; made]).await
        };
        let one = whole("one", LARGE).await.expect("room");
        drop(whole("two", LARGE).await.expect("room"));
        assert_eq!(bodies.room.taken(), 2 * LARGE as u64, "the second is kept");
        let three = whole("three", LARGE).await.expect("the second made way");
        assert_eq!(whole("four", LARGE).await.err(), Some(Unmade::OverBudget));
        drop(one);
        drop(whole("four", LARGE).await.expect("room"));
        drop(three);
        assert_eq!(
            whole("five", 3 * LARGE).await.err(),
            Some(Unmade::OverBudget),
            "more than expected"
        );
        drop(whole("six", LARGE + LARGE / 2).await.expect("room"));
        assert!(bodies.make_room(|room| room.reserve(2 * LARGE as u64)).is_ok());
    }
}
