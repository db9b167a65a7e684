//! A believable pool: hosts, storage, networks and so many VMs, the same for the same seed.

mod hosts;
mod people;
mod storage;
mod vms;

use super::clock::Clock;
use super::database::{Database, Text, Value};
use super::edit::Edit;
use super::identifiers::Identifiers;
use super::operations::refresh_everything;
use super::sessions::User;
pub(crate) use hosts::consoles;
pub(crate) use vms::guest;

const GIB: i64 = 1 << 30;

/// One host for about a hundred VMs, as many as XAPI supports in a pool at ease.
pub(crate) fn hosts_for(vms: usize) -> usize {
    vms.div_ceil(100).clamp(1, 16)
}

/// Fills a database with a pool of so many VMs, templates and control domains not counted,
/// with a host at each address.
pub(crate) fn populate(
    db: &mut Database,
    identifiers: &Identifiers,
    clock: &Clock,
    users: &[User],
    vms: usize,
    addresses: &[String],
) {
    let mut edit = Edit { db, identifiers, clock };
    let networks = hosts::networks(&mut edit, vms);
    let hosts = hosts::hosts(&mut edit, addresses, &networks);
    let storage = storage::storage(&mut edit, &hosts, vms);
    hosts::pool(&mut edit, &hosts, &storage);
    people::people(&mut edit, users);
    vms::templates(&mut edit);
    vms::vms(&mut edit, vms, &hosts, &networks, &storage);
    refresh_everything(&mut edit);
}

fn text(text: impl Into<Text>) -> Value {
    Value::text(text)
}

fn reference(reference: &Text) -> Value {
    Value::Text(reference.clone())
}

fn no_pairs() -> Value {
    Value::Map(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Time;
    use crate::database::{NULL, Table};
    use xenapi_model::{Class, Type, datamodel};

    fn field(class: &Class, name: &str) -> usize {
        class.field_index(name).expect("a field")
    }

    fn pool(seed: u64, vms: usize) -> Database {
        let mut db = Database::default();
        let users = [User::superuser("root", "x"), User::with_role("reader", "x", "read-only")];
        let clock = Clock::new(Time::Held);
        let addresses: Vec<_> = (0..hosts_for(vms)).map(|n| format!("192.0.2.{n}")).collect();
        populate(&mut db, &Identifiers::new(seed), &clock, &users, vms, &addresses);
        db
    }

    fn objects(db: &Database) -> usize {
        let tables = datamodel().classes.iter().map(|class| db.table(class.id));
        tables.filter(|table| !table.is_built_in()).map(Table::len).sum()
    }

    fn check(value: &Value, ty: &Type, db: &Database, place: &str) {
        match (ty, value) {
            (Type::String | Type::Secret, Value::Text(_))
            | (Type::Int, Value::Int(_))
            | (Type::Float, Value::Float(_))
            | (Type::Bool, Value::Bool(_))
            | (Type::DateTime, Value::DateTime(_)) => {}
            (Type::Enum(id), Value::Text(text)) => {
                let known = datamodel().enumeration(*id);
                let found = known.values.iter().any(|known| **known == **text);
                assert!(found, "{place}: {text} is no {}", known.name);
            }
            (Type::Ref(class), Value::Text(reference)) => {
                let found = &**reference == NULL || db.table(*class).get(reference).is_some();
                assert!(found, "{place}: {reference} names nothing");
            }
            (Type::Set(of), Value::Set(items)) => {
                items.iter().for_each(|item| check(item, of, db, place));
            }
            (Type::Map(key, of), Value::Map(pairs)) => pairs.iter().for_each(|(k, v)| {
                check(k, key, db, place);
                check(v, of, db, place);
            }),
            _ => panic!("{place}: {value:?} does not fit {ty:?}"),
        }
    }

    #[test]
    fn every_field_holds_what_the_datamodel_says() {
        let db = pool(1, 120);
        for class in &datamodel().classes {
            for object in db.table(class.id).iter() {
                for (field, value) in class.fields.iter().zip(object.fields()) {
                    check(value, &field.ty, &db, &format!("{}.{}", class.name, field.name));
                }
            }
        }
    }

    #[test]
    fn proportions_are_those_of_a_real_pool() {
        let db = pool(1, 1000);
        let per_vm = objects(&db) as f64 / 1000.0;
        assert!((8.3..9.5).contains(&per_vm), "{per_vm} objects for each VM");
        let vm = datamodel().class("VM").expect("VM");
        let (template, control, snapshot, power_state) = (
            field(vm, "is_a_template"),
            field(vm, "is_control_domain"),
            field(vm, "is_a_snapshot"),
            field(vm, "power_state"),
        );
        let truth = |on: bool| Value::Bool(on);
        let plain = db.table(vm.id).iter().filter(|vm| {
            let fields = vm.fields();
            [template, control, snapshot].iter().all(|field| fields[*field] == truth(false))
        });
        let states: Vec<_> = plain.map(|vm| vm.fields()[power_state].clone()).collect();
        assert_eq!(states.len(), 1000);
        let running = states.iter().filter(|state| **state == text("Running")).count();
        assert!((400..600).contains(&running), "{running} of 1000 run");
    }

    #[test]
    fn one_seed_makes_one_pool() {
        let refs = |db: &Database| {
            let vm = datamodel().class("VM").expect("VM");
            db.table(vm.id).iter().map(|vm| vm.reference().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(refs(&pool(3, 10)), refs(&pool(3, 10)));
        assert_ne!(refs(&pool(3, 10)), refs(&pool(4, 10)));
    }
}
