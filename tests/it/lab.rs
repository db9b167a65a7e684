//! A gateway and a simulated pool for one test, and a client that looks for leaks.
//!
//! Every session ref the pool gives out is a sentinel: when the lab ends, none of them may stand in
//! anything the gateway answered or logged.

use std::io;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use xengate::app::{App, Running};
use xengate::config::{BackendConfig, Config};
use xengate::sim::{PASSWORD, Sim, SimConfig, SimHandle};
use xengate::telemetry::request_span::RequestSpans;

/// The name of the one backend.
pub(crate) const BACKEND: &str = "lab";

/// How long a condition may take to come true before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked at.
const GLANCE: Duration = Duration::from_millis(10);

/// A simulated pool whose sessions can be told from all else. Pools of one seed give out the same
/// uuids, one for a VM and another for a session: marked, a session cannot be taken for anything
/// else that was logged.
pub(crate) fn pool() -> SimConfig {
    SimConfig { session_mark: Some("5e550000".to_owned()), ..SimConfig::default() }
}

/// A gateway in front of a simulated pool.
pub(crate) struct Lab {
    pub(crate) sim: SimHandle,
    pub(crate) gate: Gate,
}

/// A running gateway and a client of it that remembers every answer.
pub(crate) struct Gate {
    running: Running,
    client: reqwest::Client,
    answers: Mutex<Vec<u8>>,
}

/// An answer of the gateway.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The body as text.
    #[track_caller]
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8")
    }

    /// The answer's header, as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body, after checking that it is a 200.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }

    /// The problem document, after checking that it is one, of this status and code.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        let problem = self.json();
        assert_eq!(self.status, status, "{problem}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"), "{problem}");
        for member in ["type", "title", "detail"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
        }
        assert!(problem["retryable"].is_boolean() && problem["params"].is_array(), "{problem}");
        problem
    }
}

impl Lab {
    /// A gateway in front of a pool with ten VMs.
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}, |_, _| {}).await
    }

    /// The same, after `sim` and `gateway` have changed their configurations.
    pub(crate) async fn with(
        sim: impl FnOnce(&mut SimConfig),
        gateway: impl FnOnce(&mut Config, &SimHandle),
    ) -> Self {
        let mut config = SimConfig { batching: Some(Duration::ZERO), ..pool() };
        sim(&mut config);
        let sim = Sim::start(config).expect("the pool starts");
        let gate = Gate::start(&sim.url(), |config| gateway(config, &sim)).await;
        Self { sim, gate }
    }

    /// Logs in as the pool's superuser, and waits until the mirror is live.
    pub(crate) async fn login(&self) -> String {
        self.gate.login("root", PASSWORD).await
    }

    /// `GET path` as whoever `token` names.
    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        self.gate.get(path, token).await
    }

    /// Asks until the answer is as it should be.
    pub(crate) async fn until(
        &self,
        path: &str,
        token: &str,
        holds: impl Fn(&Answer) -> bool,
    ) -> Answer {
        self.gate.until(path, token, holds).await
    }

    /// Lets so much time go by at once, and then the gateway do what there is to do.
    pub(crate) async fn passes(&self, time: Duration) {
        tokio::time::pause();
        tokio::time::advance(time).await;
        tokio::time::resume();
        self.get("/livez", "").await.ok();
    }

    /// Ends both, having looked for leaks.
    pub(crate) async fn end(self) {
        let secrets = self.sim.session_refs();
        assert!(!secrets.is_empty(), "somebody logged in");
        self.gate.end(&secrets).await;
        self.sim.stop().await;
    }
}

impl Gate {
    /// A gateway whose one backend is at `uri`.
    pub(crate) async fn start(uri: &str, change: impl FnOnce(&mut Config)) -> Self {
        capture_logs();
        let backend = BackendConfig::new(vec![uri.to_owned()]);
        let mut config = Config {
            listen: ([127, 0, 0, 1], 0).into(),
            backends: [(BACKEND.to_owned(), backend)].into(),
            ..Config::default()
        };
        change(&mut config);
        let running = App::start(config).await.expect("the gateway starts");
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { running, client, answers: Mutex::default() }
    }

    /// Where a path of the gateway is.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.running.url())
    }

    /// A request to be filled in, for [`Gate::send`].
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, self.url(path))
    }

    /// Sends a request and keeps the answer in mind.
    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        self.read(request.send().await.expect("an answer")).await
    }

    /// Reads an answer and keeps it in mind.
    async fn read(&self, mut response: reqwest::Response) -> Answer {
        let (status, headers) = (response.status(), response.headers().clone());
        // Whatever is answered, no browser is to guess what it might be.
        let sniffed = headers.get("x-content-type-options").is_none_or(|it| it != "nosniff");
        assert!(!sniffed, "{status} without nosniff: {headers:?}");
        let is_stream = headers.get("content-type").is_some_and(|it| it == "text/event-stream");
        let body = match is_stream {
            // It never ends; how it begins will do.
            true => response.chunk().await.expect("a body").unwrap_or_default().to_vec(),
            false => response.bytes().await.expect("a whole body").to_vec(),
        };
        let mut answers = self.answers.lock().expect("not poisoned");
        for value in headers.values() {
            answers.extend_from_slice(value.as_bytes());
            answers.push(b'\n');
        }
        answers.extend_from_slice(&body);
        answers.push(b'\n');
        Answer { status, headers, body }
    }

    /// Keeps in mind what was answered otherwise.
    pub(crate) fn keep(&self, bytes: &[u8]) {
        self.answers.lock().expect("not poisoned").extend_from_slice(bytes);
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.running.address()
    }

    /// The requests that it works on, and those that wait.
    pub(crate) fn in_flight(&self) -> &xengate::http::in_flight::InFlight {
        let load = &self.running.gateway().telemetry.load;
        load.get().expect("it is served").in_flight()
    }

    /// How many event streams it has, and how much they cost.
    pub(crate) fn streams(&self) -> xengate::http::api::events::streams::Counts {
        self.running.gateway().events.counts()
    }

    /// Whether no change is under way.
    pub(crate) fn is_idle(&self) -> bool {
        let gateway = self.running.gateway();
        gateway.writes.is_empty() && gateway.tasks.is_idle()
    }

    /// Ends the gateway, as a signal would, and waits until it has ended.
    pub(crate) async fn stop(self) {
        self.running.shutdown().await;
    }

    /// `GET path` as whoever `token` names.
    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        let request = || self.request(Method::GET, path).bearer_auth(token).send();
        // A connection that was idle may end just when it is used again; a read may be sent again.
        let response = match request().await {
            Err(error) if error.is_request() && !error.is_connect() => request().await,
            response => response,
        };
        self.read(response.expect("an answer")).await
    }

    /// `POST path` with a JSON body, as whoever `token` names, or as nobody.
    pub(crate) async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Answer {
        let request = self.request(Method::POST, path).json(body);
        self.send(match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
        .await
    }

    /// Logs in; the token.
    #[track_caller]
    pub(crate) fn login(
        &self,
        username: &str,
        password: &str,
    ) -> impl Future<Output = String> + use<'_> {
        let body = json!({"username": username, "password": password});
        async move {
            let answer = self.post("/sessions", None, &body).await;
            assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
            answer.json()["token"].as_str().expect("a token").to_owned()
        }
    }

    /// Asks until the answer is as it should be.
    pub(crate) async fn until(
        &self,
        path: &str,
        token: &str,
        holds: impl Fn(&Answer) -> bool,
    ) -> Answer {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut glances = tokio::time::interval(GLANCE);
        loop {
            let answer = self.get(path, token).await;
            if holds(&answer) {
                return answer;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{path} never became what it should; last: {} {}",
                answer.status,
                String::from_utf8_lossy(&answer.body[..answer.body.len().min(2000)])
            );
            glances.tick().await;
        }
    }

    /// Shuts the gateway down, and looks for these secrets in all it has answered and logged.
    pub(crate) async fn end(self, secrets: &[String]) {
        self.running.shutdown().await;
        let answers = self.answers.into_inner().expect("not poisoned");
        let logs = LOGS.get().expect("captured").lock().expect("not poisoned").clone();
        // In XAPI's form and in xend's, where a ref is the uuid alone.
        let bare = secrets.iter().map(|secret| secret.trim_start_matches("OpaqueRef:"));
        for secret in secrets.iter().map(String::as_str).chain(bare) {
            assert_eq!(around(&answers, secret), None, "a session ref was answered");
            assert_eq!(around(&logs, secret), None, "a session ref was logged");
        }
        // Free text is the user's own: what the pool itself put there goes through.
        let free = "\"import_task\":\"OpaqueRef:NULL\"";
        let in_csv = free.replace('"', "\"\"");
        let answers = String::from_utf8_lossy(&answers).replace(free, "").replace(&in_csv, "");
        assert_eq!(around(answers.as_bytes(), "OpaqueRef:"), None, "a ref was answered");
        assert_eq!(around(&logs, PASSWORD), None, "a password was logged");
    }
}

/// Everything that was logged so far.
pub(crate) fn logged() -> Vec<u8> {
    LOGS.get().expect("captured").lock().expect("not poisoned").clone()
}

/// What stands around `part` in `text`, if it is there.
pub(crate) fn around(text: &[u8], part: &str) -> Option<String> {
    let at = memchr::memmem::find(text, part.as_bytes())?;
    let (start, end) = (at.saturating_sub(80), (at + part.len() + 80).min(text.len()));
    Some(String::from_utf8_lossy(&text[start..end]).into_owned())
}

/// Everything the gateways of this process have logged, at every level.
static LOGS: OnceLock<Mutex<Vec<u8>>> = OnceLock::new();

struct Capture;

impl io::Write for Capture {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGS.get().expect("made first").lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Capture {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

fn capture_logs() {
    LOGS.get_or_init(|| {
        let filter = "trace,xenapi_sim=off,reqwest=off,hyper_util::client=off";
        let lines = tracing_subscriber::fmt::layer().with_writer(|| Capture).with_ansi(false);
        let subscriber = tracing_subscriber::registry()
            .with(RequestSpans)
            .with(EnvFilter::new(filter))
            .with(lines);
        tracing::subscriber::set_global_default(subscriber).expect("the first");
        Mutex::default()
    });
}
