//! What is measured, and how several measurements become one.

use uuid::Uuid;

/// How several measurements become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cf {
    /// Their mean.
    Average,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// The last.
    Last,
}

impl Cf {
    /// Every one of them.
    pub const ALL: [Self; 4] = [Self::Average, Self::Min, Self::Max, Self::Last];

    /// As XAPI writes it: `AVERAGE`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Average => "AVERAGE",
            Self::Min => "MIN",
            Self::Max => "MAX",
            Self::Last => "LAST",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cf| cf.name() == name)
    }
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// A VM, by its host.
    Vm,
    /// A host, by itself.
    Host,
    /// An SR, by a host that it is plugged into.
    Sr,
}

/// One thing that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// What it is.
    pub owner: Owner,
    /// Its uuid.
    pub uuid: Uuid,
}
