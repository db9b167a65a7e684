//! In which order a client wants objects.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::cost::{Cost, Population, Pricing, reading};
use super::error::{QueryError, Wrong, echo};
use super::json;
use super::parse::paths;
use super::path::Path;
use super::test::bare;
use crate::inventory::{Object, Snapshot};
use xenapi_model::{Class, ClassId, Type, datamodel};

/// How many keys an order has at most.
const MOST_KEYS: usize = 8;

/// An order: `-memory_static_max,name_label`. Values compare by their types, texts by their
/// characters; what has no value comes last, whichever the direction.
#[derive(Debug, Clone)]
pub struct Order {
    keys: Box<[Key]>,
    follows: Box<[ClassId]>,
}

#[derive(Debug, Clone)]
struct Key {
    path: Path,
    kind: Kind,
    descending: bool,
    /// As its author has it, without the minus.
    written: Box<str>,
}

/// How values compare.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Int,
    Float,
    Bool,
    Date,
    Text,
}

/// A value to compare by.
#[derive(Debug)]
enum Sorted<'a> {
    Int(i64),
    Float(f64),
    Bool(bool),
    Text(Cow<'a, str>),
}

impl Order {
    /// Reads an order of objects of this class.
    pub fn parse(text: &str, class: &'static Class) -> Result<Self, QueryError> {
        Self::read(text, class).map_err(|wrong| wrong.within(text))
    }

    fn read(text: &str, class: &'static Class) -> Result<Self, Wrong> {
        let (mut keys, mut follows) = (Vec::new(), Vec::new());
        for (descending, parts) in paths(text)? {
            let path = Path::new(&parts, class)?;
            let last = parts.last().map_or((0, ""), |part| (part.at.0, part.text.as_str()));
            if keys.len() == MOST_KEYS {
                return Err(
                    Wrong::new(last.0, "too many keys").expected(format!("{MOST_KEYS} at most"))
                );
            }
            let kind = kind(path.ty).filter(|_| !path.is_many()).ok_or_else(|| {
                let what = match path.is_many() {
                    true => format!("there are several {}", echo(last.1)),
                    false => format!(
                        "{} is of type {}, which has no order",
                        echo(last.1),
                        path.ty.notation(datamodel())
                    ),
                };
                Wrong::new(last.0, what).expected("a field with one value, not a set or a map")
            })?;
            follows.extend(path.classes());
            let written: Vec<&str> = parts.iter().map(|part| part.text.as_str()).collect();
            let written = written.join(".").into();
            keys.push(Key { path, kind, descending, written });
        }
        follows.sort_unstable();
        follows.dedup();
        Ok(Self { keys: keys.into(), follows: follows.into() })
    }

    /// The classes whose objects it looks into, beside those it sorts.
    pub fn classes(&self) -> &[ClassId] {
        &self.follows
    }

    /// What it costs to sort these objects.
    pub fn cost(&self, pricing: &mut Pricing<'_>, asked: &Population<'_>) -> Cost {
        let compared = u64::from(asked.count().checked_ilog2().unwrap_or(0)) + 1;
        let keys = self.keys.iter().map(|key| {
            // A value is read once, and compared as often as it takes.
            let each = key.path.cost(pricing, asked, |bytes| 4 + compared + reading(bytes));
            let cheaper = key.path.cheaper().unwrap_or("fewer keys, or a filter, cost less");
            Cost::of(each, || format!("the key {}", echo(&key.written)), cheaper)
        });
        keys.fold(Cost::default(), Cost::and)
    }

    /// Sorts objects, each with the snapshot that its refs lead into. Those that are equal stay as
    /// they stand.
    pub fn sort<T>(&self, objects: Vec<T>, of: impl Fn(&T) -> (&Snapshot, &Object)) -> Vec<T> {
        let order = {
            let mut keyed: Vec<(usize, Box<[Option<Sorted<'_>>]>)> = objects
                .iter()
                .map(|object| {
                    let (snapshot, object) = of(object);
                    self.keys.iter().map(|key| key.sorted(snapshot, object)).collect()
                })
                .enumerate()
                .collect();
            keyed.sort_by(|(_, one), (_, other)| self.compare(one, other));
            keyed.into_iter().map(|(place, _)| place).collect::<Vec<_>>()
        };
        let mut objects: Vec<Option<T>> = objects.into_iter().map(Some).collect();
        order.into_iter().filter_map(|place| objects[place].take()).collect()
    }

    fn compare(&self, one: &[Option<Sorted<'_>>], other: &[Option<Sorted<'_>>]) -> Ordering {
        let pairs = self.keys.iter().zip(one.iter().zip(other));
        pairs.fold(Ordering::Equal, |so_far, (key, (one, other))| {
            so_far.then_with(|| match (one, other) {
                (None, None) => Ordering::Equal,
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
                (Some(one), Some(other)) if key.descending => other.compare(one),
                (Some(one), Some(other)) => one.compare(other),
            })
        })
    }
}

impl Key {
    fn sorted<'a>(&self, snapshot: &'a Snapshot, object: &'a Object) -> Option<Sorted<'a>> {
        let json = self.path.value(snapshot, object)?;
        match self.kind {
            Kind::Int => json::int(json).map(Sorted::Int),
            Kind::Float => json::float(json).map(Sorted::Float),
            Kind::Bool => Some(Sorted::Bool(json == b"true")),
            Kind::Text => json::text(json).map(Sorted::Text),
            Kind::Date => json::text(json).map(|date| {
                Sorted::Text(match date {
                    Cow::Borrowed(date) => Cow::Borrowed(bare(date)),
                    Cow::Owned(date) => Cow::Owned(bare(&date).to_owned()),
                })
            }),
        }
    }
}

impl Sorted<'_> {
    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int(one), Self::Int(other)) => one.cmp(other),
            (Self::Float(one), Self::Float(other)) => one.total_cmp(other),
            (Self::Bool(one), Self::Bool(other)) => one.cmp(other),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            // Values of one key are of one kind.
            _ => Ordering::Equal,
        }
    }
}

fn kind(ty: &Type) -> Option<Kind> {
    Some(match ty {
        Type::Int => Kind::Int,
        Type::Float => Kind::Float,
        Type::Bool => Kind::Bool,
        Type::DateTime => Kind::Date,
        Type::String | Type::Secret | Type::Enum(_) | Type::Ref(_) => Kind::Text,
        Type::Set(_) | Type::Map(..) | Type::Record(_) | Type::Option(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{class, snapshot};
    use super::*;

    #[track_caller]
    fn sorted(pool: &Snapshot, text: &str) -> Vec<u128> {
        let order =
            Order::parse(text, class("VM")).unwrap_or_else(|error| panic!("{text}: {error}"));
        let vms: Vec<_> = pool.class(class("VM").id).iter().collect();
        let vms = order.sort(vms, |vm| (pool, vm));
        vms.iter().map(|vm| vm.uuid().as_u128()).collect()
    }

    #[test]
    fn values_compare_by_type_and_those_without_come_last() {
        let pool = snapshot(&[
            ("VM", 1, r#""name_label":"b","domid":"9","resident_on":"OpaqueRef:host/31""#),
            (
                "VM",
                2,
                r#""name_label":"a","domid":"10","is_a_template":true,"other_config":{"n":"2"}"#,
            ),
            ("VM", 3, r#""name_label":"a","is_a_template":false,"other_config":{"n":"1"}"#),
            ("VM", 4, r#""name_label":"B","domid":"-1","start_time":"20260101T00:00:00Z""#),
            ("host", 31, r#""name_label":"h""#),
        ]);
        for (text, want) in [
            ("domid", [4, 1, 2, 3]),
            ("-domid", [2, 1, 4, 3]),
            ("name_label", [4, 2, 3, 1]),
            ("name_label,-domid", [4, 2, 3, 1]),
            ("name_label , domid", [4, 2, 3, 1]),
            ("-name_label,-uuid", [1, 3, 2, 4]),
            ("is_a_template", [3, 2, 1, 4]),
            ("-is_a_template", [2, 3, 1, 4]),
            ("other_config.n", [3, 2, 1, 4]),
            ("other_config.\"n\",uuid", [3, 2, 1, 4]),
            ("resident_on.name_label,-domid", [1, 2, 4, 3]),
            ("-resident_on", [1, 2, 3, 4]),
            ("backend,-uuid", [4, 3, 2, 1]),
        ] {
            assert_eq!(sorted(&pool, text), want, "{text}");
        }
    }

    #[test]
    fn what_has_no_order_is_refused() {
        for (text, column, part) in [
            ("", 1, "a field"),
            ("tags", 1, "no order"),
            ("name_label,-other_config", 13, "no order"),
            ("VBDs.mode", 6, "several"),
            ("nme_label", 1, "name_label"),
            ("name_label;uuid", 11, "a comma"),
            ("--uuid", 2, "has no field \"-uuid\""),
            ("uuid,", 6, "a field"),
            ("uuid,uuid,uuid,uuid,uuid,uuid,uuid,uuid,uuid", 41, "8 at most"),
        ] {
            let error = Order::parse(text, class("VM")).expect_err(text);
            assert_eq!(error.column, column, "{text}: {error}");
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
    }
}
