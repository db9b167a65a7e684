//! The `xengate` binary: see [`xengate::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    xengate::cli::run()
}
