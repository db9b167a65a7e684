//! What is measured as XAPI writes it: `rrd_updates` in the form of rrdtool's xport, and whole RRDs.

use std::fmt::Write as _;

use super::archive::{Archive, Cell, Consolidation};
use super::sources::Measured;
use crate::protocol::{escape_json, escape_xml, general};

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Xml,
    /// Every number is a string.
    Json,
    /// As XAPI wrote it before: JavaScript rather than JSON, with a bare NaN.
    BareJson,
}

/// A number as RRDs have it: kept with single precision, written with fifteen digits.
pub(super) fn number(value: f64) -> String {
    let value = f64::from(value as f32);
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else if value == 0.0 {
        "0.0".to_owned()
    } else {
        general(value, 15)
    }
}

/// What was measured since a time, newest first.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Xport {
    pub(super) start: i64,
    pub(super) step: i64,
    pub(super) end: i64,
    pub(super) legend: Vec<String>,
    pub(super) rows: Vec<(i64, Vec<f64>)>,
}

impl Xport {
    pub(super) fn write(&self, form: Form) -> String {
        match form {
            Form::Xml => self.xml(),
            Form::Json => self.json(true),
            Form::BareJson => self.json(false),
        }
    }

    fn facts(&self) -> [(&'static str, i64); 5] {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        [
            ("start", self.start),
            ("step", self.step),
            ("end", self.end),
            ("rows", count(self.rows.len())),
            ("columns", count(self.legend.len())),
        ]
    }

    fn xml(&self) -> String {
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<xport><meta>");
        for (name, value) in self.facts() {
            element(&mut out, name, &value.to_string());
        }
        out.push_str("<legend>");
        for entry in &self.legend {
            element(&mut out, "entry", entry);
        }
        out.push_str("</legend></meta><data>");
        for (time, values) in &self.rows {
            out.push_str("<row>");
            element(&mut out, "t", &time.to_string());
            for value in values {
                element(&mut out, "v", &number(*value));
            }
            out.push_str("</row>");
        }
        out.push_str("</data></xport>");
        out
    }

    fn json(&self, strict: bool) -> String {
        let mut out = Json { out: String::new(), strict };
        out.open("{");
        out.name("meta");
        out.open("{");
        for (name, value) in self.facts() {
            out.name(name);
            out.number(&value.to_string());
        }
        out.name("legend");
        out.open("[");
        for entry in &self.legend {
            out.text(entry);
        }
        out.close("]");
        out.close("}");
        out.name("data");
        out.open("[");
        for (time, values) in &self.rows {
            out.open("{");
            out.name("t");
            out.number(&time.to_string());
            out.name("values");
            out.open("[");
            values.iter().for_each(|value| out.number(&number(*value)));
            out.close("]");
            out.close("}");
        }
        out.close("]");
        out.close("}");
        out.out
    }
}

/// A source as its RRD keeps it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) heartbeat: String,
    pub(super) min: String,
    pub(super) max: String,
    pub(super) last: String,
    pub(super) value: String,
    pub(super) unknown: f64,
}

/// What of a row to come is known already.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Prepared {
    pub(super) primary: f64,
    pub(super) secondary: f64,
    pub(super) value: f64,
    pub(super) unknown: i64,
}

/// One archive of a whole RRD, oldest row first.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept {
    pub(super) cf: String,
    pub(super) per_row: i64,
    pub(super) prepared: Vec<Prepared>,
    pub(super) rows: Vec<Vec<f64>>,
}

/// A whole RRD.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rrd {
    pub(super) step: i64,
    pub(super) last: i64,
    pub(super) sources: Vec<Source>,
    pub(super) archives: Vec<Kept>,
}

impl Rrd {
    /// The RRD of these sources, with `cell` for what it holds at a time.
    pub(super) fn of(
        measured: &[Measured],
        archives: &[Archive],
        last: i64,
        cell: impl Fn(&Measured, i64, i64) -> Cell,
    ) -> Self {
        let source = |measured: &Measured| {
            let newest = number(cell(measured, last, super::STEP).average);
            Source {
                name: measured.name.clone(),
                kind: measured.kind.name().to_owned(),
                heartbeat: "300".to_owned(),
                min: "0.0".to_owned(),
                max: "Infinity".to_owned(),
                last: newest.clone(),
                value: newest,
                unknown: 0.0,
            }
        };
        let mut kept = Vec::new();
        for archive in archives {
            let step = archive.step();
            let end = last - last.rem_euclid(step);
            let rows: Vec<Vec<Cell>> = (0..archive.rows)
                .rev()
                .map(|row| measured.iter().map(|one| cell(one, end - row * step, step)).collect())
                .collect();
            for cf in [Consolidation::Average, Consolidation::Min, Consolidation::Max] {
                let values = |cells: &Vec<Cell>| cells.iter().map(|cell| cell.by(cf)).collect();
                let nothing = Prepared { primary: 0.0, secondary: 0.0, value: 0.0, unknown: 0 };
                kept.push(Kept {
                    cf: cf.name().to_owned(),
                    per_row: archive.per_row,
                    prepared: vec![nothing; measured.len()],
                    rows: rows.iter().map(values).collect(),
                });
            }
        }
        let sources = measured.iter().map(source).collect();
        Self { step: super::STEP, last, sources, archives: kept }
    }

    pub(super) fn write(&self, form: Form) -> String {
        match form {
            Form::Xml => self.xml(),
            Form::Json => self.json(true),
            Form::BareJson => self.json(false),
        }
    }

    fn xml(&self) -> String {
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<rrd>");
        element(&mut out, "version", "0003");
        element(&mut out, "step", &self.step.to_string());
        element(&mut out, "lastupdate", &self.last.to_string());
        for source in &self.sources {
            out.push_str("<ds>");
            for (name, value) in [
                ("name", &source.name),
                ("type", &source.kind),
                ("minimal_heartbeat", &source.heartbeat),
                ("min", &source.min),
                ("max", &source.max),
                ("last_ds", &source.last),
                ("value", &source.value),
            ] {
                element(&mut out, name, value);
            }
            element(&mut out, "unknown_sec", &general(source.unknown, 15));
            out.push_str("</ds>");
        }
        for archive in &self.archives {
            out.push_str("<rra>");
            element(&mut out, "cf", &archive.cf);
            element(&mut out, "pdp_per_row", &archive.per_row.to_string());
            out.push_str("<params><xff>1</xff></params><cdp_prep>");
            for prepared in &archive.prepared {
                out.push_str("<ds>");
                element(&mut out, "primary_value", &number(prepared.primary));
                element(&mut out, "secondary_value", &number(prepared.secondary));
                element(&mut out, "value", &double(prepared.value));
                element(&mut out, "unknown_datapoints", &prepared.unknown.to_string());
                out.push_str("</ds>");
            }
            out.push_str("</cdp_prep><database>");
            for row in &archive.rows {
                out.push_str("<row>");
                row.iter().for_each(|value| element(&mut out, "v", &number(*value)));
                out.push_str("</row>");
            }
            out.push_str("</database></rra>");
        }
        out.push_str("</rrd>");
        out
    }

    fn json(&self, strict: bool) -> String {
        let mut out = Json { out: String::new(), strict };
        let last = self.last.to_string();
        out.open("{");
        out.pair("version", "0003");
        out.pair("step", &self.step.to_string());
        out.pair("lastupdate", &last);
        out.name("ds");
        out.open("[");
        for source in &self.sources {
            out.open("{");
            out.pair("name", &source.name);
            out.pair("type", &source.kind);
            out.pair("minimal_heartbeat", &source.heartbeat);
            out.pair("min", &source.min);
            out.pair("max", &source.max);
            out.pair("last_ds", &source.last);
            out.pair("value", &source.value);
            out.pair("unknown_sec", &number(source.unknown));
            out.pair("last_updated", &last);
            out.close("}");
        }
        out.close("]");
        out.name("rra");
        out.open("[");
        for archive in &self.archives {
            out.open("{");
            out.pair("cf", &archive.cf);
            out.pair("pdp_per_row", &archive.per_row.to_string());
            out.name("params");
            out.open("{");
            out.pair("xff", "1");
            out.close("}");
            out.name("cdp_prep");
            out.open("{");
            out.name("ds");
            out.open("[");
            for prepared in &archive.prepared {
                out.open("{");
                out.pair("primary_value", &number(prepared.primary));
                out.pair("secondary_value", &number(prepared.secondary));
                out.pair("value", &double(prepared.value));
                out.pair("unknown_datapoints", &prepared.unknown.to_string());
                out.close("}");
            }
            out.close("]");
            out.close("}");
            out.name("database");
            out.open("[");
            for row in &archive.rows {
                out.open("[");
                row.iter().for_each(|value| out.number(&number(*value)));
                out.close("]");
            }
            out.close("]");
            out.close("}");
        }
        out.close("]");
        out.close("}");
        out.out
    }
}

/// What is not kept with single precision.
fn double(value: f64) -> String {
    if value == 0.0 || !value.is_finite() { number(value) } else { general(value, 15) }
}

fn element(out: &mut String, name: &str, text: &str) {
    _ = write!(out, "<{name}>");
    escape_xml(text, |piece| out.push_str(piece));
    _ = write!(out, "</{name}>");
}

struct Json {
    out: String,
    strict: bool,
}

impl Json {
    fn separate(&mut self) {
        if !matches!(self.out.as_bytes().last(), None | Some(b'{' | b'[' | b':')) {
            self.out.push(',');
        }
    }

    fn open(&mut self, bracket: &str) {
        self.separate();
        self.out.push_str(bracket);
    }

    fn close(&mut self, bracket: &str) {
        self.out.push_str(bracket);
    }

    fn text(&mut self, text: &str) {
        self.separate();
        escape_json(text, |piece| self.out.push_str(piece));
    }

    fn name(&mut self, name: &str) {
        self.separate();
        let quote = if self.strict { "\"" } else { "" };
        _ = write!(self.out, "{quote}{name}{quote}:");
    }

    fn number(&mut self, number: &str) {
        self.separate();
        let quote = if self.strict { "\"" } else { "" };
        _ = write!(self.out, "{quote}{number}{quote}");
    }

    fn pair(&mut self, name: &str, value: &str) {
        self.name(name);
        self.text(value);
    }
}
