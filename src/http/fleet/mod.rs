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

use futures_util::future::join_all;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use uuid::Uuid;

use super::Gateway;
use super::exposition::Families;
use super::problem::{Code, Problem};
use crate::datamodel::{Class, datamodel};
use crate::inventory::{Mirror, MirrorState, Reading};
use crate::metrics::HostSamples;
use items::Pool;

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
    /// Whether it has a service account; without one it is not shown.
    has_account: bool,
    reading: Option<Arc<Reading>>,
    /// The newest samples of each host, if it has told.
    samples: HashMap<Uuid, Option<Arc<HostSamples>>>,
}

impl Fleet {
    /// Gathers it. At least one backend must have a service account.
    pub async fn gather(gateway: &Gateway) -> Result<Self, Problem> {
        let mirrors = gateway.inventory.mirrors();
        if !mirrors.values().any(|mirror| mirror.has_account()) {
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
        let reading = mirror.reading().filter(|_| has_account);
        let samples = match (&reading, mirror.account_session()) {
            (Some(reading), Some(session)) => {
                let hosts = reading.snapshot.class(class("host").id);
                let asked = hosts.iter().map(|host| {
                    let (host, session) = (host.uuid(), &session);
                    async move {
                        let samples = gateway.metrics.of_host(mirror, session, host).await;
                        (host, samples.ok())
                    }
                });
                join_all(asked).await.into_iter().collect()
            }
            _ => HashMap::new(),
        };
        Self {
            name: mirror.name().to_owned(),
            kind: mirror.backend().description().kind,
            state: mirror.status().state,
            has_account,
            reading,
            samples,
        }
    }
}

impl Collector for Fleet {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families::new(encoder);
        families.infos("xen_backend", "A backend of the gateway.", |series| {
            self.backends.iter().try_for_each(|one| {
                series.info(&[
                    ("backend", one.name.as_str()),
                    ("kind", one.kind),
                    ("state", one.state.name()),
                    ("service_account", if one.has_account { "true" } else { "false" }),
                ])
            })
        })?;
        let help = "Whether a backend's metrics are here and up to date.";
        families.gauges("xen_backend_up", help, |series| {
            self.backends.iter().try_for_each(|one| {
                let up = one.has_account && one.state == MirrorState::Live;
                series.gauge(&[("backend", one.name.as_str())], u64::from(up))
            })
        })?;
        let read = self.backends.iter();
        let pools: Vec<Pool<'_>> = read
            .filter_map(|one| {
                let reading = one.reading.as_ref()?;
                Some(Pool::of(&one.name, reading, &one.samples))
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
