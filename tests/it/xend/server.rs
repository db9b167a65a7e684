//! A server that says what a real xend was recorded to say, call by call.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// A whole recorded reply, head and body.
pub(super) fn recorded(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/xend/recorded");
    fs::read(folder.join(format!("{name}.resp"))).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A whole reply with a body of the frozen xend's.
pub(super) fn matched(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/xend/matched");
    let file = folder.join(format!("legacy-{name}.response.xml"));
    whole(&fs::read_to_string(file).unwrap_or_else(|error| panic!("{name}: {error}")))
}

/// A recorded reply with one text in the place of another.
pub(super) fn changed(name: &str, from: &str, to: &str) -> Vec<u8> {
    let reply = String::from_utf8(recorded(name)).expect("UTF-8");
    assert!(reply.contains(from), "{name} holds {from}");
    let (_, body) = reply.split_once("\r\n\r\n").or(reply.split_once("\n\n")).expect("a head");
    whole(&body.replace(from, to))
}

/// A reply with this body.
pub(super) fn whole(body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: BaseHTTP/0.3 Python/2.7.18\r\nContent-Type: text/xml\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    (head + body).into_bytes()
}

/// A reply that holds this value in the envelope of success.
pub(super) fn success(value: &str) -> Vec<u8> {
    bare(&format!(
        "<struct><member><name>Status</name><value>Success</value></member>\
         <member><name>Value</name><value>{value}</value></member></struct>"
    ))
}

/// A reply that is a failure.
pub(super) fn failure(parts: &[&str]) -> Vec<u8> {
    let parts: String = parts.iter().map(|part| format!("<value>{part}</value>")).collect();
    bare(&format!(
        "<struct><member><name>Status</name><value>Failure</value></member><member>\
         <name>ErrorDescription</name><value><array><data>{parts}</data></array></value></member></struct>"
    ))
}

/// A reply that holds this value and nothing else.
pub(super) fn bare(value: &str) -> Vec<u8> {
    let body = format!(
        "<?xml version='1.0'?>\n<methodResponse><params><param><value>{value}</value></param></params></methodResponse>"
    );
    whole(&body)
}

/// What to say to a call.
#[derive(Clone)]
pub(super) struct Said {
    pub(super) reply: Vec<u8>,
    pub(super) after: Duration,
}

/// A xend whose every word was recorded, or stands in a test.
pub(super) struct Server {
    pub(super) url: String,
    state: Arc<Mutex<State>>,
    listening: AbortHandle,
}

#[derive(Default)]
struct State {
    says: HashMap<String, Said>,
    /// Replies to calls whose body holds a text; they come before the others.
    says_if: Vec<(String, String, Vec<u8>)>,
    asked: Vec<String>,
    bodies: Vec<String>,
    now: usize,
    most: usize,
    legacy: bool,
}

impl Server {
    /// A listener of the Xen-API dialect, that lets everybody in.
    pub(super) async fn xen_api() -> Self {
        let server = Self::start(false).await;
        server.says("session.login_with_password", recorded("007-api-login"));
        server.says("session.logout", recorded("165-api-logout"));
        server.says("session.get_uuid", success("e82f69ba-0c19-8b44-1b42-a1861412d9a4"));
        server.says("host.get_all", recorded("042-api-empty-session"));
        server.says("VM.get_all_records", recorded("502-st-recs"));
        for (class, name) in [
            ("VM_metrics", "017-api-VM_metrics-get_all_records"),
            ("host_metrics", "047-api-host_metrics-get_all_records"),
            ("host_cpu", "048-api-host_cpu-get_all_records"),
            ("VIF", "052-api-VIF-get_all_records"),
            ("VDI", "054-api-VDI-get_all_records"),
            ("SR", "055-api-SR-get_all_records"),
            ("network", "056-api-network-get_all_records"),
            ("console", "058-api-console-get_all_records"),
            ("task", "149-api-task-get_all_records"),
            ("PBD", "064-api-PBD-get_all_records"),
            ("VIF_metrics", "065-api-VIF_metrics-get_all_records"),
            ("VBD_metrics", "066-api-VBD_metrics-get_all_records"),
            ("PIF_metrics", "067-api-PIF_metrics-get_all_records"),
        ] {
            server.says(&format!("{class}.get_all_records"), recorded(name));
        }
        server
    }

    /// A listener of the legacy dialect.
    pub(super) async fn legacy() -> Self {
        let server = Self::start(true).await;
        server.says("xend.domains_with_state", recorded("185-leg-domains_with_state-all"));
        server.says("xend.node.info", recorded("224-leg-node-info-0"));
        server
    }

    async fn start(legacy: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(Mutex::new(State { legacy, ..State::default() }));
        let shared = Arc::clone(&state);
        let listening = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { url, state, listening: listening.abort_handle() }
    }

    /// What it says to a call from now on.
    pub(super) fn says(&self, method: &str, reply: Vec<u8>) {
        self.says_after(method, reply, Duration::ZERO);
    }

    /// The same, after some time.
    pub(super) fn says_after(&self, method: &str, reply: Vec<u8>, after: Duration) {
        let mut state = self.state.lock().expect("not poisoned");
        state.says.insert(method.to_owned(), Said { reply, after });
    }

    /// What it says to a call whose body holds this text.
    pub(super) fn says_if(&self, method: &str, holds: &str, reply: Vec<u8>) {
        let mut state = self.state.lock().expect("not poisoned");
        state.says_if.push((method.to_owned(), holds.to_owned(), reply));
    }

    /// Forgets what it says to calls whose bodies hold texts.
    pub(super) fn says_if_no_more(&self) {
        self.state.lock().expect("not poisoned").says_if.clear();
    }

    /// The body of the last call of this method.
    pub(super) fn last(&self, method: &str) -> Option<String> {
        let state = self.state.lock().expect("not poisoned");
        let place = state.asked.iter().rposition(|asked| asked == method)?;
        Some(state.bodies[place].clone())
    }

    /// Everything it was ever sent.
    pub(super) fn bodies(&self) -> String {
        self.state.lock().expect("not poisoned").bodies.concat()
    }

    /// The calls so far.
    pub(super) fn asked(&self) -> Vec<String> {
        self.state.lock().expect("not poisoned").asked.clone()
    }

    /// How often a call has come so far.
    pub(super) fn count(&self, method: &str) -> usize {
        self.asked().iter().filter(|asked| *asked == method).count()
    }

    /// How many calls of polls it worked on at once at most.
    pub(super) fn most_at_once(&self) -> usize {
        self.state.lock().expect("not poisoned").most
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut buffer = Vec::new();
    while let Some(body) = request(&mut stream, &mut buffer).await {
        // As a real one does with what is no XML.
        let Some(method) = method(&body) else { return };
        let said = {
            let mut state = state.lock().expect("not poisoned");
            state.asked.push(method.clone());
            state.bodies.push(body.clone());
            if is_poll(&method) {
                state.now += 1;
                state.most = state.most.max(state.now);
            }
            state.said(&method, &body)
        };
        tokio::time::sleep(said.after).await;
        if is_poll(&method) {
            state.lock().expect("not poisoned").now -= 1;
        }
        if stream.write_all(&said.reply).await.is_err() {
            return;
        }
    }
}

/// Whether a call is a part of a poll.
fn is_poll(method: &str) -> bool {
    method.ends_with(".get_all_records") || method == "xend.domains_with_state"
}

impl State {
    fn said(&self, method: &str, body: &str) -> Said {
        let mut special = self.says_if.iter();
        let special = special.find(|(name, text, _)| name == method && body.contains(text));
        match special {
            Some((.., reply)) => Said { reply: reply.clone(), after: Duration::ZERO },
            None => self.says.get(method).cloned().unwrap_or_else(|| self.unknown(method)),
        }
    }

    fn unknown(&self, method: &str) -> Said {
        let reply = match self.legacy {
            true => String::from_utf8(recorded("233-leg-unknown-toplevel")).expect("UTF-8"),
            false => String::from_utf8(recorded("038-api-unknown-method")).expect("UTF-8"),
        };
        let (_, body) = reply.split_once("\r\n\r\n").or(reply.split_once("\n\n")).expect("a head");
        let body = body.replace("VM.frobnicate", method).replace("nosuch", method);
        Said { reply: whole(&body), after: Duration::ZERO }
    }
}

fn method(body: &str) -> Option<String> {
    let (_, rest) = body.split_once("<methodName>")?;
    Some(rest.split_once("</methodName>")?.0.to_owned())
}

/// The next request's body.
async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
            let length: usize = length.trim().parse().ok()?;
            while buffer.len() < end + 4 + length {
                if stream.read_buf(buffer).await.ok()? == 0 {
                    return None;
                }
            }
            let body = String::from_utf8_lossy(&buffer[end + 4..end + 4 + length]).into_owned();
            buffer.drain(..end + 4 + length);
            return Some(body);
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}
