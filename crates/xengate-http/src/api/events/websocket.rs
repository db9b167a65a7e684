//! The same events over a WebSocket.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tungstenite::error::ProtocolError;

use crate::api::events::follower::{Follower, Out};
use crate::api::events::stream_limits::End;
use xengate_core::auth::Over;

/// What a client sends is the protocol's own: pings, pongs, a close.
const LARGEST_MESSAGE: usize = 4 << 10;

/// What is written together, and what may wait to be written while the client reads nothing.
const WRITE_BUFFER: usize = 16 << 10;
const LARGEST_BACKLOG: usize = 4 << 20;

/// After so many signs of life without an answer a client is gone.
const SILENT_HEARTBEATS: u32 = 3;

/// How long a client may take to close its end.
const CLOSING: Duration = Duration::from_secs(1);

/// Close codes of the gateway's own: the session ended, by itself or by somebody.
const LOGGED_OUT: u16 = 4401;
const EXPIRED: u16 = 4402;
const SESSION_ENDED: u16 = 4403;
const UNCONFIRMED: u16 = 4503;

/// And: what it asks for costs too much by now.
const TOO_COSTLY: u16 = 4413;

/// Answers with the switch of protocols, after which `follower` is served.
pub(super) fn upgrade(
    upgrade: WebSocketUpgrade,
    follower: Follower,
    heartbeat: Duration,
    sockets: &TaskTracker,
) -> Response {
    let token = sockets.token();
    upgrade
        .read_buffer_size(LARGEST_MESSAGE)
        .max_message_size(LARGEST_MESSAGE)
        .max_frame_size(LARGEST_MESSAGE)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(LARGEST_BACKLOG)
        .on_failed_upgrade(|error| tracing::debug!(%error, "no WebSocket came of an upgrade"))
        .on_upgrade(move |socket| async move {
            let _token = token;
            serve(socket, follower, heartbeat).await;
        })
}

async fn serve(mut socket: WebSocket, mut follower: Follower, heartbeat: Duration) {
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            out = follower.next() => match out {
                Some(Out::Frame(frame)) => {
                    let Ok(text) = Utf8Bytes::try_from(frame) else {
                        return close(socket, close_code::ERROR, "a bug of the gateway").await;
                    };
                    if socket.send(Message::Text(text)).await.is_err() {
                        return;
                    }
                }
                Some(Out::Heartbeat(frame)) => {
                    if heard.elapsed() >= heartbeat * SILENT_HEARTBEATS {
                        return;
                    }
                    let Ok(text) = Utf8Bytes::try_from(frame) else { return };
                    let sent = async {
                        socket.send(Message::Text(text)).await?;
                        socket.send(Message::Ping(axum::body::Bytes::new())).await
                    };
                    if sent.await.is_err() {
                        return;
                    }
                }
                None => {
                    let (code, reason) = farewell(follower.end());
                    return close(socket, code, reason).await;
                }
            },
            message = socket.recv() => match message {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => heard = Instant::now(),
                Some(Ok(Message::Text(_) | Message::Binary(_))) => {
                    let reason = "this stream takes no messages";
                    return close(socket, close_code::UNSUPPORTED, reason).await;
                }
                Some(Err(error)) => match wrong(error) {
                    Some((code, reason)) => return close(socket, code, reason).await,
                    None => return,
                },
                None | Some(Ok(Message::Close(_))) => return,
            }
        }
    }
}

/// The close code for what a client did wrong, and what that was; none where it went away.
fn wrong(error: axum::Error) -> Option<(u16, &'static str)> {
    let error = error.into_inner().downcast::<tungstenite::Error>().ok()?;
    match *error {
        tungstenite::Error::Capacity(_) => {
            Some((close_code::SIZE, "this stream takes no messages, and none as long as this"))
        }
        tungstenite::Error::Utf8(_) => Some((close_code::INVALID, "this text is not UTF-8")),
        tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        tungstenite::Error::Protocol(_) => {
            Some((close_code::PROTOCOL, "this is not how the WebSocket protocol goes"))
        }
        _ => None,
    }
}

/// The close code of an end, and why.
fn farewell(end: Option<&End>) -> (u16, &'static str) {
    let over = match end {
        None => return (close_code::NORMAL, "done"),
        Some(End::Shutdown) => return (close_code::AWAY, "shutdown"),
        Some(End::TooCostly) => return (TOO_COSTLY, "too_costly"),
        Some(end @ (End::Session(over) | End::Backend(_, over))) => (over, end.name()),
    };
    let code = match over.0 {
        Over::LoggedOut => LOGGED_OUT,
        Over::Expired => EXPIRED,
        Over::Ended => SESSION_ENDED,
        Over::Unconfirmed => UNCONFIRMED,
    };
    (code, over.1)
}

async fn close(mut socket: WebSocket, code: u16, reason: &'static str) {
    let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
    let closing = async {
        if socket.send(Message::Close(Some(frame))).await.is_ok() {
            // Until the other end has closed too, or the last words might be lost.
            while socket.recv().await.is_some_and(|message| message.is_ok()) {}
        }
    };
    // A client that does not is cut.
    let _ = tokio::time::timeout(CLOSING, closing).await;
}
