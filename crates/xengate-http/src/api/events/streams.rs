//! Streams of events: what happens to the objects a client asked for, as it happens.
//!
//! Who asks for the same shares a [`group`], which looks at each happening once, encodes it once
//! and wakes its followers only if there is something for them. A [`follower`] is one client's
//! stream: it has no queue, but a place in what happened, and takes what lies behind it from its
//! group, or, where it has fallen behind, from the inventory's history. Beyond that it is told to
//! begin anew.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::ws::WebSocketUpgrade;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::{HeaderName, HeaderValue, header};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::follower::Begin;
use super::frames::Wire;
use super::group::Groups;
use super::selection::Selection;
use super::websocket;
use crate::api::events::follower::{Follower, Out};
use crate::api::events::stream_limits::{NoPermit, StreamPermit, StreamPermits};
use crate::costly::Costly;
use xenapi_mirror::inventory::Inventory;
use xenapi_mirror::metrics::Metrics;
use xengate_config::Limits;
use xengate_core::auth::{Authority, Caller};

/// The media type of a stream over plain HTTP.
pub const MEDIA_TYPE: &str = "text/event-stream";

/// Tells a proxy that would collect an answer before it passes it on that this one never ends.
static X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// How many streams there are, and how much they cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Clients' streams.
    pub streams: usize,
    /// What they ask for, each different thing counted once.
    pub groups: usize,
    /// How often something that happened was encoded.
    pub encoded: u64,
}

/// All streams of the gateway.
#[derive(Debug)]
pub struct Events {
    pub(super) inventory: Arc<Inventory>,
    pub(super) heartbeat: Duration,
    pub(super) groups: Arc<Groups>,
    pub(super) seats: Arc<StreamPermits>,
    pub(super) sockets: TaskTracker,
    pub(super) shutdown_grace: Duration,
}

impl Events {
    /// No streams yet. They end with `stopping`.
    pub fn new(
        inventory: Arc<Inventory>,
        authority: Arc<Authority>,
        metrics: Arc<Metrics>,
        costly: Arc<Costly>,
        boot_id: &str,
        limits: &Limits,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            groups: Groups::new(inventory.clone(), metrics, boot_id.into(), costly, limits),
            inventory,
            heartbeat: limits.event_heartbeat,
            seats: StreamPermits::new(authority, limits, stopping),
            sockets: TaskTracker::new(),
            shutdown_grace: limits.shutdown_grace,
        }
    }

    /// How many streams there are, and how much they cost.
    pub fn counts(&self) -> Counts {
        let (streams, groups) = (self.seats.len(), self.groups.len());
        Counts { streams, groups, encoded: self.groups.encoded() }
    }

    /// A place among the streams, for as long as one lasts.
    pub fn seat(&self, caller: &Caller) -> Result<StreamPermit, NoPermit> {
        self.seats.take(caller)
    }

    /// A stream as the answer to a request.
    pub fn answer(
        self: &Arc<Self>,
        seat: StreamPermit,
        selection: Selection,
        begin: Begin,
    ) -> Result<Response, NoPermit> {
        let follower = Follower::new(self.clone(), seat, selection, Wire::Lines, begin)?;
        let frames = stream::unfold(follower, |mut follower| async move {
            let (Out::Frame(frame) | Out::Heartbeat(frame)) = follower.next().await?;
            Some((Ok::<Bytes, Infallible>(frame), follower))
        });
        let mut response = Body::from_stream(frames).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(X_ACCEL_BUFFERING.clone(), HeaderValue::from_static("no"));
        Ok(response)
    }

    /// A stream over a WebSocket.
    pub fn upgrade(
        self: &Arc<Self>,
        upgrade: WebSocketUpgrade,
        seat: StreamPermit,
        selection: Selection,
        begin: Begin,
    ) -> Result<Response, NoPermit> {
        let follower = Follower::new(self.clone(), seat, selection, Wire::Messages, begin)?;
        Ok(websocket::upgrade(upgrade, follower, self.heartbeat, &self.sockets))
    }

    /// Waits, bounded, until the WebSockets have been closed. The other streams are answers, and
    /// end with the server's connections.
    pub async fn shutdown(&self) {
        self.sockets.close();
        if tokio::time::timeout(self.shutdown_grace, self.sockets.wait()).await.is_err() {
            tracing::warn!(
                left = self.sockets.len(),
                "WebSockets that did not end in time are cut"
            );
        }
    }
}
