//! Objects of the Xen-API: reading them, making, changing and destroying them.

pub mod inputs_doc;
pub mod provision_doc;
pub mod read;
pub mod read_doc;
pub mod read_through;
pub mod records_doc;
pub mod related;
pub mod related_doc;
pub mod write;
pub mod write_doc;
pub mod xm_list;
