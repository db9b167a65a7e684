//! Pages of a list: a limit, and a cursor that says where the next page begins.
//!
//! The default order is by backend and uuid, and a cursor names the last object of its page, so
//! whatever comes and goes in between, no object is seen twice and none that stays is skipped.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::problem::{Code, Problem};

/// How many objects a page has unless told.
pub const DEFAULT_LIMIT: usize = 1000;
/// How many objects a page has at most.
pub const MAX_LIMIT: usize = 10_000;

/// Where a page begins: behind this object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Position {
    /// The name of its backend.
    pub backend: String,
    /// Its uuid.
    pub uuid: Uuid,
}

/// Writes the cursor of the page behind `position`, for the query that `query` identifies.
pub fn cursor(query: &str, position: &Position) -> String {
    let Position { backend, uuid } = position;
    URL_SAFE_NO_PAD.encode(format!("1\n{query}\n{backend}\n{uuid}"))
}

/// Reads a cursor that was given for the same query.
pub fn position(query: &str, cursor: &str) -> Result<Position, Problem> {
    let bad = |detail| Problem::new(Code::BadParameter, detail).with_params(["cursor"]);
    let malformed = || bad("cursor: not a cursor of this gateway");
    let text = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| malformed())?;
    let text = String::from_utf8(text).map_err(|_| malformed())?;
    let mut parts = text.split('\n');
    let (version, of, backend, uuid) = (parts.next(), parts.next(), parts.next(), parts.next());
    let (Some("1"), Some(of), Some(backend), Some(uuid), None) =
        (version, of, backend, uuid, parts.next())
    else {
        return Err(malformed());
    };
    if of != query {
        return Err(bad("cursor: it belongs to another query"));
    }
    let uuid = Uuid::try_parse(uuid).map_err(|_| malformed())?;
    Ok(Position { backend: backend.to_owned(), uuid })
}

/// The limit that was asked for, within bounds.
pub fn limit(asked: Option<u64>) -> Result<usize, Problem> {
    match asked.map(usize::try_from) {
        None => Ok(DEFAULT_LIMIT),
        Some(Ok(limit)) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
        Some(_) => Err(Problem::new(
            Code::BadParameter,
            format!("limit: a whole number from 1 to {MAX_LIMIT} is expected"),
        )
        .with_params(["limit"])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_went_and_only_to_its_query() {
        let position_ = Position { backend: "lab".into(), uuid: Uuid::from_u128(7) };
        let text = cursor("vms", &position_);
        assert_eq!(position("vms", &text).ok(), Some(position_));
        let other = position("hosts", &text).expect_err("another query");
        assert!(other.detail().contains("another query"));
    }

    #[test]
    fn a_forged_cursor_is_refused() {
        for forged in ["", "x", "!!", "MQ", "MQp2bXMKbGFiCm5vdC1hLXV1aWQ", "\u{e9}"] {
            let problem = position("vms", forged).expect_err(forged);
            assert_eq!(problem.code(), "BAD_PARAMETER");
        }
    }

    #[test]
    fn limits_are_bounded() {
        assert_eq!(limit(None).ok(), Some(1000));
        assert_eq!(limit(Some(10_000)).ok(), Some(10_000));
        for wrong in [0, 10_001, u64::MAX] {
            assert!(limit(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
