//! The newest of what a host measures.

use std::sync::Arc;
use std::time::SystemTime;

use foldhash::HashMap;
use tokio::time::Instant;

use super::model::{Cf, Key};
use super::read::Updates;

/// How many steps the first question looks back, and how many an answer may lag behind for one of
/// its sources.
pub(super) const LOOK_BACK: i64 = 3;

/// The newest known value of one source.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// XAPI's name of the source.
    pub source: Arc<str>,
    /// The value; NaN when it is not known.
    pub value: f64,
    /// When it was measured, by the host's clock.
    pub time: i64,
}

/// The newest of everything that one host measures.
#[derive(Debug, Clone)]
pub struct HostSamples {
    /// The newest time something was measured, by the host's clock.
    pub newest: i64,
    /// Seconds between two measurements.
    pub step: i64,
    /// How far the host's clock is ahead of the gateway's.
    pub clock_offset: i64,
    /// The samples of each object.
    pub objects: HashMap<Key, Arc<[Sample]>>,
    /// When something new came last.
    pub(super) received: Instant,
}

impl HostSamples {
    /// What is known after `updates`; nothing when they bring nothing new.
    pub(super) fn after(
        before: Option<&Self>,
        updates: &Updates,
        now: Instant,
        wall: i64,
    ) -> Option<Self> {
        let rows: Vec<(i64, &[f64])> = updates.rows().collect();
        let (newest, _) = *rows.first()?;
        if before.is_some_and(|before| before.newest >= newest) {
            return None;
        }
        let oldest = newest - LOOK_BACK * updates.step;
        let recent = rows.iter().take_while(|(time, _)| *time > oldest);
        let recent: Vec<_> = recent.copied().collect();
        // Of objects that something is not known of, what was known before.
        let mut known_before: HashMap<Key, HashMap<&str, (f64, i64)>> = HashMap::default();
        let mut objects: HashMap<Key, Vec<Sample>> = HashMap::default();
        for (place, column) in updates.columns.iter().enumerate() {
            let Some(column) = column.as_ref().filter(|column| column.cf == Cf::Average) else {
                continue;
            };
            let known = recent.iter().find(|(_, values)| !values[place].is_nan());
            let (value, time) = match known {
                Some((time, values)) => (values[place], *time),
                None => {
                    let known = known_before.entry(column.key).or_insert_with(|| {
                        before.map(|one| one.known(column.key, oldest)).unwrap_or_default()
                    });
                    known.get(&*column.source).copied().unwrap_or((f64::NAN, newest))
                }
            };
            let sample = Sample { source: column.source.clone(), value, time };
            objects.entry(column.key).or_default().push(sample);
        }
        let objects = objects.into_iter().map(|(key, samples)| (key, samples.into())).collect();
        let clock_offset = newest - wall;
        Some(Self { newest, step: updates.step, clock_offset, objects, received: now })
    }

    /// What is known of an object since then, by source.
    fn known(&self, key: Key, since: i64) -> HashMap<&str, (f64, i64)> {
        let samples = self.objects.get(&key).into_iter().flat_map(|samples| samples.iter());
        let known = samples.filter(|sample| !sample.value.is_nan() && sample.time > since);
        known.map(|sample| (&*sample.source, (sample.value, sample.time))).collect()
    }
}

/// The gateway's own clock, which says nothing but how far another is off.
pub(super) fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::metrics::model::Owner;

    fn updates(rows: &[(i64, &[&str])]) -> Updates {
        let uuid = Uuid::from_u128(1);
        let rows: Vec<String> = rows
            .iter()
            .map(|(time, values)| {
                format!(r#"{{"t":{time},"values":["{}"]}}"#, values.join("\",\""))
            })
            .collect();
        let body = format!(
            r#"{{"meta":{{"step":5,"legend":["AVERAGE:vm:{uuid}:a","AVERAGE:vm:{uuid}:b"]}},"data":[{}]}}"#,
            rows.join(",")
        );
        Updates::read(body.as_bytes()).expect("readable")
    }

    fn brief(samples: &HostSamples) -> Vec<(Option<f64>, i64)> {
        let key = Key { owner: Owner::Vm, uuid: Uuid::from_u128(1) };
        let known = |value: f64| (!value.is_nan()).then_some(value);
        samples.objects[&key].iter().map(|sample| (known(sample.value), sample.time)).collect()
    }

    #[tokio::test]
    async fn the_newest_known_values_stand_for_a_few_steps() {
        let now = Instant::now();
        let rows = updates(&[(100, &["NaN", "1"]), (95, &["7", "2"]), (85, &["8", "NaN"])]);
        let first = HostSamples::after(None, &rows, now, 40).expect("something new");
        assert_eq!((first.newest, first.clock_offset), (100, 60));
        assert_eq!(brief(&first), [(Some(7.0), 95), (Some(1.0), 100)]);
        let again = HostSamples::after(Some(&first), &rows, now, 40);
        assert!(again.is_none(), "nothing new");
        let second = HostSamples::after(Some(&first), &updates(&[(105, &["NaN", "3"])]), now, 45);
        let second = second.expect("something new");
        assert_eq!(brief(&second), [(Some(7.0), 95), (Some(3.0), 105)]);
        let third = HostSamples::after(Some(&second), &updates(&[(110, &["NaN", "NaN"])]), now, 50);
        let third = third.expect("something new");
        assert_eq!(brief(&third), [(None, 110), (Some(3.0), 105)], "not for ever");
        assert!(HostSamples::after(None, &updates(&[]), now, 0).is_none());
    }
}
