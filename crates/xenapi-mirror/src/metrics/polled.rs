//! What is known of a backend that measures nothing by itself: what its records said when it was
//! last asked for them.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::model::Owner;
use super::newest::{Sample, unix_now};
use super::sample_error::SampleError;
use super::samples::Samples;
use super::subject::Subject;
use crate::inventory::{Mirror, Object, Reading};
use xenapi_model::{Class, datamodel};

/// The newest that is known of a subject.
pub(super) fn samples(mirror: &Mirror, subject: &Subject) -> Result<Samples, SampleError> {
    let reading = mirror.reading().ok_or(SampleError::NoHost)?;
    let as_of = reading.as_of.ok_or(SampleError::NotMeasured)?;
    let known = match subject.key.owner {
        Owner::Vm if subject.absence == SampleError::NotRunning => {
            return Err(SampleError::NotRunning);
        }
        Owner::Vm => of_vm(mirror, &reading, subject),
        Owner::Host => of_host(&reading, subject),
        Owner::Sr => return Err(SampleError::NotSupported),
    };
    let known = known.ok_or(SampleError::NotMeasured)?;
    let time = unix_time(known.read.unwrap_or(as_of));
    let samples = known.values.into_iter();
    let samples = samples.map(|(source, value)| Sample { source: source.into(), value, time });
    let (step, gap) = (known.step, known.gap);
    Ok(Samples { samples: samples.collect(), newest: time, step, clock_offset: None, gap })
}

/// Values by the names that XAPI has for them.
#[derive(Default)]
struct Known {
    values: Vec<(String, f64)>,
    /// When they were read, if not with everything else.
    read: Option<Instant>,
    step: Option<i64>,
    gap: Option<SampleError>,
}

fn class(name: &str) -> &'static Class {
    datamodel().class(name).expect("a class of the Xen-API")
}

fn of_vm(mirror: &Mirror, reading: &Reading, subject: &Subject) -> Option<Known> {
    let snapshot = &reading.snapshot;
    let vm = snapshot.object(class("VM").id, &subject.key.uuid)?;
    let metrics = vm.record().uuid(vm.class(), "metrics")?;
    let record = snapshot.object(class("VM_metrics").id, &metrics)?;
    let mut known = Known::default();
    let vcpus = number(record, "VCPUs_number").filter(|count| *count >= 1.0);
    let utilisation = utilisation(record);
    if let Some(usage) = mirror.usage(&metrics) {
        known.read = Some(usage.at);
        known.values.push(("cpu_time".to_owned(), usage.cpu_time));
        match (usage.busy, vcpus) {
            (Some((busy, over)), Some(vcpus)) => {
                let mean = (busy / vcpus).clamp(0.0, 1.0);
                known.values.push(("cpu_usage".to_owned(), mean));
                if vcpus < 2.0 {
                    known.values.push(("cpu0".to_owned(), mean));
                }
                known.step = Some((over.as_secs_f64().round() as i64).max(1));
            }
            (None, _) => known.gap = Some(SampleError::NotYet),
            (Some(_), None) => known.gap = Some(SampleError::NotMeasured),
        }
    } else if utilisation.is_empty() {
        known.gap = Some(SampleError::NotMeasured);
    }
    let cpus = utilisation.into_iter();
    known.values.extend(cpus.map(|(cpu, value)| (format!("cpu{cpu}"), value)));
    let memory = number(record, "memory_actual").filter(|memory| *memory > 0.0);
    known.values.extend(memory.map(|memory| ("memory".to_owned(), memory)));
    Some(known)
}

fn of_host(reading: &Reading, subject: &Subject) -> Option<Known> {
    const KIB: f64 = 1024.0;
    let snapshot = &reading.snapshot;
    let host = snapshot.object(class("host").id, &subject.key.uuid)?;
    let mut known = Known::default();
    let cpus = snapshot.class(class("host_cpu").id).iter();
    let cpus = cpus.filter(|cpu| cpu.record().uuid(cpu.class(), "host") == Some(host.uuid()));
    let used =
        cpus.filter_map(|cpu| Some((number(cpu, "number")? as i64, number(cpu, "utilisation")?)));
    let used: BTreeMap<i64, f64> = used.collect();
    if used.is_empty() {
        known.gap = Some(SampleError::NotSupported);
    }
    known.values.extend(used.into_iter().map(|(cpu, used)| (format!("cpu{cpu}"), fraction(used))));
    let metrics = host.record().uuid(host.class(), "metrics");
    let metrics = metrics.and_then(|uuid| snapshot.object(class("host_metrics").id, &uuid));
    for (field, source) in
        [("memory_total", "memory_total_kib"), ("memory_free", "memory_free_kib")]
    {
        let bytes = metrics.and_then(|metrics| number(metrics, field));
        known.values.extend(bytes.map(|bytes| (source.to_owned(), bytes / KIB)));
    }
    Some(known)
}

/// How busy each VCPU is, where the backend says so.
fn utilisation(metrics: &Object) -> BTreeMap<u32, f64> {
    let json = metrics.record().field_named(metrics.class(), "VCPUs_utilisation");
    let map: BTreeMap<u32, Option<f64>> =
        json.and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default();
    map.into_iter().map(|(cpu, value)| (cpu, value.map_or(f64::NAN, fraction))).collect()
}

/// NaN stays what it is.
fn fraction(value: f64) -> f64 {
    value.clamp(0.0, 1.0)
}

fn number(object: &Object, field: &str) -> Option<f64> {
    serde_json::from_slice(object.record().field_named(object.class(), field)?).ok()?
}

/// The time of day at an instant of the past.
fn unix_time(at: Instant) -> i64 {
    let ago = i64::try_from(at.elapsed().as_secs()).unwrap_or_default();
    unix_now() - ago
}
