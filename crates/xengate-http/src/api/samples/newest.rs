//! The newest samples of an object.

use foldhash::HashSet;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::api::samples::format::Number;
use crate::api::samples::range::rfc_3339_of;
use xenapi_mirror::metrics::{Owner, SampleError, Samples, Unit, meaning};

/// Samples that an object always has, known or not.
fn basic(owner: Owner) -> &'static [(&'static str, Unit)] {
    match owner {
        Owner::Vm => &[
            ("cpu", Unit::Fraction),
            ("memory_bytes", Unit::Bytes),
            ("memory_free_bytes", Unit::Bytes),
        ],
        Owner::Host => &[
            ("cpu", Unit::Fraction),
            ("memory_total_bytes", Unit::Bytes),
            ("memory_free_bytes", Unit::Bytes),
        ],
        Owner::Sr => &[("size_bytes", Unit::Bytes), ("physical_utilisation_bytes", Unit::Bytes)],
    }
}

#[derive(Serialize)]
struct Shown {
    value: Number,
    unit: Option<&'static str>,
    time: Option<String>,
}

/// Samples by their names for clients.
struct Named(Vec<(String, Shown)>);

impl Serialize for Named {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, shown) in &self.0 {
            map.serialize_entry(name, shown)?;
        }
        map.end()
    }
}

/// Where samples come from, or why there are none.
#[derive(Debug, Serialize)]
pub struct Sampling {
    /// The host that measures.
    pub host: Option<Uuid>,
    /// The host's newest measurement, by its clock.
    time: Option<String>,
    /// Seconds between two measurements.
    step: Option<i64>,
    /// Seconds that the host's clock is ahead of the gateway's.
    clock_offset: Option<i64>,
    /// Why samples are not known.
    reason: Option<Reason>,
}

#[derive(Debug, Serialize)]
struct Reason {
    code: &'static str,
    detail: String,
}

impl Reason {
    fn of(trouble: &SampleError) -> Self {
        Self { code: trouble.code(), detail: trouble.to_string() }
    }
}

/// `samples` and `sampling` as JSON.
pub fn samples_json(
    owner: Owner,
    host: Option<Uuid>,
    samples: &Result<Samples, SampleError>,
) -> (Vec<u8>, Vec<u8>) {
    let named = Named(named(owner, samples.as_ref().ok()));
    let sampling = match samples {
        Ok(samples) => Sampling {
            host,
            time: Some(rfc_3339_of(samples.newest)),
            step: samples.step,
            clock_offset: samples.clock_offset,
            reason: samples.gap.as_ref().map(Reason::of),
        },
        Err(trouble) => Sampling {
            host,
            time: None,
            step: None,
            clock_offset: None,
            reason: Some(Reason::of(trouble)),
        },
    };
    let json = |value: serde_json::Result<Vec<u8>>| value.expect("names and numbers are JSON");
    (json(serde_json::to_vec(&named)), json(serde_json::to_vec(&sampling)))
}

fn named(owner: Owner, samples: Option<&Samples>) -> Vec<(String, Shown)> {
    let mut all: Vec<(String, Shown)> = Vec::new();
    let mut known: HashSet<String> = HashSet::default();
    for sample in samples.iter().flat_map(|samples| samples.samples.iter()) {
        let meaning = meaning(owner, &sample.source);
        if !known.insert(meaning.name.clone()) {
            continue;
        }
        let value = Number(sample.value * meaning.factor);
        let time = Some(rfc_3339_of(sample.time)).filter(|_| sample.value.is_finite());
        all.push((meaning.name, Shown { value, unit: meaning.unit.name(), time }));
    }
    for (place, (name, unit)) in basic(owner).iter().enumerate() {
        if known.contains(*name) {
            continue;
        }
        let unknown = || Shown { value: Number(f64::NAN), unit: unit.name(), time: None };
        let shown = if *name == "cpu" { mean_cpu(&all).unwrap_or_else(unknown) } else { unknown() };
        all.insert(place.min(all.len()), ((*name).to_owned(), shown));
    }
    all
}

/// Older hosts do not count the mean themselves.
fn mean_cpu(all: &[(String, Shown)]) -> Option<Shown> {
    let is_cpu = |name: &str| {
        name.strip_prefix("cpu").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let cpus: Vec<&Shown> =
        all.iter().filter(|(name, _)| is_cpu(name)).map(|(_, shown)| shown).collect();
    let first = cpus.first()?;
    let sum: f64 = cpus.iter().map(|shown| shown.value.0).sum();
    // If one is not known, neither is their mean.
    let value = Number(sum / cpus.len() as f64);
    let time = first.time.clone().filter(|_| value.0.is_finite());
    Some(Shown { value, unit: Unit::Fraction.name(), time })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use xenapi_mirror::metrics::Sample;

    fn shown(owner: Owner, samples: &[(&str, f64)]) -> Value {
        let samples = samples.iter().map(|(source, value)| Sample {
            source: (*source).into(),
            value: *value,
            time: 1_790_000_800,
        });
        let samples = Samples {
            samples: samples.collect(),
            newest: 1_790_000_805,
            step: Some(5),
            clock_offset: Some(0),
            gap: None,
        };
        let (samples, _) = samples_json(owner, None, &Ok(samples));
        serde_json::from_slice(&samples).expect("JSON")
    }

    #[test]
    fn samples_have_base_units_and_a_mean() {
        let vm = shown(
            Owner::Vm,
            &[("cpu0", 0.25), ("cpu1", 0.75), ("memory_internal_free", 2048.0), ("x", f64::NAN)],
        );
        let time = "2026-09-21T14:26:40Z";
        assert_eq!(vm["cpu"], json!({"value": 0.5, "unit": "fraction", "time": time}));
        let free = json!({"value": 2_097_152, "unit": "bytes", "time": time});
        assert_eq!(vm["memory_free_bytes"], free);
        assert_eq!(vm["memory_bytes"], json!({"value": null, "unit": "bytes", "time": null}));
        assert_eq!(vm["x"], json!({"value": null, "unit": null, "time": null}));
        let unknown = shown(Owner::Vm, &[("cpu0", 0.25), ("cpu1", f64::NAN)]);
        assert_eq!(unknown["cpu"]["value"], Value::Null);
        assert_eq!(shown(Owner::Host, &[("cpu_avg", 1.0), ("cpu0", 0.0)])["cpu"]["value"], 1);
    }

    #[test]
    fn what_is_not_known_has_a_reason() {
        let (samples, sampling) = samples_json(Owner::Sr, None, &Err(SampleError::Slow));
        let samples: Value = serde_json::from_slice(&samples).expect("JSON");
        assert_eq!(samples["size_bytes"]["value"], Value::Null);
        let sampling: Value = serde_json::from_slice(&sampling).expect("JSON");
        assert_eq!(sampling["reason"]["code"], "HOST_SLOW");
    }
}
