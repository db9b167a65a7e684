//! Reads ahead over the forms that servers really send: whole tags at a time, compared as words.
//! What it does not know it leaves to the scanner, which reads every form there is; what both know
//! they read alike, and tests compare the two.

use super::grammar::{At, Container, Grammar, Refusal, STRING};
use super::text;

/// Reads as much as it can from the start of a chunk, and says how many bytes that was.
pub(super) fn shortcuts(
    grammar: &mut Grammar,
    chunk: &[u8],
    out: &mut Vec<u8>,
) -> Result<usize, Refusal> {
    let mut rest = chunk;
    loop {
        let before = rest.len();
        match grammar.at {
            At::ValueText => {
                rest = copy_text(rest, out);
                if let Some(behind) = rest.strip_prefix(b"</value>") {
                    rest = behind;
                    out.push(b'"');
                    grammar.at = grammar.after_value();
                }
            }
            At::Name => {
                rest = copy_text(rest, out);
                if let Some(behind) = rest.strip_prefix(b"</name><value>") {
                    rest = behind;
                    out.extend_from_slice(b"\":");
                    grammar.at = At::ValueOpen;
                } else if let Some(behind) = rest.strip_prefix(b"</name>") {
                    rest = behind;
                    out.extend_from_slice(b"\":");
                    grammar.at = At::Named;
                }
            }
            At::Leaf if grammar.leaf == STRING => {
                rest = copy_text(rest, out);
                if let Some(behind) = rest.strip_prefix(b"</string></value>") {
                    rest = behind;
                    out.push(b'"');
                    grammar.at = grammar.after_value();
                }
            }
            At::ValueOpen => rest = value(grammar, rest, out)?,
            At::MemberDone => {
                rest = skip_space(rest);
                if let Some(behind) = rest.strip_prefix(b"</member><member><name>") {
                    rest = behind;
                    out.extend_from_slice(b",\"");
                    grammar.at = At::Name;
                } else if let Some(behind) = rest.strip_prefix(b"</member>") {
                    rest = behind;
                    grammar.at = At::Struct;
                }
            }
            At::Struct | At::StructEmpty => {
                rest = skip_space(rest);
                if let Some(behind) = rest.strip_prefix(b"<member>") {
                    rest = behind;
                    if grammar.at == At::Struct {
                        out.push(b',');
                    }
                    grammar.at = At::Member;
                } else if let Some(behind) = rest.strip_prefix(b"</struct></value>") {
                    rest = behind;
                    grammar.close_container(b'}', out);
                    grammar.at = grammar.after_value();
                }
            }
            At::Member => {
                rest = skip_space(rest);
                if let Some(behind) = rest.strip_prefix(b"<name>") {
                    rest = behind;
                    out.push(b'"');
                    grammar.at = At::Name;
                }
            }
            At::Named => {
                rest = skip_space(rest);
                if let Some(behind) = rest.strip_prefix(b"<value>") {
                    rest = behind;
                    grammar.at = At::ValueOpen;
                }
            }
            At::Data | At::DataEmpty => {
                rest = skip_space(rest);
                if let Some(behind) = rest.strip_prefix(b"<value>") {
                    rest = behind;
                    if grammar.at == At::Data {
                        out.push(b',');
                    }
                    grammar.at = At::ValueOpen;
                } else if let Some(behind) = rest.strip_prefix(b"</data></array></value>") {
                    rest = behind;
                    grammar.close_container(b']', out);
                    grammar.at = grammar.after_value();
                }
            }
            _ => return Ok(chunk.len() - rest.len()),
        }
        if rest.len() == before {
            return Ok(chunk.len() - rest.len());
        }
    }
}

/// Reads what stands behind `<value>`.
#[inline]
fn value<'a>(
    grammar: &mut Grammar,
    rest: &'a [u8],
    out: &mut Vec<u8>,
) -> Result<&'a [u8], Refusal> {
    match rest.first() {
        Some(b'<') => {}
        // White space may not count: the scanner holds it back. A reference is its own too.
        Some(byte) if *byte > b' ' && *byte != b'&' => {
            out.push(b'"');
            grammar.at = At::ValueText;
            return Ok(rest);
        }
        _ => return Ok(rest),
    }
    if let Some(behind) = rest.strip_prefix(b"</value>") {
        out.extend_from_slice(b"\"\"");
        grammar.at = grammar.after_value();
        return Ok(behind);
    }
    if let Some(behind) = rest.strip_prefix(b"<struct>") {
        grammar.open_container(Container::Struct, out)?;
        return Ok(behind);
    }
    if let Some(behind) = rest.strip_prefix(b"<array><data>") {
        grammar.open_container(Container::Array, out)?;
        grammar.at = At::DataEmpty;
        return Ok(behind);
    }
    if let Some(behind) = rest.strip_prefix(b"<string>") {
        out.push(b'"');
        grammar.leaf = STRING;
        grammar.at = At::Leaf;
        return Ok(behind);
    }
    for (form, json) in [
        (&b"<boolean>0</boolean></value>"[..], &b"false"[..]),
        (b"<boolean>1</boolean></value>", b"true"),
    ] {
        if let Some(behind) = rest.strip_prefix(form) {
            out.extend_from_slice(json);
            grammar.at = grammar.after_value();
            return Ok(behind);
        }
    }
    Ok(rest)
}

/// Copies text as far as it is plain, frequent references included.
#[inline]
fn copy_text<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    loop {
        let (plain, behind) = rest.split_at(text::plain(rest));
        out.extend_from_slice(plain);
        rest = behind;
        let Some((len, json)) = text::frequent_reference(rest) else {
            return rest;
        };
        out.extend_from_slice(json);
        rest = &rest[len..];
    }
}

#[inline]
fn skip_space(rest: &[u8]) -> &[u8] {
    match rest.first() {
        Some(b'<') => rest,
        _ => rest.trim_ascii_start(),
    }
}
