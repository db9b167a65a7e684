//! The pools' metrics for monitoring systems: what the mirrors hold of VMs, hosts, SRs and pools, and
//! what the hosts measure of them.
//!
//! A scrape asks no pool for anything that the gateway does not follow anyway, but for the newest
//! samples: one question to each host, on the session of the backend's service account.

mod fields;
mod hosts;
mod items;
mod pools;
mod samples;
mod srs;
mod vms;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use uuid::Uuid;

use self::items::Pool;
use crate::Gateway;
use crate::api::prometheus::families::Families;
use crate::problem::{Code, Problem};
use xenapi_mirror::inventory::{Mirror, MirrorState, Reading};
use xenapi_mirror::metrics::{HostSamples, Key, Sample, Subject, is_in_records};
use xenapi_model::{Class, datamodel};

/// What is known of the pools, gathered for one scrape.
#[derive(Debug)]
pub struct Fleet {
    backends: Vec<Followed>,
}

/// One backend.
#[derive(Debug)]
struct Followed {
    name: String,
    kind: &'static str,
    state: MirrorState,
    /// Whether it has a service account; without one it is not shown, unless it needs none.
    has_account: bool,
    reading: Option<Arc<Reading>>,
    /// The newest samples of each host, if it has told.
    samples: HashMap<Uuid, Option<Arc<HostSamples>>>,
    /// The newest samples of objects whose hosts tell nothing.
    known: HashMap<Key, Arc<[Sample]>>,
}

/// How long a backend that has to be asked for its objects is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The classes that are looked into, beside VMs.
const READ: [&str; 7] =
    ["host", "host_metrics", "host_cpu", "SR", "PBD", "VM_metrics", "VM_guest_metrics"];

impl Fleet {
    /// Gathers it. At least one backend must have a service account, or need none.
    pub async fn gather(gateway: &Gateway) -> Result<Self, Problem> {
        let mirrors = gateway.inventory.mirrors();
        if !mirrors.values().any(|mirror| mirror.has_account() || !mirror.backend().needs_account())
        {
            let names: Vec<_> = mirrors.keys().map(String::as_str).collect();
            let detail = "the pools' metrics are read with a service account, and no backend has \
                          one: set service_username and its password";
            return Err(Problem::new(Code::NotConfigured, detail).with_params(names));
        }
        let backends = mirrors.values().map(|mirror| Followed::read(gateway, mirror));
        Ok(Self { backends: join_all(backends).await })
    }
}

impl Followed {
    async fn read(gateway: &Gateway, mirror: &Arc<Mirror>) -> Self {
        let has_account = mirror.has_account();
        let reading = match has_account || !mirror.backend().needs_account() {
            // Who scrapes has a backend asked that does not tell by itself.
            true if mirror.is_polled() => {
                let classes = READ.iter().filter_map(|name| datamodel().class(name));
                let classes: Vec<_> = classes.map(|class| class.id).collect();
                // What is late is left out, and there the next time.
                let ready = mirror.ready_with(&classes, PATIENCE).await;
                ready.ok().or_else(|| mirror.reading())
            }
            true => mirror.reading(),
            false => None,
        };
        let hosts = reading.iter().filter(|_| !is_in_records(mirror));
        let hosts = hosts.flat_map(|reading| reading.snapshot.class(class("host").id).iter());
        let session = mirror.account_session();
        let asked = hosts.map(|host| {
            let (host, session) = (host.uuid(), session.as_ref());
            async move {
                let samples = match session {
                    Some(session) => gateway.metrics.of_host(mirror, session, host).await.ok(),
                    None => None,
                };
                (host, samples)
            }
        });
        let samples = join_all(asked).await.into_iter().collect();
        let known = match &reading {
            Some(reading) if is_in_records(mirror) => known(gateway, mirror, reading),
            _ => HashMap::new(),
        };
        Self {
            name: mirror.name().to_owned(),
            kind: mirror.backend().description().kind.name(),
            state: mirror.status().state,
            has_account,
            reading,
            samples,
            known,
        }
    }
}

/// The newest samples of the VMs and hosts of a backend that measures nothing by itself.
fn known(
    gateway: &Gateway,
    mirror: &Arc<Mirror>,
    reading: &Reading,
) -> HashMap<Key, Arc<[Sample]>> {
    let snapshot = &reading.snapshot;
    let all = ["VM", "host"].into_iter().flat_map(|name| snapshot.class(class(name).id).iter());
    let subjects = all.filter_map(|object| Subject::of(snapshot, object));
    let samples = subjects.filter_map(|subject| {
        let samples = gateway.metrics.known(mirror, &subject)?.ok()?;
        Some((subject.key, samples.samples))
    });
    samples.collect()
}

impl Collector for Fleet {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families::new(encoder);
        families.infos("xen_backend", "A backend of the gateway.", |series| {
            self.backends.iter().try_for_each(|one| {
                series.info(&[
                    ("backend", one.name.as_str()),
                    ("kind", one.kind),
                    ("service_account", if one.has_account { "true" } else { "false" }),
                ])
            })
        })?;
        let help = "How a backend's mirror stands: 1 for the state it is in.";
        families.gauges("xen_backend_state", help, |series| {
            self.backends.iter().try_for_each(|one| {
                MirrorState::ALL.iter().try_for_each(|state| {
                    let labels = [("backend", one.name.as_str()), ("state", state.name())];
                    series.gauge(&labels, u64::from(*state == one.state))
                })
            })
        })?;
        let help = "Whether a backend's metrics are here and up to date.";
        families.gauges("xen_backend_up", help, |series| {
            self.backends.iter().try_for_each(|one| {
                let up = one.reading.is_some() && one.state == MirrorState::Live;
                series.gauge(&[("backend", one.name.as_str())], u64::from(up))
            })
        })?;
        let read = self.backends.iter();
        let pools: Vec<Pool<'_>> = read
            .filter_map(|one| {
                let reading = one.reading.as_ref()?;
                Some(Pool::of(&one.name, reading, &one.samples, &one.known))
            })
            .collect();
        pools::write(&pools, &mut families)?;
        hosts::write(&pools, &mut families)?;
        srs::write(&pools, &mut families)?;
        vms::write(&pools, &mut families)?;
        samples::write(&pools, &mut families)
    }
}

fn class(name: &str) -> &'static Class {
    datamodel().class(name).expect("a class of the Xen-API")
}
