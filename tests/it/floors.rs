//! The house stands: every file imports its own floor or lower ones, stays at a size one can read,
//! and keeps to the words of the field.

use std::fs;
use std::path::{Path, PathBuf};

/// Floors of the modules at the crate's root. `sim` stands beside them: see [`may_import`].
const FLOORS: &[(&str, u8)] = &[
    ("wire", 0),
    ("config", 0),
    ("telemetry", 0),
    ("fair", 0),
    ("datamodel", 1),
    ("backend", 2),
    ("inventory", 3),
    ("metrics", 3),
    ("xm", 3),
    ("auth", 4),
    ("ops", 4),
    ("http", 5),
    ("app", 6),
    ("cli", 6),
    ("main", 6),
    ("lib", 6),
];

/// Lines beyond which a file must be split.
const LONGEST_FILE: usize = 600;

/// Drawers in which anything could lie.
const DRAWERS: &[&str] = &["utils", "util", "helpers", "helper", "common", "manager", "service"];

struct Source {
    path: PathBuf,
    /// The module's path: `["http", "routes", "vms"]`.
    module: Vec<String>,
    /// The code without comments and strings.
    code: String,
    lines: usize,
}

impl Source {
    fn top(&self) -> &str {
        &self.module[0]
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut open, mut found) = (vec![root.clone()], Vec::new());
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).expect("src can be read") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("UTF-8");
                let relative = path.strip_prefix(&root).expect("below src").with_extension("");
                let mut module: Vec<String> =
                    relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
                if module.len() > 1 && module.last().is_some_and(|last| last == "mod") {
                    module.pop();
                }
                let lines = text.lines().count();
                found.push(Source { module, code: bare(&text), lines, path });
            }
        }
    }
    assert!(found.len() > 20, "the sources were found");
    found
}

/// The code without comments, strings and characters.
fn bare(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(['/', '"', '\'']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with('"') {
            let hashes = out.len() - out.trim_end_matches('#').len();
            let raw = out.trim_end_matches('#').ends_with('r');
            if raw { raw_end(rest, hashes) } else { string_end(rest) }
        } else if rest.starts_with('\'') {
            char_end(rest)
        } else {
            out.push('/');
            1
        };
        rest = &rest[skip..];
    }
    out.push_str(rest);
    out
}

fn raw_end(text: &str, hashes: usize) -> usize {
    let end = format!("\"{}", "#".repeat(hashes));
    text[1..].find(&end).map_or(text.len(), |at| 1 + at + end.len())
}

fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The end of a character, or of the quote alone when it begins a lifetime.
fn char_end(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => text[2..].find('\'').map_or(text.len(), |at| {
            // An escaped quote is followed by the one that ends the character.
            if at == 0 { 4.min(text.len()) } else { 2 + at + 1 }
        }),
        Some(_) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
        None => 1,
    }
}

/// The modules at the crate's root that a file names, by `crate::` or by climbing with `super::`.
fn imports(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in source.code.match_indices("crate::") {
        if !is_path_start(&source.code, at) {
            continue;
        }
        found.extend(first_names(&source.code[at + "crate::".len()..]));
    }
    for (at, _) in source.code.match_indices("super::") {
        if !is_path_start(&source.code, at) {
            continue;
        }
        let (mut rest, mut climbs) = (&source.code[at..], 0);
        while let Some(behind) = rest.strip_prefix("super::") {
            (rest, climbs) = (behind, climbs + 1);
        }
        // An inline `mod tests` stands one deeper than its file: that can only hide a climb that
        // would not compile.
        if climbs >= source.module.len() && source.top() != "lib" {
            let own = source.top().to_owned();
            found.extend(first_names(rest).into_iter().filter(|name| *name != own));
        }
    }
    found.retain(|name| name.starts_with(|first: char| first.is_ascii_lowercase()));
    found
}

fn is_path_start(code: &str, at: usize) -> bool {
    let before = code[..at].chars().next_back();
    !before.is_some_and(|char| char.is_alphanumeric() || char == '_' || char == ':' || char == '$')
}

/// `a` of `a::b`, or `a` and `c` of `{a::b, c}`.
fn first_names(text: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(group) = text.strip_prefix('{') else { return vec![name(text)] };
    let (mut depth, mut start, mut names) = (0, 0, Vec::new());
    for (at, char) in group.char_indices() {
        match char {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(name(&group[start..at]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(name(&group[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn floor(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

/// Whether a file of module `from` may import module `to`.
fn may_import(from: &str, to: &str) -> bool {
    match (from, to) {
        _ if from == to => true,
        // The simulator shares nothing with the gateway but the facts, so that a bug cannot cancel
        // itself out.
        ("sim", _) => matches!(to, "wire" | "datamodel"),
        (_, "sim") => floor(from) == Some(6),
        // Requests and representations do not know the wire.
        ("http", "wire") => false,
        _ => floor(to).zip(floor(from)).is_some_and(|(to, from)| to <= from),
    }
}

#[test]
fn every_file_imports_its_own_floor_or_lower_ones() {
    let mut wrong = Vec::new();
    for source in sources() {
        assert!(
            source.top() == "sim" || floor(source.top()).is_some(),
            "{} stands on no floor",
            source.path.display()
        );
        for import in imports(&source) {
            // Items of the crate's root, other than its modules, belong to nobody.
            let known = import == "sim" || floor(&import).is_some();
            if known && !may_import(source.top(), &import) {
                wrong.push(format!("{} imports {import}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_scan_sees_what_it_must() {
    let see = |module: &[&str], text: &str| {
        imports(&Source {
            path: PathBuf::new(),
            module: module.iter().map(|part| (*part).to_owned()).collect(),
            code: bare(text),
            lines: 0,
        })
    };
    assert_eq!(see(&["wire", "x"], "use crate::http::problem;"), ["http"]);
    assert_eq!(see(&["wire", "x"], "use crate::{auth::{A, B}, http};"), ["auth", "http"]);
    assert_eq!(see(&["wire", "x"], "fn f() { crate::sim::Sim::start() }"), ["sim"]);
    assert_eq!(see(&["wire", "x"], "use super::super::http::X;"), ["http"]);
    assert!(see(&["wire", "x"], "use super::y; // crate::http\n\"crate::http\";").is_empty());
    assert!(see(&["wire", "x"], "r#\"crate::http \"\"#; '\"'; 'a'; '\\''; x").is_empty());
    assert!(!may_import("http", "wire") && !may_import("sim", "backend"));
    assert!(!may_import("config", "http") && may_import("app", "sim"));
}

#[test]
fn files_can_be_read_in_one_sitting_and_are_named_for_what_they_hold() {
    for source in sources() {
        let path = source.path.display();
        assert!(source.lines <= LONGEST_FILE, "{path} has {} lines", source.lines);
        for part in &source.module {
            assert!(!DRAWERS.contains(&part.as_str()), "{path} is a drawer");
        }
    }
}

#[test]
fn what_belongs_to_one_floor_stays_there() {
    for source in sources() {
        let (path, top) = (source.path.display(), source.top());
        let uses = |word: &str| {
            source.code.match_indices(word).any(|(at, _)| is_path_start(&source.code, at))
        };
        assert!(top == "http" || !uses("StatusCode"), "{path}: statuses are the http floor's");
        assert!(
            matches!(top, "wire" | "sim") || !uses("dxr::"),
            "{path}: dxr stays on the wire floor"
        );
        assert!(
            matches!(top, "http" | "app" | "main") || !uses("axum::"),
            "{path}: axum stays on the http floor"
        );
    }
}
