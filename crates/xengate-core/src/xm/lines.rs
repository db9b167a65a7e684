//! The views with a line for each domain.

use super::columns::{left, right, tenths};
use super::domain::Domain;

/// What stands where nothing is known.
pub(super) const UNKNOWN: &str = "-";

/// `xm list`.
pub(super) fn brief(domains: &[&Domain]) -> String {
    let mut out = String::new();
    header(&mut out);
    out.push('\n');
    for domain in domains {
        line(&mut out, domain);
        out.push('\n');
    }
    out
}

/// `xm list --label`.
pub(super) fn label(domains: &[&Domain]) -> String {
    let mut out = String::new();
    header(&mut out);
    out.push(' ');
    left(&mut out, "Label", 10);
    out.push('\n');
    let mut sorted = domains.to_vec();
    sorted.sort_by_cached_key(|domain| domain.label.to_ascii_lowercase());
    for domain in sorted {
        line(&mut out, domain);
        out.push(' ');
        right(&mut out, &domain.label, 10);
        out.push('\n');
    }
    out
}

fn header(out: &mut String) {
    left(out, "Name", 40);
    for (name, width) in [("ID", 5), ("Mem", 5), ("VCPUs", 5), ("State", 10), ("Time(s)", 9)] {
        out.push(' ');
        right(out, name, width);
    }
}

fn line(out: &mut String, domain: &Domain) {
    let cpu_time = domain.cpu_time.map_or_else(|| UNKNOWN.to_owned(), tenths);
    left(out, &domain.name, 40);
    // The time is a column narrower than its header.
    for (text, width) in [
        (&domain.id, 5),
        (&domain.memory, 5),
        (&domain.vcpus, 5),
        (&domain.flags, 10),
        (&cpu_time, 8),
    ] {
        out.push(' ');
        right(out, text, width);
    }
}
