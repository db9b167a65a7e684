//! Which ref a uuid stands for.

use std::sync::Arc;

use uuid::Uuid;

use crate::datamodel::ClassId;
use crate::inventory::Snapshot;

/// Finds the refs of objects of one backend.
pub trait Lookup {
    /// The ref of the object of this class and uuid, if there is one.
    fn reference(&self, class: ClassId, uuid: Uuid) -> Option<Arc<str>>;
}

impl Lookup for Snapshot {
    fn reference(&self, class: ClassId, uuid: Uuid) -> Option<Arc<str>> {
        Some(self.object(class, &uuid)?.reference().clone())
    }
}
