//! What routes take as arguments. Each extractor is a check too: a route that takes it cannot be
//! reached without it.

mod accept;
mod caller;
mod change;
mod json;
mod object_uuid;
mod peer;
mod prefer;
mod query;
mod read;
mod scraper;
mod shape;
mod writing;

pub use self::accept::{Accepts, AcceptsJson, AcceptsObject, SXP, takes_any_text};
pub use self::caller::{Authenticated, OfSession};
pub use self::change::{Change, NamesBackend, Target};
pub use self::json::{Json, NoBody, UnauthenticatedJson, Unread, without_body};
pub use self::object_uuid::ObjectUuid;
pub use self::peer::{Peer, client_address};
pub use self::prefer::{LONGEST_WAIT, PreferWait};
pub use self::query::{NoQuery, Query};
pub use self::read::{Found, NamesRevision, Read};
pub use self::scraper::{FleetScraper, Scraper};
pub use self::shape::Object;
pub use self::writing::{Underway, Writing};

/// At most this much of what a client sent is said back to it.
const LONGEST_ECHO: usize = 64;

/// A name the client chose, as it may stand in a text.
pub fn echo(name: &str) -> String {
    cut(name, LONGEST_ECHO)
}

/// So many characters of a text, and an ellipsis for the rest.
fn cut(text: &str, longest: usize) -> String {
    let mut shown: String = text.chars().take(longest).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
