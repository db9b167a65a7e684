//! What holds for every input of this floor's readers, as checks that panic. The fuzzers, the
//! replay of their seeds and the property tests share them.

use serde::de::IgnoredAny;
use serde_json::Value;

use super::reply::{self, Dialect};
use super::split::ArraySplitter;
use super::xmlrpc::{Transcoder, to_json};
use super::{Limits, ReadError};

/// An input for [`xmlrpc_reply`] or [`json_split`]: its first byte is a chunk's length.
type Seed<'a> = &'a [u8];

/// Reading a reply as XML-RPC gives the same whatever the chunks, gives JSON if it gives anything,
/// and takes memory in proportion.
pub fn xmlrpc_reply(seed: Seed<'_>) {
    let Some((chunk, body)) = chunked(seed) else { return };
    let limits = Limits { max_depth: 16, max_bytes: 60_000 };
    let whole = to_json(body, limits);
    assert_eq!(whole, in_chunks(body, chunk, limits), "in chunks of {chunk}");
    if chunk != 1 {
        assert_eq!(whole, in_chunks(body, 1, limits), "byte by byte");
    }
    if let Ok(json) = whole {
        let parsed = serde_json::from_slice::<IgnoredAny>(&json);
        assert!(parsed.is_ok(), "{parsed:?}");
        let envelope = reply::read(Dialect::XmlRpc, &json);
        assert!(
            matches!(envelope, Ok(_) | Err(ReadError::NotAReply(_))),
            "JSON of a known depth is an envelope or is not: {envelope:?}"
        );
    }
}

fn in_chunks(body: &[u8], chunk: usize, limits: Limits) -> Result<Vec<u8>, ReadError> {
    let mut transcoder = Transcoder::new(limits);
    let (mut all, mut out) = (Vec::new(), Vec::new());
    let result = body.chunks(chunk).try_for_each(|bytes| {
        let result = transcoder.push(bytes, &mut out);
        // As a caller does that passes the JSON on.
        all.append(&mut out);
        result
    });
    assert!(all.len() <= 6 * body.len(), "{} of JSON", all.len());
    let allocated = transcoder.allocated();
    assert!(allocated <= 16 * body.len() + 16_384, "{allocated} allocated");
    let finished = transcoder.finish();
    if result.is_err() {
        assert_eq!(finished, result, "an error lasts");
    }
    finished.map(|()| all)
}

/// Splitting a JSON text gives the same whatever the chunks, and nothing is lost or made up.
pub fn json_split(seed: Seed<'_>) {
    let Some((chunk, json)) = chunked(seed) else { return };
    const PATH: &[&str] = &["result", "events"];
    let limits = Limits { max_depth: 16, max_bytes: 60_000 };
    let whole = split(json, json.len().max(1), PATH, limits);
    assert_eq!(whole, split(json, chunk, PATH, limits), "in chunks of {chunk}");
    if chunk != 1 {
        assert_eq!(whole, split(json, 1, PATH, limits), "byte by byte");
    }
    let parsed = serde_json::from_slice::<Value>(json);
    match (parsed, whole) {
        (Ok(parsed), Ok((elements, frame))) => {
            let mut joined: Value = serde_json::from_slice(&frame).expect("the frame is JSON");
            let array = joined.pointer_mut("/result/events");
            // Of two members with one key only the last shows, so a comparison would mislead.
            if occurs_once(json, b"\"result\"") && occurs_once(json, b"\"events\"") {
                if let Some(Value::Array(array)) = array {
                    let parse = |text: &Vec<u8>| serde_json::from_slice(text);
                    *array = elements.iter().map(parse).collect::<Result<_, _>>().expect("JSON");
                }
                assert_eq!(joined, parsed);
            }
        }
        (Ok(parsed), Err(error)) => {
            let limited = matches!(error, ReadError::TooDeep { .. } | ReadError::TooLarge { .. });
            assert!(limited || !(parsed.is_object() || parsed.is_array()), "{error:?}");
        }
        (Err(_), Ok((elements, frame))) => {
            let is_json = |text: &Vec<u8>| serde_json::from_slice::<Value>(text).is_ok();
            // What is broken stays broken: in an element or in the frame.
            assert!(!is_json(&frame) || !elements.iter().all(is_json), "made whole");
        }
        (Err(_), Err(_)) => {}
    }
}

type Parts = (Vec<Vec<u8>>, Vec<u8>);

fn split(
    json: &[u8],
    chunk: usize,
    path: &'static [&'static str],
    limits: Limits,
) -> Result<Parts, ReadError> {
    let mut splitter = ArraySplitter::new(path, limits);
    let mut elements = Vec::new();
    for bytes in json.chunks(chunk) {
        splitter.push(bytes, &mut |element: &[u8]| {
            elements.push(element.to_vec());
            Ok::<_, ReadError>(())
        })?;
    }
    Ok((elements, splitter.finish()?))
}

fn occurs_once(text: &[u8], key: &[u8]) -> bool {
    // A key may hide behind escapes.
    memchr::memmem::find_iter(text, key).count() <= 1 && !text.contains(&b'\\')
}

fn chunked(seed: Seed<'_>) -> Option<(usize, &[u8])> {
    let (chunk, body) = seed.split_first()?;
    Some((usize::from(*chunk).max(1), body))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn replay(target: &str, check: fn(Seed<'_>)) {
        let fixtures = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
            .join("tests/fixtures/wire/corpus");
        let seeds: Vec<_> = std::fs::read_dir(fixtures.join(target)).unwrap().collect();
        assert!(!seeds.is_empty());
        for seed in seeds {
            let path = seed.unwrap().path();
            println!("{}", path.display());
            check(&std::fs::read(path).unwrap());
        }
    }

    #[test]
    fn seeds_of_xmlrpc_reply_hold() {
        replay("xmlrpc_reply", xmlrpc_reply);
    }

    #[test]
    fn seeds_of_json_split_hold() {
        replay("json_split", json_split);
    }
}
