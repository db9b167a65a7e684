//! One poll serves everybody.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use xengate::config::Kind;

use super::server::{Server, matched, recorded, success};
use super::views::{frozen, print};
use super::{USER, USERS_PASSWORD, gate};

/// The members of a recorded record, for as many VMs as are wanted.
fn population(count: usize) -> Vec<u8> {
    let reply = String::from_utf8(recorded("012-api-VM-get_record-web01")).expect("UTF-8");
    let (_, rest) = reply.split_once("<name>Value</name>\n<value>").expect("a value");
    let (record, _) = rest.rsplit_once("</value>\n</member>\n</struct>").expect("its end");
    let own = "02e009d1-f691-2bde-f9b4-82605834ac6e";
    let members: String = (0..count)
        .map(|number| {
            let uuid = format!("{number:08x}-0000-4000-8000-000000000000");
            let record = record.replace(own, &uuid).replace("web01", &format!("vm{number}"));
            format!("<member><name>{uuid}</name><value>{record}</value></member>")
        })
        .collect();
    success(&format!("<struct>{members}</struct>"))
}

#[tokio::test]
async fn many_readers_cost_a_slow_xend_one_poll() {
    let server = Server::xen_api().await;
    let slow = Duration::from_secs(2);
    server.says_after("VM.get_all_records", population(1000), slow);
    let gate = gate(&server.url, Kind::Xend, |_| {}).await;
    let token = gate.login(USER, USERS_PASSWORD).await;
    assert_eq!(server.count("VM.get_all_records"), 0, "nobody has asked for anything yet");
    for round in 0..3 {
        let answers = join_all((0..200).map(|_| gate.get("/vms?limit=1", &token))).await;
        for answer in answers {
            let age = answer.header("age").map(str::to_owned);
            assert_eq!(answer.ok()["total"], 1000);
            assert!(age.is_some_and(|age| age.parse::<u64>().is_ok()), "round {round}");
        }
    }
    // The next one is not due for nine times as long as this one took.
    assert_eq!(server.count("VM.get_all_records"), 1);
    assert_eq!(server.most_at_once(), 1, "never two at a time");
    gate.end(&[]).await;
}

#[tokio::test]
async fn many_lists_of_virtual_cpus_cost_a_call_for_each_domain_and_poll() {
    let (server, gate, token) = frozen().await;
    let domains = gate.get("/vms", &token).await.ok()["total"].as_u64().expect("a number");
    let domains = usize::try_from(domains).expect("a few");
    let answers = join_all((0..50).map(|_| print(&gate, &token, "view=vcpus"))).await;
    let texts: Vec<Vec<u8>> = answers.into_iter().map(|answer| answer.body).collect();
    assert!(texts[0].starts_with(b"Name ") && texts.iter().all(|text| *text == texts[0]));
    let asked = server.count("xend.domain.getVCPUInfo");
    let polls = server.count("xend.domains_with_state");
    assert!((domains..=domains * polls).contains(&asked), "{asked} calls in {polls} polls");

    // After a write nobody is told what was before it.
    let vms = gate.get("/vms?filter=name_label%20=%20%22web01%22", &token).await.ok();
    let uuid = vms["items"][0]["uuid"].as_str().expect("a uuid");
    let path = format!("/vms/{uuid}/actions/pause");
    server.says("xend.domain", matched("domain-1-web01"));
    server.says("xend.domain.pause", recorded("197-leg-domain-pause"));
    let request = gate.request(Method::POST, &path).bearer_auth(&token).header("prefer", "wait=30");
    assert_eq!(gate.send(request).await.status, 200);
    let asked = server.count("xend.domain.getVCPUInfo");
    assert_eq!(print(&gate, &token, "view=vcpus&name=web01").await.status, 200);
    assert_eq!(server.count("xend.domain.getVCPUInfo"), asked + 1);
    gate.end(&[]).await;
}
