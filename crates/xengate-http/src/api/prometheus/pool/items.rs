//! What there are metrics of: objects, with the labels that all their series have.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use super::class;
use crate::api::prometheus::families::Families;
use crate::api::prometheus::pool::fields::{flag, tags, text};
use xenapi_mirror::inventory::{Object, Reading, Snapshot, View};
use xenapi_mirror::metrics::{HostSamples, Key, Owner, Sample};

/// The labels of an object. One without a value is left out, which means the same.
pub(super) type Labels = Vec<(&'static str, String)>;

/// An object with its labels, and those beside it that hold some of its facts.
pub(super) struct Item<'a> {
    pub(super) object: &'a Object,
    pub(super) labels: Labels,
    /// VM_metrics or host_metrics.
    pub(super) metrics: Option<&'a Object>,
    /// VM_guest_metrics.
    pub(super) guest: Option<&'a Object>,
    /// What its host measures of it.
    pub(super) samples: &'a [Sample],
}

/// One backend's objects.
pub(super) struct Pool<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) labels: Labels,
    /// The pool's own object; a host without a pool has none.
    pub(super) object: Option<&'a Object>,
    pub(super) hosts: Vec<Item<'a>>,
    pub(super) srs: Vec<Item<'a>>,
    pub(super) vms: Vec<Item<'a>>,
    pub(super) samples: &'a HashMap<Uuid, Option<Arc<HostSamples>>>,
}

/// A family of gauges: its name, what it is, and its value for an item that has one.
pub(super) type Gauge = (&'static str, &'static str, fn(&Item<'_>) -> Option<f64>);

impl<'a> Pool<'a> {
    pub(super) fn of(
        backend: &str,
        reading: &'a Reading,
        samples: &'a HashMap<Uuid, Option<Arc<HostSamples>>>,
        known: &'a HashMap<Key, Arc<[Sample]>>,
    ) -> Self {
        let snapshot = &*reading.snapshot;
        let all = |name: &str| snapshot.class(class(name).id).iter().map(|object| &**object);
        let object = all("pool").next();
        let name = |uuid: &Uuid| text(snapshot.object(class("host").id, uuid)?, "name_label");
        // A pool of one host has no name of its own: people know it by the host's.
        let coordinator = object.and_then(|pool| pool.record().uuid(pool.class(), "master"));
        let called = object
            .and_then(|pool| text(pool, "name_label"))
            .or_else(|| name(&coordinator?))
            .or_else(|| all("host").next().and_then(|host| text(host, "name_label")));
        let mut labels = vec![("backend", backend.to_owned())];
        labels.extend(called.map(|name| ("pool", name)));

        let labelled = |object: &Object, before: Option<String>, behind: Labels| {
            let mut all = labels.clone();
            all.extend(before.map(|host| ("host", host)));
            all.push(("uuid", object.uuid().to_string()));
            all.extend(text(object, "name_label").map(|name| ("name", name)));
            all.extend(behind);
            all.extend(tags(object).map(|tags| ("tags", tags)));
            all
        };
        let beside = |object: &Object, field: &str, of: &str| {
            let uuid = object.record().uuid(object.class(), field)?;
            snapshot.object(class(of).id, &uuid).map(|object| &**object)
        };
        let measured = |owner: Owner, object: &Object| {
            let uuid = object.uuid();
            let home = match owner {
                Owner::Host => Some(uuid),
                _ => object.record().uuid(object.class(), "resident_on"),
            };
            let key = Key { owner, uuid };
            let host = home.and_then(|host| samples.get(&host)?.as_ref());
            let own = host.and_then(|host| host.objects.get(&key)).or_else(|| known.get(&key));
            own.map_or(&[][..], |own| own)
        };
        let hosts = all("host").map(|host| Item {
            object: host,
            samples: measured(Owner::Host, host),
            labels: labelled(host, None, Vec::new()),
            metrics: beside(host, "metrics", "host_metrics"),
            guest: None,
        });
        let srs = all("SR").map(|sr| {
            let shared = flag(sr, "shared") == Some(1.0);
            let host = sole_host(snapshot, sr).filter(|_| !shared).and_then(|uuid| name(&uuid));
            let mut own: Labels = text(sr, "type").map(|kind| ("type", kind)).into_iter().collect();
            own.push(("shared", shared.to_string()));
            Item {
                object: sr,
                labels: labelled(sr, host, own),
                metrics: None,
                guest: None,
                samples: &[],
            }
        });
        let vms = snapshot.view(class("VM"), View::Plain).iter().map(|vm| {
            let host = vm.record().uuid(vm.class(), "resident_on").and_then(|uuid| name(&uuid));
            let mut own: Labels =
                text(vm, "power_state").map(|state| ("power_state", state)).into_iter().collect();
            if vm.record().is_true(vm.class(), "is_control_domain") {
                own.push(("is_control_domain", "true".to_owned()));
            }
            Item {
                object: vm,
                labels: labelled(vm, host, own),
                metrics: beside(vm, "metrics", "VM_metrics"),
                guest: beside(vm, "guest_metrics", "VM_guest_metrics"),
                samples: measured(Owner::Vm, vm),
            }
        });
        let (hosts, srs, vms) = (hosts.collect(), srs.collect(), vms.collect());
        Self { snapshot, labels, object, hosts, srs, vms, samples }
    }

    /// Objects of a class.
    pub(super) fn objects(&self, name: &str) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        self.snapshot.class(class(name).id).iter()
    }
}

/// The one host that an SR is connected to, if it is one.
fn sole_host(snapshot: &Snapshot, sr: &Object) -> Option<Uuid> {
    let pbds = sr.record().uuids(sr.class(), "PBDs");
    let [pbd] = pbds.as_slice() else { return None };
    let pbd = snapshot.object(class("PBD").id, pbd)?;
    pbd.record().uuid(pbd.class(), "host")
}

/// Writes families of gauges for these items.
pub(super) fn write<'a>(
    gauges: &[Gauge],
    items: impl Iterator<Item = &'a Item<'a>> + Clone,
    families: &mut Families<'_>,
) -> fmt::Result {
    gauges.iter().try_for_each(|(name, help, value)| {
        families.gauges(name, help, |series| {
            items.clone().try_for_each(|item| match value(item) {
                Some(value) => series.gauge(&item.labels, value),
                None => Ok(()),
            })
        })
    })
}
