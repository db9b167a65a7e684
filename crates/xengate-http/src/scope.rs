//! What a request may read: the mirrors of the backends its caller is logged in to.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use futures_util::future::join_all;
use http::{HeaderName, HeaderValue, header};
use uuid::Uuid;

use super::Gateway;
use crate::in_flight::waiting;
use crate::page::{BackendSlice, Objects};
use crate::problem::{Code, Problem};
use crate::revision::Revision;
use crate::validators::Preconditions;
use xenapi_mirror::inventory::{Mirror, NotReady, Object, Reading, Snapshot, is_mirrored};
use xenapi_model::{Class, ClassId};
use xengate_core::auth::{BackendStatus, Caller, NoAccess};
use xengate_core::ops::Reach;

/// How long a read waits for a first sync.
const PATIENCE: Duration = Duration::from_secs(10);
/// When to come back for objects that are not mirrored yet.
const COME_BACK: Duration = Duration::from_secs(2);

/// Names the backends whose objects may be out of date.
pub static XEN_STALE: HeaderName = HeaderName::from_static("xen-stale");

/// The mirrors a request reads, in the order of their names.
#[derive(Debug)]
pub struct Scope {
    readings: Vec<(Arc<str>, Arc<Reading>)>,
    /// Backends that belong to the request and cannot be read.
    partial: Vec<String>,
    /// The classes that the request reads beside VMs, as far as it matters which.
    classes: Box<[ClassId]>,
    /// The readings show everything up to it and nothing beyond.
    revision: Revision,
}

impl Scope {
    /// The mirrors of the caller's backends, or of the one that is named.
    ///
    /// A mirror that is not there yet is waited for. It is an error when none can be read.
    pub async fn of(
        gateway: &Gateway,
        caller: &Caller,
        backend: Option<&str>,
    ) -> Result<Self, Problem> {
        Self::of_classes(gateway, caller, backend, []).await
    }

    /// The same for a request that reads objects of these classes, which a backend may have to be
    /// asked for.
    pub async fn of_classes(
        gateway: &Gateway,
        caller: &Caller,
        backend: Option<&str>,
        classes: impl IntoIterator<Item = ClassId>,
    ) -> Result<Self, Problem> {
        let classes: Box<[ClassId]> = classes.into_iter().collect();
        let (mut partial, mut wanted) = (Vec::new(), Vec::new());
        match backend {
            Some(name) => wanted.push(Self::mirror(gateway, caller, name)?),
            None => {
                for (name, readable) in caller.readable() {
                    match gateway.inventory.mirror(&name) {
                        Some(mirror) if readable => wanted.push(mirror),
                        _ => partial.push(name),
                    }
                }
            }
        }
        let mut problem = None;
        let (mut mirrors, absent): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|mirror| mirror.at_hand(&classes));
        if !absent.is_empty() {
            // What is at hand is not held up by a backend that is still syncing.
            let patience = if mirrors.is_empty() { PATIENCE } else { Duration::ZERO };
            let ready = absent.into_iter().map(|mirror| ready(mirror, &classes, patience));
            for (mirror, ready) in waiting(join_all(ready)).await? {
                match ready {
                    Ok(_) => mirrors.push(mirror),
                    Err(not_ready) => {
                        partial.push(mirror.name().to_owned());
                        problem = Some(Problem::from(not_ready));
                    }
                }
            }
            mirrors.sort_unstable_by_key(|mirror| mirror.name());
        }
        let (number, readings) = gateway.inventory.readings(&mirrors);
        let named = |reading: Arc<Reading>| (reading.backend.clone(), reading);
        let readings: Vec<_> = readings.into_iter().map(named).collect();
        for mirror in mirrors {
            // Forgotten since, because nobody was logged in for long.
            if !readings.iter().any(|(name, _)| **name == *mirror.name()) {
                partial.push(mirror.name().to_owned());
            }
        }
        if readings.is_empty() {
            return Err(problem.unwrap_or_else(|| {
                Problem::new(Code::BackendUnreachable, "none of the session's backends can be read")
            }));
        }
        partial.sort_unstable();
        let revision = Revision { boot: gateway.boot_id.clone(), number };
        Ok(Self { readings, partial, classes, revision })
    }

    fn mirror<'a>(
        gateway: &'a Gateway,
        caller: &Caller,
        name: &str,
    ) -> Result<&'a Arc<Mirror>, Problem> {
        match (gateway.inventory.mirror(name), caller.access(name)) {
            (Some(mirror), Ok(_)) => Ok(mirror),
            (None, _) | (_, Err(NoAccess::NotLoggedIn)) => Err(Problem::new(
                Code::UnknownBackend,
                "no backend of that name, or the session is not logged in to it",
            )),
            (_, Err(no_access)) => {
                let code = match no_access {
                    NoAccess::LoginFailed(BackendStatus::Refused) | NoAccess::Ended => {
                        Code::Forbidden
                    }
                    _ => Code::BackendUnreachable,
                };
                Err(Problem::new(code, format!("backend {name}: {no_access}")))
            }
        }
    }

    /// The caller on one backend.
    pub fn reach(gateway: &Gateway, caller: &Caller, backend: &str) -> Result<Reach, Problem> {
        let mirror = Self::mirror(gateway, caller, backend)?.clone();
        let session = caller.access(backend).map_err(|no_access| {
            Problem::new(Code::BackendUnreachable, format!("backend {backend}: {no_access}"))
        })?;
        Ok(Reach { mirror, session })
    }

    /// The caller on the backend that is named, or on the only one there is.
    pub async fn backend(
        gateway: &Gateway,
        caller: &Caller,
        backend: Option<&str>,
    ) -> Result<Reach, Problem> {
        let scope = Self::of(gateway, caller, backend).await?;
        match (scope.readings.as_slice(), scope.partial.as_slice()) {
            ([(name, _)], []) => Self::reach(gateway, caller, name),
            _ => Err(Problem::new(
                Code::BackendRequired,
                "the session is logged in to several backends; say which with ?backend=",
            )),
        }
    }

    /// The caller on the backend that has the object, and the object's ref there. An object that is
    /// not as the client wants it is a problem.
    pub async fn target(
        gateway: &Gateway,
        caller: &Caller,
        backend: Option<&str>,
        class: &Class,
        uuid: Uuid,
        validators: &Preconditions,
    ) -> Result<(Reach, Arc<str>), Problem> {
        if !is_mirrored(class) {
            let reach = Self::backend(gateway, caller, backend).await?;
            let reference = reach.find(class, uuid).await?;
            let none = || Problem::new(Code::NotFound, "no object of this uuid");
            let reference = reference.ok_or_else(none)?;
            validators.permit_unversioned()?;
            return Ok((reach, reference));
        }
        let scope = Self::of_classes(gateway, caller, backend, [class.id]).await?;
        let (reading, object) = scope.object(class.id, uuid)?;
        validators.permit(gateway, reading, object)?;
        let reach = Self::reach(gateway, caller, object.backend())?;
        Ok((reach, object.reference().clone()))
    }

    /// The readings with their backends' names.
    pub fn readings(&self) -> &[(Arc<str>, Arc<Reading>)] {
        &self.readings
    }

    /// What is mirrored of each.
    pub fn snapshots(&self) -> impl Iterator<Item = &Snapshot> + Clone {
        self.readings.iter().map(|(_, reading)| &*reading.snapshot)
    }

    /// What each has of a list.
    pub fn shelves<'a>(
        &'a self,
        mut objects: impl FnMut(&'a Snapshot) -> Objects<'a>,
    ) -> impl Iterator<Item = BackendSlice<'a>> {
        self.readings.iter().map(move |(backend, reading)| BackendSlice {
            backend,
            snapshot: &reading.snapshot,
            objects: objects(&reading.snapshot),
        })
    }

    /// The backends that could not be read.
    pub fn partial(&self) -> &[String] {
        &self.partial
    }

    /// The one object of this class and uuid, with the reading that has it.
    pub fn object(
        &self,
        class: ClassId,
        uuid: Uuid,
    ) -> Result<(&Arc<Reading>, &Arc<Object>), Problem> {
        self.find(class, uuid).map_err(|problem| self.aged(problem))
    }

    fn find(&self, class: ClassId, uuid: Uuid) -> Result<(&Arc<Reading>, &Arc<Object>), Problem> {
        let mut found = self.readings.iter().filter_map(|(name, reading)| {
            Some((name, reading, reading.snapshot.object(class, &uuid)?))
        });
        match (found.next(), found.next()) {
            (Some((_, reading, object)), None) => Ok((reading, object)),
            (Some((first, ..)), Some((second, ..))) => {
                let backends = [first, second].into_iter().chain(found.map(|(name, ..)| name));
                let names: Vec<&str> = backends.map(|name| &**name).collect();
                Err(Problem::new(
                    Code::AmbiguousUuid,
                    "several backends have an object of this uuid; say which with ?backend=",
                )
                .with_params(names))
            }
            // It may be there: where it is not, nobody can say.
            (None, _) if !self.partial.is_empty() => Err(Problem::new(
                Code::BackendUnreachable,
                format!(
                    "not found, but these backends cannot be read now: {}",
                    self.partial.join(", ")
                ),
            )
            .with_params(self.partial.iter().cloned())),
            (None, _) => Err(Problem::new(Code::NotFound, "no object of this uuid")),
        }
    }

    /// Says in the answer's headers of which revision it is and how old it may be.
    pub fn mark(&self, response: &mut Response) {
        self.revision.mark(response);
        mark(response, self.named(), &self.classes);
    }

    /// The same for an answer that one backend's reading was enough for.
    pub fn mark_one(&self, response: &mut Response, backend: &str, reading: &Reading) {
        self.revision.mark(response);
        mark(response, std::iter::once((backend, reading)), &self.classes);
    }

    /// The problem, with word of how old the readings are that it was found in.
    fn aged(&self, problem: Problem) -> Problem {
        match staleness(self.named(), &self.classes) {
            Some((Some(names), age)) => {
                problem.with_header(XEN_STALE.clone(), names).with_header(header::AGE, age)
            }
            Some((None, age)) => problem.with_header(header::AGE, age),
            None => problem,
        }
    }

    fn named(&self) -> impl Iterator<Item = (&str, &Reading)> {
        self.readings.iter().map(|(name, reading)| (&**name, &**reading))
    }
}

/// Says in the headers of an answer which of the readings it was made from are stale.
fn mark<'a>(
    response: &mut Response,
    readings: impl Iterator<Item = (&'a str, &'a Reading)>,
    classes: &[ClassId],
) {
    if let Some((names, age)) = staleness(readings, classes) {
        if let Some(names) = names {
            response.headers_mut().insert(XEN_STALE.clone(), names);
        }
        response.headers_mut().insert(header::AGE, age);
    }
}

/// The names of stale readings, if any are, and the age of the oldest reading in seconds.
fn staleness<'a>(
    readings: impl Iterator<Item = (&'a str, &'a Reading)>,
    classes: &[ClassId],
) -> Option<(Option<HeaderValue>, HeaderValue)> {
    let (mut names, mut oldest) = (String::new(), None);
    for (name, reading) in readings {
        if reading.is_stale(classes) {
            if !names.is_empty() {
                names.push_str(", ");
            }
            names.push_str(name);
        }
        oldest = oldest.max(reading.age_of(classes).map(|age| age.as_secs()));
    }
    let names = Some(names).filter(|names| !names.is_empty());
    Some((names.and_then(|names| HeaderValue::from_str(&names).ok()), HeaderValue::from(oldest?)))
}

async fn ready<'a>(
    mirror: &'a Arc<Mirror>,
    classes: &[ClassId],
    patience: Duration,
) -> (&'a Arc<Mirror>, Result<Arc<Reading>, NotReady>) {
    (mirror, mirror.ready_with(classes, patience).await)
}

impl From<NotReady> for Problem {
    fn from(not_ready: NotReady) -> Self {
        let code = match not_ready {
            NotReady::Down { .. } => Code::BackendUnreachable,
            NotReady::Nonsense { .. } | NotReady::Unfollowed { .. } => Code::BadReply,
            NotReady::Late { .. } | NotReady::TooLarge { .. } => Code::BackendNotReady,
            // There is nothing to come back for.
            NotReady::Unsupported { .. } => {
                return Self::new(Code::NotSupported, not_ready.to_string());
            }
        };
        Self::new(code, not_ready.to_string()).retry_after(COME_BACK)
    }
}
