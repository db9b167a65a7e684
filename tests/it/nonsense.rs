//! What a host may answer about its measurements, as clients see it: wide, contradictory, full of
//! holes, and never a wrong number.

use serde_json::Value;
use xengate::sim::{Fault, RawReply};

use crate::lab::Lab;
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
