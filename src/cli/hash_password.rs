//! `xengate hash-password`.

use std::io::{self, BufRead, IsTerminal};

use secrecy::{ExposeSecret, SecretString};

use super::{Failed, say};
use xengate_core::auth;

/// More than the longest password that a login takes, and the end of its line.
const LONGEST_LINE: u64 = 4096;

pub(super) fn run() -> Result<(), Failed> {
    let password = if io::stdin().is_terminal() { ask()? } else { first_line(io::stdin().lock())? };
    if password.expose_secret().is_empty() {
        return Err(Failed::NoPassword);
    }
    if !auth::may_be_a_password(password.expose_secret()) {
        return Err(Failed::BadPassword);
    }
    say(auth::hash(&password)?);
    Ok(())
}

/// Asks twice, without an echo: nobody sees what was typed.
fn ask() -> Result<SecretString, Failed> {
    let password = prompt("Password: ")?;
    let again = prompt("Again: ")?;
    if password.expose_secret() != again.expose_secret() {
        return Err(Failed::PasswordsDiffer);
    }
    Ok(password)
}

/// Asks for a password, without an echo.
pub(super) fn prompt(text: &str) -> Result<SecretString, Failed> {
    rpassword::prompt_password(text).map(SecretString::from).map_err(Failed::Password)
}

/// A password that another program gives.
pub(super) fn first_line(input: impl BufRead) -> Result<SecretString, Failed> {
    let mut line = String::new();
    input.take(LONGEST_LINE).read_line(&mut line).map_err(Failed::Password)?;
    let end = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(end);
    Ok(SecretString::from(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_the_first_line() {
        for (input, want) in [
            ("pa ss\n", "pa ss"),
            ("pass\r\nmore\n", "pass"),
            ("pass", "pass"),
            ("", ""),
            ("\n", ""),
        ] {
            let read = first_line(input.as_bytes()).expect("a line");
            assert_eq!(read.expose_secret(), want);
        }
    }
}
