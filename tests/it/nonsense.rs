//! What a host may answer about its measurements, as clients see it: wide, contradictory, full of
//! holes, and never a wrong number.

use futures_util::future::join_all;
use serde_json::Value;
use xengate::sim::{Fault, RawReply};

use crate::lab::{Answer, Lab};
use crate::metrics::{path, vms};

/// A reply of ten thousand columns, some of them twice or no numbers.
fn wide(vm: &str) -> String {
    let mut columns = vec![
        ("cpu0".to_owned(), ["0.5", "Infinity"]),
        ("cpu1".to_owned(), ["NaN", "NaN"]),
        ("memory".to_owned(), ["4096", "4096"]),
        ("memory".to_owned(), ["8192", "8192"]),
        ("vif_0_rx".to_owned(), ["1000", "-Infinity"]),
        ("vif_0_tx".to_owned(), ["1000", ""]),
    ];
    columns.extend((0..10_000).map(|number| (format!("x{number}"), ["1", "7"])));
    let legend: Vec<String> =
        columns.iter().map(|(name, _)| format!("\"AVERAGE:vm:{vm}:{name}\"")).collect();
    let row = |time: i64, place: usize| {
        let values: Vec<String> =
            columns.iter().map(|(_, values)| format!("\"{}\"", values[place])).collect();
        format!("{{\"t\":\"{time}\",\"values\":[{}]}}", values.join(","))
    };
    // A row is missing, another one is too short.
    let rows = [
        row(1_790_000_100, 1),
        r#"{"t":"1790000095","values":["1"]}"#.into(),
        row(1_790_000_085, 0),
    ];
    format!(
        r#"{{"meta":{{"step":"5","end":"1790000100","legend":[{}]}},"data":[{}]}}"#,
        legend.join(","),
        rows.join(",")
    )
}

#[tokio::test]
async fn ten_thousand_columns_and_some_that_contradict_each_other_make_no_wrong_number() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let vm = &vms(&lab.sim, "Running", None)[0];
    let body = wide(vm);
    lab.sim.fault(
        Some("/rrd_updates"),
        Fault::Reply(RawReply::http("200 OK", "application/json", body)),
        None,
    );
    let metrics = lab.get(&path(vm, ""), &token).await.ok();
    let value = |name: &str| metrics["samples"][name]["value"].clone();
    assert_eq!(metrics["sampling"]["reason"], Value::Null);
    assert_eq!(metrics["sampling"]["time"], "2026-09-21T14:15:00Z");
    assert_eq!((value("x0"), value("x9999")), (7.into(), 7.into()));
    // Not known in the newest row, and the one before that is too old to stand for it.
    for unknown in ["cpu", "cpu0", "cpu1", "vif_0_rx", "vif_0_tx"] {
        assert_eq!(value(unknown), Value::Null, "{unknown}");
    }
    assert_eq!(value("memory_bytes"), Value::Null, "which of the two?");
    // Another VM of the same host: nothing is known of it, and that is all that it suffers.
    let other = &vms(&lab.sim, "Running", None)[1];
    let metrics = lab.get(&path(other, ""), &token).await.ok();
    assert_eq!(metrics["sampling"]["reason"]["code"], "NOT_MEASURED");
    lab.end().await;
}

#[tokio::test]
async fn a_host_that_is_gone_costs_an_sr_what_it_counted_and_no_more() {
    let lab = Lab::with(|sim| (sim.vms, sim.hosts) = (10, Some(2)), |_, _| {}).await;
    let token = lab.login().await;
    let sr = lab.sim.field("SR", "Shared storage 1", "uuid").expect("an SR on both hosts");
    let path = format!("/srs/{}/metrics", sr.as_text().expect("text"));
    lab.get("/srs", &token).await.ok();
    assert!(lab.sim.stop_host("host-02"));
    let metrics = lab.get(&path, &token).await.ok();
    let value = |name: &str| &metrics["samples"][name]["value"];
    assert_eq!(metrics["sampling"]["reason"]["code"], "HOST_UNREACHABLE", "{metrics}");
    assert!(value("size_bytes").is_number() && value("physical_utilisation_bytes").is_number());
    assert_eq!(value("iops_read"), &Value::Null, "half of it is no sum");
    let history = lab.get(&format!("{path}/history?from=-1m"), &token).await.ok();
    let place = |name: &str| {
        let mut columns = history["columns"].as_array().expect("columns").iter();
        columns.position(|column| column["name"] == name).expect("a column")
    };
    let rows = history["rows"].as_array().expect("rows");
    assert!(rows.len() > 5, "{history}");
    for row in rows {
        assert!(row["values"][place("size_bytes")].is_number(), "{row}");
        assert_eq!(row["values"][place("iops_read")], Value::Null);
    }
    lab.end().await;
}

#[tokio::test]
async fn a_host_that_fails_fails_once_for_all_who_ask() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let vm = &vms(&lab.sim, "Running", None)[0];
    let broken = RawReply::http("200 OK", "application/json", "{\"meta\":7}");
    lab.get("/vms", &token).await.ok();
    for handler in ["/rrd_updates", "/vm_rrd"] {
        lab.sim.fault(Some(handler), Fault::Reply(broken.clone()), None);
    }
    lab.sim.hold("/rrd_updates");
    let query = path(vm, "/history?from=-1m");
    let answers = join_all((0..20).map(|_| lab.get(&query, &token)));
    let all_wait = async {
        let waiting = |answer: &Answer| {
            let found = crate::exposition::classic(&answer.text());
            found.value("xengate_http_requests_in_flight", &[]) >= 21.0
        };
        lab.until("/metrics", "", waiting).await;
        lab.sim.release("/rrd_updates");
    };
    for answer in tokio::join!(answers, all_wait).0 {
        answer.problem(502, "BAD_REPLY");
    }
    assert_eq!(lab.sim.seen("/rrd_updates"), 1);
    // Nor is it held against it.
    lab.sim.clear_faults();
    lab.get(&query, &token).await.ok();
    lab.end().await;
}

#[tokio::test]
async fn numbers_that_no_axis_can_show_end_no_plot() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let vm = &vms(&lab.sim, "Running", None)[0];
    let rows = [("1790000100", "1.7976931348623157e308"), ("1790000095", "-1.72e308")];
    let rows = rows.map(|(time, value)| format!("{{\"t\":\"{time}\",\"values\":[\"{value}\"]}}"));
    let body = format!(
        r#"{{"meta":{{"step":"5","end":"1790000100","legend":["AVERAGE:vm:{vm}:vif_0_rx"]}},"data":[{}]}}"#,
        rows.join(",")
    );
    let reply = Fault::Reply(RawReply::http("200 OK", "application/json", body));
    lab.sim.fault(Some("/rrd_updates"), reply, None);
    let request = lab.gate.request(reqwest::Method::GET, &path(vm, "/history?from=-1m"));
    let plot = lab.gate.send(request.bearer_auth(&token).header("accept", "image/svg+xml")).await;
    assert_eq!(plot.status, 200);
    assert!(plot.text().ends_with("</svg>\n"));
    lab.end().await;
}
