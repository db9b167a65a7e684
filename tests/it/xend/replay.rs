//! Every VM that was recorded appears, typed, and nothing of it is lost.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::{Value, json};
use xengate::config::Kind;

use super::server::{Server, recorded, success};
use super::{USER, USERS_PASSWORD, gate};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/xend/recorded").join(name)
}

/// The uuids and names of the VMs in a recorded reply, read by other means than the gateway's.
fn vms_in(name: &str, uuid_before: &str, name_before: &str) -> BTreeSet<(String, String)> {
    let reply = recorded(name);
    let text: String = reply.iter().map(|byte| char::from(*byte)).collect();
    let after = |from: usize, what: &str| -> Option<(usize, String)> {
        let at = from + text[from..].find(what)? + what.len();
        let rest = text[at..].strip_prefix("<string>")?;
        Some((at, rest.split_once("</string>")?.0.to_owned()))
    };
    let mut names = Vec::new();
    let mut at = 0;
    while let Some((next, name)) = after(at, name_before) {
        names.push(name);
        at = next;
    }
    let mut uuids = Vec::new();
    at = 0;
    while let Some((next, uuid)) = after(at, uuid_before) {
        uuids.push(uuid);
        at = next;
    }
    assert_eq!(names.len(), uuids.len(), "{name}");
    uuids.into_iter().zip(names).collect()
}

fn shown(list: &Value) -> BTreeSet<(String, String)> {
    let items = list["items"].as_array().expect("items");
    let text = |vm: &Value, field: &str| vm[field].as_str().expect(field).to_owned();
    items.iter().map(|vm| (text(vm, "uuid"), text(vm, "name_label"))).collect()
}

/// The fields that every VM of xend's has are of the types that the datamodel says.
fn typed(vm: &Value) {
    for field in ["domid", "memory_static_max", "memory_dynamic_max", "VCPUs_max"] {
        assert!(vm[field].is_i64(), "{field}: {vm}");
    }
    for field in ["is_a_template", "is_control_domain"] {
        assert!(vm[field].is_boolean(), "{field}: {vm}");
    }
    for field in ["VIFs", "VBDs", "consoles"] {
        assert!(vm[field].is_array(), "{field}: {vm}");
    }
    let states = ["Running", "Halted", "Paused", "Suspended", "Crashed", "Unknown"];
    assert!(states.contains(&vm["power_state"].as_str().expect("a state")), "{vm}");
    assert!(vm.get("allowed_operations").is_none(), "what is absent is not invented");
    assert!(vm.get("metrics").is_some(), "{vm}");
}

#[tokio::test]
async fn every_vm_of_a_recorded_xend_is_there_and_typed() {
    for name in ["502-st-recs", "515-VM-preserved-record", "523-all"] {
        let server = Server::xen_api().await;
        server.says("VM.get_all_records", recorded(name));
        let gate = gate(&server.url, Kind::Xend, |_| {}).await;
        let token = gate.login(USER, USERS_PASSWORD).await;
        let list = gate.get("/vms", &token).await;
        assert!(list.header("age").is_some() && list.header("xen-stale").is_none());
        let list = list.ok();
        let uuid = "<member>\n<name>uuid</name>\n<value>";
        let label = "<member>\n<name>name_label</name>\n<value>";
        assert_eq!(shown(&list), vms_in(name, uuid, label), "{name}");
        list["items"].as_array().expect("items").iter().for_each(typed);
        let dom0 = gate.get("/vms/00000000-0000-0000-0000-000000000000", &token).await.ok();
        assert_eq!((&dom0["domid"], &dom0["is_control_domain"]), (&json!(0), &json!(true)));
        gate.end(&["e82f69ba-0c19-8b44-1b42-a1861412d9a4".to_owned()]).await;
        only_known_calls(&server);
    }
}

/// Nothing was ever sent that is not a call of the datamodel.
fn only_known_calls(server: &Server) {
    for call in server.asked() {
        assert!(xengate::datamodel::datamodel().call(&call).is_some(), "{call} was sent");
        assert!(!call.starts_with("event."), "{call} was sent");
    }
}

#[tokio::test]
async fn the_other_classes_are_there_with_their_relations() {
    let server = Server::xen_api().await;
    let gate = gate(&server.url, Kind::Auto, |_| {}).await;
    let token = gate.login(USER, USERS_PASSWORD).await;
    let vms = gate.get("/vms", &token).await.ok();
    let backends = gate.get("/backends", &token).await.ok();
    assert_eq!(backends["items"][0]["kind"], "xend", "auto found out");
    assert_eq!(backends["items"][0]["capabilities"], json!([]));
    let lacks = &backends["items"][0]["lacks"];
    let lacks = |what: &str, name: &str| lacks[what].as_array().expect(what).contains(&json!(name));
    assert!(lacks("calls", "VM.snapshot") && lacks("classes", "pool"));
    assert!(!lacks("calls", "VM.start") && !lacks("calls", "VM.set_memory"));
    assert!(!lacks("classes", "VIF"));
    for (path, count) in [
        ("/vifs", 9),
        ("/vif-metrics", 9),
        ("/vbd-metrics", 2),
        ("/networks", 1),
        ("/srs", 2),
        ("/consoles", 8),
        ("/host-cpus", 4),
        ("/vm-metrics", 10),
        ("/tasks", 10),
        ("/pools", 0),
    ] {
        let list = gate.until(path, &token, |answer| answer.json()["total"] == count).await.ok();
        assert_eq!(list["items"].as_array().map(Vec::len), Some(count), "{path}");
    }
    let vif = gate.get("/vifs", &token).await.ok()["items"][0].clone();
    assert_eq!(vif["metrics"], vif["uuid"], "xend's own manner");
    assert!(vif["network"].is_string() && vif["MTU"] == 1500, "{vif}");
    let task = gate.get("/tasks", &token).await.ok()["items"][0].clone();
    assert!(task.get("session").is_none(), "{task}");
    let vm = &vms["items"].as_array().expect("items")[1];
    let path = format!("/vms/{}/metrics", vm["uuid"].as_str().expect("one"));
    assert_eq!(gate.get(&path, &token).await.status, 200);
    gate.end(&["e82f69ba-0c19-8b44-1b42-a1861412d9a4".to_owned()]).await;
    only_known_calls(&server);
}

#[tokio::test]
async fn what_vanishes_while_it_is_read_fails_nothing() {
    let server = Server::xen_api().await;
    // One of eleven is nil, and asked for by itself it is gone.
    let name = "614-race-VM-get_all_records-one-vanished";
    server.says("VM.get_all_records", recorded(name));
    server.says("VM.get_record", recorded("023-api-VM-get_record-bad"));
    let gate = gate(&server.url, Kind::Xend, |_| {}).await;
    let token = gate.login(USER, USERS_PASSWORD).await;
    let uuid = "<member>\n<name>uuid</name>\n<value>";
    let label = "<member>\n<name>name_label</name>\n<value>";
    let list = gate.get("/vms", &token).await.ok();
    assert_eq!(shown(&list), vms_in(name, uuid, label));
    gate.until("/vms", &token, |_| server.count("VM.get_record") == 1).await;
    gate.end(&[]).await;
}

#[tokio::test]
async fn a_class_that_cannot_be_read_costs_the_others_nothing() {
    let server = Server::xen_api().await;
    // The first of the slow classes, and one in their midst.
    server.says("host.get_all_records", recorded("051-api-host-get_logging-TODO"));
    server.says("network.get_all_records", recorded("032-api-VM-get_tools_version"));
    let gate = gate(&server.url, Kind::Xend, |_| {}).await;
    let token = gate.login(USER, USERS_PASSWORD).await;
    assert_eq!(gate.get("/vms", &token).await.ok()["total"], 10);
    for (path, total) in [("/vifs", 9), ("/tasks", 10), ("/networks", 0)] {
        gate.until(path, &token, |answer| answer.json()["total"] == total).await;
    }
    let backends = gate.get("/backends", &token).await.ok();
    assert_eq!(backends["items"][0]["state"], "live", "{backends}");
    gate.end(&[]).await;
}

#[tokio::test]
async fn sloppy_bytes_are_kept() {
    let server = Server::xen_api().await;
    let mut reply = recorded("502-st-recs");
    // As in the recordings of sloppy bytes: Latin-1 and control characters in a kernel's arguments.
    let plain = b"root=/dev/xvda1 ro";
    let sloppy = b"caf\xe9=\x01a\x08\xff xx\xe4 ro42";
    assert_eq!(plain.len(), sloppy.len());
    let at = reply.windows(plain.len()).position(|bytes| bytes == plain).expect("arguments");
    reply[at..at + plain.len()].copy_from_slice(sloppy);
    server.says("VM.get_all_records", reply);
    let gate = gate(&server.url, Kind::Xend, |_| {}).await;
    let token = gate.login(USER, USERS_PASSWORD).await;
    let list = gate.get("/vms", &token).await.ok();
    assert_eq!(list["total"], 10);
    let arguments = "caf\u{e9}=\u{1}a\u{8}\u{ff} xx\u{e4} ro42";
    let vms = list["items"].as_array().expect("items");
    assert!(vms.iter().any(|vm| vm["PV_args"] == arguments), "{list}");
    let pci: Vec<&Value> = vms.iter().filter_map(|vm| vm["platform"].get("pci")).collect();
    assert!(!pci.is_empty() && pci.iter().all(|pci| pci.is_string()), "an array in a map");
    gate.end(&[]).await;
}

#[tokio::test]
async fn every_domain_of_the_legacy_dialect_is_a_vm() {
    let server = Server::legacy().await;
    let gate = gate(&server.url, Kind::Auto, |_| {}).await;
    let token = gate.login(USER, USERS_PASSWORD).await;
    let list = gate.get("/vms", &token).await.ok();
    assert_eq!(gate.get("/backends", &token).await.ok()["items"][0]["kind"], "legacy");
    let member = "<value><array><data>\n<value><string>{}</string></value>\n<value>";
    let (uuid, name) = (member.replace("{}", "uuid"), member.replace("{}", "name"));
    let vms = shown(&list);
    // Devices have uuids too.
    let uuids: BTreeSet<String> = uuids_in("185-leg-domains_with_state-all", &uuid);
    assert!(vms.iter().all(|(uuid, _)| uuids.contains(uuid)));
    let names = uuids_in("185-leg-domains_with_state-all", &name);
    assert_eq!(vms.iter().map(|(_, name)| name.clone()).collect::<BTreeSet<_>>(), names);
    assert_eq!(list["total"], 9);
    list["items"].as_array().expect("items").iter().for_each(typed);

    let running = list["items"].as_array().expect("items").iter();
    let mut running = running.filter(|vm| vm["power_state"] == "Running" && vm["domid"] != 0);
    let vm = running.next_back().expect("a running one");
    let path = format!("/vms/{}", vm["uuid"].as_str().expect("a uuid"));
    assert!(vm.get("xend_sxp").is_none(), "not in lists");
    let whole = gate.get(&path, &token).await.ok();
    assert_eq!(whole["xend_sxp"][0], "domain");
    let request = gate.request(Method::GET, &path).bearer_auth(&token);
    let sxp = gate.send(request.header("accept", "application/sxp")).await;
    assert_eq!(sxp.header("content-type"), Some("application/sxp"));
    let text = String::from_utf8(sxp.body).expect("UTF-8");
    assert!(text.starts_with("(domain") && text.contains("(uuid "), "{text}");
    let metrics = gate.get(&format!("{path}/metrics"), &token).await.ok();
    assert!(metrics["cpu_time"].is_f64() && metrics["memory_actual"].is_i64(), "{metrics}");
    assert!(metrics["state"].is_array(), "{metrics}");
    let hosts = gate.until("/hosts", &token, |answer| answer.json()["total"] == 1).await.ok();
    let request = gate.request(Method::GET, "/hosts").bearer_auth(&token);
    gate.send(request.header("accept", "application/sxp")).await.problem(406, "NOT_ACCEPTABLE");
    let host = format!("/hosts/{}", hosts["items"][0]["uuid"].as_str().expect("a uuid"));
    let request = gate.request(Method::GET, &host).bearer_auth(&token);
    gate.send(request.header("accept", "application/sxp")).await.problem(406, "NOT_ACCEPTABLE");
    gate.end(&[]).await;
}

/// The actions that a xend can be asked for in either dialect, and a body for each.
fn action(method: &str) -> Option<(&'static str, Value)> {
    Some(match method {
        "VM.pause" | "xend.domain.pause" => ("pause", json!({})),
        "VM.start" => ("start", json!({})),
        "VM.suspend" => ("suspend", json!({})),
        "VM.clean_shutdown" | "xend.domain.shutdown" => ("clean_shutdown", json!({})),
        "VM.hard_reboot" => ("hard_reboot", json!({})),
        "VM.set_VCPUs_number_live" => ("set_VCPUs_number_live", json!({"nvcpu": 9})),
        "xend.domain.destroy" => ("hard_shutdown", json!({})),
        "xend.domain.setMemoryTarget" => ("set_memory_target_live", json!({"target": 1_i64 << 40})),
        _ => return None,
    })
}

#[tokio::test]
async fn every_recorded_failure_of_what_is_asked_of_a_vm_is_a_problem_of_its_own() {
    let mut names: Vec<String> = fs::read_dir(fixture(""))
        .expect("the recordings")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter_map(|name| name.strip_suffix(".resp").map(str::to_owned))
        // A method that the gateway never sends to such a listener.
        .filter(|name| !name.ends_with("NO-SESSION"))
        .collect();
    names.sort();
    let (api, legacy) = (Server::xen_api().await, Server::legacy().await);
    let gates =
        [gate(&api.url, Kind::Xend, |_| {}).await, gate(&legacy.url, Kind::Legacy, |_| {}).await];
    let mut tokens = Vec::new();
    for gate in &gates {
        tokens.push(gate.login(USER, USERS_PASSWORD).await);
        gate.get("/vms", &tokens[tokens.len() - 1]).await.ok();
    }
    let web01 = "02e009d1-f691-2bde-f9b4-82605834ac6e";
    legacy.says("xend.domain", recorded("171-leg-domain-name-0"));
    api.says("VM.get_power_state", success("Halted"));
    let mut seen = 0;
    for name in names {
        let reply = recorded(&name);
        let text = String::from_utf8_lossy(&reply).into_owned();
        let failed = text.contains("ErrorDescription") || text.contains("<fault>");
        let request = fs::read(fixture(&format!("{name}.req"))).unwrap_or_default();
        let request = String::from_utf8_lossy(&request).into_owned();
        let method = request.split_once("<methodName>").and_then(|it| it.1.split_once('<'));
        let Some((method, (action, body))) =
            method.and_then(|(method, _)| Some((method, action(method)?))).filter(|_| failed)
        else {
            continue;
        };
        seen += 1;
        let old = usize::from(method.starts_with("xend."));
        let server = [&api, &legacy][old];
        server.says(method, reply);
        let path = format!("/vms/{web01}/actions/{action}");
        let asked = gates[old].request(Method::POST, &path).bearer_auth(&tokens[old]);
        let answer = gates[old].send(asked.header("prefer", "wait=20").json(&body)).await;
        let problem = answer.json();
        let (status, code) = (answer.status.as_u16(), problem["code"].as_str().expect("a code"));
        let wanted = match () {
            () if text.contains("HANDLE_INVALID") || text.contains("<int>3</int>") => 404,
            () if ["MISMATCH", "Invalid reason", "less than or"]
                .iter()
                .any(|it| text.contains(it)) =>
            {
                422
            }
            () => 409,
        };
        assert_eq!(status, wanted, "{name}: {problem}");
        assert_eq!(problem["task"]["status"], "failure", "{name}");
        assert_ne!(code, "INTERNAL_ERROR", "{name}");
    }
    assert!(seen >= 16, "{seen} of them");
    // xend's tasks cannot be cancelled, and are never removed.
    let its_own = recorded("149-api-task-get_all_records");
    let its_own = String::from_utf8_lossy(&its_own).into_owned();
    let listed = gates[0].until("/tasks?limit=100", &tokens[0], |tasks| {
        tasks.json()["items"].as_array().is_some_and(|all| {
            all.iter().any(|task| task["uuid"].as_str().is_some_and(|uuid| its_own.contains(uuid)))
        })
    });
    let listed = listed.await.ok();
    let mut uuids = listed["items"].as_array().into_iter().flatten();
    let task = uuids.find_map(|task| task["uuid"].as_str().filter(|uuid| its_own.contains(*uuid)));
    let path = format!("/tasks/{}", task.expect("one of xend's"));
    api.says("task.cancel", recorded("135-api-task-cancel"));
    let cancel = format!("{path}/actions/cancel");
    let cancelled = gates[0].post(&cancel, Some(&tokens[0]), &json!({})).await;
    cancelled.problem(409, "OPERATION_NOT_ALLOWED");
    let remove = gates[0].request(Method::DELETE, &path).bearer_auth(&tokens[0]);
    gates[0].send(remove).await.problem(501, "NOT_SUPPORTED");
    for gate in gates {
        gate.end(&[]).await;
    }
}

fn uuids_in(name: &str, before: &str) -> BTreeSet<String> {
    let text: String = recorded(name).iter().map(|byte| char::from(*byte)).collect();
    text.match_indices(before)
        .filter_map(|(at, _)| {
            let rest = text[at + before.len()..].strip_prefix("<string>")?;
            Some(rest.split_once("</string>")?.0.to_owned())
        })
        .collect()
}
