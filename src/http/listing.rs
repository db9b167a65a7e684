//! What a client asks of a list, and the answer to it.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use serde::Deserialize;
use uuid::Uuid;

use super::Gateway;
use super::bodies::Bodies;
use super::extract::{Accepts, Query};
use super::formats::{Format, List};
use super::page::{self, Cursor, Page, QueryId, Shelf};
use super::pins::{self, Pinned};
use super::problem::{Code, Problem};
use super::revision::Revision;
use super::validators::{ETag, Stamp, Validators};
use crate::datamodel::{Class, ClassId};
use crate::inventory::query::{Expand, Fields, Filter, Order, QueryError, further};
use crate::inventory::{Object, Snapshot};

/// The query of a list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Which objects.
    filter: Option<String>,
    /// Which of their fields.
    fields: Option<String>,
    /// In which order.
    sort: Option<String>,
    /// With which other objects.
    expand: Option<String>,
    /// How many objects the page has at most.
    limit: Option<u64>,
    /// Where the page begins: `next` of the page before.
    cursor: Option<String>,
    /// Only this backend's objects.
    backend: Option<String>,
    /// What the answer must show at least.
    min_revision: Option<Revision>,
}

/// A request for a list, before it is known of what.
#[derive(Debug)]
pub struct Asked {
    query: ListQuery,
    format: Format,
    /// The query as it was sent, without the cursor.
    again: String,
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Accepts(format) = Accepts::from_request_parts(parts, state).await?;
        let Query(query) = Query::<ListQuery>::from_request_parts(parts, state).await?;
        let pairs = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        let again = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs.filter(|(name, _)| name != "cursor"))
            .finish();
        Ok(Self { query, format, again })
    }
}

/// A request for a list of objects of one class, read and checked.
#[derive(Debug)]
pub struct Listing {
    class: &'static Class,
    /// The last part of the path.
    name: String,
    id: QueryId,
    filter: Option<Filter>,
    fields: Option<Fields>,
    order: Option<Order>,
    expand: Option<Expand>,
    limit: usize,
    from: Option<Cursor>,
    format: Format,
    again: String,
    backend: Option<String>,
    min_revision: Option<Revision>,
}

impl Listing {
    /// Reads a request for the list at `path` of objects of this class.
    pub fn new(path: &str, class: &'static Class, asked: Asked) -> Result<Self, Problem> {
        let Asked { query, format, again } = asked;
        let limit = page::limit(query.limit)?;
        let filter = part("filter", &query.filter, |text| Filter::parse(text, &[class]))?;
        let fields = part("fields", &query.fields, |text| fields_of(text, class))?;
        let order = part("sort", &query.sort, |text| Order::parse(text, class))?;
        let expand = part("expand", &query.expand, |text| Expand::parse(text, class))?;
        if expand.is_some() && matches!(format, Format::Csv | Format::Text) {
            let detail = format!(
                "expand: {} has no place for other objects; ask for application/json or \
                 application/x-ndjson",
                format.media_type()
            );
            return Err(Problem::new(Code::BadParameter, detail).with_params(["expand"]));
        }
        let canonical = filter.as_ref().map(ToString::to_string);
        let id = QueryId::of([
            Some(path),
            canonical.as_deref(),
            query.fields.as_deref(),
            query.sort.as_deref(),
            query.expand.as_deref(),
            query.backend.as_deref(),
        ]);
        let from = query.cursor.map(|cursor| Cursor::read(id, &cursor)).transpose()?;
        if let (Some(Cursor::Behind(_)), Some(_)) | (Some(Cursor::Pinned { .. }), None) =
            (&from, &order)
        {
            let detail = "cursor: not a cursor of this gateway";
            return Err(Problem::new(Code::BadParameter, detail).with_params(["cursor"]));
        }
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        let (backend, min_revision) = (query.backend, query.min_revision);
        Ok(Self {
            class,
            name,
            id,
            filter,
            fields,
            order,
            expand,
            limit,
            from,
            format,
            again,
            backend,
            min_revision,
        })
    }

    /// The one backend whose objects are asked for.
    pub fn backend(&self) -> Option<&str> {
        self.backend.as_deref()
    }

    /// What the answer must show at least.
    pub fn min_revision(&self) -> Option<&Revision> {
        self.min_revision.as_ref()
    }

    /// The stamp of the list with everything that this request shapes.
    #[must_use]
    pub fn stamped<'a>(
        &self,
        stamp: Stamp,
        snapshots: impl Iterator<Item = &'a Snapshot> + Clone,
    ) -> Stamp {
        let stamp = self.classes().fold(stamp, |stamp, class| {
            snapshots.clone().fold(stamp, |stamp, snapshot| stamp.table(snapshot.class(class)))
        });
        // The next page's link says the query as it was sent.
        stamp.shaped(&(self.id, self.limit, &self.from, self.format, &self.again))
    }

    /// The classes of the objects that the answer is read from.
    pub fn reads(&self) -> impl Iterator<Item = ClassId> {
        std::iter::once(self.class.id).chain(self.classes())
    }

    /// The classes whose objects the answer depends on, beside those it lists.
    fn classes(&self) -> impl Iterator<Item = ClassId> {
        let filter = self.filter.iter().flat_map(Filter::classes);
        let order = self.order.iter().flat_map(Order::classes);
        let expand = self.expand.iter().flat_map(Expand::classes);
        filter.chain(order).chain(expand).copied()
    }

    /// The answer, unless the client has it; `etag` is of what is on the shelves.
    pub async fn answer(
        &self,
        gateway: &Gateway,
        session: Uuid,
        (validators, etag): (&Validators, &ETag),
        shelves: &[Shelf<'_>],
        partial: &[String],
    ) -> Result<Response, Problem> {
        // What is to be had of the next page must be there also for who has this one.
        let pinned = self.pinned(gateway, session, Some(etag), shelves)?;
        if let Some(response) = validators.not_modified(etag)? {
            return Ok(response);
        }
        if let Some(response) = gateway.bodies.ready(etag) {
            return Ok(response);
        }
        let list = self.list(pinned, shelves, partial);
        let response = list.answer(self.format, Some((&gateway.bodies, etag))).await?;
        Bodies::complete(&response);
        Ok(etag.on(response))
    }

    /// The answer, where there are no versions.
    pub async fn answer_anew(
        &self,
        gateway: &Gateway,
        session: Uuid,
        shelves: &[Shelf<'_>],
    ) -> Result<Response, Problem> {
        let pinned = self.pinned(gateway, session, None, shelves)?;
        self.list(pinned, shelves, &[]).answer(self.format, None).await
    }

    fn list<'a>(
        &'a self,
        pinned: Option<Place>,
        shelves: &'a [Shelf<'a>],
        partial: &'a [String],
    ) -> List<'a> {
        let filter = self.filter.as_ref();
        let page = match (&self.order, pinned) {
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
            page,
            next,
            next_query,
            partial,
            fields: self.fields.as_ref(),
            expand: self.expand.as_ref(),
        }
    }

    /// Where in a pinned order the page begins, if it is one of several in an order of the
    /// client's own.
    fn pinned(
        &self,
        gateway: &Gateway,
        session: Uuid,
        etag: Option<&ETag>,
        shelves: &[Shelf<'_>],
    ) -> Result<Option<Place>, Problem> {
        let Some(order) = &self.order else { return Ok(None) };
        if let Some(Cursor::Pinned { pin, offset }) = self.from {
            let pinned = gateway.pins.get(session, pin).ok_or_else(pins::expired)?;
            return Ok(Some(Place { pinned, pin, offset }));
        }
        if page::len(shelves) <= self.limit {
            return Ok(None);
        }
        // The same answer names the same pin: it is sent, or known, as the same bytes.
        let pin = match etag {
            Some(etag) => etag.number(),
            None => Uuid::new_v4().as_u64_pair().0,
        };
        let pinned = match gateway.pins.get(session, pin) {
            Some(pinned) => pinned,
            None => {
                let page = Page::sorted(shelves, self.filter.as_ref(), order);
                let objects =
                    page.items.iter().map(|item| (item.shelf.backend, item.object.uuid()));
                let pinned = Arc::new(Pinned::new(objects));
                if pinned.len() > self.limit {
                    gateway.pins.put(session, pin, pinned.clone())?;
                }
                pinned
            }
        };
        Ok(Some(Place { pinned, pin, offset: 0 }))
    }
}

/// Where a page begins in a pinned order.
struct Place {
    pinned: Arc<Pinned>,
    pin: u64,
    offset: usize,
}

/// What is asked of one object: its fields, and what comes along.
#[derive(Debug)]
pub struct Showing {
    fields: Option<Fields>,
    expand: Option<Expand>,
}

impl Showing {
    /// Reads `fields` and `expand` for an object of this class.
    pub fn new(
        class: &'static Class,
        fields: &Option<String>,
        expand: &Option<String>,
    ) -> Result<Self, Problem> {
        let fields = part("fields", fields, |text| fields_of(text, class))?;
        let expand = part("expand", expand, |text| Expand::parse(text, class))?;
        Ok(Self { fields, expand })
    }

    /// The classes of the objects that the answer is read from, beside its own.
    pub fn classes(&self) -> impl Iterator<Item = ClassId> {
        self.expand.iter().flat_map(Expand::classes).copied()
    }

    /// The stamp of the object with everything that this request shapes. The object's own revision
    /// stays what counts for `If-Match`.
    #[must_use]
    pub fn stamped(&self, stamp: Stamp, snapshot: &Snapshot, class: &Class) -> Stamp {
        let names: Option<Vec<&str>> =
            self.fields.as_ref().map(|fields| fields.names(class).collect());
        let along = self.expand.as_ref().map(|expand| {
            let classes = expand.classes().iter();
            let newest = classes.map(|class| snapshot.class(*class).revision()).max();
            (expand.to_string(), newest)
        });
        match (names, along) {
            (None, None) => stamp,
            shape => stamp.shaped(&shape),
        }
    }

    /// The object's document.
    pub fn document(&self, snapshot: &Snapshot, object: &Arc<Object>) -> Result<Bytes, Problem> {
        let (fields, expand) = (self.fields.as_ref(), self.expand.as_ref());
        if fields.is_none() && expand.is_none() {
            return Ok(Bytes::from_owner(Whole(object.clone())));
        }
        Ok(super::formats::object(snapshot, object, fields, expand)?.into())
    }
}

/// A record as the inventory holds it ready: nothing is copied.
struct Whole(Arc<Object>);

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        self.0.record().json()
    }
}

fn fields_of(text: &str, class: &'static Class) -> Result<Fields, QueryError> {
    Fields::of_classes(text, &[class], further(class))
}

/// Reads a parameter, if it is there; what is wrong with it is told with its name.
fn part<T>(
    name: &'static str,
    text: &Option<String>,
    parse: impl FnOnce(&str) -> Result<T, QueryError>,
) -> Result<Option<T>, Problem> {
    text.as_deref().map(parse).transpose().map_err(|error| {
        Problem::new(Code::BadParameter, format!("{name}: {error}")).with_params([name])
    })
}
