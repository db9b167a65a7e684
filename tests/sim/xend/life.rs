//! The life of a VM in both dialects.

use std::time::Duration;

use serde_json::json;
use xengate::sim::Time;
use xengate::sim::xend::{Power, Xend, XendConfig};
use xengate::wire::Arg;

use super::{Client, legacy, start, void};

#[tokio::test]
async fn states_change_as_asked_and_complaints_are_xends() {
    let xend = start(20);
    let client = Client::login(&xend).await;
    let vm = xend.vm_that_is(Power::Running).expect("a VM");
    let state = || xend.vm(&vm.uuid).expect("still there").power;
    let bad = |expected: &str, actual: &str| {
        Err(json!(["VM_BAD_POWER_STATE", vm.uuid, expected, actual]))
    };
    let not_started =
        Err(json!(["INTERNAL_ERROR", format!("Domain '{}' is not started", vm.name)]));
    let start = |paused: bool| [Arg::from(vm.uuid.as_str()), Arg::from(paused)];

    assert_eq!(client.call("VM.start", &start(false)).await, bad("Halted", "Running"));
    assert_eq!(client.vm("VM.pause", &vm.uuid).await, void());
    assert_eq!(client.vm("VM.pause", &vm.uuid).await, void());
    assert_eq!(state(), Power::Paused);
    assert_eq!(client.vm("VM.suspend", &vm.uuid).await, bad("Running", "Paused"));
    assert_eq!(client.vm("VM.unpause", &vm.uuid).await, void());
    let before = xend.vm(&vm.uuid).expect("a VM");
    assert_eq!(client.vm("VM.hard_reboot", &vm.uuid).await, void());
    let after = xend.vm(&vm.uuid).expect("a VM");
    assert!(after.domid > before.domid && after.metrics != before.metrics);
    assert_eq!(client.vm("VM.suspend", &vm.uuid).await, void());
    assert_eq!(state(), Power::Suspended);
    assert_eq!(client.call("VM.resume", &start(true)).await, void());
    assert_eq!(state(), Power::Paused);
    assert_eq!(
        client.vm("VM.destroy", &vm.uuid).await,
        Err(json!(["INTERNAL_ERROR", "Domain is not halted."]))
    );
    assert_eq!(client.vm("VM.hard_shutdown", &vm.uuid).await, void());
    assert_eq!(state(), Power::Halted);
    assert_eq!(client.vm("VM.hard_shutdown", &vm.uuid).await, void());
    assert_eq!(client.vm("VM.hard_reboot", &vm.uuid).await, bad("Running", "Halted"));
    assert_eq!(client.vm("VM.pause", &vm.uuid).await, not_started);
    assert_eq!(client.vm("VM.unpause", &vm.uuid).await, not_started);
    assert_eq!(
        client.vm("VM.clean_shutdown", &vm.uuid).await,
        Err(json!(["INTERNAL_ERROR", "Domain cannot be shutdown"]))
    );
    let record = client.vm("VM.get_record", &vm.uuid).await.expect("a record");
    assert_eq!((&record["domid"], &record["cpu_pool"]), (&json!("-1"), &json!([])));
    assert_eq!(client.vm("VM.destroy", &vm.uuid).await, void());
    assert_eq!(
        client.vm("VM.get_record", &vm.uuid).await,
        Err(json!(["HANDLE_INVALID", "VM", vm.uuid]))
    );
}

#[tokio::test]
async fn guests_act_in_their_own_time() {
    let config = XendConfig {
        vms: 20,
        time: Time::Held,
        guest_delay: Duration::from_secs(5),
        ..XendConfig::default()
    };
    let xend = Xend::start(config).expect("free ports");
    let client = Client::login(&xend).await;
    let vm = xend.vm_that_is(Power::Running).expect("a VM");
    assert_eq!(client.vm("VM.clean_shutdown", &vm.uuid).await, void());
    assert_eq!(client.vm("VM.get_power_state", &vm.uuid).await, Ok(json!("Running")));
    xend.advance(Duration::from_secs(6));
    assert_eq!(client.vm("VM.get_power_state", &vm.uuid).await, Ok(json!("Halted")));

    let other = xend.vm_that_is(Power::Running).expect("a VM");
    assert!(xend.set_on_poweroff(&other.name, "preserve"));
    assert_eq!(client.vm("VM.clean_shutdown", &other.uuid).await, void());
    xend.advance(Duration::from_secs(6));
    let kept = xend.vm(&other.uuid).expect("a VM");
    assert_eq!((kept.power, kept.domid), (Power::Halted, other.domid));

    let third = xend.vm_that_is(Power::Running).expect("a VM");
    assert_eq!(client.vm("VM.clean_reboot", &third.uuid).await, void());
    xend.advance(Duration::from_secs(6));
    let again = xend.vm(&third.uuid).expect("a VM");
    assert!(again.power == Power::Running && again.domid > third.domid);
}

#[tokio::test]
async fn the_legacy_dialect_does_what_xm_asks() {
    let xend = start(20);
    let vm = xend.vm_that_is(Power::Running).expect("a VM");
    let name = || Arg::from(vm.name.as_str());
    let nil = || Ok(json!(null));
    let state = || xend.vm(&vm.uuid).expect("still there").power;
    assert_eq!(legacy(&xend, "xend.domain.pause", &[name()]).await, nil());
    assert_eq!(legacy(&xend, "xend.domain.setpauseflag", &[name(), true.into()]).await, nil());
    assert_eq!(legacy(&xend, "xend.domain.pause", &[name(), 1.into()]).await, Ok(json!(1)));
    assert_eq!(legacy(&xend, "xend.domain.unpause", &[name()]).await, nil());
    assert_eq!(legacy(&xend, "xend.domain.suspend", &[name()]).await, nil());
    assert_eq!(state(), Power::Suspended);
    assert_eq!(legacy(&xend, "xend.domain.resume", &[name(), false.into()]).await, nil());
    let size = legacy(&xend, "xend.domain.setMemoryTarget", &[name(), 128.into()]).await;
    assert_eq!(size, nil());
    assert_eq!(xend.vm(&vm.uuid).expect("a VM").memory.1, 128 << 20);
    let text = "memory_dynamic_max must be less than or equal to memory_static_max";
    let size = legacy(&xend, "xend.domain.setMemoryTarget", &[name(), 999_999.into()]).await;
    assert_eq!(size, Err((2, text.into())));
    let cpus = legacy(&xend, "xend.domain.setVCpuCount", &[name(), 99.into()]).await;
    let text = "Cannot set vcpus greater than max vcpus on running domain";
    assert_eq!(cpus, Err((2, text.into())));
    let reason = legacy(&xend, "xend.domain.shutdown", &[name(), "bogus".into()]).await;
    assert_eq!(reason, Err((2, "Invalid reason: bogus".into())));
    assert_eq!(legacy(&xend, "xend.domain.shutdown", &[name(), "poweroff".into()]).await, nil());
    assert_eq!(state(), Power::Halted);
    assert_eq!(legacy(&xend, "xend.domain.start", &[name(), true.into()]).await, nil());
    assert_eq!(state(), Power::Paused);
    let running = legacy(&xend, "xend.domain.start", &[name(), false.into()]).await;
    assert_eq!(running, Err((2, "Domain is already running".into())));
    assert_eq!(legacy(&xend, "xend.domain.destroy", &[name()]).await, nil());
    assert_eq!(legacy(&xend, "xend.domain.delete", &[name()]).await, nil());
    assert_eq!(legacy(&xend, "xend.domain.destroy", &[name()]).await, Err((3, vm.name.clone())));
    let privileged = legacy(&xend, "xend.domain.destroy", &["Domain-0".into()]).await;
    assert_eq!(privileged, Err((2, "Cannot destroy privileged domain Domain-0".into())));
    let unknown = legacy(&xend, "VM.get_all", &[]).await;
    let answer =
        json!({"Status": "Failure", "ErrorDescription": ["MESSAGE_METHOD_UNKNOWN", "VM.get_all"]});
    assert_eq!(unknown, Ok(answer));
}

#[tokio::test]
async fn domains_are_made_as_xm_makes_them() {
    let xend = start(0);
    let pair = |name: &str, value: Arg| Arg::Array(vec![name.into(), value]);
    let config = |name: &str| {
        let vif = Arg::Array(vec!["vif".into(), pair("bridge", "xenbr0".into())]);
        let disk = [("uname", "phy:/dev/vg/x"), ("dev", "xvda1"), ("mode", "w")];
        let disk = disk.map(|(name, value)| pair(name, value.into()));
        let disk = Arg::Array([vec!["vbd".into()], disk.into()].concat());
        let image = Arg::Array(vec!["linux".into(), pair("kernel", "/boot/vmlinuz".into())]);
        Arg::Array(vec![
            "vm".into(),
            pair("name", name.into()),
            pair("memory", 64.into()),
            pair("vcpus", 2.into()),
            pair("image", image),
            pair("device", vif),
            pair("device", disk),
        ])
    };
    let made = legacy(&xend, "xend.domain.create", &[config("new01")]).await.expect("a domain");
    assert_eq!((&made[0], &made[1]), (&json!("domain"), &json!(["domid", 1])));
    assert_eq!(legacy(&xend, "xend.domain.unpause", &["new01".into()]).await, Ok(json!(null)));
    let again = legacy(&xend, "xend.domain.create", &[config("new01")]).await;
    assert_eq!(again, Err((2, "VM name 'new01' already exists as domain 1".into())));
    assert_eq!(legacy(&xend, "xend.domain.new", &[config("kept")]).await, Ok(json!(null)));
    let names = legacy(&xend, "xend.domains_with_state", &[0.into(), "all".into(), 0.into()]).await;
    assert_eq!(names, Ok(json!(["Domain-0", "kept", "new01"])));
    // What was only created is gone when it ends.
    assert_eq!(legacy(&xend, "xend.domain.destroy", &["new01".into()]).await, Ok(json!(null)));
    assert!(xend.vm("new01").is_none());

    let client = Client::login(&xend).await;
    let record = Arg::Struct(vec![
        ("name_label".into(), "new02".into()),
        ("memory_static_max".into(), "67108864".into()),
        ("VCPUs_max".into(), "1".into()),
    ]);
    let vm = client.call("VM.create", std::slice::from_ref(&record)).await.expect("a ref");
    assert_eq!(xend.vm("new02").map(|vm| vm.uuid).as_deref(), vm.as_str());
    assert_eq!(
        client.call("VM.create", &[record]).await,
        Err(json!(["INTERNAL_ERROR", "VM name 'new02' already exists"]))
    );
}
