//! Reads a pool class by class, where it fails to tell of everything at once: a coordinator with
//! little memory cannot put so long an answer together.
//!
//! A token is taken first. What changes while the classes are read is then told of by the events
//! since, so that nothing is missed although the classes are not read at one moment.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::time::timeout;

use super::fetch::Brought;
use super::hearing::GLANCE;
use crate::inventory::draft::{Draft, is_mirrored};
use crate::inventory::encode::Encoder;
use crate::inventory::mirror::Mirror;
use crate::inventory::refs::RefIndex;
use crate::inventory::standing::{ends_session, is_unknown};
use crate::inventory::untold::Untold;
use xenapi_client::{
    Backend, BadReply, CallError, EventFrame, Fault, Found, Phase, ReadError, Retry, Session,
};
use xenapi_model::{Class, datamodel};
use xenapi_wire::Arg;

/// How long it may take to find out whether the pool answers at all.
const TOKEN_WITHIN: Duration = Duration::from_secs(5);
/// So many records are taken before others may run.
const AT_ONCE: usize = 100;

/// One reading of a pool.
pub(super) struct ByClass<'a> {
    backend: &'a Backend,
    session: &'a Session,
    encoder: &'a mut Encoder,
    untold: &'a mut Untold,
    mirror: &'a Mirror,
    /// Whether what has been read takes more memory than there is.
    oversized: &'a mut bool,
    draft: Draft,
    refs: RefIndex,
}

impl<'a> ByClass<'a> {
    pub(super) fn new(
        mirror: &'a Mirror,
        session: &'a Session,
        encoder: &'a mut Encoder,
        untold: &'a mut Untold,
        oversized: &'a mut bool,
    ) -> Self {
        let (draft, refs) = (Draft::fresh(), RefIndex::default());
        let backend = &*mirror.backend;
        Self { backend, session, encoder, untold, mirror, oversized, draft, refs }
    }

    /// Reads every class.
    pub(super) async fn read(mut self) -> Result<Brought, CallError> {
        let token = match timeout(TOKEN_WITHIN, self.token()).await {
            Ok(token) => token?,
            Err(_) => return Err(CallError::Timeout(Phase::Reply)),
        };
        for class in datamodel().classes.iter().filter(|class| is_mirrored(class)) {
            self.class(class).await?;
        }
        let frame = EventFrame { token, valid_ref_counts: BTreeMap::new() };
        Ok(Brought::All(Box::new(self.draft), self.refs, frame))
    }

    /// Where the events go on.
    async fn token(&self) -> Result<String, CallError> {
        let pools = self.call("pool.get_all", &[]).await?;
        if let Some(pool) = strings(&pools).first() {
            match self.call("event.inject", &[Arg::from("pool"), Arg::from(&**pool)]).await {
                Ok(token) => return Ok(serde_json::from_str(&token).unwrap_or_default()),
                Err(error) if ends_session(&error) => return Err(error),
                Err(_) => {}
            }
        }
        // A pool is one object.
        let mut drop_it = |_: &[u8]| Ok(());
        let events = self.backend.events(self.session, &["pool"], "", GLANCE, &mut drop_it);
        Ok(events.await?.token)
    }

    /// Reads a class: all records at once, or as events, or one record after the other.
    async fn class(&mut self, class: &'static Class) -> Result<(), CallError> {
        let failed = match self.call(&format!("{}.get_all_records", class.name), &[]).await {
            Ok(records) => {
                let records: BTreeMap<String, &RawValue> =
                    serde_json::from_str(&records).unwrap_or_default();
                for (place, (reference, record)) in records.into_iter().enumerate() {
                    self.take(class, reference, record.get())?;
                    if place % AT_ONCE == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                return Ok(());
            }
            Err(error) if ends_session(&error) => return Err(error),
            // A class that came later.
            Err(error) if code(&error) == Some("MESSAGE_METHOD_UNKNOWN") => return Ok(()),
            Err(error) => error,
        };
        tracing::debug!(class = class.name, error = %failed, "a class is read otherwise");
        // Some classes are told of in events only.
        match self.events(class).await {
            Ok(()) => return Ok(()),
            Err(error) if *self.oversized || ends_session(&error) => return Err(error),
            Err(_) => {}
        }
        let gone = matches!(&failed, CallError::Failure(failure) if is_unknown(failure));
        if gone || code(&failed) == Some("RBAC_PERMISSION_DENIED") {
            return Ok(());
        }
        if let Err(error) = self.one_by_one(class).await {
            return Err(if *self.oversized { error } else { failed });
        }
        Ok(())
    }

    async fn events(&mut self, class: &'static Class) -> Result<(), CallError> {
        let (draft, encoder, refs) = (&mut self.draft, &mut *self.encoder, &mut self.refs);
        let (untold, mirror, oversized) = (&mut *self.untold, self.mirror, &mut *self.oversized);
        let mut take = |event: &[u8]| {
            draft.take(event, encoder, refs);
            untold.note(event);
            *oversized = !mirror.has_room_for(draft.bytes());
            if *oversized { Err(ReadError::TooLarge { limit: 0 }) } else { Ok(()) }
        };
        let name = class.name.to_ascii_lowercase();
        self.backend.events(self.session, &[&name], "", GLANCE, &mut take).await.map(drop)
    }

    async fn one_by_one(&mut self, class: &'static Class) -> Result<(), CallError> {
        let all = self.call(&format!("{}.get_all", class.name), &[]).await?;
        let get_record = format!("{}.get_record", class.name);
        for reference in strings(&all) {
            match self.call(&get_record, &[Arg::from(&*reference)]).await {
                Ok(record) => self.take(class, reference, &record)?,
                Err(error) if code(&error) == Some("HANDLE_INVALID") => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        class: &'static Class,
        reference: String,
        record: &str,
    ) -> Result<(), CallError> {
        self.untold.note_record(class, record);
        let found =
            Found { class: &class.name, reference, record: Some(record.to_owned()), raw: None };
        self.draft.take_found(&found, self.encoder, &mut self.refs);
        *self.oversized = !self.mirror.has_room_for(self.draft.bytes());
        if !*self.oversized {
            return Ok(());
        }
        let (fault, read) = (Fault::Unread(ReadError::TooLarge { limit: 0 }), 0);
        Err(BadReply { status: None, fault, read }.into())
    }

    async fn call(&self, call: &str, args: &[Arg]) -> Result<String, CallError> {
        let value = self.backend.call(self.session, call, args, Retry::Read).await?;
        Ok(value.get().to_owned())
    }
}

fn code(error: &CallError) -> Option<&str> {
    match error {
        CallError::Failure(failure) => Some(&failure.code),
        _ => None,
    }
}

fn strings(json: &str) -> Vec<String> {
    serde_json::from_str(json).unwrap_or_default()
}
