//! Both documents as XML.

use quick_xml::Reader;
use quick_xml::errors::{Error, SyntaxError};
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

use super::archive::ArchiveDraft;
use super::updates::Draft;
use super::{DEEPEST, Met, Unreadable, number, step, time, whole};
use crate::metrics::model::Cf;
use crate::metrics::sources::Kind;

pub(super) fn updates(body: &[u8], draft: &mut Draft) -> Result<(), Unreadable> {
    let (mut from, mut row) = (0, None);
    walk(body, "xport", |met| {
        match met {
            Met::Open("xport/meta") => draft.has_meta = true,
            Met::Open("xport/data/row") => (from, row) = (draft.mark(), None),
            Met::Close("xport/meta/step", text) => draft.step = step(number(text)),
            Met::Close("xport/meta/end", text) => draft.end = time(number(text)),
            Met::Close("xport/meta/legend/entry", text) => draft.entry(text)?,
            Met::Close("xport/data/row/t", text) => row = time(number(text)),
            Met::Close("xport/data/row/v", text) => draft.value(number(text)),
            Met::Close("xport/data/row", _) => draft.row(row, from)?,
            _ => {}
        }
        Ok(())
    })
}

pub(super) fn archive(body: &[u8], draft: &mut ArchiveDraft) -> Result<(), Unreadable> {
    walk(body, "rrd", |met| {
        match met {
            Met::Close("rrd/step", text) => draft.step = step(number(text)),
            Met::Close("rrd/lastupdate", text) => draft.last_update = time(number(text)),
            Met::Close("rrd/ds/name", text) => draft.source.0 = Some(text.trim().to_owned()),
            Met::Close("rrd/ds/type", text) => draft.source.1 = Kind::named(text.trim()),
            Met::Close("rrd/ds", _) => draft.end_source()?,
            Met::Close("rrd/rra/cf", text) => draft.cf = Cf::named(text.trim()),
            Met::Close("rrd/rra/pdp_per_row", text) => {
                draft.per_row = whole(number(text)).filter(|count| *count > 0);
            }
            Met::Open("rrd/rra/database/row") => draft.row()?,
            Met::Close("rrd/rra/database/row/v", text) => draft.value(number(text)),
            Met::Close("rrd/rra", _) => draft.end_rra()?,
            _ => {}
        }
        Ok(())
    })
}

/// Goes through a document whose outermost element is `root`.
fn walk(
    body: &[u8],
    root: &str,
    mut each: impl FnMut(Met<'_>) -> Result<(), Unreadable>,
) -> Result<(), Unreadable> {
    // A name that is not UTF-8 is none that we know.
    let body = String::from_utf8_lossy(body);
    let mut reader = Reader::from_str(&body);
    let (mut path, mut lengths, mut text) = (String::new(), Vec::new(), String::new());
    let mut ended = false;
    loop {
        let event = reader.read_event().map_err(|error| match error {
            Error::Syntax(syntax) if is_end(&syntax) => Unreadable::Truncated,
            _ => Unreadable::Malformed(reader.error_position()),
        })?;
        let at = |reader: &Reader<&[u8]>| Unreadable::Malformed(reader.buffer_position());
        match event {
            Event::Start(start) => {
                let name = start.name().into_inner();
                if lengths.is_empty() && (ended || name != root) {
                    return Err(if ended { at(&reader) } else { Unreadable::NotRrd });
                }
                if lengths.len() >= DEEPEST {
                    return Err(at(&reader));
                }
                lengths.push(path.len());
                if !path.is_empty() {
                    path.push('/');
                }
                path.push_str(name);
                text.clear();
                each(Met::Open(&path))?;
            }
            Event::End(_) => {
                let Some(length) = lengths.pop() else { return Err(at(&reader)) };
                each(Met::Close(&path, &text))?;
                path.truncate(length);
                text.clear();
                ended = lengths.is_empty();
            }
            Event::Empty(element) => {
                let name = element.name().into_inner();
                if lengths.is_empty() {
                    return Err(if name == root && !ended {
                        Unreadable::Empty
                    } else {
                        Unreadable::NotRrd
                    });
                }
                let length = path.len();
                path.push('/');
                path.push_str(name);
                each(Met::Open(&path))?;
                each(Met::Close(&path, ""))?;
                path.truncate(length);
            }
            Event::Text(piece) => text.push_str(&piece.xml10_content()),
            Event::CData(piece) => text.push_str(&piece.xml10_content()),
            Event::GeneralRef(reference) => {
                if let Ok(Some(character)) = reference.resolve_char_ref() {
                    text.push(character);
                } else {
                    // What it stands for is not known, so what it stands in has no name we know.
                    text.push_str(resolve_predefined_entity(&reference).unwrap_or("\u{fffd}"));
                }
            }
            Event::Eof if ended => return Ok(()),
            Event::Eof if lengths.is_empty() => return Err(Unreadable::NotRrd),
            Event::Eof => return Err(Unreadable::Truncated),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

/// Whether the document ends where it must not.
fn is_end(error: &SyntaxError) -> bool {
    !matches!(error, SyntaxError::InvalidBangMarkup)
}
