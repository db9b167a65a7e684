//! What stands between tags: where text counts, and where only white space may be.

use super::grammar::{At, Grammar, Refusal};
use super::scalar::Kind;
use super::text;
use crate::error::{BYTE_ORDER_MARK, Seen};

impl Grammar {
    /// Starts a JSON string, with the white space held back.
    pub(super) fn begin_text(&mut self, out: &mut Vec<u8>) {
        out.push(b'"');
        out.append(&mut self.space);
        self.at = At::ValueText;
    }

    /// Takes a run of text without markup and references. `more` says that the chunk ends behind
    /// it. An error comes with the place in the run.
    pub(super) fn text(
        &mut self,
        run: &[u8],
        more: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), (usize, Refusal)> {
        match self.at {
            At::ValueOpen | At::ValueSpace => {
                let space = run.len() - run.trim_ascii_start().len();
                text::escape(&run[..space], &mut self.space);
                self.at = At::ValueSpace;
                if space < run.len() {
                    self.begin_text(out);
                    self.string(&run[space..], more, out);
                }
            }
            At::ValueText | At::Name | At::LateName => self.string(run, more, out),
            At::Leaf if self.kind() == Kind::Text => self.string(run, more, out),
            At::Leaf if self.kind() != Kind::Nil => self.scalar.extend_from_slice(run),
            At::Prolog => self.prolog(run)?,
            _ => {
                if let Some(at) = run.iter().position(|byte| !byte.is_ascii_whitespace()) {
                    return Err((at, Refusal::Malformed("text where it does not belong")));
                }
            }
        }
        Ok(())
    }

    fn string(&mut self, mut run: &[u8], more: bool, out: &mut Vec<u8>) {
        if self.is_cut() {
            let taken = self.cut.resume(run, out);
            run = &run[taken..];
        }
        if more && !self.is_cut() {
            run = self.cut.take_from(run);
        }
        text::escape(run, out);
    }

    fn prolog(&mut self, run: &[u8]) -> Result<(), (usize, Refusal)> {
        for (at, byte) in run.iter().enumerate() {
            if BYTE_ORDER_MARK.get(self.mark) == Some(byte) {
                self.mark += 1;
            } else if matches!(self.mark, 1 | 2) {
                return Err((at, Refusal::Foreign(Seen::Binary)));
            } else if !byte.is_ascii_whitespace() {
                return Err((at, Refusal::Foreign(Seen::of_first(*byte))));
            }
        }
        Ok(())
    }

    /// Takes text that counts as such even if it is white space: from a reference or from CDATA.
    pub(super) fn literal(
        &mut self,
        text: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), (usize, Refusal)> {
        if matches!(self.at, At::ValueOpen | At::ValueSpace) {
            self.begin_text(out);
        }
        self.text(text, false, out)
    }

    /// Ends a run of text: markup or a reference follows.
    pub(super) fn end_run(&mut self, out: &mut Vec<u8>) {
        if self.is_cut() {
            self.cut.give_up(out);
        }
    }
}
