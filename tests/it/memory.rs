//! Memory has a size: what does not fit is refused in words, and the process goes on.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use xengate::sim::{PASSWORD, Value as SimValue};

use crate::lab::{Gate, Lab, logged};

#[tokio::test]
async fn a_pool_that_does_not_fit_is_said_not_to() {
    let little = |config: &mut xengate::config::Config| config.limits.memory = Some(16 << 20);
    let lab = Lab::with(|sim| sim.vms = 600, |config, _| little(config)).await;
    let token = lab.login().await;
    let answer = lab.get("/vms", &token).await;
    let problem = answer.problem(503, "BACKEND_NOT_READY");
    assert_eq!(problem["retryable"], true);
    assert!(problem["detail"].as_str().expect("text").contains("do not fit"), "{problem}");
    let ready = lab.get("/readyz", "").await.json();
    let detail = ready["backends"][0]["detail"].as_str().expect("a detail").to_owned();
    assert!(detail.contains("do not fit into the gateway's memory"), "{ready}");
    let backends = lab.get("/backends", &token).await.ok().to_string();
    assert!(backends.contains("raise limits.memory"), "{backends}");
    assert!(String::from_utf8_lossy(&logged()).contains("raise limits.memory"));
    lab.end().await;

    let lab = Lab::with(|sim| sim.vms = 20, |config, _| little(config)).await;
    let token = lab.login().await;
    lab.get("/vms", &token).await.ok();
    // It grows until it does not.
    let template = [("name_label", SimValue::text("x".repeat(60_000)))];
    for _ in 0..150 {
        lab.sim.create("VM", &template).expect("made");
    }
    lab.until("/readyz", "", |answer| answer.text().contains("do not fit")).await;
    lab.get("/vms", &token).await.problem(503, "BACKEND_NOT_READY");
    lab.end().await;
}

/// Asks for this and reads the head of the answer; its status, and where to read on.
async fn head(gate: &Gate, path: &str, token: &str) -> (u16, TcpStream) {
    // What the system's buffers hold is out of the gateway's hands.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(16 << 10).expect("set");
    let mut stream = socket.connect(gate.address()).await.expect("connected");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a head"));
    }
    let status = std::str::from_utf8(&head[9..12]).expect("text").parse().expect("a status");
    (status, stream)
}

/// The JSON in the rest of an answer, in chunks or not.
async fn rest(mut stream: TcpStream) -> Value {
    let mut body = Vec::new();
    stream.read_to_end(&mut body).await.expect("all of it");
    if body.starts_with(b"{") {
        return serde_json::from_slice(&body).expect("JSON");
    }
    let (mut whole, mut left) = (Vec::new(), &body[..]);
    while let Some(end) = left.windows(2).position(|part| part == b"\r\n") {
        let size = std::str::from_utf8(&left[..end]).expect("text");
        let size = usize::from_str_radix(size, 16).expect("a size");
        whole.extend_from_slice(&left[end + 2..end + 2 + size]);
        left = &left[end + 4 + size..];
    }
    serde_json::from_slice(&whole).expect("JSON")
}

#[tokio::test]
async fn whole_lists_are_written_as_they_are_taken_where_there_is_no_room_for_them() {
    let lab = Lab::with(
        |sim| sim.vms = 3000,
        |config, _| {
            config.limits.max_unsent = 4 << 20;
            config.limits.write_timeout = Duration::from_secs(600);
        },
    )
    .await;
    let token = lab.login().await;
    let list = lab.until("/vms?limit=1", &token, |answer| answer.status == 200).await;
    let vm = list.json()["items"][0]["uuid"].clone();
    let vm = vm.as_str().expect("a uuid");
    let mut readers = Vec::new();
    for number in 0..8 {
        // Each has another list.
        let name = format!("name {number}");
        lab.sim.set_field("VM", vm, "name_label", SimValue::text(name.as_str())).expect("set");
        let path = format!("/vms/{vm}");
        lab.until(&path, &token, |answer| answer.json()["name_label"] == name.as_str()).await;
        let (status, reader) = head(&lab.gate, "/vms?limit=10000", &token).await;
        assert_eq!(status, 200);
        readers.push((name, reader));
    }
    // There is an end to that as well.
    let mut more = Vec::new();
    let refused = loop {
        let (status, reader) = head(&lab.gate, "/vms?limit=10000", &token).await;
        if status != 200 {
            break status;
        }
        more.push(reader);
        assert!(more.len() < 100, "no end to it");
    };
    assert_eq!(refused, 503);
    lab.get("/livez", "").await.ok();
    drop(more);
    for (name, reader) in readers {
        let list = rest(reader).await;
        let items = list["items"].as_array().expect("items");
        assert_eq!(items.len() as u64, list["total"].as_u64().expect("a total"));
        let shown = items.iter().find(|item| item["uuid"] == vm).expect("the VM");
        assert_eq!(shown["name_label"], name.as_str());
    }
    lab.until("/vms?limit=10000", &token, |answer| answer.status == 200).await;
    lab.end().await;
}

/// A program of the gateway's, until it is dropped.
struct Program {
    child: Child,
    url: String,
}

impl Program {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_xengate"))
            .args(arguments)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let url = line.trim_end().rsplit(' ').next().expect("an address").to_owned();
        Self { child, url }
    }

    /// The most memory that it has had at a time, in bytes.
    fn most(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it runs");
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
        let most = most.trim().trim_end_matches(" kB").parse::<u64>().expect("a number");
        most << 10
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// With `XENGATE_VMS=10000` what is promised; else a tenth of it, whose program alone takes as much
/// as in the whole.
#[tokio::test]
async fn eight_slow_readers_of_everything_fit_into_the_memory_there_is() {
    let vms = std::env::var("XENGATE_VMS").map_or(1000, |many| many.parse().expect("a number"));
    // 320 MB for 10,000, of which 60 for the program as it is built for tests.
    let memory: u64 = 60_000_000 + 26_000 * vms;
    let pool =
        Program::start(&["sim", "--still", "--listen", "127.0.0.1:0", "--vms", &vms.to_string()]);
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let pool_url = &pool.url;
    let text = format!(
        "listen = \"127.0.0.1:0\"\n[limits]\nmemory = {memory}\nwrite_timeout = \"10m\"\n\
         [backends.pool]\nuri = \"{pool_url}\"\ncall_timeout = \"5m\"\n"
    );
    file.write_all(text.as_bytes()).expect("written");
    let gateway = Program::start(&["serve", "--config", file.path().to_str().expect("a path")]);
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let url = &gateway.url;
    let login = client.post(format!("{url}/sessions"));
    let login = login.json(&serde_json::json!({"username": "root", "password": PASSWORD}));
    let login: Value = login.send().await.expect("an answer").json().await.expect("JSON");
    let token = login["token"].as_str().expect("a token");
    let get = async |path: &str| {
        client.get(format!("{url}{path}")).bearer_auth(token).send().await.expect("an answer")
    };
    let patience = tokio::time::Instant::now() + Duration::from_secs(300);
    while get("/vms?limit=1").await.status() != 200 {
        let ready = get("/readyz").await.text().await.expect("text");
        assert!(!ready.contains("do not fit"), "{ready}");
        assert!(tokio::time::Instant::now() < patience, "{ready}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let synced = gateway.most();
    // Each in another order, so that no two have the same bytes.
    let fields = ["name_label", "uuid", "memory_static_max", "power_state"];
    let mut readers = Vec::new();
    for field in fields.iter().flat_map(|field| [(*field).to_owned(), format!("-{field}")]) {
        let path = format!("/vms?limit=10000&sort={field}");
        let mut answer = get(&path).await;
        assert_eq!(answer.status(), 200, "{path}");
        answer.chunk().await.expect("a body");
        readers.push(answer);
    }
    let stalled = gateway.most();
    for reader in readers {
        reader.bytes().await.expect("all of it");
    }
    let most = gateway.most();
    println!("{vms} VMs: synced {synced}, eight readers {stalled}, at most {most} of {memory}");
    assert!(most <= memory, "{most} of {memory}");
    assert_eq!(get("/livez").await.status(), 200);
}
