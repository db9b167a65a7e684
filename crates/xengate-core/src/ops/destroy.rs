//! Destroying a VM, with its disks or without.

use std::sync::Arc;

use serde_json::json;
use uuid::Uuid;

use super::arguments::Arguments;
use super::error::OpError;
use super::provision::{call, disks_of, send, still_there};
use super::reach::Reach;
use super::tasks::{Broken, Flow, Tasks};
use super::typed;
use xenapi_wire::Arg;

/// What becomes of a VM's disks when it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Disks {
    /// They stay.
    #[default]
    Keep,
    /// They go, unless another VM has them too.
    Delete,
}

/// Starts to destroy the VM of this ref, as a task.
///
/// With disks the result says which were deleted and which kept. The VM goes first: should that
/// fail, nothing has been lost.
pub async fn destroy_vm(
    reach: &Reach,
    tasks: &Arc<Tasks>,
    vm: &Arc<str>,
    disks: Disks,
) -> Result<Uuid, OpError> {
    let destroy = call("VM.destroy");
    match disks {
        Disks::Keep => reach.start(destroy, vec![Arg::from(&**vm)], tasks).await,
        Disks::Delete => {
            for call in [destroy, call("VDI.destroy")] {
                reach.check(call, &Arguments::default())?;
            }
            let vm = vm.clone();
            tasks.run(reach, "VM.destroy", |flow| async move { with_disks(&flow, &vm).await })
        }
    }
}

async fn with_disks(flow: &Flow, vm: &Arc<str>) -> Result<serde_json::Value, Broken> {
    let (own, shared) = sorted(flow, vm).await?;
    flow.carry_out(call("VM.destroy"), vec![Arg::from(&**vm)]).await?;
    let uuid = |vdi: &String| flow.reach.mirror.resolve(vdi).map(|(_, uuid)| uuid);
    let kept: Vec<_> = shared.iter().filter_map(uuid).collect();
    let (mut deleted, mut left, mut first) = (Vec::new(), Vec::new(), None);
    for (index, vdi) in own.iter().enumerate() {
        flow.progress((index + 1) as f64 / (own.len() + 1) as f64);
        let uuid = uuid(vdi);
        match send(&flow.reach, "VDI.destroy", vec![vdi.as_str().into()]).await {
            Ok(_) => deleted.extend(uuid),
            Err(error) => {
                left.push(still_there(&flow.reach, "VDI", vdi, &error));
                first.get_or_insert(error);
            }
        }
    }
    match first {
        None => Ok(json!({"deleted": deleted, "kept": kept})),
        Some(error) => Err(Broken { error: error.into(), left }),
    }
}

/// The disks that only this VM has, and those that others have too.
async fn sorted(flow: &Flow, vm: &str) -> Result<(Vec<String>, Vec<String>), OpError> {
    let (mut own, mut shared) = (Vec::new(), Vec::new());
    for vdi in disks_of(&flow.reach, vm).await? {
        let vbds = send(&flow.reach, "VDI.get_VBDs", vec![vdi.as_str().into()]).await?;
        let vbds: Vec<String> = typed::read(&vbds)?;
        if vbds.len() > 1 { shared.push(vdi) } else { own.push(vdi) }
    }
    Ok((own, shared))
}

impl From<OpError> for Broken {
    fn from(error: OpError) -> Self {
        Self { error: error.into(), left: Vec::new() }
    }
}

impl From<Arc<OpError>> for Broken {
    fn from(error: Arc<OpError>) -> Self {
        Self { error, left: Vec::new() }
    }
}
