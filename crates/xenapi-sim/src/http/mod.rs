//! XAPI's own small HTTP server, with its limits and manners.

mod head;
mod reply;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::calls;
use super::fault::{Fault, RawReply};
use super::protocol::{Body, Call, Failure, JsonWriter, Output, read_json, read_xml};
use super::rrd::{self, Answer};
use super::state::State;
use head::{Head, Inbox, NoRequest};
use reply::{Page, STREAM_HEAD, call_head, document_head};

/// How many connections XAPI serves at once; more wait.
const CONNECTIONS: usize = 800;

/// How long to wait after a connection could not be accepted, as when files have run out.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// How long a client may take to hear the last of a connection.
const LINGER: Duration = Duration::from_secs(1);

/// A reply is written in parts of this size, so that its pace can be held.
const PART: usize = 64 * 1024;

/// Serves connections until told to stop.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    state: Arc<State>,
    tls: Option<TlsSettings>,
    connections: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

#[derive(Clone)]
struct TlsSettings(TlsAcceptor);

impl std::fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsSettings")
    }
}

impl Server {
    pub(crate) fn new(state: Arc<State>, tls: Option<TlsAcceptor>) -> Self {
        let (tasks, stop) = (state.background.tasks.clone(), state.background.stop.clone());
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        Self { state, tls: tls.map(TlsSettings), connections, tasks, stop }
    }

    /// Whether it speaks TLS over TCP.
    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Accepts TCP connections until `until` is cancelled.
    /// Those that come to a host other than the coordinator have its address as `host`.
    pub(crate) fn accept_tcp(
        &self,
        listener: TcpListener,
        until: CancellationToken,
        host: Option<Arc<str>>,
    ) {
        let server = self.clone();
        self.tasks.spawn(async move {
            while let Some(permit) = server.permit(&until).await {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = until.cancelled() => return,
                };
                let Ok((stream, _)) = accepted else {
                    sleep(ACCEPT_AGAIN).await;
                    continue;
                };
                // Small replies must not wait for an acknowledgement.
                _ = stream.set_nodelay(true);
                let host = host.clone();
                match server.tls.clone() {
                    None => server.spawn(stream, permit, host, false),
                    Some(TlsSettings(tls)) => {
                        let server = server.clone();
                        server.tasks.clone().spawn(async move {
                            let stream = tokio::select! {
                                stream = tls.accept(stream) => stream,
                                () = server.stop.cancelled() => return,
                            };
                            if let Ok(stream) = stream {
                                server.spawn(stream, permit, host, false);
                            }
                        });
                    }
                }
            }
        });
    }

    /// Accepts connections of a Unix socket until `until` is cancelled.
    pub(crate) fn accept_unix(&self, listener: UnixListener, until: CancellationToken) {
        let server = self.clone();
        self.tasks.spawn(async move {
            while let Some(permit) = server.permit(&until).await {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = until.cancelled() => return,
                };
                match accepted {
                    Ok((stream, _)) => server.spawn(stream, permit, None, true),
                    Err(_) => sleep(ACCEPT_AGAIN).await,
                }
            }
        });
    }

    /// A token that stops one listener, or all when the server stops.
    pub(crate) fn listening(&self) -> CancellationToken {
        self.stop.child_token()
    }

    /// Drops every connection and stops what runs, soon.
    pub(crate) fn cancel(&self) {
        self.stop.cancel();
    }

    /// Drops every connection and waits until nothing runs any more.
    pub(crate) async fn stop(&self) {
        self.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn permit(&self, until: &CancellationToken) -> Option<tokio::sync::OwnedSemaphorePermit> {
        tokio::select! {
            biased;
            () = until.cancelled() => None,
            permit = Arc::clone(&self.connections).acquire_owned() => permit.ok(),
        }
    }

    fn spawn<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: S,
        permit: tokio::sync::OwnedSemaphorePermit,
        host: Option<Arc<str>>,
        is_local: bool,
    ) {
        let (state, dropped) = (Arc::clone(&self.state), self.state.dropped());
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let _permit = permit;
            tokio::select! {
                // A client that goes away in the middle is nothing to report.
                _ = Connection { state, stream, inbox: Inbox::default(), host, is_local }.serve() => {}
                () = stop.cancelled() => {}
                () = dropped.cancelled() => {}
            }
        });
    }
}

struct Connection<S> {
    state: Arc<State>,
    stream: S,
    inbox: Inbox,
    /// The address of the host that was come to, if that is not the coordinator.
    host: Option<Arc<str>>,
    /// It came to the Unix socket.
    is_local: bool,
}

/// Whether a connection is kept after a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Keep,
    Close,
    /// Without the good manners of a closing handshake.
    Abort,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    async fn serve(mut self) -> io::Result<()> {
        let mut first = true;
        loop {
            let head = self.inbox.head(&mut self.stream, &self.state.clock, first).await;
            first = false;
            let next = match head {
                Ok(head) => match self.request(&head).await {
                    Ok(next) => next,
                    Err(NoRequest::Refused(page)) => self.send_page(&page).await?,
                    Err(NoRequest::Gone) => Next::Abort,
                },
                Err(NoRequest::Refused(page)) => self.send_page(&page).await?,
                Err(NoRequest::Gone) => Next::Abort,
            };
            match next {
                Next::Keep => {}
                Next::Abort => return Ok(()),
                Next::Close => return self.close().await,
            }
        }
    }

    async fn request(&mut self, head: &Head) -> Result<Next, NoRequest> {
        match head.method.as_str() {
            "POST" if self.host.is_some() => self.refer(head).await,
            "POST" => self.call(head).await,
            "GET" if let Some(handler) = rrd::handler(&head.path) => self.rrd(head, handler).await,
            "OPTIONS" => {
                self.stream.write_all(Page::options(head).text().as_bytes()).await?;
                Ok(if head.close { Next::Close } else { Next::Keep })
            }
            "GET" | "PUT" | "CONNECT" => Err(NoRequest::Refused(Page::forbidden())),
            _ => Err(NoRequest::Refused(Page::not_implemented(head))),
        }
    }

    async fn call(&mut self, head: &Head) -> Result<Next, NoRequest> {
        let body = self.inbox.body(&mut self.stream, head).await?;
        // Who knows no JSON-RPC takes what comes there for XML-RPC, as anywhere.
        let json = head.path.starts_with("/jsonrpc") && !self.state.settings.xml_only;
        let call = if json { read_json(&body) } else { read_xml(&body) };
        drop(body);
        let call = call.map_err(|bad| NoRequest::Refused(Page::internal(head, &bad.0)))?;
        let (name, form) = (call.name.clone(), call.form.clone());
        self.state.count(&name);
        let place = self.state.note(&call);
        let everything = calls::asks_for_everything(&call).then_some(calls::EVERYTHING);
        let names: Vec<&str> = [name.as_str()].into_iter().chain(everything).collect();
        let faults = self.state.faults.strike_any(&names);
        let (mut failure, mut late) = (None, None);
        for fault in &faults {
            match fault {
                Fault::Refuse => return Ok(Next::Abort),
                Fault::Hang => return Ok(self.hang().await),
                Fault::Reply(reply) => return self.send_raw(reply).await,
                Fault::Fail(wanted) => failure = Some(wanted),
                Fault::ExpireSession => self.state.expire(&call),
                Fault::Late(by) => late = Some(*by),
                Fault::Delay(_) | Fault::Cut(_) | Fault::Drop | Fault::Garble(_) => {}
            }
        }
        let body = match failure {
            Some(failure) => (Output::failure(form, failure), false),
            None => match late {
                None => calls::answer(&self.state, call, self.is_local).await,
                Some(by) => answer_late(&self.state, (call, place, self.is_local), by).await,
            },
        };
        let (body, carried_out) = body;
        self.state.note_outcome(place, carried_out);
        self.state.faults.released(&name).await;
        let writer = *self.state.json.lock();
        let Some(body) = (if json { writer.written(body) } else { Some(body) }) else {
            return Err(NoRequest::Refused(Page::internal(head, JsonWriter::REFUSAL)));
        };
        let mut cut = usize::MAX;
        for fault in faults {
            match fault {
                Fault::Delay(delay) => self.state.clock.sleep(delay).await,
                Fault::Cut(bytes) => cut = bytes,
                Fault::Drop => return Ok(Next::Abort),
                Fault::Garble(reply) => return self.send_raw(&reply).await,
                _ => {}
            }
        }
        self.send(head, json, body, cut).await
    }

    /// An answer that is none.
    async fn send_raw(&mut self, reply: &RawReply) -> Result<Next, NoRequest> {
        self.stream.write_all(&reply.start).await?;
        while !reply.endless.is_empty() {
            self.send_part(&reply.endless).await?;
        }
        Ok(Next::Close)
    }

    /// A supporter names its coordinator to who logs in, and leaves others waiting.
    async fn refer(&mut self, head: &Head) -> Result<Next, NoRequest> {
        let body = self.inbox.body(&mut self.stream, head).await?;
        let json = head.path.starts_with("/jsonrpc");
        let call = if json { read_json(&body) } else { read_xml(&body) };
        let call = call.map_err(|bad| NoRequest::Refused(Page::internal(head, &bad.0)))?;
        if !call.name.starts_with("session.login") {
            return Ok(self.hang().await);
        }
        let coordinator = rrd::address_of(&self.state, rrd::host_at(&self.state, None));
        let failure = Failure::new("HOST_IS_SLAVE", [coordinator]);
        self.send(head, json, Output::failure(call.form, &failure), usize::MAX).await
    }

    /// What is measured.
    async fn rrd(&mut self, head: &Head, handler: &'static str) -> Result<Next, NoRequest> {
        let Some(host) = rrd::host_at(&self.state, self.host.as_deref()) else {
            return Err(NoRequest::Refused(Page::missing()));
        };
        let name = rrd::name_of(&self.state, &host);
        self.state.count_path(&name, &head.path);
        let own = format!("{name}{}", head.path);
        let faults = self.state.faults.strike_any(&[&head.path, &own]);
        let mut cut = usize::MAX;
        for fault in &faults {
            match fault {
                Fault::Refuse | Fault::Drop => return Ok(Next::Abort),
                Fault::Hang => return Ok(self.hang().await),
                Fault::Reply(reply) | Fault::Garble(reply) => return self.send_raw(reply).await,
                Fault::ExpireSession => {
                    let session = rrd::session(&head.query).unwrap_or_default();
                    self.state.write(|db| self.state.sessions.end(db, &session));
                }
                Fault::Delay(delay) | Fault::Late(delay) => self.state.clock.sleep(*delay).await,
                Fault::Cut(bytes) => cut = *bytes,
                Fault::Fail(_) => {}
            }
        }
        self.state.faults.released(&own).await;
        self.state.faults.released(&head.path).await;
        let session = rrd::session(&head.query);
        let now = self.state.clock.elapsed();
        let known = session.and_then(|session| self.state.sessions.touch(&session, now));
        if known.is_none() {
            return Err(NoRequest::Refused(Page::unauthorised(head, handler)));
        }
        let refused = |page| Err(NoRequest::Refused(page));
        let (text, next) = match rrd::answer(&self.state, &host, handler, &head.query) {
            Answer::Document(text, xml) => (
                document_head(text.len(), xml) + &text,
                if head.close { Next::Close } else { Next::Keep },
            ),
            Answer::Stream(text) => (STREAM_HEAD.to_owned() + &text, Next::Close),
            Answer::Redirect(url) => return refused(Page::found_at(&url)),
            Answer::BadRequest => return refused(Page::bad_request()),
            Answer::Missing => return refused(Page::missing()),
            Answer::Broken(exception) => return refused(Page::internal(head, exception)),
        };
        let whole = text.as_bytes();
        for part in whole[..whole.len().min(cut)].chunks(PART) {
            self.send_part(part).await?;
        }
        self.stream.flush().await?;
        Ok(if cut < whole.len() { Next::Abort } else { next })
    }

    async fn send(
        &mut self,
        head: &Head,
        json: bool,
        mut body: Body,
        mut left: usize,
    ) -> Result<Next, NoRequest> {
        // Head and start go out together, as small replies do from XAPI.
        let mut piece = call_head(head, json, body.len()).into_bytes();
        piece.extend(body.next().unwrap_or_default());
        loop {
            for part in piece.chunks(PART) {
                if part.len() > left {
                    self.send_part(&part[..left]).await?;
                    self.stream.flush().await?;
                    return Ok(Next::Abort);
                }
                left -= part.len();
                self.send_part(part).await?;
            }
            match body.next() {
                Some(next) => piece = next,
                None => break,
            }
        }
        self.stream.flush().await?;
        Ok(if head.close { Next::Close } else { Next::Keep })
    }

    async fn send_part(&mut self, part: &[u8]) -> io::Result<()> {
        self.stream.write_all(part).await?;
        self.state.clock.sleep(self.state.faults.time_to_send(part.len())).await;
        Ok(())
    }

    async fn send_page(&mut self, page: &Page) -> io::Result<Next> {
        self.stream.write_all(page.text().as_bytes()).await?;
        self.stream.flush().await?;
        Ok(Next::Close)
    }

    /// Reads until the client gives up.
    async fn hang(&mut self) -> Next {
        let mut sink = [0; 1024];
        while self.stream.read(&mut sink).await.is_ok_and(|read| read > 0) {}
        Next::Abort
    }

    /// Closes so that the client gets all of the last reply: what it still sends is read for a
    /// moment, since a reset would take back bytes it has not read yet.
    async fn close(mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        let mut sink = [0; 8192];
        let drain = async {
            for _ in 0..256 {
                if self.stream.read(&mut sink).await.is_ok_and(|read| read > 0) {
                    continue;
                }
                break;
            }
        };
        _ = timeout(LINGER, drain).await;
        Ok(())
    }
}

/// Carries a call out after so long, though its caller may have gone.
async fn answer_late(
    state: &Arc<State>,
    (call, place, is_local): (Call, Option<usize>, bool),
    by: Duration,
) -> (Body, bool) {
    let (late, (send, receive)) = (Arc::clone(state), tokio::sync::oneshot::channel());
    state.background.spawn(async move {
        late.clock.sleep(by).await;
        let answer = calls::answer(&late, call, is_local).await;
        late.note_outcome(place, answer.1);
        _ = send.send(answer);
    });
    match receive.await {
        Ok(answer) => answer,
        // The pool stops.
        Err(_) => std::future::pending().await,
    }
}
