//! What takes long, on backends that keep no tasks: the gateway waits itself, in a task of its own.
//!
//! xend returns from some calls before the guest has done anything: a shutdown asked of a guest is
//! done when the VM's state says so, or it is not done when the time for that is up.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::arguments::Arguments;
use super::error::{Failure, OpError};
use super::reach::{Reach, Settled, Touched};
use super::tasks::{Broken, Flow, Tasks};
use xenapi_model::{Call, Class, datamodel};
use xenapi_wire::Arg;

/// How often a guest is looked at that is to do something.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a guest that reboots may be without a domain: xend makes the new one once the old one is
/// gone.
const BETWEEN: Duration = Duration::from_secs(10);

/// What a guest is to have done before a call counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// It has ended, or has begun anew because it is configured to.
    End,
    /// It has begun anew, or ended because it is configured to.
    NewBeginning,
}

/// What tells whether it has.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Life {
    power_state: String,
    domid: Option<i64>,
    /// What becomes of it when its guest reboots.
    after_reboot: String,
}

/// Starts a call and waits for its end, as a task.
pub(super) fn start(
    reach: &Reach,
    call: &'static Call,
    arguments: Arguments,
    tasks: &Arc<Tasks>,
) -> Result<Uuid, OpError> {
    let name = format!("Async.{}", call.wire_name);
    tasks.run(reach, &name, |flow| async move {
        carry_out(&flow, call, &arguments).await.map_err(Broken::from)
    })
}

async fn carry_out(
    flow: &Flow,
    call: &'static Call,
    arguments: &Arguments,
) -> Result<Value, OpError> {
    let reach = &flow.reach;
    let own = own(call, arguments);
    let before = match (Awaited::of(call), &own) {
        (Some(_), Some((class, reference))) => fresh_life(reach, class, reference).await,
        _ => None,
    };
    let value = reach.send(call, &call.wire_name, arguments).await;
    // What was done shows to whoever learns that it is done; what failed may have done half.
    if let Some((class, reference)) = &own {
        let _ = reach.settle(Touched::Object(class, reference)).await;
    }
    let value = value?;
    if let (Some(awaited), Some((class, reference))) = (Awaited::of(call), &own) {
        awaited.come(flow, class, reference, before).await?;
    }
    match &call.result {
        None => Ok(Value::Null),
        Some(ty) => {
            let shown = reach.result(call, ty, (&value, arguments)).await?;
            Ok(serde_json::from_slice(&shown).unwrap_or_default())
        }
    }
}

/// The class and the ref of the object that a call is made on.
fn own(call: &Call, arguments: &Arguments) -> Option<(&'static Class, String)> {
    let class = datamodel().class(call.wire_name.split_once('.')?.0)?;
    match arguments.values.first()? {
        Arg::String(reference) => Some((class, reference.clone())),
        _ => None,
    }
}

/// How the VM of this ref stands now, and not when it was last polled: the guest may have begun anew
/// since. `None` when nobody can say.
async fn fresh_life(reach: &Reach, class: &Class, reference: &str) -> Option<Life> {
    match reach.settle(Touched::Object(class, reference)).await {
        Settled::Seen => life(reach, class, reference),
        Settled::Pending => None,
    }
}

/// How the VM of this ref stands; `None` when it is not there.
fn life(reach: &Reach, class: &Class, reference: &str) -> Option<Life> {
    let (class_id, uuid) = reach.mirror.resolve(reference).filter(|(id, _)| *id == class.id)?;
    let object = reach.snapshot().ok()?.object(class_id, &uuid)?.clone();
    let domid = object.record().field_named(class, "domid");
    let after_reboot = object.record().text(class, "actions_after_reboot");
    Some(Life {
        after_reboot: after_reboot.unwrap_or_default().to_owned(),
        power_state: object.record().text(class, "power_state")?.to_owned(),
        domid: domid.and_then(|json| serde_json::from_slice(json).ok()),
    })
}

impl Life {
    fn has_ended(&self) -> bool {
        matches!(self.power_state.as_str(), "Halted" | "Crashed")
    }
}

impl Awaited {
    fn of(call: &Call) -> Option<Self> {
        match call.wire_name.as_str() {
            "VM.clean_shutdown" => Some(Self::End),
            "VM.clean_reboot" => Some(Self::NewBeginning),
            _ => None,
        }
    }

    /// Whether it has come. A VM that is gone has certainly ended.
    fn has_come(self, before: Option<&Life>, now: Option<&Life>) -> bool {
        let Some(now) = now else { return true };
        let another = before.is_some_and(|before| before.domid != now.domid);
        match self {
            Self::End => now.has_ended() || another,
            // Between the two domains of a reboot there may be none, unless there is to be no other.
            Self::NewBeginning => {
                let is_to_end = matches!(now.after_reboot.as_str(), "destroy" | "preserve");
                (another && now.power_state == "Running") || (now.has_ended() && is_to_end)
            }
        }
    }

    /// Waits until it has come; a failure when that takes too long.
    async fn come(
        self,
        flow: &Flow,
        class: &Class,
        reference: &str,
        mut before: Option<Life>,
    ) -> Result<(), OpError> {
        let reach = &flow.reach;
        let patience = reach.mirror.backend().guest_timeout();
        let until = Instant::now() + patience;
        let mut ended: Option<Instant> = None;
        while !self.has_come(before.as_ref(), life(reach, class, reference).as_ref()) {
            // What nobody could say before the call is what is seen first after it.
            before = before.or_else(|| life(reach, class, reference));
            if flow.check().is_err() {
                return Err(OpError::Cancelled);
            }
            let now = Instant::now();
            let has_ended = life(reach, class, reference).is_some_and(|life| life.has_ended());
            ended = has_ended.then(|| ended.unwrap_or(now));
            if ended.is_some_and(|since| now >= since + BETWEEN) {
                let params = vec![reference.to_owned()];
                let failure = Failure { code: "VM_HALTED".to_owned(), params };
                return Err(OpError::Failure { failure, pointer: None }.shown(&reach.mirror));
            }
            if now >= until {
                let seconds = patience.as_secs_f64().to_string();
                let params = vec![reference.to_owned(), seconds];
                let failure = Failure { code: "VM_SHUTDOWN_TIMEOUT".to_owned(), params };
                return Err(OpError::Failure { failure, pointer: None }.shown(&reach.mirror));
            }
            sleep(LOOK_EVERY.min(until - now)).await;
            let _ = reach.settle(Touched::Object(class, reference)).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(power_state: &str, domid: i64) -> Life {
        let after_reboot = "restart".to_owned();
        Life { power_state: power_state.to_owned(), domid: Some(domid), after_reboot }
    }

    #[test]
    fn a_guest_has_acted_when_its_state_or_its_domain_is_another() {
        let before = life("Running", 3);
        let come = |awaited: Awaited, now: Option<&Life>| awaited.has_come(Some(&before), now);
        let (end, anew) = (Awaited::End, Awaited::NewBeginning);
        assert!(!come(end, Some(&before)) && !come(anew, Some(&before)));
        assert!(!come(end, Some(&life("Paused", 3))));
        for ended in [life("Halted", -1), life("Halted", 3), life("Crashed", 3)] {
            assert!(come(end, Some(&ended)), "{ended:?}");
        }
        assert!(come(end, Some(&life("Running", 4))), "on_poweroff = restart");
        assert!(come(anew, Some(&life("Running", 4))));
        assert!(!come(anew, Some(&life("Halted", -1))), "between two domains");
        assert!(come(end, None) && come(anew, None), "gone");
        for (after_reboot, comes) in [("destroy", true), ("preserve", true), ("restart", false)] {
            let halted = Life { after_reboot: after_reboot.to_owned(), ..life("Halted", -1) };
            assert_eq!(come(anew, Some(&halted)), comes, "on_reboot = {after_reboot}");
        }
    }
}
