//! Calls that read and write.

use serde_json::{Value as Json, json};
use xengate::datamodel::{State, datamodel};

use super::client::{Client, start};

#[tokio::test]
async fn records_are_found_in_every_way() {
    let sim = start(5);
    let client = Client::logged_in(&sim, "root").await;
    let all = client.call("VM.get_all_records", json!([])).await.expect("records");
    let all = all.as_object().expect("records");
    assert_eq!(all.len(), sim.count("VM"));
    let refs = client.call("VM.get_all", json!([])).await.expect("refs");
    assert_eq!(refs.as_array().map(Vec::len), Some(all.len()));
    let (reference, record) =
        all.iter().find(|(_, record)| record["name_label"] == "db-0002").expect("the second VM");
    assert!(!reference.contains(record["uuid"].as_str().expect("a uuid")));
    let by_uuid = client.call("VM.get_by_uuid", json!([record["uuid"]])).await;
    assert_eq!(by_uuid, Ok(json!(reference)));
    let by_name = client.call("VM.get_by_name_label", json!(["db-0002"])).await;
    assert_eq!(by_name, Ok(json!([reference])));
    assert_eq!(client.call("VM.get_record", json!([reference])).await.as_ref(), Ok(record));
    let expression = r#"field "name__label"="db-0002""#;
    let found = client.call("VM.get_all_records_where", json!([expression])).await;
    assert_eq!(found, Ok(json!({ reference: record })));
    for (field, value) in record.as_object().expect("a record") {
        let call = format!("VM.get_{field}");
        let got = client.call(&call, json!([reference])).await;
        // Records go on having what has no getter any more.
        let removed =
            datamodel().call(&call).expect("a getter").1.lifecycle.state == State::Removed;
        let gone = json!(["MESSAGE_REMOVED"]);
        assert_eq!(got.as_ref(), if removed { Err(&gone) } else { Ok(value) }, "{field}");
    }
}

#[tokio::test]
async fn every_class_that_lists_its_objects_does() {
    let sim = start(3);
    let client = Client::logged_in(&sim, "pool-admin").await;
    for class in datamodel().classes.iter().filter(|class| class.get_all) {
        let listed = client.call(&format!("{}.get_all_records", class.name), json!([])).await;
        if class.lifecycle.state == State::Removed {
            assert_eq!(listed, Err(json!(["MESSAGE_REMOVED"])), "{}", class.name);
            continue;
        }
        let listed = listed.expect("records");
        let count = listed.as_object().map(serde_json::Map::len);
        assert_eq!(count, Some(sim.count(&class.name)), "{}", class.name);
    }
}

#[tokio::test]
async fn setters_change_fields_as_xapi_does() {
    let sim = start(1);
    let client = Client::logged_in(&sim, "root").await;
    let vm = sim.find("VM", "web-0001").expect("a VM").to_string();
    let set = |call: &'static str, args: Json| {
        let (client, vm) = (&client, vm.clone());
        async move {
            let mut all = vec![json!(vm)];
            all.extend(args.as_array().expect("arguments").iter().cloned());
            client.call(call, Json::Array(all)).await
        }
    };
    let get = |field: &'static str| {
        let (client, vm) = (&client, vm.clone());
        async move { client.call(&format!("VM.get_{field}"), json!([vm])).await.expect("a field") }
    };
    set("VM.set_other_config", json!([{"z": "1", "a": "2"}])).await.expect("a write");
    set("VM.add_to_other_config", json!(["new", "3"])).await.expect("a write");
    let duplicate = set("VM.add_to_other_config", json!(["a", "2"])).await;
    assert_eq!(duplicate, Err(json!(["MAP_DUPLICATE_KEY", "VM", "other_config", vm, "a"])));
    set("VM.remove_from_other_config", json!(["z"])).await.expect("a write");
    set("VM.remove_from_other_config", json!(["never there"])).await.expect("a write");
    assert_eq!(get("other_config").await, json!({"new": "3", "a": "2"}));
    set("VM.set_tags", json!([["one"]])).await.expect("a write");
    set("VM.add_tags", json!(["two"])).await.expect("a write");
    set("VM.add_tags", json!(["one"])).await.expect("a write");
    set("VM.remove_tags", json!(["one"])).await.expect("a write");
    assert_eq!(get("tags").await, json!(["two"]));
    set("VM.set_user_version", json!(["0x10"])).await.expect("a write");
    assert_eq!(get("user_version").await, json!(16));
    // Refs are not looked at.
    set("VM.set_affinity", json!(["OpaqueRef:bogus"])).await.expect("a write");
    assert_eq!(get("affinity").await, json!("OpaqueRef:bogus"));
    let wrong = set("VM.set_is_a_template", json!(["true"])).await;
    let complaint = "Failure(\"Expected bool, got 'S(true)'\")";
    assert_eq!(wrong, Err(json!(["INTERNAL_ERROR", complaint])));
    let nobody = client.call("VM.set_name_label", json!(["OpaqueRef:NULL", "x"])).await;
    assert_eq!(nobody, Err(json!(["HANDLE_INVALID", "VM", "OpaqueRef:NULL"])));
    let no_async = client.call("Async.VM.get_record", json!([vm])).await.expect_err("a failure");
    assert_eq!(no_async[0], "Fault");
}
