//! What VMs can be asked, and calls that only assert something.

use crate::database::{Text, Value};
use crate::edit::Edit;
use crate::operations;
use crate::protocol::Failure;

use super::super::effect::Effect;
use super::super::request::void;
use super::super::{vbd, vif};
use super::domain;

/// What a call of this group answers.
pub(super) fn effect(call: &str) -> Option<Effect> {
    Some(match call {
        "get_possible_hosts" => Effect::AtOnce(|_, edit, request| {
            let vm = request.object(edit, 0, "VM")?;
            Ok(Value::texts(domain::possible_hosts(edit, &vm)))
        }),
        "assert_can_boot_here" => Effect::AtOnce(|_, edit, request| {
            let (vm, host) = (request.object(edit, 0, "VM")?, request.object(edit, 1, "host")?);
            domain::check_host(edit, &vm, &host).map(|()| void())
        }),
        "assert_operation_valid" => Effect::AtOnce(|_, edit, request| {
            let vm = request.object(edit, 0, "VM")?;
            operations::check(edit, "VM", &vm, request.text(1)).map(|()| void())
        }),
        "update_allowed_operations" => Effect::AtOnce(|_, edit, request| {
            let vm = request.object(edit, 0, "VM")?;
            operations::refresh(edit, "VM", &vm);
            Ok(void())
        }),
        "get_allowed_VBD_devices" => Effect::AtOnce(|_, edit, request| {
            let vm = request.object(edit, 0, "VM")?;
            let free = vbd::free_places(edit, &vm).into_iter();
            Ok(Value::texts(free.map(|place| place.to_string())))
        }),
        "get_allowed_VIF_devices" => Effect::AtOnce(|_, edit, request| {
            let vm = request.object(edit, 0, "VM")?;
            Ok(Value::texts(vif::free_places(edit, &vm)))
        }),
        "get_boot_record" => Effect::AtOnce(|_, edit, request| {
            let vm = request.object(edit, 0, "VM")?;
            operations::check(edit, "VM", &vm, "get_boot_record")?;
            let mut fields = edit.record("VM", &vm).unwrap_or_default();
            // XAPI names the call itself among what runs, by a ref that is none.
            for (_, value) in fields.iter_mut().filter(|(name, _)| *name == "current_operations") {
                let running = format!("DummyRef:|{}|VM.get_boot_record", edit.identifiers.uuid());
                *value = Value::pairs([(running, "get_boot_record")]);
            }
            Ok(Value::Map(fields.into_iter().map(|(n, v)| (Value::text(n), v)).collect()))
        }),
        "get_cooperative" => Effect::AtOnce(|_, edit, request| {
            request.object(edit, 0, "VM")?;
            Ok(Value::Bool(true))
        }),
        "compute_memory_overhead" => Effect::AtOnce(|_, edit, request| {
            let vm = request.object(edit, 0, "VM")?;
            Ok(Value::Int(edit.int("VM", &vm, "memory_overhead")))
        }),
        "maximise_memory" => Effect::AtOnce(|_, edit, request| {
            let vm = request.object(edit, 0, "VM")?;
            let left = request.int(1) - edit.int("VM", &vm, "memory_overhead");
            Ok(Value::Int(left.max(0) >> 20 << 20))
        }),
        "assert_agile" => Effect::AtOnce(|_, edit, request| {
            let vm = request.object(edit, 0, "VM")?;
            assert_agile(edit, &vm)
        }),
        "send_sysrq" | "send_trigger" | "add_to_VCPUs_params_live" | "query_services" => {
            Effect::AtOnce(|_, edit, request| {
                request.object(edit, 0, "VM")?;
                Err(Failure::new("NOT_IMPLEMENTED", [&*request.known.name]))
            })
        }
        _ => return None,
    })
}

/// Whether a VM could run on any host: all it hangs on is shared.
fn assert_agile(edit: &Edit<'_>, vm: &Text) -> Result<Value, Failure> {
    for vbd in edit.texts("VM", vm, "VBDs") {
        let Some(vdi) = edit.target("VBD", &vbd, "VDI") else { continue };
        let sr = edit.text("VDI", &vdi, "SR");
        if !edit.flag("SR", sr, "shared") {
            return Err(Failure::new("HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED", [&**sr]));
        }
    }
    Ok(void())
}
