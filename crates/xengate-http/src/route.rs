//! The number of a route, by which what is counted of its requests is found.

/// One of the router's routes: its place among them, from 1 on; 0 is what no route fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Route(pub(super) u16);

impl Route {
    /// The route at this place of the router's, the first at 0.
    pub fn at(place: usize) -> Self {
        Self(u16::try_from(place + 1).unwrap_or_default())
    }
}
