//! The simulator against recordings of a real XAPI: given the same objects and the same request,
//! it must answer the same bytes, head and all.

mod changes;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::calls::typed_value;
use crate::database::Database;
use crate::protocol::{Arg, Failure, read_reply};
use crate::state::State;
use crate::{Fault, Sim, SimConfig, SimHandle, Time, User};
use xenapi_model::{Class, datamodel};

/// A pool without a single object.
fn empty() -> (SimHandle, Arc<State>) {
    let config = SimConfig { vms: 0, time: Time::Held, ..SimConfig::default() };
    let users = vec![User::superuser("root", "lab-root-pw")];
    let handle = Sim::start(SimConfig { users, ..config }).expect("a free port");
    let state = handle.state();
    *state.db.write() = Database::default();
    (handle, state)
}

fn recording(name: &str) -> Vec<u8> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    std::fs::read(root.join("tests/fixtures/sim").join(name)).expect("a recording")
}

fn body(name: &str) -> String {
    let message = String::from_utf8(recording(name)).expect("UTF-8");
    message.split_once("\r\n\r\n").expect("a head and a body").1.to_owned()
}

fn class(name: &str) -> &'static Class {
    datamodel().class(name).expect("a class")
}

fn member<'a>(arg: &'a Arg, name: &str) -> &'a Arg {
    let Arg::Struct(members) = arg else { panic!("no struct: {arg}") };
    &members.iter().find(|(key, _)| key == name).expect("a member").1
}

fn text(arg: &Arg) -> &str {
    let Arg::String(text) = arg else { panic!("no string: {arg}") };
    text
}

/// The value of a recorded XML reply.
fn value_of(name: &str) -> Arg {
    member(&read_reply(&body(&format!("{name}.xml.resp"))).expect("a reply"), "Value").clone()
}

fn load_record(db: &mut Database, class: &'static Class, reference: &str, record: &Arg) {
    let fields: Vec<_> = class
        .fields
        .iter()
        .enumerate()
        .map(|(index, field)| {
            let value = typed_value(member(record, &field.name), &field.ty).expect("a value");
            (index, value)
        })
        .collect();
    let uuid = text(member(record, "uuid")).into();
    db.create(class, reference.into(), uuid, fields);
}

/// Loads the objects that a recorded `get_all_records` listed.
fn load_all(state: &State, name: &str, class: &'static Class) {
    let Arg::Struct(records) = value_of(name) else { panic!("no records") };
    state.write(|db| {
        for (reference, record) in &records {
            load_record(db, class, reference, record);
        }
    });
}

/// Loads the object that a recorded `get_record` showed.
fn load_one(state: &State, name: &str, class: &'static Class) {
    let request = body(&format!("{name}.xml.req"));
    let reference = request.rsplit_once("OpaqueRef:").expect("a ref").1;
    let reference = format!("OpaqueRef:{}", &reference[..36]);
    state.write(|db| load_record(db, class, &reference, &value_of(name)));
}

/// Opens the session that a recorded request was made in.
fn open_session(state: &State, request: &[u8]) {
    let request = String::from_utf8_lossy(request);
    let Some((_, rest)) = request.split_once("OpaqueRef:") else { return };
    let reference = format!("OpaqueRef:{}", &rest[..36]);
    let user = User::superuser("root", "lab-root-pw");
    let now = (Duration::ZERO, "20261122T07:25:54Z");
    let uuid = state.identifiers.uuid();
    state.write(|db| {
        if db.table(class("session").id).get(&reference).is_none() {
            state.sessions.open_as(reference.into(), db, uuid, &user, "lab", now);
        }
    });
}

/// Sends a whole request and reads the whole reply, by its length.
async fn exchange(handle: &SimHandle, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(handle.addr()).await.expect("a connection");
    stream.write_all(request).await.expect("a request sent");
    let mut reply = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&reply);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if Some(body.len()) == length.and_then(|length| length.parse().ok()) {
                return text.into_owned();
            }
        }
        let read = stream.read_buf(&mut reply).await.expect("a reply");
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&reply));
    }
}

async fn same(handle: &SimHandle, state: &State, name: &str) {
    let request = recording(&format!("{name}.req"));
    open_session(state, &request);
    let wanted = String::from_utf8(recording(&format!("{name}.resp"))).expect("UTF-8");
    let got = exchange(handle, &request).await;
    assert!(got == wanted, "{name}:\n{got}\nwas recorded as\n{wanted}");
}

async fn same_in_all_forms(handle: &SimHandle, state: &State, name: &str) {
    for form in ["xml", "json1", "json2"] {
        same(handle, state, &format!("{name}.{form}")).await;
    }
}

#[tokio::test]
async fn failures_are_xapis() {
    let (handle, state) = empty();
    for name in [
        "handle_invalid",
        "uuid_invalid",
        "method_unknown",
        "method_unknown_nosession",
        "param_count",
        "param_type",
    ] {
        same_in_all_forms(&handle, &state, name).await;
    }
    same(&handle, &state, "event_from_badtoken.xml").await;
    same(&handle, &state, "vm_create_missing.json2").await;
}

#[tokio::test]
async fn records_are_xapis() {
    let (handle, state) = empty();
    load_all(&state, "all_console", class("console"));
    load_all(&state, "all_vm_metrics", class("VM_metrics"));
    load_all(&state, "all_vm", class("VM"));
    load_all(&state, "all_pool", class("pool"));
    for name in
        ["all_console", "all_vm_metrics", "all_vm", "all_pool", "get_all", "get_all_records_where"]
    {
        same_in_all_forms(&handle, &state, name).await;
    }
    load_one(&state, "vdi_record", class("VDI"));
    load_one(&state, "sr_record", class("SR"));
    load_one(&state, "vbd_rec", class("VBD"));
    for name in ["sr_record", "vbd_rec"] {
        same(&handle, &state, &format!("{name}.xml")).await;
    }
}

#[tokio::test]
async fn disks_and_tasks_are_xapis() {
    let (handle, state) = empty();
    load_one(&state, "vdi_record", class("VDI"));
    same(&handle, &state, "vdi_record.xml").await;
    load_all(&state, "task_all", class("task"));
    same_in_all_forms(&handle, &state, "task_all").await;
    load_one(&state, "task_record", class("task"));
    same_in_all_forms(&handle, &state, "task_record").await;
}

/// What is new in every exchange is a ref: everything around it must be the same.
#[tokio::test]
async fn new_objects_differ_from_xapis_in_their_refs_only() {
    let (handle, state) = empty();
    let masked = |reply: &str| {
        let (before, rest) = reply.split_once("OpaqueRef:").expect("a ref");
        assert!(uuid::Uuid::parse_str(&rest[..36]).is_ok(), "{reply}");
        format!("{before}{}", &rest[36..])
    };
    for name in ["login", "task_create"] {
        for form in ["xml", "json1", "json2"] {
            let request = recording(&format!("{name}.{form}.req"));
            if name != "login" {
                open_session(&state, &request);
            }
            let got = exchange(&handle, &request).await;
            let wanted = recording(&format!("{name}.{form}.resp"));
            let wanted = String::from_utf8(wanted).expect("UTF-8");
            assert_eq!(masked(&got), masked(&wanted), "{name}.{form}");
        }
    }
    assert_eq!(handle.count("task"), 3);
    assert_eq!(handle.seen("session.login_with_password"), 3);
}

#[tokio::test]
async fn a_supporter_names_the_coordinator() {
    let (handle, state) = empty();
    handle.fault(None, Fault::host_is_slave("127.0.0.99"), None);
    same(&handle, &state, "slave_login.xml").await;
    same(&handle, &state, "slave_login.json2").await;
}

/// Makes as many objects of each class as the recorded reply counted, session of the request
/// included.
fn fill(state: &State, counts: &Arg) {
    let Arg::Struct(counts) = counts else { panic!("no counts") };
    state.write(|db| {
        for (name, count) in counts {
            let class = datamodel().class_of_event(name).expect("a class");
            let Arg::Int(count) = count else { panic!("no count") };
            let missing = usize::try_from(*count).expect("a count") - db.table(class.id).len();
            for _ in 0..missing {
                let (reference, uuid) = (state.identifiers.reference(), state.identifiers.uuid());
                db.create(class, reference, uuid, []);
            }
        }
    });
}

#[tokio::test]
async fn an_event_that_adds_is_xapis() {
    let (handle, state) = empty();
    open_session(&state, &recording("event_from_pool.json2.req"));
    state.db.write().start_at(156);
    load_all(&state, "all_pool", class("pool"));
    state.db.write().start_at(218);
    let pool = handle.refs("pool").remove(0);
    state.write(|db| db.touch(class("pool"), &pool)).expect("a pool");
    let counts = value_of("event_from_timeout");
    fill(&state, member(&counts, "valid_ref_counts"));
    same(&handle, &state, "event_from_pool.json2").await;
}

#[tokio::test]
async fn an_event_that_changes_is_xapis() {
    let (handle, state) = empty();
    let reply = value_of("event_from_mod");
    open_session(&state, &recording("event_from_mod.xml.req"));
    let Arg::Array(events) = member(&reply, "events") else { panic!("no events") };
    let (vm, snapshot) = (text(member(&events[0], "ref")), member(&events[0], "snapshot"));
    state.write(|db| load_record(db, class("VM"), vm, snapshot));
    fill(&state, member(&reply, "valid_ref_counts"));
    assert!(state.db.read().generation() < 89_844);
    state.db.write().start_at(89_850);
    state.write(|db| db.touch(class("VM"), vm)).expect("a VM");
    same(&handle, &state, "event_from_mod.xml").await;
}

#[tokio::test]
async fn an_event_that_never_comes_is_xapis() {
    let (handle, state) = empty();
    open_session(&state, &recording("event_from_timeout.xml.req"));
    let reply = value_of("event_from_timeout");
    fill(&state, member(&reply, "valid_ref_counts"));
    assert!(state.db.read().generation() <= 219);
    let exchange = same(&handle, &state, "event_from_timeout.xml");
    let time = async {
        while handle.seen("event.from") == 0 {
            tokio::task::yield_now().await;
        }
        handle.advance(Duration::from_secs(2));
    };
    tokio::join!(exchange, time);
}

#[tokio::test]
async fn a_logout_answers_who_waits_for_events() {
    let (handle, state) = empty();
    let exchange = same(&handle, &state, "event_from_logout.xml");
    let logout = async {
        while handle.seen("event.from") == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(handle.end_sessions(Some("root")), 1);
    };
    tokio::join!(exchange, logout);
}

#[tokio::test]
async fn http_has_xapis_manners() {
    let (handle, state) = empty();
    for name in [
        "http_expect_100",
        "http_get_nonexistent",
        "http_get_root",
        "http_hdr_1000",
        "http_json_batch",
        "http_json_no_id",
        "http_malformed_xml",
        "http_options_jsonrpc",
        "http_post_connection_close",
        "http_post_root_10",
        "http_post_root_11",
        "http_post_rpc2",
        "http_json_named_params",
    ] {
        same(&handle, &state, name).await;
    }
    let mut request =
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 307201\r\n\r\n".to_vec();
    request.resize(request.len() + 307_201, b'a');
    let wanted = String::from_utf8(recording("http_body_over_300k.resp")).expect("UTF-8");
    assert_eq!(exchange(&handle, &request).await, wanted);
}

#[test]
fn failures_print_their_code_only() {
    let failure = Failure::new("SESSION_INVALID", ["OpaqueRef:secret"]);
    assert_eq!(failure.to_string(), "SESSION_INVALID");
}
