//! A snapshot as events, in small steps.
//!
//! A walk holds on to the objects of its start. That takes no memory of its own for as long as the
//! history reaches back to there, which holds on to them too; beyond, the walk is given up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use uuid::Uuid;

use crate::api::events::encode::{Ids, write};
use crate::api::events::frames::Frames;
use crate::api::events::selection::{Kind, Selection};
use xenapi_mirror::inventory::Snapshot;
use xenapi_mirror::inventory::query::Cost;
use xenapi_model::Class;

/// How much one step writes, and how many objects it looks at.
const STEP_BYTES: usize = 32 << 10;
const STEP_OBJECTS: usize = 1000;

/// A walk through the objects that a selection holds.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// What is still to be walked through.
    left: VecDeque<(Arc<Snapshot>, &'static Class)>,
    /// The last object seen of the first of these.
    after: Option<Uuid>,
    /// What it costs to look at one object of the first of these, if that is known.
    each: Option<Cost>,
}

impl Walk {
    pub(super) fn new(
        selection: &Selection,
        snapshots: &BTreeMap<Arc<str>, Arc<Snapshot>>,
    ) -> Self {
        let wanted = selection.backends().iter().filter_map(|backend| snapshots.get(backend));
        let left = wanted
            .flat_map(|snapshot| selection.classes().map(|class| (snapshot.clone(), class)))
            .collect();
        Self { left, after: None, each: None }
    }

    /// What the next step costs at most.
    pub(super) fn cost(&mut self, selection: &Selection) -> Cost {
        let Some((snapshot, class)) = self.left.front() else { return Cost::default() };
        let each = self.each.get_or_insert_with(|| selection.cost_of_one(snapshot, class));
        each.clone().times(STEP_OBJECTS as u64)
    }

    /// Writes some more of it; whether there is any left.
    pub(super) fn step(&mut self, selection: &Selection, ids: &Ids, frames: &mut Frames) -> bool {
        let mut seen = 0;
        while let Some((snapshot, class)) = self.left.front() {
            let objects = snapshot.class(class.id).behind(self.after);
            for object in objects {
                if seen >= STEP_OBJECTS || frames.bytes() >= STEP_BYTES {
                    return true;
                }
                seen += 1;
                self.after = Some(object.uuid());
                if selection.holds(snapshot, object) {
                    let revision = ids.id(object.revision());
                    write(selection, Kind::Add, object, &revision, &[], frames);
                }
            }
            self.left.pop_front();
            self.after = None;
            self.each = None;
            // The next class may be of another price.
            if seen > 0 && !self.left.is_empty() {
                return true;
            }
        }
        false
    }
}
