//! With which other objects a client wants objects.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use foldhash::HashSet;
use uuid::Uuid;

use super::cost::{Cost, Population, Pricing, REF, length, refs};
use super::error::{QueryError, Wrong, echo};
use super::json;
use super::parse::paths;
use super::path::field;
use super::syntax::Part;
use crate::inventory::record::Slot;
use crate::inventory::{Object, Snapshot, is_mirrored};
use xenapi_model::{Class, ClassId, Type, datamodel};

/// How many refs a path follows at most.
const DEEPEST: usize = 4;
/// How many refs all paths follow at most, those that they share counted once.
const MOST_REFS: usize = 32;
/// How many objects come along at most.
pub const MOST_OBJECTS: usize = 10_000;
/// How many bytes of JSON those have at most.
pub const MOST_BYTES: usize = 16 << 20;

/// Refs to follow: `VBDs.VDI,resident_on`.
#[derive(Debug, Clone)]
pub struct Expand {
    text: Box<str>,
    branches: Vec<Branch>,
    follows: Box<[ClassId]>,
}

/// A field of refs, and what to follow from the objects it leads to.
#[derive(Debug, Clone)]
struct Branch {
    name: Box<str>,
    /// Among all branches.
    number: usize,
    slot: Slot,
    target: ClassId,
    branches: Vec<Branch>,
}

/// More objects would come along than may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "more than {MOST_OBJECTS} objects or {} MiB would come along: follow fewer refs, or take smaller pages with limit",
    MOST_BYTES >> 20
)]
pub struct TooCostly;

/// What has been gone through of one backend's objects, by the branch it was reached by.
#[derive(Debug, Default)]
pub struct Seen(HashSet<(usize, Uuid)>);

/// Objects by class and uuid.
type ByClass = BTreeMap<ClassId, BTreeMap<Uuid, Arc<Object>>>;

/// What has come along, each object once.
#[derive(Debug, Default)]
pub struct Expanded {
    by_backend: BTreeMap<Arc<str>, ByClass>,
    objects: usize,
    bytes: usize,
}

impl Expand {
    /// Reads which refs to follow from objects of this class.
    pub fn parse(text: &str, class: &'static Class) -> Result<Self, QueryError> {
        Self::read(text, class).map_err(|wrong| wrong.within(text))
    }

    fn read(text: &str, class: &'static Class) -> Result<Self, Wrong> {
        let mut root = Vec::new();
        let mut count = 0;
        for (minus, parts) in paths(text)? {
            let start = parts.first().map_or(0, |part| part.at.0);
            if minus {
                return Err(Wrong::new(start - 1, "\"-\"").expected("a field"));
            }
            if let Some(part) = parts.get(DEEPEST) {
                return Err(Wrong::new(part.at.0, "too many refs to follow")
                    .expected(format!("{DEEPEST} at most")));
            }
            let (mut class, mut branches) = (class, &mut root);
            for part in &parts {
                let (slot, target) = leads_to(class, part)?;
                let place =
                    match branches.iter().position(|known: &Branch| *known.name == part.text) {
                        Some(place) => place,
                        None if count == MOST_REFS => {
                            return Err(Wrong::new(part.at.0, "too many refs to follow in all")
                                .expected(format!("{MOST_REFS} at most")));
                        }
                        None => {
                            let name = part.text.as_str().into();
                            branches.push(Branch {
                                name,
                                number: count,
                                slot,
                                target: target.id,
                                branches: Vec::new(),
                            });
                            count += 1;
                            branches.len() - 1
                        }
                    };
                branches = &mut branches[place].branches;
                class = target;
            }
        }
        let mut follows = Vec::new();
        classes(&root, &mut follows);
        follows.sort_unstable();
        follows.dedup();
        Ok(Self { text: text.into(), branches: root, follows: follows.into() })
    }

    /// The classes of the objects that come along.
    pub fn classes(&self) -> &[ClassId] {
        &self.follows
    }

    /// What it costs to find what comes along with so many of these objects. Where each of them has
    /// its own (`each`), what comes along with several is found for each of them.
    pub fn cost(
        &self,
        pricing: &mut Pricing<'_>,
        asked: &Population<'_>,
        count: u64,
        each: bool,
    ) -> Cost {
        let refs_of = |branch: &Branch| asked.sum(|object| refs_in(length(object, branch.slot)));
        let roots: Vec<u64> = self.branches.iter().map(refs_of).collect();
        let share = |all: u64| {
            let (all, count) = (u128::from(all), u128::from(count.min(asked.count())));
            u64::try_from(all * count / u128::from(asked.count().max(1))).unwrap_or(u64::MAX)
        };
        let branches = self.branches.iter().zip(roots);
        branches
            .map(|(branch, refs)| branch.cost(pricing, share(refs), each))
            .fold(Cost::default(), Cost::and)
    }

    /// Adds what comes along with these objects of one backend.
    pub fn collect<'a>(
        &self,
        snapshot: &Snapshot,
        objects: impl IntoIterator<Item = &'a Object>,
        expanded: &mut Expanded,
    ) -> Result<(), TooCostly> {
        let mut seen = Seen::default();
        for object in objects {
            self.collect_beside(snapshot, object, &mut seen, expanded)?;
        }
        Ok(())
    }

    /// The same of one object, where others of its backend have been `seen` before.
    pub fn collect_beside(
        &self,
        snapshot: &Snapshot,
        object: &Object,
        seen: &mut Seen,
        expanded: &mut Expanded,
    ) -> Result<(), TooCostly> {
        follow(&self.branches, snapshot, object, &mut seen.0, expanded)
    }
}

impl Branch {
    /// What it costs to follow so many refs, and what is behind them.
    fn cost(&self, pricing: &mut Pricing<'_>, refs: u64, each: bool) -> Cost {
        let there = pricing.count(self.target);
        // An object that was met is not gone through again.
        let met = if each { refs } else { refs.min(there) };
        let what = || format!("expanding {}", echo(&self.name));
        let own = Cost::of(
            refs.saturating_mul(REF),
            what,
            "smaller pages (limit), or fewer refs to follow, cost less",
        );
        self.branches.iter().fold(own, |cost, branch| {
            let bytes = pricing.length(self.target, branch.slot);
            let refs = met.saturating_mul(refs_in(bytes).max(1));
            cost.and(branch.cost(pricing, refs, each))
        })
    }
}

/// How many refs stand in so many bytes: one, or those of a set.
fn refs_in(bytes: u64) -> u64 {
    if bytes < 10 { 0 } else { refs(bytes).max(1) }
}

/// As it was written.
impl fmt::Display for Expand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Follows refs from one object. An object that is reached by the same branch again is not gone
/// through again, so that loops end.
fn follow(
    branches: &[Branch],
    snapshot: &Snapshot,
    object: &Object,
    seen: &mut HashSet<(usize, Uuid)>,
    expanded: &mut Expanded,
) -> Result<(), TooCostly> {
    for branch in branches {
        let Some(json) = object.record().value(branch.slot) else { continue };
        let mut each = |text: &[u8]| {
            let uuid = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\""));
            let Some(uuid) = uuid.and_then(|uuid| Uuid::try_parse_ascii(uuid).ok()) else {
                return Ok(());
            };
            let Some(target) = snapshot.object(branch.target, &uuid) else { return Ok(()) };
            if !seen.insert((branch.number, uuid)) {
                return Ok(());
            }
            expanded.add(target)?;
            follow(&branch.branches, snapshot, target, seen, expanded)
        };
        match json.first() {
            Some(b'[') => json::elements(json).try_for_each(&mut each)?,
            Some(b'{') => json::elements_of_map(json).try_for_each(&mut each)?,
            _ => each(json)?,
        }
    }
    Ok(())
}

fn classes(branches: &[Branch], out: &mut Vec<ClassId>) {
    for branch in branches {
        out.push(branch.target);
        classes(&branch.branches, out);
    }
}

/// A field that holds refs, and the class they lead to.
fn leads_to(class: &'static Class, part: &Part) -> Result<(Slot, &'static Class), Wrong> {
    let (slot, ty) = field(class, part)?;
    let target = match ty {
        Type::Ref(target) => Some(*target),
        Type::Set(element) | Type::Map(_, element) => match **element {
            Type::Ref(target) => Some(target),
            _ => None,
        },
        _ => None,
    };
    let target = target.ok_or_else(|| {
        let what = format!("{} is of type {}", echo(&part.text), ty.notation(datamodel()));
        Wrong::new(part.at.0, what).expected("a field that holds refs")
    })?;
    let target = datamodel().get(target);
    if !is_mirrored(target) {
        let what = format!(
            "objects of class {} do not come along: the mirror does not keep them",
            target.name
        );
        return Err(Wrong::new(part.at.0, what));
    }
    Ok((slot, target))
}

impl Expanded {
    fn add(&mut self, object: &Arc<Object>) -> Result<(), TooCostly> {
        let backend = object.backend();
        let of_backend = match self.by_backend.get_mut(backend) {
            Some(classes) => classes,
            None => self.by_backend.entry(backend.into()).or_default(),
        };
        let of_class = of_backend.entry(object.class().id).or_default();
        if of_class.insert(object.uuid(), object.clone()).is_none() {
            self.objects += 1;
            self.bytes += object.record().json().len();
        }
        if self.objects > MOST_OBJECTS || self.bytes > MOST_BYTES {
            return Err(TooCostly);
        }
        Ok(())
    }

    /// How many objects and bytes have come along.
    pub fn size(&self) -> (usize, usize) {
        (self.objects, self.bytes)
    }

    /// Writes them as JSON: `{"backend":{"class":{"uuid":record}}}`.
    pub fn write(&self, out: &mut Vec<u8>) {
        object(out, &self.by_backend, |out, backend, classes| {
            // The name of a backend has no character that JSON would escape; config sees to it.
            out.extend_from_slice(backend.as_bytes());
            out.extend_from_slice(b"\":");
            object(out, classes, |out, class, objects| {
                out.extend_from_slice(datamodel().get(*class).name.as_bytes());
                out.extend_from_slice(b"\":");
                object(out, objects, |out, uuid, known| {
                    let mut buffer = Uuid::encode_buffer();
                    out.extend_from_slice(uuid.hyphenated().encode_lower(&mut buffer).as_bytes());
                    out.extend_from_slice(b"\":");
                    out.extend_from_slice(known.record().json());
                });
            });
        });
    }
}

/// Writes a JSON object; `member` writes what follows the quote that opens a member.
fn object<K, V>(
    out: &mut Vec<u8>,
    members: &BTreeMap<K, V>,
    member: impl Fn(&mut Vec<u8>, &K, &V),
) {
    out.push(b'{');
    for (place, (key, value)) in members.iter().enumerate() {
        out.extend_from_slice(if place > 0 { b",\"" } else { b"\"" });
        member(out, key, value);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::testing::{class, snapshot};
    use super::*;

    fn expanded(pool: &Snapshot, of: &str, text: &str) -> Value {
        let expand =
            Expand::parse(text, class(of)).unwrap_or_else(|error| panic!("{text}: {error}"));
        let mut expanded = Expanded::default();
        let objects = pool.class(class(of).id).iter().map(|object| &**object);
        expand.collect(pool, objects, &mut expanded).expect("few");
        let mut out = Vec::new();
        expanded.write(&mut out);
        let value: Value = serde_json::from_slice(&out).expect("JSON");
        let count = value["lab"].as_object().into_iter().flatten();
        let count: usize = count.map(|(_, of)| of.as_object().map_or(0, |of| of.len())).sum();
        assert_eq!(expanded.size().0, count);
        value
    }

    fn keys(value: &Value) -> Vec<&str> {
        value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect()
    }

    #[test]
    fn refs_are_followed_and_each_object_comes_once() {
        let pool = snapshot(&[
            (
                "VM",
                1,
                r#""VBDs":["OpaqueRef:VBD/21","OpaqueRef:VBD/22"],"resident_on":"OpaqueRef:host/31""#,
            ),
            (
                "VM",
                2,
                r#""VBDs":[],"resident_on":"OpaqueRef:host/31","blobs":{"a":"OpaqueRef:blob/5"}"#,
            ),
            ("VBD", 21, r#""VM":"OpaqueRef:VM/1","VDI":"OpaqueRef:VDI/41""#),
            ("VBD", 22, r#""VM":"OpaqueRef:VM/1","VDI":"OpaqueRef:NULL""#),
            ("VDI", 41, r#""VBDs":["OpaqueRef:VBD/21"]"#),
            ("host", 31, r#""resident_VMs":["OpaqueRef:VM/1","OpaqueRef:VM/2"]"#),
            ("blob", 5, r#""name_label":"b""#),
        ]);
        let all = expanded(&pool, "VM", "VBDs.VDI,resident_on,blobs");
        assert_eq!(keys(&all), ["lab"]);
        let mut classes = keys(&all["lab"]);
        classes.sort_unstable();
        assert_eq!(classes, ["VBD", "VDI", "blob", "host"]);
        assert_eq!(keys(&all["lab"]["VBD"]).len(), 2);
        let vdi = &all["lab"]["VDI"]["00000000-0000-0000-0000-000000000029"];
        assert_eq!(vdi["VBDs"][0], "00000000-0000-0000-0000-000000000015");
        // Round and round.
        let all = expanded(&pool, "VM", "VBDs.VM.VBDs.VM,resident_on.resident_VMs.resident_on");
        assert_eq!(keys(&all["lab"]["VM"]).len(), 2);
        assert_eq!(expanded(&pool, "VM", "affinity"), serde_json::json!({}));
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        for (text, column, part) in [
            ("", 1, "a field"),
            ("name_label", 1, "holds refs"),
            ("VBDs.VDI.x", 10, "no field"),
            ("-VBDs", 1, "a field"),
            ("VBDs.VM.VBDs.VM.VBDs", 17, "4 at most"),
            ("current_operations", 1, "holds refs"),
        ] {
            let error = Expand::parse(text, class("VM")).expect_err(text);
            assert_eq!(error.column, column, "{text}: {error}");
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
        assert!(Expand::parse("roles", class("subject")).is_err(), "roles are not mirrored");
        let fields = class("VM").fields.iter().filter(|field| field.ty.holds_refs());
        let followed = fields.filter(|field| field.name != "children");
        let twice: Vec<String> = followed
            .flat_map(|field| [field.name.clone(), format!("children.{}", field.name)])
            .filter(|path| Expand::parse(path, class("VM")).is_ok())
            .collect();
        assert!(twice.len() > 32, "{twice:?}");
        let error = Expand::parse(&twice.join(","), class("VM")).expect_err("too many");
        assert!(error.to_string().contains("32 at most"), "{error}");
    }

    #[test]
    fn what_costs_too_much_is_refused() {
        let note = "x".repeat(2 << 20);
        let vdi = format!(r#""name_description":"{note}""#);
        let vdis: Vec<String> =
            (100..109).map(|number| format!("\"OpaqueRef:VDI/{number}\"")).collect();
        let sr = format!(r#""VDIs":[{}]"#, vdis.join(","));
        let mut objects = vec![("SR", 1, sr.as_str())];
        objects.extend((100..109).map(|number| ("VDI", number, vdi.as_str())));
        let pool = snapshot(&objects);
        let expand = Expand::parse("VDIs", class("SR")).expect("good");
        let objects = pool.class(class("SR").id).iter().map(|object| &**object);
        assert_eq!(expand.collect(&pool, objects, &mut Expanded::default()), Err(TooCostly));
    }
}
