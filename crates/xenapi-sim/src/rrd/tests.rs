//! What is measured against bodies that XAPI's own RRD library has written.

use std::path::PathBuf;

use serde_json::Value as Json;

use super::written::{Form, Kept, Prepared, Rrd, Source, Xport};

fn recording(name: &str) -> String {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    std::fs::read_to_string(root.join("tests/fixtures/rrd").join(name)).expect("a recording")
}

fn text(json: &Json) -> String {
    json.as_str().expect("text").to_owned()
}

fn int(json: &Json) -> i64 {
    text(json).parse().expect("an integer")
}

fn float(json: &Json) -> f64 {
    text(json).parse().expect("a number")
}

fn list<T>(json: &Json, each: impl FnMut(&Json) -> T) -> Vec<T> {
    json.as_array().expect("a list").iter().map(each).collect()
}

#[test]
fn updates_are_written_as_xapi_writes_them() {
    let json = recording("rrd_updates_5s_AVERAGE.json");
    let recorded: Json = serde_json::from_str(&json).expect("JSON");
    let meta = &recorded["meta"];
    let updates = Xport {
        start: int(&meta["start"]),
        step: int(&meta["step"]),
        end: int(&meta["end"]),
        legend: list(&meta["legend"], text),
        rows: list(&recorded["data"], |row| (int(&row["t"]), list(&row["values"], float))),
    };
    assert_eq!(updates.write(Form::Json), json.trim_end());
    assert_eq!(updates.write(Form::Xml), recording("rrd_updates_5s_AVERAGE.xml").trim_end());
    let bare = updates.write(Form::BareJson);
    assert!(bare.starts_with("{meta:{start:1790001945,step:5,"), "{bare}");
}

#[test]
fn whole_rrds_are_written_as_xapi_writes_them() {
    let json = recording("vm_rrd.json");
    let recorded: Json = serde_json::from_str(&json).expect("JSON");
    let source = |ds: &Json| Source {
        name: text(&ds["name"]),
        kind: text(&ds["type"]),
        heartbeat: text(&ds["minimal_heartbeat"]),
        min: text(&ds["min"]),
        max: text(&ds["max"]),
        last: text(&ds["last_ds"]),
        value: text(&ds["value"]),
        unknown: float(&ds["unknown_sec"]),
    };
    let prepared = |ds: &Json| Prepared {
        primary: float(&ds["primary_value"]),
        secondary: float(&ds["secondary_value"]),
        value: float(&ds["value"]),
        unknown: int(&ds["unknown_datapoints"]),
    };
    let kept = |rra: &Json| Kept {
        cf: text(&rra["cf"]),
        per_row: int(&rra["pdp_per_row"]),
        prepared: list(&rra["cdp_prep"]["ds"], prepared),
        rows: list(&rra["database"], |row| list(row, float)),
    };
    let rrd = Rrd {
        step: int(&recorded["step"]),
        last: int(&recorded["lastupdate"]),
        sources: list(&recorded["ds"], source),
        archives: list(&recorded["rra"], kept),
    };
    assert!(rrd.write(Form::Json) == json.trim_end(), "the JSON differs");
    assert!(rrd.write(Form::Xml) == recording("vm_rrd.xml").trim_end(), "the XML differs");
}
