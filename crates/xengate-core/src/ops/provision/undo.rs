//! Takes back what a flow has made.

use std::collections::HashSet;
use std::sync::Arc;

use uuid::Uuid;

use super::call;
use super::order::Order;
use super::steps::Made;
use crate::ops::error::OpError;
use crate::ops::reach::Reach;
use crate::ops::tasks::{Flow, Left};
use crate::ops::typed;
use xenapi_client::Value;
use xenapi_wire::Arg;

/// Takes back what the flow has made; what is left of it, it tells.
pub(super) async fn undo(flow: &Flow, order: &Order, made: Made) -> Vec<Left> {
    let reach = &flow.reach;
    let mut left = Vec::new();
    if let Some(class) = made.unknown {
        let why = "the backend may have made it, and did not say so".to_owned();
        left.push(Left { class, uuid: None, why });
    }
    let mut vdis: Vec<String> = made.vdis.iter().map(|vdi| vdi.to_string()).collect();
    if let Some(vm) = &made.vm {
        match disks_of(reach, vm).await {
            Ok(disks) => {
                let own = disks.into_iter();
                vdis.extend(own.filter(|vdi| !is_of(reach, vdi, &order.template.vdis)));
            }
            Err(error) => left.push(Left {
                class: "VDI",
                uuid: None,
                why: format!("which disks the VM has is not known: {error}"),
            }),
        }
        if let Err(error) = destroy_vm(reach, vm).await {
            // Without its disks it would be of no use to anybody.
            left.push(still_there(reach, "VM", vm, &error));
            left.extend(vdis.iter().map(|vdi| still_there(reach, "VDI", vdi, &error)));
            return left;
        }
    }
    let mut done = HashSet::new();
    for vdi in vdis.into_iter().filter(|vdi| done.insert(vdi.clone())) {
        if let Err(error) = destroy(reach, "VDI.destroy", &vdi).await {
            left.push(still_there(reach, "VDI", &vdi, &error));
        }
    }
    left
}

/// The refs of a VM's disks, CDs aside, as the backend has them now.
pub(in crate::ops) async fn disks_of(reach: &Reach, vm: &str) -> Result<Vec<String>, OpError> {
    #[derive(serde::Deserialize)]
    struct Vbd {
        #[serde(rename = "type")]
        kind: String,
        empty: bool,
        #[serde(rename = "VDI")]
        vdi: String,
    }

    let vbds = send(reach, "VM.get_VBDs", vec![vm.into()]).await?;
    let mut disks = Vec::new();
    for vbd in typed::read::<Vec<String>>(&vbds)? {
        let record = send(reach, "VBD.get_record", vec![vbd.into()]).await?;
        let vbd: Vbd = typed::read(&record)?;
        if vbd.kind == "Disk" && !vbd.empty && typed::names_something(&vbd.vdi) {
            disks.push(vbd.vdi);
        }
    }
    Ok(disks)
}

/// Makes a call of the datamodel's.
pub(in crate::ops) async fn send(
    reach: &Reach,
    wire_name: &str,
    args: Vec<Arg>,
) -> Result<Value, OpError> {
    reach.send(call(wire_name), wire_name, &args.into()).await
}

async fn destroy_vm(reach: &Reach, vm: &Arc<str>) -> Result<(), OpError> {
    let state = send(reach, "VM.get_power_state", vec![(&**vm).into()]).await?;
    if typed::read::<String>(&state)? != "Halted" {
        send(reach, "VM.hard_shutdown", vec![(&**vm).into()]).await?;
    }
    destroy(reach, "VM.destroy", vm).await
}

/// Destroys an object; one that is gone already is as good.
async fn destroy(reach: &Reach, wire_name: &str, reference: &str) -> Result<(), OpError> {
    match send(reach, wire_name, vec![reference.into()]).await {
        Err(error) if error.code() == Some("HANDLE_INVALID") => Ok(()),
        result => result.map(drop),
    }
}

fn is_of(reach: &Reach, vdi: &str, uuids: &HashSet<Uuid>) -> bool {
    reach.mirror.resolve(vdi).is_some_and(|(_, uuid)| uuids.contains(&uuid))
}

pub(in crate::ops) fn still_there(
    reach: &Reach,
    class: &'static str,
    reference: &str,
    error: &OpError,
) -> Left {
    let uuid = reach.mirror.resolve(reference).map(|(_, uuid)| uuid);
    Left { class, uuid, why: error.to_string() }
}
