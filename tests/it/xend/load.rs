//! One poll serves everybody.

use std::time::Duration;

use futures_util::future::join_all;
use xengate::config::Kind;

use super::server::{Server, recorded, success};
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
