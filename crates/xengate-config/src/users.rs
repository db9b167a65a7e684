//! `[[users]]`: who may log in where the backend does not check passwords.

use std::fmt;

use serde::Deserialize;

use super::document::Complaint;

/// The longest user name that a login takes, in characters.
const LONGEST_NAME: usize = 256;

/// A user of the gateway's own.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The name to log in with.
    pub name: String,
    /// The password's argon2id hash, as `xengate hash-password` prints it.
    pub password_hash: String,
    /// One of the Xen-API's roles: `vm-operator`.
    pub role: String,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// What makes users none, whatever roles there are.
pub(super) fn check(users: &[User]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (index, user) in users.iter().enumerate() {
        let mut wrong = |key: &str, text: &str| {
            complaints.push(Complaint::new(text).at(key).at(index).at("users"));
        };
        let length = user.name.chars().take(LONGEST_NAME + 1).count();
        if length == 0 || length > LONGEST_NAME || user.name.chars().any(char::is_control) {
            wrong("name", "a name has 1 to 256 characters, and no control characters");
        } else if users[..index].iter().any(|other| other.name == user.name) {
            wrong("name", "another user has this name");
        }
        // Nothing of it is repeated: someone may have written the password itself.
        if !user.password_hash.starts_with("$argon2id$") {
            let text = "this is no argon2id hash; `xengate hash-password` makes one";
            wrong("password_hash", text);
        }
    }
    complaints
}
