//! A table for eyes.

use std::sync::Arc;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{List, columns};
use crate::harmless::harmless;
use xenapi_mirror::inventory::Object;
use xenapi_mirror::inventory::query::{Fields, further};

/// How wide a column is at most.
const WIDEST: usize = 60;

/// A line of names, and a line for each object of the page.
pub(super) struct Table {
    names: Vec<String>,
    fields: Fields,
    objects: Vec<Arc<Object>>,
}

impl Table {
    pub(super) fn of(list: &List<'_>) -> Self {
        let names: Vec<&str> = match list.fields {
            Some(fields) => fields.names(list.class).collect(),
            None => {
                let several = list
                    .page
                    .items
                    .windows(2)
                    .any(|pair| pair[0].shelf.backend != pair[1].shelf.backend);
                let backend = several.then_some("backend");
                backend.into_iter().chain(columns::for_eyes(list.class)).collect()
            }
        };
        let fields = Fields::of_classes(&names.join(","), &[list.class], further(list.class));
        Self {
            fields: fields.expect("names of fields, each once"),
            names: names.into_iter().map(str::to_owned).collect(),
            objects: list.page.items.iter().map(|item| item.object.clone()).collect(),
        }
    }

    /// How many cells it has.
    pub(super) fn cells(&self) -> usize {
        self.names.len() * self.objects.len()
    }

    pub(super) fn text(self) -> String {
        let fields = &self.fields;
        let row = |object: &Arc<Object>| {
            let values = fields.values(object);
            values.map(|value| value.json.map(cell).unwrap_or_default()).collect()
        };
        let rows = self.objects.iter().map(row);
        lines(std::iter::once(self.names).chain(rows).collect())
    }
}

/// Rows of cells as lines of columns, two blanks apart.
fn lines(rows: Vec<Vec<String>>) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].width()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::with_capacity(rows.len() * (widths.iter().sum::<usize>() + 2 * columns));
    for row in &rows {
        let start = out.len();
        for (cell, width) in row.iter().zip(&widths) {
            out.push_str(cell);
            out.extend(std::iter::repeat_n(' ', width - cell.width() + 2));
        }
        out.truncate(start + out[start..].trim_end().len());
        out.push('\n');
    }
    out
}

/// A value as it is shown: text plain, null as a dash, and too much of it cut.
fn cell(json: &[u8]) -> String {
    let text = match json.first() {
        None | Some(b'n') => "-".to_owned(),
        Some(b'"') => serde_json::from_slice(json).unwrap_or_default(),
        Some(_) => String::from_utf8_lossy(json).into_owned(),
    };
    let (mut shown, mut width) = (String::with_capacity(text.len()), 0);
    for char in text.chars().map(harmless) {
        width += char.width().unwrap_or(0);
        if width > WIDEST {
            while shown.width() >= WIDEST {
                shown.pop();
            }
            shown.push('…');
            break;
        }
        shown.push(char);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_is_in_them() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let text =
            lines(vec![row(["name", "n", "x"]), row(["日本", "10", ""]), row(["é", "", "y"])]);
        assert_eq!(text, "name  n   x\n日本  10\né         y\n");
    }

    #[test]
    fn nothing_reaches_the_terminal_that_it_would_obey() {
        assert_eq!(
            cell(br#""a\u001b[31m\u0007\n\u202eb\u009b""#),
            "a\u{fffd}[31m\u{fffd}\u{fffd}\u{fffd}b\u{fffd}"
        );
        assert_eq!(cell(b"null"), "-");
        assert_eq!(cell(br#"["a"]"#), r#"["a"]"#);
        let long = cell(format!("\"{}\"", "日".repeat(100)).as_bytes());
        assert!(long.width() <= WIDEST && long.ends_with('…'), "{long}");
        assert_eq!(cell(format!("\"{}\"", "x".repeat(60)).as_bytes()).len(), 60);
    }
}
