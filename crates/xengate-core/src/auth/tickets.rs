//! Tickets: for browsers, whose `EventSource` and `WebSocket` send no token.
//!
//! A ticket stands in a URL, where nothing secret should: so it is good once, for seconds, and for
//! opening a stream only. What is kept of it is a hash.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use foldhash::HashMap;
use parking_lot::Mutex;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::authority::{AuthError, Authority};
use super::caller::{Caller, SessionHolder};
use super::session::GatewaySession;

/// How long a ticket is good for.
const LIFE: Duration = Duration::from_secs(30);

/// Tickets of one session that have not been used.
const MOST_OF_SESSION: usize = 32;

/// Tickets in all that have not been used.
const MOST: usize = 20_000;

/// Bytes that nobody guesses.
const RANDOM: usize = 32;

/// A ticket as its holder gets it.
#[derive(Debug)]
pub struct Ticket {
    /// What to put into the query.
    pub secret: SecretString,
    /// How long it is good for.
    pub life: Duration,
}

/// There are as many as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many tickets have not been used; they end after {} s", LIFE.as_secs())]
pub struct TooManyTickets;

/// Tickets that have not been used.
#[derive(Default)]
pub(super) struct Tickets(Mutex<HashMap<[u8; 32], Issued>>);

struct Issued {
    session: Arc<GatewaySession>,
    until: Instant,
}

impl Tickets {
    fn issue(&self, session: &Arc<GatewaySession>, now: Instant) -> Result<Ticket, TooManyTickets> {
        let mut bytes = [0; RANDOM];
        getrandom::fill(&mut bytes).map_err(|_| TooManyTickets)?;
        let secret = URL_SAFE_NO_PAD.encode(bytes);
        let mut tickets = self.0.lock();
        let of_session = |tickets: &HashMap<_, Issued>| {
            tickets.values().filter(|issued| issued.session.id() == session.id()).count()
        };
        if tickets.len() >= MOST || of_session(&tickets) >= MOST_OF_SESSION {
            tickets.retain(|_, issued| issued.until > now);
            if tickets.len() >= MOST || of_session(&tickets) >= MOST_OF_SESSION {
                return Err(TooManyTickets);
            }
        }
        let until = now + LIFE;
        tickets.insert(hash(&secret), Issued { session: session.clone(), until });
        Ok(Ticket { secret: secret.into(), life: LIFE })
    }

    /// The session of a ticket, which is used up.
    fn take(&self, secret: &str, now: Instant) -> Option<Arc<GatewaySession>> {
        let issued = self.0.lock().remove(&hash(secret))?;
        (issued.until > now).then_some(issued.session)
    }

    /// Forgets what is too old to be used.
    pub(super) fn sweep(&self, now: Instant) {
        self.0.lock().retain(|_, issued| issued.until > now);
    }
}

/// Looked up by its hash, a ticket cannot be found out by how long a wrong one takes.
fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

impl Authority {
    /// A ticket for the session.
    pub fn issue_ticket(&self, holder: &SessionHolder) -> Result<Ticket, TooManyTickets> {
        self.tickets.issue(&holder.session, Instant::now())
    }

    /// Who a ticket stands for. Whatever comes of it, it is good no more.
    pub async fn redeem(&self, secret: &str) -> Result<Caller, AuthError> {
        let session = self.tickets.take(secret, Instant::now()).ok_or(AuthError::Invalid)?;
        let session = self.registry.find(&session.id()).ok_or(AuthError::Invalid)?;
        self.confirm(self.hold(session)?.session).await
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tickets({} of them)", self.0.lock().len())
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::super::session::tests::session_of_user;
    use super::*;

    fn issue(tickets: &Tickets, session: &Arc<GatewaySession>) -> Result<String, TooManyTickets> {
        let ticket = tickets.issue(session, Instant::now())?;
        Ok(ticket.secret.expose_secret().to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_is_good_once_and_not_for_long() {
        let (tickets, session) = (Tickets::default(), session_of_user("root"));
        let one = issue(&tickets, &session).expect("a ticket");
        let two = issue(&tickets, &session).expect("a ticket");
        assert!(one.len() >= 43 && one != two);
        let found = tickets.take(&one, Instant::now()).expect("good");
        assert_eq!(found.id(), session.id());
        assert!(tickets.take(&one, Instant::now()).is_none(), "only once");
        tokio::time::advance(LIFE).await;
        assert!(tickets.take(&two, Instant::now()).is_none(), "too late");
        assert!(tickets.take("", Instant::now()).is_none());
        assert_eq!(format!("{tickets:?}"), "Tickets(0 of them)");
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_has_so_many_and_no_more() {
        let (tickets, session) = (Tickets::default(), session_of_user("root"));
        for _ in 0..MOST_OF_SESSION {
            issue(&tickets, &session).expect("a ticket");
        }
        assert_eq!(issue(&tickets, &session), Err(TooManyTickets));
        issue(&tickets, &session_of_user("other")).expect("others are not in the way");
        tokio::time::advance(LIFE).await;
        issue(&tickets, &session).expect("the old ones are gone");
        assert_eq!(tickets.0.lock().len(), 1);
    }
}
