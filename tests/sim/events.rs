//! `event.from`, and a pool that moves by itself.

use std::time::Duration;

use serde_json::json;
use xengate::sim::{Sim, SimConfig, Time, Value};

use super::client::{Client, start};

#[tokio::test]
async fn events_tell_what_changed_since_a_token() {
    let sim = start(2);
    let client = Client::logged_in(&sim, "root").await;
    let (all, token) = client.events(&["*"], "", 0.0).await;
    assert!(all.iter().all(|event| event.starts_with("add ")));
    let vm = sim.find("VM", "web-0001").expect("a VM");
    sim.set_field("VM", &vm, "name_label", Value::text("renamed")).expect("a write");
    let (events, token) = client.events(&["*"], &token, 10.0).await;
    assert_eq!(events, [format!("mod {vm}")]);
    // Nobody waits for another class, nor for another object.
    let other = sim.find("VM", "db-0002").expect("a VM");
    let network = sim.create("network", &[("name_label", Value::text("new"))]).expect("a network");
    sim.destroy("VM", &other).expect("a VM");
    let (events, _) = client.events(&["network"], &token, 10.0).await;
    assert_eq!(events, [format!("add {network}")]);
    let (events, later) = client.events(&[&format!("vm/{other}")], &token, 10.0).await;
    assert_eq!(events, [format!("del {other}")]);
    assert!(later > token);
    let (events, same) = client.events(&["*", "nonsense"], &later, 0.0).await;
    assert_eq!((events, same), (Vec::new(), later));
}

#[tokio::test]
async fn a_wait_for_events_ends_with_the_first_change_or_with_its_time() {
    let sim = start(1);
    let client = Client::logged_in(&sim, "root").await;
    let (_, token) = client.events(&["*"], "", 0.0).await;
    let seen = sim.seen("event.from");
    let waits = || async {
        while sim.seen("event.from") == seen {
            tokio::task::yield_now().await;
        }
    };
    let pool = sim.refs("pool").remove(0);
    let touch = async {
        waits().await;
        let root = Client::logged_in(&sim, "root").await;
        root.call("event.inject", json!(["pool", pool])).await.expect("a token")
    };
    let ((events, after), injected) = tokio::join!(client.events(&["*"], &token, 3600.0), touch);
    assert_eq!(events, [format!("mod {pool}")]);
    assert!(after.as_str() >= injected.as_str().expect("a token"), "{after} {injected}");
    assert!(token.as_str() < after.as_str());
    let time = async {
        while sim.seen("event.from") == seen + 1 {
            tokio::task::yield_now().await;
        }
        sim.advance(Duration::from_secs(31));
    };
    let ((events, same), ()) = tokio::join!(client.events(&["*"], &after, 30.0), time);
    assert_eq!((events, same), (Vec::new(), after));
    let nothing = client.call("event.inject", json!(["pool", "OpaqueRef:NULL"])).await;
    assert_eq!(nothing, Err(json!(["HANDLE_INVALID", "pool", "OpaqueRef:NULL"])));
}

#[tokio::test]
async fn a_lively_pool_moves_by_itself() {
    let config = SimConfig { vms: 20, time: Time::Held, activity: true, ..SimConfig::default() };
    let sim = Sim::start(config).expect("a free port");
    let client = Client::logged_in(&sim, "root").await;
    let (_, mut token) = client.events(&["VM", "VM_metrics", "task"], "", 0.0).await;
    let mut kinds = [false; 2];
    for _ in 0..1000 {
        sim.advance(Duration::from_secs(1));
        let (events, next) = client.events(&["VM_metrics"], &token, 0.0).await;
        kinds[0] |= !events.is_empty();
        kinds[1] |= sim.count("task") > 0;
        token = next;
        if kinds == [true; 2] {
            return;
        }
    }
    panic!("nothing moved: {kinds:?}");
}
