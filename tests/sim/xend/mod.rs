//! The simulated xend through its front doors.

mod dialects;
mod life;
mod manners;
mod recorded;

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use xengate::sim::Time;
use xengate::sim::xend::{Xend, XendConfig, XendHandle};
use xengate::wire::{Arg, Limits, xmlrpc};

/// Longer than anything here takes, so that a mistake fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(30);

/// A xend with so many VMs, its clock held.
fn start(vms: usize) -> XendHandle {
    Xend::start(XendConfig { vms, time: Time::Held, ..XendConfig::default() }).expect("free ports")
}

/// Sends a call and reads its reply.
async fn call(addr: SocketAddr, name: &str, args: &[Arg]) -> Json {
    let body = xmlrpc::call(name, args).expect("a call");
    let head = format!("POST /RPC2 HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len());
    read(&talk(addr, &[head.into_bytes(), body].concat()).await)
}

/// Sends bytes and reads until the connection closes.
async fn talk(addr: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(addr).await.expect("a connection");
    stream.write_all(request).await.expect("a request sent");
    let mut reply = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut reply)).await;
    read.expect("an end in time").expect("a reply");
    reply
}

/// The body of a reply as JSON.
fn read(reply: &[u8]) -> Json {
    let end = memchr::memmem::find(reply, b"\r\n\r\n").expect("a head") + 4;
    let json = xmlrpc::to_json(&reply[end..], Limits::default()).expect("XML-RPC");
    serde_json::from_slice(&json).expect("JSON")
}

/// A client of the Xen-API dialect.
struct Client<'a> {
    xend: &'a XendHandle,
    session: String,
}

impl<'a> Client<'a> {
    async fn login(xend: &'a XendHandle) -> Self {
        let args = [Arg::from("anyone"), Arg::from("anything")];
        let reply = call(xend.api_addr(), "session.login_with_password", &args).await;
        let session = reply["Value"].as_str().expect("a session").to_owned();
        Self { xend, session }
    }

    /// The result, or the failure's parts.
    async fn call(&self, name: &str, args: &[Arg]) -> Result<Json, Json> {
        let all = [&[Arg::from(self.session.as_str())], args].concat();
        let mut reply = call(self.xend.api_addr(), name, &all).await;
        match reply["Status"].as_str() {
            Some("Success") => Ok(reply["Value"].take()),
            Some("Failure" | "Error") => Err(reply["ErrorDescription"].take()),
            _ => panic!("no envelope: {reply}"),
        }
    }

    /// A call with the ref of a VM alone.
    async fn vm(&self, name: &str, vm: &str) -> Result<Json, Json> {
        self.call(name, &[Arg::from(vm)]).await
    }
}

/// The result of a legacy call, or the fault's code and text.
async fn legacy(xend: &XendHandle, name: &str, args: &[Arg]) -> Result<Json, (i64, String)> {
    let reply = call(xend.legacy_addr(), name, args).await;
    match reply.get("fault") {
        None => Ok(reply),
        Some(fault) => Err((
            fault["faultCode"].as_i64().expect("a code"),
            fault["faultString"].as_str().expect("a text").to_owned(),
        )),
    }
}

/// The result of a call that returns nothing.
fn void() -> Result<Json, Json> {
    Ok(json!(""))
}
