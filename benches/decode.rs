//! How fast a reply of 1,000 VM records is decoded: by dxr to a tree, and by xengate to JSON.
//!
//! `cargo bench --bench decode` prints a table. The contestants take turns, and each figure is
//! the median of its turns, so that a busy machine slows all of them alike.

use std::hint::black_box;
use std::time::{Duration, Instant};

use xengate::wire::reply::{self, Dialect, Outcome};
use xengate::wire::{Limits, xmlrpc};

/// A recorded reply with one record, which is the template for all.
const TEMPLATE: &str = include_str!("../tests/fixtures/wire/xapi/all_vm.xml");
const RECORDS: usize = 1_000;
const TURNS: usize = 21;
/// What one read from a socket gives at most.
const CHUNK: usize = 16 << 10;

/// Its name, how many bytes it decodes, and how.
type Contestant = (&'static str, usize, Box<dyn Fn() -> usize>);

fn main() {
    let xml = reply_of(RECORDS);
    let limits = Limits::default();
    let json = xmlrpc::to_json(xml.as_bytes(), limits).expect("the reply is well-formed");
    let Ok(Outcome::Success(records)) = reply::read(Dialect::XmlRpc, &json) else {
        panic!("the reply is a success");
    };
    let json2 = format!(r#"{{"jsonrpc":"2.0","result":{},"id":1}}"#, records.get());

    let contestants: [Contestant; 5] = [
        ("XML: dxr to a tree", xml.len(), {
            let xml = xml.clone();
            Box::new(move || {
                let response = dxr::MethodResponse::from_xml(&xml).expect("dxr can read this");
                usize::from(matches!(response.value, dxr::Value::Struct(_)))
            })
        }),
        ("XML: xengate to JSON", xml.len(), {
            let xml = xml.clone();
            Box::new(move || xmlrpc::to_json(xml.as_bytes(), limits).expect("read above").len())
        }),
        ("XML: the same in chunks of 16 KiB", xml.len(), {
            let xml = xml.clone();
            Box::new(move || {
                let mut transcoder = xmlrpc::Transcoder::new(limits);
                let (mut out, mut total) = (Vec::new(), 0);
                for chunk in xml.as_bytes().chunks(CHUNK) {
                    transcoder.push(chunk, &mut out).expect("read above");
                    total += out.len();
                    out.clear();
                }
                transcoder.finish().expect("read above");
                total
            })
        }),
        ("XML: xengate to JSON to a raw result", xml.len(), {
            let xml = xml.clone();
            Box::new(move || {
                let json = xmlrpc::to_json(xml.as_bytes(), limits).expect("read above");
                raw(Dialect::XmlRpc, &json)
            })
        }),
        ("JSON: xengate to a raw result", json2.len(), {
            Box::new(move || raw(Dialect::JsonRpc, json2.as_bytes()))
        }),
    ];

    let mut times = vec![Vec::with_capacity(TURNS); contestants.len()];
    for _ in 0..TURNS {
        for ((_, _, decode), times) in contestants.iter().zip(&mut times) {
            let start = Instant::now();
            black_box(decode());
            times.push(start.elapsed());
        }
    }

    println!("a reply of {RECORDS} VM records, medians of {TURNS} turns\n");
    println!("{:<38} {:>7} {:>9} {:>8} {:>7}", "", "MB", "ms", "MB/s", "× dxr");
    let dxr = median(&mut times[0]);
    for ((name, bytes, _), times) in contestants.iter().zip(&mut times) {
        let time = median(times);
        let megabytes = *bytes as f64 / 1e6;
        println!(
            "{name:<38} {megabytes:>7.1} {:>9.2} {:>8.0} {:>7.1}",
            time.as_secs_f64() * 1e3,
            megabytes / time.as_secs_f64(),
            dxr.as_secs_f64() / time.as_secs_f64(),
        );
    }
}

fn raw(dialect: Dialect, json: &[u8]) -> usize {
    match reply::read(dialect, json) {
        Ok(Outcome::Success(result)) => result.get().len(),
        _ => panic!("the reply is a success"),
    }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// A reply in XAPI's exact form, except that dates have no `Z`: dxr would refuse them.
fn reply_of(records: usize) -> String {
    let start = TEMPLATE.find("<member><name>OpaqueRef:").expect("the template has a record");
    let tail = "</struct></value></member></struct></value></param></params></methodResponse>";
    let end = TEMPLATE.len() - tail.len();
    let record = TEMPLATE[start..end].replace("Z</dateTime.iso8601>", "</dateTime.iso8601>");
    let mut reply = TEMPLATE[..start].to_owned();
    for number in 0..records {
        let one = record
            .replace("a282725a-5f38-43f9-8b0a-41136bd95839", &uuid(number, 1))
            .replace("d0d0d0d0-1111-4222-8333-444455556666", &uuid(number, 2))
            .replace("Control domain on host: vm", &format!("lab-vm-{number:05}"));
        reply.push_str(&one);
    }
    reply.push_str(tail);
    reply
}

fn uuid(number: usize, of: usize) -> String {
    format!("{number:08x}-5f38-43f9-8b0a-{of:012x}")
}
