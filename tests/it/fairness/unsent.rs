//! Answers that one user does not take leave room for those of others.

use std::sync::Arc;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{alone, unharmed, victim};
use crate::lab::{Lab, PATIENCE};

/// Asks for 18 long lists, each of other bytes, and reads how each answer begins.
async fn lists(lab: &Lab, tokens: &[String; 2]) -> (Vec<TcpStream>, Vec<String>) {
    let (mut unread, mut heads) = (Vec::new(), Vec::new());
    for number in 0..18 {
        let mut client = TcpStream::connect(lab.gate.address()).await.expect("connected");
        let (limit, token) = (2000 - number, &tokens[number % 2]);
        let request = format!(
            "GET /vms?limit={limit} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        client.write_all(request.as_bytes()).await.expect("sent");
        let mut head = [0; 12];
        client.read_exact(&mut head).await.expect("it begins");
        heads.push(String::from_utf8_lossy(&head).into_owned());
        unread.push(client);
    }
    (unread, heads)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_that_one_user_does_not_read_leave_room_for_others() {
    let _alone = alone().await;
    let lab = Lab::with(
        |sim| sim.vms = 2000,
        |config, _| {
            config.limits.max_unsent = 16 << 20;
            config.limits.max_unsent_per_user = 8 << 20;
        },
    )
    .await;
    let lab = Arc::new(lab);
    let (victim, tokens) = (victim(&lab).await, [lab.login().await, lab.login().await]);
    let whole = lab.get("/vms?limit=2000", &tokens[0]).await.body.len();
    assert!(whole * 6 > 16 << 20, "some of these fill the room: {whole}");
    let (unread, heads) = lists(&lab, &tokens).await;
    let begun = heads.iter().filter(|head| *head == "HTTP/1.1 200").count();
    assert!(heads.iter().any(|head| head == "HTTP/1.1 429"), "{heads:?}");
    assert!(heads.iter().all(|head| head != "HTTP/1.1 503"), "{heads:?}");
    let answer = lab.get("/vms?limit=1500", &tokens[0]).await;
    assert_eq!(answer.problem(429, "TOO_MUCH_AT_ONCE")["params"], json!([]));
    unharmed("unread lists", &lab, &victim, &["/vms?limit=100", "/vms?limit=90", "/hosts"]).await;
    drop(unread);
    // All of it is given back: as many begin again.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        lab.until("/vms?limit=1500", &tokens[0], |answer| answer.status == 200).await;
        let (_unread, heads) = lists(&lab, &tokens).await;
        if heads.iter().filter(|head| *head == "HTTP/1.1 200").count() == begun {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{begun} began at first, now {heads:?}");
    }
    Arc::try_unwrap(lab).ok().expect("nobody else has it").end().await;
}
