//! What both dialects say of the same host, sessions and tasks.

use std::time::Duration;

use serde_json::json;
use xengate::sim::xend::{Auth, Power, Xend, XendConfig};
use xengate::wire::Arg;

use super::{Client, call, legacy, start, void};

#[tokio::test]
async fn both_dialects_tell_of_the_same_vms() {
    let xend = start(40);
    let client = Client::login(&xend).await;
    let records = client.call("VM.get_all_records", &[]).await.expect("records");
    let metrics = client.call("VM_metrics.get_all_records", &[]).await.expect("records");
    let all = [1.into(), "all".into(), 1.into()];
    let domains = legacy(&xend, "xend.domains_with_state", &all).await.expect("domains");
    let domains = domains.as_array().expect("a list");
    assert_eq!((domains.len(), xend.vms().len()), (41, 41));
    let mut states = Vec::new();
    for domain in domains {
        let get = |name: &str| {
            let mut items = domain.as_array().expect("a list")[1..].iter();
            items.find(|item| item[0] == *name).map_or(json!(null), |item| item[1].clone())
        };
        let record = &records[get("uuid").as_str().expect("a uuid")];
        let metrics = &metrics[record["metrics"].as_str().expect("a ref")];
        assert_eq!(record["name_label"], get("name"));
        let mib = get("memory").as_i64().expect("an int");
        assert_eq!(record["memory_dynamic_max"], (mib << 20).to_string());
        match get("domid").as_i64() {
            Some(domid) => {
                assert_eq!(record["domid"], domid.to_string());
                let vcpus = get("online_vcpus").as_i64().expect("an int");
                assert_eq!(metrics["VCPUs_number"], vcpus.to_string());
            }
            None => {
                assert_eq!((&record["domid"], &get("state")), (&json!("-1"), &json!(null)));
                assert_eq!(metrics["start_time"], "19700101T00:00:00");
            }
        }
        for (refs, class) in [("VIFs", "vif"), ("VBDs", "vbd")] {
            let items = domain.as_array().expect("a list");
            let count = items.iter().filter(|item| item[0] == "device" && item[1][0] == class);
            assert_eq!(record[refs].as_array().map(Vec::len), Some(count.count()), "{class}");
        }
        states.push(record["power_state"].as_str().expect("a state").to_owned());
    }
    for state in ["Running", "Halted", "Paused", "Crashed"] {
        assert!(states.iter().any(|seen| seen == state), "no VM is {state}");
    }
    for class in ["VIF", "VBD", "console", "host", "host_cpu", "network", "SR", "cpu_pool"] {
        let listed = client.call(&format!("{class}.get_all_records"), &[]).await.expect("records");
        for (uuid, record) in listed.as_object().expect("records") {
            assert_eq!(record["uuid"], **uuid);
        }
    }
}

#[tokio::test]
async fn sloppiness_is_that_of_a_real_xend() {
    let xend = start(20);
    let client = Client::login(&xend).await;
    let vm = xend.vm_that_is(Power::Running).expect("a VM");
    assert!(xend.set_args(&vm.name, b"caf\xe9 \x01<&>"));
    assert!(xend.set_other_config(&vm.name, "note", b"\x08"));
    let record = client.vm("VM.get_record", &vm.uuid).await.expect("a record");
    assert_eq!(record["PV_args"], "café \u{1}<&>");
    assert_eq!(record["other_config"]["note"], "\u{8}");
    xend.vanish(2);
    let records = client.call("VM.get_all_records", &[]).await.expect("records");
    let records = records.as_object().expect("records");
    assert_eq!(records.values().filter(|record| record.is_null()).count(), 2);
    let records = client.call("VM.get_all_records", &[]).await.expect("records");
    assert!(records.as_object().is_some_and(|all| all.values().all(|record| !record.is_null())));
    // A uuid of nothing is as good as any.
    assert_eq!(client.vm("VM.get_by_uuid", "nothing").await, Ok(json!("nothing")));
    assert_eq!(
        client.vm("VM.get_VCPUs_max", &vm.uuid).await,
        Err(json!(["ETODO", "Lazy Programmer Error"]))
    );
}

#[tokio::test]
async fn passwords_are_checked_only_where_told_and_only_at_one_door() {
    let auth = Auth::Passwords(vec![("root".into(), "right".into())]);
    let xend = Xend::start(XendConfig { auth, ..XendConfig::default() }).expect("free ports");
    let login = async |password: &str| {
        let args = ["root".into(), password.into()];
        call(xend.api_addr(), "session.login_with_password", &args).await
    };
    let refused = login("wrong").await;
    assert_eq!(refused["ErrorDescription"], json!(["SESSION_AUTHENTICATION_FAILED"]));
    assert_eq!(login("right").await["Status"], "Success");
    assert_eq!((xend.sessions_open(), xend.session_refs().len()), (1, 1));
    // The danger: no session is asked for.
    let vm = xend.vm_that_is(Power::Running).expect("a VM");
    let paused = call(xend.api_addr(), "xend.domain.pause", &[vm.name.as_str().into()]).await;
    let complaint = json!(["INTERNAL_ERROR", "Invalid result None handling xend.domain.pause"]);
    assert_eq!(paused["ErrorDescription"], complaint);
    assert_eq!(xend.vm(&vm.uuid).map(|vm| vm.power), Some(Power::Paused));
    assert_eq!(xend.called_without_session(), 1);
    assert!(legacy(&xend, "xend.domain", &[vm.name.as_str().into()]).await.is_ok());
    assert_eq!(xend.called_without_session(), 1);
}

#[tokio::test]
async fn tasks_end_and_stay() {
    let config = XendConfig {
        vms: 20,
        time: xengate::sim::Time::Held,
        task_duration: Duration::from_secs(2),
        ..XendConfig::default()
    };
    let xend = Xend::start(config).expect("free ports");
    let client = Client::login(&xend).await;
    let halted = xend.vm_that_is(Power::Halted).expect("a VM");
    let running = xend.vm_that_is(Power::Running).expect("a VM");
    let begin = async |name: &str, vm: &str| {
        let task = client.vm(&format!("Async.{name}"), vm).await.expect("a task");
        task.as_str().expect("a ref").to_owned()
    };
    let (good, bad) =
        (begin("VM.pause", &running.uuid).await, begin("VM.pause", &halted.uuid).await);
    let list = begin("VM.get_record", &running.uuid).await;
    let status = client.vm("task.get_status", &good).await;
    assert_eq!(status, Ok(json!("pending")));
    assert_eq!(client.vm("task.get_progress", &good).await, Ok(json!("0")));
    assert_eq!(client.vm("task.cancel", &good).await, Err(json!(["OPERATION_NOT_ALLOWED"])));
    xend.advance(Duration::from_secs(3));
    let record = client.vm("task.get_record", &good).await.expect("a record");
    assert_eq!((&record["status"], &record["result"]), (&json!("success"), &json!("")));
    assert_eq!(xend.vm(&running.uuid).map(|vm| vm.power), Some(Power::Paused));
    let record = client.vm("task.get_record", &bad).await.expect("a record");
    assert_eq!((&record["status"], &record["result"]), (&json!("failure"), &json!(null)));
    let text = format!("Domain '{}' is not started", halted.name);
    assert_eq!(record["error_info"], json!(["INTERNAL ERROR", text]));
    let record = client.vm("task.get_record", &list).await.expect("a record");
    assert_eq!(record["result"]["uuid"], *running.uuid);
    assert_eq!(
        client.vm("task.destroy", &good).await,
        Err(json!(["MESSAGE_METHOD_UNKNOWN", "task.destroy"]))
    );
    let all = client.call("task.get_all_records", &[]).await.expect("records");
    assert_eq!(all.as_object().map(serde_json::Map::len), Some(3));
}

#[tokio::test]
async fn sessions_are_asked_for_and_die_with_xend() {
    let xend = start(1);
    let client = Client::login(&xend).await;
    let nobody = call(xend.api_addr(), "VM.get_all", &["dead".into()]).await;
    assert_eq!(nobody["ErrorDescription"], json!(["SESSION_INVALID", "dead"]));
    let few = call(xend.api_addr(), "VM.start", &["dead".into(), "x".into()]).await;
    assert_eq!(
        few["ErrorDescription"],
        json!(["MESSAGE_PARAMETER_COUNT_MISMATCH", "VM.start", "3", "2"])
    );
    let own = client.vm("session.get_record", &client.session).await.expect("a record");
    assert_eq!((&own["uuid"], &own["this_user"]), (&json!(client.session), &json!("anyone")));
    xend.stop_listening();
    xend.listen_again(true).await.expect("the same ports");
    let gone = client.call("VM.get_all", &[]).await;
    assert_eq!(gone, Err(json!(["SESSION_INVALID", client.session])));
    let client = Client::login(&xend).await;
    assert_eq!(client.call("session.logout", &[]).await, void());
    assert_eq!(xend.sessions_open(), 0);
}

#[tokio::test]
async fn calls_are_counted_and_held() {
    let xend = start(3);
    let client = Client::login(&xend).await;
    xend.hold("VM.get_all_records");
    let four = async {
        let one = || client.call("VM.get_all_records", &[]);
        tokio::join!(one(), one(), one(), one())
    };
    let release = async {
        while xend.seen("VM.get_all_records") < 4 {
            tokio::task::yield_now().await;
        }
        xend.release("VM.get_all_records");
    };
    let (all, ()) = tokio::join!(four, release);
    assert!(all.0.is_ok() && all.3.is_ok());
    assert_eq!(xend.most_at_once(Some("VM.get_all_records")), 4);
    assert_eq!((xend.seen_in_all(), xend.event_calls()), (5, 0));
    assert_eq!(xend.calls(), ["VM.get_all_records", "session.login_with_password"]);
    let _: Arg = client.session.as_str().into();
}
