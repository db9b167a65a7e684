//! Where to listen, as an operator writes it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

/// What an address looks like.
pub(super) const EXPECTED: &str =
    "an address and a port such as \"127.0.0.1:8080\", \"localhost:8080\" or \":8080\"";

/// `ADDR:PORT`, `NAME:PORT`, or `:PORT` for every address of the machine.
pub fn parse(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').ok_or(format!("this is not {EXPECTED}"))?;
    let port: u16 = match port.bytes().all(|byte| byte.is_ascii_digit()) {
        true => {
            port.parse().map_err(|_| format!("{port:?} is not a port: this is not {EXPECTED}"))?
        }
        false => return Err(format!("{port:?} is not a port: this is not {EXPECTED}")),
    };
    let host = host.trim_end_matches('.');
    if host.is_empty() {
        return Ok(SocketAddr::new(everywhere(), port));
    }
    // Whatever a resolver says of it, or where there is none.
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    }
    let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if !host.bytes().all(name) {
        return Err(format!(
            "{host:?} is neither an IP address nor a name: this is not {EXPECTED}"
        ));
    }
    let found = (host, port).to_socket_addrs();
    let found: Vec<_> = found.map_err(|error| format!("{host}: {error}"))?.collect();
    let best = found.iter().find(|address| address.is_ipv4()).or(found.first());
    best.copied().ok_or(format!("{host} has no address"))
}

/// Every address of the machine: those of IPv6 and IPv4, where it has both.
fn everywhere() -> IpAddr {
    match std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)) {
        Ok(_) => Ipv6Addr::UNSPECIFIED.into(),
        Err(_) => Ipv4Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_names_and_ports_alone_are_taken() {
        let address = |text| parse(text).expect(text);
        assert_eq!(address("192.0.2.1:80").to_string(), "192.0.2.1:80");
        assert_eq!(address("[::1]:8080").to_string(), "[::1]:8080");
        for localhost in ["localhost:8080", "LocalHost:8080", "localhost.:8080"] {
            assert_eq!(address(localhost).to_string(), "127.0.0.1:8080");
        }
        let all = address(":8080");
        assert!(all.ip().is_unspecified() && all.port() == 8080);
        assert_eq!(address(":0").port(), 0);
        for wrong in
            ["", "8080", "localhost", "localhost:", ":", ":70000", ":+80", "a b:80", "::1:80x"]
        {
            let error = parse(wrong).expect_err(wrong);
            assert!(error.contains("localhost:8080"), "{error}");
        }
        assert!(parse("name.invalid:80").expect_err("no such name").starts_with("name.invalid: "));
    }
}
