//! The table of endpoints. The router, the document, the list of operations, the names of routes in the
//! metrics and the tests that walk the API are all made from it.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use axum::routing::MethodRouter;

use super::catalog::collections::{calls_of, calls_only, collection_of, collections};
use super::objects::related_doc;
use super::{actions, events, gateway, objects, prometheus, samples, sessions, tasks};
use crate::Gateway;
use crate::openapi::Document;
use crate::openapi::endpoint::Endpoint;
use xenapi_model::describe;

/// Every operation, in the order in which people read them.
pub fn endpoints() -> &'static [Endpoint] {
    static ENDPOINTS: OnceLock<Vec<Endpoint>> = OnceLock::new();
    ENDPOINTS.get_or_init(|| {
        let mut all = sessions::doc::endpoints();
        all.extend(gateway::doc::endpoints(document));
        all.extend(prometheus::doc::endpoints());
        all.extend(events::doc::endpoints());
        for collection in collections() {
            all.extend(match collection.class {
                // A task is more than the backend's object.
                "task" => tasks::doc::endpoints(collection),
                _ => objects::endpoints(collection),
            });
            all.extend(samples::doc::endpoints(collection));
            all.extend(related_doc::endpoints(collection));
        }
        let taken: HashSet<String> = all.iter().map(|endpoint| endpoint.id.clone()).collect();
        // The calls that clients make by name, at each class's own collection.
        let own = collections().iter().chain(calls_only());
        let own = own.filter(|one| calls_of(one.class) == Some(one));
        all.extend(own.flat_map(|one| actions::doc::endpoints(one, &|id| taken.contains(id))));
        all
    })
}

/// What the router has besides, and the document leaves out: pages, and the calls of a class at the
/// collections that show a part of it.
pub(crate) fn undocumented() -> Vec<(String, MethodRouter<Arc<Gateway>>)> {
    let pages = gateway::docs::pages().into_iter().map(|(path, page)| (path.to_owned(), page));
    let views = collections().iter().filter(|one| calls_of(one.class) != Some(one));
    pages.chain(views.flat_map(actions::doc::of_view)).collect()
}

/// The document of all endpoints.
pub fn document() -> &'static Document {
    static DOCUMENT: OnceLock<Document> = OnceLock::new();
    DOCUMENT.get_or_init(|| Document::new(endpoints(), tags()))
}

/// The tags of endpoints, and what each holds.
fn tags() -> Vec<(&'static str, String)> {
    let own = gateway::doc::TAGS.iter().chain(events::doc::TAGS);
    let own = own.map(|(name, text)| (*name, (*text).to_owned()));
    let mut classes: Vec<&str> = collections().iter().map(|collection| collection.class).collect();
    classes.dedup();
    let calls_only = calls_only().iter().map(|collection| collection.class);
    // Sessions have their place among the gateway's own.
    classes.extend(calls_only.filter(|class| *class != "session"));
    let of_class = classes.into_iter().map(|class| {
        let what = if collection_of(class).is_some() { "Objects" } else { "Calls" };
        let fallback = || format!("{what} of the Xen-API class `{class}`.");
        (class, describe(class).map_or_else(fallback, |words| words.summary.clone()))
    });
    own.chain(of_class).collect()
}
