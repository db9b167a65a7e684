//! One key of a map, or one member of a set: where a patch adds and removes.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use super::Invocation;
use crate::ops::error::OpError;
use crate::ops::reach::Reach;
use xenapi_model::Call;
use xenapi_wire::Arg;

/// Pauses before the backend is asked again what it has, in seconds.
const ASK: [u64; 3] = [0, 1, 3];
/// Pauses before something is put back again.
const PUT_BACK: [u64; 5] = [0, 1, 2, 4, 8];

/// One key of a map, or one member of a set, on the backend.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Where the client's body speaks of it.
    pub(super) pointer: String,
    pub(super) reference: Arc<str>,
    /// What tells the field, where there is such a call.
    pub(super) getter: Option<&'static Call>,
    /// The key, or the member.
    pub(super) name: Arg,
}

/// A call that takes back what another has done.
#[derive(Debug, Clone)]
pub(super) struct Undo {
    pub(super) call: Invocation,
    pub(super) place: Place,
    /// Whether there is something at the place afterwards.
    pub(super) present: bool,
}

impl Place {
    /// What is there now: the key's value, or the member itself. `None` when nobody can tell.
    pub(super) async fn now(&self, reach: &Reach) -> Option<Option<Arg>> {
        let getter = self.getter?;
        for pause in ASK {
            sleep(Duration::from_secs(pause)).await;
            let arguments = vec![Arg::from(&*self.reference)].into();
            let reach = in_good_session(reach)?;
            match reach.send(getter, &getter.wire_name, &arguments).await {
                Ok(value) => {
                    let field = serde_json::from_str(value.get()).ok()?;
                    return Some(self.found_in(field));
                }
                Err(error) => tracing::debug!(%error, getter.wire_name, "asking again"),
            }
        }
        None
    }

    fn found_in(&self, field: Value) -> Option<Arg> {
        let Arg::String(name) = &self.name else { return None };
        match field {
            Value::Object(mut map) => map.remove(name).and_then(|value| arg(&value)),
            Value::Array(members) => {
                let found = members.iter().any(|member| member.as_str() == Some(name));
                found.then(|| self.name.clone())
            }
            _ => None,
        }
    }
}

impl Undo {
    /// Takes it back, however often that has to be tried within a bounded time; whether that worked.
    pub(super) async fn carry_out(&self, reach: &Reach) -> bool {
        let Self { call, place, present } = self;
        for pause in PUT_BACK {
            sleep(Duration::from_secs(pause)).await;
            let Some(reach) = in_good_session(reach) else { break };
            let error = match call.make(&reach).await {
                Ok(()) => return true,
                Err(error) => error,
            };
            // Somebody else has put something there meanwhile.
            if *present && is_duplicate(&error) {
                return true;
            }
            if error.is_unknown()
                && place.now(&reach).await.is_some_and(|found| found.is_some() == *present)
            {
                return true;
            }
            let ended = reach.session.ended().is_cancelled();
            if !(ended || error.is_unknown() || matches!(error, OpError::Call(_))) {
                tracing::warn!(%error, pointer = place.pointer, "a change could not be taken back");
                return false;
            }
        }
        tracing::warn!(pointer = place.pointer, "a change could not be taken back in time");
        false
    }
}

/// Whether a key could not be added because it is there.
pub(super) fn is_duplicate(error: &OpError) -> bool {
    error.code() == Some("MAP_DUPLICATE_KEY")
}

/// The caller; once their session has ended, in another one of theirs or in the service account's,
/// as what was begun has to come to an end.
fn in_good_session(reach: &Reach) -> Option<Reach> {
    if !reach.session.ended().is_cancelled() {
        return Some(reach.clone());
    }
    let session = reach.mirror.substitute(&reach.session)?;
    Some(Reach { mirror: reach.mirror.clone(), session })
}

/// Whether two arguments say the same; of others than texts nobody can tell.
pub(super) fn same(one: &Arg, other: &Arg) -> bool {
    matches!((one, other), (Arg::String(one), Arg::String(other)) if one == other)
}

fn arg(value: &Value) -> Option<Arg> {
    match value {
        Value::String(text) => Some(Arg::from(text.as_str())),
        Value::Bool(bool) => Some(Arg::Bool(*bool)),
        Value::Number(number) => number.as_i64().map(Arg::Int),
        _ => None,
    }
}
