//! `/docs` in a browser: it opens, groups its tags, finds operations and shows them, soon enough
//! and without a complaint.
//!
//! Runs where Chromium is installed; where `MUST_RUN` is set, it has to be.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::lab::Lab;

/// What opening the page, and then an operation, may cost the browser, in seconds of CPU. It is
/// meant to be half of this: a machine with much else to do needs more for the same.
const TO_OPEN: f64 = 6.0;
const TO_SHOW: f64 = 4.0;

/// How long something may take to appear.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test]
async fn the_page_opens_and_shows_its_largest_operations() {
    let Some(mut browser) = Browser::start().await else { return };
    let lab = Lab::new().await;
    lab.login().await;
    let page = browser.open(&lab.gate.url("/docs/")).await;
    browser.until(&page, "document.querySelectorAll('.tag-group').length > 5").await;
    browser.until(&page, "document.querySelectorAll('.opblock-tag').length > 5").await;
    let opened = browser.settled().await;
    println!("/docs opens with {opened:.2} s of CPU");
    assert!(opened < TO_OPEN, "{opened} s");

    // What is done in two ways is there once.
    let found = browser.search(&page, "addToVmOtherConfig").await;
    assert_eq!(found, "0 found");
    let found = browser.search(&page, "delete vdi").await;
    assert!(found.ends_with("found") && found != "0 found", "{found}");

    for operation in ["createVm", "listVms", "startVm", "patchHost", "streamEvents"] {
        browser.search(&page, operation).await;
        let before = browser.settled().await;
        let own = format!(
            "[...document.querySelectorAll('.opblock')].find(block => \
             block.querySelector('.opblock-summary-operation-id')?.textContent === '{operation}')"
        );
        browser.until(&page, &format!("!!{own}")).await;
        browser
            .eval(&page, &format!("{own}.querySelector('.opblock-summary-control').click()"))
            .await;
        let shown = format!("{own}.querySelectorAll('.responses-inner .response').length > 1");
        browser.until(&page, &shown).await;
        let spent = browser.settled().await - before;
        println!("{operation} opens with {spent:.2} s of CPU");
        assert!(spent < TO_SHOW, "{operation}: {spent} s");
        let responses = format!("{own}.querySelector('.responses-inner').textContent");
        let text = browser.eval(&page, &responses).await;
        assert!(text.as_str().is_some_and(|text| text.contains("problem+json")), "{text}");
    }
    assert_eq!(browser.complaints, Vec::<String>::new());
    browser.end();
    lab.end().await;
}

/// Chromium, and what it says of its pages.
struct Browser {
    process: Child,
    profile: PathBuf,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    last: u64,
    /// Exceptions, and errors of the console: a policy that is violated is one.
    complaints: Vec<String>,
}

impl Browser {
    /// Starts one; `None` where there is none to start and none is needed.
    async fn start() -> Option<Self> {
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
        let profile = std::env::temp_dir().join(format!("xengate-docs-{}", std::process::id()));
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
    async fn open(&mut self, url: &str) -> String {
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

    async fn eval(&mut self, page: &str, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true});
        let answer = self.call(Some(page), "Runtime.evaluate", params).await;
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    async fn until(&mut self, page: &str, holds: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.eval(page, holds).await != true {
            assert!(tokio::time::Instant::now() < deadline, "it never came to {holds}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Types into the search, and answers what it says was found.
    async fn search(&mut self, page: &str, text: &str) -> String {
        // React listens for its own changes of the value.
        let typed = format!(
            "(() => {{ const input = document.querySelector('.operation-search'); \
             const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set; \
             set.call(input, {}); input.dispatchEvent(new Event('input', {{bubbles: true}})); }})()",
            json!(text)
        );
        self.eval(page, &typed).await;
        self.until(page, "!!document.querySelector('.operation-count')").await;
        self.settled().await;
        let found = self.eval(page, "document.querySelector('.operation-count').textContent").await;
        found.as_str().unwrap_or_default().to_owned()
    }

    /// Seconds of CPU that pages have cost, once they cost no more.
    async fn settled(&mut self) -> f64 {
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

    fn end(mut self) {
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
