use std::time::Duration;

use super::*;
use crate::{EventFrame, Phase};
use xenapi_wire::ReadError;

const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn follow(
    backend: &Backend,
    session: &Session,
    token: &str,
) -> (Vec<String>, Result<EventFrame, CallError>) {
    let mut events = Vec::new();
    let mut each = |event: &[u8]| {
        events.push(String::from_utf8_lossy(event).into_owned());
        Ok(())
    };
    let frame = backend.events(session, &["*"], token, TIMEOUT, &mut each).await;
    (events, frame)
}

const FRAME: &str = r#"{"events":[{"id":"156","class":"pool","operation":"add","snapshot":{"tags":[]}},{"id":"157","class":"vm","operation":"del"}],"valid_ref_counts":{"pool":1,"vm":0},"token":"00000000000000000218,00000000000000000000"}"#;

#[tokio::test]
async fn events_come_one_by_one_and_then_the_frame() {
    let server = server(|_| Act::Answer(json(FRAME))).await;
    let (backend, session) = logged_in(&server).await;
    let (events, frame) = follow(&backend, &session, "0,0").await;
    assert_eq!(events.len(), 2);
    assert!(events[0].contains("\"156\"") && events[1].contains("\"157\""));
    let frame = frame.expect("a frame");
    assert_eq!(frame.token, "00000000000000000218,00000000000000000000");
    assert_eq!(frame.valid_ref_counts["pool"], 1);
    let body = &server.asked()[3].body;
    assert!(body.contains(&format!("\"params\":[\"{REF}\",[\"*\"],\"0,0\",30.0]")), "{body}");
}

#[tokio::test]
async fn a_failure_to_follow_events_is_told() {
    let server = server(|asked| match asked.number {
        4 => Act::Answer(failure("EVENT_FROM_TOKEN_PARSE_FAILURE", &["garbage"])),
        _ => Act::Answer(failure(SESSION_INVALID, &[REF])),
    })
    .await;
    let (backend, session) = logged_in(&server).await;
    let failure = failure_of(follow(&backend, &session, "garbage").await.1);
    assert_eq!(failure.code, "EVENT_FROM_TOKEN_PARSE_FAILURE");
    let failure = failure_of(follow(&backend, &session, "").await.1);
    assert!(failure.code == SESSION_INVALID && !failure.params.concat().contains(REF));
    assert!(session.ended().is_cancelled());
}

#[tokio::test]
async fn events_that_break_off_are_an_error() {
    let whole = json(FRAME);
    let half = whole[..whole.len() - 60].to_vec();
    let server = server(move |asked| match asked.number {
        4 => Act::Last(half.clone()),
        5 => Act::Answer(json("{\"events\":[],\"valid_ref_counts\":{}}")),
        _ => Act::Answer(http("200 OK", "text/html", "<html></html>")),
    })
    .await;
    let (backend, session) = logged_in(&server).await;
    for want in ["the answer ends in the middle", "the answer does not fit the call"] {
        let error = follow(&backend, &session, "").await.1.expect_err(want);
        assert!(error.to_string().starts_with(want), "{error}");
    }
    let (events, frame) = follow(&backend, &session, "").await;
    assert!(events.is_empty());
    assert!(matches!(frame, Err(CallError::BadReply(_))), "{frame:?}");
    assert_eq!(calls(&server, "event.from"), 3, "nothing that streams is asked for twice");
}

#[tokio::test]
async fn a_sync_has_a_limit_of_its_own() {
    let long = FRAME.replace("\"add\"", &format!("\"{}\"", "a".repeat(5000)));
    let server = server(move |_| Act::Answer(json(&long))).await;
    let backend = backend(&[server.uri()], |config| {
        config.max_reply = 1000;
        config.max_sync_reply = 6000;
    });
    let session = login(&backend).await.expect("a session");
    follow(&backend, &session, "").await.1.expect("a frame");
    let error = backend.call(&session, "x", &[], Retry::Read).await.expect_err("too large");
    assert!(error.to_string().starts_with("reply exceeds max_reply"), "{error}");
}

#[tokio::test]
async fn who_takes_no_more_events_stops_them() {
    let server = server(|_| Act::Answer(json(FRAME))).await;
    let (backend, session) = logged_in(&server).await;
    let mut each = |_: &[u8]| Err(ReadError::NotAReply("no event"));
    let error =
        backend.events(&session, &["*"], "", TIMEOUT, &mut each).await.expect_err("stopped");
    assert!(error.to_string().contains("no event"), "{error}");
}

#[tokio::test]
async fn events_end_with_their_session() {
    let server = server(|asked| match asked.is("event.from") {
        true => Act::Hang(Vec::new()),
        false => Act::Answer(json("\"\"")),
    })
    .await;
    let (backend, session) = logged_in(&server).await;
    let (events, ()) = tokio::join!(follow(&backend, &session, ""), async {
        server.request(4).await;
        backend.logout(&session).await;
    });
    assert_eq!(failure_of(events.1).code, SESSION_INVALID);
}

#[tokio::test]
async fn a_host_that_waits_too_long_with_events_is_given_up() {
    let server = server(|_| Act::Hang(Vec::new())).await;
    let (backend, session) = logged_in(&server).await;
    let (events, ()) = tokio::join!(follow(&backend, &session, ""), async {
        server.request(4).await;
        tokio::time::pause();
    });
    assert!(matches!(events.1, Err(CallError::Timeout(Phase::Reply))));
}

#[tokio::test]
async fn an_event_nested_too_deep_ends_the_reply() {
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let frame = FRAME.replace("{\"tags\":[]}", &deep);
    let server = server(move |_| Act::Answer(json(&frame))).await;
    let (backend, session) = logged_in(&server).await;
    let (events, frame) = follow(&backend, &session, "").await;
    assert!(events.is_empty());
    let error = frame.expect_err("too deep");
    assert!(error.to_string().starts_with("the reply is nested more than 64 deep"), "{error}");
}

#[tokio::test]
async fn an_endless_reply_ends_at_the_limit() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let start = chunk(r#"{"result":{"events":[{"id":1}"#);
    let again = chunk(&r#",{"id":1}"#.repeat(512));
    let server = server(move |_| {
        Act::Endless(format!("{head}{start}").into_bytes(), again.clone().into_bytes())
    })
    .await;
    let backend = backend(&[server.uri()], |config| config.max_sync_reply = 100_000);
    let session = login(&backend).await.expect("a session");
    let (events, frame) = follow(&backend, &session, "").await;
    let error = frame.expect_err("endless");
    assert!(error.to_string().starts_with("reply exceeds max_sync_reply = 100000"), "{error}");
    assert!(events.len() > 10_000 / 9, "they came one by one until then");
}
