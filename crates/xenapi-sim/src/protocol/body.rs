//! A reply's body, in pieces that can be sent and freed one by one.

use std::collections::VecDeque;

/// A large reply is kept in pieces of this size, so that it never needs one huge allocation.
pub(super) const PIECE: usize = 256 * 1024;

/// A body, in pieces.
#[derive(Debug, Default)]
pub(crate) struct Body {
    pieces: VecDeque<Vec<u8>>,
    len: usize,
}

impl Body {
    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Takes the next piece.
    pub(crate) fn next(&mut self) -> Option<Vec<u8>> {
        self.pieces.pop_front()
    }

    pub(super) fn push(&mut self, piece: Vec<u8>) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push_back(piece);
        }
    }
}
