//! `xengate serve`.

use tokio::signal::unix::{SignalKind, signal};

use super::{Failed, Serve, say};
use crate::app::{App, Running};
use xengate_config::Config;

pub(super) async fn run(serve: Serve) -> Result<(), Failed> {
    let source = &serve.source;
    let mut config = match (&source.config, &source.xm_config) {
        (Some(file), _) => Config::load(file)?,
        (None, Some(file)) => Config::with_xm_config(file)?,
        (None, None) => Config::with_backends(&source.backends)?,
    };
    if let Some(address) = serve.listen {
        config.listen_on(address)?;
    }
    let signals = Signals::new()?;
    let backends = backends(&config);
    let running = App::start(config).await?;
    let configuration = source.config.as_ref().or(source.xm_config.as_ref());
    let configuration =
        configuration.map_or("the command line".into(), |file| file.to_string_lossy());
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        configuration = &*configuration,
        backends,
        listen = running.url(),
        "started"
    );
    say(format_args!("xengate listening on {}", running.url()));
    signals.drain(running).await;
    Ok(())
}

/// The backends with their addresses, in which there are no passwords: `lab=https://pool.example`.
fn backends(config: &Config) -> String {
    let backends = config.backends.iter().map(|(name, of)| format!("{name}={}", of.uris.join(",")));
    backends.collect::<Vec<_>>().join(" ")
}

/// The signals that end the gateway, or have it read its certificate again. Watched from before it
/// listens, so that none is missed.
pub(super) struct Signals {
    stop: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, Failed> {
        let watch = |kind| signal(kind).map_err(Failed::Signals);
        Ok(Self {
            stop: watch(SignalKind::terminate())?,
            interrupt: watch(SignalKind::interrupt())?,
            hangup: watch(SignalKind::hangup())?,
        })
    }

    /// Waits for the first signal, then lets the gateway finish. A second one ends it at once.
    pub(super) async fn drain(mut self, running: Running) {
        self.wait_with(|| running.reload()).await;
        tracing::info!("shutting down; a second signal ends the gateway at once");
        let hurry = async {
            self.wait().await;
            tracing::warn!("a second signal: what runs is cut");
            std::process::exit(1);
        };
        tokio::select! {
            () = running.shutdown() => tracing::info!("done"),
            () = hurry => {}
        }
    }

    /// The next signal that ends something.
    pub(super) async fn wait(&mut self) {
        self.wait_with(|| {}).await;
    }

    /// The same; a hangup ends nothing, whatever becomes of the terminal.
    async fn wait_with(&mut self, hung_up: impl Fn()) {
        loop {
            tokio::select! {
                _ = self.stop.recv() => return,
                _ = self.interrupt.recv() => return,
                Some(()) = self.hangup.recv() => hung_up(),
            }
        }
    }
}
