//! `event.from`: what has changed since a token.

mod subscription;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use xenapi_model::{Class, ClassId, datamodel};

use super::calls::on_large_reply;
use super::database::{Database, Deleted, Object, Table};
use super::protocol::{Body, Failure, Form, Output};
use super::sessions::Session;
use super::state::State;
use subscription::Subscription;
pub(crate) use subscription::Token;

/// A negative timeout waits this long.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The changes after a token, each kind in XAPI's order.
#[derive(Debug, Default)]
struct Changes<'a> {
    messages: Vec<&'a Object>,
    messages_gone: Vec<&'a Deleted>,
    added: Vec<(&'static Class, &'a Object)>,
    modified: Vec<(&'static Class, &'a Object)>,
    deleted: Vec<(&'static Class, &'a Deleted)>,
    last: Token,
}

impl<'a> Changes<'a> {
    fn since(db: &'a Database, from: Token, wanted: &[Subscription]) -> Self {
        let since = from.generation;
        let mut changes = Self { last: Token::at(since), ..Self::default() };
        let mut recent: BTreeMap<ClassId, Vec<&Object>> = BTreeMap::new();
        if since > 0 {
            for (class, reference) in db.recent(since) {
                recent.entry(class).or_default().extend(db.table(class).get(reference));
            }
            for objects in recent.values_mut() {
                objects.sort_by_key(|object| object.reference());
            }
        }
        for class in datamodel().classes.iter().filter(|class| class.gen_events) {
            let table = db.table(class.id);
            if table.is_built_in() || !wanted.iter().any(|w| w.wants_class(class)) {
                continue;
            }
            if !class.in_database {
                changes.note_messages(table, from.message);
                continue;
            }
            let wants = |reference: &str| wanted.iter().any(|w| w.wants(class, reference));
            let mut note = |object: &'a Object| {
                if !wants(object.reference()) {
                    return;
                }
                changes.last.generation = changes.last.generation.max(object.modified());
                if object.created() > since {
                    changes.added.push((class, object));
                } else {
                    changes.modified.push((class, object));
                }
            };
            if since == 0 {
                table.iter().for_each(&mut note);
            } else {
                recent.remove(&class.id).into_iter().flatten().for_each(&mut note);
            }
            for gone in table.deleted(since).filter(|gone| wants(&gone.reference)) {
                if gone.created <= since {
                    changes.last.generation = changes.last.generation.max(gone.deleted);
                    changes.deleted.push((class, gone));
                }
            }
        }
        changes
    }

    /// Messages live beside the database, and tokens count them apart. Whoever wants any wants all.
    fn note_messages(&mut self, table: &'a Table, since: u64) {
        self.last.message = since;
        self.messages = table.iter().filter(|message| message.created() > since).collect();
        self.messages.sort_by_key(|message| message.created());
        self.messages_gone = table.deleted(since).collect();
        self.messages_gone.reverse();
        let created = self.messages.iter().map(|message| message.created());
        let deleted = self.messages_gone.iter().map(|gone| gone.deleted);
        self.last.message = created.chain(deleted).fold(since, u64::max);
    }

    fn is_empty(&self) -> bool {
        self.messages.is_empty()
            && self.messages_gone.is_empty()
            && self.added.is_empty()
            && self.modified.is_empty()
            && self.deleted.is_empty()
    }

    fn write(&self, db: &Database, out: &mut Output) {
        out.begin_struct();
        out.member("events", |out| {
            out.begin_array();
            if let Some(class) = datamodel().class("message") {
                for gone in &self.messages_gone {
                    write_event(out, class, "del", 0, &gone.reference, None);
                }
                for message in &self.messages {
                    write_event(out, class, "add", 0, message.reference(), Some(message));
                }
            }
            for (class, object) in &self.added {
                write_event(out, class, "add", object.created(), object.reference(), Some(object));
            }
            for (class, object) in &self.modified {
                write_event(out, class, "mod", object.modified(), object.reference(), Some(object));
            }
            for (class, gone) in &self.deleted {
                write_event(out, class, "del", gone.deleted, &gone.reference, None);
            }
            out.end();
        });
        out.member("valid_ref_counts", |out| write_counts(out, db));
        out.member("token", |out| out.string(&self.last.to_string()));
        out.end();
    }
}

fn write_event(
    out: &mut Output,
    class: &Class,
    operation: &str,
    id: u64,
    reference: &str,
    object: Option<&Object>,
) {
    out.begin_struct();
    out.member("id", |out| out.string(&id.to_string()));
    out.member("timestamp", |out| out.string("0.0"));
    out.member("class", |out| out.string(&class.name.to_ascii_lowercase()));
    out.member("operation", |out| out.string(operation));
    out.member("ref", |out| out.string(reference));
    if let Some(object) = object {
        out.member("snapshot", |out| out.record(class, object));
    }
    out.end();
}

/// Every class is counted, those without events or objects too; backwards by name.
fn write_counts(out: &mut Output, db: &Database) {
    let mut classes: Vec<_> = datamodel().classes.iter().collect();
    classes.sort_by(|one, two| two.name.cmp(&one.name));
    out.begin_struct();
    for class in classes {
        let table = db.table(class.id);
        // Messages are not counted: XAPI keeps them outside its database.
        let counted = class.in_database && !table.is_built_in();
        let count = if counted { table.len() } else { 0 };
        out.member(&class.name.to_ascii_lowercase(), |out| out.count(count));
    }
    out.end();
}

/// XAPI waits before it looks, so that changes come in batches, and again after each wake-up.
struct Batching {
    next: Duration,
    longest: Duration,
}

impl Batching {
    fn new(longest: Duration) -> Self {
        Self { next: longest / 16, longest }
    }

    fn next(&mut self) -> Duration {
        self.next = (self.next * 2).min(self.longest);
        self.next
    }
}

/// Answers `event.from`: waits until something wanted has changed, or until the timeout.
pub(crate) async fn from(
    state: &Arc<State>,
    (reference, session): (&str, &Session),
    classes: &[String],
    token: &str,
    timeout: f64,
    form: Form,
) -> Result<Body, Failure> {
    let parsed = Token::parse(token)
        .ok_or_else(|| Failure::new("EVENT_FROM_TOKEN_PARSE_FAILURE", [token]))?;
    let wanted: Arc<[_]> = classes.iter().map(|class| Subscription::parse(class)).collect();
    let timeout = Duration::try_from_secs_f64(timeout).unwrap_or(LONGEST).min(LONGEST);
    let deadline = state.clock.elapsed() + timeout;
    let ended = || Failure::new("SESSION_INVALID", [reference]);
    let batching = state.settings.batching;
    if !wanted.iter().all(Subscription::is_of_tasks) {
        tokio::select! {
            () = state.clock.sleep(batching) => {}
            () = session.ended.cancelled() => return Err(ended()),
        }
    }
    let mut batching = Batching::new(batching);
    let mut since = parsed;
    let mut changed = state.changed.subscribe();
    loop {
        changed.mark_unchanged();
        let expired = state.clock.elapsed() >= deadline;
        let body = look(state, since, &wanted, expired, form.clone()).await;
        match body {
            Ok(body) => return Ok(body),
            // Nothing wanted has changed up to here.
            Err(seen) => since = seen,
        }
        tokio::select! {
            biased;
            () = session.ended.cancelled() => return Err(ended()),
            // The sender lives as long as the state.
            _ = changed.changed() => {}
            () = state.clock.until(deadline) => continue,
        }
        tokio::select! {
            () = state.clock.sleep(batching.next()) => {}
            () = session.ended.cancelled() => return Err(ended()),
        }
    }
}

/// The reply, or up to where there was nothing to tell.
async fn look(
    state: &Arc<State>,
    since: Token,
    wanted: &Arc<[Subscription]>,
    expired: bool,
    form: Form,
) -> Result<Body, Token> {
    let large = state.db.read().generation().saturating_sub(since.generation) > 500;
    let wanted = Arc::clone(wanted);
    on_large_reply(large, state, move |state| {
        let db = state.db.read();
        let changes = Changes::since(&db, since, &wanted);
        if changes.is_empty() && !expired {
            return Err(changes.last);
        }
        Ok(Output::success(form, |out| changes.write(&db, out)))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Value;

    fn class(name: &str) -> &'static Class {
        datamodel().class(name).expect("a class")
    }

    fn seen(db: &Database, since: u64, wanted: &str) -> Vec<String> {
        let changes = Changes::since(db, Token::at(since), &[Subscription::parse(wanted)]);
        let name = |what: &str, reference: &str| format!("{what} {reference}");
        let mut seen: Vec<_> =
            changes.added.iter().map(|(_, o)| name("add", o.reference())).collect();
        seen.extend(changes.modified.iter().map(|(_, o)| name("mod", o.reference())));
        seen.extend(changes.deleted.iter().map(|(_, d)| name("del", &d.reference)));
        seen
    }

    #[test]
    fn states_between_two_looks_are_merged() {
        let mut db = Database::default();
        let (vm, task) = (class("VM"), class("task"));
        let label = vm.field_index("name_label").expect("a field");
        for name in ["v1", "v2", "v3"] {
            db.create(vm, name.into(), format!("u-{name}").into(), []);
        }
        assert_eq!(seen(&db, 0, "*"), ["add v1", "add v2", "add v3"]);
        let since = db.generation() - 1;
        assert!(seen(&db, since, "*").is_empty());
        for text in ["a", "b"] {
            db.set(vm, "v2", label, Value::text(text)).expect("a write");
        }
        db.create(vm, "v4".into(), "u-v4".into(), []);
        db.set(vm, "v4", label, Value::text("c")).expect("a write");
        db.create(vm, "v5".into(), "u-v5".into(), []);
        db.destroy(vm, "v5").expect("a write");
        db.set(vm, "v1", label, Value::text("gone soon")).expect("a write");
        db.destroy(vm, "v1").expect("a write");
        db.create(task, "t1".into(), "u-t1".into(), []);
        assert_eq!(seen(&db, since, "*"), ["add t1", "add v4", "mod v2", "del v1"]);
        assert_eq!(seen(&db, since, "vm"), ["add v4", "mod v2", "del v1"]);
        assert_eq!(seen(&db, since, "VM/v2"), ["mod v2"]);
        assert!(seen(&db, since, "host").is_empty());
        assert_eq!(seen(&db, 0, "*"), ["add t1", "add v2", "add v3", "add v4"]);
    }

    #[test]
    fn messages_are_counted_apart() {
        let mut db = Database::default();
        let message = class("message");
        for name in ["m2", "m1"] {
            db.create(message, name.into(), format!("u-{name}").into(), []);
        }
        let all = [Subscription::All];
        let first = Changes::since(&db, Token::default(), &all);
        let refs: Vec<_> = first.messages.iter().map(|m| m.reference().to_string()).collect();
        assert_eq!(refs, ["m2", "m1"]);
        assert_eq!(first.last, Token { generation: 0, message: 2 });
        let last = first.last;
        assert!(Changes::since(&db, last, &all).is_empty());
        db.destroy(message, "m2").expect("a write");
        let gone = Changes::since(&db, last, &all);
        assert_eq!((gone.messages.len(), gone.messages_gone.len()), (0, 1));
        assert_eq!(gone.last.message, 3);
        assert!(Changes::since(&db, last, &[Subscription::parse("vm")]).is_empty());
    }

    #[test]
    fn batches_grow() {
        let mut batching = Batching::new(Duration::from_millis(48));
        let delays: Vec<_> = (0..6).map(|_| batching.next().as_millis()).collect();
        assert_eq!(delays, [6, 12, 24, 48, 48, 48]);
    }
}
