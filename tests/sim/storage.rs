//! Disks, and what VMs and hosts have them by; networks too.

use serde_json::{Value as Json, json};
use xengate::sim::{NULL, Value};

use super::client::{Client, failure, start, vm_that_is};

async fn record(client: &Client, class: &str, reference: &Json) -> Json {
    client.call(&format!("{class}.get_record"), json!([reference])).await.expect("a record")
}

fn disk(sr: &str, size: i64) -> Json {
    json!({
        "name_label": "data", "name_description": "", "SR": sr, "virtual_size": size,
        "type": "user", "sharable": false, "read_only": false, "other_config": {},
    })
}

fn vbd(vm: &str, vdi: &Json, device: &str) -> Json {
    json!({
        "VM": vm, "VDI": vdi, "userdevice": device, "bootable": false, "mode": "RW",
        "type": "Disk", "empty": false, "other_config": {}, "qos_algorithm_type": "",
        "qos_algorithm_params": {},
    })
}

#[tokio::test]
async fn a_disk_is_made_used_and_destroyed() {
    let sim = start(10);
    let client = Client::logged_in(&sim, "root").await;
    let sr = sim.find("SR", "Shared storage 1").expect("an SR").to_string();
    let vm = vm_that_is(&sim, "Running");
    let gib = 1_i64 << 30;
    let vdi = client.call("VDI.create", json!([disk(&sr, 4 * gib)])).await.expect("a disk");
    let made = record(&client, "VDI", &vdi).await;
    assert_eq!(made["location"], made["uuid"]);
    client.call("VDI.resize", json!([vdi, 8 * gib])).await.expect("larger");
    let smaller = client.call("VDI.resize", json!([vdi, gib])).await;
    assert_eq!(failure(smaller), "SR_BACKEND_FAILURE_79");
    let first = client.call("VBD.create", json!([vbd(&vm, &vdi, "0")])).await;
    assert_eq!(first, Err(json!(["DEVICE_ALREADY_EXISTS", "0"])));
    let second = client.call("VBD.create", json!([vbd(&vm, &vdi, "autodetect")])).await;
    let second = second.expect("a VBD");
    let made = record(&client, "VBD", &second).await;
    assert_eq!((&made["userdevice"], &made["device"]), (&json!("1"), &json!("")));
    assert_eq!(
        failure(client.call("VBD.unplug", json!([second])).await),
        "DEVICE_ALREADY_DETACHED"
    );
    client.call("VBD.plug", json!([second])).await.expect("plugged");
    let plugged = record(&client, "VBD", &second).await;
    assert_eq!(
        (&plugged["device"], &plugged["currently_attached"]),
        (&json!("xvdb"), &json!(true))
    );
    let used = client.call("VDI.destroy", json!([vdi])).await;
    assert_eq!(used, Err(json!(["VDI_IN_USE", vdi, "destroy"])));
    assert_eq!(failure(client.call("VBD.destroy", json!([second])).await), "OPERATION_NOT_ALLOWED");
    let snapshot = client.call("VDI.snapshot", json!([vdi, {}])).await.expect("a snapshot");
    assert_eq!(record(&client, "VDI", &snapshot).await["snapshot_of"], vdi);
    let local = sim.find("SR", "Local storage").expect("an SR").to_string();
    let copied = client.call("VDI.copy", json!([snapshot, local])).await.expect("a copy");
    assert_eq!(record(&client, "VDI", &copied).await["SR"], local);
    client.call("VBD.unplug", json!([second])).await.expect("unplugged");
    client.call("VDI.destroy", json!([vdi])).await.expect("destroyed");
    assert_eq!(failure(client.call("VBD.get_record", json!([second])).await), "HANDLE_INVALID");
    assert_eq!(record(&client, "VDI", &snapshot).await["is_a_snapshot"], true);
    let nowhere = client.call("VDI.create", json!([disk(NULL, gib)])).await;
    assert_eq!(nowhere, Err(json!(["HANDLE_INVALID", "SR", NULL])));
    let tools = sim.find("SR", "XenServer Tools").expect("an SR").to_string();
    let refused = client.call("VDI.create", json!([disk(&tools, gib)])).await;
    assert_eq!(refused, Err(json!(["SR_OPERATION_NOT_SUPPORTED", tools])));
}

#[tokio::test]
async fn a_disk_is_written_by_one_vm_at_a_time() {
    let sim = start(10);
    let client = Client::logged_in(&sim, "root").await;
    let (running, halted) = (vm_that_is(&sim, "Running"), vm_that_is(&sim, "Halted"));
    let Some(Value::Set(vbds)) = sim.field("VM", &running, "VBDs") else { panic!("no VBDs") };
    let in_use = sim.field("VBD", vbds[0].as_text().expect("a ref"), "VDI").expect("a VDI");
    let in_use = json!(in_use.as_text().expect("a ref").to_string());
    client.call("VBD.create", json!([vbd(&halted, &in_use, "1")])).await.expect("a VBD");
    let shared = client.call("VM.start", json!([halted, false, false])).await;
    assert_eq!(shared, Err(json!(["VDI_IN_USE", in_use])));
    client.call("VM.hard_shutdown", json!([running])).await.expect("stopped");
    client.call("VM.start", json!([halted, false, false])).await.expect("started");
}

#[tokio::test]
async fn cds_are_inserted_and_ejected() {
    let sim = start(10);
    let client = Client::logged_in(&sim, "root").await;
    let vm = vm_that_is(&sim, "Halted");
    let cd = sim.find("VDI", "guest-tools.iso").expect("a CD").to_string();
    let mut drive = vbd(&vm, &json!(NULL), "3");
    for (name, value) in [("type", json!("CD")), ("mode", json!("RO")), ("empty", json!(true))] {
        drive[name] = value;
    }
    let drive = client.call("VBD.create", json!([drive])).await.expect("a drive");
    assert_eq!(client.call("VBD.eject", json!([drive])).await, Err(json!(["VBD_IS_EMPTY", drive])));
    client.call("VBD.insert", json!([drive, cd])).await.expect("inserted");
    let again = client.call("VBD.insert", json!([drive, cd])).await;
    assert_eq!(again, Err(json!(["VBD_NOT_EMPTY", drive])));
    assert_eq!(record(&client, "VBD", &drive).await["VDI"], cd);
    client.call("VBD.eject", json!([drive])).await.expect("ejected");
    assert_eq!(record(&client, "VBD", &drive).await["empty"], true);
    let Some(Value::Set(vbds)) = sim.field("VM", &vm, "VBDs") else { panic!("no VBDs") };
    let disk = vbds.last().and_then(Value::as_text).expect("a disk").to_string();
    let refused = client.call("VBD.eject", json!([disk])).await;
    assert_eq!(refused, Err(json!(["VBD_NOT_REMOVABLE_MEDIA", disk])));
}

#[tokio::test]
async fn storage_comes_and_goes() {
    let sim = start(3);
    let client = Client::logged_in(&sim, "root").await;
    let host = sim.refs("host").remove(0).to_string();
    let create =
        |kind: &str| json!([host, {"server": "192.0.2.1"}, 0, "more", "", kind, "user", true, {}]);
    let unknown = client.call("SR.create", create("tape")).await;
    assert_eq!(unknown, Err(json!(["SR_UNKNOWN_DRIVER", "tape"])));
    let sr = client.call("SR.create", create("nfs")).await.expect("an SR");
    let made = record(&client, "SR", &sr).await;
    let pbd = made["PBDs"][0].clone();
    assert_eq!(made["allowed_operations"].as_array().map(Vec::is_empty), Some(false));
    client.call("SR.scan", json!([sr])).await.expect("scanned");
    let attached = client.call("SR.forget", json!([sr])).await;
    assert_eq!(attached, Err(json!(["SR_HAS_PBD", sr])));
    let destroy = client.call("PBD.destroy", json!([pbd])).await;
    assert_eq!(destroy, Err(json!(["OPERATION_NOT_ALLOWED", "PBD is currently attached"])));
    client.call("PBD.unplug", json!([pbd])).await.expect("unplugged");
    let unplugged = client.call("SR.scan", json!([sr])).await;
    assert_eq!(unplugged, Err(json!(["SR_HAS_NO_PBDS", sr])));
    let disk = client.call("VDI.create", json!([disk(sr.as_str().expect("a ref"), 1 << 20)])).await;
    assert_eq!(failure(disk), "SR_HAS_NO_PBDS");
    client.call("PBD.plug", json!([pbd])).await.expect("plugged");
    client.call("PBD.unplug", json!([pbd])).await.expect("unplugged");
    client.call("SR.forget", json!([sr])).await.expect("forgotten");
    assert_eq!(failure(client.call("PBD.get_record", json!([pbd])).await), "HANDLE_INVALID");
    let shared = sim.find("SR", "Shared storage 1").expect("an SR");
    let Some(Value::Set(pbds)) = sim.field("SR", &shared, "PBDs") else { panic!("no PBDs") };
    let pbd = pbds[0].as_text().expect("a ref").to_string();
    client
        .call("VM.start", json!([vm_that_is(&sim, "Halted"), false, false]))
        .await
        .expect("started");
    assert_eq!(failure(client.call("PBD.unplug", json!([pbd])).await), "VDI_IN_USE");
}

#[tokio::test]
async fn interfaces_and_networks_come_and_go() {
    let sim = start(10);
    let client = Client::logged_in(&sim, "root").await;
    let vm = vm_that_is(&sim, "Running");
    let fields =
        json!({"name_label": "new", "name_description": "", "other_config": {}, "tags": []});
    let network = client.call("network.create", json!([fields])).await.expect("a network");
    assert_eq!(record(&client, "network", &network).await["bridge"], "xapi0");
    let vif = |device: &str, mac: &str| {
        json!({
            "device": device, "network": network, "VM": vm, "MAC": mac, "MTU": 1500,
            "other_config": {}, "qos_algorithm_type": "", "qos_algorithm_params": {},
        })
    };
    let taken = client.call("VIF.create", json!([vif("0", "")])).await;
    assert_eq!(taken, Err(json!(["DEVICE_ALREADY_EXISTS", "0"])));
    let wrong = client.call("VIF.create", json!([vif("1", "02:00")])).await;
    assert_eq!(wrong, Err(json!(["MAC_INVALID", "02:00"])));
    let made = client.call("VIF.create", json!([vif("1", "")])).await.expect("a VIF");
    let details = record(&client, "VIF", &made).await;
    assert_eq!(details["MAC_autogenerated"], true);
    client.call("VIF.plug", json!([made])).await.expect("plugged");
    let again = client.call("VIF.plug", json!([made])).await;
    assert_eq!(again, Err(json!(["DEVICE_ALREADY_ATTACHED", made])));
    let used = client.call("network.destroy", json!([network])).await;
    assert_eq!(used, Err(json!(["NETWORK_CONTAINS_VIF", made])));
    assert_eq!(failure(client.call("VIF.destroy", json!([made])).await), "OPERATION_NOT_ALLOWED");
    client.call("VIF.unplug", json!([made])).await.expect("unplugged");
    let other = record(&client, "VM", &json!(vm)).await["VIFs"][1].clone();
    let elsewhere = record(&client, "VIF", &other).await["network"].clone();
    client.call("VIF.move", json!([made, elsewhere])).await.expect("moved");
    assert_eq!(record(&client, "VIF", &made).await["network"], elsewhere);
    client.call("VIF.destroy", json!([made])).await.expect("destroyed");
    let card = sim.refs("PIF").remove(0).to_string();
    let vlan = client.call("pool.create_VLAN_from_PIF", json!([card, network, 7])).await;
    let vlan = vlan.expect("a PIF for each host");
    let used = client.call("network.destroy", json!([network])).await;
    assert_eq!(used, Err(json!(["NETWORK_CONTAINS_PIF", vlan[0]])));
    let master = record(&client, "PIF", &vlan[0]).await["VLAN_master_of"].clone();
    client.call("VLAN.destroy", json!([master])).await.expect("destroyed");
    client.call("network.destroy", json!([network])).await.expect("destroyed");
}
