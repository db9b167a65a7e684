//! `xm list`: what xend's own client prints, byte for byte.
//!
//! A few thousand scripts parse it. [`list`] is the whole of it: a [`View`], which domains are
//! [`Wanted`], and the domains. [`Domain::from_sxp`] makes one of what xend's legacy dialect says;
//! for other kinds of backends the fields are filled in from what they know.
//!
//! xm is written in Python 2: widths count bytes, and nothing is ever cut. Where xm would stop with
//! an error about a field of the wrong type, the field's default stands instead: one odd domain
//! must not hide the others.

mod columns;
mod domain;
mod lines;
#[cfg(test)]
mod tests;
mod vcpus;
mod wanted;

pub use domain::Domain;
pub use vcpus::{Affinity, Vcpu, host_cpus};
pub use wanted::{NoSuchDomain, NotBoth, State, Wanted};

/// What is printed of each domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// A line for each: `xm list`.
    Brief,
    /// Its SXP: `xm list --long`.
    Long,
    /// A line for each with its security label, sorted by that: `xm list --label`.
    Label,
    /// A line for each virtual CPU: `xm vcpu-list`.
    Vcpus,
}

impl View {
    /// The names that [`View::parse`] takes.
    pub const NAMES: [&str; 4] = ["brief", "long", "label", "vcpus"];

    /// A view by its name; `list` is another name of `brief`.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "brief" | "list" => View::Brief,
            "long" => View::Long,
            "label" => View::Label,
            "vcpus" => View::Vcpus,
            _ => return None,
        })
    }
}

/// Prints what xm prints of these domains, which may come in any order, but for those of one host
/// that stand together.
pub fn list(view: View, wanted: &Wanted, domains: &[Domain]) -> Result<String, NoSuchDomain> {
    let chosen = wanted.choose(domains)?;
    Ok(match view {
        View::Brief => lines::brief(&chosen),
        View::Long => chosen.iter().map(|domain| domain.sxp.pretty()).collect(),
        View::Label => lines::label(&chosen),
        View::Vcpus => vcpus::lines(&chosen),
    })
}
