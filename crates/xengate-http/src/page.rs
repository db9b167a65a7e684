//! Pages of a list: where one begins, what is on it, and where the next begins.
//!
//! In the default order, by backend and uuid, a cursor names the last object of its page, so
//! whatever comes and goes in between, no object is seen twice and none that stays is skipped. The
//! pages of another order follow it as it was when the first was asked for; see [`super::pins`].

mod cursor;
#[cfg(test)]
mod tests;

pub use self::cursor::{Cursor, Position, QueryId};

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::problem::{Code, Problem};
use crate::sort_snapshots::SortSnapshot;
use xenapi_mirror::inventory::query::{Filter, Order, Population};
use xenapi_mirror::inventory::{Object, Snapshot, Table};

/// How many objects a page has unless told.
pub const DEFAULT_LIMIT: usize = 1000;
/// How many objects a page has at most.
pub const MAX_LIMIT: usize = 10_000;

/// The limit that was asked for, within bounds.
pub fn limit(asked: Option<u64>) -> Result<usize, Problem> {
    match asked.map(usize::try_from) {
        None => Ok(DEFAULT_LIMIT),
        Some(Ok(limit)) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
        Some(_) => Err(Problem::new(
            Code::BadParameter,
            format!("limit: a whole number from 1 to {MAX_LIMIT} is expected"),
        )
        .with_params(["limit"])),
    }
}

/// What one backend has of a list.
#[derive(Debug, Clone, Copy)]
pub struct BackendSlice<'a> {
    /// The backend's name; shelves stand in the order of these.
    pub backend: &'a Arc<str>,
    /// Where the objects' refs lead.
    pub snapshot: &'a Arc<Snapshot>,
    /// The objects.
    pub objects: Objects<'a>,
}

/// Objects by uuid.
#[derive(Debug, Clone, Copy)]
pub enum Objects<'a> {
    /// All of a table.
    Table(&'a Table),
    /// These.
    These(&'a BTreeMap<Uuid, Arc<Object>>),
}

impl<'a> Objects<'a> {
    /// What is known of them for counting what a query costs.
    pub fn population(self) -> Population<'a> {
        match self {
            Self::Table(table) => Population::table(table),
            Self::These(objects) => Population::these(objects.values().map(|object| &**object)),
        }
    }

    fn len(self) -> usize {
        match self {
            Self::Table(table) => table.len(),
            Self::These(objects) => objects.len(),
        }
    }

    fn get(self, uuid: &Uuid) -> Option<&'a Arc<Object>> {
        match self {
            Self::Table(table) => table.get(uuid),
            Self::These(objects) => objects.get(uuid),
        }
    }

    fn iter(self) -> Box<dyn Iterator<Item = &'a Arc<Object>> + 'a> {
        match self {
            Self::Table(table) => Box::new(table.iter()),
            Self::These(objects) => Box::new(objects.values()),
        }
    }

    fn after(self, uuid: Uuid) -> Box<dyn Iterator<Item = &'a Arc<Object>> + 'a> {
        use std::ops::Bound::{Excluded, Unbounded};
        match self {
            Self::Table(table) => Box::new(table.after(uuid)),
            Self::These(objects) => {
                let behind = objects.range((Excluded(uuid), Unbounded));
                Box::new(behind.map(|(_, object)| object))
            }
        }
    }
}

/// How many objects there are before any are left out.
pub fn len(shelves: &[BackendSlice<'_>]) -> usize {
    shelves.iter().map(|shelf| shelf.objects.len()).sum()
}

/// An object on a page.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    /// Whose it is.
    pub shelf: &'a BackendSlice<'a>,
    /// The object.
    pub object: &'a Arc<Object>,
}

/// One page of a list.
#[derive(Debug, Default)]
pub struct Page<'a> {
    /// The objects, in order.
    pub items: Vec<Item<'a>>,
    /// How many there are on all pages.
    pub total: usize,
    /// Where the next page begins, unless this is the last.
    pub next: Option<Cursor>,
}

impl<'a> Page<'a> {
    /// The page behind `from`, in the order of backend and uuid.
    pub fn in_order(
        shelves: &'a [BackendSlice<'a>],
        filter: Option<&Filter>,
        from: Option<&Position>,
        limit: usize,
    ) -> Self {
        let (mut page, mut total, mut more) = (Self::default(), 0, false);
        for shelf in shelves {
            // Every object is looked at once: to count it, and to show it.
            let mut add = |object| match page.items.len() < limit {
                true => page.items.push(Item { shelf, object }),
                false => more = true,
            };
            let name = &**shelf.backend;
            match (filter, from) {
                (Some(filter), _) => {
                    filter.select(shelf.snapshot, shelf.objects.iter(), |object| {
                        total += 1;
                        if from
                            .is_none_or(|from| (name, object.uuid()) > (&from.backend, from.uuid))
                        {
                            add(object);
                        }
                    });
                    continue;
                }
                (None, Some(from)) if *name < *from.backend => {}
                (None, Some(from)) if *name == *from.backend => {
                    shelf.objects.after(from.uuid).take(limit + 1).for_each(add);
                }
                (None, _) => shelf.objects.iter().take(limit + 1).for_each(add),
            }
            total += shelf.objects.len();
        }
        page.total = total;
        page.next = page.items.last().filter(|_| more).map(|last| {
            let backend = last.shelf.backend.to_string();
            Cursor::Behind(Position { backend, uuid: last.object.uuid() })
        });
        page
    }

    /// The page at `offset` of an order that was pinned as `pin`. What has gone since, or is no
    /// longer what the filter lets through, is left out.
    pub fn of_pinned(
        shelves: &'a [BackendSlice<'a>],
        filter: Option<&Filter>,
        pinned: &SortSnapshot,
        (pin, offset): (u64, usize),
        limit: usize,
    ) -> Self {
        let mut page = Self { total: pinned.len(), ..Self::default() };
        for (place, (backend, uuid)) in pinned.from(offset) {
            let shelf = shelves.iter().find(|shelf| shelf.backend == backend);
            let item = shelf.and_then(|shelf| {
                let object = shelf.objects.get(&uuid)?;
                let matches = filter.is_none_or(|filter| filter.matches(shelf.snapshot, object));
                matches.then_some(Item { shelf, object })
            });
            let Some(item) = item else { continue };
            if page.items.len() == limit {
                page.next = Some(Cursor::SortSnapshot { pin, offset: place });
                break;
            }
            page.items.push(item);
        }
        page
    }

    /// Everything, in another order.
    pub fn sorted(shelves: &'a [BackendSlice<'a>], filter: Option<&Filter>, order: &Order) -> Self {
        let mut items = Vec::new();
        for shelf in shelves {
            let add = |object| items.push(Item { shelf, object });
            match filter {
                Some(filter) => filter.select(shelf.snapshot, shelf.objects.iter(), add),
                None => shelf.objects.iter().for_each(add),
            }
        }
        let items = order.sort(items, |item| (item.shelf.snapshot, item.object));
        Self { total: items.len(), items, next: None }
    }
}
