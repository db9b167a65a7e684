//! The steps from a template to a VM.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::call;
use super::order::{DISKS_KEY, NewDisk, Order, Template, class, disks_ordered};
use super::xml::{self, Which};
use crate::ops::arguments::{ArgumentError, Arguments, arguments};
use crate::ops::create::free_vif_devices;
use crate::ops::error::OpError;
use crate::ops::reach::Touched;
use crate::ops::tasks::Flow;
use xenapi_wire::Arg;

/// What a flow has made so far.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) vm: Option<Arc<str>>,
    pub(super) vdis: Vec<Arc<str>>,
    /// Something may have been made, and what is not known.
    pub(super) unknown: Option<&'static str>,
}

/// Somebody else is at it too.
const GONE: &str = "what was just made is gone already";

/// A step's outcome; errors are shared with the task.
type Step<T> = Result<T, Arc<OpError>>;

/// Makes the VM, noting in `made` whatever has to be taken back should it not come to an end.
pub(super) async fn carry_out(flow: &Flow, order: &Order, made: &mut Made) -> Step<Uuid> {
    let steps = 3 + order.disks.len() + usize::from(!order.networks.is_empty());
    let mut taken = 0;
    let mut progress = || {
        taken += 1;
        flow.progress(taken as f64 / (steps + 1) as f64);
    };
    let (uuid, vm) = copy(flow, order, made).await?;
    progress();
    provision(flow, order, (uuid, &vm)).await?;
    progress();
    fields(flow, order, (uuid, &vm)).await?;
    progress();
    let had_disks = !disks(&record(flow, uuid)?).is_empty();
    for (index, disk) in order.disks.iter().enumerate() {
        let bootable = disk.bootable.unwrap_or(!had_disks && index == 0);
        add_disk(flow, order, (uuid, index), disk, bootable, made).await?;
        progress();
    }
    if !order.networks.is_empty() {
        add_nics(flow, order, (uuid, &vm)).await?;
        progress();
    }
    flow.check()?;
    if order.start {
        let args = vec![Arg::from(&*vm), Arg::Bool(false), Arg::Bool(false)];
        flow.carry_out(call("VM.start"), args).await?;
    } else {
        // So that whoever reads the VM next sees all of it.
        let _ = flow.reach.settle(Touched::Object(class("VM"), &vm)).await;
    }
    Ok(uuid)
}

async fn copy(flow: &Flow, order: &Order, made: &mut Made) -> Step<(Uuid, Arc<str>)> {
    let Template { reference, uuid, .. } = &order.template;
    let mut args = Arguments::from(vec![Arg::from(&**reference), order.name_label.as_str().into()]);
    args.name(reference, *uuid, "/template");
    let name = match order.sr {
        Some(uuid) => {
            let sr = named(flow, "SR", uuid, "/sr").await?;
            args.values.push(Arg::from(&*sr));
            args.name(&sr, uuid, "/sr");
            "VM.copy"
        }
        None => "VM.clone",
    };
    let result = flow.carry_out(call(name), args).await;
    let uuid = match &result {
        Ok(result) => result.as_str().and_then(|text| Uuid::try_parse(text).ok()),
        Err(error) => {
            made.unknown = may_go_on(error).then_some("VM");
            return Err(error.clone());
        }
    };
    made.unknown = Some("VM");
    let uuid = uuid.ok_or(OpError::Lost)?;
    let vm = found(flow, "VM", uuid).await?;
    (made.vm, made.unknown) = (Some(vm.clone()), None);
    Ok((uuid, vm))
}

/// Whether the backend may still be at it although nobody waits any longer.
fn may_go_on(error: &OpError) -> bool {
    error.is_unknown()
}

async fn provision(flow: &Flow, order: &Order, (uuid, vm): (Uuid, &Arc<str>)) -> Step<()> {
    flow.check()?;
    let record = record(flow, uuid)?;
    if record.get("is_a_template") != Some(&Value::Bool(true)) {
        return Ok(());
    }
    let all = order.sr.map(|sr| (sr, Which::All));
    let placed = all.or(order.otherwise.map(|sr| (sr, Which::Unplaced)));
    if let (Some((sr, which)), Some(disks)) = (placed, disks_ordered(&record))
        && let Some(disks) = xml::on_sr(disks, sr, which)
    {
        let key = || vec![Arg::from(&**vm), DISKS_KEY.into()];
        make(flow, "VM.remove_from_other_config", key()).await?;
        let mut args = key();
        args.push(disks.into());
        make(flow, "VM.add_to_other_config", args).await?;
    }
    let mut args = Arguments::from(vec![Arg::from(&**vm)]);
    if let Some(sr) = order.sr {
        args.name(&named(flow, "SR", sr, "/sr").await?, sr, "/sr");
    }
    flow.carry_out(call("VM.provision"), args).await?;
    Ok(())
}

async fn fields(flow: &Flow, order: &Order, (uuid, vm): (Uuid, &Arc<str>)) -> Step<()> {
    flow.check()?;
    let snapshot = flow.reach.snapshot()?;
    let record = record(flow, uuid)?;
    let ran = order.plan((vm, &record), &*snapshot)?.run(&flow.reach, flow.stopped()).await;
    match ran.halted {
        Some(halted) => Err(order.as_given(halted.error).into()),
        None => Ok(()),
    }
}

async fn add_disk(
    flow: &Flow,
    order: &Order,
    (vm, index): (Uuid, usize),
    disk: &NewDisk,
    bootable: bool,
    made: &mut Made,
) -> Step<()> {
    let name = || match index {
        0 => order.name_label.clone(),
        index => format!("{} {index}", order.name_label),
    };
    let vdi = json!({
        "SR": disk.sr,
        "virtual_size": disk.virtual_size,
        "name_label": disk.name_label.clone().unwrap_or_else(name),
        "name_description": disk.name_description,
    });
    let mut args = constructor(flow, "VDI.create", &vdi, &format!("/disks/{index}"))?;
    let pointer = format!("/disks/{index}/sr");
    let sr = named(flow, "SR", disk.sr, &pointer).await?;
    args.name(&sr, disk.sr, pointer);
    let result = flow.carry_out(call("VDI.create"), args).await;
    if let Err(error) = &result {
        made.unknown = may_go_on(error).then_some("VDI");
    }
    let uuid = result?.as_str().and_then(|text| Uuid::try_parse(text).ok());
    made.unknown = Some("VDI");
    let uuid = uuid.ok_or(OpError::Lost)?;
    made.vdis.push(found(flow, "VDI", uuid).await?);
    made.unknown = None;
    let vbd = json!({"VM": vm, "VDI": uuid, "bootable": bootable});
    let args = constructor(flow, "VBD.create", &vbd, &format!("/disks/{index}"))?;
    make(flow, "VBD.create", args).await
}

async fn add_nics(flow: &Flow, order: &Order, (uuid, vm): (Uuid, &Arc<str>)) -> Step<()> {
    let devices = free_vif_devices(&flow.reach, vm).await?;
    let mut devices = devices.into_iter();
    for (index, network) in order.networks.iter().enumerate() {
        flow.check()?;
        let pointer = format!("/networks/{index}");
        let full = || ArgumentError::new(&pointer, "is more than the VM has room for");
        let device = devices.next().ok_or_else(|| OpError::Argument(full()))?;
        let vif = json!({"VM": uuid, "network": network, "device": device});
        let mut args = constructor(flow, "VIF.create", &vif, &pointer)?;
        args.name(&named(flow, "network", *network, &pointer).await?, *network, &pointer);
        make(flow, "VIF.create", args).await?;
    }
    Ok(())
}

/// The arguments of a constructor. What does not fit is gone by now: the part of the client's body
/// at `pointer` named it.
fn constructor(flow: &Flow, wire_name: &str, body: &Value, pointer: &str) -> Step<Arguments> {
    let snapshot = flow.reach.snapshot()?;
    match arguments(call(wire_name), None, body.as_object(), &*snapshot) {
        Ok(arguments) => Ok(arguments.values.into()),
        Err(error) => {
            let error = ArgumentError::new(pointer, error.what);
            Err(Arc::new(error.into()))
        }
    }
}

/// Makes a call that is soon done.
async fn make(flow: &Flow, wire_name: &str, args: impl Into<Arguments>) -> Step<()> {
    let call = call(wire_name);
    flow.reach.send(call, &call.wire_name, &args.into()).await?;
    Ok(())
}

/// The ref of an object that the flow has just made.
async fn found(flow: &Flow, name: &'static str, uuid: Uuid) -> Step<Arc<str>> {
    let found = flow.reach.find(class(name), uuid).await?;
    found.ok_or_else(|| Arc::new(OpError::Conflict(GONE)))
}

/// The ref of an object that the client has named at `pointer`.
async fn named(flow: &Flow, name: &'static str, uuid: Uuid, pointer: &str) -> Step<Arc<str>> {
    let found = flow.reach.find(class(name), uuid).await?;
    let gone = || ArgumentError::new(pointer, format!("names no {name} any more"));
    found.ok_or_else(|| Arc::new(OpError::Argument(gone())))
}

/// The VM's record as it is now.
fn record(flow: &Flow, uuid: Uuid) -> Step<Map<String, Value>> {
    let snapshot = flow.reach.snapshot()?;
    let object = snapshot.object(class("VM").id, &uuid).ok_or(OpError::Conflict(GONE))?;
    serde_json::from_slice(object.record().json()).map_err(|_| Arc::new(OpError::Lost))
}

/// A VM's VBDs.
fn disks(record: &Map<String, Value>) -> &[Value] {
    record.get("VBDs").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
