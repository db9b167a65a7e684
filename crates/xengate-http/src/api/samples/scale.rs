//! Axes: where their marks stand, and what is written at them.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use crate::api::samples::range::rfc_3339_of;
use xenapi_mirror::metrics::Unit;

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
const DAY: i64 = 86_400;

/// Seconds between marks that people can read.
const STRIDES: [i64; 19] = [
    5,
    10,
    15,
    30,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
    14 * DAY,
    61 * DAY,
];

/// An axis of times, in seconds since 1970.
#[derive(Debug, Clone)]
pub(super) struct TimeAxis(pub(super) Range<i64>);

impl TimeAxis {
    fn stride(&self, most: usize) -> i64 {
        let span = self.0.end - self.0.start;
        let most = i64::try_from(most.max(1)).unwrap_or(1);
        STRIDES.into_iter().find(|stride| span / stride <= most).unwrap_or(366 * DAY)
    }
}

impl Ranged for TimeAxis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = i64;

    fn map(&self, value: &i64, limit: (i32, i32)) -> i32 {
        let span = (self.0.end - self.0.start).max(1) as f64;
        let share = (value - self.0.start) as f64 / span;
        limit.0 + (share * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<i64> {
        let stride = self.stride(hint.max_num_points());
        let first = self.0.start.div_euclid(stride) * stride;
        (0..=64).map(|n| first + n * stride).filter(|time| self.0.contains(time)).collect()
    }

    fn range(&self) -> Range<i64> {
        self.0.clone()
    }
}

impl ValueFormatter<i64> for TimeAxis {
    fn format_ext(&self, time: &i64) -> String {
        let text = rfc_3339_of(*time);
        let (date, clock) = text.split_once('T').unwrap_or((&text, ""));
        let span = self.0.end - self.0.start;
        match span {
            span if span > 4 * DAY => date[5..].to_owned(),
            span if span > DAY => format!("{} {}", &date[5..], &clock[..5]),
            span if span < 4 * MINUTE => clock[..8].to_owned(),
            _ => clock[..5].to_owned(),
        }
    }
}

/// A value with its unit, short enough for an axis.
pub(super) fn label(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Fraction => format!("{} %", short(value * 100.0)),
        Unit::Bytes => format!("{}B", prefixed(value)),
        Unit::BytesPerSecond => format!("{}B/s", prefixed(value)),
        Unit::Seconds if value != 0.0 && value.abs() < 1e-3 => format!("{} µs", short(value * 1e6)),
        Unit::Seconds if value != 0.0 && value.abs() < 1.0 => format!("{} ms", short(value * 1e3)),
        Unit::Seconds => format!("{} s", short(value)),
        _ => prefixed(value).trim_end().to_owned(),
    }
}

/// Thousands, because marks stand at round numbers of ten.
fn prefixed(value: f64) -> String {
    const PREFIXES: [&str; 6] = ["", "k", "M", "G", "T", "P"];
    let (mut value, mut place) = (value, 0);
    while value.abs() >= 1000.0 && place + 1 < PREFIXES.len() {
        (value, place) = (value / 1000.0, place + 1);
    }
    format!("{} {}", short(value), PREFIXES[place])
}

/// At most three digits that matter.
fn short(value: f64) -> String {
    let places = match value.abs() {
        0.0 | 100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    let text = format!("{value:.places$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_short() {
        for (unit, value, wanted) in [
            (Unit::Fraction, 0.5, "50 %"),
            (Unit::Bytes, 1500.0, "1.5 kB"),
            (Unit::BytesPerSecond, 0.0, "0 B/s"),
            (Unit::BytesPerSecond, 2e6, "2 MB/s"),
            (Unit::Seconds, 0.000_25, "250 µs"),
            (Unit::Seconds, 0.05, "50 ms"),
            (Unit::RequestsPerSecond, 1500.0, "1.5 k"),
            (Unit::Count, 3.0, "3"),
            (Unit::Unknown, 1e30, "1000000000000000 P"),
        ] {
            assert_eq!(label(unit, value), wanted);
        }
    }

    #[test]
    fn times_stand_at_even_places() {
        let axis = TimeAxis(1_790_000_000..1_790_007_200);
        let points = axis.key_points(plotters::coord::ranged1d::BoldPoints(8));
        assert!((4..=9).contains(&points.len()), "{points:?}");
        assert!(points.iter().all(|time| time % 900 == 0), "{points:?}");
        assert_eq!(axis.format_ext(&1_790_000_100), "14:15");
        assert_eq!(axis.map(&1_790_003_600, (0, 100)), 50);
        assert_eq!(TimeAxis(5..5).map(&5, (0, 100)), 0);
    }
}
