//! What a query costs, before anything of it is done.
//!
//! It is counted in steps: a step is about what it takes to look at one value. What each term takes
//! depends on what is there: how long texts, maps and sets are, which is looked at for a few objects
//! of a class and taken for all of them. Where conditions end early less is done; what is counted is
//! the most.

use foldhash::HashMap;

use super::glob::Glob;
use super::test::Check;
use crate::inventory::record::Slot;
use crate::inventory::{Object, Snapshot, Table};
use xenapi_model::ClassId;

/// Following a ref: its uuid is read, and its object looked for.
pub(super) const REF: u64 = 10;

/// So many bytes are gone through in a step.
const BYTES: u64 = 16;

/// About how long an element of a set is, and how long a ref among others.
const ELEMENT: u64 = 12;
const REF_BYTES: u64 = 39;

/// How many objects of a class are looked at.
const LOOKED_AT: usize = 64;
/// From so many places of a table.
const PLACES: usize = 16;

/// Parts of a step, so that what takes less than one counts too.
const PARTS: u64 = 64;

/// What something costs, and what of it costs most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cost {
    /// In steps.
    pub steps: u64,
    dearest: Option<Dearest>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Dearest {
    steps: u64,
    what: String,
    cheaper: &'static str,
}

/// Objects to be asked: how many there are, and some of them.
#[derive(Debug)]
pub struct Population<'a> {
    count: u64,
    some: Vec<&'a Object>,
}

/// What is known of a snapshot for counting.
#[derive(Debug)]
pub struct Pricing<'a> {
    snapshot: &'a Snapshot,
    lengths: HashMap<(ClassId, Slot), u64>,
}

impl Cost {
    /// What a part costs of which `what` is what its author wrote.
    pub(super) fn of(steps: u64, what: impl FnOnce() -> String, cheaper: &'static str) -> Self {
        Self { steps, dearest: Some(Dearest { steps, what: what(), cheaper }) }
    }

    /// What nobody wrote costs.
    pub fn plain(steps: u64) -> Self {
        Self { steps, dearest: None }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let steps = self.steps.saturating_add(other.steps);
        let all = [self.dearest, other.dearest].into_iter().flatten();
        Self { steps, dearest: all.max_by_key(|dearest| dearest.steps) }
    }

    /// So often.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.steps = self.steps.saturating_mul(count);
        if let Some(dearest) = &mut self.dearest {
            dearest.steps = dearest.steps.saturating_mul(count);
        }
        self
    }

    /// One part of so many.
    #[must_use]
    pub fn over(mut self, count: u64) -> Self {
        self.steps = self.steps.div_ceil(count.max(1));
        if let Some(dearest) = &mut self.dearest {
            dearest.steps = dearest.steps.div_ceil(count.max(1));
        }
        self
    }

    /// What of it costs most, and what would cost less, in words.
    pub fn advice(&self) -> Option<String> {
        let Dearest { steps, what, cheaper } = self.dearest.as_ref()?;
        Some(format!("{what} takes {steps} of them; {cheaper}"))
    }
}

impl<'a> Population<'a> {
    /// All of a table.
    pub fn table(table: &'a Table) -> Self {
        let some = if table.len() <= LOOKED_AT {
            table.iter().map(|object| &**object).collect()
        } else {
            // Uuids are random, so these places are as good as any.
            let places = (0..PLACES as u128).map(|place| place << 124);
            let from = places.map(uuid::Uuid::from_u128);
            let some = from.flat_map(|from| table.behind(Some(from)).take(LOOKED_AT / PLACES));
            some.map(|object| &**object).collect()
        };
        Self { count: table.len() as u64, some }
    }

    /// These.
    pub fn these(objects: impl ExactSizeIterator<Item = &'a Object>) -> Self {
        let count = objects.len();
        let some = objects.step_by(count.div_ceil(LOOKED_AT).max(1)).collect();
        Self { count: count as u64, some }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// About what all of them cost, of which `one` says what one does.
    pub(super) fn sum(&self, one: impl Fn(&Object) -> u64) -> u64 {
        let some = self.some.len() as u64;
        let sum: u64 = self.some.iter().map(|object| one(object)).sum();
        // The mean, rounded up.
        (sum.saturating_mul(PARTS) / some.max(1)).saturating_mul(self.count).div_ceil(PARTS)
    }
}

impl<'a> Pricing<'a> {
    /// Of a query to be answered from here.
    pub fn of(snapshot: &'a Snapshot) -> Self {
        Self { snapshot, lengths: HashMap::default() }
    }

    /// How many objects of a class there are.
    pub(super) fn count(&self, class: ClassId) -> u64 {
        self.snapshot.class(class).len() as u64
    }

    /// About how long the value in a slot is in the objects of a class, in bytes.
    pub(super) fn length(&mut self, class: ClassId, slot: Slot) -> u64 {
        let snapshot = self.snapshot;
        *self.lengths.entry((class, slot)).or_insert_with(|| {
            let asked = Population::table(snapshot.class(class));
            asked.sum(|object| length(object, slot)) / asked.count.max(1)
        })
    }
}

/// How long the value in a slot is.
pub(super) fn length(object: &Object, slot: Slot) -> u64 {
    object.record().value(slot).map_or(0, |json| json.len() as u64)
}

/// How many refs stand in so many bytes.
pub(super) fn refs(bytes: u64) -> u64 {
    bytes / REF_BYTES
}

/// What it takes to go through so many bytes.
pub(super) fn reading(bytes: u64) -> u64 {
    bytes / BYTES
}

impl Check {
    /// What it takes to ask a value of so many bytes.
    pub(super) fn cost(&self, bytes: u64) -> u64 {
        match self {
            Self::Null | Self::Bool(_) | Self::Int(..) | Self::Float(..) | Self::Empty => 1,
            Self::Date(..) => 2,
            Self::Text(..) | Self::Key(_) => 1 + reading(bytes),
            Self::Like(glob) => glob.cost(bytes),
            Self::OneOf(checks) => checks.iter().map(|check| check.cost(bytes)).sum(),
            Self::Element(check) => {
                let elements = bytes / ELEMENT + 1;
                reading(bytes) + elements * (1 + check.cost(bytes.min(ELEMENT)))
            }
        }
    }

    /// What would cost less, if the check is what costs.
    pub(super) fn cheaper(&self) -> Option<&'static str> {
        match self {
            Self::Like(glob) if glob.is_costly() => {
                Some("a pattern with no ? between two * costs less")
            }
            Self::OneOf(checks) => checks.iter().find_map(Self::cheaper),
            Self::Element(check) => check.cheaper(),
            _ => None,
        }
    }
}

impl Glob {
    /// What it takes to try a text of so many bytes.
    fn cost(&self, bytes: u64) -> u64 {
        1 + self.lengths().map(|loose| 1 + (1 + loose) * bytes / BYTES / 4).sum::<u64>()
    }

    fn is_costly(&self) -> bool {
        self.lengths().any(|loose| loose > 4)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{class, snapshot};
    use super::super::{Expand, Filter, Order};
    use super::*;

    /// A VM with two disks on one SR, as often as it takes.
    fn pool() -> Snapshot {
        snapshot(&[
            (
                "VM",
                1,
                r#""name_label":"web-1","VBDs":["OpaqueRef:VBD/21","OpaqueRef:VBD/22"],
                "resident_on":"OpaqueRef:host/31","tags":["prod","blue"],
                "other_config":{"owner":"ann","note":"0123456789012345678901234567890123456789"}"#,
            ),
            ("VBD", 21, r#""VM":"OpaqueRef:VM/1","VDI":"OpaqueRef:VDI/41""#),
            ("VBD", 22, r#""VM":"OpaqueRef:VM/1","VDI":"OpaqueRef:VDI/41""#),
            ("VDI", 41, r#""SR":"OpaqueRef:SR/51","VBDs":["OpaqueRef:VBD/21"]"#),
            ("SR", 51, r#""name_label":"Local","VDIs":["OpaqueRef:VDI/41"]"#),
            ("host", 31, r#""name_label":"h","resident_VMs":["OpaqueRef:VM/1"]"#),
        ])
    }

    /// What a filter costs of so many VMs like the one there is.
    fn steps(pool: &Snapshot, filter: &str, count: u64) -> u64 {
        let vm = class("VM");
        let filter = Filter::parse(filter, &[vm]).unwrap_or_else(|error| panic!("{error}"));
        let asked = Population { count, ..Population::table(pool.class(vm.id)) };
        filter.cost(vm.id, &mut Pricing::of(pool), &asked).steps
    }

    #[test]
    fn what_costs_more_is_told_so() {
        let pool = pool();
        let of = |filter| steps(&pool, filter, 1000);
        let flat = of("power_state = Running");
        assert!((1000..5000).contains(&flat), "{flat}");
        assert_eq!(of("power_state = Running and power_state != Halted"), 2 * flat);
        let one_ref = of("resident_on.name_label = h");
        assert!(one_ref > 5 * flat, "{one_ref}");
        let three = of("VBDs.VDI.SR.name_label = Local");
        assert!(three > 4 * one_ref, "each of two disks: {three}");
        assert!(of("name_label ~ \"*?????*\"") > of("name_label ~ \"*b*\""));
        assert!(of("other_config.owner = ann") > 2 * flat);
        assert!(of("tags has prod") > flat);
        assert!(of("power_state in (Running, Halted, Paused)") > flat);
        assert_eq!(steps(&pool, "VBDs.mode = RO", 20_000), 20 * of("VBDs.mode = RO"));
    }

    #[test]
    fn every_filter_of_the_readme_is_affordable_on_ten_thousand_vms() {
        let pool = pool();
        let most = xengate_config::Limits::default().max_query_cost;
        let readme = include_str!("../../../../../README.md");
        let table = readme.split("| `filter=` | |").nth(1).expect("the table");
        let rows = table.lines().skip(2).take_while(|line| line.starts_with("| "));
        let mut filters = Vec::new();
        for row in rows {
            let cell = row.split(" | ").next().expect("a cell");
            let quoted = cell.split('`').skip(1).step_by(2);
            filters.extend(quoted.filter(|filter| !filter.contains("b or not c")));
        }
        assert!(filters.len() >= 13, "{filters:?}");
        for filter in &filters {
            let steps = steps(&pool, filter, 10_000);
            assert!(steps < most / 2, "{filter}: {steps}");
        }
        let all = filters.iter().map(|filter| format!("({filter})")).collect::<Vec<_>>();
        assert!(steps(&pool, &all.join(" or "), 10_000) < most);
        let terms = vec!["power_state = Running"; 160].join(" or ");
        assert!(steps(&pool, &terms, 10_000) < most);
        let too_many = vec!["VBDs.VDI.SR.name_label ~ a"; 130].join(" or ");
        assert!(steps(&pool, &too_many, 10_000) > most);
    }

    #[test]
    fn sorting_and_what_comes_along_cost_too() {
        let (pool, vm) = (pool(), class("VM"));
        let asked = Population { count: 10_000, ..Population::table(pool.class(vm.id)) };
        let sort = |text: &str| {
            let order = Order::parse(text, vm).expect("an order");
            order.cost(&mut Pricing::of(&pool), &asked).steps
        };
        assert!(sort("resident_on.name_label") > 10_000 * REF);
        assert!(sort("name_label,uuid") > sort("name_label"));
        let along = |text: &str, count, each| {
            let expand = Expand::parse(text, vm).expect("refs");
            expand.cost(&mut Pricing::of(&pool), &asked, count, each).steps
        };
        assert!(along("VBDs", 10_000, false) > 2 * along("resident_on", 10_000, false) - 1);
        assert!(along("VBDs", 100, false) * 90 < along("VBDs", 10_000, false));
        // What was met is not gone through again, unless each line has its own.
        let (once, each) =
            (along("VBDs.VDI.SR", 10_000, false), along("VBDs.VDI.SR", 10_000, true));
        assert!(2 * once < each, "{once} {each}");
    }

    #[test]
    fn the_dearest_part_is_named() {
        let (pool, vm) = (pool(), class("VM"));
        let filter = Filter::parse("power_state = Running or VBDs.VDI.SR.name_label = x", &[vm]);
        let asked = Population::table(pool.class(vm.id));
        let cost = filter.expect("a filter").cost(vm.id, &mut Pricing::of(&pool), &asked);
        let advice = cost.advice().expect("some");
        assert!(advice.contains("VBDs.VDI.SR.name_label = x"), "{advice}");
        assert!(advice.contains("the collection of what the refs lead to"), "{advice}");
        assert_eq!(Cost::plain(7).advice(), None);
    }
}
