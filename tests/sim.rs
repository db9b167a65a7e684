//! The simulated pool through its front door: what a client of a real XAPI would see.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use xengate::sim::{Fault, PASSWORD, RawReply, Sim, SimConfig, SimHandle, Time, User, Value};

/// Longer than anything here takes, so that a mistake fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(30);

fn start(vms: usize) -> SimHandle {
    Sim::start(SimConfig { vms, time: Time::Held, ..SimConfig::default() }).expect("a free port")
}

struct Client {
    http: reqwest::Client,
    url: String,
    session: Option<String>,
}

impl Client {
    fn new(sim: &SimHandle) -> Self {
        let http = reqwest::Client::builder().timeout(PATIENCE).build().expect("a client");
        Self { http, url: format!("{}/jsonrpc", sim.url()), session: None }
    }

    async fn logged_in(sim: &SimHandle, user: &str) -> Self {
        let mut client = Self::new(sim);
        let args = json!([user, PASSWORD, "1.0", "tests"]);
        let session = client.raw("session.login_with_password", args).await.expect("a login");
        client.session = Some(session.as_str().expect("a ref").to_owned());
        client
    }

    /// The result, or the failure as one array.
    async fn raw(&self, call: &str, args: Json) -> Result<Json, Json> {
        let reply = self.sent(call, args).await.expect("a reply");
        let mut reply: Json = serde_json::from_str(&reply).expect("JSON");
        match reply["error"].take() {
            Json::Null => Ok(reply["result"].take()),
            mut error => {
                let mut failure = vec![error["message"].take()];
                failure.extend(error["data"].as_array().expect("parameters").iter().cloned());
                Err(Json::Array(failure))
            }
        }
    }

    async fn sent(&self, call: &str, args: Json) -> reqwest::Result<String> {
        let body = json!({"jsonrpc": "2.0", "method": call, "params": args, "id": 1});
        self.http.post(&self.url).body(body.to_string()).send().await?.text().await
    }

    /// As [`Client::raw`], in this client's session.
    async fn call(&self, call: &str, args: Json) -> Result<Json, Json> {
        let mut all = vec![json!(self.session)];
        all.extend(args.as_array().expect("arguments").iter().cloned());
        self.raw(call, Json::Array(all)).await
    }

    async fn events(&self, classes: &[&str], token: &str, timeout: f64) -> (Vec<String>, String) {
        let frame = self.call("event.from", json!([classes, token, timeout])).await;
        let frame = frame.expect("events");
        let text = |value: &Json| value.as_str().expect("text").to_owned();
        let event = |event: &Json| format!("{} {}", text(&event["operation"]), text(&event["ref"]));
        let events = frame["events"].as_array().expect("events").iter().map(event).collect();
        (events, text(&frame["token"]))
    }
}

/// Sends bytes and reads until the connection closes.
async fn talk(addr: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.expect("a connection");
    stream.write_all(request).await.expect("a request sent");
    let mut reply = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut reply)).await;
    read.expect("an end in time").expect("a reply");
    String::from_utf8(reply).expect("UTF-8")
}

fn failure(result: Result<Json, Json>) -> String {
    let failure = result.expect_err("a failure");
    failure[0].as_str().expect("a code").to_owned()
}

#[tokio::test]
async fn logins_take_two_to_four_arguments() {
    let sim = start(0);
    let client = Client::new(&sim);
    let login = "session.login_with_password";
    for args in [json!(["root", PASSWORD]), json!(["root", PASSWORD, "1.0"])] {
        assert!(client.raw(login, args).await.is_ok());
    }
    assert!(client.raw(login, json!(["root", PASSWORD, "1.0", "me"])).await.is_ok());
    assert_eq!(sim.originators(), ["", "", "me"]);
    let refused = client.raw(login, json!(["root", "wrong", "1.0"])).await;
    let wanted = json!(["SESSION_AUTHENTICATION_FAILED", "root", "Authentication failure"]);
    assert_eq!(refused, Err(wanted));
    let count = failure(client.raw(login, json!(["root"])).await);
    assert_eq!(count, "MESSAGE_PARAMETER_COUNT_MISMATCH");
    assert_eq!(sim.seen(login), 5);
    assert_eq!(sim.sessions_open(), 3);
}

#[tokio::test]
async fn a_session_says_who_it_is() {
    let sim = start(0);
    let root = Client::logged_in(&sim, "root").await;
    let record = root.call("session.get_record", json!([root.session])).await.expect("a record");
    assert_eq!(record["is_local_superuser"], json!(true));
    assert_eq!(record["rbac_permissions"], json!([]));
    assert_eq!(record["auth_user_name"], json!("root"));
    let reader = Client::logged_in(&sim, "read-only").await;
    let of = |getter: &'static str| {
        let reader = &reader;
        async move { reader.call(getter, json!([reader.session])).await.expect("a field") }
    };
    assert_eq!(of("session.get_is_local_superuser").await, json!(false));
    assert_eq!(of("session.get_originator").await, json!("tests"));
    let permissions = of("session.get_rbac_permissions").await;
    let permissions = permissions.as_array().expect("permissions");
    assert!(permissions.contains(&json!("vm.get_record")));
    assert!(!permissions.contains(&json!("vm.set_name_label")));
    let subject = of("session.get_subject").await;
    let roles = reader.call("subject.get_roles", json!([subject])).await.expect("roles");
    let label = reader.call("role.get_name_label", json!([roles[0]])).await;
    assert_eq!(label, Ok(json!("read-only")));
}

#[tokio::test]
async fn roles_are_enforced_for_every_call() {
    let sim = start(1);
    let vm = sim.find("VM", "web-0001").expect("a VM").to_string();
    let (root, reader, operator) = (
        Client::logged_in(&sim, "root").await,
        Client::logged_in(&sim, "read-only").await,
        Client::logged_in(&sim, "vm-operator").await,
    );
    let rename = json!([vm, "renamed"]);
    let denied = reader.call("VM.set_name_label", rename.clone()).await.expect_err("a failure");
    assert_eq!(denied[0], "RBAC_PERMISSION_DENIED");
    assert_eq!(denied[1], "vm.set_name_label");
    assert_eq!(
        denied[2],
        "No permission in user session. (Roles with this permission: pool-admin, pool-operator, \
         vm-power-admin, vm-admin)"
    );
    assert_eq!(failure(reader.call("VM.start", json!([vm, false, false])).await), denied[0]);
    assert_eq!(root.call("VM.set_name_label", rename).await, Ok(json!("")));
    assert_eq!(sim.field("VM", &vm, "name_label"), Some(Value::text("renamed")));
    // Some keys of a map have roles of their own.
    let add = |key: &str| operator.call("VM.add_to_other_config", json!([vm, key, "x"]));
    assert!(add("folder").await.is_ok());
    let denied = add("anything").await.expect_err("a failure");
    assert_eq!(denied[1], "vm.add_to_other_config");
    let denied = add("pci").await.expect_err("a failure");
    assert_eq!(denied[1], "vm.add_to_other_config/key:pci");
}

#[tokio::test]
async fn records_are_found_in_every_way() {
    let sim = start(5);
    let client = Client::logged_in(&sim, "root").await;
    let all = client.call("VM.get_all_records", json!([])).await.expect("records");
    let all = all.as_object().expect("records");
    assert_eq!(all.len(), sim.count("VM"));
    let refs = client.call("VM.get_all", json!([])).await.expect("refs");
    assert_eq!(refs.as_array().map(Vec::len), Some(all.len()));
    let (reference, record) =
        all.iter().find(|(_, record)| record["name_label"] == "db-0002").expect("the second VM");
    assert!(!reference.contains(record["uuid"].as_str().expect("a uuid")));
    let by_uuid = client.call("VM.get_by_uuid", json!([record["uuid"]])).await;
    assert_eq!(by_uuid, Ok(json!(reference)));
    let by_name = client.call("VM.get_by_name_label", json!(["db-0002"])).await;
    assert_eq!(by_name, Ok(json!([reference])));
    assert_eq!(client.call("VM.get_record", json!([reference])).await.as_ref(), Ok(record));
    let expression = r#"field "name__label"="db-0002""#;
    let found = client.call("VM.get_all_records_where", json!([expression])).await;
    assert_eq!(found, Ok(json!({ reference: record })));
    for (field, value) in record.as_object().expect("a record") {
        let got = client.call(&format!("VM.get_{field}"), json!([reference])).await;
        assert_eq!(got.as_ref(), Ok(value), "{field}");
    }
}

#[tokio::test]
async fn every_class_that_lists_its_objects_does() {
    let sim = start(3);
    let client = Client::logged_in(&sim, "pool-admin").await;
    for class in xengate::datamodel::datamodel().classes.iter().filter(|class| class.get_all) {
        let listed = client.call(&format!("{}.get_all_records", class.name), json!([])).await;
        let listed = listed.expect("records");
        let count = listed.as_object().map(serde_json::Map::len);
        assert_eq!(count, Some(sim.count(&class.name)), "{}", class.name);
    }
}

#[tokio::test]
async fn setters_change_fields_as_xapi_does() {
    let sim = start(1);
    let client = Client::logged_in(&sim, "root").await;
    let vm = sim.find("VM", "web-0001").expect("a VM").to_string();
    let set = |call: &'static str, args: Json| {
        let (client, vm) = (&client, vm.clone());
        async move {
            let mut all = vec![json!(vm)];
            all.extend(args.as_array().expect("arguments").iter().cloned());
            client.call(call, Json::Array(all)).await
        }
    };
    let get = |field: &'static str| {
        let (client, vm) = (&client, vm.clone());
        async move { client.call(&format!("VM.get_{field}"), json!([vm])).await.expect("a field") }
    };
    set("VM.set_other_config", json!([{"z": "1", "a": "2"}])).await.expect("a write");
    set("VM.add_to_other_config", json!(["new", "3"])).await.expect("a write");
    let duplicate = set("VM.add_to_other_config", json!(["a", "2"])).await;
    assert_eq!(duplicate, Err(json!(["MAP_DUPLICATE_KEY", "VM", "other_config", vm, "a"])));
    set("VM.remove_from_other_config", json!(["z"])).await.expect("a write");
    set("VM.remove_from_other_config", json!(["never there"])).await.expect("a write");
    assert_eq!(get("other_config").await, json!({"new": "3", "a": "2"}));
    set("VM.set_tags", json!([["one"]])).await.expect("a write");
    set("VM.add_tags", json!(["two"])).await.expect("a write");
    set("VM.add_tags", json!(["one"])).await.expect("a write");
    set("VM.remove_tags", json!(["one"])).await.expect("a write");
    assert_eq!(get("tags").await, json!(["two"]));
    set("VM.set_user_version", json!(["0x10"])).await.expect("a write");
    assert_eq!(get("user_version").await, json!(16));
    // Refs are not looked at.
    set("VM.set_affinity", json!(["OpaqueRef:bogus"])).await.expect("a write");
    assert_eq!(get("affinity").await, json!("OpaqueRef:bogus"));
    let wrong = set("VM.set_is_a_template", json!(["true"])).await;
    let complaint = "Failure(\"Expected bool, got 'S(true)'\")";
    assert_eq!(wrong, Err(json!(["INTERNAL_ERROR", complaint])));
    let nobody = client.call("VM.set_name_label", json!(["OpaqueRef:NULL", "x"])).await;
    assert_eq!(nobody, Err(json!(["HANDLE_INVALID", "VM", "OpaqueRef:NULL"])));
    assert_eq!(failure(set("VM.clean_shutdown", json!([])).await), "NOT_IMPLEMENTED");
    let no_async = client.call("Async.VM.get_record", json!([vm])).await.expect_err("a failure");
    assert_eq!(no_async[0], "Fault");
}

#[tokio::test]
async fn events_tell_what_changed_since_a_token() {
    let sim = start(2);
    let client = Client::logged_in(&sim, "root").await;
    let (all, token) = client.events(&["*"], "", 0.0).await;
    assert!(all.iter().all(|event| event.starts_with("add ")));
    let vm = sim.find("VM", "web-0001").expect("a VM");
    sim.set_field("VM", &vm, "name_label", Value::text("renamed")).expect("a write");
    let (events, token) = client.events(&["*"], &token, 10.0).await;
    assert_eq!(events, [format!("mod {vm}")]);
    // Nobody waits for another class, nor for another object.
    let other = sim.find("VM", "db-0002").expect("a VM");
    let network = sim.create("network", &[("name_label", Value::text("new"))]).expect("a network");
    sim.destroy("VM", &other).expect("a VM");
    let (events, _) = client.events(&["network"], &token, 10.0).await;
    assert_eq!(events, [format!("add {network}")]);
    let (events, later) = client.events(&[&format!("vm/{other}")], &token, 10.0).await;
    assert_eq!(events, [format!("del {other}")]);
    assert!(later > token);
    let (events, same) = client.events(&["*", "nonsense"], &later, 0.0).await;
    assert_eq!((events, same), (Vec::new(), later));
}

#[tokio::test]
async fn a_wait_for_events_ends_with_the_first_change_or_with_its_time() {
    let sim = start(1);
    let client = Client::logged_in(&sim, "root").await;
    let (_, token) = client.events(&["*"], "", 0.0).await;
    let seen = sim.seen("event.from");
    let waits = || async {
        while sim.seen("event.from") == seen {
            tokio::task::yield_now().await;
        }
    };
    let pool = sim.refs("pool").remove(0);
    let touch = async {
        waits().await;
        let root = Client::logged_in(&sim, "root").await;
        root.call("event.inject", json!(["pool", pool])).await.expect("a token")
    };
    let ((events, after), injected) = tokio::join!(client.events(&["*"], &token, 3600.0), touch);
    assert_eq!(events, [format!("mod {pool}")]);
    assert!(after.as_str() >= injected.as_str().expect("a token"), "{after} {injected}");
    assert!(token.as_str() < after.as_str());
    let time = async {
        while sim.seen("event.from") == seen + 1 {
            tokio::task::yield_now().await;
        }
        sim.advance(Duration::from_secs(31));
    };
    let ((events, same), ()) = tokio::join!(client.events(&["*"], &after, 30.0), time);
    assert_eq!((events, same), (Vec::new(), after));
    let nothing = client.call("event.inject", json!(["pool", "OpaqueRef:NULL"])).await;
    assert_eq!(nothing, Err(json!(["HANDLE_INVALID", "pool", "OpaqueRef:NULL"])));
}

#[tokio::test]
async fn sessions_end_and_leave_no_way_back() {
    let sim = start(0);
    sim.mark_sessions(Some("dead5e55"));
    let client = Client::logged_in(&sim, "root").await;
    let session = client.session.clone().expect("a session");
    assert!(session.starts_with("OpaqueRef:dead5e55-"));
    assert_eq!(sim.session_refs(), [session.as_str()]);
    let invalid = json!(["SESSION_INVALID", session]);
    assert_eq!(client.call("session.logout", json!([])).await, Ok(json!("")));
    assert_eq!(client.call("pool.get_all", json!([])).await, Err(invalid));
    let client = Client::logged_in(&sim, "root").await;
    sim.fault(Some("pool.get_all"), Fault::ExpireSession, Some(1));
    assert_eq!(failure(client.call("pool.get_all", json!([])).await), "SESSION_INVALID");
    assert_eq!(sim.sessions_open(), 0);
    let client = Client::logged_in(&sim, "root").await;
    sim.advance(Duration::from_secs(25 * 60 * 60));
    assert_eq!(failure(client.call("pool.get_all", json!([])).await), "SESSION_INVALID");
    assert_eq!(sim.sessions_open(), 0);
    sim.put_user(User::with_role("late", PASSWORD, "vm-admin"));
    let late = Client::logged_in(&sim, "late").await;
    assert!(late.call("VM.get_all", json!([])).await.is_ok());
    sim.remove_user("late");
    let again = late.raw("session.login_with_password", json!(["late", PASSWORD])).await;
    assert_eq!(failure(again), "SESSION_AUTHENTICATION_FAILED");
    assert!(late.call("VM.get_all", json!([])).await.is_ok());
    assert_eq!(sim.end_sessions(None), 1);
}

#[tokio::test]
async fn faults_strike_the_call_they_are_for() {
    let sim = start(1);
    let client = Client::logged_in(&sim, "root").await;
    let call = "VM.get_all_records";
    let args = json!([client.session]);
    for fault in [Fault::Drop, Fault::Refuse, Fault::Cut(300), Fault::Cut(20)] {
        sim.fault(Some(call), fault.clone(), Some(1));
        assert!(client.sent(call, args.clone()).await.is_err(), "{fault:?}");
        assert!(client.call("pool.get_all", json!([])).await.is_ok());
        assert!(client.call(call, json!([])).await.is_ok());
    }
    sim.fault(Some(call), Fault::host_is_slave("192.0.2.99"), Some(1));
    let slave = client.call(call, json!([])).await;
    assert_eq!(slave, Err(json!(["HOST_IS_SLAVE", "192.0.2.99"])));
    let page = RawReply::http("404 Not Found", "text/html", "<html>no</html>");
    sim.fault(Some(call), Fault::Reply(page), Some(1));
    assert_eq!(client.sent(call, args.clone()).await.ok().as_deref(), Some("<html>no</html>"));
    sim.fault(Some(call), Fault::Hang, None);
    let hung = client.http.post(&client.url).timeout(Duration::from_millis(50));
    let body = json!({"method": call, "params": args, "id": 1}).to_string();
    assert!(hung.body(body).send().await.is_err_and(|error| error.is_timeout()));
    sim.clear_faults();
    assert!(client.call(call, json!([])).await.is_ok());
}

#[tokio::test]
async fn an_endless_reply_ends_with_the_client() {
    let sim = start(0);
    sim.fault(None, Fault::Reply(RawReply::endless("<?xml", "<value>")), Some(1));
    let mut stream = TcpStream::connect(sim.addr()).await.expect("a connection");
    let body = r#"{"method":"pool.get_all","params":["x"],"id":1}"#;
    let request = format!("POST /jsonrpc HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.expect("a request sent");
    let mut reply = vec![0; 1_000_000];
    stream.read_exact(&mut reply).await.expect("as much as is wanted");
    assert!(reply.ends_with(b"<value>") || reply.windows(7).any(|part| part == b"<value>"));
    drop(stream);
    sim.stop().await;
}

#[tokio::test]
async fn held_and_late_replies_come_in_the_end() {
    let sim = start(0);
    let client = Client::logged_in(&sim, "root").await;
    sim.hold("pool.get_all");
    sim.fault(Some("host.get_all"), Fault::Delay(Duration::from_secs(5)), Some(1));
    let release = async {
        while sim.seen("pool.get_all") == 0 || sim.seen("host.get_all") == 0 {
            tokio::task::yield_now().await;
        }
        // Others are not held.
        assert!(client.call("VM.get_all", json!([])).await.is_ok());
        sim.release("pool.get_all");
        // The delay may begin a moment after the call was seen.
        loop {
            sim.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    };
    let replies = async {
        tokio::join!(client.call("pool.get_all", json!([])), client.call("host.get_all", json!([])))
    };
    tokio::select! {
        (pool, host) = replies => assert!(pool.is_ok() && host.is_ok()),
        () = release => {}
    }
}

#[tokio::test]
async fn replies_can_be_slow() {
    let sim = start(40);
    let client = Client::logged_in(&sim, "root").await;
    sim.pace(1000);
    let mut passed = 0;
    let time = async {
        loop {
            sim.advance(Duration::from_secs(1));
            passed += 1;
            tokio::task::yield_now().await;
        }
    };
    let records = tokio::select! {
        records = client.call("VM.get_all_records", json!([])) => records.expect("records"),
        () = time => unreachable!("time goes on for ever"),
    };
    let bytes = records.to_string().len();
    assert!(bytes > 100_000);
    // Nothing is waited for after the last part.
    assert!(passed >= bytes / 1000 - 64, "{bytes} bytes in {passed} s");
}

#[tokio::test]
async fn the_port_closes_and_opens_again() {
    let sim = start(0);
    let client = Client::logged_in(&sim, "root").await;
    sim.stop_listening();
    let args = json!([client.session]);
    assert!(client.sent("pool.get_all", args.clone()).await.is_err());
    while TcpStream::connect(sim.addr()).await.is_ok() {
        tokio::task::yield_now().await;
    }
    sim.listen_again().expect("the same port");
    assert!(client.sent("pool.get_all", args).await.is_ok());
}

#[tokio::test]
async fn requests_can_be_pipelined() {
    let sim = start(0);
    let body = r#"{"method":"pool.get_all","params":["x"],"id":N}"#;
    let request = |id: u8, close: &str| {
        let body = body.replace('N', &id.to_string());
        let length = body.len();
        format!("POST /jsonrpc HTTP/1.1\r\nContent-Length: {length}\r\n{close}\r\n{body}")
    };
    let both = request(1, "") + &request(2, "Connection: close\r\n");
    let replies = talk(sim.addr(), both.as_bytes()).await;
    let ids: Vec<_> = [1, 2].iter().map(|id| replies.find(&format!("\"id\":{id}}}"))).collect();
    assert!(ids[0].is_some() && ids[0] < ids[1], "{replies}");
    assert_eq!(replies.matches("HTTP/1.1 200 OK\r\n").count(), 2);
}

#[tokio::test]
async fn http_that_xapi_does_not_speak_is_refused() {
    let sim = start(0);
    for (request, status, what) in [
        ("HEAD / HTTP/1.1\r\n\r\n", "501 Method not implemented", "Unknown HEAD not supported."),
        (
            "DELETE / HTTP/1.0\r\n\r\n",
            "501 Method not implemented",
            "Unknown DELETE not supported.",
        ),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "500 Internal Error",
            "Failure(&quot;We require a content-length: HTTP header&quot;)",
        ),
        ("nonsense\r\n\r\n", "500 Internal Error", "The HTTP headers could not be parsed."),
        ("PUT /nowhere HTTP/1.1\r\n\r\n", "403 Forbidden", "forbidden"),
    ] {
        let reply = talk(sim.addr(), request.as_bytes()).await;
        let version = if request.contains("1.0") { "1.0" } else { "1.1" };
        assert!(reply.starts_with(&format!("HTTP/{version} {status}\r\n")), "{reply}");
        assert!(reply.contains(what) && reply.contains("connection: close\r\n"), "{reply}");
    }
    let mut silent = TcpStream::connect(sim.addr()).await.expect("a connection");
    let mut reply = Vec::new();
    let read = silent.read_to_end(&mut reply);
    let time = async {
        // The connection may be taken up a moment after it was made.
        loop {
            sim.advance(Duration::from_secs(11));
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        read = read => assert!(read.is_ok()),
        () = time => {}
    }
    assert!(reply.starts_with(b"HTTP/1.1 408 Request Timeout\r\n"));
}

#[tokio::test]
async fn a_unix_socket_answers_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("xapi");
    let config = SimConfig { unix: Some(path.clone()), vms: 0, ..SimConfig::default() };
    let _sim = Sim::start(config).expect("a socket");
    let mut stream = UnixStream::connect(path).await.expect("a connection");
    stream.write_all(b"OPTIONS / HTTP/1.0\r\n\r\n").await.expect("a request sent");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.expect("a reply");
    assert!(reply.starts_with("HTTP/1.0 200 OK\r\n"), "{reply}");
}

#[tokio::test]
async fn tls_is_spoken_when_asked_for() {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a pair");
    let key = PrivateKeyDer::Pkcs8(pair.signing_key.serialize_der().into());
    let crypto = Arc::new(ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&crypto))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![pair.cert.der().clone()], key)
        .expect("a certificate");
    let config = SimConfig { tls: Some(server.into()), vms: 0, ..SimConfig::default() };
    let sim = Sim::start(config).expect("a free port");
    assert!(sim.url().starts_with("https://"));
    let mut roots = RootCertStore::empty();
    roots.add(pair.cert.der().clone()).expect("a root");
    let client = ClientConfig::builder_with_provider(crypto)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(sim.addr()).await.expect("a connection");
    let name = ServerName::try_from("localhost").expect("a name");
    let connector = TlsConnector::from(Arc::new(client));
    let mut stream = connector.connect(name, stream).await.expect("a handshake");
    stream.write_all(b"OPTIONS / HTTP/1.1\r\n\r\n").await.expect("a request sent");
    let mut reply = [0; 15];
    stream.read_exact(&mut reply).await.expect("a reply");
    assert_eq!(&reply, b"HTTP/1.1 200 OK");
}

#[tokio::test]
async fn a_lively_pool_moves_by_itself() {
    let config = SimConfig { vms: 20, time: Time::Held, activity: true, ..SimConfig::default() };
    let sim = Sim::start(config).expect("a free port");
    let client = Client::logged_in(&sim, "root").await;
    let (_, mut token) = client.events(&["VM", "VM_metrics", "task"], "", 0.0).await;
    let mut kinds = [false; 2];
    for _ in 0..1000 {
        sim.advance(Duration::from_secs(1));
        let (events, next) = client.events(&["VM_metrics"], &token, 0.0).await;
        kinds[0] |= !events.is_empty();
        kinds[1] |= sim.count("task") > 0;
        token = next;
        if kinds == [true; 2] {
            return;
        }
    }
    panic!("nothing moved: {kinds:?}");
}
