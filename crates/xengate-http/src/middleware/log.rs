//! What is logged of requests: a line for each write, with who made it and what came of it, and
//! where that is wanted a line for every request. User, operation and id are the span's.
//!
//! Of an address only the path is logged, as a query may hold what is nobody's business, and of a
//! session only its user.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::response::Response;
use http::{Method, Request, StatusCode, header};
use tracing::Level;
use uuid::Uuid;

use crate::problem::{Code, Problem};
use xengate_telemetry::request_span::RequestSpan;

/// What is no write to a pool, and has lines of its own where it matters.
const OWN: [&str; 2] = ["/sessions", "/events"];

/// A request that is to be logged, if it is.
pub(super) struct RequestLog(Option<Box<Begun>>);

struct Begun {
    at: Instant,
    client: IpAddr,
    method: Method,
    path: String,
    write: bool,
    access: bool,
    span: Arc<RequestSpan>,
}

impl RequestLog {
    /// Begins it, where there is anything to log. `access` wants a line for each request, `client`
    /// tells whose it is.
    pub(super) fn begin<B>(
        request: &Request<B>,
        span: &Arc<RequestSpan>,
        access: bool,
        client: impl FnOnce(&Request<B>) -> IpAddr,
    ) -> Self {
        let write = is_write(request) && tracing::enabled!(Level::INFO);
        if !(write || access || tracing::enabled!(Level::DEBUG)) {
            return Self(None);
        }
        Self(Some(Box::new(Begun {
            at: Instant::now(),
            client: client(request),
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            write,
            access,
            span: span.clone(),
        })))
    }

    /// It is answered.
    pub(super) fn end(mut self, response: &Response) {
        if let Some(begun) = self.0.take() {
            begun.end(Some(response));
        }
    }
}

impl Drop for RequestLog {
    fn drop(&mut self) {
        if let Some(begun) = self.0.take() {
            begun.end(None);
        }
    }
}

impl Begun {
    /// Writes the lines; without a response the client has gone away before there was one, and the
    /// request is worked on no longer.
    fn end(self, response: Option<&Response>) {
        self.span.clone().within(|| self.write_lines(response));
    }

    fn write_lines(self, response: Option<&Response>) {
        let status = response.map(|response| response.status().as_u16());
        let code = response.and_then(|response| response.extensions().get::<Problem>());
        let code = code.map(Problem::code);
        let client = self.client;
        // Whoever is nobody has changed nothing.
        if self.write && self.span.user().is_some() {
            let made = response.and_then(|response| response.headers().get(header::LOCATION));
            let made = made.and_then(|location| location.to_str().ok());
            let is_task = status == Some(202);
            let object = made.filter(|_| status == Some(201)).unwrap_or(&self.path);
            let object = object.split('/').find(|part| Uuid::try_parse(part).is_ok());
            let task = made.filter(|_| is_task).and_then(|task| task.rsplit('/').next());
            let outcome = outcome(status, code);
            tracing::info!(%client, object, outcome, status, code, task, "write");
        }
        let (method, path, micros) = (&self.method, &*self.path, self.at.elapsed().as_micros());
        if self.access {
            tracing::info!(%client, %method, path, status, code, micros, "request");
        } else {
            tracing::debug!(%client, %method, path, status, code, micros, "request");
        }
    }
}

fn is_write<B>(request: &Request<B>) -> bool {
    let path = request.uri().path();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    !reads && !OWN.iter().any(|own| path.starts_with(own))
}

fn outcome(status: Option<u16>, code: Option<&str>) -> &'static str {
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    match status {
        None => "the client has left",
        _ if code == Some(Code::OutcomeUnknown.as_str()) => "unknown",
        Some(StatusCode::ACCEPTED) => "under way",
        Some(status) if status.is_server_error() => "failed",
        Some(status) if status.is_client_error() => "refused",
        Some(_) => "done",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_told_by_status_and_code() {
        for (status, code, told) in [
            (Some(200), None, "done"),
            (Some(204), None, "done"),
            (Some(202), None, "under way"),
            (Some(409), Some("VM_BAD_POWER_STATE"), "refused"),
            (Some(502), Some("OUTCOME_UNKNOWN"), "unknown"),
            (Some(503), Some("BACKEND_UNREACHABLE"), "failed"),
            (None, None, "the client has left"),
        ] {
            assert_eq!(outcome(status, code), told);
        }
    }

    #[test]
    fn reads_and_sessions_are_no_writes() {
        let write = |method: Method, path: &str| {
            is_write(&Request::builder().method(method).uri(path).body(()).expect("a request"))
        };
        assert!(write(Method::POST, "/vms/x/actions/start"));
        assert!(write(Method::PATCH, "/vms/x") && write(Method::DELETE, "/vms/x"));
        assert!(!write(Method::GET, "/vms") && !write(Method::HEAD, "/vms"));
        assert!(!write(Method::POST, "/sessions") && !write(Method::POST, "/events/tickets"));
    }
}
