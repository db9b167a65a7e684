//! What a client asks of a list, and the answer to it.

mod answering;
mod found;
mod projection;

pub use self::projection::Projection;

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::Deserialize;

use super::page;
use crate::extract::{Accepts, Query};
use crate::formats::Format;
use crate::page::{Cursor, QueryId};
use crate::problem::{Code, Problem};
use crate::revision::Revision;
use crate::validators::EtagBuilder;
use xenapi_mirror::inventory::Snapshot;
use xenapi_mirror::inventory::query::{Expand, Fields, Filter, Order, QueryError, further};
use xenapi_model::{Class, ClassId};

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
        if let (Some(Cursor::Behind(_)), Some(_)) | (Some(Cursor::SortSnapshot { .. }), None) =
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
        stamp: EtagBuilder,
        snapshots: impl Iterator<Item = &'a Snapshot> + Clone,
    ) -> EtagBuilder {
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
