//! `POST /vms`: where a new VM's disks go, and whose fault it is when they cannot.

use reqwest::Method;
use serde_json::{Value as Json, json};
use xengate::sim::{Failure, Fault, NULL, Value};

use crate::lab::{Answer, Lab};

async fn order(lab: &Lab, token: &str, body: &Json) -> Answer {
    let request = lab.gate.request(Method::POST, "/vms").bearer_auth(token).json(body);
    lab.gate.send(request.header("Prefer", "wait=30")).await
}

/// A template that orders a disk and does not say where.
async fn a_template(lab: &Lab, token: &str) -> Json {
    let list = lab.get("/vm-templates", token).await.ok();
    let items = list["items"].as_array().expect("items");
    let orders = |template: &&Json| {
        let disks = template["other_config"]["disks"].as_str();
        disks.is_some_and(|disks| disks.contains("sr=\"\""))
    };
    items.iter().find(orders).expect("a template with a disk").clone()
}

/// Changes the pool's default SR, and waits until that can be seen.
async fn default_sr(lab: &Lab, token: &str, reference: &str, shown: &Json) {
    let pool = lab.sim.refs("pool").remove(0);
    lab.sim.set_field("pool", &pool, "default_SR", Value::text(reference)).expect("it is there");
    lab.until("/pools", token, |answer| answer.ok()["items"][0]["default_SR"] == *shown).await;
}

#[tokio::test]
async fn disks_that_name_no_sr_go_to_the_pools_default_one() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let template = a_template(&lab, &token).await["uuid"].clone();
    let default = lab.get("/pools", &token).await.ok()["items"][0]["default_SR"].clone();
    assert!(default.is_string());
    let body = json!({"template": template, "name_label": "plain"});
    let made = order(&lab, &token, &body).await;
    assert_eq!(made.status, 201, "{}", made.json());
    let vm = made.json()["uuid"].as_str().expect("the VM").to_owned();
    let vbds = lab.get(&format!("/vms/{vm}/vbds"), &token).await.ok();
    let vdis: Vec<&str> =
        vbds["items"].as_array().expect("items").iter().filter_map(|v| v["VDI"].as_str()).collect();
    assert_eq!(vdis.len(), 1, "{vbds}");
    let vdi = lab.get(&format!("/vdis/{}", vdis[0]), &token).await.ok();
    assert_eq!(vdi["SR"], default);
    assert_eq!(lab.sim.seen("Async.VM.clone"), 1);

    default_sr(&lab, &token, NULL, &Json::Null).await;
    let problem = order(&lab, &token, &body).await.problem(422, "WRONG_SHAPE");
    assert_eq!(problem["pointer"], "/sr", "{problem}");
    assert_eq!(lab.sim.seen("Async.VM.clone"), 1, "nothing was sent");
    // Whoever says where needs no default.
    let body = json!({"template": template, "name_label": "placed", "sr": default});
    assert_eq!(order(&lab, &token, &body).await.status, 201);
    lab.end().await;
}

#[tokio::test]
async fn what_a_template_names_and_is_not_there_is_the_templates_fault() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let template = a_template(&lab, &token).await["uuid"].clone();
    let path = format!("/vm-templates/{}", template.as_str().expect("a uuid"));
    let disks = |sr: &str| {
        let xml = format!(
            "<provision><disk device=\"0\" size=\"1\" sr=\"{sr}\" bootable=\"true\"/></provision>"
        );
        Value::pairs([("disks", xml)])
    };
    let reference = lab.sim.find("VM", template.as_str().expect("a uuid")).expect("a template");
    let body = json!({"template": template, "name_label": "x"});
    for sr in ["5bdf5f35-0b92-d5e5-d63b-7b91cb99cef4", "Local storage"] {
        lab.sim.set_field("VM", &reference, "other_config", disks(sr)).expect("it is there");
        let shown = |answer: &Answer| {
            answer.ok()["other_config"]["disks"].as_str().is_some_and(|disks| disks.contains(sr))
        };
        lab.until(&path, &token, shown).await;
        let problem = order(&lab, &token, &body).await.problem(422, "WRONG_SHAPE");
        assert_eq!(problem["pointer"], "/template", "{problem}");
    }
    lab.sim.set_field("VM", &reference, "other_config", disks("")).expect("it is there");
    let shown = |answer: &Answer| {
        answer.ok()["other_config"]["disks"].as_str().is_some_and(|disks| disks.contains("sr=\"\""))
    };
    lab.until(&path, &token, shown).await;
    // The same, found out too late.
    for (code, params) in [
        ("UUID_INVALID", vec!["sr", "5bdf5f35-0b92-d5e5-d63b-7b91cb99cef4"]),
        ("HANDLE_INVALID", vec!["SR", "OpaqueRef:gone"]),
    ] {
        lab.sim.fault(Some("VM.provision"), Fault::Fail(Failure::new(code, params)), Some(1));
        let problem = order(&lab, &token, &body).await.problem(422, code);
        assert_eq!(problem["pointer"], "/template", "{problem}");
        assert_eq!(problem["task"]["error"]["status"], 422, "{problem}");
        assert!(problem["task"].get("left_behind").is_none(), "{problem}");
    }
    let sr = lab.get("/pools", &token).await.ok()["items"][0]["default_SR"].clone();
    let sr = sr.as_str().expect("a uuid");
    let gone = Failure::new("UUID_INVALID", ["sr", sr]);
    lab.sim.fault(Some("VM.provision"), Fault::Fail(gone), Some(1));
    let body = json!({"template": template, "name_label": "x", "sr": sr});
    let problem = order(&lab, &token, &body).await.problem(422, "UUID_INVALID");
    assert_eq!(problem["pointer"], "/sr", "{problem}");
    lab.end().await;
}
