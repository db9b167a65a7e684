//! Which objects are told of, and which of their fields.

use serde_json::{Value, json};
use xengate::sim::Value as SimValue;

use super::client::Stream;
use super::{a_vm, rename};
use crate::lab::Lab;

fn told(event: &Value) -> (&str, &str) {
    (event["event"].as_str().expect("a name"), event["data"]["uuid"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn who_comes_to_fit_is_added_and_who_no_longer_does_is_gone() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let uuid = a_vm(&lab, &token).await;
    let path = "/events?classes=VM&snapshot=true&filter=name_label%20~%20%22spec-*%22";
    let mut stream = Stream::open(&lab, path, &token).await;
    let (all, _) = stream.snapshot().await;
    assert!(all.is_empty(), "{all:?}");
    rename(&lab, &uuid, "spec-1");
    let event = stream.next().await;
    assert_eq!(told(&event), ("add", uuid.as_str()));
    assert_eq!(event["data"]["changed"], json!([]), "it is new to this client");
    rename(&lab, &uuid, "spec-2");
    assert_eq!(told(&stream.next().await), ("mod", uuid.as_str()));
    let mut late = Stream::open(&lab, path, &token).await;
    let (all, _) = late.snapshot().await;
    assert_eq!(all.iter().map(told).collect::<Vec<_>>(), [("add", uuid.as_str())]);
    rename(&lab, &uuid, "db-1");
    for stream in [&mut stream, &mut late] {
        let event = stream.next().await;
        assert_eq!(told(&event), ("del", uuid.as_str()));
        assert_eq!(event["data"]["object"], Value::Null);
    }
    drop((stream, late));
    lab.end().await;
}

#[tokio::test]
async fn what_changes_through_another_object_is_noticed() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let uuid = a_vm(&lab, &token).await;
    let vm = lab.get(&format!("/vms/{uuid}"), &token).await.ok();
    let metrics = vm["metrics"].as_str().expect("a uuid").to_owned();
    let count = |count: i64| {
        lab.sim
            .set_field("VM_metrics", &metrics, "VCPUs_number", SimValue::Int(count))
            .expect("set");
    };
    count(1);
    let path = "/events?classes=VM&filter=metrics.VCPUs_number%20=%2077";
    let mut stream = Stream::open(&lab, path, &token).await;
    stream.ready().await;
    count(77);
    let event = stream.next().await;
    assert_eq!(told(&event), ("add", uuid.as_str()), "the VM itself has not changed");
    assert_eq!(event["data"]["object"], lab.get(&format!("/vms/{uuid}"), &token).await.ok());
    let id = stream.last_id().expect("an id").to_owned();
    count(2);
    assert_eq!(told(&stream.next().await), ("del", uuid.as_str()));
    // A client that was away then is told the same.
    let mut again = Stream::again(&lab, path, &token, &id).await;
    assert_eq!(told(&again.next().await), ("del", uuid.as_str()));
    again.ready().await;
    drop((stream, again));
    lab.end().await;
}

#[tokio::test]
async fn a_vm_that_becomes_a_template_moves_from_one_collection_to_the_other() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let uuid = a_vm(&lab, &token).await;
    let mut machines = Stream::open(&lab, "/events?collections=vms", &token).await;
    let mut templates = Stream::open(&lab, "/events?collections=vm-templates", &token).await;
    let mut both = Stream::open(&lab, "/events?classes=VM", &token).await;
    for stream in [&mut machines, &mut templates, &mut both] {
        stream.ready().await;
    }
    let mark =
        |yes| lab.sim.set_field("VM", &uuid, "is_a_template", SimValue::Bool(yes)).expect("set");
    mark(true);
    assert_eq!(told(&machines.next().await), ("del", uuid.as_str()));
    assert_eq!(told(&templates.next().await), ("add", uuid.as_str()));
    let event = both.next().await;
    assert_eq!(told(&event), ("mod", uuid.as_str()));
    assert_eq!(event["data"]["changed"], json!(["is_a_template"]));
    mark(false);
    assert_eq!(told(&machines.next().await), ("add", uuid.as_str()));
    assert_eq!(told(&templates.next().await), ("del", uuid.as_str()));
    drop((machines, templates, both));
    lab.end().await;
}

#[tokio::test]
async fn a_choice_of_fields_is_told_of_and_nothing_else() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let uuid = a_vm(&lab, &token).await;
    let path = "/events?classes=VM,host&snapshot=true&fields=power_state,name_label";
    let mut stream = Stream::open(&lab, path, &token).await;
    let (all, _) = stream.snapshot().await;
    for event in &all {
        let object = event["data"]["object"].as_object().expect("an object");
        let names: Vec<&str> = object.keys().map(String::as_str).collect();
        let known = ["backend", "name_label", "power_state", "uuid"];
        assert!(names.iter().all(|name| known.contains(name)), "{names:?}");
        assert_eq!(names.contains(&"power_state"), event["data"]["class"] == "VM", "{event}");
    }
    // A change to another field is none for this client.
    let describe = SimValue::text("not told");
    lab.sim.set_field("VM", &uuid, "name_description", describe).expect("set");
    let path = format!("/vms/{uuid}");
    lab.until(&path, &token, |answer| answer.json()["name_description"] == "not told").await;
    rename(&lab, &uuid, "told");
    let event = stream.next().await;
    assert_eq!(event["data"]["changed"], json!(["name_label"]));
    assert_eq!(event["data"]["object"]["name_label"], "told");
    assert!(event["data"]["object"]["name_description"].is_null());
    drop(stream);
    lab.end().await;
}
