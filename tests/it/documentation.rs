//! The files that docs/ leads to are there.

use std::fs;
use std::path::Path;

/// Where a floor is, by the table of ARCHITECTURE.md.
fn home<'a>(architecture: &'a str, floor: &'a str) -> &'a str {
    if floor == "crates" {
        return floor;
    }
    let rows = architecture.lines().filter(|line| line.starts_with('|'));
    let mut home = rows.filter_map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        (*cells.get(2)? == format!("`{floor}`")).then(|| cells[3].trim_matches('`'))
    });
    home.next().unwrap_or_else(|| panic!("ARCHITECTURE.md does not say where {floor} is"))
}

/// What stands between backticks and is a path of a Rust file.
fn files(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let quoted = text.split('`').skip(1).step_by(2);
    let files = quoted.filter(|word| word.ends_with(".rs") && !word.contains(['<', ' ']));
    files.filter_map(|file| file.split_once('/'))
}

#[test]
fn the_files_of_the_walks_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = root.join("docs");
    let architecture = fs::read_to_string(docs.join("ARCHITECTURE.md")).expect("it is there");
    let mut seen = 0;
    for (document, least) in [("ARCHITECTURE.md", 40), ("CONTRIBUTING.md", 8)] {
        let text = fs::read_to_string(docs.join(document)).expect(document);
        let before = seen;
        for (floor, rest) in files(&text).filter(|(floor, _)| *floor != "tests") {
            let there = root.join(home(&architecture, floor)).join(rest).is_file();
            assert!(there, "{document} names {floor}/{rest}, which is not there");
            seen += 1;
        }
        assert!(seen - before >= least, "{document} names only {} files", seen - before);
        for (_, rest) in files(&text).filter(|(floor, _)| *floor == "tests") {
            let test = root.join("tests").join(rest);
            assert!(test.is_file(), "{document} names tests/{rest}, which is not there");
        }
    }
}

/// `[a file](docs/LOGGING.md)` in README and docs/.
#[test]
fn links_to_files_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents = vec![root.join("README.md"), root.join("examples/README.md")];
    let docs = fs::read_dir(root.join("docs")).expect("docs");
    documents.extend(docs.map(|entry| entry.expect("an entry").path()));
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    assert!(documents.len() > 4, "{documents:?}");
    let mut links = 0;
    for document in documents {
        let text = fs::read_to_string(&document).expect("UTF-8");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.starts_with('#') {
                continue;
            }
            let folder = document.parent().expect("a folder");
            assert!(folder.join(link).exists(), "{}: {link}", document.display());
            links += 1;
        }
    }
    assert!(links > 10, "only {links} links");
}
