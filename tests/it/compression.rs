//! Compressed answers, and large bodies that many clients get.

use std::io::Read;

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use xengate::sim::{PASSWORD, Value as SimValue};

use crate::lab::{Answer, Lab};

/// Enough for a list that is worth sharing.
async fn lab() -> Lab {
    Lab::with(|sim| sim.vms = 100, |_, _| {}).await
}

async fn ask(lab: &Lab, method: Method, path: &str, token: &str, accept: &str) -> Answer {
    let request = lab.gate.request(method, path).bearer_auth(token);
    lab.gate.send(request.header("Accept-Encoding", accept)).await
}

async fn accepting(lab: &Lab, path: &str, token: &str, accept: &str) -> Answer {
    ask(lab, Method::GET, path, token, accept).await
}

/// The body as it was before it was compressed as its header says.
fn unpacked(answer: &Answer) -> Vec<u8> {
    let (packed, mut plain) = (&*answer.body, Vec::new());
    match answer.header("content-encoding") {
        Some("zstd") => plain = zstd::stream::decode_all(packed).expect("zstd"),
        Some("gzip") => {
            flate2::read::GzDecoder::new(packed).read_to_end(&mut plain).expect("gzip");
        }
        Some("br") => {
            brotli::Decompressor::new(packed, 4096).read_to_end(&mut plain).expect("br");
        }
        other => panic!("content-encoding {other:?}"),
    }
    plain
}

#[tokio::test]
async fn bodies_come_as_the_client_takes_them() {
    let lab = lab().await;
    let token = lab.login().await;
    let vm = lab.get("/vms", &token).await.ok()["items"][0]["uuid"].clone();
    let one = format!("/vms/{}", vm.as_str().expect("a uuid"));
    for path in ["/vms", &*one, "/vms?limit=30", "/openapi.json", "/docs/swagger-ui.css"] {
        let plain = lab.get(path, &token).await;
        assert_eq!((plain.status.as_u16(), plain.header("content-encoding")), (200, None));
        let mut tags = vec![plain.header("etag").map(str::to_owned)];
        for (accept, coding) in [
            ("gzip, deflate, br, zstd", "zstd"),
            ("gzip, deflate, br", "br"),
            ("gzip", "gzip"),
            ("br;q=0.3, gzip;q=0.5, zstd;q=0", "gzip"),
            ("*", "zstd"),
        ] {
            let packed = accepting(&lab, path, &token, accept).await;
            assert_eq!(packed.header("content-encoding"), Some(coding), "{path} {accept}");
            assert!(packed.header("vary").is_some_and(|vary| vary.contains("Accept-Encoding")));
            assert_eq!(packed.header("content-type"), plain.header("content-type"), "{path}");
            assert!(packed.body.len() < plain.body.len(), "{path} {accept}");
            assert!(unpacked(&packed) == plain.body, "{path} {accept}");
            let length = packed.body.len().to_string();
            assert_eq!(packed.header("content-length"), Some(&*length), "{path} {accept}");
            let tag = packed.header("etag").map(str::to_owned);
            let head = ask(&lab, Method::HEAD, path, &token, accept).await;
            assert_eq!(head.header("etag").map(str::to_owned), tag, "{path} {accept}");
            assert_eq!(head.header("content-encoding"), Some(coding), "{path} {accept}");
            let Some(tag) = tag else { continue };
            let again = lab.gate.request(Method::GET, path).bearer_auth(&token);
            let again = again.header("Accept-Encoding", accept).header("If-None-Match", &tag);
            let same = lab.gate.send(again).await;
            assert_eq!((same.status.as_u16(), same.header("etag")), (304, Some(&*tag)));
            // Of no use to who does not take that coding.
            let other = lab.gate.request(Method::GET, path).bearer_auth(&token);
            let other = lab.gate.send(other.header("If-None-Match", &tag)).await;
            assert_eq!((other.status.as_u16(), &other.body), (200, &plain.body));
            if accept != "*" && !accept.starts_with("br;") {
                tags.push(Some(tag));
            }
        }
        if tags[0].is_some() {
            tags.sort_unstable();
            tags.dedup();
            assert_eq!(tags.len(), 4, "each form has a tag of its own");
        }
    }
    lab.end().await;
}

#[tokio::test]
async fn what_is_better_left_alone_is() {
    let lab = lab().await;
    let all = "gzip, br, zstd";
    let body = json!({"username": "root", "password": PASSWORD});
    let login = lab.gate.request(Method::POST, "/sessions").json(&body);
    let login = lab.gate.send(login.header("Accept-Encoding", all)).await;
    assert_eq!((login.status.as_u16(), login.header("content-encoding")), (201, None));
    let token = lab.login().await;
    // Small ones, problems, and what has no body.
    for path in ["/sessions/current", "/livez", "/vms/no-uuid", "/nowhere"] {
        let answer = accepting(&lab, path, &token, all).await;
        assert_eq!(answer.header("content-encoding"), None, "{path}");
        answer.json();
    }
    let plain = lab.get("/vms", &token).await;
    let garbage = ["", "identity", "deflate", ";;;,,;", "gzip;q=", "gzip;q=7", "gzip;q=0", "*;q=0"];
    let long = "x,".repeat(4000);
    for accept in garbage.into_iter().chain([&*long]) {
        let answer = accepting(&lab, "/vms", &token, accept).await;
        assert_eq!((answer.header("content-encoding"), &answer.body), (None, &plain.body));
        assert_eq!(answer.header("etag"), plain.header("etag"));
    }
    lab.end().await;
}

#[tokio::test]
async fn a_change_is_seen_in_every_form() {
    let lab = lab().await;
    let token = lab.login().await;
    let list = lab.get("/vms", &token).await.ok();
    let vm = list["items"][0]["uuid"].as_str().expect("a uuid");
    for name in ["one", "two", "three"] {
        lab.sim.set_field("VM", vm, "name_label", SimValue::text(name)).expect("set");
        let path = format!("/vms/{vm}");
        lab.until(&path, &token, |vm| vm.json()["name_label"] == name).await;
        let plain = lab.get("/vms", &token).await;
        assert_eq!(plain.ok()["items"][0]["name_label"], name);
        for coding in ["zstd", "br", "gzip"] {
            let packed = accepting(&lab, "/vms", &token, coding).await;
            assert!(unpacked(&packed) == plain.body, "{coding}");
        }
    }
    lab.end().await;
}

#[tokio::test]
async fn a_list_that_many_have_asked_for_and_nobody_takes_is_in_nobodys_way() {
    let lab = Lab::with(
        |sim| sim.vms = 1000,
        // Enough for one such list, not for two.
        |config, _| config.limits.max_unsent = 5 << 20,
    )
    .await;
    let token = lab.login().await;
    let list = lab.get("/vms", &token).await;
    assert!((2 << 20..5 << 20).contains(&list.body.len()), "{}", list.body.len());
    let address = lab.gate.url("").trim_start_matches("http://").to_owned();
    let head = format!("GET /vms HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    let mut open = Vec::new();
    for _ in 0..30 {
        let mut stream = TcpStream::connect(&address).await.expect("connected");
        stream.write_all(head.as_bytes()).await.expect("asked");
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.expect("answered");
        assert_eq!(&status, b"HTTP/1.1 200");
        open.push(stream);
    }
    lab.get("/vms", &token).await.ok();
    let mut last = open.pop().expect("one");
    let mut rest = vec![0; list.body.len()];
    last.read_exact(&mut rest).await.expect("the whole body");
    drop(open);
    lab.end().await;
}
