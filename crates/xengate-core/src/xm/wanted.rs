//! Which domains are printed, and in which order.

use super::domain::Domain;

/// Which domains are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All, or those in one power state, by the byte order of their names.
    In(State),
    /// Those named, in that order, as often as named; on each host that has one of that name.
    Named(Vec<String>),
}

/// A state to choose by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State(&'static str);

/// A state and names were both given. xm takes only one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("You may specify either a state or a particular VM, but not both")]
pub struct NotBoth;

/// A name that no domain has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Domain '{0}' does not exist.")]
pub struct NoSuchDomain(pub String);

impl State {
    /// Every state.
    pub const ALL: State = State("all");

    /// The names that [`State::parse`] takes. A domain is only ever in some of them as xend sees
    /// it: what is blocked is running, and what is shut down or dying is halted; nothing is chosen
    /// by those words, as with xm.
    pub const NAMES: [&str; 10] = [
        "all",
        "running",
        "blocked",
        "paused",
        "shutdown",
        "crashed",
        "dying",
        "halted",
        "suspended",
        "unknown",
    ];

    /// A state by its name, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        State::NAMES.into_iter().find(|known| known.eq_ignore_ascii_case(name)).map(State)
    }

    fn holds(self, domain: &Domain) -> bool {
        self == State::ALL || domain.power_state.eq_ignore_ascii_case(self.0)
    }
}

impl Wanted {
    /// What a query asks for, with names, or a state, or neither.
    pub fn new(names: Vec<String>, state: Option<State>) -> Result<Self, NotBoth> {
        match (names.is_empty(), state) {
            (true, state) => Ok(Wanted::In(state.unwrap_or(State::ALL))),
            (false, None | Some(State::ALL)) => Ok(Wanted::Named(names)),
            (false, Some(_)) => Err(NotBoth),
        }
    }

    /// The domains wanted, in order.
    pub fn choose<'a>(&self, domains: &'a [Domain]) -> Result<Vec<&'a Domain>, NoSuchDomain> {
        match self {
            Wanted::In(state) => {
                let mut chosen: Vec<_> =
                    domains.iter().filter(|domain| state.holds(domain)).collect();
                chosen.sort_by(|one, other| one.name.as_bytes().cmp(other.name.as_bytes()));
                Ok(chosen)
            }
            Wanted::Named(names) => {
                let mut chosen = Vec::new();
                for name in names {
                    let before = chosen.len();
                    chosen.extend(on_each_host(domains).filter_map(|host| find(host, name)));
                    if chosen.len() == before {
                        return Err(NoSuchDomain(name.clone()));
                    }
                }
                Ok(chosen)
            }
        }
    }

    /// Those that would be chosen of one host's domains, as others may have what it has not.
    pub fn among<'a>(&self, domains: &'a [Domain]) -> Vec<&'a Domain> {
        match self {
            Wanted::In(_) => self.choose(domains).unwrap_or_default(),
            Wanted::Named(names) => names.iter().filter_map(|name| find(domains, name)).collect(),
        }
    }
}

fn on_each_host(domains: &[Domain]) -> impl Iterator<Item = &[Domain]> {
    domains.chunk_by(|one, next| one.host == next.host)
}

/// A domain by its name, or its domid, or its uuid, in this order; of two, the one that runs.
fn find<'a>(domains: &'a [Domain], name: &str) -> Option<&'a Domain> {
    let by = |has: &dyn Fn(&Domain) -> bool| {
        let mut found = domains.iter().filter(|domain| has(domain));
        let first = found.next()?;
        if first.id.is_empty() {
            found.find(|domain| !domain.id.is_empty()).or(Some(first))
        } else {
            Some(first)
        }
    };
    // Python's int() takes space and a sign.
    let id = name.trim_ascii().parse::<i64>().ok().map(|id| id.to_string());
    by(&|domain| domain.name == name)
        .or_else(|| by(&|domain| id.as_ref().is_some_and(|id| domain.id == *id)))
        .or_else(|| by(&|domain| domain.uuid == name))
}
