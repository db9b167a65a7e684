//! Where a value of an object is found: in a field, under a key of a map, or in another object that
//! a ref leads to.

use uuid::Uuid;

use super::cost::{Population, Pricing, REF, length, reading, refs};
use super::error::{Wrong, echo, nearest};
use super::json;
use super::syntax::Part;
use crate::inventory::record::{Record, Slot};
use crate::inventory::{Object, Snapshot, is_mirrored};
use xenapi_model::{Class, ClassId, Type, datamodel, is_secret_field};

/// How many refs a path follows at most.
const MOST_STEPS: usize = 4;

/// The type of `backend`, which every object has and no class.
static BACKEND: Type = Type::String;

/// A way to a value.
#[derive(Debug, Clone)]
pub(super) struct Path {
    /// Refs to follow.
    steps: Box<[Step]>,
    /// The first step is a set of refs: there is a value for each.
    many: bool,
    place: Place,
    /// The value's type.
    pub(super) ty: &'static Type,
}

#[derive(Debug, Clone)]
struct Step {
    place: Place,
    target: ClassId,
}

/// A place in a record.
#[derive(Debug, Clone)]
struct Place {
    slot: Slot,
    key: Option<Box<str>>,
}

impl Path {
    /// Finds the way that `parts` name, from an object of this class.
    pub(super) fn new(parts: &[Part], class: &'static Class) -> Result<Self, Wrong> {
        let Some((first, rest)) = parts.split_first() else {
            return Err(Wrong::new(0, "no field"));
        };
        let (slot, mut ty) = field(class, first)?;
        let mut place = Place { slot, key: None };
        let (mut steps, mut many) = (Vec::new(), false);
        for (before, part) in parts.iter().zip(rest) {
            if let Type::Map(_, value) = ty
                && place.key.is_none()
            {
                place.key = Some(part.text.as_str().into());
                ty = without_option(value);
                continue;
            }
            let target = match ty {
                Type::Ref(target) => *target,
                Type::Set(element) => match **element {
                    Type::Ref(target) if steps.is_empty() && place.key.is_none() => {
                        many = true;
                        target
                    }
                    // Sets on the way would multiply.
                    Type::Ref(_) => {
                        return Err(Wrong::new(
                            part.at.0,
                            format!("{} is a set of refs on the way", echo(&before.text)),
                        )
                        .expected("sets of refs to be followed only at the start of a path"));
                    }
                    _ => return Err(leads_nowhere(before, part, ty)),
                },
                _ => return Err(leads_nowhere(before, part, ty)),
            };
            let class = datamodel().get(target);
            if !is_mirrored(class) {
                return Err(Wrong::new(
                    part.at.0,
                    format!(
                        "objects of class {} are not followed: the mirror does not keep them",
                        class.name
                    ),
                ));
            }
            if steps.len() == MOST_STEPS {
                return Err(Wrong::new(part.at.0, "too many refs to follow")
                    .expected(format!("{MOST_STEPS} at most")));
            }
            let (slot, next_ty) = field(class, part)?;
            let next = Place { slot, key: None };
            steps.push(Step { place: std::mem::replace(&mut place, next), target });
            ty = next_ty;
        }
        Ok(Self { steps: steps.into(), many, place, ty })
    }

    /// The classes that it leads through.
    pub(super) fn classes(&self) -> impl Iterator<Item = ClassId> {
        self.steps.iter().map(|step| step.target)
    }

    /// What it takes to get to each value of these objects and to ask it.
    pub(super) fn cost(
        &self,
        pricing: &mut Pricing<'_>,
        asked: &Population<'_>,
        check: impl Fn(u64) -> u64,
    ) -> u64 {
        let key = |place: &Place, bytes| place.key.as_ref().map_or(0, |_| reading(bytes));
        let Some((first, more)) = self.steps.split_first() else {
            return asked.sum(|object| {
                let bytes = length(object, self.place.slot);
                1 + key(&self.place, bytes) + check(bytes)
            });
        };
        // What one ref leads to.
        let mut behind = REF;
        let mut class = first.target;
        for step in more {
            let bytes = pricing.length(class, step.place.slot);
            behind += REF + key(&step.place, bytes);
            class = step.target;
        }
        let bytes = pricing.length(class, self.place.slot);
        behind += 1 + key(&self.place, bytes) + check(bytes);
        let slot = first.place.slot;
        let own = asked.sum(|object| 1 + reading(length(object, slot)));
        let refs = match self.many {
            false => asked.count(),
            // Where objects have most of the others between them, few of them may have all.
            true => {
                let seen = asked.sum(|object| refs(length(object, slot)));
                seen.max(pricing.count(first.target).min(seen.saturating_mul(8)))
            }
        };
        own + refs.saturating_mul(behind)
    }

    /// What would cost less than this way.
    pub(super) fn cheaper(&self) -> Option<&'static str> {
        match (self.many, self.steps.len(), &self.place.key) {
            (true, ..) => {
                Some("ask the collection of what the refs lead to instead, or fewer terms")
            }
            (false, 1.., _) => Some("comparing the ref itself with a uuid costs less"),
            (false, 0, Some(_)) => Some("asking for a field that is no map costs less"),
            (false, 0, None) => None,
        }
    }

    /// Where it begins.
    pub(super) fn slot(&self) -> Slot {
        self.steps.first().map_or(self.place.slot, |step| step.place.slot)
    }

    /// Whether there may be several values.
    pub(super) fn is_many(&self) -> bool {
        self.many
    }

    /// Whether `holds` is true of the value, or of one of the values. `None` stands for no value.
    pub(super) fn any(
        &self,
        snapshot: &Snapshot,
        object: &Object,
        holds: impl Fn(Option<&[u8]>) -> bool,
    ) -> bool {
        if !self.many {
            return holds(self.value(snapshot, object));
        }
        let Some((first, steps)) = self.steps.split_first() else { return false };
        let set = first.place.of(object.record()).unwrap_or_default();
        json::elements(set).any(|element| {
            let member = target(snapshot, first.target, element);
            holds(member.and_then(|member| self.behind(steps, snapshot, member)))
        })
    }

    /// The value's JSON, if there is a value. A path with several has none.
    pub(super) fn value<'a>(&self, snapshot: &'a Snapshot, object: &'a Object) -> Option<&'a [u8]> {
        self.behind(&self.steps, snapshot, object)
    }

    fn behind<'a>(
        &self,
        steps: &[Step],
        snapshot: &'a Snapshot,
        object: &'a Object,
    ) -> Option<&'a [u8]> {
        let mut object = object;
        for step in steps {
            object = target(snapshot, step.target, step.place.of(object.record())?)?;
        }
        self.place.of(object.record()).filter(|json| *json != b"null")
    }
}

impl Place {
    fn of<'a>(&self, record: &'a Record) -> Option<&'a [u8]> {
        let json = record.value(self.slot)?;
        match &self.key {
            Some(key) => json::member(json, key),
            None => Some(json),
        }
    }
}

/// The object that a ref, shown as a uuid, leads to.
fn target<'a>(snapshot: &'a Snapshot, class: ClassId, json: &[u8]) -> Option<&'a Object> {
    let text = json.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let uuid = Uuid::try_parse_ascii(text).ok()?;
    snapshot.object(class, &uuid).map(|object| &**object)
}

/// A field of a class by name, or `backend`.
pub(super) fn field(class: &'static Class, part: &Part) -> Result<(Slot, &'static Type), Wrong> {
    let known = class
        .field_index(&part.text)
        .filter(|_| !is_secret_field(&class.name, &part.text))
        .map(|index| (Slot::of_field(class, index), without_option(&class.fields[index].ty)));
    let backend = (part.text == "backend").then(|| (Slot::of_backend(), &BACKEND));
    known.or(backend).ok_or_else(|| match further(class).contains(&part.text.as_str()) {
        true => only_shown(class, part),
        false => no_field(class, part.at.0, &part.text),
    })
}

/// Members that the gateway gives objects of this class beside its fields. They can be shown; asked
/// for and sorted by are fields.
pub fn further(class: &Class) -> &'static [&'static str] {
    if class.name == "task" { &["error", "left_behind"] } else { &[] }
}

fn only_shown(class: &Class, part: &Part) -> Wrong {
    let what = format!(
        "{} is no field of class {} but the gateway's own: it is only shown",
        echo(&part.text),
        class.name
    );
    let wrong = Wrong::new(part.at.0, what);
    Wrong { no_field: true, ..wrong.expected("a field, such as status or error_info") }
}

/// The class has no field of this name.
pub(super) fn no_field(class: &'static Class, at: usize, name: &str) -> Wrong {
    let names = class.fields.iter().map(|field| field.name.as_str()).chain(["backend"]);
    let shown = names.filter(|name| !is_secret_field(&class.name, name));
    let expected = match nearest(name, shown) {
        Some(near) => format!("a field; did you mean {near:?}?"),
        None => "a field".to_owned(),
    };
    let what = format!("class {} has no field {}", class.name, echo(name));
    Wrong { no_field: true, ..Wrong::new(at, what).expected(expected) }
}

fn leads_nowhere(before: &Part, part: &Part, ty: &Type) -> Wrong {
    let what = format!(
        "{} is of type {}, and nothing can follow it",
        echo(&before.text),
        ty.notation(datamodel())
    );
    Wrong::new(part.at.0, what).expected("a dot only behind a map or a ref")
}

/// What an option holds: without a value it is null, as any field may be.
fn without_option(ty: &'static Type) -> &'static Type {
    match ty {
        Type::Option(inner) => without_option(inner),
        ty => ty,
    }
}
