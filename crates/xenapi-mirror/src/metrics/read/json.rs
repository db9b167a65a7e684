//! Both documents as JSON: in XAPI's strict form, where every number is a string, and in its old one,
//! which had names, numbers and NaN without quotes.

use std::borrow::Cow;

use super::archive::ArchiveDraft;
use super::updates::Draft;
use super::{DEEPEST, Met, Unreadable, number, step, time, whole};
use crate::metrics::model::Cf;
use crate::metrics::sources::Kind;

pub(super) fn updates(body: &[u8], draft: &mut Draft) -> Result<(), Unreadable> {
    let (mut from, mut row) = (0, None);
    walk(body, |met| {
        match met {
            Met::Open("/meta") => draft.has_meta = true,
            Met::Open("/data[]") => (from, row) = (draft.mark(), None),
            Met::Close("/meta/step", text) => draft.step = step(number(text)),
            Met::Close("/meta/end", text) => draft.end = time(number(text)),
            Met::Close("/meta/legend[]", text) => draft.entry(text)?,
            Met::Close("/data[]/t", text) => row = time(number(text)),
            Met::Close("/data[]/values[]", text) => draft.value(number(text)),
            Met::Close("/data[]", _) => draft.row(row, from)?,
            _ => {}
        }
        Ok(())
    })
}

pub(super) fn archive(body: &[u8], draft: &mut ArchiveDraft) -> Result<(), Unreadable> {
    walk(body, |met| {
        match met {
            Met::Close("/step", text) => draft.step = step(number(text)),
            Met::Close("/lastupdate", text) => draft.last_update = time(number(text)),
            Met::Close("/ds[]/name", text) => draft.source.0 = Some(text.to_owned()),
            Met::Close("/ds[]/type", text) => draft.source.1 = Kind::named(text),
            Met::Close("/ds[]", _) => draft.end_source()?,
            Met::Close("/rra[]/cf", text) => draft.cf = Cf::named(text),
            Met::Close("/rra[]/pdp_per_row", text) => {
                draft.per_row = whole(number(text)).filter(|count| *count > 0);
            }
            Met::Open("/rra[]/database[]") => draft.row()?,
            Met::Close("/rra[]/database[][]", text) => draft.value(number(text)),
            Met::Close("/rra[]", _) => draft.end_rra()?,
            _ => {}
        }
        Ok(())
    })
}

/// Goes through a document. The path of a member is its name behind a slash, that of an element of
/// a list `[]`.
fn walk<F>(body: &[u8], each: F) -> Result<(), Unreadable>
where
    F: FnMut(Met<'_>) -> Result<(), Unreadable>,
{
    let mut walker = Walker { body, at: 0, path: String::new(), depth: 0, each };
    walker.value()?;
    walker.space();
    if walker.at < body.len() { Err(walker.malformed()) } else { Ok(()) }
}

struct Walker<'a, F> {
    body: &'a [u8],
    at: usize,
    path: String,
    depth: usize,
    each: F,
}

impl<'a, F> Walker<'a, F>
where
    F: FnMut(Met<'_>) -> Result<(), Unreadable>,
{
    fn malformed(&self) -> Unreadable {
        Unreadable::Malformed(self.at as u64)
    }

    fn space(&mut self) {
        while self.body.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    /// The next byte that is no space.
    fn peek(&mut self) -> Result<u8, Unreadable> {
        self.space();
        self.body.get(self.at).copied().ok_or(Unreadable::Truncated)
    }

    fn value(&mut self) -> Result<(), Unreadable> {
        match self.peek()? {
            b'{' => self.several(b'}', |walker| {
                let name = walker.name()?;
                if walker.peek()? != b':' {
                    return Err(walker.malformed());
                }
                walker.at += 1;
                walker.path.push('/');
                // A name that looks like a path is none that we know.
                walker.path.push_str(if name.contains(['/', '[']) { "?" } else { &name });
                Ok(())
            }),
            b'[' => self.several(b']', |walker| {
                walker.path.push_str("[]");
                Ok(())
            }),
            _ => {
                let text = self.name()?;
                (self.each)(Met::Close(&self.path, &text))
            }
        }
    }

    /// The members of an object or the elements of a list; `enter` adds to the path.
    fn several(
        &mut self,
        end: u8,
        enter: impl Fn(&mut Self) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        if self.depth >= DEEPEST {
            return Err(self.malformed());
        }
        (self.each)(Met::Open(&self.path))?;
        self.depth += 1;
        self.at += 1;
        let mut first = true;
        loop {
            match self.peek()? {
                byte if byte == end => break,
                b',' if !first => self.at += 1,
                _ if !first => return Err(self.malformed()),
                _ => {}
            }
            if !first && self.peek()? == end {
                return Err(self.malformed());
            }
            first = false;
            let length = self.path.len();
            enter(self)?;
            self.value()?;
            self.path.truncate(length);
        }
        self.at += 1;
        self.depth -= 1;
        (self.each)(Met::Close(&self.path, ""))
    }

    /// A string, or what stands there without quotes: a number, a name, NaN.
    fn name(&mut self) -> Result<Cow<'a, str>, Unreadable> {
        if self.peek()? == b'"' {
            return self.string();
        }
        let rest = &self.body[self.at..];
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-._".contains(byte);
        let length = rest.iter().take_while(|byte| plain(byte)).count();
        if length == 0 {
            return Err(self.malformed());
        }
        if length == rest.len() {
            return Err(Unreadable::Truncated);
        }
        self.at += length;
        Ok(String::from_utf8_lossy(&rest[..length]))
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Unreadable> {
        let rest = &self.body[self.at..];
        let mut from = 1;
        let end = loop {
            let found = memchr::memchr2(b'"', b'\\', &rest[from..]).ok_or(Unreadable::Truncated)?;
            if rest[from + found] == b'"' {
                break from + found;
            }
            // The byte behind a backslash is never the end.
            from += found + 2;
            if from > rest.len() {
                return Err(Unreadable::Truncated);
            }
        };
        let quoted = &rest[..=end];
        let text = match memchr::memchr(b'\\', quoted) {
            None => str::from_utf8(&quoted[1..end]).ok().map(Cow::Borrowed),
            Some(_) => serde_json::from_slice::<String>(quoted).ok().map(Cow::Owned),
        };
        let text = text.ok_or_else(|| self.malformed())?;
        self.at += end + 1;
        Ok(text)
    }
}
