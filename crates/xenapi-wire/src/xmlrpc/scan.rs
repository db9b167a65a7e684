//! Markup: where it ends and what a tag says. Each scanner can stop at any byte and go on with the
//! next chunk, so that nothing is read twice.

/// The longest tag, attributes and all. XML-RPC's own have 20 bytes.
pub(super) const LONGEST_TAG: usize = 4096;

/// What a piece of markup is, as far as its first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Markup {
    /// More bytes are needed.
    Undecided,
    Tag,
    Instruction,
    Comment,
    Cdata,
    Doctype,
    /// None that XML has.
    Unknown,
}

const CDATA: &[u8] = b"<![CDATA[";
const DOCTYPE: &[u8] = b"<!DOCTYPE";

/// Decides from the first bytes, `<` included. Nine are always enough.
pub(super) fn markup(start: &[u8]) -> Markup {
    match start {
        [_] | [_, b'!'] | [_, b'!', b'-'] => Markup::Undecided,
        [_, b'?', ..] => Markup::Instruction,
        [_, b'!', b'-', b'-', ..] => Markup::Comment,
        [_, b'!', ..] => {
            let len = start.len().min(CDATA.len());
            let is = |word: &[u8]| start[..len].eq_ignore_ascii_case(&word[..len]);
            match (is(CDATA), is(DOCTYPE)) {
                (false, false) => Markup::Unknown,
                _ if len < CDATA.len() => Markup::Undecided,
                (true, _) => Markup::Cdata,
                _ => Markup::Doctype,
            }
        }
        _ => Markup::Tag,
    }
}

/// Finds the `>` that ends a tag or a document type: not one inside quotes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TagEnd {
    quote: Option<u8>,
}

/// What stopped a search for a tag's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The tag's `>`, here.
    End(usize),
    /// A byte that no tag has, here.
    Bad(usize),
    /// The chunk's end.
    Chunk,
}

impl TagEnd {
    /// Goes on in the next bytes of the tag.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Stop {
        for (at, byte) in bytes.iter().enumerate() {
            match (self.quote, byte) {
                (_, b'<') => return Stop::Bad(at),
                (None, b'>') => return Stop::End(at),
                (None, b'"' | b'\'') => self.quote = Some(*byte),
                (Some(quote), byte) if quote == *byte => self.quote = None,
                _ => {}
            }
        }
        Stop::Chunk
    }
}

/// Finds the end of a comment (`-->`) or an instruction (`?>`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Terminator {
    mark: u8,
    marks: u8,
    needed: u8,
}

impl Terminator {
    pub(super) const COMMENT: Terminator = Terminator { mark: b'-', marks: 0, needed: 2 };
    pub(super) const INSTRUCTION: Terminator = Terminator { mark: b'?', marks: 0, needed: 1 };

    /// Where the construct has ended: the index behind its `>`.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            if self.marks == 0 {
                at += memchr::memchr(self.mark, &bytes[at..])?;
            }
            let byte = bytes[at];
            at += 1;
            if byte == self.mark {
                self.marks = self.needed.min(self.marks + 1);
            } else if byte == b'>' && self.marks == self.needed {
                return Some(at);
            } else {
                self.marks = 0;
            }
        }
        None
    }
}

/// Which form a tag has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Open,
    Close,
    /// Open and closed at once: `<nil/>`.
    Empty,
}

/// A tag's form and name, from its bytes with `<` and `>`. Attributes are passed over.
pub(super) fn tag(tag: &[u8]) -> Option<(Form, &[u8])> {
    let inside = tag.strip_prefix(b"<")?.strip_suffix(b">")?;
    let (form, inside) = match inside {
        [b'/', rest @ ..] => (Form::Close, rest),
        [rest @ .., b'/'] => (Form::Empty, rest),
        rest => (Form::Open, rest),
    };
    let end = inside.iter().position(u8::is_ascii_whitespace).unwrap_or(inside.len());
    let (name, attributes) = inside.split_at(end);
    if name.is_empty() || (form == Form::Close && !attributes.trim_ascii().is_empty()) {
        return None;
    }
    Some((form, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_told_by_its_first_bytes() {
        for (start, expected) in [
            ("<", Markup::Undecided),
            ("<v", Markup::Tag),
            ("</", Markup::Tag),
            ("<?", Markup::Instruction),
            ("<!", Markup::Undecided),
            ("<!-", Markup::Undecided),
            ("<!--", Markup::Comment),
            ("<!-x", Markup::Unknown),
            ("<![CDATA", Markup::Undecided),
            ("<![CDATA[", Markup::Cdata),
            ("<!doc", Markup::Undecided),
            ("<!doctype html", Markup::Doctype),
            ("<!ELEMENT", Markup::Unknown),
        ] {
            assert_eq!(markup(start.as_bytes()), expected, "{start}");
        }
    }

    #[test]
    fn a_tag_says_its_form_and_name() {
        assert_eq!(tag(b"<a>"), Some((Form::Open, &b"a"[..])));
        assert_eq!(tag(b"</a >"), Some((Form::Close, &b"a"[..])));
        assert_eq!(tag(b"<ex:nil />"), Some((Form::Empty, &b"ex:nil"[..])));
        assert_eq!(tag(b"<a\nb='c>'>"), Some((Form::Open, &b"a"[..])));
        for bad in [&b"<>"[..], b"</>", b"< a>", b"</a b>", b"</ a>"] {
            assert_eq!(tag(bad), None);
        }
    }

    #[test]
    fn ends_are_found_across_chunks() {
        for (text, mut terminator, end) in [
            (&b" - -- ->--->x"[..], Terminator::COMMENT, Some(12)),
            (b"?a??>", Terminator::INSTRUCTION, Some(5)),
            (b"--->", Terminator::COMMENT, Some(4)),
            (b"->--", Terminator::COMMENT, None),
        ] {
            let mut whole = terminator;
            assert_eq!(whole.find(text), end);
            let found = text.iter().position(|byte| terminator.find(&[*byte]).is_some());
            assert_eq!(found.map(|at| at + 1), end);
        }
        let mut tag_end = TagEnd::default();
        assert_eq!(tag_end.find(b"a b=\"c>"), Stop::Chunk);
        assert_eq!(tag_end.find(b"'\" d='"), Stop::Chunk);
        assert_eq!(tag_end.find(b">'>"), Stop::End(2));
    }
}
