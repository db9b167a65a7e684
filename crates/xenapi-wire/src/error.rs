//! Why a reply could not be read. No error here holds a byte of the body: a body may hold a
//! password or a session ref, and errors end in logs and in answers.

use std::fmt;

/// How much of a reply is read before it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many arrays and structs may be open at once.
    pub max_depth: usize,
    /// How many bytes a reply may have.
    pub max_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_depth: 64, max_bytes: 64 << 20 }
    }
}

/// Why a reply could not be read. Its text is safe to show to a client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Nothing, or nothing but white space.
    #[error("the reply is empty")]
    Empty,
    /// Something else than XML-RPC.
    #[error("the reply is not XML-RPC but looks like {0}")]
    NotXmlRpc(Seen),
    /// Something else than JSON.
    #[error("the reply is not JSON but looks like {0}")]
    NotJson(Seen),
    /// The right format, but broken.
    #[error("the reply is malformed at byte {offset}: {what}")]
    Malformed {
        /// Where, in bytes from the start of the body.
        offset: u64,
        /// What is wrong, in words of our own.
        what: &'static str,
    },
    /// Arrays and structs in each other beyond the limit.
    #[error("the reply is nested more than {limit} deep")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// More bytes than the limit.
    #[error("the reply is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// The reply ends before its end.
    #[error("the reply is cut off after {offset} bytes")]
    Truncated {
        /// How many bytes came.
        offset: u64,
    },
    /// Well-formed, but not what a Xen-API server answers.
    #[error("the reply is no Xen-API reply: {0}")]
    NotAReply(&'static str),
}

/// What a body looks like that is not what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A web page: a proxy's error, a login form.
    Html,
    /// Some other XML.
    Xml,
    /// JSON where XML-RPC was expected.
    Json,
    /// Some text.
    Text,
    /// Bytes that are no text.
    Binary,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Seen::Html => "HTML",
            Seen::Xml => "other XML",
            Seen::Json => "JSON",
            Seen::Text => "plain text",
            Seen::Binary => "binary data",
        })
    }
}

/// What some put in front of UTF-8.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// How much of a body `Seen::of` looks at.
pub(crate) const HEAD: usize = 512;

impl Seen {
    /// What a body looks like, from its first bytes.
    pub(crate) fn of(body: &[u8]) -> Seen {
        let head = &body[..body.len().min(HEAD)];
        let head = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head).trim_ascii_start();
        match head.first() {
            Some(b'<') => Seen::of_markup(head),
            Some(&first) => match Seen::of_first(first) {
                Seen::Text if head.iter().any(|byte| is_control(*byte)) => Seen::Binary,
                seen => seen,
            },
            None => Seen::Text,
        }
    }

    /// What a body looks like whose first byte, white space aside, is this one and not `<`.
    pub(crate) fn of_first(byte: u8) -> Seen {
        match byte {
            b'{' | b'[' | b'"' => Seen::Json,
            _ if byte >= 0x7f || is_control(byte) => Seen::Binary,
            _ => Seen::Text,
        }
    }

    /// Which markup a text is that starts with `<`. What comes before a page's first element
    /// (a declaration, comments) is passed over.
    fn of_markup(head: &[u8]) -> Seen {
        let mut rest = head;
        while let Some(at) = memchr::memchr(b'<', rest) {
            rest = &rest[at + 1..];
            if rest.starts_with(b"?") {
                continue;
            }
            if let Some(comment) = rest.strip_prefix(b"!--") {
                match memchr::memmem::find(comment, b"-->") {
                    Some(end) => rest = &comment[end..],
                    None => break,
                }
                continue;
            }
            return if is_html_start(rest) { Seen::Html } else { Seen::Xml };
        }
        Seen::Xml
    }
}

fn is_control(byte: u8) -> bool {
    byte < 0x20 && !byte.is_ascii_whitespace()
}

/// Whether what follows a page's first `<` says HTML: the document type or an element's name.
fn is_html_start(after: &[u8]) -> bool {
    const DOCTYPE: &[u8] = b"!doctype";
    if let Some((word, rest)) = after.split_at_checked(DOCTYPE.len())
        && word.eq_ignore_ascii_case(DOCTYPE)
    {
        return is_html_name(first_word(rest.trim_ascii_start()));
    }
    is_html_name(first_word(after))
}

fn first_word(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(text.len());
    &text[..end]
}

/// Whether a document whose first element has this name is a web page. Servers leave `<html>` out
/// of error pages.
pub(crate) fn is_html_name(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 8] = [b"html", b"head", b"body", b"title", b"h1", b"p", b"pre", b"center"];
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_seen_for_what_it_is() {
        for (body, seen) in [
            (&b"<!DOCTYPE HTML PUBLIC \"x\"><p>"[..], Seen::Html),
            (b"\n<html lang='en'>", Seen::Html),
            (b"<!-- a > b --><HTML>", Seen::Html),
            (b"<?xml version='1.0'?><html>", Seen::Html),
            (b"<?xml version='1.0'?><htmlx>", Seen::Xml),
            (b"<methodCall>", Seen::Xml),
            (b"<", Seen::Xml),
            (b"\xEF\xBB\xBF {\"a\":1}", Seen::Json),
            (b"[1]", Seen::Json),
            (b"Bad Gateway", Seen::Text),
            (b"PK\x03\x04", Seen::Binary),
            (b"\x1f\x8b\x08", Seen::Binary),
        ] {
            assert_eq!(Seen::of(body), seen, "{body:?}");
        }
    }
}
