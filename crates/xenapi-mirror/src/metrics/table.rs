//! What was measured over time.

use std::sync::Arc;

use super::model::{Cf, Key};
use super::read::{Archive, Updates};

/// What one object measured over time: a column for each source, a row for each time.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Seconds between two rows.
    pub step: i64,
    /// The newest time there is a row for, by the host's clock.
    pub newest: i64,
    /// XAPI's names of the sources.
    pub columns: Vec<Arc<str>>,
    /// The rows, oldest first, each with a value for each column; NaN where it is not known.
    pub rows: Vec<(i64, Box<[f64]>)>,
}

impl Table {
    /// What `updates` say of one object; nothing if they do not mention it.
    pub(super) fn of_updates(updates: &Updates, key: Key, cf: Cf) -> Option<Self> {
        let picked: Vec<(usize, &Arc<str>)> = updates
            .columns
            .iter()
            .enumerate()
            .filter_map(|(place, column)| Some((place, column.as_ref()?)))
            .filter(|(_, column)| column.key == key && column.cf == cf)
            .map(|(place, column)| (place, &column.source))
            .collect();
        if picked.is_empty() {
            return None;
        }
        let row = |(time, values): (i64, &[f64])| {
            (time, picked.iter().map(|(place, _)| values[*place]).collect())
        };
        let mut rows: Vec<(i64, Box<[f64]>)> = updates.rows().map(row).collect();
        rows.reverse();
        let newest = rows.last().map(|(time, _)| *time).or(updates.end)?;
        let columns = picked.into_iter().map(|(_, source)| source.clone()).collect();
        Some(Self { step: updates.step, newest, columns, rows })
    }

    /// One archive of a whole RRD, if it has that.
    pub(super) fn of_archive(archive: &Archive, cf: Cf, step: i64) -> Option<Self> {
        let found =
            archive.rras.iter().find(|rra| rra.cf == Some(cf) && archive.step_of(rra) == step)?;
        let newest = archive.last_update - archive.last_update.rem_euclid(step);
        let width = archive.sources.len();
        let count = i64::try_from(found.rows).ok()?;
        let time = |row: usize| newest - (count - 1 - i64::try_from(row).unwrap_or(count)) * step;
        let rows = (0..found.rows)
            .map(|row| (time(row), found.values[row * width..(row + 1) * width].into()))
            .collect();
        let columns = archive.sources.iter().map(|source| source.name.clone()).collect();
        Some(Self { step, newest, columns, rows })
    }

    /// What it takes in memory, about.
    pub fn size(&self) -> usize {
        let row = size_of::<(i64, Box<[f64]>)>() + self.columns.len() * size_of::<f64>();
        size_of::<Self>() + self.rows.len() * row + self.columns.len() * 48
    }
}
