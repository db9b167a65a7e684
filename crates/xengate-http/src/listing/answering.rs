//! The answer to a request for a list.

use std::sync::Arc;

use axum::response::Response;
use uuid::Uuid;

use super::Listing;
use crate::Gateway;
use crate::costly::Costly;
use crate::formats::{Format, List, Work};
use crate::listing::found::{Finding, Found};
use crate::page;
use crate::page::{BackendSlice, Cursor, Objects, Page};
use crate::problem::Problem;
use crate::response_cache::ResponseCache;
use crate::sort_snapshots;
use crate::sort_snapshots::SortSnapshot;
use crate::validators::{ETag, Preconditions};
use xenapi_mirror::inventory::query::{Cost, Filter, Order, Pricing};
use xengate_core::auth::Caller;

impl Listing {
    /// The answer, unless the client has it; `etag` is of what is on the shelves.
    pub async fn answer(
        &self,
        gateway: &Gateway,
        caller: &Caller,
        (validators, etag): (&Preconditions, &ETag),
        shelves: &[BackendSlice<'_>],
        partial: &[String],
    ) -> Result<Response, Problem> {
        // What is to be had of the next page must be there also for who has this one.
        let (place, found) = self.place(gateway, caller, Some(etag), shelves).await?;
        if let Some(response) = validators.not_modified(etag)? {
            return Ok(response);
        }
        if let Some(response) = gateway.bodies.ready(etag) {
            return Ok(response);
        }
        let work = Work { gateway, caller, shared: Some(etag) };
        let response = self.made(work, place, found, shelves, partial).await?;
        ResponseCache::complete(&response);
        Ok(etag.on(response))
    }

    /// The answer, where there are no versions.
    pub async fn answer_anew(
        &self,
        gateway: &Gateway,
        caller: &Caller,
        shelves: &[BackendSlice<'_>],
    ) -> Result<Response, Problem> {
        let (place, found) = self.place(gateway, caller, None, shelves).await?;
        let work = Work { gateway, caller, shared: None };
        self.made(work, place, found, shelves, &[]).await
    }

    /// The answer with a page that begins at `place`. What was `found` need not be looked for.
    async fn made(
        &self,
        work: Work<'_>,
        place: Option<Place>,
        found: Option<Found>,
        shelves: &[BackendSlice<'_>],
        partial: &[String],
    ) -> Result<Response, Problem> {
        let found = match found {
            Some(found) => Some(found),
            None => self.find(work.gateway, work.caller, place.is_none(), shelves).await?,
        };
        let Some(Found { shelves: objects, sorted }) = found else {
            return self.list(place, self.filter.as_ref(), shelves, partial).answer(work).await;
        };
        let narrowed: Vec<BackendSlice<'_>> = shelves
            .iter()
            .zip(&objects)
            .map(|(shelf, objects)| BackendSlice { objects: Objects::These(objects), ..*shelf })
            .collect();
        let place = place.or_else(|| {
            let pinned = Arc::new(pinned(shelves, sorted?));
            Some(Place { pinned, pin: 0, offset: 0 })
        });
        self.list(place, None, &narrowed, partial).answer(work).await
    }

    fn list<'a>(
        &'a self,
        place: Option<Place>,
        filter: Option<&Filter>,
        shelves: &'a [BackendSlice<'a>],
        partial: &'a [String],
    ) -> List<'a> {
        let page = match (&self.order, place) {
            (_, Some(Place { pinned, pin, offset })) => {
                Page::of_pinned(shelves, filter, &pinned, (pin, offset), self.limit)
            }
            (Some(order), None) => Page::sorted(shelves, filter, order),
            (None, None) => {
                let from = match &self.from {
                    Some(Cursor::Behind(position)) => Some(position),
                    _ => None,
                };
                Page::in_order(shelves, filter, from, self.limit)
            }
        };
        let next = page.next.as_ref().map(|next| next.text(self.id));
        let next_query = next.as_ref().map(|next| {
            let mut query = form_urlencoded::Serializer::new(self.again.clone());
            query.append_pair("cursor", next).finish()
        });
        List {
            class: self.class,
            name: &self.name,
            format: self.format,
            page,
            next,
            next_query,
            partial,
            fields: self.fields.as_ref(),
            expand: self.expand.as_ref(),
        }
    }

    /// Where in a pinned order the page begins, if it is one of several in an order of the
    /// client's own; and what was found on the way, if anything was looked for where that takes
    /// long.
    async fn place(
        &self,
        gateway: &Gateway,
        caller: &Caller,
        etag: Option<&ETag>,
        shelves: &[BackendSlice<'_>],
    ) -> Result<(Option<Place>, Option<Found>), Problem> {
        let Some(order) = &self.order else { return Ok((None, None)) };
        if let Some(Cursor::SortSnapshot { pin, offset }) = self.from {
            let pinned = gateway.pins.get(caller, pin).ok_or_else(sort_snapshots::expired)?;
            return Ok((Some(Place { pinned, pin, offset }), None));
        }
        if page::len(shelves) <= self.limit {
            return Ok((None, None));
        }
        // The same answer names the same pin: it is sent, or known, as the same bytes.
        let pin = match etag {
            Some(etag) => etag.number(),
            None => Uuid::new_v4().as_u64_pair().0,
        };
        if let Some(pinned) = gateway.pins.get(caller, pin) {
            return Ok((Some(Place { pinned, pin, offset: 0 }), None));
        }
        let mut found = self.find(gateway, caller, true, shelves).await?;
        let pinned = match found.as_mut().and_then(|found| found.sorted.take()) {
            Some(sorted) => pinned(shelves, sorted),
            None => {
                let page = Page::sorted(shelves, self.filter.as_ref(), order);
                let objects =
                    page.items.iter().map(|item| (item.shelf.backend, item.object.uuid()));
                SortSnapshot::new(objects)
            }
        };
        let pinned = Arc::new(pinned);
        if pinned.len() > self.limit {
            gateway.pins.put(caller, pin, pinned.clone())?;
        }
        Ok((Some(Place { pinned, pin, offset: 0 }), found))
    }

    /// Looks for what the query lets through, and sorts it if that is still to be done, where that
    /// takes long; what takes too long is refused. None where it is quick.
    async fn find(
        &self,
        gateway: &Gateway,
        caller: &Caller,
        sort: bool,
        shelves: &[BackendSlice<'_>],
    ) -> Result<Option<Found>, Problem> {
        let order = self.order.as_ref().filter(|_| sort);
        if self.filter.is_none() && order.is_none() && self.expand.is_none() {
            return Ok(None);
        }
        let looking = self.cost(order, shelves);
        let whole = looking.clone().and(self.showing(shelves));
        gateway.costly.permit(&whole)?;
        if !Costly::is_much(&looking) {
            return Ok(None);
        }
        let steps = looking.steps / page::len(shelves).max(1) as u64;
        let mut finding = Finding::new(self.filter.clone(), order.cloned(), shelves, steps);
        let user = Some(caller.session.shares().sharer());
        gateway.costly.work(user, move || finding.slice()).await.map(Some)
    }

    /// What it costs to look for the objects, and to sort them.
    fn cost(&self, order: Option<&Order>, shelves: &[BackendSlice<'_>]) -> Cost {
        let of_shelf = |shelf: &BackendSlice<'_>| {
            let (mut pricing, objects) = (Pricing::of(shelf.snapshot), shelf.objects.population());
            let filter = self.filter.as_ref();
            let filter = filter.map(|filter| filter.cost(self.class.id, &mut pricing, &objects));
            let order = order.map(|order| order.cost(&mut pricing, &objects));
            filter.unwrap_or_default().and(order.unwrap_or_default())
        };
        shelves.iter().map(of_shelf).fold(Cost::default(), Cost::and)
    }

    /// What it costs at most to show a page of them.
    fn showing(&self, shelves: &[BackendSlice<'_>]) -> Cost {
        let Some(expand) = &self.expand else { return Cost::default() };
        let each = self.format == Format::Ndjson;
        let of_shelf = |shelf: &BackendSlice<'_>| {
            let objects = shelf.objects.population();
            let count = objects.count().min(self.limit as u64);
            expand.cost(&mut Pricing::of(shelf.snapshot), &objects, count, each)
        };
        shelves.iter().map(of_shelf).fold(Cost::default(), Cost::and)
    }
}

/// The order, to be kept.
fn pinned(shelves: &[BackendSlice<'_>], sorted: Vec<(usize, Uuid)>) -> SortSnapshot {
    SortSnapshot::new(sorted.into_iter().map(|(shelf, uuid)| (shelves[shelf].backend, uuid)))
}

/// Where a page begins in a pinned order.
struct Place {
    pinned: Arc<SortSnapshot>,
    pin: u64,
    offset: usize,
}
