//! `/rrd_updates`: what everything on a host has measured since a time.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use foldhash::{HashMap, HashSet};
use uuid::Uuid;

use super::{Form, MOST_COLUMNS, MOST_ROWS, Unreadable, form, json, xml};
use crate::metrics::model::{Cf, Key, Owner};

/// One column: a source of an object, consolidated in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// How its values were consolidated.
    pub cf: Cf,
    /// Whose source it is.
    pub key: Key,
    /// XAPI's name of the source.
    pub source: Arc<str>,
}

/// What everything on a host has measured since a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Updates {
    /// Seconds between two rows.
    pub step: i64,
    /// The newest time there is, as the reply has it.
    pub end: Option<i64>,
    /// The columns; those that say nothing one can use are `None`.
    pub columns: Vec<Option<Column>>,
    /// Rows that could not be used.
    pub unusable: usize,
    rows: Vec<(i64, usize)>,
    values: Vec<f64>,
}

impl Updates {
    /// Reads a reply.
    pub fn read(body: &[u8]) -> Result<Self, Unreadable> {
        let mut draft = Draft::default();
        match form(body)? {
            Form::Xml(body) => xml::updates(body, &mut draft)?,
            Form::Json(body) => json::updates(body, &mut draft)?,
        }
        draft.finish()
    }

    /// The rows, newest first, one for each time; a value for each column, NaN where it is unknown.
    pub fn rows(&self) -> impl Iterator<Item = (i64, &[f64])> {
        let width = self.columns.len();
        self.rows.iter().map(move |(time, at)| (*time, &self.values[*at..at + width]))
    }
}

/// A reply as it is read.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) step: Option<i64>,
    pub(super) end: Option<i64>,
    pub(super) has_meta: bool,
    columns: Vec<Option<Column>>,
    names: HashSet<Arc<str>>,
    rows: Vec<(Option<i64>, usize, usize)>,
    values: Vec<f64>,
}

impl Draft {
    /// A legend's entry: `AVERAGE:vm:UUID:cpu0`.
    pub(super) fn entry(&mut self, entry: &str) -> Result<(), Unreadable> {
        if self.columns.len() >= MOST_COLUMNS {
            return Err(Unreadable::TooWide);
        }
        let column = self.column(entry.trim());
        self.columns.push(column);
        Ok(())
    }

    fn column(&mut self, entry: &str) -> Option<Column> {
        let mut parts = entry.splitn(4, ':');
        let cf = Cf::named(parts.next()?)?;
        let owner = match parts.next()? {
            "vm" => Owner::Vm,
            "host" => Owner::Host,
            "sr" => Owner::Sr,
            _ => return None,
        };
        let uuid = Uuid::try_parse(parts.next()?).ok()?;
        let name = parts.next().filter(|name| !name.is_empty())?;
        // A thousand VMs have a few dozen names between them.
        let source = match self.names.get(name) {
            Some(known) => known.clone(),
            None => {
                let source: Arc<str> = name.into();
                self.names.insert(source.clone());
                source
            }
        };
        Some(Column { cf, key: Key { owner, uuid }, source })
    }

    /// Where the values of the next row begin.
    pub(super) fn mark(&self) -> usize {
        self.values.len()
    }

    /// One more value.
    pub(super) fn value(&mut self, value: f64) {
        self.values.push(value);
    }

    /// A row whose values begin at `from`.
    pub(super) fn row(&mut self, time: Option<i64>, from: usize) -> Result<(), Unreadable> {
        if self.rows.len() >= MOST_ROWS {
            return Err(Unreadable::TooWide);
        }
        self.rows.push((time, from, self.values.len() - from));
        Ok(())
    }

    fn finish(mut self) -> Result<Updates, Unreadable> {
        if !self.has_meta {
            return Err(Unreadable::NotRrd);
        }
        let width = self.columns.len();
        let read = self.rows.len();
        // What value belongs to which column cannot be known in a row of another length.
        let mut rows: Vec<(i64, usize)> = self
            .rows
            .iter()
            .filter(|(_, _, length)| *length == width)
            .filter_map(|(time, from, _)| Some(((*time)?, *from)))
            .collect();
        let unusable = read - rows.len();
        rows.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
        self.join_rows(&mut rows);
        self.join_columns(&rows);
        let step = self.step.or_else(|| difference(&rows)).unwrap_or(5);
        let Self { end, columns, values, .. } = self;
        Ok(Updates { step, end, columns, unusable, rows, values })
    }

    /// A time that comes more than once counts once, with what all its rows agree on.
    fn join_rows(&mut self, rows: &mut Vec<(i64, usize)>) {
        for same in rows.chunk_by(|one, other| one.0 == other.0).filter(|same| same.len() > 1) {
            let first = same[0].1;
            for place in 0..self.columns.len() {
                let all = same.iter().map(|(_, at)| self.values[at + place]);
                self.values[first + place] = consensus(all);
            }
        }
        rows.dedup_by_key(|(time, _)| *time);
    }

    /// The same for columns.
    fn join_columns(&mut self, rows: &[(i64, usize)]) {
        let mut places: HashMap<(Cf, Key, *const u8), usize> = HashMap::default();
        places.reserve(self.columns.len());
        let mut again: Vec<(usize, usize)> = Vec::new();
        for (place, column) in self.columns.iter().enumerate() {
            let Some(Column { cf, key, source }) = column else { continue };
            // Each name is there once, so that where it is tells it from others.
            match places.entry((*cf, *key, source.as_ptr())) {
                Entry::Occupied(first) => again.push((*first.get(), place)),
                Entry::Vacant(first) => _ = first.insert(place),
            }
        }
        again.sort_unstable();
        for same in again.chunk_by(|one, other| one.0 == other.0) {
            let first = same[0].0;
            for (_, at) in rows {
                let all = std::iter::once(first).chain(same.iter().map(|(_, place)| *place));
                self.values[at + first] = consensus(all.map(|place| self.values[at + place]));
            }
            for (_, place) in same {
                self.columns[*place] = None;
            }
        }
    }
}

/// What several accounts of one value agree on; if they contradict each other, nothing is known.
fn consensus(accounts: impl Iterator<Item = f64>) -> f64 {
    let mut agreed = f64::NAN;
    for value in accounts.filter(|value| !value.is_nan()) {
        if agreed.is_nan() {
            agreed = value;
        } else if agreed != value {
            return f64::NAN;
        }
    }
    agreed
}

/// The smallest difference between the times of rows, newest first.
fn difference(rows: &[(i64, usize)]) -> Option<i64> {
    rows.windows(2).map(|pair| pair[0].0 - pair[1].0).filter(|step| *step > 0).min()
}
