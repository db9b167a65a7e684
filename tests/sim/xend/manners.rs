//! xend's manners on the wire.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use xengate::sim::xend::{Xend, XendConfig};
use xengate::sim::{Failure, Fault, RawReply};
use xengate::wire::xmlrpc;

use super::{Client, call, read, start, talk};

#[tokio::test]
async fn what_is_not_understood_closes_the_connection_without_a_word() {
    let xend = start(1);
    for request in [
        "POST / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n<nope",
        "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
        "nonsense\r\n\r\n",
    ] {
        assert_eq!(talk(xend.api_addr(), request.as_bytes()).await, b"", "{request}");
        assert_eq!(talk(xend.legacy_addr(), request.as_bytes()).await, b"", "{request}");
    }
    for method in ["GET", "PUT", "OPTIONS"] {
        let reply = talk(xend.api_addr(), format!("{method} / HTTP/1.1\r\n\r\n").as_bytes()).await;
        let reply = String::from_utf8(reply).expect("UTF-8");
        assert!(reply.starts_with(&format!("HTTP/1.1 501 Unsupported method ('{method}')\r\n")));
    }
}

#[tokio::test]
async fn connections_are_kept_and_requests_pipelined() {
    let xend = start(1);
    let body = xmlrpc::call("session.login_with_password", &["x".into(), "y".into()]);
    let body = body.expect("a call");
    let request = |more: &str| {
        let head =
            format!("POST /anything HTTP/1.1\r\nContent-Length: {}\r\n{more}\r\n", body.len());
        [head.into_bytes(), body.clone()].concat()
    };
    let both = [request(""), request("Connection: close\r\n")].concat();
    let replies = String::from_utf8(talk(xend.api_addr(), &both).await).expect("UTF-8");
    assert_eq!(replies.matches("HTTP/1.1 200 OK\r\n").count(), 2);
    assert!(replies.contains("<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n"));
    assert_eq!(xend.sessions_open(), 2);
}

#[tokio::test]
async fn unix_sockets_answer_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let (api, legacy) = (folder.path().join("xen-api.sock"), folder.path().join("xmlrpc.sock"));
    let config = XendConfig {
        api_socket: Some(api.clone()),
        legacy_socket: Some(legacy.clone()),
        ..XendConfig::default()
    };
    let _xend = Xend::start(config).expect("sockets");
    for (path, name, args) in [
        (api, "session.login_with_password", vec!["x".into(), "y".into()]),
        (legacy, "xend.domain", vec!["Domain-0".into()]),
    ] {
        let body = xmlrpc::call(name, &args).expect("a call");
        let head = format!("POST /RPC2 HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len());
        let mut stream = UnixStream::connect(path).await.expect("a connection");
        stream.write_all(&[head.into_bytes(), body].concat()).await.expect("a request sent");
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await.expect("a reply");
        assert!(!read(&reply).to_string().contains("fault"));
    }
}

#[tokio::test]
async fn events_hang() {
    let xend = start(2);
    let client = Client::login(&xend).await;
    let unregistered = client.call("event.next", &[]).await.expect_err("a failure");
    assert_eq!(unregistered[0], "SESSION_NOT_REGISTERED");
    let classes = xengate::wire::Arg::Array(Vec::new());
    client.call("event.register", &[classes]).await.expect("registered");
    // Somebody who does not read, in time, is in everyone's way.
    let vm = xend.vms()[1].uuid.clone();
    let set = async || {
        let args = [vm.as_str().into(), "x".into()];
        client.call("VM.set_PV_args", &args).await
    };
    for _ in 0..50 {
        set().await.expect("a write");
    }
    let hangs = tokio::time::timeout(Duration::from_millis(50), set()).await;
    assert!(hangs.is_err());
    assert_eq!(xend.event_calls(), 2);
}

#[tokio::test]
async fn faults_strike_as_told() {
    let xend = start(2);
    let login = async || {
        let args = ["x".into(), "y".into()];
        call(xend.api_addr(), "session.login_with_password", &args).await
    };
    let name = Some("session.login_with_password");
    xend.fault(name, Fault::Fail(Failure::new("INTERNAL_ERROR", ["x"])), Some(1));
    assert_eq!(login().await["ErrorDescription"][0], "INTERNAL_ERROR");
    assert_eq!(login().await["Status"], "Success");
    for (fault, left) in [
        (Fault::Refuse, 0),
        (Fault::Drop, 0),
        (Fault::Cut(40), 40),
        (Fault::Reply(RawReply::http("502 Bad Gateway", "text/html", "<p>")), 99),
    ] {
        xend.fault(name, fault, Some(1));
        let body = xmlrpc::call("session.login_with_password", &["x".into(), "y".into()]);
        let body = body.expect("a call");
        let head = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
        let reply = talk(xend.api_addr(), &[head.into_bytes(), body].concat()).await;
        assert!(reply.len() == left || left == 99 && reply.starts_with(b"HTTP/1.1 502 "));
    }
    xend.fault(name, Fault::Hang, None);
    let hangs = tokio::time::timeout(Duration::from_millis(50), login()).await;
    assert!(hangs.is_err());
    xend.clear_faults();
    // A connection that has been taken up, and is kept.
    let mut kept = TcpStream::connect(xend.api_addr()).await.expect("a connection");
    let body = xmlrpc::call("session.logout", &[]).expect("a call");
    let head = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
    kept.write_all(&[head.into_bytes(), body].concat()).await.expect("a request sent");
    let mut first = [0; 15];
    kept.read_exact(&mut first).await.expect("a reply");
    xend.drop_connections();
    let mut rest = Vec::new();
    let end = tokio::time::timeout(super::PATIENCE, kept.read_to_end(&mut rest)).await;
    // Closed, or torn down with what was not read.
    let _ = end.expect("an end in time");
    assert_eq!(login().await["Status"], "Success");
}
