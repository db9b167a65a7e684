//! From JSON to SXP, without recursion.

use serde::de::IgnoredAny;

use super::Sxp;
use crate::error::{BYTE_ORDER_MARK, Limits, ReadError, Seen};
use crate::json::{check_depth, is_space, string_end};
use crate::reply::{self, Dialect, Failure, MAX_DEPTH, Outcome};

/// How many values one reply may hold: some thousands of domains with all their devices. A byte
/// of JSON can make a value, and a value takes 32 in memory.
const MOST_VALUES: usize = 4_000_000;

/// Reads a whole legacy reply. A fault is a failure, and so is xend's answer to a method that it
/// does not know, which is no fault.
pub fn read_reply(json: &[u8], limits: Limits) -> Result<Result<Sxp, Failure>, ReadError> {
    let text = json.strip_prefix(BYTE_ORDER_MARK).unwrap_or(json).trim_ascii_start();
    if text.starts_with(b"{") {
        match reply::read(Dialect::XmlRpc, json) {
            Ok(Outcome::Failure(failure)) => return Ok(Err(failure)),
            Ok(Outcome::Success(result)) => return read(result.get().as_bytes(), limits).map(Ok),
            // A dictionary is a value like any other.
            Err(ReadError::NotAReply(_)) => {}
            Err(error) => return Err(error),
        }
    }
    read(json, limits).map(Ok)
}

/// Reads a value.
pub fn read(json: &[u8], limits: Limits) -> Result<Sxp, ReadError> {
    if json.len() as u64 > limits.max_bytes {
        return Err(ReadError::TooLarge { limit: limits.max_bytes });
    }
    let json = json.strip_prefix(BYTE_ORDER_MARK).unwrap_or(json);
    if json.trim_ascii().is_empty() {
        return Err(ReadError::Empty);
    }
    check_depth(json, limits.max_depth.min(MAX_DEPTH))?;
    // From here on the text is JSON; what stands in its strings is not known yet.
    if let Err(error) = reply::check::<IgnoredAny>(json) {
        return Err(match Seen::of(json) {
            Seen::Html | Seen::Xml => ReadError::NotJson(Seen::of(json)),
            _ => error,
        });
    }
    Reader { json, at: 0, left: MOST_VALUES, open: Vec::new() }.read()
}

enum Open {
    List(Vec<Sxp>),
    Map { members: Vec<(String, Sxp)>, key: Option<String> },
}

struct Reader<'a> {
    json: &'a [u8],
    at: usize,
    left: usize,
    open: Vec<Open>,
}

impl Reader<'_> {
    fn read(mut self) -> Result<Sxp, ReadError> {
        loop {
            let value = match self.step()? {
                Some(value) => value,
                None => continue,
            };
            self.left = self.left.checked_sub(1).ok_or(ReadError::Malformed {
                offset: self.at as u64,
                what: "more values than a reply may hold",
            })?;
            match self.open.last_mut() {
                None => return Ok(value),
                Some(Open::List(items)) => items.push(value),
                Some(Open::Map { members, key }) => match (key.take(), value) {
                    (Some(name), value) => members.push((name, value)),
                    (None, Sxp::Text(name)) => *key = Some(name),
                    (None, _) => return Err(self.broken()),
                },
            }
        }
    }

    /// Reads a token, and gives the value that it is or ends.
    fn step(&mut self) -> Result<Option<Sxp>, ReadError> {
        let Some(byte) = self.json.get(self.at).copied() else { return Err(self.broken()) };
        let start = self.at;
        self.at += 1;
        Ok(match byte {
            b',' | b':' => None,
            byte if is_space(byte) => None,
            b'[' => {
                self.open.push(Open::List(Vec::new()));
                None
            }
            b'{' => {
                self.open.push(Open::Map { members: Vec::new(), key: None });
                None
            }
            b']' | b'}' => Some(match self.open.pop() {
                Some(Open::List(items)) => Sxp::List(items),
                Some(Open::Map { members, .. }) => Sxp::Map(members),
                None => return Err(self.broken()),
            }),
            b'"' => Some(self.string(start)?),
            _ => Some(self.word(start)),
        })
    }

    fn string(&mut self, start: usize) -> Result<Sxp, ReadError> {
        let inside = &self.json[start + 1..];
        let len = string_end(inside, &mut false).ok_or_else(|| self.broken())?;
        self.at = start + 1 + len;
        let plain = &inside[..len - 1];
        if !plain.contains(&b'\\') {
            let text = str::from_utf8(plain).map_err(|_| self.broken())?;
            return Ok(Sxp::Text(text.to_owned()));
        }
        serde_json::from_slice(&self.json[start..self.at]).map(Sxp::Text).map_err(|_| self.broken())
    }

    /// A number, or one of the three words.
    fn word(&mut self, start: usize) -> Sxp {
        let rest = &self.json[start..];
        let is_end = |byte: &u8| matches!(byte, b',' | b':' | b']' | b'}') || is_space(*byte);
        let len = rest.iter().position(is_end).unwrap_or(rest.len());
        self.at = start + len;
        let word = &rest[..len];
        match word {
            b"null" => return Sxp::Nil,
            b"true" => return Sxp::Bool(true),
            b"false" => return Sxp::Bool(false),
            _ => {}
        }
        let word = String::from_utf8_lossy(word);
        if let Ok(int) = word.parse() {
            return Sxp::Int(int);
        }
        match word.parse() {
            // An int too large for 64 bits is kept as it is.
            Ok(float) if word.contains(['.', 'e', 'E']) => Sxp::Double(float),
            _ => Sxp::Text(word.into_owned()),
        }
    }

    fn broken(&self) -> ReadError {
        ReadError::Malformed { offset: self.at as u64, what: "not JSON" }
    }
}
