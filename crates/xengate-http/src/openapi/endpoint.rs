//! One operation of the API. What there is of it anywhere (a route, a line of the list of operations, a part
//! of the document, a name in the metrics) is made from this.

use std::fmt;
use std::sync::Arc;

use axum::extract::Request;
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use utoipa::openapi::path::HttpMethod;

use super::description::Description;
use super::parts::Parts;
use crate::Gateway;
use crate::in_flight;
use crate::route::Route;
use xenapi_model::{Call, Roles, datamodel};

/// How many calls a line names.
const SHOWN_CALLS: usize = 8;

/// An operation of the API: what it is, how it is answered and how the document describes it.
pub struct Endpoint {
    /// `GET`.
    pub method: HttpMethod,
    /// `/vms/{uuid}/actions/start`.
    pub path: String,
    /// `startVm`.
    pub id: String,
    /// `VM`: the class, or a part of the gateway.
    pub tag: String,
    /// Who may use it.
    pub access: Access,
    /// The Xen-API calls it stands for: `VM.start`.
    pub calls: Vec<String>,
    /// `/vms/{uuid}/actions/{call}`: the path as the router has it, where several share a route.
    route: Option<String>,
    answer: Answer,
    describe: Box<dyn Fn(&mut Parts) -> Description + Send + Sync>,
}

/// A handler for one method, made anew for each router, with the route that it counts under.
type Answer = Box<dyn Fn(Route) -> MethodRouter<Arc<Gateway>> + Send + Sync>;

/// Who may use an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone, without a token.
    Public,
    /// Requests of the gateway's own machine, and who has the token for it in the configuration.
    Scraper,
    /// Who has the token for it in the configuration.
    FleetScraper,
    /// Anyone who is logged in.
    Session,
    /// Who is logged in with one of these roles on the backend.
    Roles(Roles),
}

/// The roles that may make all of these calls.
pub(crate) fn access_to_all(calls: &[String]) -> Access {
    let roles = calls.iter().map(|name| call_named(name).roles.0);
    Access::Roles(Roles(roles.fold(u8::MAX, |all, roles| all & roles)))
}

/// The roles that may make at least one of these calls.
pub(crate) fn access_to_any(calls: &[String]) -> Access {
    let roles = calls.iter().map(|name| call_named(name).roles.0);
    Access::Roles(Roles(roles.fold(0, |all, roles| all | roles)))
}

fn call_named(name: &str) -> &'static Call {
    datamodel().call(name).expect("operations name the datamodel's calls").1
}

impl Endpoint {
    /// One for anyone who is logged in. `describe` says what the document has of it.
    fn new<H, T>(
        (method, path): (HttpMethod, &str),
        id: &str,
        tag: &str,
        handler: H,
        describe: impl Fn(&mut Parts) -> Description + Send + Sync + 'static,
    ) -> Self
    where
        H: Handler<T, Arc<Gateway>>,
        T: 'static,
    {
        let filter = filter_of(&method);
        let answer = move |route| on(filter, Counted { route, handler: handler.clone() });
        Self {
            method,
            path: path.into(),
            id: id.into(),
            tag: tag.into(),
            access: Access::Session,
            calls: Vec::new(),
            route: None,
            answer: Box::new(answer),
            describe: Box::new(describe),
        }
    }

    /// `GET`.
    pub(crate) fn get<H, T>(
        path: &str,
        id: &str,
        tag: &str,
        handler: H,
        describe: impl Fn(&mut Parts) -> Description + Send + Sync + 'static,
    ) -> Self
    where
        H: Handler<T, Arc<Gateway>>,
        T: 'static,
    {
        Self::new((HttpMethod::Get, path), id, tag, handler, describe)
    }

    /// `POST`.
    pub(crate) fn post<H, T>(
        path: &str,
        id: &str,
        tag: &str,
        handler: H,
        describe: impl Fn(&mut Parts) -> Description + Send + Sync + 'static,
    ) -> Self
    where
        H: Handler<T, Arc<Gateway>>,
        T: 'static,
    {
        Self::new((HttpMethod::Post, path), id, tag, handler, describe)
    }

    /// `PATCH`.
    pub(crate) fn patch<H, T>(
        path: &str,
        id: &str,
        tag: &str,
        handler: H,
        describe: impl Fn(&mut Parts) -> Description + Send + Sync + 'static,
    ) -> Self
    where
        H: Handler<T, Arc<Gateway>>,
        T: 'static,
    {
        Self::new((HttpMethod::Patch, path), id, tag, handler, describe)
    }

    /// `DELETE`.
    pub(crate) fn delete<H, T>(
        path: &str,
        id: &str,
        tag: &str,
        handler: H,
        describe: impl Fn(&mut Parts) -> Description + Send + Sync + 'static,
    ) -> Self
    where
        H: Handler<T, Arc<Gateway>>,
        T: 'static,
    {
        Self::new((HttpMethod::Delete, path), id, tag, handler, describe)
    }

    /// The same for others than whoever is logged in.
    #[must_use]
    pub(crate) fn open_to(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// The same, standing for these calls.
    #[must_use]
    pub(crate) fn calls<S: Into<String>>(self, calls: impl IntoIterator<Item = S>) -> Self {
        Self { calls: calls.into_iter().map(Into::into).collect(), ..self }
    }

    /// The same, standing for these calls and open to whoever may make all of them.
    #[must_use]
    pub(crate) fn makes<S: Into<String>>(self, calls: impl IntoIterator<Item = S>) -> Self {
        let this = self.calls(calls);
        Self { access: access_to_all(&this.calls), ..this }
    }

    /// The same at a route that it shares with others.
    #[must_use]
    pub(crate) fn routed_at(self, route: String) -> Self {
        Self { route: Some(route), ..self }
    }

    /// The path as the router has it.
    pub fn route(&self) -> &str {
        self.route.as_deref().unwrap_or(&self.path)
    }

    /// What answers it, with the number that its route has.
    pub(crate) fn answered_at(&self, route: Route) -> MethodRouter<Arc<Gateway>> {
        (self.answer)(route)
    }

    /// What the document says of it.
    pub(crate) fn description(&self, parts: &mut Parts) -> Description {
        (self.describe)(parts)
    }

    /// Whether it takes a body.
    pub fn has_body(&self) -> bool {
        self.description(&mut Parts::default()).body.is_some()
    }

    /// `GET`, as it stands in a request.
    pub fn method_name(&self) -> &'static str {
        match self.method {
            HttpMethod::Get => "GET",
            HttpMethod::Post => "POST",
            HttpMethod::Put => "PUT",
            HttpMethod::Delete => "DELETE",
            HttpMethod::Options => "OPTIONS",
            HttpMethod::Head => "HEAD",
            HttpMethod::Patch => "PATCH",
            HttpMethod::Trace => "TRACE",
        }
    }

    /// One line: method, path, operationId, the least role that will do, calls.
    pub(crate) fn line(&self) -> String {
        let role = match self.access {
            Access::Public => "public",
            Access::Scraper | Access::FleetScraper => "scraper",
            Access::Session => "session",
            // What no role may, a local superuser still may.
            Access::Roles(roles) => roles.names().last().unwrap_or("superuser"),
        };
        let calls = match self.calls.split_at_checked(SHOWN_CALLS) {
            _ if self.calls.is_empty() => "-".to_owned(),
            Some((shown, more)) if !more.is_empty() => {
                format!("{},… {} more", shown.join(","), more.len())
            }
            _ => self.calls.join(","),
        };
        let Self { path, id, .. } = self;
        format!("{:<6} {path:<60} {id:<40} {role:<14} {calls}", self.method_name())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method_name(), self.path)
    }
}

fn filter_of(method: &HttpMethod) -> MethodFilter {
    match method {
        HttpMethod::Get => MethodFilter::GET,
        HttpMethod::Post => MethodFilter::POST,
        HttpMethod::Put => MethodFilter::PUT,
        HttpMethod::Delete => MethodFilter::DELETE,
        HttpMethod::Options => MethodFilter::OPTIONS,
        HttpMethod::Head => MethodFilter::HEAD,
        HttpMethod::Patch => MethodFilter::PATCH,
        HttpMethod::Trace => MethodFilter::TRACE,
    }
}

/// A handler whose requests count under a route.
#[derive(Clone)]
struct Counted<H> {
    route: Route,
    handler: H,
}

impl<H: Handler<T, S>, T, S> Handler<T, S> for Counted<H> {
    type Future = H::Future;

    fn call(self, request: Request, state: S) -> Self::Future {
        in_flight::answered_by(self.route);
        self.handler.call(request, state)
    }
}

/// A handler that several endpoints have, and what tells them apart: an extension of the request.
#[derive(Debug, Clone)]
pub(crate) struct With<E, H>(pub(crate) E, pub(crate) H);

impl<E, H, T, S> Handler<T, S> for With<E, H>
where
    E: Clone + Send + Sync + 'static,
    H: Handler<T, S>,
{
    type Future = H::Future;

    fn call(self, mut request: Request, state: S) -> Self::Future {
        request.extensions_mut().insert(self.0);
        self.1.call(request, state)
    }
}
