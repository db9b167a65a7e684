//! The house stands: every file imports its own floor or lower ones, stays at a size one can read,
//! and keeps to the words of the field.

use std::fs;
use std::path::{Path, PathBuf};

/// Crates with several floors, lowest first: a module imports its own or those before it. Between
/// crates Cargo sees to it.
const ORDER: &[(&str, &[&str])] = &[
    ("xenapi-mirror", &["inventory", "metrics"]),
    ("xengate-core", &["xm", "auth", "ops"]),
    ("xengate", &["app", "cli"]),
];

/// What a crate must not know: the simulator shares nothing with the gateway but the facts, so that a
/// bug cannot cancel itself out; requests and representations do not know the wire.
const UNKNOWN: &[(&str, &[&str])] = &[
    (
        "xenapi-sim",
        &["xengate-config", "xenapi-client", "xenapi-mirror", "xengate-core", "xengate-http"],
    ),
    ("xengate-http", &["xenapi-wire", "dxr", "xenapi-sim"]),
    ("xengate-core", &["axum", "dxr", "xenapi-sim"]),
    ("xenapi-mirror", &["axum", "dxr", "xenapi-sim"]),
    ("xenapi-client", &["axum", "dxr", "xenapi-sim"]),
    ("xenapi-model", &["axum", "dxr", "tokio", "hyper"]),
    ("xenapi-wire", &["axum", "tokio", "hyper", "xenapi-model"]),
    ("xengate-config", &["axum", "tokio", "hyper", "xenapi-model"]),
];

/// Lines beyond which a file must be split.
const LONGEST_FILE: usize = 600;

/// Drawers in which anything could lie.
const DRAWERS: &[&str] = &["utils", "util", "helpers", "helper", "common", "manager", "service"];

/// Files outside their own crate and the configuration's that may name a kind of backend: the one
/// advises on what is configured, the other writes a configuration.
const NAME_KINDS: &[&str] = &["app/warnings.rs", "cli/demo.rs"];

struct Source {
    path: PathBuf,
    /// The crate's name.
    krate: String,
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

/// The crates, by name and where they are.
fn crates() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = vec![("xengate".to_owned(), root.to_owned())];
    for entry in fs::read_dir(root.join("crates")).expect("crates can be read") {
        let entry = entry.expect("an entry");
        found.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    assert!(found.len() > ORDER.len());
    found
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for (krate, folder) in crates() {
        let root = folder.join("src");
        let mut open = vec![root.clone()];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory).expect("src can be read") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    open.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    found.push(source(&krate, &root, path));
                }
            }
        }
    }
    assert!(found.len() > 20, "the sources were found");
    found
}

fn source(krate: &str, root: &Path, path: PathBuf) -> Source {
    let text = fs::read_to_string(&path).expect("UTF-8");
    let relative = path.strip_prefix(root).expect("below src").with_extension("");
    let mut module: Vec<String> =
        relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.len() > 1 && module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    let lines = text.lines().count();
    Source { krate: krate.to_owned(), module, code: bare(&text), lines, path }
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

/// Whether a file of module `from` may import module `to` of the same crate.
fn may_import(krate: &str, from: &str, to: &str) -> bool {
    let Some((_, order)) = ORDER.iter().find(|(name, _)| *name == krate) else { return true };
    let place = |module: &str| order.iter().position(|name| *name == module);
    // Items of the crate's root, other than its modules, belong to nobody.
    place(from).zip(place(to)).is_none_or(|(from, to)| to <= from)
}

#[test]
fn every_file_imports_its_own_floor_or_lower_ones() {
    let mut wrong = Vec::new();
    for source in sources() {
        for import in imports(&source) {
            if !may_import(&source.krate, source.top(), &import) {
                wrong.push(format!("{} imports {import}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn crates_do_not_know_what_they_must_not() {
    let crates = crates();
    for (krate, unknown) in UNKNOWN {
        let (_, folder) = crates.iter().find(|(name, _)| name == krate).expect("a crate");
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
        let names = manifest.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
        let known: Vec<&str> = names.filter(|name| unknown.contains(name)).collect();
        assert!(known.is_empty(), "{krate} knows {known:?}");
        assert!(manifest.contains("[lints]\nworkspace = true"), "{krate} has lints of its own");
    }
}

#[test]
fn the_scan_sees_what_it_must() {
    let see = |module: &[&str], text: &str| {
        imports(&Source {
            path: PathBuf::new(),
            krate: "xengate-core".to_owned(),
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
    assert!(
        !may_import("xengate-core", "auth", "ops") && may_import("xengate-core", "ops", "auth")
    );
    assert!(may_import("xenapi-wire", "json", "reply"));
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
fn statuses_are_the_http_floors() {
    for source in sources() {
        let uses = source.code.match_indices("StatusCode");
        let uses = uses.filter(|(at, _)| is_path_start(&source.code, *at)).count();
        let at_home = source.krate == "xengate-http";
        assert!(at_home || uses == 0, "{} knows statuses", source.path.display());
    }
}

/// The kinds of backend: the folders that hold what makes one.
fn kinds() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/xenapi-client/src");
    let entries = fs::read_dir(folder).expect("the folder can be read");
    let entries = entries.map(|entry| entry.expect("an entry"));
    let kinds = entries.filter(|entry| entry.path().join("toolstack.rs").is_file());
    kinds.map(|kind| kind.file_name().to_string_lossy().into_owned()).collect()
}

/// Where a text tells kinds of backend apart: by the configuration's `Kind`, or by a name.
fn tells_apart(text: &str, kinds: &[String]) -> Option<String> {
    let code = bare(text);
    let patterns = kinds.iter().flat_map(|kind| {
        let (first, rest) = kind.split_at(1);
        let variant = format!("Kind::{}{rest}", first.to_ascii_uppercase());
        let by_name = ["== ", "!= ", "=> ", "| "].map(|sign| format!("{sign}\"{kind}\""));
        let of_name = [" ==", " !=", " =>", " |"].map(|sign| format!("\"{kind}\"{sign}"));
        let named = by_name.into_iter().chain(of_name).find(|named| text.contains(named));
        named.or_else(|| code.contains(&variant).then_some(variant))
    });
    patterns.into_iter().next()
}

#[test]
fn kinds_of_backend_are_told_apart_in_their_folders_alone() {
    let kinds = kinds();
    assert!(kinds.len() >= 3, "the kinds were found: {kinds:?}");
    let mut wrong = Vec::new();
    for source in sources() {
        let is_test = source.module.iter().any(|part| part == "tests");
        let may = matches!(&*source.krate, "xenapi-client" | "xengate-config" | "xenapi-sim")
            || is_test
            || NAME_KINDS.iter().any(|name| source.path.ends_with(name));
        let text = fs::read_to_string(&source.path).expect("UTF-8");
        if let Some(what) = tells_apart(&text, &kinds).filter(|_| !may) {
            wrong.push(format!("{}: {what}", source.path.display()));
        }
    }
    assert!(wrong.is_empty(), "ask the backend what it can do instead: {wrong:#?}");
    let see = |text| tells_apart(text, &kinds).is_some();
    assert!(see("if kind != \"legacy\" {") && see("match kind { \"xapi\" => 1 }"));
    assert!(see("Kind::Xend => 1") && !see("software(\"xapi\")") && !see("// Kind::Xend"));
}
