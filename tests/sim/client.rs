//! A client of the pool.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use xengate::sim::{PASSWORD, Sim, SimConfig, SimHandle, Time, Value};

/// Longer than anything here takes, so that a mistake fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(30);

/// A pool of so many VMs, its clock held.
pub(crate) fn start(vms: usize) -> SimHandle {
    Sim::start(SimConfig { vms, time: Time::Held, ..SimConfig::default() }).expect("a free port")
}

/// A client that speaks JSON-RPC.
pub(crate) struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) url: String,
    pub(crate) session: Option<String>,
}

impl Client {
    pub(crate) fn new(sim: &SimHandle) -> Self {
        let http = reqwest::Client::builder().timeout(PATIENCE).build().expect("a client");
        Self { http, url: format!("{}/jsonrpc", sim.url()), session: None }
    }

    pub(crate) async fn logged_in(sim: &SimHandle, user: &str) -> Self {
        let mut client = Self::new(sim);
        let args = json!([user, PASSWORD, "1.0", "tests"]);
        let session = client.raw("session.login_with_password", args).await.expect("a login");
        client.session = Some(session.as_str().expect("a ref").to_owned());
        client
    }

    /// The result, or the failure as one array.
    pub(crate) async fn raw(&self, call: &str, args: Json) -> Result<Json, Json> {
        let reply = self.sent(call, args).await.expect("a reply");
        // Spelled as XAPI spells them, which strict readers refuse; what they are does not matter.
        let odd = [(":-Infinity", ":-1e308"), (":Infinity", ":1e308"), (":NaN", ":0.0")];
        let reply = odd.iter().fold(reply, |reply, (odd, float)| reply.replace(odd, float));
        let mut reply: Json = serde_json::from_str(&reply).expect("JSON");
        match reply["error"].take() {
            Json::Null => Ok(reply["result"].take()),
            mut error => {
                let mut failure = vec![error["message"].take()];
                failure.extend(error["data"].as_array().expect("parameters").iter().cloned());
                Err(Json::Array(failure))
            }
        }
    }

    pub(crate) async fn sent(&self, call: &str, args: Json) -> reqwest::Result<String> {
        let body = json!({"jsonrpc": "2.0", "method": call, "params": args, "id": 1});
        self.http.post(&self.url).body(body.to_string()).send().await?.text().await
    }

    /// As [`Client::raw`], in this client's session.
    pub(crate) async fn call(&self, call: &str, args: Json) -> Result<Json, Json> {
        let mut all = vec![json!(self.session)];
        all.extend(args.as_array().expect("arguments").iter().cloned());
        self.raw(call, Json::Array(all)).await
    }

    pub(crate) async fn events(
        &self,
        classes: &[&str],
        token: &str,
        timeout: f64,
    ) -> (Vec<String>, String) {
        let frame = self.call("event.from", json!([classes, token, timeout])).await;
        let frame = frame.expect("events");
        let text = |value: &Json| value.as_str().expect("text").to_owned();
        let event = |event: &Json| format!("{} {}", text(&event["operation"]), text(&event["ref"]));
        let events = frame["events"].as_array().expect("events").iter().map(event).collect();
        (events, text(&frame["token"]))
    }
}

/// Sends bytes and reads until the connection closes.
pub(crate) async fn talk(addr: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.expect("a connection");
    stream.write_all(request).await.expect("a request sent");
    let mut reply = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut reply)).await;
    read.expect("an end in time").expect("a reply");
    String::from_utf8(reply).expect("UTF-8")
}

/// The code of a failure.
pub(crate) fn failure(result: Result<Json, Json>) -> String {
    let failure = result.expect_err("a failure");
    failure[0].as_str().expect("a code").to_owned()
}

/// A VM in this state, and its ref.
pub(crate) fn vm_that_is(sim: &SimHandle, state: &str) -> String {
    let is = |vm: &str, field, value| sim.field("VM", vm, field) == Some(value);
    let plain = |vm: &str| {
        is(vm, "power_state", Value::text(state))
            && ["is_a_template", "is_control_domain"]
                .into_iter()
                .all(|field| is(vm, field, Value::Bool(false)))
    };
    sim.refs("VM").iter().find(|vm| plain(vm)).expect("a VM").to_string()
}
