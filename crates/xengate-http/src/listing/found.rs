//! What a costly query finds.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use uuid::Uuid;

use crate::costly::SLICE;
use crate::page::{BackendSlice, Objects};
use xenapi_mirror::inventory::query::{Filter, Order};
use xenapi_mirror::inventory::{Object, Snapshot, Table};

/// Objects by uuid.
type ByUuid = BTreeMap<Uuid, Arc<Object>>;

/// What a query lets through.
#[derive(Debug)]
pub(super) struct Found {
    /// Of each shelf, in the order of those.
    pub(super) shelves: Vec<ByUuid>,
    /// In the client's own order, if there is one: the shelf, and the object.
    pub(super) sorted: Option<Vec<(usize, Uuid)>>,
}

/// Looks for it, slice by slice.
pub(super) struct Finding {
    filter: Option<Filter>,
    order: Option<Order>,
    shelves: Vec<(Arc<Snapshot>, Source)>,
    found: Vec<Vec<Arc<Object>>>,
    /// Which shelf it is at, and how many of its objects have been looked at.
    at: (usize, usize),
    /// How many are looked at in a slice.
    at_once: usize,
}

/// The objects of a shelf, which are made a list of when it is their turn.
enum Source {
    Table(Table),
    List(Vec<Arc<Object>>),
}

impl Finding {
    /// Where each object takes about so many steps.
    pub(super) fn new(
        filter: Option<Filter>,
        order: Option<Order>,
        shelves: &[BackendSlice<'_>],
        steps: u64,
    ) -> Self {
        let source = |objects| match objects {
            Objects::Table(table) => Source::Table(Table::clone(table)),
            Objects::These(objects) => Source::List(objects.values().cloned().collect()),
        };
        let shelves = shelves.iter().map(|shelf| (shelf.snapshot.clone(), source(shelf.objects)));
        let shelves: Vec<_> = shelves.collect();
        let found = vec![Vec::new(); shelves.len()];
        let at_once = usize::try_from(SLICE / steps.max(1)).unwrap_or(usize::MAX).max(1);
        Self { filter, order, shelves, found, at: (0, 0), at_once }
    }

    /// Goes on; what was found at the end.
    pub(super) fn slice(&mut self) -> ControlFlow<Found> {
        let mut left = self.at_once;
        let (mut place, mut seen) = self.at;
        while let Some((snapshot, source)) = self.shelves.get_mut(place) {
            let rest = source.list().get(seen..).unwrap_or_default();
            if rest.is_empty() {
                (place, seen) = (place + 1, 0);
                continue;
            }
            if left == 0 {
                self.at = (place, seen);
                return ControlFlow::Continue(());
            }
            let (some, found) = (&rest[..rest.len().min(left)], &mut self.found[place]);
            match &self.filter {
                Some(filter) => filter.select(snapshot, some, |object| found.push(object.clone())),
                None => found.extend(some.iter().cloned()),
            }
            left -= some.len();
            seen += some.len();
        }
        ControlFlow::Break(self.finish())
    }

    fn finish(&mut self) -> Found {
        let found = std::mem::take(&mut self.found);
        let sorted = self.order.as_ref().map(|order| {
            let all = found.iter().enumerate();
            let all = all.flat_map(|(shelf, objects)| objects.iter().map(move |one| (shelf, one)));
            let sorted = order.sort(all.collect(), |(shelf, object): &(usize, &Arc<Object>)| {
                (&*self.shelves[*shelf].0, &***object)
            });
            sorted.into_iter().map(|(shelf, object)| (shelf, object.uuid())).collect()
        });
        let by_uuid = |objects: Vec<Arc<Object>>| {
            objects.into_iter().map(|object| (object.uuid(), object)).collect()
        };
        Found { shelves: found.into_iter().map(by_uuid).collect(), sorted }
    }
}

impl Source {
    fn list(&mut self) -> &[Arc<Object>] {
        if let Self::Table(table) = self {
            *self = Self::List(table.iter().cloned().collect());
        }
        match self {
            Self::List(objects) => objects,
            Self::Table(_) => &[],
        }
    }
}
