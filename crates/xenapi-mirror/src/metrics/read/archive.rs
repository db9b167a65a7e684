//! A whole RRD: every archive of one object.

use std::sync::Arc;

use super::{Form, MOST_ARCHIVES, MOST_COLUMNS, MOST_ROWS, Unreadable, form, json, xml};
use crate::metrics::model::Cf;
use crate::metrics::sources::Kind;

/// Every archive of one object.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Archive {
    /// Seconds between two measurements.
    pub step: i64,
    /// The newest measurement.
    pub last_update: i64,
    /// The sources, in the order of the values of a row.
    pub sources: Vec<Source>,
    /// The archives.
    pub rras: Vec<Rra>,
}

/// A source of a whole RRD.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// XAPI's name of it.
    pub name: Arc<str>,
    /// What its readings are taken for.
    pub kind: Option<Kind>,
}

/// One archive: so many rows of so many measurements each.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rra {
    /// How they were consolidated; `None` if in a way nobody knows.
    pub cf: Option<Cf>,
    /// Measurements in a row.
    pub per_row: i64,
    /// How many rows there are.
    pub rows: usize,
    /// The values row by row, oldest first; NaN where one is not known.
    pub values: Vec<f64>,
}

impl Archive {
    /// Reads a whole RRD.
    pub fn read(body: &[u8]) -> Result<Self, Unreadable> {
        let mut draft = ArchiveDraft::default();
        match form(body)? {
            Form::Xml(body) => xml::archive(body, &mut draft)?,
            Form::Json(body) => json::archive(body, &mut draft)?,
        }
        draft.finish()
    }

    /// Seconds between the rows of one of its archives.
    pub fn step_of(&self, rra: &Rra) -> i64 {
        self.step.saturating_mul(rra.per_row)
    }

    /// What archives there are, in words: `AVERAGE/5`.
    pub fn described(&self) -> String {
        let known = self.rras.iter().filter_map(|rra| Some((rra.cf?, self.step_of(rra))));
        let all: Vec<String> = known.map(|(cf, step)| format!("{}/{step}", cf.name())).collect();
        all.join(", ")
    }

    /// What it takes in memory, about.
    pub fn size(&self) -> usize {
        let values: usize = self.rras.iter().map(|rra| rra.values.len() * size_of::<f64>()).sum();
        size_of::<Self>() + values + self.sources.len() * 64
    }
}

/// A whole RRD as it is read.
#[derive(Debug, Default)]
pub(super) struct ArchiveDraft {
    pub(super) step: Option<i64>,
    pub(super) last_update: Option<i64>,
    pub(super) source: (Option<String>, Option<Kind>),
    sources: Vec<Source>,
    pub(super) cf: Option<Cf>,
    pub(super) per_row: Option<i64>,
    /// Where each row of the archive at hand begins.
    rows: Vec<usize>,
    values: Vec<f64>,
    rras: Vec<RraDraft>,
}

/// One archive: its function, its steps per row, where its rows begin, and their values.
type RraDraft = (Option<Cf>, Option<i64>, Vec<usize>, Vec<f64>);

impl ArchiveDraft {
    /// A source is whole.
    pub(super) fn end_source(&mut self) -> Result<(), Unreadable> {
        if self.sources.len() >= MOST_COLUMNS {
            return Err(Unreadable::TooWide);
        }
        let (name, kind) = std::mem::take(&mut self.source);
        self.sources.push(Source { name: name.unwrap_or_default().into(), kind });
        Ok(())
    }

    /// A row begins.
    pub(super) fn row(&mut self) -> Result<(), Unreadable> {
        if self.rows.len() >= MOST_ROWS {
            return Err(Unreadable::TooWide);
        }
        self.rows.push(self.values.len());
        Ok(())
    }

    /// One more value of it.
    pub(super) fn value(&mut self, value: f64) {
        self.values.push(value);
    }

    /// An archive is whole.
    pub(super) fn end_rra(&mut self) -> Result<(), Unreadable> {
        if self.rras.len() >= MOST_ARCHIVES {
            return Err(Unreadable::TooWide);
        }
        let (rows, values) = (std::mem::take(&mut self.rows), std::mem::take(&mut self.values));
        self.rras.push((self.cf.take(), self.per_row.take(), rows, values));
        Ok(())
    }

    fn finish(self) -> Result<Archive, Unreadable> {
        let Self { step, last_update, sources, rras, .. } = self;
        let (Some(step), Some(last_update)) = (step, last_update) else {
            return Err(Unreadable::NotRrd);
        };
        let width = sources.len();
        let rras = rras
            .into_iter()
            .filter_map(|(cf, per_row, rows, values)| {
                // Without it nobody knows when a row was.
                let per_row = per_row?;
                let count = rows.len();
                Some(Rra { cf, per_row, rows: count, values: fitted(&rows, values, width)? })
            })
            .collect();
        Ok(Archive { step, last_update, sources, rras })
    }
}

/// The values of rows that all have `width` of them: a row of another length keeps its place, which
/// is its time, and nothing else. Nothing where there would be far more of it than has come.
fn fitted(rows: &[usize], values: Vec<f64>, width: usize) -> Option<Vec<f64>> {
    let ends = rows.iter().skip(1).copied().chain([values.len()]);
    let fits = |(from, to): (usize, usize)| to - from == width;
    if rows.iter().copied().zip(ends.clone()).all(fits) {
        return Some(values);
    }
    if rows.len().saturating_mul(width) > 4 * values.len() + 100_000 {
        return None;
    }
    let mut fitted = Vec::with_capacity(values.len());
    for (from, to) in rows.iter().copied().zip(ends) {
        if to - from == width {
            fitted.extend_from_slice(&values[from..to]);
        } else {
            fitted.extend(std::iter::repeat_n(f64::NAN, width));
        }
    }
    Some(fitted)
}
