//! CSV (RFC 4180), which spreadsheets open.

use axum::body::Body;
use csv::{Terminator, WriterBuilder};

use super::{List, columns, stream};
use crate::harmless::cleaned;
use xenapi_mirror::inventory::query::{Fields, further};

/// What a spreadsheet takes for a formula when a cell begins with it.
const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// A header row, and a row for each object of the page.
pub(super) fn body(list: &List<'_>) -> Body {
    let names: Vec<&str> = match list.fields {
        Some(fields) => {
            let chosen: Vec<&str> = fields.names(list.class).collect();
            let along = ["uuid", "backend"].into_iter().filter(|name| !chosen.contains(name));
            along.chain(chosen.iter().copied()).collect()
        }
        None => columns::all(list.class).chain(further(list.class).iter().copied()).collect(),
    };
    let fields = Fields::of_classes(&names.join(","), &[list.class], further(list.class));
    let fields = fields.expect("names of fields, each once");
    let mut head = Vec::new();
    write_row(&mut head, names.iter().copied());
    stream::body(list, head, move |_, object, out| {
        let cells: Vec<String> =
            fields.values(object).map(|value| value.json.map(cell).unwrap_or_default()).collect();
        write_row(out, cells.iter().map(String::as_str));
    })
}

fn write_row<'a>(out: &mut Vec<u8>, cells: impl Iterator<Item = &'a str>) {
    let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(out);
    writer.write_record(cells).expect("writing to memory cannot fail");
}

/// A value as the text of a cell: sets and maps are JSON, null is nothing. A text that would be a
/// formula gets an apostrophe before it.
fn cell(json: &[u8]) -> String {
    match json.first() {
        None | Some(b'n') => String::new(),
        Some(b'"') => {
            let text: String = serde_json::from_slice(json).unwrap_or_default();
            let shown = cleaned(&text);
            if text.starts_with(FORMULA) { format!("'{shown}") } else { shown.into_owned() }
        }
        Some(_) => cleaned(&String::from_utf8_lossy(json)).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_a_formula() {
        for (json, want) in [
            (r#""web""#, "web"),
            (r#""=1+1""#, "'=1+1"),
            (r#""+1""#, "'+1"),
            (r#""-1""#, "'-1"),
            (r#""@SUM(A1)""#, "'@SUM(A1)"),
            (r#""\tx""#, "'\tx"),
            (r#""\rx""#, "'\rx"),
            (r#""＝1""#, "'＝1"),
            (r#""a=1""#, "a=1"),
            ("-1", "-1"),
            ("null", ""),
            ("true", "true"),
            (r#"["a","b"]"#, r#"["a","b"]"#),
            (r#"{"a":"=1"}"#, r#"{"a":"=1"}"#),
        ] {
            assert_eq!(cell(json.as_bytes()), want, "{json}");
        }
        let name = br#""a\u001b[1m\tb\n\u202ec""#;
        assert_eq!(cell(name), "a\u{fffd}[1m\tb\n\u{fffd}c");
    }

    #[test]
    fn rows_are_quoted_as_the_standard_has_it() {
        let mut out = Vec::new();
        write_row(&mut out, ["a", "b,c", "d\"e", "f\r\ng", ""].into_iter());
        assert_eq!(out, b"a,\"b,c\",\"d\"\"e\",\"f\r\ng\",\r\n");
    }
}
