//! A gateway in front of a real XAPI's recorded exchanges: no simulator has a say here.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::lab::Gate;

/// How the replayed server may be spoken to.
#[derive(Clone, Copy, PartialEq)]
enum Dialect {
    XmlRpc,
    JsonRpc,
}

impl Dialect {
    /// The end of the names of its recordings.
    fn suffix(self) -> &'static str {
        match self {
            Self::XmlRpc => "xml",
            Self::JsonRpc => "json2",
        }
    }
}

fn recorded(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sim");
    fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The head and the body of a recorded reply.
fn parts(reply: &[u8]) -> (String, String) {
    let text = std::str::from_utf8(reply).expect("UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").or(text.split_once("\n\n")).expect("a head");
    (head.to_owned(), body.to_owned())
}

/// A recorded reply with another body, head and all.
fn with_body(reply: &[u8], body: &str) -> Vec<u8> {
    let (head, _) = parts(reply);
    let lines = head.lines().map(|line| match line.starts_with("content-length") {
        true => format!("content-length: {}", body.len()),
        false => line.to_owned(),
    });
    format!("{}\r\n\r\n{body}", lines.collect::<Vec<_>>().join("\r\n")).into_bytes()
}

/// The first sync: `event.from` was recorded for one class at a time, so the records of four
/// recorded calls are put, unchanged, into the frame of a recorded `event.from`.
fn first_sync(dialect: Dialect) -> Vec<u8> {
    let classes = [
        ("pool", "all_pool"),
        ("vm", "all_vm"),
        ("vm_metrics", "all_vm_metrics"),
        ("console", "all_console"),
    ];
    match dialect {
        Dialect::JsonRpc => {
            let frame = recorded("event_from_pool.json2.resp");
            let mut document: Value = serde_json::from_str(&parts(&frame).1).expect("JSON");
            let mut events = Vec::new();
            for (class, name) in classes {
                let reply = recorded(&format!("{name}.json2.resp"));
                let reply: Value = serde_json::from_str(&parts(&reply).1).expect("JSON");
                for (reference, record) in reply["result"].as_object().expect("records") {
                    events.push(json!({"id": "1", "timestamp": "0.0", "class": class,
                        "operation": "add", "ref": reference, "snapshot": record}));
                }
            }
            document["result"]["events"] = events.into();
            with_body(&frame, &document.to_string())
        }
        Dialect::XmlRpc => {
            let frame = recorded("event_from_timeout.xml.resp");
            let body = parts(&frame).1;
            let mut events = String::new();
            for (class, name) in classes {
                let reply = parts(&recorded(&format!("{name}.xml.resp"))).1;
                for (reference, record) in xml_records(&reply) {
                    events.push_str(&format!(
                        "<value><struct><member><name>id</name><value>1</value></member>\
                         <member><name>timestamp</name><value>0.0</value></member>\
                         <member><name>class</name><value>{class}</value></member>\
                         <member><name>operation</name><value>add</value></member>\
                         <member><name>ref</name><value>{reference}</value></member>\
                         <member><name>snapshot</name>{record}</member></struct></value>"
                    ));
                }
            }
            let empty = "<array><data></data></array>";
            let full = format!("<array><data>{events}</data></array>");
            assert!(body.contains(empty), "the recorded wait ran out");
            with_body(&frame, &body.replacen(empty, &full, 1))
        }
    }
}

/// The refs and records of a recorded `get_all_records`.
fn xml_records(body: &str) -> Vec<(String, String)> {
    let mut records = Vec::new();
    let mut rest = body.split_once("<name>Value</name>").expect("a value").1;
    let name = "<member><name>OpaqueRef:";
    while let Some((_, tail)) = rest.split_once(name) {
        let (reference, value) = tail.split_once("</name>").expect("a name's end");
        // What follows a record tells its end from that of a struct in it: the next record, or the
        // end of all of them.
        let end = "</struct></value></member>";
        let ends = || value.match_indices(end).map(|(at, _)| (at, &value[at + end.len()..]));
        let at = ends()
            .find(|(_, next)| next.starts_with(name))
            .or(ends().filter(|(_, next)| next.starts_with(end)).last())
            .expect("a record's end")
            .0;
        let record = &value[..at + "</struct></value>".len()];
        records.push((format!("OpaqueRef:{reference}"), record.to_owned()));
        rest = &value[at..];
    }
    assert!(!records.is_empty());
    records
}

const LOGIN: &str = "session.login_with_password";

/// The password of the recorded pool's root, and what is answered to any other.
const LAB_PASSWORD: &str = "lab-root-pw";
const REFUSED: &str = "refused";

/// A refusal, in the head of a recorded login: with each of those, the connection is kept.
fn refused(login: &[u8], dialect: Dialect) -> Vec<u8> {
    let body = match dialect {
        Dialect::XmlRpc => {
            "<methodResponse><params><param><value><struct><member><name>Status</name><value>\
             Failure</value></member><member><name>ErrorDescription</name><value><array><data>\
             <value>SESSION_AUTHENTICATION_FAILED</value><value>someone</value></data></array>\
             </value></member></struct></value></param></params></methodResponse>"
        }
        Dialect::JsonRpc => {
            r#"{"jsonrpc":"2.0","error":{"code":1,"message":"SESSION_AUTHENTICATION_FAILED","data":["someone"]},"id":1}"#
        }
    };
    with_body(login, body)
}

/// Serves recorded replies by the name of the call, until the test ends.
async fn serve(listener: TcpListener, dialect: Dialect) {
    let name = |stem: &str| recorded(&format!("{stem}.{}.resp", dialect.suffix()));
    let replies: HashMap<&str, Vec<u8>> = HashMap::from([
        (LOGIN, name("login")),
        ("pool.get_all", name("get_all")),
        ("event.from", first_sync(dialect)),
        ("", name("method_unknown")),
        (REFUSED, refused(&name("login"), dialect)),
        ("/jsonrpc", recorded("http_get_nonexistent.resp")),
    ]);
    let replies = std::sync::Arc::new(replies);
    while let Ok((stream, _)) = listener.accept().await {
        let replies = replies.clone();
        tokio::spawn(async move {
            let _ = answer(stream, &replies, dialect).await;
        });
    }
}

async fn answer(
    mut stream: TcpStream,
    replies: &HashMap<&str, Vec<u8>>,
    dialect: Dialect,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    loop {
        let Some((path, body, used)) = whole_request(&request) else {
            if stream.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
            continue;
        };
        // The token of the first sync is not empty: the wait for changes does not end.
        if body.contains("event.from") && body.contains("00000000000000000") {
            std::future::pending::<()>().await;
        }
        let foreign = dialect == Dialect::XmlRpc && path == "/jsonrpc";
        let call = replies.keys().filter(|call| call.contains('.') && body.contains(**call)).max();
        let key = match call.copied() {
            _ if foreign => "/jsonrpc",
            Some(LOGIN) if !body.contains(LAB_PASSWORD) => REFUSED,
            call => call.unwrap_or_default(),
        };
        stream.write_all(&replies[key]).await?;
        if foreign {
            return stream.shutdown().await;
        }
        request.drain(..used);
    }
}

/// The path and the body of a request that has come whole, and its length.
fn whole_request(bytes: &[u8]) -> Option<(String, String, usize)> {
    let text = String::from_utf8_lossy(bytes);
    let (head, rest) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let length: usize = length.unwrap_or(0);
    let path = head.split(' ').nth(1)?.to_owned();
    let body = rest.get(..length)?.to_owned();
    Some((path, body, head.len() + 4 + length))
}

async fn a_recorded_pool_is_shown(dialect: Dialect) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let uri = format!("http://{}", listener.local_addr().expect("bound"));
    let server = tokio::spawn(serve(listener, dialect));
    let gate = Gate::start(&uri, |_| {}).await;
    let token = gate.login("root", LAB_PASSWORD).await;
    // The control domain is the one VM that the recorded pool had at the time.
    let list = gate.get("/vms", &token).await.ok();
    assert_eq!((&list["total"], &list["next"]), (&json!(1), &Value::Null));
    let vm = &list["items"][0];
    let uuid = "d0d0d0d0-1111-4222-8333-444455556666";
    for (field, expected) in [
        ("uuid", json!(uuid)),
        ("backend", json!("lab")),
        ("name_label", json!("Control domain on host: vm")),
        ("power_state", json!("Running")),
        ("is_control_domain", json!(true)),
        ("memory_static_max", json!(8_589_934_592_u64)),
        ("domid", json!(0)),
        ("HVM_shadow_multiplier", json!(1.0)),
        ("snapshot_time", json!("1970-01-01T00:00:00Z")),
        ("metrics", json!("aa9d2903-bba0-2d9b-c760-53ec40e5e4f7")),
        ("guest_metrics", Value::Null),
        // The host's record is not among the recorded ones, so its ref names nothing.
        ("resident_on", Value::Null),
        (
            "allowed_operations",
            json!(["metadata_export", "changing_static_range", "changing_dynamic_range"]),
        ),
        (
            "consoles",
            json!(["a3579f25-927f-1cb7-210f-57e731ef0f91", "3296f831-db41-ead6-4a65-c2bc25e19dc7"]),
        ),
        ("VBDs", json!([])),
        ("other_config", json!({})),
    ] {
        assert_eq!(vm[field], expected, "{field}");
    }
    let recorded_vm: Value =
        serde_json::from_str(&parts(&recorded("all_vm.json2.resp")).1).expect("JSON");
    let record = recorded_vm["result"].as_object().and_then(|vms| vms.values().next());
    for field in record.and_then(Value::as_object).expect("a record").keys() {
        assert!(vm.get(field).is_some(), "{field} was lost");
    }
    assert_eq!(&gate.get(&format!("/vms/{uuid}"), &token).await.ok(), vm);

    let metrics = gate.get(&format!("/vms/{uuid}/metrics"), &token).await.ok();
    for (field, expected) in [
        ("uuid", json!("aa9d2903-bba0-2d9b-c760-53ec40e5e4f7")),
        ("memory_actual", json!(8_589_934_592_u64)),
        ("VCPUs_utilisation", json!({"1": 0.0, "2": 0.0})),
        ("start_time", json!("1970-01-01T00:00:00Z")),
        ("hvm", json!(false)),
        ("guest", Value::Null),
    ] {
        assert_eq!(metrics[field], expected, "{field}");
    }
    let consoles = gate.get("/consoles", &token).await.ok();
    for console in consoles["items"].as_array().expect("items") {
        let location = console["location"].as_str().expect("a location");
        let own = format!("uuid={}", console["uuid"].as_str().expect("a uuid"));
        assert!(location.ends_with(&own), "{location}");
        assert_eq!(console["VM"], uuid);
    }
    let pool = &gate.get("/pools", &token).await.ok()["items"][0];
    assert_eq!(pool["uuid"], "dcf9af4b-162e-82e3-60ac-506b0edf276f");
    assert_eq!(pool["default_SR"], Value::Null);
    let login = parts(&recorded(&format!("login.{}.resp", dialect.suffix()))).1;
    let at = login.find("OpaqueRef:").expect("a session");
    gate.end(&[login[at..at + 46].to_owned()]).await;
    server.abort();
}

#[tokio::test]
async fn recorded_json_rpc_is_shown() {
    a_recorded_pool_is_shown(Dialect::JsonRpc).await;
}

#[tokio::test]
async fn recorded_xml_rpc_is_shown() {
    a_recorded_pool_is_shown(Dialect::XmlRpc).await;
}
