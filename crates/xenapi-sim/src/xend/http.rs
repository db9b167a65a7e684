//! Python's own small HTTP server, as xend has it: a thread for each connection, one status, and a
//! closed connection for what it does not understand.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::api::{self, Answer};
use super::{Dialect, Xend, legacy};
use crate::fault::{Fault, RawReply};
use crate::protocol::{Call, read_xml};

/// Python's limit on a line, many times over.
const HEAD_LIMIT: usize = 1 << 20;

/// xend has no limit. Nothing here needs more.
const BODY_LIMIT: usize = 64 << 20;

pub(super) struct Connection<S> {
    xend: Arc<Xend>,
    dialect: Dialect,
    stream: S,
    inbox: Vec<u8>,
}

struct Head {
    method: String,
    version: String,
    keep: bool,
    length: Option<usize>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(xend: Arc<Xend>, dialect: Dialect, stream: S) -> Self {
        Self { xend, dialect, stream, inbox: Vec::new() }
    }

    /// Serves until either side has had enough.
    pub(super) async fn serve(mut self) -> io::Result<()> {
        while let Some(head) = self.head().await? {
            if !matches!(head.version.as_str(), "HTTP/1.1" | "HTTP/1.0") {
                let number = head.version.trim_start_matches("HTTP/");
                let page = error(
                    505,
                    &format!("Invalid HTTP Version ({number})"),
                    "Cannot fulfill request.",
                );
                // A version that it does not know gets no head at all.
                return self.last(&page).await;
            }
            if head.method != "POST" {
                let what = format!("Unsupported method ('{}')", head.method);
                let page = error(501, &what, "Server does not support this operation");
                let date = self.date();
                let answer = format!(
                    "HTTP/1.1 501 {what}\r\nServer: BaseHTTP/0.3 Python/2.7.18\r\nDate: {date}\r\nConnection: close\r\nContent-Type: text/html\r\n\r\n{page}"
                );
                return self.last(&answer).await;
            }
            // No length, or a chunked body: the thread dies of an exception, and says nothing.
            let Some(length) = head.length.filter(|length| *length <= BODY_LIMIT) else {
                return Ok(());
            };
            // `Expect: 100-continue` is not heard: it waits for the body.
            while self.inbox.len() < length {
                if self.stream.read_buf(&mut self.inbox).await? == 0 {
                    return Ok(());
                }
            }
            let rest = self.inbox.split_off(length);
            let body = std::mem::replace(&mut self.inbox, rest);
            let Some(call) = read(&body) else { return Ok(()) };
            if !self.call(&call).await? || !head.keep {
                return self.stream.shutdown().await;
            }
        }
        Ok(())
    }

    /// Answers a call, and says whether the connection can go on.
    async fn call(&mut self, call: &Call) -> io::Result<bool> {
        let xend = Arc::clone(&self.xend);
        let _counted = xend.seen.begin(&call.name);
        let (mut failed, mut cut, mut drop, mut raw) = (None, None, false, None);
        let mut late = None;
        for fault in xend.faults.strike(&call.name) {
            match fault {
                Fault::Refuse => return Ok(false),
                Fault::Hang => return self.hang().await,
                Fault::Delay(delay) => xend.clock.sleep(delay).await,
                Fault::Fail(failure) => failed = Some(failure),
                Fault::ExpireSession => xend.expire(call),
                Fault::Cut(bytes) => cut = Some(bytes),
                Fault::Drop => drop = true,
                Fault::Reply(reply) => return self.raw(&reply).await,
                Fault::Garble(reply) => raw = Some(reply),
                Fault::Late(by) => late = Some(by),
            }
        }
        if let Some(by) = late {
            xend.clock.sleep(by).await;
        }
        let answer = match (failed, self.dialect) {
            (Some(failure), _) => api::failure([vec![failure.code], failure.params].concat()),
            (None, Dialect::Api) => api::call(&xend, &call.name, &call.args),
            (None, Dialect::Legacy) => legacy::call(&xend, &call.name, &call.args),
        };
        xend.clock.sleep(xend.cost(&call.name)).await;
        xend.faults.released(&call.name).await;
        if let Some(raw) = raw {
            return self.raw(&raw).await;
        }
        let Answer::Reply(body) = answer else { return self.hang().await };
        if drop {
            return Ok(false);
        }
        let head = format!(
            "HTTP/1.1 200 OK\r\nServer: BaseHTTP/0.3 Python/2.7.18\r\nDate: {}\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n",
            self.date(),
            body.len()
        );
        let mut reply = [head.into_bytes(), body].concat();
        if let Some(bytes) = cut {
            reply.truncate(bytes);
        }
        self.stream.write_all(&reply).await?;
        Ok(cut.is_none())
    }

    async fn raw(&mut self, raw: &RawReply) -> io::Result<bool> {
        self.stream.write_all(&raw.start).await?;
        while !raw.endless.is_empty() {
            self.stream.write_all(&raw.endless).await?;
        }
        Ok(false)
    }

    /// Waits until the client has gone.
    async fn hang(&mut self) -> io::Result<bool> {
        let mut ignored = [0; 256];
        while self.stream.read(&mut ignored).await? > 0 {}
        Ok(false)
    }

    async fn last(&mut self, answer: &str) -> io::Result<()> {
        self.stream.write_all(answer.as_bytes()).await?;
        self.stream.shutdown().await
    }

    async fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.inbox, b"\r\n\r\n") {
                let rest = self.inbox.split_off(end + 4);
                let head = std::mem::replace(&mut self.inbox, rest);
                return Ok(parse(&String::from_utf8_lossy(&head)));
            }
            if self.inbox.len() > HEAD_LIMIT || self.stream.read_buf(&mut self.inbox).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn date(&self) -> String {
        let now = self.xend.clock.date_time(0);
        http_date(&now, self.xend.clock.seconds())
    }
}

/// Reads a call; one without arguments need not say so.
fn read(body: &[u8]) -> Option<Call> {
    const END: &[u8] = b"</methodCall>";
    if memchr::memmem::find(body, b"<params").is_some() {
        return read_xml(body).ok();
    }
    let end = memchr::memmem::find(body, END)?;
    let (head, tail) = body.split_at(end);
    read_xml(&[head, b"<params></params>", tail].concat()).ok()
}

fn parse(head: &str) -> Option<Head> {
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, _path, version) = (first.next()?, first.next()?, first.next()?);
    let mut parsed = Head {
        method: method.to_owned(),
        version: version.to_owned(),
        keep: version == "HTTP/1.1",
        length: None,
    };
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => parsed.length = value.parse().ok(),
            "connection" if value.eq_ignore_ascii_case("close") => parsed.keep = false,
            "connection" if value.eq_ignore_ascii_case("keep-alive") => parsed.keep = true,
            _ => {}
        }
    }
    Some(parsed)
}

fn error(code: u16, message: &str, explanation: &str) -> String {
    format!(
        "<head>\n<title>Error response</title>\n</head>\n<body>\n<h1>Error response</h1>\n<p>Error code {code}.\n<p>Message: {message}.\n<p>Error code explanation: {code} = {explanation}.\n</body>\n"
    )
}

/// `20261122T07:25:54Z` as HTTP writes it; the weekday comes from the seconds since 1970.
fn http_date(date: &str, seconds: f64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let part = |range| date.get(range).unwrap_or("");
    let month = part(4..6).parse::<usize>().unwrap_or(1).saturating_sub(1);
    let day = (seconds.max(0.0) / 86_400.0) as usize % 7;
    format!(
        "{}, {} {} {} {} GMT",
        DAYS[day],
        part(6..8),
        MONTHS.get(month).unwrap_or(&"Jan"),
        part(0..4),
        part(9..17)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_http() {
        assert_eq!(
            http_date("20261122T07:25:54Z", 1_795_332_354.0),
            "Sun, 22 Nov 2026 07:25:54 GMT"
        );
    }
}
