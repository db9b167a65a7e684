//! Panics of a request end that request and no more.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::pin::pin;
use std::task::Poll;

thread_local! {
    /// This thread is polling a request whose panic will be caught and logged.
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    /// Where the panic being caught on this thread happened.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A panic that was caught: its text and place, for the log and never for a client.
#[derive(Debug)]
pub(super) struct Panic {
    text: String,
    place: Option<String>,
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        self.place.as_ref().map_or(Ok(()), |place| write!(f, " at {place}"))
    }
}

/// Runs a future to its end, or to its panic.
pub(super) async fn caught<F: Future>(future: F) -> Result<F::Output, Panic> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        let outer = CATCHING.replace(true);
        // Nothing of the future is looked at again after a panic, so no broken state is seen.
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        CATCHING.set(outer);
        match polled {
            Ok(poll) => poll.map(Ok),
            Err(payload) => {
                let text = text_of(payload.as_ref()).to_owned();
                Poll::Ready(Err(Panic { text, place: PLACE.take() }))
            }
        }
    })
    .await
}

/// Makes panics log lines: those of requests where they are caught, with the request's id, all
/// others here.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        let place = info.location().map(ToString::to_string);
        if CATCHING.get() {
            PLACE.set(place);
        } else {
            let text = text_of(info.payload());
            tracing::error!(panic = text, place, "a task panicked");
        }
    }));
}

fn text_of(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_with_its_future() {
        assert_eq!(caught(async { 7 }).await.expect("no panic"), 7);
        let panic = caught(async {
            tokio::task::yield_now().await;
            panic!("number {}", 5)
        });
        let panic: Result<(), Panic> = panic.await;
        assert!(panic.expect_err("panic").to_string().starts_with("number 5"));
        assert!(!CATCHING.get());
    }
}
