//! Messages: what the pool tells people.

use crate::sim::database::Value;
use crate::sim::edit::Edit;

/// Tells of something that happened to a VM.
pub(super) fn tell(edit: &mut Edit<'_>, name: &str, vm: &str, what: &str) {
    let (label, uuid) = (edit.text("VM", vm, "name_label"), edit.text("VM", vm, "uuid").clone());
    let body = format!("VM '{label}' (uuid: {uuid}) {what}");
    add(edit, name, 5, "VM", &uuid, &body);
}

/// Makes a message.
fn add(edit: &mut Edit<'_>, name: &str, priority: i64, class: &str, uuid: &str, body: &str) {
    let fields = [
        ("name", Value::text(name)),
        ("priority", Value::Int(priority)),
        ("cls", Value::text(class)),
        ("obj_uuid", Value::text(uuid)),
        ("timestamp", edit.now()),
        ("body", Value::text(body)),
    ];
    edit.add("message", &fields);
}
