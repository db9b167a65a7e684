//! Backends' addresses, in every spelling that is legal.

use std::net::Ipv6Addr;
use std::path::PathBuf;

/// Where a backend is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP port.
    Tcp {
        /// Whether with TLS.
        tls: bool,
        /// A name in lower case, or an IP address without brackets; an IPv6 address may have a zone
        /// behind a `%`.
        host: String,
        /// The port.
        port: u16,
        /// Which dialect its path stands for.
        path: RpcPath,
    },
}

/// What an address's path says of the dialect that is spoken there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RpcPath {
    /// Nothing.
    Any,
    /// `/jsonrpc`
    JsonRpc,
    /// `/RPC2`
    XmlRpc,
}

/// The longest name DNS has; with it a request's head stays far below XAPI's limit.
const LONGEST_HOST: usize = 253;

const BEGINNING: &str = "an address begins with https://, http:// or unix:/";

impl Address {
    /// Reads one. What is wrong is said without repeating it: it may hold a password.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once(':').ok_or(BEGINNING)?;
        // RFC 3986, section 3.1: the case of a scheme means nothing.
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "unix" | "httpu" => return unix(rest),
            "https" => true,
            "http" => false,
            _ => return Err(BEGINNING),
        };
        let rest = rest.strip_prefix("//").ok_or(BEGINNING)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        if authority.contains('@') {
            return Err("an address carries no user name and no password");
        }
        let (host, port) = host_and_port(authority)?;
        let port = match port {
            // RFC 3986, section 3.2.3: an empty port is the scheme's own.
            None | Some("") if tls => 443,
            None | Some("") => 80,
            Some(port) => number(port).ok_or("the port is not a number from 1 to 65535")?,
        };
        let path = match tail.find(['?', '#']).map_or(tail, |end| &tail[..end]) {
            "" | "/" => RpcPath::Any,
            "/jsonrpc" | "/jsonrpc/" => RpcPath::JsonRpc,
            "/RPC2" | "/RPC2/" => RpcPath::XmlRpc,
            _ => {
                return Err(
                    "the path is none of /, /jsonrpc (JSON-RPC only), /RPC2 (XML-RPC only)",
                );
            }
        };
        if tail.contains('#') || tail.split_once('?').is_some_and(|(_, query)| !query.is_empty()) {
            return Err("an address has no query and no fragment");
        }
        Ok(Self::Tcp { tls, host, port, path })
    }

    /// Whether what is sent there can be read on the way.
    pub fn is_in_the_clear(&self) -> bool {
        let Self::Tcp { tls: false, host, .. } = self else { return false };
        let address = host.parse::<std::net::IpAddr>();
        host != "localhost" && !address.is_ok_and(|address| address.to_canonical().is_loopback())
    }

    /// Whether it is a socket of this machine.
    pub fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }
}

fn unix(rest: &str) -> Result<Address, &'static str> {
    // A Unix socket has no host, so its two slashes mean nothing.
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if !path.starts_with('/') || path.len() < 2 || path.contains('\0') {
        return Err("a Unix socket needs an absolute path: unix:/PATH");
    }
    Ok(Address::Unix(PathBuf::from(path)))
}

fn host_and_port(authority: &str) -> Result<(String, Option<&str>), &'static str> {
    if let Some(inside) = authority.strip_prefix('[') {
        let (inner, after) = inside.split_once(']').ok_or("a bracket is not closed")?;
        let host = ipv6(inner).ok_or("brackets are for IPv6 addresses")?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err("a port is set off by a colon: https://[fd00::1]:443"),
        };
    }
    if ipv6(authority).is_some() {
        return Err("an IPv6 address stands in brackets here: https://[fd00::1]");
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    if host.is_empty() {
        return Err("the address names no host");
    }
    Ok((name(host).ok_or("the host is no name and no IP address")?, port))
}

/// The host that a server names: a name or an IP address, with brackets or without.
pub fn host(text: &str) -> Option<String> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    match inner {
        Some(inner) => ipv6(inner),
        None => ipv6(text).or_else(|| name(text)),
    }
}

/// An IPv6 address as it is always written here, with its zone, which in an address is written
/// `%25eth0` (RFC 6874) and everywhere else `%eth0`.
fn ipv6(text: &str) -> Option<String> {
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone.strip_prefix("25").unwrap_or(zone))),
        None => (text, None),
    };
    let address: Ipv6Addr = address.parse().ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    match zone {
        None => Some(address.to_string()),
        Some(zone) if !zone.is_empty() && zone.len() <= 64 && zone.bytes().all(plain) => {
            Some(format!("{address}%{zone}"))
        }
        Some(_) => None,
    }
}

fn name(text: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let good = !text.is_empty() && text.len() <= LONGEST_HOST && text.bytes().all(plain);
    good.then(|| text.to_ascii_lowercase())
}

fn number(port: &str) -> Option<u16> {
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|port| digits && *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(tls: bool, host: &str, port: u16) -> Result<Address, &'static str> {
        Ok(Address::Tcp { tls, host: host.to_owned(), port, path: RpcPath::Any })
    }

    #[test]
    fn every_legal_spelling_is_read() {
        for (text, want) in [
            ("https://pool.example.com", tcp(true, "pool.example.com", 443)),
            ("HTTPS://Pool.Example.COM/", tcp(true, "pool.example.com", 443)),
            ("Http://10.0.0.1:8880/", tcp(false, "10.0.0.1", 8880)),
            ("https://pool:", tcp(true, "pool", 443)),
            ("https://pool:/", tcp(true, "pool", 443)),
            ("https://pool:0443", tcp(true, "pool", 443)),
            ("https://pool/?", tcp(true, "pool", 443)),
            ("https://pool.example.com.", tcp(true, "pool.example.com.", 443)),
            ("https://[fd00::1]:8443", tcp(true, "fd00::1", 8443)),
            ("https://[FD00:0:0::0001]", tcp(true, "fd00::1", 443)),
            ("https://[::ffff:10.0.0.1]/", tcp(true, "::ffff:10.0.0.1", 443)),
            ("https://[fe80::1%25eth0]", tcp(true, "fe80::1%eth0", 443)),
            ("https://[fe80::1%eth0.100]:8443", tcp(true, "fe80::1%eth0.100", 8443)),
        ] {
            assert_eq!(Address::parse(text), want, "{text}");
        }
        for text in ["unix:/run/xapi", "unix:///run/xapi", "UNIX:/run/xapi", "httpu:///run/xapi"] {
            assert_eq!(Address::parse(text), Ok(Address::Unix("/run/xapi".into())), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_a_word_of_what_would_be() {
        for (text, word) in [
            ("", "begins with"),
            ("pool.example.com", "begins with"),
            ("ftp://pool", "begins with"),
            ("https:pool", "begins with"),
            ("https://", "names no host"),
            ("https://:443", "names no host"),
            ("https://root:pw@pool", "no password"),
            ("https://pool/xapi", "/jsonrpc"),
            ("https://pool?x=1", "no query"),
            ("https://pool/#", "no query"),
            ("https://pool:0", "the port"),
            ("https://pool:99999", "the port"),
            ("https://pool:+1", "the port"),
            ("unix:run/xapi", "absolute path"),
            ("unix://a", "absolute path"),
            ("unix:/", "absolute path"),
            ("http://po ol", "no name"),
            ("https://[pool]", "brackets are for IPv6"),
            ("https://[fd00::1", "not closed"),
            ("https://[fd00::1]443", "colon"),
            ("https://[fe80::1%25]", "brackets are for IPv6"),
            ("https://[fe80::1%25a/b]", "not closed"),
            ("https://fd00::1", "https://[fd00::1]"),
            ("https://::1", "https://[fd00::1]"),
        ] {
            let why = Address::parse(text).expect_err(text);
            assert!(why.contains(word), "{text}: {why}");
        }
    }

    #[test]
    fn hosts_that_servers_name_have_brackets_or_not() {
        assert_eq!(host("[::1]").as_deref(), Some("::1"));
        assert_eq!(host("::1").as_deref(), Some("::1"));
        assert_eq!(host("[FE80::1%eth0]").as_deref(), Some("fe80::1%eth0"));
        assert_eq!(host("10.0.0.1").as_deref(), Some("10.0.0.1"));
        assert_eq!(host("Host.Example.com").as_deref(), Some("host.example.com"));
        for text in
            ["", "[]", "[::1", "::1]", "[10.0.0.1]", "http://evil/", "a b", "10.0.0.1/evil?"]
        {
            assert_eq!(host(text), None, "{text}");
        }
    }

    #[test]
    fn only_plain_http_to_elsewhere_is_in_the_clear() {
        let clear = |text| Address::parse(text).expect(text).is_in_the_clear();
        for text in ["http://pool.example.com", "HTTP://192.0.2.1:8080/", "http://[fe80::1%25eth0]"]
        {
            assert!(clear(text), "{text}");
        }
        for fine in [
            "https://pool.example.com",
            "http://127.0.0.1:80",
            "http://[::1]/",
            "http://LOCALHOST",
            "unix:///var/lib/xcp/xapi",
        ] {
            assert!(!clear(fine), "{fine}");
        }
    }
}
