//! The readers against recorded bodies, bad ones and made-up ones.

use std::fmt::Write as _;
use std::path::PathBuf;

use proptest::prelude::*;

use super::{Archive, Unreadable, Updates, invariants};
use crate::metrics::model::{Cf, Key, Owner};
use crate::metrics::sources::Kind;
use crate::metrics::table::Table;

fn recording(name: &str) -> Vec<u8> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    std::fs::read(root.join("tests/fixtures/rrd").join(name)).expect("a recording")
}

const VM: &str = "11111111-2222-4333-8444-555566667777";

fn vm() -> Key {
    Key { owner: Owner::Vm, uuid: VM.parse().expect("a uuid") }
}

/// Rows of a table, NaN as nothing, so that they can be compared.
fn cells(table: &Table) -> Vec<(i64, Vec<Option<f64>>)> {
    let known = |value: &f64| (!value.is_nan()).then_some(*value);
    table.rows.iter().map(|(time, row)| (*time, row.iter().map(known).collect())).collect()
}

#[test]
fn recorded_updates_are_read_alike_in_both_forms() {
    let json = Updates::read(&recording("rrd_updates_5s_AVERAGE.json")).expect("JSON");
    let xml = Updates::read(&recording("rrd_updates_5s_AVERAGE.xml")).expect("XML");
    assert_eq!(json, xml);
    assert_eq!((json.step, json.end, json.unusable), (5, Some(1_790_002_000), 0));
    assert_eq!(json.columns.len(), 14);
    let times: Vec<i64> = json.rows().map(|(time, _)| time).collect();
    assert_eq!(times.len(), 13);
    assert_eq!((times[0], times[12]), (1_790_002_000, 1_790_001_940));
    let (_, newest) = json.rows().next().expect("a row");
    assert_eq!(newest[..3], [0.0, 0.100_000_001_490_116, 0.200_000_002_980_232]);
    let table = Table::of_updates(&json, vm(), Cf::Average).expect("the VM");
    assert_eq!(&*table.columns[3], "vif_0_rx");
    assert_eq!(table.rows[12].0, 1_790_002_000, "oldest first");
    assert_eq!(table.rows[12].1[3], 4000.0);
    assert!(Table::of_updates(&json, vm(), Cf::Max).is_none());
}

#[test]
fn a_recorded_rrd_is_read_alike_in_both_forms() {
    let json = Archive::read(&recording("vm_rrd.json")).expect("JSON");
    let xml = Archive::read(&recording("vm_rrd.xml")).expect("XML");
    assert_eq!((json.step, json.last_update), (xml.step, xml.last_update));
    assert_eq!(json.sources, xml.sources);
    assert_eq!(json.sources[3].kind, Some(Kind::Derive));
    assert_eq!(json.described(), xml.described());
    for cf in [Cf::Average, Cf::Min, Cf::Max] {
        for step in [5, 60, 3600, 86_400] {
            let (one, other) =
                (Table::of_archive(&json, cf, step), Table::of_archive(&xml, cf, step));
            let (one, other) = (one.expect("an archive"), other.expect("an archive"));
            assert_eq!(cells(&one), cells(&other));
            assert_eq!(one.newest, 1_790_002_000 - 1_790_002_000 % step);
            assert_eq!(one.rows.last().map(|(time, _)| *time), Some(one.newest));
        }
    }
    assert!(Table::of_archive(&json, Cf::Last, 5).is_none());
    assert!(Table::of_archive(&json, Cf::Average, 7).is_none());
}

/// A row's time is its place, so what `rrd_updates` says of a time a whole RRD has to say of it too.
#[test]
fn whole_rrds_and_updates_agree_on_when_it_was() {
    let archive = Archive::read(&recording("vm_rrd.json")).expect("an RRD");
    let updates = Updates::read(&recording("rrd_updates_5s_AVERAGE.json")).expect("updates");
    let whole = Table::of_archive(&archive, Cf::Average, 5).expect("an archive");
    let part = Table::of_updates(&updates, vm(), Cf::Average).expect("the VM");
    assert_eq!(cells(&whole)[120 - 13..], cells(&part));
}

fn json(legend: &str, data: &str) -> Vec<u8> {
    format!(
        "{{\"meta\":{{\"step\":\"5\",\"end\":\"100\",\"legend\":[{legend}]}},\"data\":[{data}]}}"
    )
    .into_bytes()
}

fn column(cf: &str, source: &str) -> String {
    format!("\"{cf}:vm:{VM}:{source}\"")
}

fn values(updates: &Updates) -> Vec<Vec<Option<f64>>> {
    let known = |value: &f64| (!value.is_nan()).then_some(*value);
    updates.rows().map(|(_, row)| row.iter().map(known).collect()).collect()
}

#[test]
fn what_is_no_number_is_not_known() {
    let legend = ["a", "b", "c", "d", "e", "f", "g", "h"].map(|name| column("AVERAGE", name));
    let row = r#"{"t":"95","values":["NaN","Infinity","-Infinity","","x","1e999",null,"0x10"]}"#;
    let updates = Updates::read(&json(&legend.join(","), row)).expect("readable");
    assert_eq!(values(&updates), [vec![None; 8]]);
    let row = r#"{"t":95,"values":[NaN,-inf,nan,Infinity,true,[1],{"x":1},-2.5e1]}"#;
    let read = Updates::read(&json(&legend.join(","), row)).expect("readable");
    let wanted = [None, None, None, None, None, None, None, Some(-25.0)];
    assert_eq!(values(&read), [wanted.to_vec()], "each value stays with its column");
    let row = r#"{"t":95,"values":[NaN,-inf,nan,Infinity,true,null,"7",-2.5e1]}"#;
    let read = Updates::read(&json(&legend.join(","), row)).expect("readable");
    let wanted = [None, None, None, None, None, None, Some(7.0), Some(-25.0)];
    assert_eq!(values(&read), [wanted.to_vec()]);
}

#[test]
fn rows_that_do_not_fit_are_not_used() {
    let legend = [column("AVERAGE", "a"), column("AVERAGE", "b")].join(",");
    let data = r#"{"t":"100","values":["1"]},{"t":"95","values":["1","2","3"]},
        {"values":["1","2"]},{"t":"soon","values":["1","2"]},{"t":"-5","values":["1","2"]},
        {"t":"90","values":["1","2"]},{"t":"80","values":["3","4"]}"#;
    let updates = Updates::read(&json(&legend, data)).expect("readable");
    assert_eq!(updates.unusable, 5);
    let times: Vec<i64> = updates.rows().map(|(time, _)| time).collect();
    assert_eq!(times, [90, 80], "holes stay holes");
    assert_eq!(values(&updates)[0], [Some(1.0), Some(2.0)]);
}

#[test]
fn what_contradicts_itself_is_not_known() {
    let names = [("AVERAGE", "a"), ("AVERAGE", "a"), ("MAX", "a"), ("AVERAGE", "a")];
    let legend = names.map(|(cf, name)| column(cf, name)).join(",");
    let data = r#"{"t":"100","values":["1","1","9","NaN"]},{"t":"95","values":["1","2","9","1"]},
        {"t":"90","values":["NaN","2","9","NaN"]}"#;
    let updates = Updates::read(&json(&legend, data)).expect("readable");
    let known: Vec<bool> = updates.columns.iter().map(Option::is_some).collect();
    assert_eq!(known, [true, false, true, false], "each column once");
    let first: Vec<Option<f64>> = values(&updates).iter().map(|row| row[0]).collect();
    assert_eq!(first, [Some(1.0), None, Some(2.0)]);
    // The same for a time that comes twice.
    let data = r#"{"t":"100","values":["1","3"]},{"t":"100","values":["2","3"]}"#;
    let legend = [column("AVERAGE", "a"), column("AVERAGE", "b")].join(",");
    let updates = Updates::read(&json(&legend, data)).expect("readable");
    assert_eq!(values(&updates), [[None, Some(3.0)]]);
}

#[test]
fn legends_may_say_anything() {
    let legend = format!(
        "\"\",\"AVERAGE\",\"AVERAGE:vm:no-uuid:a\",\"MEDIAN:vm:{VM}:a\",\"AVERAGE:vdi:{VM}:a\",\
         \"AVERAGE:vm:{VM}:\",\"AVERAGE:vm:{VM}:a:b\",\"AVERAGE:host:{VM}:caf\\u00e9\",7"
    );
    let data = r#"{"t":"100","values":[1,2,3,4,5,6,7,8,9]}"#;
    let updates = Updates::read(&json(&legend, data)).expect("readable");
    let names: Vec<&str> = updates.columns.iter().flatten().map(|column| &*column.source).collect();
    assert_eq!(names, ["a:b", "café"]);
    assert_eq!(values(&updates)[0][6], Some(7.0), "each value stays with its column");
}

#[test]
fn a_wide_reply_is_read() {
    let mut legend = Vec::new();
    let mut row = String::from("{\"t\":\"100\",\"values\":[");
    for place in 0..10_000 {
        legend.push(column("AVERAGE", &format!("source_{place}")));
        _ = write!(row, "{}\"{place}\"", if place == 0 { "" } else { "," });
    }
    row.push_str("]}");
    let updates = Updates::read(&json(&legend.join(","), &row)).expect("readable");
    assert_eq!(updates.columns.len(), 10_000);
    let (_, values) = updates.rows().next().expect("a row");
    assert_eq!(values[9_999], 9_999.0);
    let table = Table::of_updates(&updates, vm(), Cf::Average).expect("a table");
    assert_eq!((&*table.columns[1234], table.rows[0].1[1234]), ("source_1234", 1234.0));
}

#[test]
fn a_body_that_breaks_off_is_refused_wherever_it_does() {
    for name in ["rrd_updates_5s_AVERAGE.json", "rrd_updates_5s_AVERAGE.xml"] {
        let body = recording(name);
        let end = body.iter().rposition(|byte| !byte.is_ascii_whitespace()).expect("a body");
        for length in 0..=end {
            let read = Updates::read(&body[..length]);
            assert!(read.is_err(), "{name}: {length} bytes of it were taken for the whole");
        }
    }
    for name in ["vm_rrd.json", "vm_rrd.xml"] {
        let body = recording(name);
        for part in 1..60 {
            assert!(Archive::read(&body[..body.len() * part / 60]).is_err(), "{name}: {part}/60");
        }
    }
}

#[test]
fn what_is_something_else_is_refused() {
    let updates = |body: &str| Updates::read(body.as_bytes());
    assert_eq!(updates(" \n"), Err(Unreadable::Empty));
    assert_eq!(updates("<html><body>hello</body></html>"), Err(Unreadable::NotRrd));
    assert_eq!(updates("hello"), Err(Unreadable::NotRrd));
    assert_eq!(updates("{}"), Err(Unreadable::NotRrd));
    assert_eq!(updates("<xport></xport>"), Err(Unreadable::NotRrd));
    assert_eq!(updates("{\"meta\":{}"), Err(Unreadable::Truncated));
    for wrong in ["{\"meta\":{}} x", "{\"meta\" {}}", "{\"meta\":{},}", "{\"meta\":[1 2]}", "{,}"] {
        assert!(matches!(updates(wrong), Err(Unreadable::Malformed(_))), "{wrong}");
    }
    for wrong in ["<xport><meta></xport>", "<xport></xport><xport></xport>", "<xport><a b></xport>"]
    {
        assert!(updates(wrong).is_err(), "{wrong}");
    }
    let deep = format!("{{\"meta\":{}", "[".repeat(100_000));
    assert!(matches!(updates(&deep), Err(Unreadable::Malformed(_))));
    assert!(updates(&"<xport>".repeat(100_000)).is_err());
    assert_eq!(Archive::read(b"{\"step\":\"5\"}"), Err(Unreadable::NotRrd));
    let many = format!("{{\"meta\":{{}},\"data\":[{}{{}}]}}", "{},".repeat(30_000));
    assert_eq!(updates(&many), Err(Unreadable::TooWide));
}

#[test]
fn a_row_of_an_archive_keeps_its_time_whatever_is_in_it() {
    let body = r#"{"step":"5","lastupdate":"102.7","ds":[{"name":"a","type":"GAUGE"},
        {"name":"b","type":"?"}],"rra":[{"cf":"AVERAGE","pdp_per_row":"1",
        "database":[["1","2"],["3"],["5","6"]]},{"cf":"MEDIAN","pdp_per_row":"1","database":[]},
        {"cf":"MAX","pdp_per_row":"0","database":[["1","2"]]}]}"#;
    let archive = Archive::read(body.as_bytes()).expect("an RRD");
    assert_eq!(archive.rras.len(), 2, "an archive of no step has no times");
    let table = Table::of_archive(&archive, Cf::Average, 5).expect("an archive");
    let wanted = [
        (90, vec![Some(1.0), Some(2.0)]),
        (95, vec![None, None]),
        (100, vec![Some(5.0), Some(6.0)]),
    ];
    assert_eq!(cells(&table), wanted);
}

#[test]
fn rrdtools_own_spelling_is_understood() {
    let body = "<!-- dump --><!DOCTYPE rrd SYSTEM \"x\"><rrd><step> 5 </step><lastupdate> 100 \
                </lastupdate><ds><name> a </name><type> GAUGE </type></ds><rra><cf> AVERAGE </cf>\
                <pdp_per_row> 1 </pdp_per_row><database><!-- a time --><row><v> 1.0e+00 </v></row>\
                </database></rra></rrd>";
    let archive = Archive::read(body.as_bytes()).expect("an RRD");
    assert_eq!(&*archive.sources[0].name, "a");
    let table = Table::of_archive(&archive, Cf::Average, 5).expect("an archive");
    assert_eq!(cells(&table), [(100, vec![Some(1.0)])]);
}

/// Pieces of replies, well put together or not.
const PIECES: [&str; 44] = [
    "{\"meta\":{",
    "\"step\":\"5\",",
    "step:5,",
    "\"end\":\"100\"",
    "\"legend\":[",
    "]",
    "}",
    "{",
    "[",
    ",",
    ":",
    "\"data\":[",
    "{\"t\":\"100\",",
    "\"values\":[",
    "\"1\"",
    "NaN",
    "-Infinity",
    "1e999",
    "\"AVERAGE:vm:11111111-2222-4333-8444-555566667777:a\"",
    "\"MAX:sr:x:y\"",
    "\"\\u00e9\\",
    "<xport>",
    "</xport>",
    "<meta>",
    "</meta>",
    "<legend>",
    "</legend>",
    "<entry>",
    "</entry>",
    "<data>",
    "</data>",
    "<row>",
    "</row>",
    "<t>100</t>",
    "<v>1</v>",
    "<v/>",
    "&lt;",
    "&x;",
    "<!-- -->",
    "<rrd><step>5</step><lastupdate>100</lastupdate>",
    "<rra><cf>MAX</cf>",
    "\"rra\":[{\"cf\":\"MIN\",\"pdp_per_row\":1,",
    "\"database\":[[",
    "é",
];

proptest! {
    #[test]
    fn no_bytes_make_a_panic_or_a_wrong_number(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        invariants::updates(&bytes);
        invariants::archive(&bytes);
    }

    #[test]
    fn no_pieces_do_either(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..60)) {
        let body = pieces.concat();
        invariants::updates(body.as_bytes());
        invariants::archive(body.as_bytes());
    }

    #[test]
    fn what_is_written_is_read_in_every_form(
        rows in prop::collection::vec(
            prop::collection::vec(prop::option::of(-1e9..1e9_f64), 3), 1..8,
        ),
    ) {
        let legend: Vec<String> = ["a", "b", "c"].map(|name| column("AVERAGE", name)).into();
        let (mut strict, mut bare, mut xml) = (String::new(), String::new(), String::new());
        for (place, row) in rows.iter().enumerate() {
            let time = 1000 - place * 5;
            let cell = |value: &Option<f64>| value.map_or("NaN".to_owned(), |v| v.to_string());
            let cells: Vec<String> = row.iter().map(cell).collect();
            let comma = if place == 0 { "" } else { "," };
            let quoted = cells.iter().map(|cell| format!("\"{cell}\"")).collect::<Vec<_>>().join(",");
            _ = write!(strict, "{comma}{{\"t\":\"{time}\",\"values\":[{quoted}]}}");
            _ = write!(bare, "{comma}{{t:{time},values:[{}]}}", cells.join(","));
            let tagged: String = cells.iter().map(|cell| format!("<v>{cell}</v>")).collect();
            _ = write!(xml, "<row><t>{time}</t>{tagged}</row>");
        }
        let entries: String =
            legend.iter().map(|e| format!("<entry>{}</entry>", e.trim_matches('"'))).collect();
        let legend = legend.join(",");
        let strict = Updates::read(&json(&legend, &strict)).expect("strict JSON");
        let bare = format!("{{meta:{{step:5,end:100,legend:[{legend}]}},data:[{bare}]}}");
        let bare = Updates::read(bare.as_bytes()).expect("bare JSON");
        let xml = format!(
            "<xport><meta><step>5</step><end>100</end><legend>{entries}</legend></meta>\
             <data>{xml}</data></xport>"
        );
        let xml = Updates::read(xml.as_bytes()).expect("XML");
        prop_assert_eq!(values(&strict), rows);
        prop_assert_eq!(values(&bare), values(&strict));
        prop_assert_eq!(values(&xml), values(&strict));
    }
}
