//! XML-RPC: writes calls, and turns replies into the JSON that JSON-RPC would have given.
//!
//! The reader is lenient where real servers are sloppy, and strict about size, depth and nesting.
//! It holds no tree: what it reads it writes, so a reply costs the memory of its JSON.
//!
//! - `scan` finds where a tag ends and what it says.
//! - `text` decodes characters and writes them as JSON strings; `scalar` does ints and floats.
//! - `grammar` knows which element may stand where, and what each writes; `content` the same of
//!   the text between the tags.
//! - `transcode` drives them over chunks, any chunks.
//! - `shortcut` reads the forms that servers really send, many tags at a time.

mod call;
mod content;
mod grammar;
mod scalar;
mod scan;
mod shortcut;
#[cfg(test)]
mod tests;
mod text;
mod transcode;

pub use call::{WriteError, call};
pub use transcode::Transcoder;

use super::{Limits, ReadError};

/// Turns a whole reply into JSON. See [`Transcoder`] for one that arrives in chunks.
pub fn to_json(body: &[u8], limits: Limits) -> Result<Vec<u8>, ReadError> {
    // XAPI's JSON has about a third of the bytes of its XML, xend's less.
    let expected = body.len().min(usize::try_from(limits.max_bytes).unwrap_or(usize::MAX)) / 2;
    let mut json = Vec::with_capacity(expected);
    let mut transcoder = Transcoder::new(limits);
    transcoder.push(body, &mut json)?;
    transcoder.finish()?;
    Ok(json)
}
