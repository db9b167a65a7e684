//! What a backend is and can do.

use xengate_config::Kind;

/// What not every kind of backend can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// It tells of changes as they happen.
    Events,
    /// It carries calls out in the background, as tasks.
    Tasks,
    /// Its users have roles, which say who may do what.
    Roles,
}

impl Capability {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Events, Self::Tasks, Self::Roles];

    /// `events`, `tasks`, `roles`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Tasks => "tasks",
            Self::Roles => "roles",
        }
    }
}

/// What is known about a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// How it is spoken to; [`Kind::Auto`] while that is not known.
    pub kind: Kind,
    /// `XenServer`, `XCP-ng`, …; unknown until someone has logged in.
    pub product: Option<String>,
    /// The product's version.
    pub version: Option<String>,
    /// The version of its Xen-API: `2.21`.
    pub api_version: Option<String>,
    /// The address in use; unknown until someone has logged in.
    pub address: Option<String>,
    /// What went wrong last, unless something has gone well since.
    pub last_error: Option<String>,
}

impl Description {
    /// Of a backend of this kind nothing else is known.
    pub(super) fn of_kind(kind: Kind) -> Self {
        let (product, version, api_version, address, last_error) = (None, None, None, None, None);
        Self { kind, product, version, api_version, address, last_error }
    }
}

/// How the mirror learns of changes, and how what takes long is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateMode {
    /// The backend tells of changes in events and keeps tasks.
    Events,
    /// The backend has to be asked again and again, and every call is waited for.
    Polling,
}

/// Where a backend's measurements are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measurements {
    /// Its hosts keep them in round-robin databases.
    Rrds,
    /// It keeps none: the newest are in the records that are polled.
    Records,
}
