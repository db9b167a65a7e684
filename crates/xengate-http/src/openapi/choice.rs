//! A part of the document, for whoever does not want all of it: some tags, or what people read.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::openapi::tree::Node;

/// What is wanted of the document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// Operations with these tags, and what they name; of every tag where there is none.
    pub tags: BTreeSet<String>,
    /// For people: without the second ways of doing things, and without what `expanded` may hold.
    pub brief: bool,
}

/// The component that names every class: what a record leads to.
const EXPANDED: &str = "ExpandedObjects";

impl Choice {
    /// Whether it is the whole document.
    pub fn is_all(&self) -> bool {
        self.tags.is_empty() && !self.brief
    }

    fn wants(&self, operation: &Node) -> bool {
        let tag = operation.get("tags").and_then(|tags| tags.items().first()?.as_str());
        let tagged = self.tags.is_empty() || tag.is_some_and(|tag| self.tags.contains(tag));
        tagged && !(self.brief && operation.get("x-first-way").is_some())
    }

    /// The part of `whole` that is wanted, with the components that it names and no others.
    pub(crate) fn of(&self, whole: &Node) -> Node {
        let mut part = Node::Object(Vec::new());
        let paths = self.paths(whole);
        for (name, value) in whole.members() {
            let value = match name.as_str() {
                "paths" => paths.clone(),
                "tags" => Node::Array(self.tags_of(value)),
                "x-tagGroups" => self.groups_of(value),
                "components" => self.components(value, &paths),
                _ => value.clone(),
            };
            part.set(name, value);
        }
        if self.brief { readable(part) } else { part }
    }

    fn paths(&self, whole: &Node) -> Node {
        let paths = whole.get("paths").map_or(&[][..], Node::members).iter();
        let paths = paths.filter_map(|(path, item)| {
            let wanted = item.members().iter().filter(|(_, operation)| self.wants(operation));
            let wanted: Vec<_> = wanted.cloned().collect();
            (!wanted.is_empty()).then(|| (path.clone(), Node::Object(wanted)))
        });
        Node::Object(paths.collect())
    }

    fn tags_of(&self, tags: &Node) -> Vec<Node> {
        let named = |tag: &&Node| tag.get("name").is_some_and(|name| self.has(name));
        tags.items().iter().filter(named).cloned().collect()
    }

    fn groups_of(&self, groups: &Node) -> Node {
        let groups = groups.items().iter().filter_map(|group| {
            let tags = group.get("tags")?.items().iter().filter(|tag| self.has(tag));
            let tags: Vec<_> = tags.cloned().collect();
            let mut group = group.clone();
            (!tags.is_empty()).then(|| {
                group.set("tags", Node::Array(tags));
                group
            })
        });
        Node::Array(groups.collect())
    }

    fn has(&self, tag: &Node) -> bool {
        self.tags.is_empty() || tag.as_str().is_some_and(|tag| self.tags.contains(tag))
    }

    fn components(&self, components: &Node, paths: &Node) -> Node {
        let mut kept: BTreeMap<&str, Node> = BTreeMap::new();
        let mut seen = HashSet::new();
        let mut next = names(paths);
        while let Some(name) = next.pop() {
            if !seen.insert(name.clone()) {
                continue;
            }
            let Some((kind, of)) = name.split_once('/') else { continue };
            let component = components.get(kind).and_then(|kind| kind.get(of));
            if of == EXPANDED
                && let Some(component) = component
            {
                let component = self.expanded(component);
                next.extend(names(&component));
                kept.insert(EXPANDED, component);
            } else {
                next.extend(component.map(names).unwrap_or_default());
            }
        }
        let kinds = components.members().iter().map(|(kind, members)| {
            // What names it is not a reference.
            let all = kind == "securitySchemes";
            let members = members.members().iter();
            let members =
                members.filter(|(name, _)| all || seen.contains(&format!("{kind}/{name}")));
            let members = members.map(|(name, value)| {
                (name.clone(), kept.get(name.as_str()).unwrap_or(value).clone())
            });
            (kind.clone(), Node::Object(members.collect()))
        });
        Node::Object(kinds.collect())
    }

    /// Of the classes that a record may lead to, those that are wanted; others may come all the
    /// same.
    fn expanded(&self, component: &Node) -> Node {
        let mut component = component.clone();
        if let Some(classes) = component.get_mut("properties").and_then(Node::members_mut) {
            classes.retain(|(class, _)| !self.brief && self.tags.contains(class));
        }
        component
    }
}

/// The components that are named in it: `schemas/Vm`.
fn names(node: &Node) -> Vec<String> {
    let mut names = Vec::new();
    node.walk(&mut |node| {
        let target = node.get("$ref").and_then(Node::as_str);
        names.extend(target.and_then(|name| name.strip_prefix("#/components/")).map(str::to_owned));
    });
    names
}

/// What says the same with fewer values: the page makes several objects of each.
fn readable(mut document: Node) -> Node {
    let usual = Node::Array(vec![Node::Object(vec![("bearer".into(), Node::Array(Vec::new()))])]);
    let paths = document.get_mut("paths").and_then(Node::members_mut);
    for (_, item) in paths.into_iter().flatten() {
        for (_, operation) in item.members_mut().into_iter().flatten() {
            if operation.get("security") == Some(&usual) {
                operation.remove("security");
            }
            for (name, value) in operation.members_mut().into_iter().flatten() {
                if let Node::Array(items) = value
                    && name.starts_with("x-")
                {
                    let items: Vec<String> = items.iter().map(shown).collect();
                    *value = Node::text(items.join(", "));
                }
            }
        }
    }
    document.set("security", usual);
    document
}

fn shown(item: &Node) -> String {
    match item {
        Node::Leaf(value) => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
        _ => String::new(),
    }
}
