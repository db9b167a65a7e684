//! The log: to standard error, for people or for programs.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use xengate_http::middleware::log_panics;
use xengate_telemetry::request_span::{self, RequestSpans};

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// Human on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// Lines for people.
    Human,
    /// A JSON object per line.
    Json,
}

/// What is logged unless `RUST_LOG` says otherwise.
const LEVELS: &str = "warn,xengate=info,xenapi=info";

/// What is never logged: below this, the WebSocket library logs every message with all it holds.
const SILENT: [&str; 2] = ["tungstenite=info", "tokio_tungstenite=info"];

/// Starts to log, panics included.
pub(super) fn start(format: LogFormat) {
    let terminal = io::stderr().is_terminal();
    let given = std::env::var("RUST_LOG").ok().filter(|levels| !levels.is_empty());
    let (filter, wrong) = match given.as_deref().map(EnvFilter::try_new) {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(LEVELS), Some(error)),
        None => (EnvFilter::new(LEVELS), None),
    };
    let spans = format!("{}=error", request_span::TARGET);
    let always = SILENT.iter().copied().chain([&*spans]);
    let always = always.filter_map(|directive| directive.parse().ok());
    let filter = always.fold(filter, EnvFilter::add_directive);
    let log = tracing_subscriber::registry().with(RequestSpans).with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(terminal);
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Human => false,
        LogFormat::Json => true,
    };
    if json {
        log.with(lines.json().flatten_event(true).with_span_list(false)).init();
    } else {
        log.with(lines).init();
    }
    log_panics();
    if let Some(error) = wrong {
        tracing::warn!(%error, "RUST_LOG makes no sense and is not used");
    }
}
