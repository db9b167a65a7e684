//! Which sources of an object are wanted.

use std::sync::Arc;

use crate::problem::{Code, Problem};
use xenapi_mirror::metrics::{Meaning, Owner, meaning};

/// More patterns, and longer ones, than any request needs.
const MOST_PATTERNS: usize = 64;
const LONGEST_PATTERN: usize = 128;

/// As many sources are named to who asked for one that is not there.
const MOST_NAMED: usize = 100;

/// `sources=cpu*,vif_0_rx`: names of sources, ours or XAPI's, with `*` for anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection(Vec<String>);

/// A source that was picked: where it stands, and what it means.
#[derive(Debug, Clone, PartialEq)]
pub struct Pick {
    /// Its place among the sources there are.
    pub place: usize,
    /// XAPI's name of it.
    pub source: Arc<str>,
    /// What it means.
    pub meaning: Meaning,
}

impl Selection {
    /// Reads a list of patterns.
    pub fn read(text: &str) -> Result<Self, Problem> {
        let patterns: Vec<String> = text.split(',').map(|part| part.trim().to_owned()).collect();
        let wrong = |what: &str| {
            let text = format!("query parameter \"sources\": {what}");
            Err(Problem::new(Code::BadParameter, text).with_params(["sources"]))
        };
        if patterns.iter().any(String::is_empty) {
            return wrong("a name is empty");
        }
        if patterns.len() > MOST_PATTERNS {
            return wrong("too many names; use * for several");
        }
        if patterns.iter().any(|pattern| pattern.len() > LONGEST_PATTERN) {
            return wrong("a name is too long");
        }
        Ok(Self(patterns))
    }

    /// Those of the sources that are wanted, in the order they stand in; all without patterns. A
    /// pattern that fits none is an error that names those there are.
    pub fn pick(&self, owner: Owner, sources: &[Arc<str>]) -> Result<Vec<Pick>, Problem> {
        let all = sources.iter().enumerate().map(|(place, source)| Pick {
            place,
            source: source.clone(),
            meaning: meaning(owner, source),
        });
        let all: Vec<Pick> = all.collect();
        let fits = |pattern: &str, pick: &Pick| {
            matches(pattern, &pick.meaning.name) || matches(pattern, &pick.source)
        };
        if let Some(pattern) = self.0.iter().find(|one| !all.iter().any(|pick| fits(one, pick))) {
            let mut names: Vec<&str> = all.iter().map(|pick| pick.meaning.name.as_str()).collect();
            names.sort_unstable();
            let more = if names.len() > MOST_NAMED { ", …" } else { "" };
            names.truncate(MOST_NAMED);
            let text = format!(
                "query parameter \"sources\": no source is called {pattern:?}; there are {}{more}",
                names.join(", ")
            );
            return Err(Problem::new(Code::BadParameter, text).with_params(names));
        }
        let wanted =
            |pick: &Pick| self.0.is_empty() || self.0.iter().any(|pattern| fits(pattern, pick));
        Ok(all.into_iter().filter(wanted).collect())
    }
}

/// Whether a name fits a pattern, in which `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(before) = last.replace(part) {
            match rest.find(before) {
                Some(at) => rest = &rest[at + before.len()..],
                None => return false,
            }
        }
    }
    match last {
        Some(last) => rest.ends_with(last),
        None => rest.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, name) in [
            ("cpu*", "cpu0"),
            ("cpu*", "cpu"),
            ("*", ""),
            ("*_rx", "vif_0_rx"),
            ("vif_*_rx", "vif_0_rx"),
            ("vbd_*_iops_*", "vbd_xvda_iops_read"),
            ("a**b", "ab"),
            ("*a*a", "aba"),
            ("cpu0", "cpu0"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("cpu", "cpu0"), ("cpu*", "xcpu"), ("a*a", "a"), ("*rx", "vif_0_tx"), ("", "x")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn sources_go_by_either_name_and_unknown_ones_are_told() {
        let sources: Vec<Arc<str>> = ["cpu0", "memory", "vif_0_rx"].map(Arc::from).into();
        let picked = |text: &str| {
            let picked = Selection::read(text).and_then(|one| one.pick(Owner::Vm, &sources));
            picked.map(|picks| picks.iter().map(|pick| pick.place).collect::<Vec<_>>())
        };
        assert_eq!(picked("memory,cpu*").expect("both"), [0, 1]);
        assert_eq!(picked("memory_bytes").expect("ours"), [1]);
        let problem = picked("cpu*,vif_9_rx").expect_err("no such NIC");
        assert!(problem.detail().contains("vif_9_rx"), "{}", problem.detail());
        assert!(problem.detail().contains("cpu0, memory_bytes, vif_0_rx"), "{}", problem.detail());
        assert!(picked("cpu0,,x").is_err() && picked(&"x,".repeat(100)).is_err());
        assert_eq!(Selection::default().pick(Owner::Vm, &sources).expect("all").len(), 3);
    }
}
