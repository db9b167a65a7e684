//! Chromium, for the tests of what is looked at in a browser.
//!
//! They run where it is installed; where `MUST_RUN` is set, it has to be.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// How long something may take to appear.
const PATIENCE: Duration = Duration::from_secs(120);

/// Each has a profile of its own.
static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// Chromium, and what it says of its pages.
pub(crate) struct Browser {
    process: Child,
    profile: PathBuf,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    last: u64,
    /// Exceptions, and errors of the console: a policy that is violated is one.
    pub(crate) complaints: Vec<String>,
}

impl Browser {
    /// Starts one; `None` where there is none to start and none is needed.
    pub(crate) async fn start() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let names = ["chromium", "chromium-browser", "google-chrome"];
        let program = std::env::split_paths(&path)
            .flat_map(|folder| names.map(|name| folder.join(name)))
            .find(|program| program.is_file());
        let Some(program) = program else {
            assert!(std::env::var_os("MUST_RUN").is_none(), "there is no Chromium");
            println!("skipped: there is no Chromium");
            return None;
        };
        let profile = std::env::temp_dir().join(format!(
            "xengate-browser-{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        ));
        let mut process = Command::new(program)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--remote-debugging-port=0", "--window-size=1400,2000"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("Chromium starts");
        let stderr = process.stderr.take().expect("piped");
        // Read to its end, or it could fill up and stop the browser.
        let (said, address) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut said = Some(said);
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some(address) = line.strip_prefix("DevTools listening on ")
                    && let Some(said) = said.take()
                {
                    let _ = said.send(address.to_owned());
                }
            }
        });
        let address = tokio::time::timeout(PATIENCE, address).await.expect("in time");
        let address = address.expect("an address");
        let (socket, _) = tokio_tungstenite::connect_async(address).await.expect("DevTools");
        Some(Self { process, profile, socket, last: 0, complaints: Vec::new() })
    }

    /// Makes a call of the DevTools protocol.
    async fn call(&mut self, page: Option<&str>, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut call = json!({"id": self.last, "method": method, "params": params});
        if let Some(page) = page {
            call["sessionId"] = json!(page);
        }
        self.socket.send(Message::text(call.to_string())).await.expect("sent");
        loop {
            let next = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            let message = next.expect("an answer in time").expect("an answer").expect("no error");
            let Ok(text) = message.to_text() else { continue };
            let Ok(said) = serde_json::from_str::<Value>(text) else { continue };
            if said["id"] == self.last {
                assert!(said["error"].is_null(), "{method}: {said}");
                return said["result"].clone();
            }
            let complains = match said["method"].as_str() {
                Some("Runtime.exceptionThrown") => true,
                Some("Log.entryAdded") => said["params"]["entry"]["level"] == "error",
                Some("Runtime.consoleAPICalled") => said["params"]["type"] == "error",
                _ => false,
            };
            if complains {
                self.complaints.push(said["params"].to_string());
            }
        }
    }

    /// Opens a page, and answers its session.
    pub(crate) async fn open(&mut self, url: &str) -> String {
        let target = self.call(None, "Target.createTarget", json!({"url": "about:blank"})).await;
        let params = json!({"targetId": target["targetId"], "flatten": true});
        let session = self.call(None, "Target.attachToTarget", params).await["sessionId"].clone();
        let session = session.as_str().expect("a session").to_owned();
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            self.call(Some(&session), domain, json!({})).await;
        }
        self.call(Some(&session), "Page.navigate", json!({"url": url})).await;
        session
    }

    pub(crate) async fn eval(&mut self, page: &str, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true});
        let answer = self.call(Some(page), "Runtime.evaluate", params).await;
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub(crate) async fn until(&mut self, page: &str, holds: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.eval(page, holds).await != true {
            assert!(tokio::time::Instant::now() < deadline, "it never came to {holds}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Seconds of CPU that pages have cost, once they cost no more.
    pub(crate) async fn settled(&mut self) -> f64 {
        let mut before = f64::MIN;
        loop {
            let info = self.call(None, "SystemInfo.getProcessInfo", json!({})).await;
            let processes = info["processInfo"].as_array().expect("processes");
            let pages = processes.iter().filter(|process| process["type"] == "renderer");
            let now: f64 = pages.filter_map(|page| page["cpuTime"].as_f64()).sum();
            if now - before < 0.02 {
                return now;
            }
            before = now;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    pub(crate) fn end(mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
    }
}
