//! The newest samples of one object, and how things stand with what measures it.

use std::sync::Arc;

use tokio::time::Instant;
use uuid::Uuid;

use super::model::Owner;
use super::newest::{HostSamples, Sample};
use super::sample_error::SampleError;
use super::subject::{self, Subject};

/// The newest samples of one object.
#[derive(Debug, Clone)]
pub struct Samples {
    /// Each source's newest; NaN where the newest is not known.
    pub samples: Arc<[Sample]>,
    /// The newest measurement of the host, by its clock.
    pub newest: i64,
    /// Seconds between two measurements, where they are regular.
    pub step: Option<i64>,
    /// How far the host's clock is ahead of the gateway's, in seconds; a few are no sign of anything.
    /// None where times are the gateway's own.
    pub clock_offset: Option<i64>,
    /// Why not all of them are known.
    pub gap: Option<SampleError>,
}

/// How things stand with what measures.
#[derive(Debug, Clone)]
pub enum Standing {
    /// A host has measured this.
    Measured(Arc<HostSamples>),
    /// A backend that measures nothing by itself was read at this time.
    Read(Instant),
    /// Nothing is known.
    SampleError(SampleError),
}

impl Standing {
    /// Whether nothing is new.
    pub fn is_the_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Measured(one), Self::Measured(other)) => Arc::ptr_eq(one, other),
            (Self::Read(one), Self::Read(other)) => one == other,
            (Self::SampleError(one), Self::SampleError(other)) => one == other,
            _ => false,
        }
    }
}

impl Samples {
    /// What is measured of a subject, by what its hosts have to say, in their order.
    pub(super) fn of(
        subject: &Subject,
        home: Uuid,
        hosts: &[Result<Arc<HostSamples>, SampleError>],
    ) -> Result<Self, SampleError> {
        let place = subject.hosts.iter().position(|host| *host == home).unwrap_or_default();
        let at_home = hosts.get(place).ok_or(SampleError::NotMeasured)?;
        let own = |host: &Arc<HostSamples>| host.objects.get(&subject.key).cloned();
        if subject.key.owner != Owner::Sr {
            let host = at_home.as_ref().map_err(Clone::clone)?;
            return Ok(Self::by(host, own(host).ok_or(SampleError::NotMeasured)?));
        }
        // A host counts what it does with an SR as its own; all hosts together are the SR's. Where
        // one is silent, nobody knows what that is, and the SR's size is known all the same.
        let gap = hosts.iter().find_map(|host| host.as_ref().err().cloned());
        let known: Vec<&Arc<HostSamples>> = hosts.iter().flatten().collect();
        let nothing = || gap.clone().unwrap_or(SampleError::NotMeasured);
        let frame = at_home.as_ref().ok().or(known.first().copied()).ok_or_else(nothing)?;
        let own = at_home.as_ref().ok().and_then(own).map(|own| own.to_vec()).unwrap_or_default();
        let samples = subject::together(subject.key.uuid, own, &known, gap.is_none());
        if samples.is_empty() {
            return Err(nothing());
        }
        Ok(Self { gap, ..Self::by(frame, samples.into()) })
    }

    fn by(host: &HostSamples, samples: Arc<[Sample]>) -> Self {
        let (newest, step) = (host.newest, Some(host.step));
        Self { samples, newest, step, clock_offset: Some(host.clock_offset), gap: None }
    }
}
