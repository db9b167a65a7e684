//! The archives of an RRD: what is kept for how long, and at which resolution.

use super::STEP;

/// How several measurements become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consolidation {
    Average,
    Min,
    Max,
}

impl Consolidation {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "AVERAGE" => Some(Self::Average),
            "MIN" => Some(Self::Min),
            "MAX" => Some(Self::Max),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Average => "AVERAGE",
            Self::Min => "MIN",
            Self::Max => "MAX",
        }
    }
}

/// So many rows, each of so many measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Archive {
    pub(super) per_row: i64,
    pub(super) rows: i64,
}

/// Ten minutes of every measurement, two hours of minutes, a week of hours, a year of days.
pub(super) fn archives() -> [Archive; 4] {
    [(1, 120), (12, 120), (720, 168), (17_280, 366)]
        .map(|(per_row, rows)| Archive { per_row, rows })
}

impl Archive {
    /// Seconds between its rows.
    pub(super) fn step(self) -> i64 {
        self.per_row * STEP
    }

    /// The archive that XAPI picks: the first whose rows are no shorter than `interval` and that
    /// reaches back to `start`, or the one that reaches back farthest.
    pub(super) fn best(start: i64, interval: i64, last: i64) -> Self {
        let reaches = |archive: &Self| start > last - archive.step() * archive.rows;
        let long = |archive: &Self| archive.per_row >= interval / STEP;
        let all = archives();
        let best = all.iter().find(|one| long(one) && reaches(one));
        best.copied().unwrap_or(all[all.len() - 1])
    }
}

/// What one row of an archive holds of one source.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cell {
    pub(super) average: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Cell {
    pub(super) const UNKNOWN: Self = Self { average: f64::NAN, min: f64::NAN, max: f64::NAN };

    /// The cell of these measurements; those that are unknown do not count.
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Self {
        let (mut sum, mut count) = (0.0, 0.0);
        let mut cell = Self { average: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY };
        for value in values.filter(|value| value.is_finite()) {
            (sum, count) = (sum + value, count + 1.0);
            cell.min = cell.min.min(value);
            cell.max = cell.max.max(value);
        }
        if count == 0.0 { Self::UNKNOWN } else { Self { average: sum / count, ..cell } }
    }

    pub(super) fn by(self, cf: Consolidation) -> f64 {
        match cf {
            Consolidation::Average => self.average,
            Consolidation::Min => self.min,
            Consolidation::Max => self.max,
        }
    }
}
