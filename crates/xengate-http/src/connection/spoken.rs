//! What is spoken to the listener that it does not speak, and what is said to that.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::connection::bad_request::answer;
use crate::problem::{Code, Problem};

/// As much of what a client says as it takes to know what it is.
pub(super) const BEGINNING: usize = 128;

/// How HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A TLS record with a handshake in it, and the two bytes with which SSL 2 begins one.
const HANDSHAKE: u8 = 0x16;
const SSL2: [u8; 2] = [0x80, 0x01];

/// How long a client may take to say what it speaks, and to take what it is told.
const BEGIN_WITHIN: Duration = Duration::from_secs(1);
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// What is read and thrown away of what such a client still sends.
const UNREAD: u64 = 64 << 10;

const TLS_ONLY: &str =
    "this port speaks TLS, and was spoken to without: use https:// instead of http://";
const PLAIN_ONLY: &str =
    "this port speaks HTTP without TLS, and was spoken to in TLS: use http:// instead of https://";

/// What is wrong with a request that begins so and cannot be read, as far as that shows.
pub(super) fn instead_of_http(begins: &[u8]) -> Option<&'static str> {
    match begins {
        [HANDSHAKE, 3, ..] => return Some(PLAIN_ONLY),
        [first, _, third, ..] if [*first, *third] == SSL2 => return Some(PLAIN_ONLY),
        _ => {}
    }
    let starts = |with: &str| begins.starts_with(with.as_bytes());
    if starts("PROXY ") || begins.starts_with(b"\r\n\r\n\0\r\nQUIT\n") {
        return Some(
            "the PROXY protocol is not spoken here: have the proxy send X-Forwarded-For instead, and \
             list it in trusted_proxies",
        );
    }
    if starts("PRI * HTTP/2.0\r\n") {
        return Some("this begins as HTTP/2 does and goes on as something else");
    }
    if starts("SSH-") {
        return Some("this is an HTTP server; SSH is not spoken here");
    }
    let end = begins.iter().position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(&begins[..end]).ok()?.trim_end_matches('\r');
    let mut words = line.split(' ');
    let (method, target) = (words.next()?, words.next());
    let method_is_one = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    match (target, words.next_back()) {
        (Some(target), None) if method_is_one && target.starts_with('/') => Some(
            "HTTP/0.9 is not spoken here: a request line ends with its version, as in \
             \"GET /vms HTTP/1.1\", and headers follow",
        ),
        (Some(_), Some("HTTP/1.0" | "HTTP/1.1")) => None,
        (Some(_), Some(version)) if version.starts_with("HTTP/") => Some(
            "this version of HTTP is not spoken here: HTTP/1.1 and HTTP/1.0 are, and HTTP/2 where it \
             begins with its own preface",
        ),
        (Some(_), Some(other)) if method_is_one && other.contains('/') => {
            Some("this is an HTTP server, and the request line names another protocol")
        }
        _ => None,
    }
}

/// Whether the client begins TLS, or what else it is to be told.
pub(super) async fn to_tls(stream: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let mut first = [0];
    // Nothing is taken out: it is for TLS to read.
    if stream.peek(&mut first).await? == 0 || !is_text(first[0]) {
        return Ok(None);
    }
    let mut begins = Vec::with_capacity(BEGINNING);
    let enough = |begins: &[u8]| {
        begins.contains(&b'\n') || begins.len() >= PREFACE.len() || !PREFACE.starts_with(begins)
    };
    let reading = async {
        while !enough(&begins) && stream.read_buf(&mut begins).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    // Who stops in the middle of a word is told as well.
    if let Ok(read) = tokio::time::timeout(BEGIN_WITHIN, reading).await {
        read?;
    }
    Ok(Some(match begins.starts_with(b"PRI * HTTP/2") {
        true => go_away(TLS_ONLY),
        false => answer(&Problem::new(Code::BadRequest, TLS_ONLY)),
    }))
}

/// Whether plain text begins so; TLS of no version does.
fn is_text(byte: u8) -> bool {
    byte.is_ascii_graphic() || byte.is_ascii_whitespace()
}

/// The last words to a client of HTTP/2: its settings, as it expects them, and GOAWAY.
fn go_away(text: &str) -> Vec<u8> {
    const SETTINGS: u8 = 4;
    const GOAWAY: u8 = 7;
    const INADEQUATE_SECURITY: u32 = 0xc;
    let frame = |kind: u8, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
        [&length[1..], &[kind, 0, 0, 0, 0, 0], payload].concat()
    };
    let reason =
        [&0_u32.to_be_bytes(), &INADEQUATE_SECURITY.to_be_bytes(), text.as_bytes()].concat();
    [frame(SETTINGS, &[]), frame(GOAWAY, &reason)].concat()
}

/// Says so, and waits a little until the client has taken it.
pub(super) async fn tell(mut stream: TcpStream, words: &[u8]) {
    let told = async {
        stream.write_all(words).await?;
        stream.shutdown().await?;
        // A connection that is closed with something unread in it takes what was said along.
        tokio::io::copy(&mut stream.take(UNREAD), &mut tokio::io::sink()).await
    };
    let _ = tokio::time::timeout(TOLD_WITHIN, told).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_http_is_known_by_how_it_begins() {
        let told = |begins: &[u8]| instead_of_http(begins).unwrap_or_default();
        assert!(told(b"\x16\x03\x01\x02\x00\x01\x00\x01").contains("http://"));
        assert!(told(b"\x80\x2e\x01\x03\x01").contains("TLS"));
        assert!(told(b"GET /vms\r\n").contains("HTTP/0.9"));
        assert!(told(b"GET /\n").contains("HTTP/0.9"));
        assert!(told(b"GET / HTTP/2.0\r\nHost: x\r\n").contains("this version of HTTP"));
        assert!(told(b"GET / HTTP/1.7\r\n").contains("this version of HTTP"));
        assert!(told(b"OPTIONS rtsp://x/ RTSP/1.0\r\n").contains("another protocol"));
        assert!(told(b"SSH-2.0-OpenSSH_9.6\r\n").contains("SSH"));
        assert!(told(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n").contains("X-Forwarded-For"));
        assert!(told(b"\r\n\r\n\0\r\nQUIT\n!\x11").contains("X-Forwarded-For"));
        assert!(told(b"PRI * HTTP/2.0\r\n\r\nGET").contains("HTTP/2"));
        for other in [
            &b"GET /a b HTTP/1.1\r\n"[..],
            b"GET / HTTP/1.1\r\nBad Header: x\r\n",
            b"",
            b"HELO example.com\r\n",
            b"GET /no/end",
            b"\xff\xfe\n",
        ] {
            assert_eq!(instead_of_http(other), None, "{}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn the_last_words_are_frames() {
        let frames = go_away("no");
        assert_eq!(frames[..9], [0, 0, 0, 4, 0, 0, 0, 0, 0]);
        assert_eq!(frames[9..18], [0, 0, 10, 7, 0, 0, 0, 0, 0]);
        assert_eq!(frames[18..], [0, 0, 0, 0, 0, 0, 0, 0xc, b'n', b'o']);
    }
}
