//! The command line.
//!
//! Standard output carries what a program may read (the line that says where the gateway listens,
//! the OpenAPI document), standard error the log and what went wrong.

mod check;
mod check_backend;
mod demo;
mod hash_password;
mod healthcheck;
mod list;
mod logging;
mod serve;
mod simulate;

use std::fmt;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::app::StartError;
use xenapi_client::BackendError;
use xengate_config::{ConfigError, listen_address};
use xengate_core::auth::HashError;
use xengate_http::api;

pub use logging::LogFormat;

/// A REST/JSON gateway to the Xen-API.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// How the log is written; auto is human on a terminal and JSON elsewhere. RUST_LOG sets the
    /// level.
    #[arg(long, global = true, value_enum, default_value_t)]
    log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the pools of a configuration.
    Serve(Serve),
    /// Serve a simulated pool: nothing needed, nothing touched.
    Demo(Simulation),
    /// Say what is wrong with a configuration, with the line.
    CheckConfig {
        /// The configuration.
        file: PathBuf,
    },
    /// Look at a backend's address: whether it can be reached, its TLS and the pin to paste, what it is,
    /// whether it looks at passwords and, with --username, what role a login has.
    CheckBackend(check_backend::CheckBackend),
    /// Ask the gateway of this machine how it is: exit status 0 when it is well, 1 when not.
    Healthcheck(Healthcheck),
    /// Print the VMs of a running gateway as `xm list` prints them, and end as xm ends: with 3 for a
    /// name that no VM has, with 1 for what went wrong otherwise.
    List(list::List),
    /// Run a simulated pool alone, for whoever writes clients of the Xen-API.
    Sim(Simulation),
    /// Hash a password for [[users]]: the password from standard input or a prompt, the hash on
    /// standard output.
    HashPassword,
    /// Print the OpenAPI document.
    Openapi,
}

#[derive(Debug, Args)]
struct Serve {
    #[command(flatten)]
    source: Source,

    /// Where to listen, whatever the configuration says: 127.0.0.1:8080, localhost:8080, or :8080
    /// for every address of the machine.
    #[arg(long, value_name = "ADDR:PORT", value_parser = listen_address)]
    listen: Option<SocketAddr>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Source {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// A pool, everything else by default; may be given for each of several.
    #[arg(long = "backend", value_name = "[NAME=]URI")]
    backends: Vec<String>,

    /// xm's own configuration: the xend that it names, called `xend`.
    #[arg(long, value_name = "FILE")]
    xm_config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Healthcheck {
    /// The configuration, which says where the gateway listens and whether with TLS.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where it listens, whatever the configuration says.
    #[arg(long, value_name = "ADDR:PORT", value_parser = listen_address)]
    listen: Option<SocketAddr>,

    /// Ask whether logins can be taken (/readyz), not only whether the process lives (/livez).
    #[arg(long)]
    ready: bool,
}

#[derive(Debug, Args)]
struct Simulated {
    /// Where to listen.
    #[arg(long, value_name = "ADDR:PORT", value_parser = listen_address)]
    listen: Option<SocketAddr>,

    /// How many VMs the pool has.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(..=100_000))]
    vms: u32,

    /// VMs do nothing by themselves: what nobody does, does not happen.
    #[arg(long)]
    still: bool,
}

#[derive(Debug, Args)]
struct Simulation {
    #[command(flatten)]
    simulated: Simulated,

    /// A xend of old instead, with both of its interfaces; --listen is where the Xen-API one
    /// listens.
    #[arg(long)]
    xend: bool,
}

impl Simulated {
    fn listen_or(&self, port: u16) -> SocketAddr {
        self.listen.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    fn vms(&self) -> usize {
        usize::try_from(self.vms).unwrap_or(usize::MAX)
    }
}

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("{0}; --listen 127.0.0.1:0 takes a port that is free")]
    Port(StartError),
    #[error("cannot run the simulated pool on {address}: {source}")]
    Sim { address: SocketAddr, source: io::Error },
    #[error("no password was given")]
    NoPassword,
    #[error("no login takes such a password: at most 1024 bytes, and no control characters")]
    BadPassword,
    #[error("the two passwords differ")]
    PasswordsDiffer,
    #[error("cannot read the password: {0}")]
    Password(io::Error),
    #[error(transparent)]
    Hash(#[from] HashError),
    #[error("the gateway at {address} is not well: {why}")]
    Unhealthy { address: SocketAddr, why: String },
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error("{address}: {why}")]
    Bad { address: String, why: String },
    #[error(transparent)]
    List(#[from] list::ListError),
    #[error("it has been said what is wrong")]
    Told,
    #[error("cannot watch for signals: {0}")]
    Signals(io::Error),
    #[error("cannot start: {0}")]
    Runtime(io::Error),
}

/// Does what the command line says.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Scripts know xm's codes.
        Err(wrong) if wrong.use_stderr() && is_list() => {
            let _ = wrong.print();
            return ExitCode::FAILURE;
        }
        Err(wrong) => wrong.exit(),
    };
    logging::start(cli.log_format);
    let done = match cli.command {
        Command::Serve(serve) => on_runtime(serve::run(serve)),
        Command::Demo(demo) if demo.xend => on_runtime(demo::run_xend(demo.simulated)),
        Command::Demo(demo) => on_runtime(demo::run(demo.simulated)),
        Command::Healthcheck(check) => on_runtime(healthcheck::run(check)),
        Command::Sim(sim) if sim.xend => on_runtime(simulate::run_xend(sim.simulated)),
        Command::Sim(sim) => on_runtime(simulate::run(sim.simulated)),
        Command::List(list) => list::run(list),
        Command::CheckConfig { file } => check::run(&file).map(|()| say("ok")),
        Command::CheckBackend(check) => on_runtime(check_backend::run(check)),
        Command::HashPassword => hash_password::run(),
        Command::Openapi => {
            say(api::document().pretty().trim_end());
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed::List(error)) => {
            // In xm's words, and with its codes.
            let _ = writeln!(io::stderr(), "Error: {error}");
            ExitCode::from(error.code())
        }
        Err(Failed::Told) => ExitCode::FAILURE,
        Err(failed) => {
            tell(&failed);
            ExitCode::FAILURE
        }
    }
}

/// Says what went wrong. Not a log line: whoever typed the command reads it.
fn tell(failure: &dyn fmt::Display) {
    let _ = writeln!(io::stderr(), "xengate: {failure}");
}

/// Whether `xengate list` was typed, whatever follows.
fn is_list() -> bool {
    std::env::args_os().nth(1).is_some_and(|command| command == "list")
}

fn on_runtime(command: impl Future<Output = Result<(), Failed>>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failed::Runtime)?;
    let done = runtime.block_on(command);
    // Nothing is left but what was given up on, like the resolver's threads.
    runtime.shutdown_background();
    done
}

/// Says something on standard output at once. Nobody listening is no failure.
fn say(text: impl fmt::Display) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_wants_one_source_of_backends() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        assert!(parse("xengate serve").is_err());
        assert!(parse("xengate serve --config a --backend http://b").is_err());
        assert!(parse("xengate serve --config a --listen 127.0.0.1:0").is_ok());
        let Command::Serve(serve) =
            parse("xengate serve --backend http://a --backend b=http://b --log-format json")
                .expect("two backends")
                .command
        else {
            panic!("serve");
        };
        assert_eq!(serve.source.backends, ["http://a", "b=http://b"]);
    }
}
