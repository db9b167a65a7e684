//! Tokens, sessions, and who may do what.
//!
//! A caller logs in with a user name and a password of the Xen pool ([`Authority::login`]) and gets
//! a signed token that names a [`GatewaySession`]; that holds the caller's own session of each
//! backend. Every request's token becomes a [`Caller`] ([`Authority::authenticate`]), save on the few
//! routes about the session itself, which a [`SessionHolder`] may take while no backend can confirm
//! the session ([`Authority::identify`]). Passwords are dropped once the backends have answered; backend sessions that nobody holds are logged out.
//!
//! Limits: sessions in all and per user are configured, the latter below the 500 sessions per
//! originator at which XAPI ends the oldest. At the first a login is turned away, at the second the
//! user's least recently used session ends.

mod attempt;
mod authority;
mod caller;
mod key;
mod liveness;
mod login;
mod login_gate;
mod places;
mod presence;
mod registry;
pub mod roles;
mod session;
mod shares;
mod throttle;
mod tickets;
mod token;
mod users;

pub use authority::{AuthError, Authority, StartError};
pub use caller::{Caller, SessionHolder};
pub use key::{KeyError, check_key_file};
pub use login::{Login, LoginError, may_be_a_password};
pub use presence::Over;
pub use session::{BackendStatus, GatewaySession, NoAccess};
pub use shares::{Held, Shares, Unsent};
pub use tickets::{Ticket, TooManyTickets};
pub use users::{HashError, Users, UsersError, hash};

#[cfg(test)]
pub(crate) mod tests;
