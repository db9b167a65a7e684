//! The router: every endpoint of the table at its route.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::Router;
use axum::routing::MethodRouter;

use super::Gateway;
use super::api;
use super::middleware::{method_not_allowed, not_found};
use super::openapi::endpoint::Endpoint;
use super::route::Route;

/// Routes, and the paths they are at.
#[derive(Debug, Default)]
pub struct Routes {
    router: Router<Arc<Gateway>>,
    paths: Vec<String>,
    places: HashMap<String, usize>,
    taken: HashSet<(usize, &'static str)>,
}

impl Routes {
    /// The same with one more endpoint; those that share a route and a method are answered alike.
    fn endpoint(mut self, endpoint: &Endpoint) -> Self {
        let place = self.place(endpoint.route());
        if self.taken.insert((place, endpoint.method_name())) {
            let methods = endpoint.answered_at(Route::at(place));
            self.router = self.router.route(endpoint.route(), methods);
        }
        self
    }

    fn place(&mut self, path: &str) -> usize {
        *self.places.entry(path.to_owned()).or_insert_with(|| {
            self.paths.push(path.to_owned());
            self.paths.len() - 1
        })
    }

    /// The same with one more path.
    fn route(mut self, path: &str, methods: MethodRouter<Arc<Gateway>>) -> Self {
        self.place(path);
        self.router = self.router.route(path, methods);
        self
    }

    /// The paths, as the router takes them.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(String::as_str)
    }

    /// The routes at work, with what they work with.
    pub fn answered_by(self, gateway: Arc<Gateway>) -> Router {
        self.router
            .fallback(not_found)
            .method_not_allowed_fallback(method_not_allowed)
            .with_state(gateway)
    }
}

/// Every route of the gateway. What happens to all of them alike is the shell's.
pub fn routes() -> Routes {
    let documented = api::endpoints().iter().fold(Routes::default(), Routes::endpoint);
    let others = api::undocumented();
    others.into_iter().fold(documented, |routes, (path, methods)| routes.route(&path, methods))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Requests;

    #[test]
    fn a_route_counts_under_the_number_that_its_path_has() {
        let routes = routes();
        let requests = Requests::new(routes.paths());
        for (place, path) in routes.paths().enumerate() {
            assert_eq!(requests.route(path), Route::at(place), "{path}");
        }
        assert_eq!(requests.route("/nowhere"), Route::default());
    }
}
