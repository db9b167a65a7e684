//! The live mirror of each backend: records, revisions, changes.
mod draft;
mod encode;
pub mod record;
pub mod refs;
pub mod store;
mod value;

/// Stand-in.
pub struct Inventory;
/// Stand-in.
pub struct Mirror;
impl Inventory {
    /// Stand-in.
    pub fn mirror(&self, _name: &str) -> Option<&std::sync::Arc<Mirror>> {
        None
    }
}
impl Mirror {
    /// Stand-in.
    pub fn offer(&self, _session: std::sync::Arc<crate::backend::Session>) {}
}
