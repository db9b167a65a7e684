//! What a client wants to hear of.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use foldhash::HashSet;
use uuid::Uuid;

use crate::api::catalog::collections;
use crate::api::catalog::collections::{Source, collections};
use crate::api::events::samples::has_samples;
use crate::problem::{Code, Problem};
use xenapi_mirror::inventory::query::{Cost, Fields, Filter, Population, Pricing, QueryError};
use xenapi_mirror::inventory::{Batch, Change, Object, Snapshot, View, is_mirrored};
use xenapi_model::{Class, ClassId, datamodel};

/// At most this much of what a client sent is said back to it.
const LONGEST_ECHO: usize = 64;

/// The objects a client wants to hear of, on whatever backends.
#[derive(Debug)]
pub struct Choice {
    /// For each class of the datamodel, its views that are wanted.
    views: Box<[Views]>,
    filter: Option<Filter>,
    fields: Option<Fields>,
    samples: bool,
}

/// Which of a class's objects are wanted, by their views.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Views {
    plain: bool,
    template: bool,
    snapshot: bool,
}

/// The same on certain backends: what followers that share a group have in common.
#[derive(Debug)]
pub struct Selection {
    choice: Choice,
    backends: BTreeSet<Arc<str>>,
    key: String,
}

/// What becomes of an object, as a client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is there from now on.
    Add,
    /// It has changed.
    Mod,
    /// It is not there any more.
    Del,
}

/// Takes what becomes of an object, with the names of the fields that changed, until it has enough.
pub(super) type Tell<'a> = dyn FnMut(Kind, &Object, &[&str]) -> ControlFlow<()> + 'a;

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Mod => "mod",
            Self::Del => "del",
        }
    }
}

impl Views {
    const ALL: Self = Self { plain: true, template: true, snapshot: true };

    fn are_some(self) -> bool {
        self != Self::default()
    }

    fn hold(self, view: View) -> bool {
        match view {
            View::Plain => self.plain,
            View::Template => self.template,
            View::Snapshot => self.snapshot,
        }
    }

    fn add(&mut self, view: collections::View) {
        match view {
            collections::View::All => *self = Self::ALL,
            collections::View::Machines => self.plain = true,
            collections::View::Templates => self.template = true,
            collections::View::Snapshots => self.snapshot = true,
        }
    }
}

impl Choice {
    /// Reads the parameters of a request. Without classes and collections everything is wanted.
    pub fn parse(
        classes: Option<&str>,
        collections: Option<&str>,
        filter: Option<&str>,
        fields: Option<&str>,
        samples: bool,
    ) -> Result<Self, Problem> {
        let all = &datamodel().classes;
        let mut views = vec![Views::default(); all.len()];
        for name in names("classes", classes)? {
            let known = all.iter().find(|class| class.name == name && is_mirrored(class));
            let class = known.ok_or_else(|| {
                let what = "is no class of the Xen-API that has events (VM, task, VM_metrics, …)";
                bad("classes", &format!("{:?} {what}", echo(name)))
            })?;
            views[usize::from(class.id.0)] = Views::ALL;
        }
        for path in names("collections", collections)? {
            let mut known = collections::collections().iter();
            let known = known.find(|one| one.path == path && one.source == Source::Mirror);
            let class = known.and_then(|collection| {
                Some((collection.view, datamodel().class(collection.class)?.id))
            });
            let (view, class) = class.ok_or_else(|| {
                let what = "is no collection that has events (vms, vm-templates, tasks, …)";
                bad("collections", &format!("{:?} {what}", echo(path)))
            })?;
            views[usize::from(class.0)].add(view);
        }
        if classes.is_none() && collections.is_none() {
            for class in all.iter().filter(|class| is_mirrored(class)) {
                views[usize::from(class.id.0)] = Views::ALL;
            }
        }
        let wanted = all.iter().filter(|class| views[usize::from(class.id.0)].are_some());
        let wanted: Vec<&'static Class> = wanted.collect();
        if samples && !wanted.iter().any(|class| has_samples(class)) {
            return Err(bad("samples", "there are samples of VM_metrics, host_metrics and SR"));
        }
        let wrong = |name: &'static str| move |error: QueryError| bad(name, &error.to_string());
        let filter = filter.map(|text| Filter::parse(text, &wanted)).transpose();
        let fields = fields.map(|text| Fields::of_classes(text, &wanted, &[])).transpose();
        Ok(Self {
            views: views.into(),
            filter: filter.map_err(wrong("filter"))?,
            fields: fields.map_err(wrong("fields"))?,
            samples,
        })
    }

    /// The classes of the objects.
    fn classes(&self) -> impl Iterator<Item = &'static Class> {
        let all = datamodel().classes.iter();
        all.filter(|class| self.views[usize::from(class.id.0)].are_some())
    }

    /// The classes of the objects that are looked into.
    pub fn reads(&self) -> impl Iterator<Item = ClassId> {
        let followed = self.filter.iter().flat_map(Filter::classes).copied();
        // How busy a host is, its CPUs tell.
        let measured = datamodel().class("host_cpu").filter(|_| self.samples);
        self.classes().map(|class| class.id).chain(followed).chain(measured.map(|class| class.id))
    }

    /// The same on these backends.
    pub fn on(self, backends: impl IntoIterator<Item = Arc<str>>) -> Selection {
        let backends: BTreeSet<Arc<str>> = backends.into_iter().collect();
        let mut key = String::new();
        for class in self.classes() {
            let Views { plain, template, snapshot } = self.views[usize::from(class.id.0)];
            key.push_str(&format!("{}{plain}{template}{snapshot},", class.name));
        }
        // None of these parts can hold the character between them.
        for backend in &backends {
            key.push_str(&format!("\n{backend}"));
        }
        if let Some(fields) = &self.fields {
            for class in self.classes() {
                let names: Vec<&str> = fields.names(class).collect();
                key.push_str(&format!("\n{}", names.join(",")));
            }
        }
        if let Some(filter) = &self.filter {
            key.push_str(&format!("\n{filter}"));
        }
        if self.samples {
            key.push_str("\nsamples=");
        }
        Selection { choice: self, backends, key }
    }
}

impl Selection {
    /// What tells it from others.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// The backends.
    pub(super) fn backends(&self) -> &BTreeSet<Arc<str>> {
        &self.backends
    }

    /// Whether what is measured of the objects is wanted too.
    pub(super) fn samples(&self) -> bool {
        self.choice.samples
    }

    /// Whether all objects of its classes are in it.
    pub(super) fn is_unfiltered(&self) -> bool {
        self.choice.filter.is_none()
    }

    /// The classes of the objects.
    pub(super) fn classes(&self) -> impl Iterator<Item = &'static Class> {
        self.choice.classes()
    }

    /// The classes of the objects that are looked into.
    pub(super) fn reads(&self) -> impl Iterator<Item = ClassId> {
        self.choice.reads()
    }

    /// Whether an object of a snapshot is among them.
    pub(super) fn holds(&self, snapshot: &Snapshot, object: &Object) -> bool {
        let views = self.choice.views[usize::from(object.class().id.0)];
        let filter = self.choice.filter.as_ref();
        views.hold(object.view()) && filter.is_none_or(|filter| filter.matches(snapshot, object))
    }

    /// Writes an object as it was asked for.
    pub(super) fn write(&self, object: &Object, out: &mut Vec<u8>) {
        match &self.choice.fields {
            Some(fields) => fields.write(object, out),
            None => out.extend_from_slice(object.record().json()),
        }
    }

    /// What it costs to ask every object of these snapshots whether it is wanted.
    pub fn cost<'a>(&self, snapshots: impl Iterator<Item = &'a Snapshot>) -> Cost {
        let Some(filter) = &self.choice.filter else { return Cost::default() };
        let of_snapshot = |snapshot: &'a Snapshot| {
            let mut pricing = Pricing::of(snapshot);
            self.classes()
                .map(|class| {
                    let objects = Population::table(snapshot.class(class.id));
                    filter.cost(class.id, &mut pricing, &objects)
                })
                .fold(Cost::default(), Cost::and)
        };
        snapshots.map(of_snapshot).fold(Cost::default(), Cost::and)
    }

    /// Whether it takes a filter to tell which objects are wanted.
    pub(super) fn has_filter(&self) -> bool {
        self.choice.filter.is_some()
    }

    /// What it costs to ask one object of this class.
    pub(super) fn cost_of_one(&self, snapshot: &Snapshot, class: &Class) -> Cost {
        let Some(filter) = &self.choice.filter else { return Cost::default() };
        let objects = Population::table(snapshot.class(class.id));
        let count = objects.count().max(1);
        filter.cost(class.id, &mut Pricing::of(snapshot), &objects).over(count)
    }

    /// What it costs to tell what a batch means to the client: each object that has changed is asked
    /// as it was and as it is, and so are all others where those that the filter looks into have.
    pub(super) fn cost_of(&self, batch: &Batch) -> Cost {
        let Some(filter) = &self.choice.filter else { return Cost::default() };
        if self.followed_by(batch) {
            return self.cost([&*batch.before, &*batch.after].into_iter());
        }
        let mut pricing = Pricing::of(&batch.after);
        let of_class = |class: &'static Class, pricing: &mut Pricing<'_>| {
            let changed = batch.changes.iter().filter_map(Change::object);
            let changed = changed.filter(|object| object.class().id == class.id);
            let changed: Vec<&Object> = changed.map(|object| &**object).collect();
            match changed.is_empty() {
                true => Cost::default(),
                false => filter.cost(class.id, pricing, &Population::these(changed.into_iter())),
            }
        };
        let each = self.classes().map(|class| of_class(class, &mut pricing));
        each.fold(Cost::default(), Cost::and).times(2)
    }

    /// How many objects have to be looked at to tell what a batch means to the client.
    pub(super) fn effort(&self, batch: &Batch) -> usize {
        let others = self.followed_by(batch);
        batch.changes.len() + if others { self.scanned(batch) } else { 0 }
    }

    /// Tells what a batch means to the client, until `tell` has enough. Objects that the filter
    /// lets through or not because of *others* that changed come last.
    pub(super) fn changes(&self, batch: &Batch, tell: &mut Tell<'_>) -> ControlFlow<()> {
        for change in &batch.changes {
            self.change(batch, change, tell)?;
        }
        if !self.followed_by(batch) {
            return ControlFlow::Continue(());
        }
        let touched: HashSet<(ClassId, Uuid)> = batch
            .changes
            .iter()
            .filter_map(Change::object)
            .map(|object| (object.class().id, object.uuid()))
            .collect();
        for class in self.classes() {
            for object in batch.after.class(class.id).iter() {
                if touched.contains(&(class.id, object.uuid())) {
                    continue;
                }
                match (self.holds(&batch.before, object), self.holds(&batch.after, object)) {
                    (false, true) => tell(Kind::Add, object, &[])?,
                    (true, false) => tell(Kind::Del, object, &[])?,
                    _ => {}
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn change(&self, batch: &Batch, change: &Change, tell: &mut Tell<'_>) -> ControlFlow<()> {
        let before = change.before.as_ref().filter(|before| self.holds(&batch.before, before));
        let after = change.after.as_ref().filter(|after| self.holds(&batch.after, after));
        match (before, after) {
            (None, None) => ControlFlow::Continue(()),
            (None, Some(after)) => tell(Kind::Add, after, &[]),
            (Some(before), None) => tell(Kind::Del, before, &[]),
            (Some(before), Some(after)) => {
                let mut changed = after.record().changed(before.record(), after.class());
                if let Some(fields) = &self.choice.fields {
                    changed.retain(|name| fields.names(after.class()).any(|field| field == *name));
                }
                if changed.is_empty() {
                    return ControlFlow::Continue(());
                }
                tell(Kind::Mod, after, &changed)
            }
        }
    }

    /// Whether the batch changed objects that the filter looks into from others.
    fn followed_by(&self, batch: &Batch) -> bool {
        let followed = self.choice.filter.as_ref().map_or(&[][..], Filter::classes);
        !followed.is_empty()
            && batch
                .changes
                .iter()
                .filter_map(Change::object)
                .any(|object| followed.contains(&object.class().id))
    }

    fn scanned(&self, batch: &Batch) -> usize {
        self.classes().map(|class| batch.after.class(class.id).len()).sum()
    }
}

/// The names in a list with commas between them.
fn names<'a>(parameter: &'static str, list: Option<&'a str>) -> Result<Vec<&'a str>, Problem> {
    let names: Vec<&str> = list.map(|list| list.split(',').collect()).unwrap_or_default();
    if names.contains(&"") {
        return Err(bad(parameter, "names with commas between them are expected"));
    }
    // More than there are would only be repetitions.
    if names.len() > datamodel().classes.len() + collections().len() {
        return Err(bad(parameter, "there are not so many"));
    }
    Ok(names)
}

fn bad(parameter: &'static str, what: &str) -> Problem {
    Problem::new(Code::BadParameter, format!("{parameter}: {what}")).with_params([parameter])
}

fn echo(name: &str) -> String {
    name.chars().take(LONGEST_ECHO).collect()
}
