//! Making objects and destroying them: which calls do it, and what only the backend can fill in.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::arguments::{Arguments, arguments, below};
use super::capability::Version;
use super::error::OpError;
use super::reach::Reach;
use super::typed;
use xenapi_client::Retry;
use xenapi_mirror::inventory::Snapshot;
use xenapi_model::{Call, CallKind, Class, datamodel};
use xenapi_wire::Arg;

/// The call that makes an object of the class, if clients may make one.
pub fn constructor(class: &'static Class) -> Option<&'static Call> {
    public(class, "create")
}

/// The call that destroys an object of the class, if clients may.
pub fn destructor(class: &'static Class) -> Option<&'static Call> {
    public(class, "destroy")
}

/// Whether a call that makes or destroys an object is left to the backend as a task.
///
/// Those that the Xen-API derives from the class write a record, and mostly no more: their result
/// is waited for. Those that it has a call of its own for set up hosts, networks and storage, which
/// may take long.
pub fn runs_as_task(call: &Call) -> bool {
    call.kind == CallKind::Custom && call.has_async
}

fn public(class: &'static Class, name: &str) -> Option<&'static Call> {
    let call = class.call(name)?;
    match call.kind {
        CallKind::Custom => super::actions::action(class, name).ok().map(|action| action.call),
        _ => (!call.hidden && call.lifecycle.state != xenapi_model::State::Removed).then_some(call),
    }
}

/// The arguments of a call that takes an object and nothing else.
pub fn own(reference: &str) -> Arguments {
    vec![Arg::from(reference)].into()
}

/// The arguments of the class's constructor, from what a client says of the new object.
///
/// Beside the defaults that always hold some follow from the backend: the next free device of a
/// VM, the pool's default SR, the only host there is.
pub async fn prepare(
    reach: &Reach,
    class: &'static Class,
    call: &'static Call,
    body: &Map<String, Value>,
) -> Result<Arguments, OpError> {
    let known = reach.known(call, Some(body)).await?;
    if call.kind == CallKind::Create {
        let version = Version::of(known.snapshot());
        for name in body.keys() {
            let field = class.field(name);
            if let Some(why) = field.and_then(|field| version.lacks(&field.lifecycle)) {
                let what = format!("{}.{name}", class.name);
                return Err(OpError::NotSupported { what, why, pointer: Some(below("", name)) });
            }
        }
    }
    let mut body = body.clone();
    let missing = |body: &Map<String, Value>, name: &str| !body.contains_key(name);
    match call.wire_name.as_str() {
        "VDI.create" if missing(&body, "SR") => {
            insert(&mut body, "SR", default_sr(known.snapshot()));
        }
        "SR.create" if missing(&body, "host") => {
            let shared = body.get("shared") == Some(&Value::Bool(true));
            insert(&mut body, "host", some_host(known.snapshot(), shared));
        }
        "VIF.create" if missing(&body, "device") => {
            let device = match body.get("VM").and_then(Value::as_str).map(Uuid::try_parse) {
                Some(Ok(vm)) => free_vif_device(reach, known.snapshot(), vm).await?,
                _ => None,
            };
            if let Some(device) = device {
                body.insert("device".to_owned(), device.into());
            }
        }
        _ => {}
    }
    Ok(arguments(call, None, Some(&body), &known)?)
}

fn insert(body: &mut Map<String, Value>, name: &str, uuid: Option<Uuid>) {
    if let Some(uuid) = uuid {
        body.insert(name.to_owned(), uuid.to_string().into());
    }
}

/// The pool's default SR, if it has one that is there.
pub(super) fn default_sr(snapshot: &Snapshot) -> Option<Uuid> {
    let (pool, sr) = (datamodel().class("pool")?, datamodel().class("SR")?);
    let uuid = snapshot.class(pool.id).iter().next()?.record().uuid(pool, "default_SR")?;
    snapshot.object(sr.id, &uuid).map(|object| object.uuid())
}

/// The pool's coordinator, where any host would do; or the only host.
fn some_host(snapshot: &Snapshot, any_will_do: bool) -> Option<Uuid> {
    let (pool, host) = (datamodel().class("pool")?, datamodel().class("host")?);
    let hosts = snapshot.class(host.id);
    if hosts.len() == 1 {
        return hosts.iter().next().map(|host| host.uuid());
    }
    let pool_record = snapshot.class(pool.id).iter().next()?.record();
    if any_will_do { pool_record.uuid(pool, "master") } else { None }
}

async fn free_vif_device(
    reach: &Reach,
    snapshot: &Snapshot,
    vm: Uuid,
) -> Result<Option<String>, OpError> {
    let class = datamodel().class("VM").expect("the datamodel has VMs");
    let Some(vm) = snapshot.object(class.id, &vm) else { return Ok(None) };
    Ok(free_vif_devices(reach, vm.reference()).await?.into_iter().next())
}

/// The devices that new VIFs of a VM may have.
pub(super) async fn free_vif_devices(reach: &Reach, vm: &str) -> Result<Vec<String>, OpError> {
    let backend = reach.mirror.backend();
    let args = [Arg::from(vm)];
    let call = "VM.get_allowed_VIF_devices";
    let value = backend.call(&reach.session, call, &args, Retry::Read).await?;
    typed::read(&value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_can_make_they_can_destroy() {
        let (mut made, mut only_made) = (0, Vec::new());
        for class in &datamodel().classes {
            if constructor(class).is_some() {
                made += 1;
                if destructor(class).is_none() {
                    only_made.push(class.name.as_str());
                }
            }
        }
        assert_eq!(made, 34);
        assert!(only_made.is_empty(), "{only_made:?}");
    }

    #[test]
    fn what_may_take_long_runs_as_a_task() {
        let slow = |of: fn(&'static Class) -> Option<&'static Call>| -> Vec<&'static str> {
            let calls = datamodel().classes.iter().filter_map(of);
            calls.filter(|call| runs_as_task(call)).map(|call| &*call.wire_name).collect()
        };
        let made = slow(constructor);
        for name in ["SR.create", "Bond.create", "VLAN.create", "Cluster.create", "VTPM.create"] {
            assert!(made.contains(&name), "{name}: {made:?}");
        }
        for name in ["VDI.create", "VBD.create", "VIF.create", "network.create", "blob.create"] {
            assert!(!made.contains(&name), "{name}");
        }
        let destroyed = slow(destructor);
        assert!(destroyed.contains(&"SR.destroy"), "{destroyed:?}");
        assert!(!destroyed.contains(&"VDI.destroy"), "{destroyed:?}");
    }

    #[test]
    fn hidden_and_removed_constructors_are_none() {
        let of = |name: &str| constructor(datamodel().class(name).expect("a class"));
        assert!(of("host").is_none(), "hidden");
        assert!(of("VMPP").is_none(), "removed");
        assert_eq!(of("SR").map(|call| call.kind), Some(CallKind::Custom));
        assert_eq!(of("VDI").map(|call| call.kind), Some(CallKind::Create));
        assert!(of("VM_metrics").is_none());
    }
}
