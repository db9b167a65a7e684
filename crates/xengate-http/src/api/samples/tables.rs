//! A history as JSON, CSV and NDJSON.

use csv::{Terminator, WriterBuilder};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::api::samples::format::{Number, is_whole};
use crate::api::samples::range::{Instants, Time};
use crate::api::samples::selection::Pick;
use xenapi_mirror::metrics::{Cf, Table};

/// A part of a table, with what it is about.
#[derive(Debug, Clone, Copy)]
pub struct History<'a> {
    /// Whose it is.
    pub uuid: Uuid,
    /// The backend that has that.
    pub backend: &'a str,
    /// Its class.
    pub class: &'static str,
    /// How its rows were consolidated.
    pub cf: Cf,
    /// The rows.
    pub table: &'a Table,
    /// The columns that are wanted.
    pub picks: &'a [Pick],
    /// The first and last time that are wanted.
    pub range: (i64, i64),
    /// How times are written.
    pub instants: Instants,
}

impl History<'_> {
    /// The rows that are wanted.
    pub(super) fn rows(&self) -> impl Iterator<Item = &(i64, Box<[f64]>)> {
        let (from, to) = self.range;
        self.table.rows.iter().filter(move |(time, _)| (from..=to).contains(time))
    }

    /// A row's wanted values, in base units.
    pub(super) fn values<'r>(&'r self, row: &'r [f64]) -> impl Iterator<Item = f64> + 'r {
        self.picks.iter().map(|pick| row[pick.place] * pick.meaning.factor)
    }

    /// One document.
    pub fn json(&self) -> Vec<u8> {
        let document = Document {
            uuid: self.uuid,
            backend: self.backend,
            class: self.class,
            cf: self.cf.name(),
            step: self.table.step,
            from: Time(self.range.0, self.instants),
            to: Time(self.range.1, self.instants),
            columns: self.picks.iter().map(Column::of).collect(),
            rows: Rows(self),
        };
        serde_json::to_vec(&document).expect("names and numbers are JSON")
    }

    /// A line of names, then one for each row; nothing where a value is not known.
    pub fn csv(&self) -> Vec<u8> {
        let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
        let mut write = |time: String, cells: &mut dyn Iterator<Item = String>| {
            let record = std::iter::once(time).chain(cells);
            writer
                .write_record(record.collect::<Vec<_>>())
                .expect("rows have a cell for each name");
        };
        write("time".to_owned(), &mut self.picks.iter().map(|pick| name_cell(&pick.meaning.name)));
        for (time, row) in self.rows() {
            let cell = |value: f64| match value {
                value if is_whole(value) => (value as i64).to_string(),
                value if value.is_finite() => value.to_string(),
                _ => String::new(),
            };
            write(Time(*time, self.instants).text(), &mut self.values(row).map(cell));
        }
        writer.into_inner().expect("writing to memory cannot fail")
    }

    /// An object for each row.
    pub fn ndjson(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (time, row) in self.rows() {
            let line = Line { history: self, time: *time, row };
            serde_json::to_writer(&mut out, &line).expect("names and numbers are JSON");
            out.push(b'\n');
        }
        out
    }
}

/// A name as a cell; what a spreadsheet would take for a formula gets an apostrophe before it.
fn name_cell(name: &str) -> String {
    if name.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{name}")
    } else {
        name.to_owned()
    }
}

#[derive(Serialize)]
struct Document<'a> {
    uuid: Uuid,
    backend: &'a str,
    class: &'static str,
    cf: &'static str,
    step: i64,
    from: Time,
    to: Time,
    columns: Vec<Column<'a>>,
    rows: Rows<'a>,
}

#[derive(Serialize)]
struct Column<'a> {
    name: &'a str,
    source: &'a str,
    unit: Option<&'static str>,
    description: &'a str,
}

impl<'a> Column<'a> {
    fn of(pick: &'a Pick) -> Self {
        let Pick { source, meaning, .. } = pick;
        let (name, description) = (&meaning.name, &meaning.description);
        Self { name, source, unit: meaning.unit.name(), description }
    }
}

struct Rows<'a>(&'a History<'a>);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(None)?;
        for (time, row) in self.0.rows() {
            let values: Vec<Number> = self.0.values(row).map(Number).collect();
            rows.serialize_element(&Row { time: Time(*time, self.0.instants), values })?;
        }
        rows.end()
    }
}

#[derive(Serialize)]
struct Row {
    time: Time,
    values: Vec<Number>,
}

struct Line<'a> {
    history: &'a History<'a>,
    time: i64,
    row: &'a [f64],
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { history, time, row } = self;
        let mut line = serializer.serialize_map(Some(history.picks.len() + 1))?;
        line.serialize_entry("time", &Time(*time, history.instants))?;
        for (pick, value) in history.picks.iter().zip(history.values(row)) {
            line.serialize_entry(&pick.meaning.name, &Number(value))?;
        }
        line.end()
    }
}
