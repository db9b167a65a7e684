//! Which host measures an object.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::model::{Key, Owner};
use super::newest::{HostSamples, Sample};
use super::sample_error::SampleError;
use super::sources::{is_additive, of_sr};
use crate::inventory::{Object, Snapshot};
use xenapi_model::{Class, datamodel};

/// An object that is measured, and where.
#[derive(Debug, Clone)]
pub struct Subject {
    /// What it is.
    pub key: Key,
    /// The host that measures it now.
    pub home: Option<Uuid>,
    /// Every host that has to do with it: those an SR is plugged into.
    pub hosts: Vec<Uuid>,
    /// Why no host does.
    pub(super) absence: SampleError,
}

impl Subject {
    /// A VM, a host or an SR; other objects are not measured.
    pub fn of(snapshot: &Snapshot, object: &Object) -> Option<Self> {
        let (class, uuid) = (object.class(), object.uuid());
        let of = |owner, home: Option<Uuid>, hosts: Vec<Uuid>, absence| {
            Some(Self { key: Key { owner, uuid }, home, hosts, absence })
        };
        match class.name.as_str() {
            "VM" => {
                let running = matches!(
                    object.record().text(class, "power_state"),
                    Some("Running" | "Paused")
                );
                let home = object.record().uuid(class, "resident_on").filter(|_| running);
                let absence = if running { SampleError::NoHost } else { SampleError::NotRunning };
                of(Owner::Vm, home, home.into_iter().collect(), absence)
            }
            "host" => of(Owner::Host, Some(uuid), vec![uuid], SampleError::NoHost),
            "SR" => {
                let hosts = plugged_into(snapshot, object);
                let coordinator = coordinator(snapshot).filter(|host| hosts.contains(host));
                of(Owner::Sr, coordinator.or(hosts.first().copied()), hosts, SampleError::NoHost)
            }
            _ => None,
        }
    }
}

fn class(name: &str) -> &'static Class {
    datamodel().class(name).expect("a class of the Xen-API")
}

/// The pool's coordinator.
pub(super) fn coordinator(snapshot: &Snapshot) -> Option<Uuid> {
    let pool = class("pool");
    snapshot.class(pool.id).iter().find_map(|object| object.record().uuid(pool, "master"))
}

/// The hosts an SR is plugged into, in the order of their uuids.
fn plugged_into(snapshot: &Snapshot, sr: &Object) -> Vec<Uuid> {
    let pbd = class("PBD");
    let mut hosts: Vec<Uuid> = sr
        .record()
        .uuids(sr.class(), "PBDs")
        .iter()
        .filter_map(|uuid| snapshot.object(pbd.id, uuid))
        .filter(|object| object.record().is_true(pbd, "currently_attached"))
        .filter_map(|object| object.record().uuid(pbd, "host"))
        .collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts
}

/// An SR's own samples, and those that its hosts count for it: sums where sums make sense, else the
/// largest; not known unless these are all of its hosts.
pub(super) fn together(
    sr: Uuid,
    own: Vec<Sample>,
    hosts: &[&Arc<HostSamples>],
    are_all: bool,
) -> Vec<Sample> {
    let mut all: BTreeMap<Arc<str>, Sample> =
        own.into_iter().map(|sample| (sample.source.clone(), sample)).collect();
    let of_hosts = hosts.iter().flat_map(|host| {
        let is_host = |key: &Key| key.owner == Owner::Host;
        let samples = host.objects.iter().filter(move |(key, _)| is_host(key));
        samples.flat_map(|(_, samples)| samples.iter())
    });
    let mut counted: BTreeMap<Arc<str>, Sample> = BTreeMap::new();
    for sample in of_hosts {
        let Some(key) = of_sr(&sample.source, sr) else { continue };
        let source: Arc<str> = key.into();
        match counted.get_mut(&source) {
            None => _ = counted.insert(source.clone(), Sample { source, ..sample.clone() }),
            Some(so_far) => {
                so_far.value = combined(key, so_far.value, sample.value);
                so_far.time = so_far.time.min(sample.time);
            }
        }
    }
    for (source, mut sample) in counted {
        if !are_all {
            sample.value = f64::NAN;
        }
        all.entry(source).or_insert(sample);
    }
    all.into_values().collect()
}

/// What two hosts count for an SR, together; unknown if one of them is.
pub(super) fn combined(key: &str, one: f64, other: f64) -> f64 {
    match one.is_nan() || other.is_nan() {
        true => f64::NAN,
        false if is_additive(key) => one + other,
        false => one.max(other),
    }
}
