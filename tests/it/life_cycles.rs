//! The lives of VMs, disks, NICs, snapshots and tasks: each step is refused to every role that the
//! datamodel does not let take it, and succeeds for the weakest that it does.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};

use reqwest::Method;
use serde_json::{Value as Json, json};
use xengate::datamodel::{Roles, datamodel};
use xengate::http::api;
use xengate::http::openapi::{Access, Endpoint};
use xengate::sim::PASSWORD;

use crate::lab::{Answer, Lab};

/// The classes whose lives are lived here: each of their operations that changes something is a
/// step, or stands in the list of those that are none.
const CLASSES: [&str; 5] = ["VM", "VDI", "VBD", "VIF", "task"];

/// Operations that are no steps of a life: settings, questions, and what takes a second pool.
/// They are tried with every kind of token all the same.
#[rustfmt::skip]
const NO_STEPS: &[&str] = &[
    "addToVmBlockedOperations", "addToVmNvram", "addToVmOtherConfig", "addToVmPlatform",
    "addToVmVcpusParamsLive", "addVifIpv6Allowed", "addVifTrunks", "assertVmAgile",
    "assertVmCanBootHere", "assertVmCanMigrate", "assertVmOperationValid", "callVmHostPlugin",
    "callVmPlugin", "computeVmMemoryOverhead", "configureVifIpv4", "configureVifIpv6",
    "copyVmBiosStrings", "createVmNewBlob", "dataDestroyVdi", "disableVdiCbt", "enableVdiCbt",
    "forgetVdi", "forgetVmDataSourceArchives", "getVmAllowedVbdDevices",
    "getVmAllowedVifDevices", "getVmBootRecord", "getVmCooperative", "getVmDataSources",
    "getVmPossibleHosts", "getVmSecurebootReadiness", "importForeignVms", "importVms",
    "introduceVdi", "listVdiChangedBlocks", "maximiseVmMemory", "migrateSendVm",
    "poolMigrateVdi", "powerStateResetVm", "queryVmDataSource", "queryVmServices",
    "readVdiDatabasePoolUuid", "recordVmDataSource", "removeFromVmBlockedOperations",
    "removeFromVmNvram", "removeFromVmOtherConfig", "removeFromVmPlatform",
    "removeVifIpv6Allowed", "removeVifTrunks", "resizeVdiOnline", "restartVmDeviceModels",
    "retrieveVmWlbRecommendations", "revertVdi", "sendVmSysrq", "sendVmTrigger",
    "setVdiAllowCaching", "setVdiNameDescription", "setVdiNameLabel", "setVdiOnBoot",
    "setVdiReadOnly", "setVdiSharable", "setVifIpv6Allowed", "setVifTrunks",
    "setVmActionsAfterCrash", "setVmAppliance", "setVmBiosStrings", "setVmBlockedOperations",
    "setVmDomainType", "setVmGroups", "setVmHaAlwaysRun", "setVmHaRestartPriority",
    "setVmHasVendorDevice", "setVmHvmBootPolicy", "setVmHvmShadowMultiplier", "setVmMemory",
    "setVmMemoryDynamicMax", "setVmMemoryDynamicMin", "setVmMemoryDynamicRange",
    "setVmMemoryLimits", "setVmMemoryStaticMax", "setVmMemoryStaticMin",
    "setVmMemoryStaticRange", "setVmMemoryTargetLive", "setVmNvram", "setVmOrder",
    "setVmOtherConfig", "setVmPlatform", "setVmShadowMultiplierLive", "setVmShutdownDelay",
    "setVmSnapshotSchedule", "setVmStartDelay", "setVmSuspendVdi", "setVmUefiMode",
    "setVmVcpusAtStartup", "setVmVcpusMax", "setVmVcpusNumberLive", "sysprepVm",
    "updateVmAllowedOperations", "updateVmSecurebootCertificatesOnBoot",
    "waitVmMemoryTargetLive",
];

struct Life {
    lab: Lab,
    tokens: HashMap<&'static str, String>,
    lived: RefCell<BTreeSet<String>>,
    refused: Cell<usize>,
}

impl Life {
    async fn begin() -> Self {
        // Two hosts.
        let lab = Lab::with(|sim| sim.vms = 101, |_, _| {}).await;
        let mut tokens = HashMap::from([("root", lab.login().await)]);
        for role in &datamodel().roles {
            tokens.insert(role.as_str(), lab.gate.login(role, PASSWORD).await);
        }
        Self { lab, tokens, lived: RefCell::default(), refused: Cell::new(0) }
    }

    /// Sends the operation's request as the user of this role, waiting for what comes of it.
    async fn ask(&self, operation: &Endpoint, role: &str, uuid: &str, body: &Json) -> Answer {
        let method = Method::from_bytes(operation.method_name().as_bytes()).expect("a method");
        let path = operation.path.replace("{uuid}", uuid);
        let path = if operation.id == "destroyVm" { path + "?disks=delete" } else { path };
        let request = self.lab.gate.request(method, &path).bearer_auth(&self.tokens[role]);
        let request = request.header("Prefer", "wait=30");
        let request = if body.is_null() { request } else { request.json(body) };
        self.lab.gate.send(request).await
    }

    /// Takes a step: nobody who may not, and then the weakest who may.
    async fn step(&self, id: &str, uuid: &str, body: Json) -> Json {
        let Access::Roles(roles) = operation(id).access else { panic!("{id} is for some roles") };
        self.step_for(roles, id, uuid, body).await
    }

    /// A change of fields, which takes the roles that this call takes.
    async fn change(&self, id: &str, uuid: &str, call: &str, body: Json) -> Json {
        let roles = datamodel().call(call).expect("a call").1.roles;
        self.step_for(roles, id, uuid, body).await
    }

    async fn step_for(&self, roles: Roles, id: &str, uuid: &str, body: Json) -> Json {
        let operation = operation(id);
        let may: Vec<&str> = roles.names().collect();
        for role in datamodel().roles.iter().filter(|role| !may.contains(&role.as_str())) {
            let answer = self.ask(operation, role, uuid, &body).await;
            answer.problem(403, "RBAC_PERMISSION_DENIED");
            self.refused.set(self.refused.get() + 1);
        }
        self.step_as(may.last().expect("somebody may"), id, uuid, body).await
    }

    /// Takes a step that succeeds.
    async fn step_as(&self, role: &str, id: &str, uuid: &str, body: Json) -> Json {
        let answer = self.ask(operation(id), role, uuid, &body).await;
        let shown = String::from_utf8_lossy(&answer.body);
        assert!(answer.status.is_success() && answer.status != 202, "{id} as {role}: {shown}");
        self.lived.borrow_mut().insert(id.to_owned());
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }

    /// Takes a step that makes something; its uuid.
    async fn made(&self, id: &str, uuid: &str, body: Json) -> String {
        let made = self.step(id, uuid, body).await;
        let uuid = made["result"].as_str().or_else(|| made["uuid"].as_str());
        uuid.unwrap_or_else(|| panic!("{id}: {made}")).to_owned()
    }

    async fn get(&self, path: &str) -> Json {
        self.lab.get(path, &self.tokens["root"]).await.ok()
    }

    /// The uuids of a collection's objects that fit.
    async fn uuids(&self, path: &str, fits: impl Fn(&Json) -> bool) -> Vec<String> {
        let list = self.get(path).await;
        let items = list["items"].as_array().expect("items").iter();
        let uuid = |item: &Json| item["uuid"].as_str().expect("a uuid").to_owned();
        items.filter(|item| fits(item)).map(uuid).collect()
    }

    async fn is(&self, vm: &str, state: &str) {
        assert_eq!(self.get(&format!("/vms/{vm}")).await["power_state"], state);
    }

    async fn end(self) -> BTreeSet<String> {
        assert!(self.refused.get() > 60, "only {} were refused", self.refused.get());
        println!("{} steps, {} refusals", self.lived.borrow().len(), self.refused.get());
        self.lab.end().await;
        self.lived.into_inner()
    }

    /// A VM from the template without disks of its own, on the first network.
    async fn vm(&self) -> String {
        let template =
            self.uuids("/vm-templates", |one| one["other_config"].get("disks").is_none()).await;
        let networks = self.uuids("/networks", |_| true).await;
        let body = json!({
            "template": template[0], "name_label": "alive", "networks": [networks[0]],
            "disks": [{"virtual_size": 1_u64 << 30}],
        });
        self.made("createVm", "", body).await
    }

    async fn power(&self) {
        let vm = &*self.vm().await;
        self.change("patchVm", vm, "VM.set_name_label", json!({"name_label": "living"})).await;
        self.step("startVm", vm, json!({"start_paused": true})).await;
        self.is(vm, "Paused").await;
        self.step("unpauseVm", vm, json!({})).await;
        self.step("pauseVm", vm, Json::Null).await;
        self.step("unpauseVm", vm, Json::Null).await;
        let host = self.get(&format!("/vms/{vm}")).await["resident_on"].clone();
        let others = self.uuids("/hosts", |one| one["uuid"] != host).await;
        let host = host.as_str().expect("a host");
        self.step("suspendVm", vm, Json::Null).await;
        self.is(vm, "Suspended").await;
        self.step("resumeVm", vm, Json::Null).await;
        self.step("suspendVm", vm, Json::Null).await;
        self.step("resumeVmOn", vm, json!({"host": host})).await;
        self.step("cleanRebootVm", vm, Json::Null).await;
        self.step("hardRebootVm", vm, Json::Null).await;
        self.step("poolMigrateVm", vm, json!({"host": others[0]})).await;
        assert_eq!(self.get(&format!("/vms/{vm}")).await["resident_on"], others[0]);
        self.step("cleanShutdownVm", vm, Json::Null).await;
        self.is(vm, "Halted").await;
        self.step("startVmOn", vm, json!({"host": host})).await;
        self.step("shutdownVm", vm, Json::Null).await;
        self.step("startVm", vm, Json::Null).await;
        self.step("hardShutdownVm", vm, Json::Null).await;
        self.step("destroyVm", vm, Json::Null).await;
        self.lab.get(&format!("/vms/{vm}"), &self.tokens["root"]).await.problem(404, "NOT_FOUND");
    }

    async fn copies(&self) {
        let vm = &*self.vm().await;
        let srs = self.get("/pools").await["items"][0]["default_SR"].clone();
        let clone = self.made("cloneVm", vm, json!({"new_name": "clone"})).await;
        let copy = self.made("copyVm", vm, json!({"new_name": "copy", "sr": srs})).await;
        self.step("startVm", vm, Json::Null).await;
        let snapshot = self.made("snapshotVm", vm, json!({"new_name": "before"})).await;
        let checkpoint = self.made("checkpointVm", vm, json!({"new_name": "with memory"})).await;
        let list = self.uuids(&format!("/vms/{vm}/snapshots"), |_| true).await;
        assert!(list.contains(&snapshot) && list.contains(&checkpoint), "{list:?}");
        let name = json!({"name_label": "then"});
        self.change("patchVmSnapshot", &snapshot, "VM.set_name_label", name).await;
        self.step("revertVm", &checkpoint, Json::Null).await;
        self.is(vm, "Suspended").await;
        self.step("revertVm", &snapshot, Json::Null).await;
        self.is(vm, "Halted").await;
        for snapshot in [snapshot, checkpoint] {
            self.step("destroyVmSnapshot", &snapshot, Json::Null).await;
        }
        for vm in [&clone, &copy] {
            self.step("destroyVm", vm, Json::Null).await;
        }
        let templates =
            self.uuids("/vm-templates", |one| one["other_config"].get("disks").is_none()).await;
        let made = self.made("cloneVm", &templates[0], json!({"new_name": "from template"})).await;
        let name = json!({"name_label": "mine"});
        self.change("patchVmTemplate", &made, "VM.set_name_label", name).await;
        self.step("provisionVm", &made, Json::Null).await;
        self.step("destroyVm", &made, Json::Null).await;
        let made = self.made("cloneVm", &templates[0], json!({"new_name": "one more"})).await;
        self.step("destroyVmTemplate", &made, Json::Null).await;
    }

    async fn disks(&self) {
        let vm = &*self.vm().await;
        self.step("startVm", vm, Json::Null).await;
        let body = json!({"virtual_size": 1_u64 << 30, "name_label": "data"});
        let vdi = &*self.made("createVdi", "", body).await;
        let sr = self.get(&format!("/vdis/{vdi}")).await["SR"].clone();
        self.change("patchVdi", vdi, "VDI.set_name_label", json!({"name_label": "more"})).await;
        let vbd = &*self.made("createVbd", "", json!({"VM": vm, "VDI": vdi})).await;
        self.step("assertVbdAttachable", vbd, Json::Null).await;
        self.step("plugVbd", vbd, Json::Null).await;
        self.step("unplugVbd", vbd, Json::Null).await;
        self.step("plugVbd", vbd, Json::Null).await;
        self.step("unplugForceVbd", vbd, Json::Null).await;
        let config = json!({"other_config": {"mine": "1"}});
        self.change("patchVbd", vbd, "VBD.add_to_other_config", config).await;

        let isos = self.uuids("/srs", |sr| sr["content_type"] == "iso").await;
        let iso = self.uuids("/vdis", |vdi| isos.iter().any(|sr| vdi["SR"] == **sr)).await;
        let drive = &*self.made("createVbd", "", json!({"VM": vm})).await;
        self.step("insertVbd", drive, json!({"vdi": iso[0]})).await;
        self.step("ejectVbd", drive, Json::Null).await;
        self.step("hardShutdownVm", vm, Json::Null).await;
        self.step("setVbdMode", vbd, json!({"value": "RO"})).await;
        for vbd in [vbd, drive] {
            self.step("destroyVbd", vbd, Json::Null).await;
        }

        let mut made = vec![self.made("snapshotVdi", vdi, Json::Null).await];
        made.push(self.made("cloneVdi", vdi, Json::Null).await);
        made.push(self.made("copyVdi", vdi, json!({"sr": sr})).await);
        self.step("resizeVdi", vdi, json!({"size": 2_u64 << 30})).await;
        assert_eq!(self.get(&format!("/vdis/{vdi}")).await["virtual_size"], 2_u64 << 30);
        self.step("updateVdi", vdi, Json::Null).await;
        made.push(vdi.to_owned());
        for vdi in made {
            self.step("destroyVdi", &vdi, Json::Null).await;
        }
        self.step("destroyVm", vm, Json::Null).await;
    }

    async fn nics(&self) {
        let vm = &*self.vm().await;
        self.step("startVm", vm, Json::Null).await;
        let networks = self.uuids("/networks", |_| true).await;
        let vif = &*self.made("createVif", "", json!({"VM": vm, "network": networks[0]})).await;
        self.step("plugVif", vif, Json::Null).await;
        self.step("moveVif", vif, json!({"network": networks[1]})).await;
        self.step("unplugVif", vif, Json::Null).await;
        self.step("plugVif", vif, Json::Null).await;
        self.step("unplugForceVif", vif, Json::Null).await;
        self.step("setVifLockingMode", vif, json!({"value": "locked"})).await;
        self.step("setVifIpv4Allowed", vif, json!({"value": ["192.0.2.1"]})).await;
        self.step("addVifIpv4Allowed", vif, json!({"value": "192.0.2.2"})).await;
        self.step("removeVifIpv4Allowed", vif, json!({"value": "192.0.2.1"})).await;
        assert_eq!(self.get(&format!("/vifs/{vif}")).await["ipv4_allowed"], json!(["192.0.2.2"]));
        let config = json!({"other_config": {"mine": "1"}});
        self.change("patchVif", vif, "VIF.add_to_other_config", config).await;
        self.step("destroyVif", vif, Json::Null).await;
        self.step("hardShutdownVm", vm, Json::Null).await;
        self.step("destroyVm", vm, Json::Null).await;
    }

    async fn tasks(&self) {
        let task = self.made("createTask", "", json!({"label": "mine", "description": "x"})).await;
        let config = json!({"other_config": {"mine": "1"}});
        self.change("patchTask", &task, "task.add_to_other_config", config).await;
        self.step("destroyTask", &task, Json::Null).await;

        let vm = &*self.vm().await;
        self.lab.sim.hold_tasks("VM.start");
        let start = format!("/vms/{vm}/actions/start");
        let owner = "vm-operator";
        let answer = self.lab.gate.post(&start, Some(&self.tokens[owner]), &json!({})).await;
        assert_eq!(answer.status, 202, "{}", answer.json());
        let task = answer.json()["uuid"].as_str().expect("a uuid").to_owned();
        self.step_as(owner, "cancelTask", &task, Json::Null).await;
        self.lab.sim.release_tasks("VM.start");
        let path = format!("/tasks/{task}?wait=30");
        let ended = self.lab.get(&path, &self.tokens[owner]).await.ok();
        assert!(["cancelled", "success"].contains(&ended["status"].as_str().expect("text")));
        self.step_as(owner, "destroyTask", &task, Json::Null).await;
        self.lab.get(&path, &self.tokens[owner]).await.problem(404, "NOT_FOUND");
    }
}

fn operation(id: &str) -> &'static Endpoint {
    let found = api::endpoints().iter().find(|operation| operation.id == id);
    found.unwrap_or_else(|| panic!("{id} is no operation"))
}

#[tokio::test]
async fn lives_are_lived_by_whom_the_datamodel_lets_live_them() {
    let life = Life::begin().await;
    life.power().await;
    life.copies().await;
    life.disks().await;
    life.nics().await;
    life.tasks().await;
    let lived = life.end().await;
    let changes = api::endpoints()
        .iter()
        .filter(|operation| operation.method_name() != "GET" && CLASSES.contains(&&*operation.tag));
    let left: BTreeSet<&str> =
        changes.map(|operation| &*operation.id).filter(|id| !lived.contains(*id)).collect();
    let known: BTreeSet<&str> = NO_STEPS.iter().copied().collect();
    let new: Vec<_> = left.difference(&known).collect();
    let gone: Vec<_> = known.difference(&left).collect();
    assert!(new.is_empty(), "steps of a life, or none? {new:?}");
    assert!(gone.is_empty(), "lived by now, or no operations: {gone:?}");
}
