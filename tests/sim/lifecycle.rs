//! VMs from their template to their end, and what refuses on the way.

use serde_json::{Value as Json, json};
use xengate::sim::{NULL, SimHandle, Value};

use super::client::{Client, failure, start, vm_that_is};

/// A pool, somebody in it, and one of its VMs.
struct Scene {
    sim: SimHandle,
    client: Client,
    vm: String,
}

impl Scene {
    /// With a halted VM.
    async fn new() -> Self {
        let sim = start(12);
        let vm = vm_that_is(&sim, "Halted");
        let client = Client::logged_in(&sim, "root").await;
        Self { sim, client, vm }
    }

    /// Calls with the VM as the first argument.
    async fn call(&self, call: &str, args: Json) -> Result<Json, Json> {
        let mut all = vec![json!(self.vm)];
        all.extend(args.as_array().expect("arguments").iter().cloned());
        self.client.call(&format!("VM.{call}"), Json::Array(all)).await
    }

    async fn done(&self, call: &str, args: Json) -> Json {
        self.call(call, args).await.unwrap_or_else(|failure| panic!("{call}: {failure}"))
    }

    async fn record(&self, class: &str, reference: &Json) -> Json {
        let record = self.client.call(&format!("{class}.get_record"), json!([reference])).await;
        record.unwrap_or_else(|failure| panic!("{class}: {failure}"))
    }

    async fn vm(&self) -> Json {
        self.record("VM", &json!(self.vm)).await
    }

    async fn bad_state(&self, call: &str, args: Json, expected: &str) {
        let state = self.vm().await["power_state"].as_str().expect("a state").to_lowercase();
        let wanted = json!(["VM_BAD_POWER_STATE", self.vm, expected, state]);
        assert_eq!(self.call(call, args).await, Err(wanted), "{call}");
    }
}

fn allows(vm: &Json, operation: &str) -> bool {
    vm["allowed_operations"].as_array().expect("operations").contains(&json!(operation))
}

#[tokio::test]
async fn a_vm_goes_through_its_states() {
    let scene = Scene::new().await;
    let halted = scene.vm().await;
    assert!(allows(&halted, "start") && allows(&halted, "destroy") && !allows(&halted, "pause"));
    assert_eq!(halted["domid"], -1);
    for (call, args, expected) in [
        ("pause", json!([]), "running"),
        ("unpause", json!([]), "paused"),
        ("suspend", json!([]), "running"),
        ("resume", json!([false, false]), "suspended"),
        ("clean_shutdown", json!([]), "running"),
        ("hard_shutdown", json!([]), "paused, suspended, running"),
        ("shutdown", json!([]), "paused, suspended, running"),
        ("clean_reboot", json!([]), "running"),
        ("hard_reboot", json!([]), "paused, running"),
        ("pool_migrate", json!([scene.sim.refs("host")[0].to_string(), {}]), "running"),
    ] {
        scene.bad_state(call, args, expected).await;
    }
    scene.done("start", json!([true, false])).await;
    let paused = scene.vm().await;
    assert_eq!(paused["power_state"], "Paused");
    assert_eq!(paused["guest_metrics"], NULL);
    scene.done("unpause", json!([])).await;
    let running = scene.vm().await;
    assert_eq!(running["power_state"], "Running");
    assert_eq!(running["consoles"].as_array().map(Vec::len), Some(2));
    assert_eq!(running["resident_on"], scene.sim.refs("host")[0].to_string());
    assert!(allows(&running, "clean_shutdown") && !allows(&running, "start"));
    let guest = scene.record("VM_guest_metrics", &running["guest_metrics"]).await;
    assert_eq!(guest["PV_drivers_detected"], true);
    let metrics = scene.record("VM_metrics", &running["metrics"]).await;
    assert_eq!(metrics["start_time"], "20261122T07:25:54Z");
    let vbd = scene.record("VBD", &running["VBDs"][0]).await;
    assert_eq!(vbd["currently_attached"], true);
    scene.bad_state("start", json!([false, false]), "halted").await;
    scene.bad_state("destroy", json!([]), "halted, suspended").await;
    scene.done("clean_reboot", json!([])).await;
    let rebooted = scene.vm().await;
    assert_ne!(rebooted["domid"], running["domid"]);
    assert_ne!(rebooted["guest_metrics"], running["guest_metrics"]);
    scene.done("suspend", json!([])).await;
    let suspended = scene.vm().await;
    assert_eq!(suspended["power_state"], "Suspended");
    assert_eq!((&suspended["domid"], &suspended["consoles"]), (&json!(-1), &json!([])));
    let image = scene.record("VDI", &suspended["suspend_VDI"]).await;
    assert_eq!(image["type"], "suspend");
    scene.done("resume", json!([false, false])).await;
    let resumed = scene.vm().await;
    assert_eq!(
        (&resumed["power_state"], &resumed["suspend_VDI"]),
        (&json!("Running"), &json!(NULL))
    );
    assert!(scene.sim.find("VDI", suspended["suspend_VDI"].as_str().expect("a ref")).is_none());
    scene.done("clean_shutdown", json!([])).await;
    let end = scene.vm().await;
    assert_eq!(end["power_state"], "Halted");
    assert_eq!((&end["resident_on"], &end["consoles"]), (&json!(NULL), &json!([])));
    assert_eq!(scene.record("VBD", &end["VBDs"][0]).await["currently_attached"], false);
    let told = scene.client.call("message.get_all_records", json!([])).await.expect("messages");
    let told: Vec<_> =
        told.as_object().expect("messages").values().map(|m| m["name"].as_str()).collect();
    for name in
        ["VM_STARTED", "VM_UNPAUSED", "VM_REBOOTED", "VM_SUSPENDED", "VM_RESUMED", "VM_SHUTDOWN"]
    {
        assert!(told.contains(&Some(name)), "{name}: {told:?}");
    }
}

#[tokio::test]
async fn hosts_are_chosen_and_left() {
    let sim = start(150);
    let client = Client::logged_in(&sim, "root").await;
    let hosts: Vec<_> = sim.refs("host").iter().map(ToString::to_string).collect();
    assert_eq!(hosts.len(), 2);
    let on = |host: &str| sim.field("host", host, "resident_VMs");
    let Some(Value::Set(residents)) = on(&hosts[0]) else { panic!("no VMs") };
    let plain = |vm: &&Value| {
        let vm = vm.as_text().expect("a ref");
        sim.field("VM", vm, "is_control_domain") == Some(Value::Bool(false))
    };
    let vm = residents.iter().find(plain).and_then(Value::as_text).expect("a VM").to_string();
    client.call("VM.pool_migrate", json!([vm, hosts[1], {"live": "true"}])).await.expect("moved");
    assert_eq!(sim.field("VM", &vm, "resident_on"), Some(Value::text(hosts[1].as_str())));
    client.call("host.disable", json!([hosts[0]])).await.expect("disabled");
    let refused = client.call("VM.pool_migrate", json!([vm, hosts[0], {}])).await;
    assert_eq!(refused, Err(json!(["HOST_DISABLED", hosts[0]])));
    assert_eq!(client.call("VM.get_possible_hosts", json!([vm])).await, Ok(json!([hosts[1]])));
    assert_eq!(failure(client.call("host.shutdown", json!([hosts[0]])).await), "HOST_IN_USE");
    client.call("host.evacuate", json!([hosts[0]])).await.expect("evacuated");
    let Some(Value::Set(left)) = on(&hosts[0]) else { panic!("no VMs") };
    assert_eq!(left.len(), 1, "the control domain stays");
    client.call("host.shutdown", json!([hosts[0]])).await.expect("shut down");
    assert_eq!(failure(client.call("host.enable", json!([hosts[0]])).await), "HOST_NOT_LIVE");
    let last = client.call("VM.pool_migrate", json!([vm, hosts[0], {}])).await;
    assert_eq!(failure(last), "HOST_NOT_LIVE");
}

#[tokio::test]
async fn snapshots_bring_a_vm_back() {
    let scene = Scene::new().await;
    let before = scene.vm().await;
    let snapshot = scene.done("snapshot", json!(["as it was", []])).await;
    let taken = scene.record("VM", &snapshot).await;
    assert_eq!((&taken["is_a_snapshot"], &taken["is_a_template"]), (&json!(true), &json!(true)));
    assert_eq!(taken["snapshot_of"], json!(scene.vm));
    assert_eq!(taken["snapshot_time"], "20261122T07:25:54Z");
    assert_eq!(scene.vm().await["snapshots"], json!([snapshot]));
    let disk = scene.record("VBD", &taken["VBDs"][0]).await["VDI"].clone();
    assert_eq!(scene.record("VDI", &disk).await["is_a_snapshot"], true);
    let start = scene.client.call("VM.start", json!([snapshot, false, false])).await;
    assert_eq!(start, Err(json!(["VM_IS_SNAPSHOT", snapshot, "start"])));
    let no_snapshot = scene.call("revert", json!([])).await;
    assert_eq!(no_snapshot, Err(json!(["REVERT_ONLY_ALLOWED_ON_SNAPSHOT"])));
    scene.done("set_name_description", json!(["changed"])).await;
    scene.done("start", json!([false, false])).await;
    scene.client.call("VM.revert", json!([snapshot])).await.expect("reverted");
    let after = scene.vm().await;
    assert_eq!(after["name_description"], before["name_description"]);
    assert_eq!((&after["power_state"], &after["parent"]), (&json!("Halted"), &snapshot));
    assert_ne!(after["VBDs"], before["VBDs"]);
    let of = |record: &Json| record["VIFs"][0].clone();
    let (old, new) = (of(&taken), of(&after));
    let mac = |record: Json| record["MAC"].clone();
    assert_eq!(mac(scene.record("VIF", &new).await), mac(scene.record("VIF", &old).await));
    let checkpoint = {
        scene.done("start", json!([false, false])).await;
        scene.done("checkpoint", json!(["with memory"])).await
    };
    let checkpoint = scene.record("VM", &checkpoint).await;
    assert_eq!(checkpoint["power_state"], "Suspended");
    assert_ne!(checkpoint["suspend_VDI"], NULL);
    assert_eq!(scene.vm().await["power_state"], "Running");
    scene.client.call("VM.destroy", json!([snapshot])).await.expect("destroyed");
    assert!(scene.sim.find("VDI", disk.as_str().expect("a ref")).is_some(), "disks stay");
}

#[tokio::test]
async fn a_template_becomes_a_vm() {
    let scene = Scene::new().await;
    let template = scene.sim.find("VM", "Debian Bookworm 12").expect("a template").to_string();
    let refused = scene.client.call("VM.start", json!([template, false, false])).await;
    assert_eq!(refused, Err(json!(["VM_IS_TEMPLATE", template, "start"])));
    let destroy = scene.client.call("VM.destroy", json!([template])).await;
    assert_eq!(destroy, Err(json!(["VM_IS_TEMPLATE", template, "destroy"])));
    let provision = scene.call("provision", json!([])).await;
    assert_eq!(provision, Err(json!(["PROVISION_ONLY_ALLOWED_ON_TEMPLATE"])));
    let made = scene.client.call("VM.clone", json!([template, "made"])).await.expect("a clone");
    let record = scene.record("VM", &made).await;
    assert_eq!(
        (&record["is_a_template"], &record["is_default_template"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(record["other_config"]["base_template_name"], "Debian Bookworm 12");
    // The template's disk is to be in an SR that nobody has named yet.
    let nowhere = scene.client.call("VM.provision", json!([made])).await;
    assert_eq!(nowhere, Err(json!(["UUID_INVALID", "sr", ""])));
    let sr = scene.sim.find("SR", "Shared storage 1").expect("an SR");
    let Some(Value::Text(uuid)) = scene.sim.field("SR", &sr, "uuid") else { panic!("no uuid") };
    let disks = format!(
        "<provision><disk device=\"0\" size=\"1073741824\" sr=\"{uuid}\" bootable=\"true\" \
         type=\"system\"/></provision>"
    );
    // As in XAPI it is a template no more, and has to be made one again.
    let again = scene.client.call("VM.provision", json!([made])).await;
    assert_eq!(again, Err(json!(["PROVISION_ONLY_ALLOWED_ON_TEMPLATE"])));
    scene.client.call("VM.set_is_a_template", json!([made, true])).await.expect("a template");
    let config = json!({"disks": disks, "mac_seed": "x"});
    scene.client.call("VM.set_other_config", json!([made, config])).await.expect("set");
    scene.client.call("VM.provision", json!([made])).await.expect("provisioned");
    let record = scene.record("VM", &made).await;
    assert_eq!(record["is_a_template"], false);
    assert!(record["other_config"].get("disks").is_none());
    let vbd = scene.record("VBD", &record["VBDs"][0]).await;
    let vdi = scene.record("VDI", &vbd["VDI"]).await;
    assert_eq!((&vdi["virtual_size"], &vdi["SR"]), (&json!(1_073_741_824), &json!(&*sr)));
    scene.client.call("VM.start", json!([made, false, false])).await.expect("started");
    scene.client.call("VM.hard_shutdown", json!([made])).await.expect("stopped");
    let parts = scene.sim.count("VBD");
    scene.client.call("VM.destroy", json!([made])).await.expect("destroyed");
    assert_eq!(scene.sim.count("VBD"), parts - 1);
}

#[tokio::test]
async fn sizes_keep_their_order() {
    let scene = Scene::new().await;
    let gib = |n: i64| n << 30;
    scene.done("set_memory_limits", json!([gib(1), gib(4), gib(2), gib(3)])).await;
    let vm = scene.vm().await;
    assert_eq!(
        (&vm["memory_dynamic_min"], &vm["memory_static_max"]),
        (&json!(gib(2)), &json!(gib(4)))
    );
    for (call, args) in [
        ("set_memory_limits", json!([gib(1), gib(2), gib(3), gib(3)])),
        ("set_memory_dynamic_max", json!([gib(5)])),
        ("set_memory_dynamic_range", json!([gib(3), gib(2)])),
        ("set_memory_static_min", json!([gib(3)])),
        ("set_memory_static_max", json!([gib(2)])),
    ] {
        let refused = scene.call(call, args).await;
        assert_eq!(refused, Err(json!(["MEMORY_CONSTRAINT_VIOLATION_ORDER"])), "{call}");
    }
    scene.done("set_VCPUs_max", json!([8])).await;
    scene.done("set_VCPUs_at_startup", json!([8])).await;
    let text = "VCPU values must satisfy: 0 < VCPUs_at_startup ≤ VCPUs_max";
    for (call, value) in [("set_VCPUs_max", "4"), ("set_VCPUs_at_startup", "9")] {
        let refused = scene.call(call, json!([value])).await;
        assert_eq!(refused, Err(json!(["INVALID_VALUE", text, value])), "{call}");
    }
    scene.done("start", json!([false, false])).await;
    scene.bad_state("set_memory_static_max", json!([gib(8)]), "halted").await;
    scene.bad_state("set_VCPUs_max", json!([16]), "halted").await;
    scene.done("set_memory_dynamic_range", json!([gib(2), gib(4)])).await;
    assert_eq!(scene.vm().await["memory_target"], gib(4));
    scene.done("set_VCPUs_number_live", json!([4])).await;
}

#[tokio::test]
async fn operations_are_blocked_and_exclude_each_other() {
    let scene = Scene::new().await;
    scene.done("add_to_blocked_operations", json!(["start", "not today"])).await;
    let blocked = scene.call("start", json!([false, false])).await;
    assert_eq!(blocked, Err(json!(["OPERATION_BLOCKED", scene.vm, "not today"])));
    assert!(!allows(&scene.vm().await, "start"));
    scene.done("remove_from_blocked_operations", json!(["start"])).await;
    scene.done("start", json!([false, false])).await;
    scene.sim.hold_tasks("VM.clean_shutdown");
    let args = json!([scene.vm]);
    let held = scene.client.call("Async.VM.clean_shutdown", args).await.expect("a task");
    let busy = scene.call("suspend", json!([])).await;
    let wanted = ["OTHER_OPERATION_IN_PROGRESS", "VM", &scene.vm, "clean_shutdown"];
    let mut wanted: Vec<_> = wanted.map(Json::from).to_vec();
    wanted.push(held.clone());
    assert_eq!(busy, Err(Json::Array(wanted)));
    let vm = scene.vm().await;
    assert!(allows(&vm, "hard_shutdown") && !allows(&vm, "suspend"));
    // A hard stop is possible all the same, and ends the gentle one.
    scene.done("hard_shutdown", json!([])).await;
    let (_, mut token) = scene.client.events(&["task"], "", 0.0).await;
    while scene.record("task", &held).await["status"] == "pending" {
        (_, token) = scene.client.events(&["task"], &token, 60.0).await;
    }
    assert_eq!(scene.record("task", &held).await["status"], "cancelled");
    let vm = scene.vm().await;
    assert_eq!((&vm["power_state"], &vm["current_operations"]), (&json!("Halted"), &json!({})));
}

#[tokio::test]
async fn appliances_start_and_stop_their_vms() {
    let scene = Scene::new().await;
    let record = json!({"name_label": "all of it", "name_description": ""});
    let made = scene.client.call("VM_appliance.create", json!([record])).await.expect("made");
    let empty = scene.client.call("VM_appliance.start", json!([made, false])).await;
    assert_eq!(empty, Err(json!(["OPERATION_NOT_ALLOWED", "Appliance has no VMs."])));
    scene.done("set_appliance", json!([made])).await;
    scene.client.call("VM_appliance.start", json!([made, false])).await.expect("started");
    assert_eq!(scene.vm().await["power_state"], "Running");
    let appliance = scene.record("VM_appliance", &made).await;
    assert_eq!(
        appliance["allowed_operations"],
        json!(["clean_shutdown", "hard_shutdown", "shutdown"])
    );
    scene.client.call("VM_appliance.shutdown", json!([made])).await.expect("stopped");
    assert_eq!(scene.vm().await["power_state"], "Halted");
    scene.client.call("VM_appliance.destroy", json!([made])).await.expect("destroyed");
    assert_eq!(scene.vm().await["appliance"], NULL);
}
