//! XAPI's manners on the wire.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use xengate::sim::{Sim, SimConfig};

use super::client::{start, talk};

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
