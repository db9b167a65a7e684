//! Users and their sessions.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use xenapi_model::{Class, Roles, datamodel};

use super::database::{Database, NULL, Text, Value};
use super::identifiers::Identifiers;

/// A session that nothing was asked in for this long ends.
const IDLE: Duration = Duration::from_secs(24 * 60 * 60);

/// Sessions of one originator beyond this number end, oldest first; of those without one, 400.
const PER_ORIGINATOR: usize = 500;
const WITHOUT_ORIGINATOR: usize = 400;

/// How many refs of sessions are remembered after their end.
const REMEMBERED: usize = 100_000;

/// Somebody who may log in.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
    /// A role of the datamodel; `None` makes a local superuser.
    pub role: Option<String>,
}

/// Without the password: people type real ones into simulated pools.
impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, role, password: _ } = self;
        f.debug_struct("User").field("name", name).field("role", role).finish_non_exhaustive()
    }
}

impl User {
    /// Somebody who may do everything.
    pub fn superuser(name: &str, password: &str) -> Self {
        Self { name: name.into(), password: password.into(), role: None }
    }

    /// Somebody whose password is good, and who has no role in the pool.
    pub fn without_role(name: &str, password: &str) -> Self {
        Self::with_role(name, password, "")
    }

    /// Somebody who may do what a role of the datamodel may.
    pub fn with_role(name: &str, password: &str, role: &str) -> Self {
        Self { role: Some(role.into()), ..Self::superuser(name, password) }
    }
}

/// A session as calls see it.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) user: String,
    /// The place of the role in the datamodel; `None` is a local superuser.
    pub(crate) role: Option<usize>,
    pub(crate) originator: String,
    /// Ends with the session, for calls that wait.
    pub(crate) ended: CancellationToken,
    number: u64,
    last_active: Duration,
}

impl Session {
    /// Whether its user may use what these roles may.
    pub(crate) fn may(&self, roles: Roles) -> bool {
        self.role.is_none_or(|role| roles.contains(role))
    }
}

/// Who may log in, and who has.
#[derive(Debug)]
pub(crate) struct Sessions {
    users: Mutex<Vec<User>>,
    slow: Mutex<HashMap<String, Duration>>,
    open: Mutex<HashMap<Text, Session>>,
    handed_out: Mutex<VecDeque<Text>>,
    opened: AtomicU64,
    mark: Mutex<Option<String>>,
}

impl Sessions {
    pub(crate) fn new(users: Vec<User>, mark: Option<String>) -> Self {
        Self {
            users: Mutex::new(users),
            slow: Mutex::default(),
            open: Mutex::default(),
            handed_out: Mutex::default(),
            opened: AtomicU64::new(0),
            mark: Mutex::new(mark),
        }
    }

    /// The user with this name and password.
    pub(crate) fn user(&self, name: &str, password: &str) -> Option<User> {
        let users = self.users.lock();
        users.iter().find(|user| user.name == name && user.password == password).cloned()
    }

    /// Lets the logins of a name take their time, as a directory does.
    pub(crate) fn slow_down(&self, name: &str, by: Duration) {
        self.slow.lock().insert(name.to_owned(), by);
    }

    /// How long a login of this name takes.
    pub(crate) fn slowness(&self, name: &str) -> Duration {
        self.slow.lock().get(name).copied().unwrap_or_default()
    }

    /// Adds a user, or replaces the one of that name.
    pub(crate) fn put_user(&self, user: User) {
        let mut users = self.users.lock();
        users.retain(|known| known.name != user.name);
        users.push(user);
    }

    /// Forgets a user; open sessions stay.
    pub(crate) fn remove_user(&self, name: &str) {
        self.users.lock().retain(|user| user.name != name);
    }

    /// Opens a session.
    pub(crate) fn open(
        &self,
        db: &mut Database,
        identifiers: &Identifiers,
        user: &User,
        originator: &str,
        now: (Duration, &str),
    ) -> Text {
        let reference = self.new_reference(identifiers);
        self.open_as(reference.clone(), db, identifiers.uuid(), user, originator, now);
        reference
    }

    /// Opens a session with this ref.
    pub(crate) fn open_as(
        &self,
        reference: Text,
        db: &mut Database,
        uuid: Text,
        user: &User,
        originator: &str,
        now: (Duration, &str),
    ) {
        let role = user.role.as_ref().and_then(|role| role_index(role));
        let subject = subject_of(db, &user.name);
        let class = class();
        let field = |name: &str| class.field_index(name).unwrap_or_default();
        let permissions = role.map(permissions).unwrap_or_default();
        let host = datamodel().class("host").and_then(|host| db.table(host.id).iter().next());
        let host = host.map_or(Text::from(NULL), |host| host.reference().clone());
        let fields = [
            (field("this_host"), Value::Text(host)),
            (field("this_user"), Value::text(NULL)),
            (field("last_active"), Value::date_time(now.1)),
            (field("validation_time"), Value::date_time(now.1)),
            (field("is_local_superuser"), Value::Bool(role.is_none())),
            (field("subject"), Value::text(subject.as_ref().map_or(NULL, |s| &s.0))),
            (field("auth_user_sid"), Value::text(subject.as_ref().map_or("", |s| &s.1))),
            (field("auth_user_name"), Value::text(user.name.as_str())),
            (field("rbac_permissions"), Value::texts(permissions)),
            (field("originator"), Value::text(originator)),
        ];
        db.create(class, reference.clone(), uuid, fields);
        let mut open = self.open.lock();
        let session = Session {
            user: user.name.clone(),
            role,
            originator: originator.to_owned(),
            ended: CancellationToken::new(),
            number: self.opened.fetch_add(1, Ordering::Relaxed),
            last_active: now.0,
        };
        open.insert(reference.clone(), session);
        let mut handed_out = self.handed_out.lock();
        handed_out.push_back(reference);
        if handed_out.len() > REMEMBERED {
            handed_out.pop_front();
        }
        drop(handed_out);
        let surplus = surplus(&open, originator);
        drop(open);
        for old in surplus {
            self.end(db, &old);
        }
    }

    /// The session with this ref, unless it has ended or was idle for too long.
    pub(crate) fn touch(&self, reference: &str, now: Duration) -> Option<Session> {
        let mut open = self.open.lock();
        let session = open.get_mut(reference)?;
        if now.saturating_sub(session.last_active) > IDLE {
            return None;
        }
        session.last_active = now;
        Some(session.clone())
    }

    /// Ends a session and wakes what waits in it.
    pub(crate) fn end(&self, db: &mut Database, reference: &str) {
        if let Some(session) = self.open.lock().remove(reference) {
            session.ended.cancel();
        }
        // A session that is open is in the database; one that is not may be in neither.
        _ = db.destroy(class(), reference);
    }

    /// Ends the sessions that `which` picks.
    pub(crate) fn end_all(&self, db: &mut Database, which: impl Fn(&Session) -> bool) -> usize {
        let open = self.open.lock();
        let picked: Vec<_> =
            open.iter().filter(|(_, s)| which(s)).map(|(r, _)| r.clone()).collect();
        drop(open);
        for reference in &picked {
            self.end(db, reference);
        }
        picked.len()
    }

    /// How many sessions are open.
    pub(crate) fn count(&self) -> usize {
        self.open.lock().len()
    }

    /// Originators of the open sessions, sorted.
    pub(crate) fn originators(&self) -> Vec<String> {
        let mut all: Vec<_> = self.open.lock().values().map(|s| s.originator.clone()).collect();
        all.sort();
        all
    }

    /// Refs of the sessions opened, open or not, oldest first.
    pub(crate) fn handed_out(&self) -> Vec<Text> {
        self.handed_out.lock().iter().cloned().collect()
    }

    /// Marks the refs of sessions from now on.
    pub(crate) fn set_mark(&self, mark: Option<String>) {
        *self.mark.lock() = mark;
    }

    fn new_reference(&self, identifiers: &Identifiers) -> Text {
        let reference = identifiers.reference();
        match &*self.mark.lock() {
            None => reference,
            Some(mark) => {
                let rest = reference.get("OpaqueRef:".len() + mark.len()..).unwrap_or_default();
                format!("OpaqueRef:{mark}{rest}").into()
            }
        }
    }
}

fn class() -> &'static Class {
    datamodel().class("session").expect("the datamodel has sessions")
}

fn surplus(open: &HashMap<Text, Session>, originator: &str) -> Vec<Text> {
    let limit = if originator.is_empty() { WITHOUT_ORIGINATOR } else { PER_ORIGINATOR };
    let mut same: Vec<_> = open.iter().filter(|(_, s)| s.originator == originator).collect();
    same.sort_by_key(|(_, session)| session.number);
    let surplus = same.len().saturating_sub(limit);
    same.into_iter().take(surplus).map(|(reference, _)| reference.clone()).collect()
}

fn subject_of(db: &Database, user: &str) -> Option<(Text, Text)> {
    let class = datamodel().class("subject")?;
    let (identifier, config) =
        (class.field_index("subject_identifier")?, class.field_index("other_config")?);
    let named = |pairs: &[(Value, Value)]| {
        let wanted = |v: &Value, text: &str| v.as_text().is_some_and(|t| **t == *text);
        pairs.iter().any(|(k, v)| wanted(k, "subject-name") && wanted(v, user))
    };
    let subject = db
        .table(class.id)
        .iter()
        .find(|subject| matches!(&subject.fields()[config], Value::Map(pairs) if named(pairs)))?;
    let identifier = subject.fields()[identifier].as_text()?.clone();
    Some((subject.reference().clone(), identifier))
}

/// The place of a role in the datamodel.
pub(crate) fn role_index(name: &str) -> Option<usize> {
    datamodel().roles.iter().position(|role| role == name)
}

/// What a role may do, in XAPI's own lower-case names: `vm.start`,
/// `vm.add_to_other_config/key:folder`, `http/get_rrd_updates`.
pub(crate) fn permissions(role: usize) -> Vec<String> {
    let model = datamodel();
    let mut permissions = Vec::new();
    for call in model.classes.iter().flat_map(|class| &class.calls) {
        let name = call.wire_name.to_ascii_lowercase();
        for (key, roles) in &call.map_keys_roles {
            if roles.contains(role) {
                permissions.push(key_permission(&name, key));
            }
        }
        if call.roles.contains(role) {
            permissions.push(name);
        }
    }
    for handler in &model.http_handlers {
        if handler.roles.contains(&model.roles[role]) {
            permissions.push(format!("http/{}", handler.name));
        }
    }
    permissions
}

/// The permission to write one key of a map.
pub(crate) fn key_permission(permission: &str, key: &str) -> String {
    format!("{permission}/key:{}", key.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_follow_the_datamodel() {
        let of = |role| permissions(role_index(role).expect("a role"));
        let (admin, reader) = (of("pool-admin"), of("read-only"));
        assert!(admin.contains(&"vm.start".to_owned()) && !reader.contains(&"vm.start".to_owned()));
        assert!(reader.contains(&"vm.get_all_records".to_owned()));
        assert!(of("vm-operator").contains(&"vm.add_to_other_config/key:folder".to_owned()));
        assert!(!of("vm-admin").contains(&"vm.add_to_other_config/key:pci".to_owned()));
        assert!(admin.iter().any(|permission| permission.starts_with("http/")));
    }

    #[test]
    fn an_originator_has_so_many_sessions() {
        let sessions = Sessions::new(Vec::new(), Some("dead5e55".into()));
        let (mut db, identifiers) = (Database::default(), Identifiers::new(1));
        let user = User::superuser("root", "x");
        let mut log_in = |originator: &str| {
            sessions.open(&mut db, &identifiers, &user, originator, (Duration::ZERO, "now"))
        };
        let other = log_in("other");
        let refs: Vec<_> = (0..PER_ORIGINATOR + 2).map(|_| log_in("one")).collect();
        assert!(refs.iter().all(|reference| reference.starts_with("OpaqueRef:dead5e55-")));
        let alive = |reference: &str| sessions.touch(reference, Duration::ZERO).is_some();
        assert!(!alive(&refs[0]) && !alive(&refs[1]) && alive(&refs[2]) && alive(&other));
        assert_eq!(sessions.count(), PER_ORIGINATOR + 1);
        assert_eq!(sessions.handed_out().len(), PER_ORIGINATOR + 3);
        assert!(sessions.touch(&other, IDLE).is_some());
        assert!(sessions.touch(&other, IDLE * 3).is_none());
    }
}
