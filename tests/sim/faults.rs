//! Misbehaviour on demand.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use xengate::sim::{Fault, RawReply};

use super::client::{Client, start};

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
