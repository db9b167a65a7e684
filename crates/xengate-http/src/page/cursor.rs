//! Cursors: where a page begins, as clients carry it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::problem::{Code, Problem};

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Cursor {
    /// Behind this object, in the order of backend and uuid.
    Behind(Position),
    /// So far down an order that was pinned.
    SortSnapshot {
        /// The pin.
        pin: u64,
        /// How many objects stand before the page.
        offset: usize,
    },
}

/// An object's place in the order of backend and uuid.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Position {
    /// The name of its backend.
    pub backend: String,
    /// Its uuid.
    pub uuid: Uuid,
}

/// Names a query, so that a cursor of another is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct QueryId(u64);

impl QueryId {
    /// The name of the query that has these parts.
    pub fn of<'a>(parts: impl IntoIterator<Item = Option<&'a str>>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            // An absent part is not an empty one, and none flows into the next.
            hash.update(part.map_or(u64::MAX, |part| part.len() as u64).to_be_bytes());
            hash.update(part.unwrap_or_default());
        }
        let (first, _) = hash.finalize().into_iter().fold((0_u64, 0), |(id, count), byte| {
            if count < 8 { (id << 8 | u64::from(byte), count + 1) } else { (id, count) }
        });
        Self(first)
    }
}

impl Cursor {
    /// Writes the cursor for the query.
    pub fn text(&self, query: QueryId) -> String {
        let QueryId(query) = query;
        URL_SAFE_NO_PAD.encode(match self {
            Self::Behind(Position { backend, uuid }) => {
                format!("2\n{query:016x}\n{backend}\n{uuid}")
            }
            Self::SortSnapshot { pin, offset } => format!("3\n{query:016x}\n{pin:016x}\n{offset}"),
        })
    }

    /// Reads a cursor that was given for the same query.
    pub fn read(query: QueryId, text: &str) -> Result<Self, Problem> {
        let bad = |detail| Problem::new(Code::BadParameter, detail).with_params(["cursor"]);
        let malformed = || bad("cursor: not a cursor of this gateway");
        let text = URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed())?;
        let text = String::from_utf8(text).map_err(|_| malformed())?;
        let mut parts = text.split('\n');
        let (Some(kind), Some(of), Some(first), Some(second), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed());
        };
        let cursor = match kind {
            "2" => Uuid::try_parse(second)
                .ok()
                .map(|uuid| Self::Behind(Position { backend: first.to_owned(), uuid })),
            "3" => u64::from_str_radix(first, 16)
                .ok()
                .zip(second.parse().ok())
                .map(|(pin, offset)| Self::SortSnapshot { pin, offset }),
            _ => None,
        };
        let cursor = cursor.ok_or_else(malformed)?;
        if u64::from_str_radix(of, 16) != Ok(query.0) {
            return Err(bad("cursor: it belongs to another query"));
        }
        // What is spelt otherwise was not given by a gateway.
        if cursor.text(query) != URL_SAFE_NO_PAD.encode(&text) {
            return Err(malformed());
        }
        Ok(cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vms() -> QueryId {
        QueryId::of([Some("vms"), None])
    }

    #[test]
    fn a_cursor_comes_back_as_it_went_and_only_to_its_query() {
        let behind = Cursor::Behind(Position { backend: "lab".into(), uuid: Uuid::from_u128(7) });
        for cursor in [behind, Cursor::SortSnapshot { pin: u64::MAX, offset: 3 }] {
            let text = cursor.text(vms());
            assert_eq!(Cursor::read(vms(), &text).ok(), Some(cursor));
            for other in [
                QueryId::of([Some("hosts"), None]),
                QueryId::of([Some("vms"), Some("")]),
                QueryId::of([Some("vms")]),
                QueryId::of([Some("vm"), Some("s")]),
            ] {
                let problem = Cursor::read(other, &text).expect_err("another query");
                assert!(problem.detail().contains("another query"));
            }
        }
    }

    #[test]
    fn a_forged_cursor_is_refused() {
        let made = |text: &str| URL_SAFE_NO_PAD.encode(text);
        for forged in [
            String::new(),
            "x".into(),
            "!!".into(),
            "MQ".into(),
            "\u{e9}".into(),
            made("2\nvms\nlab\nnot-a-uuid"),
            made("3\n0\n0\n-1"),
            made("4\n0\n0\n0"),
            made("3\n0\n0\n99999999999999999999999999"),
            Cursor::SortSnapshot { pin: 1, offset: 1 }.text(vms()) + "A",
        ] {
            let problem = Cursor::read(vms(), &forged).expect_err(&forged);
            assert_eq!(problem.code(), "BAD_PARAMETER");
        }
    }
}
