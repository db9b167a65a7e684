//! Requests by route, method and status.
//!
//! However many paths clients think of, there are no more counts than the router has routes: a path
//! that is none of them counts under one name, and so does a method nobody has heard of. A count
//! comes into being with the first request it is for, and from then on costs a few atomic additions.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};

use crate::route::Route;
use xengate_telemetry::{Distribution, Histogram, Sharded};

/// What a path, a method or a status is called that has no name of its own.
const OTHER: &str = "other";

/// The methods with names of their own.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"];

/// The statuses with names of their own: those the gateway answers.
const STATUSES: &[u16] = &[
    200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 406, 408, 409,
    410, 411, 412, 413, 415, 416, 422, 428, 429, 431, 500, 501, 502, 503, 504,
];

/// Counts requests.
pub struct Requests {
    paths: matchit::Router<Route>,
    routes: Box<[RouteCounts]>,
}

/// The counts of one route, by method.
struct RouteCounts {
    template: Box<str>,
    methods: [OnceLock<Box<Sharded<Counts>>>; METHODS.len() + 1],
}

/// The counts of one route and method.
struct Counts {
    took: Histogram,
    statuses: [AtomicU64; STATUSES.len() + 1],
}

/// What was answered to one method of one route.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered<'a> {
    /// `/vms/{uuid}`.
    pub route: &'a str,
    /// `GET`.
    pub method: &'static str,
    /// How many with each status; those nobody got are left out.
    pub statuses: Vec<(Option<u16>, u64)>,
    /// How long the answers took to begin.
    pub took: Distribution,
}

impl Requests {
    /// Counts requests to these paths, written as the router takes them.
    pub fn new<'a>(paths: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut table, mut routes) = (matchit::Router::new(), vec![RouteCounts::new(OTHER)]);
        for (place, path) in paths.into_iter().enumerate() {
            // The router takes the same paths, and none that this table would not.
            let _ = table.insert(path, Route::at(place));
            routes.push(RouteCounts::new(path));
        }
        Self { paths: table, routes: routes.into() }
    }

    /// The route that a path belongs to, for requests that did not come so far as to be answered by
    /// one.
    pub fn route(&self, path: &str) -> Route {
        self.paths.at(path).map_or(Route::default(), |found| *found.value)
    }

    /// Counts an answer.
    pub fn count(&self, route: Route, method: usize, status: StatusCode, took: Duration) {
        let Some(route) = self.routes.get(usize::from(route.0)) else { return };
        let counts = route.methods[method.min(METHODS.len())].get_or_init(Box::default).mine();
        counts.took.observe(took);
        counts.statuses[status_place(status.as_u16())].fetch_add(1, Ordering::Relaxed);
    }

    /// Where a method's counts stand.
    pub fn method(method: &Method) -> usize {
        METHODS.iter().position(|known| *known == method.as_str()).unwrap_or(METHODS.len())
    }

    /// What was answered so far, in the order of the routes.
    pub fn answered(&self) -> impl Iterator<Item = Answered<'_>> {
        self.routes.iter().flat_map(|route| {
            let names = METHODS.iter().copied().chain([OTHER]);
            let begun = names.zip(&route.methods);
            begun.filter_map(|(method, counts)| Some(read(counts.get()?, &route.template, method)))
        })
    }
}

fn status_place(status: u16) -> usize {
    STATUSES.binary_search(&status).unwrap_or(STATUSES.len())
}

impl RouteCounts {
    fn new(template: &str) -> Self {
        Self { template: template.into(), methods: Default::default() }
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self { took: Histogram::default(), statuses: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

fn read<'a>(of: &Sharded<Counts>, route: &'a str, method: &'static str) -> Answered<'a> {
    let (mut took, mut sums) = (Distribution::default(), [0; STATUSES.len() + 1]);
    for counts in of.iter() {
        counts.took.add_to(&mut took);
        for (sum, count) in sums.iter_mut().zip(&counts.statuses) {
            *sum += count.load(Ordering::Relaxed);
        }
    }
    let names = STATUSES.iter().copied().map(Some).chain([None]);
    let statuses = names.zip(sums).filter(|(_, count)| *count > 0).collect();
    Answered { route, method, statuses, took }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").field("routes", &self.routes.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_no_more_than_routes_methods_and_statuses() {
        let requests = Requests::new(["/vms", "/vms/{uuid}", "/docs/{*file}"]);
        let count = |path: &str, method: &str, status| {
            let method: Method = method.parse().expect("a method");
            let status = StatusCode::from_u16(status).expect("a status");
            let took = Duration::from_millis(1);
            requests.count(requests.route(path), Requests::method(&method), status, took);
        };
        for n in 0..1000 {
            count(&format!("/vms/{n}"), "GET", 200);
            count(&format!("/nowhere/{n}/a"), "GET", 404);
            count("/docs/a/b", &format!("METHOD{n}"), 418);
        }
        count("/vms", "PATCH", 503);
        let seen: Vec<_> = requests
            .answered()
            .map(|one| (one.route.to_owned(), one.method, one.statuses, one.took.count()))
            .collect();
        let expected = [
            (OTHER, "GET", Some(404), 1000),
            ("/vms", "PATCH", Some(503), 1),
            ("/vms/{uuid}", "GET", Some(200), 1000),
            ("/docs/{*file}", OTHER, None, 1000),
        ];
        let expected = expected.map(|(route, method, status, count)| {
            (route.to_owned(), method, vec![(status, count)], count)
        });
        assert_eq!(seen, expected);
        assert!(STATUSES.is_sorted());
    }
}
