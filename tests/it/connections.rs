//! Who takes all the connections there are does not keep others out, and whoever speaks something
//! else than the listener is told so.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use xengate::backend::tls_connector;
use xengate::config::{BackendTls, Config, ServerTls};
use xengate::sim::Value;

use crate::lab::{Gate, Lab};

/// How many requests a victim makes, and how long each may take.
const REQUESTS: usize = 200;
const DEADLINE: Duration = Duration::from_secs(5);

/// How many connections the aggressor would have; more than there are.
fn aggressors() -> usize {
    std::env::var("XENGATE_CONNECTIONS").map_or(420, |many| many.parse().expect("a number"))
}

/// A few less places than that.
fn places(config: &mut Config) {
    config.limits.max_connections = aggressors() * 4096 / 4200;
}

/// None of so many requests is refused or late, whether each comes over a connection of its own or
/// over one that is kept.
pub(crate) async fn victim(what: &str, gate: &Gate, token: &str, paths: &[&str]) {
    let client = |kept| {
        let client = reqwest::Client::builder().no_proxy().timeout(DEADLINE);
        client.pool_max_idle_per_host(kept).build().expect("a client")
    };
    let clients = [client(0), client(1)];
    let mut took = Vec::new();
    for number in 0..REQUESTS {
        let path = paths[number % paths.len()];
        let client = &clients[number / paths.len() % 2];
        let begun = Instant::now();
        let answer = client.get(gate.url(path)).bearer_auth(token).send().await;
        let answer = answer.unwrap_or_else(|error| panic!("{what}: {number}: {path}: {error:?}"));
        assert_eq!(answer.status(), 200, "{what}: {number}: {path}");
        answer.bytes().await.expect("all of it");
        took.push(begun.elapsed());
    }
    took.sort();
    let (half, most) = (took[REQUESTS / 2], took[REQUESTS * 99 / 100]);
    println!("{what}: p50 {half:?}, p99 {most:?}, longest {:?}", took[REQUESTS - 1]);
}

/// Connects from another address than the victim's.
async fn connect(to: SocketAddr, from: &str) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(format!("{from}:0").parse().expect("an address"))?;
    socket.connect(to).await
}

/// Keeps so many connections, each of which says this, and opens another one for each that ends.
fn aggressor(to: SocketAddr, from: &'static str, says: &'static [u8]) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    for _ in 0..aggressors() {
        connections.spawn(async move {
            loop {
                if let Ok(mut stream) = connect(to, from).await
                    && stream.write_all(says).await.is_ok()
                {
                    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
    }
    connections
}

/// Waits until there are as many as may be.
async fn until_full(gate: &Gate, token: &str) {
    let wanted = "xengate_http_connections ";
    gate.until("/metrics", token, |answer| {
        let text = answer.text();
        let count = text.lines().find_map(|line| line.strip_prefix(wanted)).expect("a gauge");
        count.parse::<usize>().expect("a number") >= aggressors() / 2
    })
    .await;
}

const SAYS: [(&str, &[u8]); 4] = [
    ("silent connections", b""),
    ("half a request", b"GET /livez HTTP/1.1\r\nHost:"),
    ("one small request each", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("HTTP/2 without a request", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_do_nothing_leave_others_their_places() {
    for (what, says) in SAYS {
        // Even from the victim's own address.
        let from: &[&str] =
            if says.is_empty() { &["127.0.0.2", "127.0.0.1"] } else { &["127.0.0.2"] };
        for from in from {
            let lab = Lab::with(|_| {}, |config, _| places(config)).await;
            let token = lab.login().await;
            let mut stream =
                lab.gate.request(reqwest::Method::GET, "/events?classes=pool&snapshot=true");
            stream = stream.bearer_auth(&token);
            let mut stream = stream.send().await.expect("a stream");
            let connections = aggressor(lab.gate.address(), from, says);
            until_full(&lab.gate, &token).await;
            let what = format!("{what}, from {from}");
            victim(&what, &lab.gate, &token, &["/livez", "/readyz", "/vms?limit=1"]).await;
            // What was under way goes on.
            let pool = lab.sim.refs("pool").pop().expect("a pool");
            let name = Value::text("after all");
            lab.sim.set_field("pool", &pool, "name_label", name).expect("renamed");
            let mut told = Vec::new();
            while !told.windows(9).any(|part| part == b"after all") {
                let chunk = tokio::time::timeout(DEADLINE * 4, stream.chunk()).await;
                told.extend(chunk.expect("in time").expect("no error").expect("not the end"));
            }
            drop((connections, stream));
            lab.end().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_whose_connections_are_busy_is_refused_and_others_are_not() {
    let lab = Lab::with(
        |_| {},
        |config, _| {
            config.limits.max_connections = 80;
            config.limits.max_connections_per_address = Some(20);
        },
    )
    .await;
    let token = lab.login().await;
    let stream = format!(
        "GET /events?classes=pool HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let mut streams = Vec::new();
    let said = loop {
        let mut one = connect(lab.gate.address(), "127.0.0.2").await.expect("connected");
        one.write_all(stream.as_bytes()).await.expect("sent");
        let mut said = vec![0; 12];
        one.read_exact(&mut said).await.expect("an answer");
        if said == *b"HTTP/1.1 200" {
            streams.push(one);
            continue;
        }
        let _ = one.read_to_end(&mut said).await;
        break String::from_utf8(said).expect("text");
    };
    assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("\"OVERLOADED\""), "{said}");
    assert!(said.contains("retry-after: "), "{said}");
    // The lab's own connections are among three quarters of 80.
    assert!((50..=60).contains(&streams.len()), "{}", streams.len());
    victim("one address's streams", &lab.gate, &token, &["/livez", "/vms?limit=1"]).await;
    drop(streams);
    lab.end().await;
}

fn tls(folder: &Path, hsts: Option<Duration>) -> ServerTls {
    let file = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    ServerTls {
        cert_file: file("certificate.pem", made.cert.pem()),
        key_file: file("key.pem", made.signing_key.serialize_pem()),
        hsts,
    }
}

/// The head of an answer over TLS.
async fn get_over_tls(address: SocketAddr, path: &str) -> String {
    let connector = tls_connector(&BackendTls::Insecure).expect("a connector");
    let stream = TcpStream::connect(address).await.expect("connected");
    let name = "localhost".try_into().expect("a name");
    let mut stream = connector.connect(name, stream).await.expect("TLS");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nOrigin: https://ui.example.com\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("all of it");
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n").expect("a head");
    String::from_utf8(answer[..end].to_vec()).expect("text")
}

#[tokio::test]
async fn browsers_are_held_to_tls_where_that_is_set() {
    let folder = tempfile::tempdir().expect("a directory");
    for (hsts, header) in
        [(None, None), (Some(Duration::from_secs(180 * 86400)), Some("max-age=15552000"))]
    {
        let tls = tls(folder.path(), hsts);
        let gate = Gate::start("http://127.0.0.1:1", |config| {
            config.tls = Some(tls);
            config.cors.origins = vec!["https://ui.example.com".to_owned()];
        })
        .await;
        for path in ["/livez", "/nowhere", "/vms", "/docs/", "/openapi.json"] {
            let head = get_over_tls(gate.address(), path).await.to_lowercase();
            let name = "strict-transport-security: ";
            let told = head.lines().find_map(|line| line.strip_prefix(name));
            assert_eq!(told, header, "{path}: {head}");
        }
        gate.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_begin_no_tls_leave_others_their_places() {
    let folder = tempfile::tempdir().expect("a directory");
    let tls = tls(folder.path(), None);
    let gate = Gate::start("http://127.0.0.1:1", |config| {
        places(config);
        config.tls = Some(tls);
    })
    .await;
    let connections = aggressor(gate.address(), "127.0.0.2", b"\x16\x03\x01\x02\x00");
    for number in 0..REQUESTS {
        let answer = tokio::time::timeout(DEADLINE, get_over_tls(gate.address(), "/livez")).await;
        let answer = answer.expect("in time");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{number}: {answer}");
    }
    drop(connections);
    gate.stop().await;
}
