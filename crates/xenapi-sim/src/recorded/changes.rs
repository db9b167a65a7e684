//! Calls that change something, against what a real XAPI answered and what its records then held.

use super::*;
use crate::Value;

/// The VM of the recordings.
const VM: &str = "OpaqueRef:3bda37cf-29a8-026d-831e-553fba2101f9";

/// Another one, which was destroyed.
const CLONE: &str = "OpaqueRef:3cd3089a-dbe9-8aac-984b-71255108e81b";

/// The SR, the disk and the network of the recordings.
const SR: &str = "OpaqueRef:32d718a4-02dd-e3eb-b438-b79e31583210";
const DISK: &str = "OpaqueRef:561689cf-b56a-b395-4521-34963d556175";
const NETWORK: &str = "OpaqueRef:a2da09b1-86eb-2fcb-5e87-818ecf8e10be";

/// A text whose refs, uuids and instants no longer matter.
fn masked(text: &str) -> String {
    let mut masked = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let found = ["00000000-0000-0000-0000-000000000000", "00000000T00:00:00Z"]
            .into_iter()
            .find_map(|form| rest.get(..form.len()).filter(|start| fits(start, form)));
        masked.push_str(if found.is_some() { "*" } else { &rest[..next.len_utf8()] });
        rest = &rest[found.map_or(next.len_utf8(), str::len)..];
    }
    masked
}

fn fits(text: &str, form: &str) -> bool {
    text.chars().zip(form.chars()).all(|(one, wanted)| match wanted {
        '0' => one.is_ascii_hexdigit(),
        other => one == other,
    })
}

/// Sends a recorded request; what comes must differ from what was recorded in refs only.
async fn like(handle: &SimHandle, state: &State, name: &str) -> String {
    let request = recording(&format!("{name}.req"));
    open_session(state, &request);
    let wanted = String::from_utf8(recording(&format!("{name}.resp"))).expect("UTF-8");
    let got = exchange(handle, &request).await;
    assert_eq!(masked(&got), masked(&wanted), "{name}");
    got
}

/// The ref that a reply gave.
fn reference(reply: &str) -> String {
    let at = reply.rfind("OpaqueRef:").expect("a ref");
    reply[at..at + 46].to_owned()
}

/// Sends a recorded `get_record` for another ref, and masks the reply.
async fn record_like(handle: &SimHandle, state: &State, name: &str, of: &str) -> (String, String) {
    let request = String::from_utf8(recording(&format!("{name}.xml.req"))).expect("UTF-8");
    open_session(state, request.as_bytes());
    let recorded = reference(&request);
    let got = exchange(handle, request.replace(&recorded, of).as_bytes()).await;
    let wanted = String::from_utf8(recording(&format!("{name}.xml.resp"))).expect("UTF-8");
    let body = |reply: &str| masked(reply.split_once("\r\n\r\n").expect("a body").1);
    (body(&got), body(&wanted))
}

/// A pool such as the recordings were made in: a host that lives, an SR, a halted VM.
fn laboratory() -> (SimHandle, Arc<State>) {
    let (handle, state) = empty();
    let features = [
        "VDI_INTRODUCE",
        "SR_UPDATE",
        "VDI_UPDATE",
        "VDI_RESIZE",
        "VDI_CLONE",
        "VDI_SNAPSHOT",
        "VDI_CREATE",
        "VDI_DELETE",
        "VDI_GENERATE_CONFIG",
    ];
    state.edit(|edit| {
        let metrics = [("live", Value::Bool(true)), ("memory_total", Value::Int(1 << 40))];
        let metrics = edit.add("host_metrics", &metrics);
        let fields = [("enabled", Value::Bool(true)), ("metrics", Value::Text(metrics))];
        let host = edit.add("host", &fields);
        let numbered = features.map(|feature| (Value::text(feature), Value::Int(1)));
        let features = Value::Map(numbered.to_vec());
        edit.add("SM", &[("type", Value::text("dummy")), ("features", features)]);
        edit.add_as("network", NETWORK.into(), &[]);
        let attached = [
            ("host", Value::Text(host)),
            ("SR", Value::text(SR)),
            ("currently_attached", Value::Bool(true)),
        ];
        edit.add("PBD", &attached);
    });
    load_one(&state, "sr_record", class("SR"));
    let reply = value_of("event_from_mod");
    let Arg::Array(events) = member(&reply, "events") else { panic!("no events") };
    let snapshot = member(&events[0], "snapshot");
    state.edit(|edit| {
        for vm in [VM, CLONE] {
            load_record(edit.db, class("VM"), vm, snapshot);
            edit.set("VM", vm, "uuid", Value::Text(edit.identifiers.uuid()));
            edit.set("VM", vm, "current_operations", Value::Map(Vec::new()));
        }
        // The record of the SR names these already, but they come later.
        edit.set("SR", SR, "VDIs", Value::Set(Vec::new()));
        let pbds = Value::texts(edit.all("PBD"));
        edit.set("SR", SR, "PBDs", pbds);
    });
    (handle, state)
}

#[tokio::test]
async fn power_states_are_xapis() {
    let (handle, state) = laboratory();
    same(&handle, &state, "vm_start_null.json2").await;
    same(&handle, &state, "vm_start_bad_state_pause.xml").await;
    same(&handle, &state, "vm_hard_shutdown.xml").await;
    same(&handle, &state, "vm_provision.xml").await;
    let start = String::from_utf8(recording("vm_clone_async.xml.req")).expect("UTF-8");
    let start = start
        .replace("Async.VM.clone", "Async.VM.start")
        .replace("<string>clone3</string>", "<boolean>1</boolean>")
        .replace("</params>", "<param><value><boolean>0</boolean></value></param></params>");
    let length = start.split_once("\r\n\r\n").expect("a body").1.len();
    let old = recording("vm_clone_async.xml.req").len();
    let old = old - start.split_once("\r\n\r\n").expect("a head").0.len() - 4;
    let start =
        start.replace(&format!("Content-Length: {old}"), &format!("Content-Length: {length}"));
    let task = reference(&exchange(&handle, start.as_bytes()).await);
    let (got, wanted) = record_like(&handle, &state, "task_after_start", &task).await;
    // A real pool also notes how often the task could have been cancelled.
    let noted = "<struct><member><name>debug_info:cancel_points_seen</name><value>5</value>\
                 </member></struct>";
    assert_eq!(got, wanted.replace(noted, "<struct></struct>"));
    same(&handle, &state, "vm_unpause.xml").await;
    same(&handle, &state, "vm_reboot.xml").await;
    same(&handle, &state, "vm_hard_shutdown2.xml").await;
    state.edit(|edit| edit.set("VM", VM, "power_state", Value::text("Running")));
    same(&handle, &state, "vm_clean_shutdown.xml").await;
    assert_eq!(handle.field("VM", VM, "power_state"), Some(Value::text("Halted")));
}

#[tokio::test]
async fn made_and_destroyed_vms_are_xapis() {
    let (handle, state) = laboratory();
    let made = reference(&like(&handle, &state, "vm_create.xml").await);
    like(&handle, &state, "vm_create_int_tag.xml").await;
    let request = recording("vm_create.json2.req");
    let reply = exchange(&handle, &request).await;
    let wanted = String::from_utf8(recording("vm_create.json2.resp")).expect("UTF-8");
    assert_eq!(masked(&reply), masked(&wanted));
    // What was not asked for is what the record of another VM, made the same way, held later.
    let reply = value_of("event_from_mod");
    let Arg::Array(events) = member(&reply, "events") else { panic!("no events") };
    let later = member(&events[0], "snapshot");
    let changed = [
        "uuid",
        "allowed_operations",
        "current_operations",
        "name_label",
        "name_description",
        "user_version",
        "affinity",
        "actions_after_crash",
        "other_config",
        "tags",
        "metrics",
        "hardware_platform_version",
        "has_vendor_device",
    ];
    for field in class("VM").fields.iter().filter(|field| !changed.contains(&&*field.name)) {
        let held = handle.field("VM", &made, &field.name);
        let wanted = typed_value(member(later, &field.name), &field.ty).expect("a value");
        assert_eq!(held, Some(wanted), "{}", field.name);
    }
    let clone = reference(&like(&handle, &state, "vm_clone_sync.xml").await);
    assert_eq!(handle.field("VM", &clone, "name_label"), Some(Value::text("clone2")));
    like(&handle, &state, "vm_clone.xml").await;
    let task = reference(&like(&handle, &state, "vm_clone_async.xml").await);
    let (got, wanted) = record_like(&handle, &state, "task_after_clone", &task).await;
    assert_eq!(got, wanted);
    let before = handle.count("VM_metrics");
    same(&handle, &state, "vm_destroy.xml").await;
    assert!(handle.find("VM", CLONE).is_none());
    assert_eq!(handle.count("VM_metrics"), before);
}

#[tokio::test]
async fn disks_and_interfaces_are_xapis() {
    let (handle, state) = laboratory();
    let disk = reference(&like(&handle, &state, "vdi_create.xml").await);
    let (got, wanted) = record_like(&handle, &state, "vdi_record", &disk).await;
    assert_eq!(got, wanted);
    let (got, wanted) = record_like(&handle, &state, "sr_record", SR).await;
    // A dummy SR promises nothing, whatever is in it.
    let promised = got.replace("<value>8589934592</value>", "<value>0</value>");
    assert_eq!(promised, wanted);
    same(&handle, &state, "sr_scan.xml").await;
    load_one(&state, "vdi_record", class("VDI"));
    same(&handle, &state, "vdi_resize.xml").await;
    assert_eq!(handle.field("VDI", DISK, "virtual_size"), Some(Value::Int(17_179_869_184)));
    let snapshot = reference(&like(&handle, &state, "vdi_snapshot.xml").await);
    assert_eq!(handle.field("VDI", &snapshot, "snapshot_of"), Some(Value::text(DISK)));
    assert_eq!(handle.field("VDI", DISK, "snapshots"), Some(Value::texts([snapshot])));
    let vif = reference(&like(&handle, &state, "vif_create.xml").await);
    assert_eq!(handle.field("VIF", &vif, "MAC_autogenerated"), Some(Value::Bool(true)));
    assert_eq!(handle.field("network", NETWORK, "VIFs"), Some(Value::texts([vif])));
}

#[tokio::test]
async fn a_disk_in_a_running_vm_is_xapis() {
    let (handle, state) = laboratory();
    load_one(&state, "vdi_record", class("VDI"));
    let vbd = state.edit(|edit| {
        let metrics = edit.add("VBD_metrics", &[]);
        let fields = [
            ("VM", Value::text(VM)),
            ("VDI", Value::text(DISK)),
            ("userdevice", Value::text("0")),
            ("bootable", Value::Bool(true)),
            ("mode", Value::text("RW")),
            ("type", Value::text("Disk")),
            ("unpluggable", Value::Bool(true)),
            ("metrics", Value::Text(metrics)),
        ];
        edit.add("VBD", &fields)
    });
    crate::calls::begin_task(
        &state,
        "VM.start",
        vec![Value::text(VM), Value::Bool(false), Value::Bool(false)],
    );
    assert_eq!(handle.field("VM", VM, "power_state"), Some(Value::text("Running")));
    let (got, wanted) = record_like(&handle, &state, "vbd_rec", &vbd).await;
    assert_eq!(got, wanted);
}

#[tokio::test]
async fn messages_are_made_as_xapi_makes_them() {
    let (handle, state) = laboratory();
    let about = "1146481f-c228-5634-60e2-940709713499";
    state.edit(|edit| edit.set("VM", VM, "uuid", Value::text(about)));
    let message = reference(&like(&handle, &state, "message_create.xml").await);
    let field = |name| handle.field("message", &message, name);
    assert_eq!(field("obj_uuid"), Some(Value::text(about)));
    assert_eq!(field("priority"), Some(Value::Int(3)));
    like(&handle, &state, "task_create2.xml").await;
}
