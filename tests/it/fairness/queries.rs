//! Costly queries hold up nobody but who asks them.

use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;
use xengate::sim::PASSWORD;

use super::{alone, tenths, unharmed, victim};
use crate::lab::Lab;
use crate::queries::{asking, items, uuids};

/// A filter of up to 4,096 bytes that is true of nothing, and looks into every disk's SR for each of
/// its terms. No two numbers have the same.
pub(super) fn costly(number: usize) -> String {
    let mut filter = format!("uuid = \"nobody {number}\"");
    let mut term = 0;
    loop {
        let more = format!(" or VBDs.VDI.SR.name_label ~ \"*q?{term}*z\"");
        if filter.len() + more.len() > 4096 {
            return filter;
        }
        filter.push_str(&more);
        term += 1;
    }
}

/// Keys that are all behind refs.
const COSTLY_SORT: &str = "-metrics.start_time,resident_on.name_label,resident_on.address,\
    affinity.name_label,metrics.install_time,guest_metrics.last_updated,-resident_on.hostname,uuid";

async fn large_lab() -> Arc<Lab> {
    let vms = tenths(60);
    Arc::new(
        Lab::with(|sim| sim.vms = vms, |config, _| config.limits.max_query_cost = 1 << 40).await,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn costly_filters_and_sorts_of_one_user_hold_up_nobody_else() {
    let _alone = alone().await;
    let lab = large_lab().await;
    let (victim, reader) = (victim(&lab).await, lab.gate.login("read-only", PASSWORD).await);
    let mut clients = JoinSet::new();
    for client in 0..20 {
        let (lab, reader) = (lab.clone(), reader.clone());
        clients.spawn(async move {
            for number in 0.. {
                let filter = costly(client * 1_000_000 + number);
                let path = match client % 4 {
                    0 => asking("/vms", &[("filter", &filter)]),
                    1 => asking("/vms", &[("filter", &filter), ("sort", COSTLY_SORT)]),
                    2 => asking("/vms", &[("sort", COSTLY_SORT), ("filter", &filter)]),
                    _ => asking("/vms", &[("filter", &format!("not ({filter})")[..]); 1]),
                };
                let answer = lab.get(&path, &reader).await;
                assert!(
                    matches!(answer.status.as_u16(), 200 | 400 | 429 | 503),
                    "{}",
                    answer.text()
                );
            }
        });
    }
    let cheap = asking("/vms", &[("filter", "power_state = Running"), ("sort", "name_label")]);
    unharmed("costly queries", &lab, &victim, &["/vms", "/hosts", &cheap]).await;
    // Another user's costly query has its turn.
    let path = asking("/vms", &[("filter", &costly(usize::MAX))]);
    assert_eq!(lab.get(&path, &victim).await.ok()["total"], 0);
    clients.shutdown().await;
    Arc::try_unwrap(lab).ok().expect("nobody else has it").end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_long_is_answered_as_what_does_not() {
    let _alone = alone().await;
    let lab = large_lab().await;
    let token = lab.login().await;
    let costly = costly(0);
    for wanted in ["power_state = Running", "name_label ~ \"*1*\" or power_state = Halted"] {
        let both = format!("({wanted}) or {}", &costly[..costly.rfind(" or ").expect("terms")]);
        for more in [vec![], vec![("sort", "name_label,-uuid")], vec![("sort", COSTLY_SORT)]] {
            let pages = async |filter: &str| {
                let (mut all, mut cursor) = (Vec::new(), None::<String>);
                loop {
                    let mut pairs = vec![("filter", filter), ("limit", "7")];
                    pairs.extend(more.iter().copied());
                    pairs.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
                    let page = lab.get(&asking("/vms", &pairs), &token).await.ok();
                    assert!(items(&page).len() <= 7);
                    all.extend(uuids(&page));
                    match page["next"].as_str() {
                        Some(next) => cursor = Some(next.to_owned()),
                        None => return (all, page["total"].clone()),
                    }
                }
            };
            let (quick, slow) = (pages(wanted).await, pages(&both).await);
            assert!(!quick.0.is_empty() && quick == slow, "{wanted} {more:?}");
        }
        for accept in ["application/json", "application/x-ndjson", "text/csv", "text/plain"] {
            let ask = async |filter: &str| {
                let path = asking("/vms", &[("filter", filter), ("sort", "-name_label,uuid")]);
                let request = lab.gate.request(reqwest::Method::GET, &path).bearer_auth(&token);
                lab.gate.send(request.header("Accept", accept)).await.text()
            };
            assert_eq!(ask(wanted).await, ask(&both).await, "{accept}");
        }
    }
    Arc::try_unwrap(lab).ok().expect("nobody else has it").end().await;
}

#[tokio::test]
async fn what_costs_more_than_one_may_is_refused_with_its_dearest_part() {
    let _alone = alone().await;
    let lab = Lab::with(|_| {}, |config, _| config.limits.max_query_cost = 300).await;
    let token = lab.login().await;
    for (pairs, parts) in [
        (
            vec![(
                "filter",
                "power_state = Running or VBDs.VDI.SR.name_label ~ \"*ocal*\" \
                or VBDs.VDI.SR.name_label = b or VBDs.VDI.SR.name_label = c \
                or VBDs.VDI.SR.name_label = d or VBDs.VDI.SR.name_label = e",
            )],
            ["VBDs.VDI.SR.name_label", "the collection of what the refs lead to"],
        ),
        (vec![("sort", COSTLY_SORT)], ["the key ", "comparing the ref itself"]),
        (vec![("expand", "VBDs.VDI.SR.PBDs,VBDs.VDI.VBDs")], ["expanding ", "smaller pages"]),
    ] {
        let problem =
            lab.get(&asking("/vms", &pairs), &token).await.problem(400, "QUERY_TOO_COSTLY");
        let detail = problem["detail"].as_str().expect("a text");
        for part in parts.iter().chain(&["300", "limits.max_query_cost"]) {
            assert!(detail.contains(part), "{detail}");
        }
        assert_eq!(problem["retryable"], false);
        assert_eq!(problem["params"][1], json!("300"));
    }
    lab.get(&asking("/vms", &[("filter", "power_state = Running")]), &token).await.ok();
    lab.end().await;
}
