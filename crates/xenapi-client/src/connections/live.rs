//! One open connection.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Connection, SendRequest};
use hyper_util::rt::TokioIo;

use super::dial::Stream;
use super::endpoint::Endpoint;

type Driver = Connection<TokioIo<Box<dyn Stream>>, Full<Bytes>>;

/// One open connection. It has no task of its own: whoever uses it drives it, so a caller that goes
/// away takes the connection along, and nothing is left behind.
pub(super) struct Live {
    endpoint: Arc<Endpoint>,
    sender: SendRequest<Full<Bytes>>,
    driver: Option<Pin<Box<Driver>>>,
}

/// Why a request has no response.
pub(super) enum SendError {
    /// Provably nothing of it was sent.
    Unsent,
    /// The connection was lost after that.
    Lost,
    /// The other side speaks something else.
    NotHttp,
}

impl Live {
    pub(super) fn new(
        endpoint: Arc<Endpoint>,
        sender: SendRequest<Full<Bytes>>,
        driver: Driver,
    ) -> Self {
        endpoint.opened();
        Self { endpoint, sender, driver: Some(Box::pin(driver)) }
    }

    /// Whether it leads to this host.
    pub(super) fn leads_to(&self, endpoint: &Endpoint) -> bool {
        self.endpoint.place == endpoint.place
    }

    /// Notes that the other side has broken it.
    pub(super) fn broken(&self) {
        self.endpoint.broken();
    }

    /// Awaits `future` while the connection moves.
    pub(super) async fn drive<F: Future>(&mut self, future: F) -> F::Output {
        drive(&mut self.driver, future).await
    }

    /// Sends a request and awaits the head of its response.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, SendError> {
        let response = self.sender.try_send_request(request);
        drive(&mut self.driver, response).await.map_err(|mut error| {
            self.broken();
            if error.take_message().is_some() {
                SendError::Unsent
            } else if error.error().is_parse() {
                SendError::NotHttp
            } else {
                SendError::Lost
            }
        })
    }

    /// Whether it can take a request now: the last exchange is over and the other side has neither
    /// closed it nor said anything unasked.
    pub(super) async fn is_free(&mut self) -> bool {
        let Self { sender, driver, .. } = self;
        let mut ready = pin!(drive(driver, sender.ready()));
        poll_fn(|cx| Poll::Ready(matches!(ready.as_mut().poll(cx), Poll::Ready(Ok(()))))).await
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.endpoint.closed();
    }
}

async fn drive<F: Future>(driver: &mut Option<Pin<Box<Driver>>>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        // The connection first: an end that has been noticed already must come before a request.
        if let Some(connection) = driver
            && connection.as_mut().poll(cx).is_ready()
        {
            // Dropping it wakes everything that waits for it.
            *driver = None;
        }
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(output);
        }
        // The future may have asked the connection for more.
        if let Some(connection) = driver
            && connection.as_mut().poll(cx).is_ready()
        {
            *driver = None;
        }
        future.as_mut().poll(cx)
    })
    .await
}
