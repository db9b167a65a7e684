//! The span of a request, so that each line logged on its behalf bears its id.
//!
//! To make a span costs a good part of what a small answer costs, and hardly any request logs
//! anything. So a request that is worked on only says so in its thread, and [`RequestSpans`] makes
//! its span with the first line that is logged.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, OnceLock};

use http::{HeaderValue, Method};
use tracing::{Event, Span, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use uuid::Uuid;

/// What the span is called in the filter of the log. It is made at the highest level: a filter that
/// lets any line through has to let this through too.
pub const TARGET: &str = "xengate::request";

thread_local! {
    /// The request that this thread works on at the moment.
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

#[derive(Debug)]
struct Current {
    request: Arc<RequestSpan>,
    /// The thread is within its span.
    entered: bool,
}

/// A request, as lines of the log name it.
#[derive(Debug)]
pub struct RequestSpan {
    id: HeaderValue,
    method: Method,
    path: Box<str>,
    user: OnceLock<Arc<str>>,
    span: OnceLock<Span>,
}

impl RequestSpan {
    /// A request whose id is visible ASCII.
    pub fn new(id: HeaderValue, method: Method, path: &str) -> Arc<Self> {
        let (user, span) = (OnceLock::new(), OnceLock::new());
        Arc::new(Self { id, method, path: path.into(), user, span })
    }

    /// The one that is worked on here, if one is.
    pub fn current() -> Option<Arc<Self>> {
        CURRENT.with_borrow(|current| Some(current.as_ref()?.request.clone()))
    }

    /// It is from this user.
    pub fn is_from(&self, user: &Arc<str>) {
        if self.user.set(user.clone()).is_ok()
            && let Some(span) = self.span.get()
        {
            span.record("user", &**user);
        }
    }

    /// Who it is from, if that is known.
    pub fn user(&self) -> Option<&str> {
        self.user.get().map(|user| &**user)
    }

    /// `POST /vms/{uuid}/actions/start`, of which the object is told apart.
    pub fn operation(&self) -> String {
        let part = |part| if Uuid::try_parse(part).is_ok() { "{uuid}" } else { part };
        let parts: Vec<&str> = self.path.split('/').map(part).collect();
        format!("{} {}", self.method, parts.join("/"))
    }

    /// Works on it.
    pub async fn scope<F: Future + Unpin>(self: Arc<Self>, mut work: F) -> F::Output {
        let mut request = Some(self);
        poll_fn(|context| {
            let _within = Within::begin(&mut request);
            pin!(&mut work).poll(context)
        })
        .await
    }

    /// Does something on its behalf.
    pub fn within<T>(self: Arc<Self>, work: impl FnOnce() -> T) -> T {
        let mut request = Some(self);
        let _within = Within::begin(&mut request);
        work()
    }

    fn span(&self) -> &Span {
        self.span.get_or_init(|| {
            tracing::error_span!(
                target: TARGET,
                parent: None,
                "request",
                request_id = self.id.to_str().unwrap_or_default(),
                operation = self.operation(),
                user = self.user(),
            )
        })
    }

    fn enter(&self) {
        self.span().with_subscriber(|(id, subscriber)| subscriber.enter(id));
    }

    fn exit(&self) {
        self.span().with_subscriber(|(id, subscriber)| subscriber.exit(id));
    }
}

/// Work for a task of its own, which goes on with the request that is worked on here.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let request = RequestSpan::current();
    async move {
        let work = pin!(work);
        match request {
            Some(request) => request.scope(work).await,
            None => work.await,
        }
    }
}

/// The thread works on a request until this is dropped.
struct Within<'a> {
    request: &'a mut Option<Arc<RequestSpan>>,
    outer: Option<Current>,
}

impl<'a> Within<'a> {
    fn begin(request: &'a mut Option<Arc<RequestSpan>>) -> Self {
        let current = request.take().map(|request| {
            let entered = request.span.get().is_some();
            if entered {
                request.enter();
            }
            Current { request, entered }
        });
        Self { request, outer: CURRENT.replace(current) }
    }
}

impl Drop for Within<'_> {
    fn drop(&mut self) {
        let Some(current) = CURRENT.replace(self.outer.take()) else { return };
        if current.entered {
            current.request.exit();
        }
        *self.request = Some(current.request);
    }
}

/// The layer that makes the spans. It stands beneath the one that writes the lines, so as to hear of
/// each before it.
#[derive(Debug, Clone, Copy)]
pub struct RequestSpans;

impl<S: Subscriber> Layer<S> for RequestSpans {
    fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
        let request = CURRENT.with_borrow_mut(|current| {
            let current = current.as_mut().filter(|current| !current.entered)?;
            current.entered = true;
            Some(current.request.clone())
        });
        if let Some(request) = request {
            request.enter();
        }
    }
}
