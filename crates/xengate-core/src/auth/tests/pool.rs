//! A pool of one host that can log in, log out and say whether a session lives: as much of XAPI's
//! JSON-RPC as this floor can see, and levers for what a test wants to go wrong.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// The only good password.
pub(crate) const PASSWORD: &str = "sentinel-password";

/// How every session ref of every pool begins.
pub(crate) const REFERENCE: &str = "OpaqueRef:sentinel";

/// A condition that does not come about by then never will.
const PATIENCE: Duration = Duration::from_secs(20);

/// What has happened at the pool, and what it is told to do.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Sessions that are open.
    pub(crate) open: BTreeSet<String>,
    /// Logins that have arrived, been answered, and the user names in order.
    pub(crate) asked: usize,
    pub(crate) answered: usize,
    pub(crate) originators: Vec<String>,
    /// Checks that have arrived.
    pub(crate) checks: usize,
    /// Logins wait until this is false.
    pub(crate) hold_logins: bool,
    /// Checks wait until this is false.
    pub(crate) hold_checks: bool,
    /// Every call is answered with this failure.
    pub(crate) failure: Option<&'static str>,
    /// Connections are closed without an answer.
    pub(crate) down: bool,
    /// Every call is answered with a web page.
    pub(crate) page: bool,
    made: usize,
}

pub(crate) struct Pool {
    pub(crate) uri: String,
    state: Arc<watch::Sender<State>>,
    listening: AbortHandle,
}

impl Pool {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let uri = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(watch::Sender::new(State::default()));
        let shared = Arc::clone(&state);
        let listening = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { uri, state, listening: listening.abort_handle() }
    }

    /// Pulls a lever.
    pub(crate) fn set(&self, change: impl FnOnce(&mut State)) {
        self.state.send_modify(change);
    }

    /// Looks.
    pub(crate) fn see<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.borrow())
    }

    /// Waits until it has come to this.
    pub(crate) async fn until(&self, what: &str, condition: impl FnMut(&State) -> bool) {
        let mut state = self.state.subscribe();
        let seen = tokio::time::timeout(PATIENCE, state.wait_for(condition)).await;
        assert!(seen.is_ok(), "never: {what}; {:?}", self.state.borrow());
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Answers the calls on a connection until either side has had enough.
async fn serve(mut stream: TcpStream, state: Arc<watch::Sender<State>>) {
    while let Some(call) = read(&mut stream).await {
        if state.borrow().down {
            return;
        }
        let id = call["id"].clone();
        let reply = match answer(&call, &state).await {
            Ok(result) => json!({"jsonrpc": "2.0", "result": result, "id": id}),
            Err(code) => {
                let error = json!({"code": 1, "message": code, "data": []});
                json!({"jsonrpc": "2.0", "error": error, "id": id})
            }
        };
        let reply = match state.borrow().page {
            true => "<html><body>It works!</body></html>".to_owned(),
            false => reply.to_string(),
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            reply.len()
        );
        if stream.write_all((head + &reply).as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn answer(call: &Value, state: &watch::Sender<State>) -> Result<Value, &'static str> {
    let text = |place: usize| call["params"][place].as_str().unwrap_or_default().to_owned();
    let method = call["method"].as_str().unwrap_or_default();
    if let Some(code) = state.borrow().failure {
        return Err(code);
    }
    // What the gateway tries by itself, to see whether passwords are looked at.
    if method == "session.login_with_password" && text(0).starts_with("xengate-") {
        return Err("SESSION_AUTHENTICATION_FAILED");
    }
    if method == "session.login_with_password" {
        state.send_modify(|state| {
            state.asked += 1;
            state.originators.push(text(3));
        });
        let mut levers = state.subscribe();
        levers.wait_for(|state| !state.hold_logins).await.expect("the pool outlives its calls");
        let mut reference = Err("SESSION_AUTHENTICATION_FAILED");
        state.send_modify(|state| {
            state.answered += 1;
            if text(1) == PASSWORD {
                state.made += 1;
                let made = format!("{REFERENCE}-{:04}", state.made);
                state.open.insert(made.clone());
                reference = Ok(json!(made));
            }
        });
        return reference;
    }
    if !state.borrow().open.contains(&text(0)) {
        return Err("SESSION_INVALID");
    }
    match method {
        "session.logout" => {
            state.send_modify(|state| {
                state.open.remove(&text(0));
            });
            Ok(json!(""))
        }
        "session.get_record" => Ok(json!({
            "is_local_superuser": true, "rbac_permissions": [], "this_host": "OpaqueRef:host",
        })),
        "pool.get_all" => {
            state.send_modify(|state| state.checks += 1);
            let mut levers = state.subscribe();
            levers.wait_for(|state| !state.hold_checks).await.expect("the pool outlives its calls");
            Ok(json!([]))
        }
        _ => Err("MESSAGE_METHOD_UNKNOWN"),
    }
}

/// The next call on the connection.
async fn read(stream: &mut TcpStream) -> Option<Value> {
    let mut bytes = Vec::new();
    loop {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.expect("a length").trim().parse().expect("a number");
            if bytes.len() >= end + 4 + length {
                return Some(serde_json::from_slice(&bytes[end + 4..]).expect("a call"));
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
