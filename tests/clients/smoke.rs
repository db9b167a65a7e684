//! What the README promises, through the client that openapi-generator makes.

use xengate_client::apis::configuration::Configuration;
use xengate_client::apis::{Error, sessions_api, task_api, vm_api};
use xengate_client::models::{
    ChangedVm, Credentials, SnapshotVmParameters, StartVmParameters, VmChanges,
};

type Failed = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failed> {
    let base_path = std::env::args().nth(1).ok_or("which gateway?")?;
    let mut gateway = Configuration { base_path, ..Configuration::new() };
    let root = Credentials::new("root".to_owned(), "simulated".to_owned());
    let login = sessions_api::login(&gateway, root).await?;
    gateway.bearer_access_token = Some(login.token);

    // Filter, order, fields and what comes along; then the limit.
    let page = vm_api::list_vms(
        &gateway, None, None, None, None, Some(1000), None, None, None, None, None, None, None, None,
    )
    .await?;
    assert!(page.items.len() > 10);
    let halted = page
        .items
        .iter()
        .find(|vm| vm.power_state.as_deref() == Some("Halted") && vm.is_control_domain == Some(false));
    let vm = halted.ok_or("no VM is halted")?;
    let uuid = vm.uuid.to_string();

    let wait = Some("wait=30");
    // Without parameters the client sends `null`.
    let mut task = vm_api::start_vm(&gateway, &uuid, None, None, wait, None).await?;
    if task.status.as_deref() == Some("pending") {
        let uuid = task.uuid.to_string();
        task = task_api::get_task(&gateway, &uuid, None, Some(60), None, None, None, None).await?;
    }
    assert_eq!(task.status.as_deref(), Some("success"));
    let vm_now = vm_api::get_vm(&gateway, &uuid, None, None, None, None, None).await?;
    assert_eq!(vm_now.power_state.as_deref(), Some("Running"));
    let metrics = vm_api::get_vm_metrics(&gateway, &uuid, None, None, None).await?;
    assert!(metrics.vcpus_number > Some(0));
    println!("{:?}: {:?} VCPUs", vm.name_label, metrics.vcpus_number);

    match vm_api::start_vm(&gateway, &uuid, None, None, wait, Some(StartVmParameters::new())).await {
        Err(Error::ResponseError(answer)) => {
            assert_eq!(answer.status.as_u16(), 409);
            assert!(answer.content.contains("VM_BAD_POWER_STATE"), "{}", answer.content);
        }
        other => return Err(format!("a running VM was started: {other:?}").into()),
    }

    let changes = VmChanges { name_label: Some("renamed".to_owned()), ..VmChanges::new() };
    match vm_api::patch_vm(&gateway, &uuid, changes, None, None, None).await? {
        ChangedVm::Vm(vm) => assert_eq!(vm.name_label.as_deref(), Some("renamed")),
        other => return Err(format!("no VM: {other:?}").into()),
    }

    let name = SnapshotVmParameters::new("before".to_owned());
    let task = vm_api::snapshot_vm(&gateway, &uuid, name, None, None, wait).await?;
    let snapshot = task.result.ok_or("no snapshot")?.to_string();
    let snapshot = vm_api::get_vm_snapshot(&gateway, &snapshot, None, None, None, None, None).await?;
    assert_eq!(snapshot.snapshot_of.flatten(), Some(vm.uuid));

    sessions_api::logout(&gateway).await?;
    let refused = vm_api::get_vm(&gateway, &uuid, None, None, None, None, None).await;
    assert!(matches!(refused, Err(Error::ResponseError(answer)) if answer.status.as_u16() == 401));
    Ok(())
}
