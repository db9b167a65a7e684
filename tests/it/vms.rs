//! Lists, objects and metrics, in front of a simulated pool.

use std::collections::BTreeSet;

use serde_json::Value;
use uuid::Uuid;
use xengate::sim::Value as SimValue;

use crate::lab::{BACKEND, Lab};

fn uuids(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().expect("items");
    items.iter().map(|item| item["uuid"].as_str().expect("a uuid").to_owned()).collect()
}

#[tokio::test]
async fn a_caller_logs_in_lists_vms_and_reads_metrics() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let list = lab.get("/vms", &token).await.ok();
    let items = list["items"].as_array().expect("items");
    assert_eq!(list["total"], items.len());
    assert_eq!(list["next"], Value::Null);
    assert!(list.get("partial").is_none());
    let running = items
        .iter()
        .find(|vm| vm["power_state"] == "Running" && vm["is_control_domain"] == false)
        .expect("a VM that runs");
    assert_eq!(running["backend"], BACKEND);
    for (field, is_typed) in [
        ("memory_static_max", running["memory_static_max"].is_u64()),
        ("is_a_template", running["is_a_template"].is_boolean()),
        ("tags", running["tags"].is_array()),
        ("other_config", running["other_config"].is_object()),
        ("affinity", running["affinity"].is_null() || running["affinity"].is_string()),
    ] {
        assert!(is_typed, "{field}: {}", running[field]);
    }
    let uuid = running["uuid"].as_str().expect("a uuid");
    assert_eq!(&lab.get(&format!("/vms/{uuid}"), &token).await.ok(), running);

    let metrics = lab.get(&format!("/vms/{uuid}/metrics"), &token).await.ok();
    assert_eq!(metrics["uuid"], running["metrics"]);
    assert_eq!(metrics["guest"]["uuid"], running["guest_metrics"]);
    assert!(metrics["memory_actual"].is_u64());
    let started = metrics["start_time"].as_str().expect("a date");
    assert!(started.ends_with('Z') && started.as_bytes()[4] == b'-', "{started}");
    lab.end().await;
}

#[tokio::test]
async fn every_ref_is_the_uuid_of_an_object_that_is_there() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let vms = lab.get("/vms", &token).await.ok();
    let all = |list: Value| uuids(&list).into_iter().collect::<BTreeSet<_>>();
    let vbds = all(lab.get("/vbds", &token).await.ok());
    let hosts = all(lab.get("/hosts", &token).await.ok());
    let mut shown = 0;
    for vm in vms["items"].as_array().expect("items") {
        for vbd in vm["VBDs"].as_array().expect("a set") {
            assert!(vbds.contains(vbd.as_str().expect("a uuid")), "{vbd}");
            shown += 1;
        }
        if let Some(host) = vm["resident_on"].as_str() {
            assert!(hosts.contains(host), "{host}");
            shown += 1;
        }
    }
    assert!(shown > 10, "VMs have disks and hosts");
    lab.end().await;
}

#[tokio::test]
async fn templates_and_snapshots_are_collections_of_their_own() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let mut seen = BTreeSet::new();
    for (path, is_template, is_snapshot) in [
        ("/vms", Some(false), Some(false)),
        ("/vm-templates", Some(true), Some(false)),
        ("/vm-snapshots", None, Some(true)),
    ] {
        let list = lab.get(path, &token).await.ok();
        let items = list["items"].as_array().expect("items");
        assert!(!items.is_empty(), "{path}");
        for vm in items {
            if let Some(expected) = is_template {
                assert_eq!(vm["is_a_template"], expected, "{path}");
            }
            if let Some(expected) = is_snapshot {
                assert_eq!(vm["is_a_snapshot"], expected, "{path}");
            }
        }
        for uuid in uuids(&list) {
            // Whatever collection lists it, /vms/{uuid} answers for it.
            assert_eq!(lab.get(&format!("/vms/{uuid}"), &token).await.ok()["uuid"], uuid);
            assert!(seen.insert(uuid), "in two collections");
        }
    }
    assert_eq!(seen.len(), lab.sim.count("VM"));
    lab.end().await;
}

#[tokio::test]
async fn pages_hold_each_object_once_though_the_list_changes_in_between() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let before = uuids(&lab.get("/vms", &token).await.ok());
    let first = lab.get("/vms?limit=4", &token).await.ok();
    assert_eq!(first["total"], before.len());
    let mut seen = uuids(&first);
    assert_eq!(seen, before[..4]);
    // The last object of the first page goes, and one of a page to come.
    let (gone, later) = (seen[3].clone(), before[6].clone());
    for uuid in [&gone, &later] {
        lab.sim.destroy("VM", uuid).expect("destroyed");
    }
    lab.until("/vms", &token, |answer| answer.json()["total"] == before.len() - 2).await;
    let mut next = first["next"].as_str().map(str::to_owned);
    while let Some(cursor) = next {
        let page = lab.get(&format!("/vms?limit=4&cursor={cursor}"), &token).await.ok();
        seen.extend(uuids(&page));
        next = page["next"].as_str().map(str::to_owned);
    }
    let expected: Vec<String> = before.into_iter().filter(|uuid| *uuid != later).collect();
    assert_eq!(seen, expected);
    lab.end().await;
}

#[tokio::test]
async fn a_change_on_the_pool_shows() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let uuid = uuids(&lab.get("/vms?limit=1", &token).await.ok()).remove(0);
    lab.sim.set_field("VM", &uuid, "name_label", SimValue::text("renamed")).expect("set");
    let path = format!("/vms/{uuid}");
    lab.until(&path, &token, |answer| answer.json()["name_label"] == "renamed").await;
    lab.sim.destroy("VM", &uuid).expect("destroyed");
    lab.until(&path, &token, |answer| answer.status == 404).await.problem(404, "NOT_FOUND");
    lab.end().await;
}

#[tokio::test]
async fn a_backend_tells_what_it_is() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let path = "/backends";
    let list = lab.until(path, &token, |a| a.json()["items"][0]["state"] == "live").await.ok();
    let backend = &list["items"][0];
    assert_eq!((&list["total"], &backend["name"]), (&1.into(), &BACKEND.into()));
    assert_eq!(backend["kind"], "xapi");
    assert_eq!(backend["logged_in"], true);
    for text in ["product", "version", "api_version"] {
        assert!(backend[text].is_string(), "{text}: {backend}");
    }
    assert!(Uuid::try_parse(backend["pool"].as_str().expect("a pool")).is_ok());
    assert_eq!(backend["objects"]["VM"], lab.sim.count("VM"));
    lab.end().await;
}

#[tokio::test]
async fn what_belongs_to_an_object_is_listed_below_it() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let set = |value: &Value| -> BTreeSet<String> {
        value.as_array().expect("a set").iter().map(|v| v.as_str().expect("text").into()).collect()
    };
    let mut disks = 0;
    for vm in lab.get("/vms", &token).await.ok()["items"].as_array().expect("items") {
        let path = format!("/vms/{}/vbds", vm["uuid"].as_str().expect("a uuid"));
        let list = lab.get(&path, &token).await.ok();
        assert_eq!(uuids(&list).into_iter().collect::<BTreeSet<_>>(), set(&vm["VBDs"]));
        assert!(uuids(&list).is_sorted());
        disks += uuids(&list).len();
        let mut paged = Vec::new();
        let mut next = Some(format!("{path}?limit=1"));
        while let Some(page) = next {
            let page = lab.get(&page, &token).await.ok();
            assert_eq!(page["total"], list["total"]);
            paged.extend(uuids(&page));
            let cursor = page["next"].as_str();
            next = cursor.map(|cursor| format!("{path}?limit=1&cursor={cursor}"));
        }
        assert_eq!(paged, uuids(&list));
    }
    assert!(disks > 5, "VMs have disks");
    let pool = uuids(&lab.get("/pools", &token).await.ok()).remove(0);
    let hosts = uuids(&lab.get("/hosts", &token).await.ok());
    assert_eq!(uuids(&lab.get(&format!("/pools/{pool}/hosts"), &token).await.ok()), hosts);
    let nobody = "/vms/00000000-0000-0000-0000-000000000009/vbds";
    lab.get(nobody, &token).await.problem(404, "NOT_FOUND");
    lab.end().await;
}
