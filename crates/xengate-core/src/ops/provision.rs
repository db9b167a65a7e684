//! A VM from a template, as one task: clone or copy, provision, fields, disks, NICs, start.
//!
//! Whatever can be known to be wrong is refused before anything is sent. Should a step fail, what
//! the flow has made is taken back, and nothing else; what cannot be taken back is told.

mod order;
mod steps;
mod undo;
mod xml;

use std::sync::Arc;

use serde_json::{Map, Value};
use uuid::Uuid;

pub(super) use undo::{disks_of, send, still_there};

use super::arguments::Arguments;
use super::error::OpError;
use super::reach::Reach;
use super::tasks::{Broken, Tasks};
use order::Order;
use steps::Made;
use xenapi_model::{Call, datamodel};

/// What the task is called.
const NAME: &str = "VM.provision";

/// The members of an order that are no fields of the VM.
pub const ORDER: &[&str] = &["template", "sr", "networks", "disks", "start"];
/// The members of each of an order's disks.
pub const DISK: &[&str] = &["sr", "virtual_size", "name_label", "name_description", "bootable"];

/// Starts to make a VM as `body` says; the task's result will be its uuid.
///
/// `template` is a template's or a snapshot's uuid; `name_label` is needed; `sr` has all disks
/// copied there; `networks` get a NIC each and `disks` a disk each, in addition to what the template
/// has; with `start` the VM is started. All other members are fields that can be changed.
pub fn provision(
    reach: &Reach,
    tasks: &Arc<Tasks>,
    body: &Map<String, Value>,
) -> Result<Uuid, OpError> {
    // Whoever may not have VMs made is told so whatever the order says.
    for name in [if body.contains_key("sr") { "VM.copy" } else { "VM.clone" }, "VM.provision"] {
        reach.admits(call(name))?;
    }
    let order = Order::read(&*reach.snapshot()?, body)?;
    let template = (&order.template.reference, &order.template.record);
    let plan = order.plan(template, &*reach.snapshot()?)?;
    plan.check(reach).map_err(|error| order.as_given(error))?;
    for name in order.calls() {
        reach.check(call(name), &Arguments::default())?;
    }
    tasks.run(reach, NAME, |flow| async move {
        let mut made = Made::default();
        match steps::carry_out(&flow, &order, &mut made).await {
            Ok(vm) => Ok(Value::from(vm.to_string())),
            Err(error) => {
                let error = of_the_template(error);
                Err(Broken { error, left: undo::undo(&flow, &order, made).await })
            }
        }
    })
}

/// What is not there and was not named by the client, the template has named.
fn of_the_template(error: Arc<OpError>) -> Arc<OpError> {
    match &*error {
        OpError::Failure { failure, pointer: None } if error.is_about_nothing() => {
            let pointer = Some("/template".to_owned());
            Arc::new(OpError::Failure { failure: failure.clone(), pointer })
        }
        _ => error,
    }
}

/// A call that the datamodel is known to have.
pub(super) fn call(wire_name: &str) -> &'static Call {
    let found = datamodel().call(wire_name).map(|(_, call)| call);
    found.expect("flows name calls of the datamodel; a test looks all of them up")
}

#[cfg(test)]
mod tests;
