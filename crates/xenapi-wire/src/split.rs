//! Takes one array out of a JSON text while it streams: the events of a reply that is never in
//! memory as a whole.

use std::fmt;

use super::error::{HEAD, Limits, ReadError, Seen};
use super::json::{Escaped, is_space, string_end};

/// Hands out the elements of one array of a JSON object one by one, and keeps the rest: the frame,
/// with that array empty. Takes time linear in its input whatever the chunks.
///
/// It reads only what it needs for that (strings, brackets, the array's commas). Whether an
/// element or the frame is JSON in all else shows when they are parsed.
///
/// `max_bytes` holds for each element and for the frame, not for the whole: an array may be as
/// long as it likes, since nothing of it stays here.
pub struct ArraySplitter {
    path: &'static [&'static str],
    limits: Limits,
    region: Region,
    /// In a string, and there behind a backslash.
    string: Option<Escaped>,
    /// The closing bracket of each open one.
    open: Vec<u8>,
    /// How many of them, from the first, are the objects that the path leads through.
    on_path: usize,
    key: Key,
    frame: Vec<u8>,
    /// The part of an element that came with earlier chunks.
    element: Vec<u8>,
    /// How many bytes came before the current chunk.
    before: u64,
    failed: Option<ReadError>,
}

#[derive(Clone, Copy, Debug)]
enum Region {
    /// Before the first byte that counts.
    Start,
    /// In something that is no JSON; the frame collects its first bytes.
    Foreign,
    Frame,
    /// In the array, between elements.
    Gap(Gap),
    Element,
    /// Behind the document.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    Opened,
    BehindElement,
    BehindComma,
}

/// What is known of the member being read, in an object on the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    /// The next string is a key.
    Expected,
    /// In a key that starts here in the frame.
    Open(usize),
    /// Behind a key: does the path go on in its value?
    Read { on_path: bool },
}

impl fmt::Debug for ArraySplitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The rest holds bytes of the text.
        f.debug_struct("ArraySplitter").field("path", &self.path).finish_non_exhaustive()
    }
}

impl ArraySplitter {
    /// A splitter for the array under these keys. A key written with escapes is not recognised.
    pub fn new(path: &'static [&'static str], limits: Limits) -> Self {
        ArraySplitter {
            path,
            limits,
            region: Region::Start,
            string: None,
            open: Vec::new(),
            on_path: 0,
            key: Key::Expected,
            frame: Vec::new(),
            element: Vec::new(),
            before: 0,
            failed: None,
        }
    }

    /// Takes the next chunk and hands each element that it completes to `each`. After an error,
    /// its own or the callback's, nothing more can be read.
    pub fn push<E: From<ReadError>>(
        &mut self,
        json: &[u8],
        each: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Some(error) = &self.failed {
            return Err(error.clone().into());
        }
        let result = self.read(json, each).map_err(|stop| match stop {
            Stop::Broken(error) => {
                self.failed = Some(error.clone());
                error.into()
            }
            Stop::Refused(error) => {
                self.failed = Some(ReadError::NotAReply("an element was refused"));
                error
            }
        });
        self.before += json.len() as u64;
        result
    }

    /// Ends the document and gives back the frame.
    pub fn finish(self) -> Result<Vec<u8>, ReadError> {
        match (self.failed, self.region) {
            (Some(error), _) => Err(error),
            (None, Region::End) => Ok(self.frame),
            (None, Region::Start) => Err(ReadError::Empty),
            (None, Region::Foreign) => Err(ReadError::NotJson(Seen::of(&self.frame))),
            (None, _) => Err(ReadError::Truncated { offset: self.before }),
        }
    }

    fn read<E>(
        &mut self,
        json: &[u8],
        each: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), Stop<E>> {
        let mut at = 0;
        while at < json.len() {
            match self.region {
                Region::Start => self.start(json, &mut at),
                Region::Foreign => self.foreign(json, &mut at)?,
                Region::Frame => self.frame(json, &mut at)?,
                Region::Gap(gap) => self.gap(gap, json, &mut at)?,
                Region::Element => self.element(json, &mut at, each)?,
                Region::End if is_space(json[at]) => at += 1,
                Region::End => return Err(self.malformed(at, "something behind its end").into()),
            }
        }
        Ok(())
    }

    fn start(&mut self, json: &[u8], at: &mut usize) {
        match json[*at] {
            b'{' | b'[' => self.region = Region::Frame,
            byte if is_space(byte) => *at += 1,
            _ => self.region = Region::Foreign,
        }
    }

    fn foreign(&mut self, json: &[u8], at: &mut usize) -> Result<(), ReadError> {
        let rest = &json[*at..];
        let rest = &rest[..rest.len().min(HEAD - self.frame.len())];
        self.frame.extend_from_slice(rest);
        *at += rest.len();
        if self.frame.len() == HEAD {
            return Err(ReadError::NotJson(Seen::of(&self.frame)));
        }
        Ok(())
    }

    /// Reads a string, or one byte that is not in one, of what is around the array.
    fn frame(&mut self, json: &[u8], at: &mut usize) -> Result<(), ReadError> {
        if let Some(escaped) = &mut self.string {
            let rest = &json[*at..];
            let end = string_end(rest, escaped);
            self.keep(&rest[..end.unwrap_or(rest.len())])?;
            *at += end.unwrap_or(rest.len());
            if end.is_some() {
                self.string = None;
                if let Key::Open(start) = self.key {
                    let key = &self.frame[start..self.frame.len() - 1];
                    let on_path = self.path.get(self.on_path - 1);
                    let on_path = on_path.is_some_and(|step| step.as_bytes() == key);
                    self.key = Key::Read { on_path };
                }
            }
            return Ok(());
        }
        let byte = json[*at];
        // Keys matter only directly in the object where the path has got to.
        let here = self.open.len() == self.on_path;
        let leads_on = here && (self.open.is_empty() || self.key == Key::Read { on_path: true });
        self.keep(&[byte])?;
        match byte {
            b'"' => {
                self.string = Some(false);
                if here && self.key == Key::Expected {
                    self.key = Key::Open(self.frame.len());
                }
            }
            b',' if here => self.key = Key::Expected,
            b'{' => {
                self.open(b'}')?;
                if leads_on && self.on_path <= self.path.len() {
                    self.on_path += 1;
                    self.key = Key::Expected;
                }
            }
            b'[' => {
                self.open(b']')?;
                if leads_on && self.on_path == self.path.len() {
                    self.region = Region::Gap(Gap::Opened);
                }
            }
            b'}' | b']' => {
                self.close(byte, *at)?;
                if self.open.len() < self.on_path {
                    self.on_path = self.open.len();
                    self.key = Key::Read { on_path: false };
                }
                if self.open.is_empty() {
                    self.region = Region::End;
                }
            }
            _ => {}
        }
        *at += 1;
        Ok(())
    }

    fn gap(&mut self, gap: Gap, json: &[u8], at: &mut usize) -> Result<(), ReadError> {
        let byte = json[*at];
        match (byte, gap) {
            (byte, _) if is_space(byte) => *at += 1,
            (b']', Gap::Opened | Gap::BehindElement) => self.region = Region::Frame,
            (b',', Gap::BehindElement) => {
                self.region = Region::Gap(Gap::BehindComma);
                *at += 1;
            }
            (_, Gap::BehindElement) => {
                return Err(self.malformed(*at, "no comma between two elements"));
            }
            (b',' | b']' | b'}' | b':', _) => {
                return Err(self.malformed(*at, "an element is missing"));
            }
            _ => self.region = Region::Element,
        }
        Ok(())
    }

    /// Reads one element, or as much of it as there is.
    fn element<E>(
        &mut self,
        json: &[u8],
        at: &mut usize,
        each: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), Stop<E>> {
        let rest = &json[*at..];
        let outside = self.on_path + 1;
        let mut len = 0;
        let ended = loop {
            if let Some(escaped) = &mut self.string {
                let end = string_end(&rest[len..], escaped);
                len += end.unwrap_or(rest.len() - len);
                self.check_element(len)?;
                if end.is_none() {
                    break false;
                }
                self.string = None;
                if self.open.len() == outside {
                    break true;
                }
            }
            let Some(byte) = rest.get(len) else {
                break false;
            };
            let bare = self.open.len() == outside;
            match byte {
                b'"' => self.string = Some(false),
                b'{' => self.open(b'}')?,
                b'[' => self.open(b']')?,
                // A number or a word ends where the gap begins.
                b',' | b']' if bare => break true,
                byte if bare && is_space(*byte) => break true,
                b'}' | b']' => {
                    self.close(*byte, *at + len)?;
                    if self.open.len() == outside {
                        len += 1;
                        self.check_element(len)?;
                        break true;
                    }
                }
                _ => {}
            }
            len += 1;
            self.check_element(len)?;
        };
        *at += len;
        if !ended {
            self.element.extend_from_slice(&rest[..len]);
            return Ok(());
        }
        self.region = Region::Gap(Gap::BehindElement);
        if self.element.is_empty() {
            return each(&rest[..len]).map_err(Stop::Refused);
        }
        self.element.extend_from_slice(&rest[..len]);
        let result = each(&self.element);
        self.element.clear();
        result.map_err(Stop::Refused)
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), ReadError> {
        self.frame.extend_from_slice(bytes);
        self.check_size(self.frame.len())
    }

    fn check_element(&self, len: usize) -> Result<(), ReadError> {
        self.check_size(self.element.len() + len)
    }

    fn check_size(&self, bytes: usize) -> Result<(), ReadError> {
        match bytes as u64 > self.limits.max_bytes {
            true => Err(ReadError::TooLarge { limit: self.limits.max_bytes }),
            false => Ok(()),
        }
    }

    fn open(&mut self, closing: u8) -> Result<(), ReadError> {
        if self.open.len() >= self.limits.max_depth {
            return Err(ReadError::TooDeep { limit: self.limits.max_depth });
        }
        self.open.push(closing);
        Ok(())
    }

    fn close(&mut self, closing: u8, at: usize) -> Result<(), ReadError> {
        match self.open.pop() == Some(closing) {
            true => Ok(()),
            false => Err(self.malformed(at, "a bracket that closes another kind")),
        }
    }

    fn malformed(&self, at: usize, what: &'static str) -> ReadError {
        ReadError::Malformed { offset: self.before + at as u64, what }
    }
}

/// Why reading stopped: the text is broken, or the callback refused an element.
enum Stop<E> {
    Broken(ReadError),
    Refused(E),
}

impl<E> From<ReadError> for Stop<E> {
    fn from(error: ReadError) -> Self {
        Stop::Broken(error)
    }
}

#[cfg(test)]
mod tests;
