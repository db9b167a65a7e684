//! Drives scanner and grammar over the chunks of a reply.

use std::fmt;

use super::grammar::{At, Grammar, Refusal};
use super::scan::{self, Form, LONGEST_TAG, Markup, Stop, TagEnd, Terminator};
use super::shortcut::shortcuts;
use super::text;
use crate::error::{Limits, ReadError, Seen};

/// Turns an XML-RPC reply into JSON while it streams in. Takes time linear in its input whatever
/// the chunks, writes at most six bytes for each it reads (`\u0001` for a control character), and
/// keeps between chunks at most what it has not been able to write yet.
pub struct Transcoder {
    grammar: Grammar,
    mode: Mode,
    /// Markup or a reference whose end has not come yet.
    carry: Vec<u8>,
    /// Where that starts.
    token: u64,
    /// How many bytes came before the current chunk.
    before: u64,
    /// JSON that waits for the name of a member whose value came first.
    held: Vec<u8>,
    limits: Limits,
    failed: Option<ReadError>,
}

#[derive(Clone, Copy, Debug)]
enum Mode {
    Content,
    Reference,
    /// Behind `<`, before it is clear what it starts.
    Markup,
    Tag(TagEnd),
    Doctype(TagEnd),
    /// In a comment or an instruction.
    Skip(Terminator),
    /// In character data, behind so many brackets that may belong to its end.
    Cdata(usize),
}

impl fmt::Debug for Transcoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The rest holds bytes of the body.
        f.debug_struct("Transcoder").field("before", &self.before).finish_non_exhaustive()
    }
}

impl Transcoder {
    /// A transcoder that has read nothing.
    pub fn new(limits: Limits) -> Self {
        Transcoder {
            grammar: Grammar::new(limits.max_depth),
            mode: Mode::Content,
            carry: Vec::new(),
            token: 0,
            before: 0,
            held: Vec::new(),
            limits,
            failed: None,
        }
    }

    /// Takes the next chunk and appends to `out` the JSON it gives. `out` may be emptied between
    /// chunks. After an error nothing more can be read.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), ReadError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let room = self.limits.max_bytes - self.before;
        let allowed = usize::try_from(room).map_or(chunk.len(), |room| room.min(chunk.len()));
        let mut result = self.push_allowed(&chunk[..allowed], out);
        if result.is_ok() && allowed < chunk.len() {
            result = Err(ReadError::TooLarge { limit: self.limits.max_bytes });
        }
        self.failed = result.clone().err();
        self.before += allowed as u64;
        result
    }

    /// Says that the reply has ended; an error if it should not have.
    pub fn finish(&mut self) -> Result<(), ReadError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        match (self.grammar.at, self.mode) {
            (At::Epilog, Mode::Content) => Ok(()),
            // The first markup leaves its bytes in `carry`.
            (At::Prolog, Mode::Content) if self.carry.is_empty() => Err(ReadError::Empty),
            _ => Err(ReadError::Truncated { offset: self.before }),
        }
    }

    /// How many bytes this holds on the heap.
    #[doc(hidden)]
    pub fn allocated(&self) -> usize {
        self.grammar.allocated() + self.carry.capacity() + self.held.capacity()
    }

    fn push_allowed(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), ReadError> {
        let mut at = 0;
        while at < chunk.len() {
            if !self.grammar.is_holding() {
                self.run(chunk, &mut at, out)?;
                continue;
            }
            let mut held = std::mem::take(&mut self.held);
            let result = self.run(chunk, &mut at, &mut held);
            if !self.grammar.is_holding() {
                out.extend_from_slice(&held);
                held.clear();
            }
            self.held = held;
            result?;
        }
        Ok(())
    }

    /// Reads until the chunk ends or the JSON has to go elsewhere.
    fn run(&mut self, chunk: &[u8], at: &mut usize, out: &mut Vec<u8>) -> Result<(), ReadError> {
        let holding = self.grammar.is_holding();
        while *at < chunk.len() && self.grammar.is_holding() == holding {
            match self.mode {
                Mode::Content => {
                    if !self.grammar.is_cut() {
                        *at += shortcuts(&mut self.grammar, &chunk[*at..], out)
                            .map_err(|refusal| self.refused(0, refusal))?;
                    }
                    if *at < chunk.len() {
                        self.content(chunk, at, out)?;
                    }
                }
                Mode::Reference => self.reference(chunk, at, out)?,
                Mode::Markup => self.markup(chunk, at, out)?,
                Mode::Tag(end) => self.tag(end, chunk, at, out)?,
                Mode::Doctype(end) => self.doctype(end, chunk, at)?,
                Mode::Skip(mut terminator) => match terminator.find(&chunk[*at..]) {
                    Some(len) => {
                        *at += len;
                        self.mode = Mode::Content;
                    }
                    None => {
                        *at = chunk.len();
                        self.mode = Mode::Skip(terminator);
                    }
                },
                Mode::Cdata(brackets) => self.cdata(brackets, chunk, at, out)?,
            }
        }
        Ok(())
    }

    /// Reads one run of text, or the start of something else.
    fn content(
        &mut self,
        chunk: &[u8],
        at: &mut usize,
        out: &mut Vec<u8>,
    ) -> Result<(), ReadError> {
        let start = *at;
        self.mode = match chunk[start] {
            b'<' => Mode::Markup,
            b'&' => Mode::Reference,
            _ => {
                let rest = &chunk[start..];
                let len = memchr::memchr2(b'<', b'&', rest).unwrap_or(rest.len());
                *at += len;
                let more = *at == chunk.len();
                return self
                    .grammar
                    .text(&rest[..len], more, out)
                    .map_err(|(place, refusal)| self.refused(start + place, refusal));
            }
        };
        self.grammar.end_run(out);
        self.token = self.before + start as u64;
        self.carry.clear();
        self.carry.push(chunk[start]);
        *at += 1;
        Ok(())
    }

    fn reference(
        &mut self,
        chunk: &[u8],
        at: &mut usize,
        out: &mut Vec<u8>,
    ) -> Result<(), ReadError> {
        while let Some(byte) = chunk.get(*at) {
            let may_go_on = byte.is_ascii_alphanumeric() || *byte == b'#';
            if *byte == b';' {
                *at += 1;
                self.mode = Mode::Content;
                let mut buffer = [0; 4];
                return match text::reference(&self.carry[1..]) {
                    Some(character) => {
                        let text = character.encode_utf8(&mut buffer).as_bytes();
                        self.grammar.literal(text, out)
                    }
                    None => {
                        self.carry.push(b';');
                        self.grammar.literal(&self.carry, out)
                    }
                }
                .map_err(|(_, refusal)| self.refused_at(self.token, refusal));
            }
            if !may_go_on || self.carry.len() >= text::LONGEST_REFERENCE {
                // A lone `&`: text like any other.
                self.mode = Mode::Content;
                return self
                    .grammar
                    .literal(&self.carry, out)
                    .map_err(|(_, refusal)| self.refused_at(self.token, refusal));
            }
            self.carry.push(*byte);
            *at += 1;
        }
        Ok(())
    }

    fn markup(&mut self, chunk: &[u8], at: &mut usize, out: &mut Vec<u8>) -> Result<(), ReadError> {
        while let Some(byte) = chunk.get(*at) {
            self.carry.push(*byte);
            self.mode = match scan::markup(&self.carry) {
                Markup::Undecided => {
                    *at += 1;
                    continue;
                }
                Markup::Tag => {
                    // The tag's own scanner takes this byte, which may be its end.
                    self.carry.pop();
                    self.mode = Mode::Tag(TagEnd::default());
                    return Ok(());
                }
                Markup::Instruction => Mode::Skip(Terminator::INSTRUCTION),
                Markup::Comment => Mode::Skip(Terminator::COMMENT),
                Markup::Doctype => Mode::Doctype(TagEnd::default()),
                Markup::Cdata => {
                    self.grammar
                        .literal(b"", out)
                        .map_err(|(_, refusal)| self.refused_at(self.token, refusal))?;
                    Mode::Cdata(0)
                }
                Markup::Unknown => return Err(self.malformed("markup that XML does not have")),
            };
            *at += 1;
            return Ok(());
        }
        Ok(())
    }

    fn tag(
        &mut self,
        mut end: TagEnd,
        chunk: &[u8],
        at: &mut usize,
        out: &mut Vec<u8>,
    ) -> Result<(), ReadError> {
        if !self.carry_to_end(&mut end, chunk, at)? {
            self.mode = Mode::Tag(end);
            return Ok(());
        }
        self.mode = Mode::Content;
        let Some((form, name)) = scan::tag(&self.carry) else {
            return Err(self.malformed("a tag without a proper name"));
        };
        let grammar = &mut self.grammar;
        let holding = grammar.is_holding();
        let result = match form {
            Form::Open => grammar.open(name, out),
            Form::Close => grammar.close(name, out),
            Form::Empty => grammar.open(name, out).and_then(|()| {
                let begins_to_hold = grammar.is_holding() && !holding;
                grammar.close(name, if begins_to_hold { &mut self.held } else { out })
            }),
        };
        result.map_err(|refusal| self.refused_at(self.token, refusal))
    }

    fn doctype(&mut self, mut end: TagEnd, chunk: &[u8], at: &mut usize) -> Result<(), ReadError> {
        if !self.carry_to_end(&mut end, chunk, at)? {
            self.mode = Mode::Doctype(end);
            return Ok(());
        }
        self.mode = Mode::Content;
        if self.grammar.at != At::Prolog {
            return Err(self.malformed("a document type inside the document"));
        }
        if Seen::of(&self.carry) == Seen::Html {
            return Err(ReadError::NotXmlRpc(Seen::Html));
        }
        // Nothing a document type declares is of use, least of all an entity.
        if self.carry.contains(&b'[') {
            return Err(self.malformed("a document type with declarations"));
        }
        Ok(())
    }

    /// Adds what the chunk has of a tag to `carry`; false if its end has not come yet.
    fn carry_to_end(
        &mut self,
        end: &mut TagEnd,
        chunk: &[u8],
        at: &mut usize,
    ) -> Result<bool, ReadError> {
        let rest = &chunk[*at..];
        let rest = &rest[..rest.len().min(LONGEST_TAG - self.carry.len())];
        let (len, ended) = match end.find(rest) {
            Stop::End(last) => (last + 1, true),
            Stop::Bad(_) => return Err(self.malformed("a tag inside a tag")),
            Stop::Chunk => (rest.len(), false),
        };
        self.carry.extend_from_slice(&rest[..len]);
        *at += len;
        if !ended && self.carry.len() >= LONGEST_TAG {
            return Err(self.malformed("a tag that does not end"));
        }
        Ok(ended)
    }

    fn cdata(
        &mut self,
        mut brackets: usize,
        chunk: &[u8],
        at: &mut usize,
        out: &mut Vec<u8>,
    ) -> Result<(), ReadError> {
        while let Some(byte) = chunk.get(*at) {
            let start = *at;
            let rest = &chunk[start..];
            let run: &[u8] = match byte {
                b']' if brackets < 2 => {
                    brackets += 1;
                    *at += 1;
                    continue;
                }
                b'>' if brackets == 2 => {
                    *at += 1;
                    self.grammar.end_run(out);
                    self.mode = Mode::Content;
                    return Ok(());
                }
                // Of three brackets or more only the last two may belong to the end.
                b']' => &rest[..1],
                _ => {
                    let withheld = &b"]]"[..std::mem::take(&mut brackets)];
                    self.grammar
                        .text(withheld, false, out)
                        .map_err(|(_, refusal)| self.refused(start, refusal))?;
                    &rest[..memchr::memchr(b']', rest).unwrap_or(rest.len())]
                }
            };
            *at += run.len();
            let more = *at == chunk.len();
            self.grammar
                .text(run, more, out)
                .map_err(|(place, refusal)| self.refused(start + place, refusal))?;
        }
        self.mode = Mode::Cdata(brackets);
        Ok(())
    }

    fn malformed(&self, what: &'static str) -> ReadError {
        self.refused_at(self.token, Refusal::Malformed(what))
    }

    fn refused(&self, at: usize, refusal: Refusal) -> ReadError {
        self.refused_at(self.before + at as u64, refusal)
    }

    fn refused_at(&self, offset: u64, refusal: Refusal) -> ReadError {
        match refusal {
            Refusal::Foreign(seen) => ReadError::NotXmlRpc(seen),
            // What is broken before it is XML-RPC never was.
            Refusal::Malformed(_) if self.grammar.at == At::Prolog => {
                ReadError::NotXmlRpc(Seen::Xml)
            }
            Refusal::Malformed(what) => ReadError::Malformed { offset, what },
            Refusal::TooDeep => ReadError::TooDeep { limit: self.limits.max_depth },
        }
    }
}
