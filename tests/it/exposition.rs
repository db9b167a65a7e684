//! A strict reader of OpenMetrics and of Prometheus' text format: what it does not object to, a
//! monitoring system takes.

use std::collections::{BTreeMap, BTreeSet};

/// A sample with its labels.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// All samples of a scrape.
#[derive(Debug, Default)]
pub(crate) struct Scrape {
    pub(crate) samples: Vec<Sample>,
    /// The type of each family, by the name it is described under.
    pub(crate) types: BTreeMap<String, String>,
}

impl Scrape {
    /// The samples of this name that have these labels, among others.
    pub(crate) fn all(&self, name: &str, labels: &[(&str, &str)]) -> Vec<&Sample> {
        let has = |one: &Sample| {
            labels.iter().all(|(name, value)| one.labels.get(*name).is_some_and(|is| is == value))
        };
        self.samples.iter().filter(|one| one.name == name && has(one)).collect()
    }

    /// The value of the one such sample.
    #[track_caller]
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        match self.all(name, labels).as_slice() {
            [one] => one.value,
            other => panic!("{name} {labels:?}: {} samples", other.len()),
        }
    }
}

/// Reads Prometheus' text format 0.0.4.
#[track_caller]
pub(crate) fn classic(text: &str) -> Scrape {
    read(text, false).unwrap_or_else(|(line, what)| panic!("line {line}: {what}\n{text}"))
}

/// Reads OpenMetrics 1.0.
#[track_caller]
pub(crate) fn open(text: &str) -> Scrape {
    read(text, true).unwrap_or_else(|(line, what)| panic!("line {line}: {what}\n{text}"))
}

/// The family whose lines are being read.
#[derive(Default)]
struct Family {
    name: String,
    kind: String,
    has_help: bool,
    samples: Vec<Sample>,
}

/// Reads a scrape, or says at which line it is wrong, and how.
fn read(text: &str, open: bool) -> Result<Scrape, (usize, String)> {
    let mut scrape = Scrape::default();
    let (mut family, mut names, mut series) = (Family::default(), BTreeSet::new(), BTreeSet::new());
    let body = match open {
        true => text.strip_suffix("# EOF\n").ok_or((0, "no # EOF at the end".to_owned()))?,
        false => text,
    };
    if !body.is_empty() && !body.ends_with('\n') {
        return Err((0, "no newline at the end".to_owned()));
    }
    for (at, line) in body.lines().enumerate() {
        let wrong = |what: &str| (at + 1, format!("{what}: {line}"));
        if let Some(comment) = line.strip_prefix('#') {
            let mut words = comment.strip_prefix(' ').unwrap_or_default().splitn(3, ' ');
            let mut word = || words.next().filter(|word| !word.is_empty());
            let (Some(keyword), Some(name), Some(rest)) = (word(), word(), word()) else {
                return Err(wrong("a comment that describes nothing"));
            };
            if name != family.name {
                finish(&mut scrape, std::mem::take(&mut family), open).map_err(|e| wrong(&e))?;
                if !is_name(name) || !names.insert(name.to_owned()) {
                    return Err(wrong("a family's name that is none, or that comes again"));
                }
                family.name = name.to_owned();
            }
            if !family.samples.is_empty() {
                return Err(wrong("described behind its samples"));
            }
            match keyword {
                "HELP" if !family.has_help => family.has_help = true,
                "TYPE" if family.kind.is_empty() => family.kind = rest.to_owned(),
                "UNIT" if open && name.ends_with(&format!("_{rest}")) => {}
                _ => return Err(wrong("a comment out of place")),
            }
            let kinds: &[&str] = match open {
                true => &["counter", "gauge", "histogram", "info", "unknown"],
                false => &["counter", "gauge", "histogram", "untyped"],
            };
            if !family.kind.is_empty() && !kinds.contains(&family.kind.as_str()) {
                return Err(wrong("a type this format does not have"));
            }
            continue;
        }
        let sample = sample(line).map_err(|what| wrong(&what))?;
        if !belongs(&sample.name, &family, open) {
            return Err(wrong("a sample of another family"));
        }
        if !series.insert(format!("{} {:?}", sample.name, sample.labels)) {
            return Err(wrong("a series that comes again"));
        }
        family.samples.push(sample);
    }
    finish(&mut scrape, family, open).map_err(|what| (body.lines().count(), what))?;
    Ok(scrape)
}

fn belongs(sample: &str, family: &Family, open: bool) -> bool {
    let Some(suffix) = sample.strip_prefix(&family.name) else { return false };
    match (family.kind.as_str(), open) {
        ("counter", true) => suffix == "_total",
        ("info", _) => suffix == "_info",
        ("histogram", _) => matches!(suffix, "_bucket" | "_sum" | "_count"),
        ("counter", false) => suffix.is_empty() && sample.ends_with("_total"),
        ("", _) => false,
        _ => suffix.is_empty() && !sample.ends_with("_total"),
    }
}

/// Checks a family as a whole.
fn finish(scrape: &mut Scrape, family: Family, open: bool) -> Result<(), String> {
    let Family { name, kind, has_help, samples } = family;
    if name.is_empty() {
        return Ok(());
    }
    if !has_help || kind.is_empty() {
        return Err(format!("{name} has no HELP, or no TYPE"));
    }
    let scaled = ["_milliseconds", "_kilobytes", "_percent", "_ms", "_kib", "_minutes"];
    if scaled.iter().any(|unit| name.contains(unit)) || name.to_lowercase() != name {
        return Err(format!("{name} is not in base units, or not in lower case"));
    }
    if kind == "histogram" {
        histogram(&name, &samples)?;
    }
    if kind == "counter" && samples.iter().any(|one| one.value.is_nan() || one.value < 0.0) {
        return Err(format!("{name} counts down"));
    }
    let gauges_that_count = !open && kind == "gauge" && name.ends_with("_total");
    if gauges_that_count {
        return Err(format!("{name} is no counter"));
    }
    scrape.types.insert(name, kind);
    scrape.samples.extend(samples);
    Ok(())
}

/// Buckets grow, end at infinity and agree with the count.
fn histogram(name: &str, samples: &[Sample]) -> Result<(), String> {
    let mut series: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    let mut counts: BTreeMap<String, f64> = BTreeMap::new();
    let mut sums = BTreeSet::new();
    for one in samples {
        let mut labels = one.labels.clone();
        let bound = labels.remove("le");
        let key = format!("{labels:?}");
        match one.name.strip_prefix(name) {
            Some("_bucket") => {
                let bound = bound.as_deref().and_then(number).ok_or("a bucket without a bound")?;
                series.entry(key).or_default().push((bound, one.value));
            }
            Some("_count") => _ = counts.insert(key, one.value),
            _ => _ = sums.insert(key),
        }
    }
    for (key, buckets) in &series {
        let grows = buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        let last = buckets.last().copied().unwrap_or_default();
        let whole = last.0 == f64::INFINITY && counts.get(key) == Some(&last.1);
        if !grows || !whole || !sums.contains(key) {
            return Err(format!("{name}{key} is no histogram: {buckets:?}"));
        }
    }
    if series.len() != counts.len() {
        return Err(format!("{name} has counts without buckets"));
    }
    Ok(())
}

fn sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    if !is_name(name) {
        return Err("no metric's name".to_owned());
    }
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, value) = rest.split_once("=\"").ok_or("no label")?;
            if !is_label(label) {
                return Err(format!("{label} is no label's name"));
            }
            let (text, behind) = quoted(value)?;
            if labels.insert(label.to_owned(), text).is_some() {
                return Err(format!("{label} comes twice"));
            }
            rest = match behind.strip_prefix(',') {
                Some(more) if more.starts_with('}') => return Err("a comma too many".to_owned()),
                Some(more) => more,
                None if behind.starts_with('}') => behind,
                None => return Err("no comma between labels".to_owned()),
            };
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').and_then(number).ok_or("no number")?;
    Ok(Sample { name: name.to_owned(), labels, value })
}

/// The text up to the closing quote, and what is behind it.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let (mut out, mut chars) = (String::new(), text.char_indices());
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Ok((out, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => out.push('\n'),
                Some((_, same @ ('\\' | '"'))) => out.push(same),
                _ => return Err("an escape that is none".to_owned()),
            },
            char => out.push(char),
        }
    }
    Err("a label without an end".to_owned())
}

fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        // Rust reads more words than these formats have.
        _ if text.contains(|c: char| c.is_ascii_alphabetic() && c != 'e') => None,
        _ => text.parse().ok(),
    }
}

fn is_name(text: &str) -> bool {
    is_label(&text.replace(':', "_"))
}

fn is_label(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[test]
fn what_is_good_is_read() {
    let text = "# HELP a Things.\n# TYPE a counter\na_total{x=\"\\\\ \\\" \\n é{}\"} 1\n\
        # HELP h_seconds Time.\n# TYPE h_seconds histogram\nh_seconds_sum 1.5\nh_seconds_count 2\n\
        h_seconds_bucket{le=\"0.5\"} 1\nh_seconds_bucket{le=\"+Inf\"} 2\n# EOF\n";
    let scrape = open(text);
    assert_eq!(scrape.value("a_total", &[("x", "\\ \" \n é{}")]), 1.0);
    assert_eq!(scrape.types["h_seconds"], "histogram");
    let text = "# HELP a_total Things.\n# TYPE a_total counter\na_total 1e+3\n";
    assert_eq!(classic(text).value("a_total", &[]), 1000.0);
}

#[test]
fn what_is_wrong_is_found() {
    let gauge = "# HELP g G.\n# TYPE g gauge\n";
    let lines = |rest: &str| format!("{gauge}{rest}# EOF\n");
    let cases = [
        gauge.to_owned(),
        "g 1\n# EOF\n".to_owned(),
        lines("g{a=\"b\"} 1\ng{a=\"b\"} 2\n"),
        lines("g{a=\"b} 1\n"),
        lines("g{a=\"\\t\"} 1\n"),
        lines("g{1a=\"b\"} 1\n"),
        lines("g{a=\"b\",} 1\n"),
        lines("g{a=\"b\",a=\"c\"} 1\n"),
        lines("g one\n"),
        lines("g inf\n"),
        lines("g\n"),
        lines("other 1\n"),
        lines("g 1\n# HELP g again\n"),
        lines("g 1\n# HELP h H.\n# TYPE h gauge\nh 1\n# HELP g G.\n"),
        lines("# HELP h H.\n# TYPE h counter\nh 1\n"),
        lines("# HELP h H.\n# TYPE h counter\nh_total NaN\n"),
        lines("# HELP h_percent H.\n# TYPE h_percent gauge\n"),
        lines("# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_count 2\nh_sum 1\n"),
        lines(
            "# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 1\n\
             h_count 1\nh_sum 1\n",
        ),
        lines("\n"),
        lines("# TYPE h gauge\nh 1\n"),
    ];
    for text in cases {
        assert!(read(&text, true).is_err(), "{text}");
    }
    assert!(read(&lines("g 1\n"), true).is_ok());
    assert!(read(&lines("g 1\n"), false).is_err(), "0.0.4 has no EOF");
    assert!(read("# HELP g G.\n# TYPE g info\ng_info 1\n", false).is_err());
}
