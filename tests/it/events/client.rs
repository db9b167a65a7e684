//! A client of event streams: as much of `text/event-stream` as the standard has.

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, Response};
use serde_json::{Map, Value};

use crate::lab::Lab;

/// An event that does not come by then never will.
const PATIENCE: Duration = Duration::from_secs(20);

/// An open stream.
pub(crate) struct Stream<'a> {
    lab: &'a Lab,
    headers: HeaderMap,
    response: Response,
    reader: Reader,
    ready: VecDeque<Said>,
    last_id: Option<String>,
}

/// What a stream says.
#[derive(Debug)]
enum Said {
    Event(Value),
    /// An id of its own, and perhaps a comment with it.
    Id(String),
}

/// Takes a stream apart.
#[derive(Default)]
struct Reader {
    rest: Vec<u8>,
    event: Map<String, Value>,
}

impl Reader {
    fn take(&mut self, bytes: &[u8], said: &mut VecDeque<Said>) {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = std::str::from_utf8(&line[..end]).expect("UTF-8");
            assert!(!line.contains('\r'), "{line}");
            if line.is_empty() {
                let event = std::mem::take(&mut self.event);
                match (event.contains_key("data"), event.get("id")) {
                    (true, _) => said.push_back(Said::Event(Value::Object(event))),
                    (false, Some(id)) => {
                        said.push_back(Said::Id(id.as_str().expect("text").to_owned()));
                    }
                    (false, None) => {}
                }
                continue;
            }
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?}"));
            let value = match name {
                "data" => serde_json::from_str(value).unwrap_or_else(|e| panic!("{e}: {value}")),
                "event" | "id" => Value::from(value),
                "retry" => {
                    value.parse::<u64>().expect("milliseconds");
                    continue;
                }
                "" => continue,
                other => panic!("{other:?}"),
            };
            assert!(self.event.insert(name.to_owned(), value).is_none(), "{name} twice");
        }
    }
}

/// The whole events in what was read of a stream.
pub(crate) fn parse(bytes: &[u8]) -> Vec<Value> {
    let mut said = VecDeque::new();
    Reader::default().take(bytes, &mut said);
    said.into_iter()
        .filter_map(|said| match said {
            Said::Event(event) => Some(event),
            Said::Id(_) => None,
        })
        .collect()
}

/// The number in an id.
pub(crate) fn number(id: &str) -> u64 {
    let (run, number) = id.split_once('-').unwrap_or_else(|| panic!("{id}"));
    assert_eq!(run.len(), 12, "{id}");
    number.parse().unwrap_or_else(|_| panic!("{id}"))
}

impl<'a> Stream<'a> {
    pub(crate) async fn open(lab: &'a Lab, path: &str, token: &str) -> Self {
        let request = lab.gate.request(Method::GET, path);
        Self::of(lab, request.bearer_auth(token)).await
    }

    /// The same, for a client that has seen everything up to an id.
    pub(crate) async fn again(lab: &'a Lab, path: &str, token: &str, id: &str) -> Self {
        let request = lab.gate.request(Method::GET, path).header("Last-Event-ID", id);
        let mut stream = Self::of(lab, request.bearer_auth(token)).await;
        // Until there is a newer one, this is still the last.
        stream.last_id = Some(id.to_owned()).filter(|id| !id.is_empty());
        stream
    }

    pub(crate) async fn of(lab: &'a Lab, request: reqwest::RequestBuilder) -> Self {
        let request = request.header("Accept", "text/event-stream");
        let response = request.send().await.expect("an answer");
        let headers = response.headers().clone();
        let status = response.status();
        if status != 200 {
            panic!("{status}: {}", response.text().await.expect("a body"));
        }
        let stream = Self {
            lab,
            headers,
            response,
            reader: Reader::default(),
            ready: VecDeque::new(),
            last_id: None,
        };
        assert_eq!(stream.header("content-type"), "text/event-stream");
        stream
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().expect("text")
    }

    /// The last id, as a browser would remember it.
    pub(crate) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// What it says next; none when it has ended.
    async fn said(&mut self) -> Option<Said> {
        while self.ready.is_empty() {
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await;
            let chunk = chunk.expect("something in time").expect("a stream that is not cut")?;
            self.lab.gate.keep(&chunk);
            self.reader.take(&chunk, &mut self.ready);
        }
        let said = self.ready.pop_front()?;
        match &said {
            Said::Event(event) => {
                if let Some(id) = event["id"].as_str() {
                    self.last_id = Some(id.to_owned());
                }
            }
            Said::Id(id) => self.last_id = Some(id.clone()),
        }
        Some(said)
    }

    /// The next event. That a backend is live goes without saying.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            match self.said().await.expect("one more event") {
                Said::Event(event) if event["data"]["state"] != "live" => return event,
                _ => {}
            }
        }
    }

    /// Waits for word that the backend is live.
    pub(crate) async fn live(&mut self) {
        loop {
            match self.said().await.expect("one more event") {
                Said::Event(event) if event["data"]["state"] == "live" => return,
                _ => {}
            }
        }
    }

    /// Waits for a sign of life.
    pub(crate) async fn heartbeat(&mut self) {
        loop {
            match self.said().await.expect("more") {
                Said::Id(_) => return,
                Said::Event(event) => assert_eq!(event["data"]["state"], "live", "{event}"),
            }
        }
    }

    /// The first event that is like this; others are passed over.
    pub(crate) async fn until(&mut self, like: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = self.next().await;
            if like(&event) {
                return event;
            }
        }
    }

    /// `ready`, which has to be the next event.
    pub(crate) async fn ready(&mut self) -> Value {
        let event = self.next().await;
        assert_eq!(event["event"], "ready", "{event}");
        event
    }

    /// What is told until `ready`, and that.
    pub(crate) async fn snapshot(&mut self) -> (Vec<Value>, Value) {
        let mut told = Vec::new();
        loop {
            let event = self.next().await;
            if event["event"] == "ready" {
                return (told, event);
            }
            told.push(event);
        }
    }

    /// Why it ends; the end has to be the next event, and the last.
    pub(crate) async fn end(&mut self) -> Value {
        let event = self.next().await;
        assert_eq!(event["event"], "end", "{event}");
        assert!(self.said().await.is_none(), "more after the end");
        event["data"].clone()
    }
}
