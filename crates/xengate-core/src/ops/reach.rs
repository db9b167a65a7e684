//! One caller on one backend: what they may call, and calls made in their own session.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use uuid::Uuid;

use super::arguments::Arguments;
use super::capability::Version;
use super::error::{OpError, Unknown};
use super::lookup::read_through;
use super::patch::still_hidden;
use super::tasks::Tasks;
use super::typed;
use super::waited;
use crate::auth::roles;
use xenapi_client::{Retry, Session, Value};
use xenapi_mirror::inventory::{Mirror, Reading, Snapshot, is_mirrored};
use xenapi_model::{Call, Class, HIDDEN, Type, datamodel, is_hidden_key};
use xenapi_wire::Arg;

/// How long a client waits for the mirror to show what it has just done.
const SETTLE_WITHIN: Duration = Duration::from_secs(5);

/// A caller on one backend.
#[derive(Debug, Clone)]
pub struct Reach {
    /// What is known of the backend.
    pub mirror: Arc<Mirror>,
    /// The caller's own session of it.
    pub session: Arc<Session>,
}

/// What a call came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The result as clients see it, JSON with uuids for refs; `None` is void.
    pub result: Option<Vec<u8>>,
}

/// What a call has changed.
#[derive(Debug, Clone, Copy)]
pub enum Touched<'a> {
    /// An object that is still there: its class and its ref.
    Object(&'a Class, &'a str),
    /// Something that is not there any more, or no single object.
    Elsewhere,
}

/// What is known of a task that the backend has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Started {
    /// Its uuid.
    As(Uuid),
    /// Not yet which.
    Unnamed,
    /// It is not there any more.
    Gone,
}

/// Whether readers can see what a call has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Settled {
    /// They can.
    Seen,
    /// Not yet, or nobody knows.
    Pending,
}

impl Reach {
    /// What is mirrored of the backend, and how it stands.
    pub fn reading(&self) -> Result<Arc<Reading>, OpError> {
        let reading = self.mirror.reading();
        reading.ok_or_else(|| OpError::NotMirrored(self.mirror.name().to_owned()))
    }

    /// What is mirrored of the backend.
    pub fn snapshot(&self) -> Result<Arc<Snapshot>, OpError> {
        Ok(self.reading()?.snapshot.clone())
    }

    /// Whether the caller may make the call and the backend has it, as far as can be known without
    /// sending anything.
    pub fn check(&self, call: &Call, arguments: &Arguments) -> Result<(), OpError> {
        let is_hidden = |arg: &Arg| matches!(arg, Arg::String(text) if text == HIDDEN);
        if key_of(call, arguments).is_some_and(is_hidden_key)
            && arguments.values.last().is_some_and(is_hidden)
        {
            return Err(still_hidden("/value").into());
        }
        roles::may_for_key(&self.session.access, call, key_of(call, arguments))
            .map_err(|roles| OpError::Denied { call: call.wire_name.clone(), roles })?;
        self.supports(call)
    }

    /// The same before anything is known of the arguments.
    pub fn admits(&self, call: &Call) -> Result<(), OpError> {
        roles::may_ever(&self.session.access, call)
            .map_err(|roles| OpError::Denied { call: call.wire_name.clone(), roles })?;
        self.supports(call)
    }

    fn supports(&self, call: &Call) -> Result<(), OpError> {
        match self.mirror.backend().has(&call.wire_name) {
            Some(true) => return Ok(()),
            Some(false) => {
                let why = "its dialect of the Xen-API has no such call".to_owned();
                let what = call.wire_name.clone();
                return Err(OpError::NotSupported { what, why, pointer: None });
            }
            None => {}
        }
        let Some(reading) = self.mirror.reading() else { return Ok(()) };
        match Version::of(&reading.snapshot).lacks_call(call) {
            Some(why) => {
                Err(OpError::NotSupported { what: call.wire_name.clone(), why, pointer: None })
            }
            None => Ok(()),
        }
    }

    /// Makes a call and waits for its result.
    pub async fn call(
        &self,
        call: &'static Call,
        arguments: impl Into<Arguments>,
    ) -> Result<Done, OpError> {
        let arguments = arguments.into();
        self.check(call, &arguments)?;
        let value = self.send(call, &call.wire_name, &arguments).await?;
        match &call.result {
            None => Ok(Done { result: None }),
            Some(ty) => {
                Ok(Done { result: Some(self.result(call, ty, (&value, &arguments)).await?) })
            }
        }
    }

    /// The result of a call as clients see it. Of a call that has changed something it is null when
    /// no more than what it names cannot be told: the call has been carried out.
    pub(super) async fn result(
        &self,
        call: &Call,
        ty: &Type,
        (value, arguments): (&Value, &Arguments),
    ) -> Result<Vec<u8>, OpError> {
        if let Type::Ref(_) = ty
            && let Err(error) = typed::reference(value)
        {
            return Err(self.failed(call, arguments, error));
        }
        match typed::shown(self, call, ty, value).await {
            Err(error) if !call.only_reads() => {
                let call = &call.wire_name;
                tracing::warn!(%error, call, "a call was carried out, and its result cannot be told");
                Ok(b"null".to_vec())
            }
            shown => shown,
        }
    }

    /// Starts a call and leaves it to the backend, as a task that `tasks` keeps an eye on.
    /// Calls without an `Async.` form are refused by the backend.
    pub async fn start(
        &self,
        call: &'static Call,
        arguments: impl Into<Arguments>,
        tasks: &Arc<Tasks>,
    ) -> Result<Uuid, OpError> {
        let arguments = arguments.into();
        self.check(call, &arguments)?;
        if self.mirror.is_polled() {
            return waited::start(self, call, arguments, tasks);
        }
        let wire_name = format!("Async.{}", call.wire_name);
        let value = self.send(call, &wire_name, &arguments).await?;
        let reference = match typed::reference(&value) {
            Ok(reference) => Arc::<str>::from(reference),
            Err(error) => return Err(self.failed(call, &arguments, error)),
        };
        let task = self.task_of(&reference).await;
        Ok(tasks.follow(self, call, arguments.named, (task, reference)))
    }

    /// What can be told of a task that the backend has just started. It runs, whatever comes of the
    /// question.
    async fn task_of(&self, reference: &Arc<str>) -> Started {
        let class = super::tasks::class();
        let error = match self.uuid_of(class, reference).await {
            Ok(uuid) => return Started::As(uuid),
            Err(error) => error,
        };
        tracing::debug!(backend = self.mirror.name(), %error, "a task was started, and not told of");
        // By then the mirror may show it.
        let _ = self.settle(Touched::Elsewhere).await;
        match self.uuid_of(class, reference).await {
            Ok(uuid) => Started::As(uuid),
            Err(again) if error.is_about_nothing() && again.is_about_nothing() => Started::Gone,
            Err(_) => Started::Unnamed,
        }
    }

    /// Makes sure that readers can see what the caller has just done, waiting for it a little.
    pub async fn settle(&self, touched: Touched<'_>) -> Settled {
        if self.mirror.is_polled() {
            return self.settle_by_reading(touched).await;
        }
        let settled = async {
            let token = match touched {
                Touched::Object(class, reference) if is_mirrored(class) => {
                    self.inject(&class.name, reference).await
                }
                _ => None,
            };
            let token = match token {
                Some(token) => Some(token),
                // What was touched is gone: any object will do, and a pool has a pool.
                None => match self.pool() {
                    Some(pool) => self.inject("pool", &pool).await,
                    None => None,
                },
            };
            match token {
                Some(token) => self.mirror.passed(&token, SETTLE_WITHIN).await,
                None => false,
            }
        };
        match timeout(SETTLE_WITHIN, settled).await {
            Ok(true) => Settled::Seen,
            _ => Settled::Pending,
        }
    }

    /// Has what was touched read again, where the backend tells of no changes.
    async fn settle_by_reading(&self, touched: Touched<'_>) -> Settled {
        let Touched::Object(class, reference) = touched else { return Settled::Pending };
        let Some(class) = datamodel().class(&class.name) else { return Settled::Pending };
        match self.mirror.reread(&class.name, reference, SETTLE_WITHIN).await {
            true => Settled::Seen,
            false => Settled::Pending,
        }
    }

    /// The ref of an object, asked for where the class is not mirrored.
    pub async fn find(&self, class: &Class, uuid: Uuid) -> Result<Option<Arc<str>>, OpError> {
        if is_mirrored(class) {
            let snapshot = self.snapshot()?;
            return Ok(snapshot.object(class.id, &uuid).map(|object| object.reference().clone()));
        }
        read_through(self, class, uuid).await
    }

    /// Sends a call, checked by then, under this name.
    pub(super) async fn send(
        &self,
        call: &Call,
        wire_name: &str,
        arguments: &Arguments,
    ) -> Result<Value, OpError> {
        let retry = if call.only_reads() { Retry::Read } else { Retry::Write };
        let backend = self.mirror.backend();
        let result = backend.call(&self.session, wire_name, &arguments.values, retry).await;
        result.map_err(|error| self.failed(call, arguments, error.into()))
    }

    /// What it means that a call came to this. One that changes something and may have been carried
    /// out is neither done nor not done.
    fn failed(&self, call: &Call, arguments: &Arguments, error: OpError) -> OpError {
        match error {
            error if error.code() == Some("MESSAGE_METHOD_UNKNOWN") => OpError::NotSupported {
                what: call.wire_name.clone(),
                why: "it does not know the call".to_owned(),
                pointer: None,
            },
            OpError::Call(error) if !call.only_reads() && error.maybe_done() => {
                let object = match arguments.values.first() {
                    Some(Arg::String(reference)) => self.mirror.resolve(reference),
                    _ => None,
                };
                let object = object.map(|(class, uuid)| (&*datamodel().get(class).name, uuid));
                let call = call.wire_name.clone();
                OpError::OutcomeUnknown(Box::new(Unknown { call, object, error }))
            }
            error => error.of_call(call).about(arguments).shown(&self.mirror),
        }
    }

    /// The ref of the pool, of which every backend has one.
    pub(super) fn pool(&self) -> Option<Arc<str>> {
        let class = datamodel().class("pool")?;
        let reading = self.mirror.reading()?;
        Some(reading.snapshot.class(class.id).iter().next()?.reference().clone())
    }

    async fn inject(&self, class: &str, reference: &str) -> Option<String> {
        let args = [Arg::from(class), Arg::from(reference)];
        let backend = self.mirror.backend();
        match backend.call(&self.session, "event.inject", &args, Retry::Read).await {
            Ok(value) => serde_json::from_str(value.get()).ok(),
            Err(error) => {
                tracing::debug!(backend = backend.name(), %error, "no event to wait for");
                None
            }
        }
    }

    /// The uuid of an object that may be too new for the mirror, or not mirrored at all.
    pub(super) async fn uuid_of(&self, class: &Class, reference: &str) -> Result<Uuid, OpError> {
        if let Some((_, uuid)) = self.mirror.resolve(reference) {
            return Ok(uuid);
        }
        let args = [Arg::from(reference)];
        let backend = self.mirror.backend();
        let value = backend
            .call(&self.session, &format!("{}.get_uuid", class.name), &args, Retry::Read)
            .await?;
        typed::uuid(&value)
    }
}

/// The key of a map that a call works on, if it does.
fn key_of<'a>(call: &Call, arguments: &'a Arguments) -> Option<&'a str> {
    let index = call.params.iter().position(|param| param.name == "key")?;
    match arguments.values.get(index) {
        Some(Arg::String(key)) => Some(key),
        _ => None,
    }
}
