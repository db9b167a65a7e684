//! The heads and the HTML pages of XAPI's own HTTP server, byte for byte.

use std::fmt::Write as _;

use super::head::Head;

/// A whole reply that is not a call's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page(String);

impl Page {
    /// Its bytes, which are all text.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    pub(super) fn request_timeout() -> Self {
        let body = "<html><body><h1>HTTP 408 request timeout</h1>Timed out waiting for the \
                    request.</body></html>";
        Self::html("1.1", "408 Request Timeout", body)
    }

    pub(super) fn headers_too_large() -> Self {
        let body = "<html><body><h1>HTTP 431 request header fields too large</h1>Exceeded the \
                    maximum header size.</body></html>";
        Self::html("1.1", "431 Request Header Fields Too Large", body)
    }

    pub(super) fn bad_headers() -> Self {
        Self::internal_error("1.1", "The HTTP headers could not be parsed.")
    }

    /// Nobody is logged in who may see what is here.
    pub(super) fn unauthorised(head: &Head, realm: &str) -> Self {
        let body = "<html><body><h1>HTTP 401 unauthorised</h1>Please check your credentials and \
                    retry.</body></html>";
        let Self(page) = Self::html(version(head), "401 Unauthorised", body);
        let challenge = format!("\r\nWWW-Authenticate: Basic realm=\"{realm}\"\r\n\r\n");
        Self(page.replacen("\r\n\r\n", &challenge, 1))
    }

    /// What is measured is kept at another address.
    pub(super) fn found_at(url: &str) -> Self {
        Self(format!(
            "HTTP/1.1 302 Found\r\nConnection: close\r\nCache-Control: no-cache, \
             no-store\r\nLocation: {url}\r\n\r\n"
        ))
    }

    /// Nothing is measured here.
    pub(super) fn missing() -> Self {
        Self::bare("404 Not Found")
    }

    /// The query does not say what is wanted.
    pub(super) fn bad_request() -> Self {
        Self::bare("400 Bad Request")
    }

    fn bare(status: &str) -> Self {
        Self(format!(
            "HTTP/1.0 {status}\r\nConnection: close\r\nCache-Control: no-cache, no-store\r\n\r\n"
        ))
    }

    pub(super) fn forbidden() -> Self {
        let body = "<html><body><h1>HTTP 403 forbidden</h1>Access to the requested resource is \
                    forbidden.</body></html>";
        Self::html("1.1", "403 Forbidden", body)
    }

    pub(super) fn not_implemented(head: &Head) -> Self {
        let method = match head.method.as_str() {
            known @ ("GET" | "POST" | "PUT" | "CONNECT" | "OPTIONS") => known.to_owned(),
            unknown => format!("Unknown {unknown}"),
        };
        let body = format!(
            "<html><body><h1>HTTP 501 Method Not Implemented</h1><p>{method} not supported.<br \
             /></p></body></html>"
        );
        Self::html(version(head), "501 Method not implemented", &body)
    }

    /// What becomes of an exception.
    pub(super) fn internal(head: &Head, exception: &str) -> Self {
        Self::internal_error(version(head), &escape_html(exception))
    }

    pub(super) fn options(head: &Head) -> Self {
        let allowed = match &head.requested_headers {
            Some(requested) => format!("{requested}, X-Requested-With"),
            None => "X-Requested-With".to_owned(),
        };
        Self(format!(
            "HTTP/{} 200 OK\r\ncontent-length: 0\r\nconnection: {}\r\ncache-control: no-cache, \
             no-store\r\nAccess-Control-Allow-Origin: *\r\nAccess-Control-Allow-Headers: \
             {allowed}\r\nAccess-Control-Allow-Methods: PUT\r\n\r\n",
            version(head),
            connection(head),
        ))
    }

    fn internal_error(version: &str, extra: &str) -> Self {
        let body = format!(
            "<html><body><h1>HTTP 500 internal server error</h1>An unexpected error occurred; \
             please wait a while and try again. If the problem persists, please contact your \
             support representative.<h1> Additional information </h1>{extra}</body></html>"
        );
        Self::html(version, "500 Internal Error", &body)
    }

    fn html(version: &str, status: &str, body: &str) -> Self {
        Self(format!(
            "HTTP/{version} {status}\r\ncontent-length: {}\r\ncontent-type: \
             text/html\r\nconnection: close\r\ncache-control: no-cache, no-store\r\n\r\n{body}",
            body.len(),
        ))
    }
}

/// The head of a call's reply.
pub(super) fn call_head(head: &Head, json: bool, length: usize) -> String {
    format!(
        "HTTP/{} 200 OK\r\ncontent-length: {length}\r\nconnection: {}\r\ncache-control: no-cache, \
         no-store\r\ncontent-type: {}\r\nAccess-Control-Allow-Origin: \
         *\r\nAccess-Control-Allow-Headers: X-Requested-With\r\n\r\n",
        version(head),
        connection(head),
        if json { "application/json" } else { "text/xml" },
    )
}

/// The head of a document whose length is known.
pub(super) fn document_head(length: usize, xml: bool) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: {length}\r\nCache-Control: \
         no-cache, no-store\r\n{}Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Headers: \
         X-Requested-With\r\n\r\n",
        if xml { "Content-Type: text/xml\r\n" } else { "" },
    )
}

/// The head of a document that ends with the connection.
pub(super) const STREAM_HEAD: &str =
    "HTTP/1.0 200 OK\r\nConnection: close\r\nCache-Control: no-cache, no-store\r\n\r\n";

fn version(head: &Head) -> &'static str {
    if head.http_1_0 { "1.0" } else { "1.1" }
}

fn connection(head: &Head) -> &'static str {
    if head.close { "close" } else { "keep-alive" }
}

fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        // Writing to a string cannot fail.
        _ = match character {
            '<' => escaped.write_str("&lt;"),
            '>' => escaped.write_str("&gt;"),
            '\'' => escaped.write_str("&apos;"),
            '"' => escaped.write_str("&quot;"),
            '&' => escaped.write_str("&amp;"),
            other => escaped.write_char(other),
        };
    }
    escaped
}
