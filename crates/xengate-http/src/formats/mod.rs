//! Lists in the forms that clients ask for.
//!
//! JSON is one document. Lines of JSON and CSV are written as the client takes them, so that no
//! list stands in memory whole. The table is for eyes.

mod along;
mod columns;
mod csv;
mod document;
mod ndjson;
mod stream;
mod table;

pub use self::document::{object, with_member};

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderName, HeaderValue, header};

use self::document::Document;
use self::table::Table;
use super::Gateway;
use crate::costly::Costly;
use crate::page::Page;
use crate::problem::{Code, Problem};
use crate::response_cache::Unmade;
use crate::unsent_budget::OverBudget;
use crate::validators::ETag;
use xenapi_mirror::inventory::query::{Cost, Expand, Fields};
use xenapi_model::Class;
use xengate_core::auth::Caller;

/// How many objects there are on all pages.
static XEN_TOTAL: HeaderName = HeaderName::from_static("xen-total");
/// The backends that a list leaves out.
static XEN_PARTIAL: HeaderName = HeaderName::from_static("xen-partial");

/// What a cell of a table costs, in steps.
const CELL: u64 = 20;

/// The form of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// One document.
    Json,
    /// A table for eyes.
    Text,
    /// An object a line.
    Ndjson,
    /// Comma-separated values.
    Csv,
}

impl Format {
    /// Every format, the one that is answered rather than others first.
    pub const ALL: [Self; 4] = [Self::Json, Self::Text, Self::Ndjson, Self::Csv];

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Text => "text/plain",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv",
        }
    }

    /// Its content type, with what readers must know beside the media type.
    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json | Self::Ndjson => self.media_type(),
            Self::Text => "text/plain; charset=utf-8",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        })
    }
}

/// What is to be shown of a list.
#[derive(Debug)]
pub struct List<'a> {
    /// The class of the objects.
    pub class: &'static Class,
    /// The path of the collection, by which a file is called.
    pub name: &'a str,
    /// In which format.
    pub format: Format,
    /// The page.
    pub page: Page<'a>,
    /// The cursor of the next page.
    pub next: Option<String>,
    /// The query of the next page.
    pub next_query: Option<String>,
    /// Backends that are left out.
    pub partial: &'a [String],
    /// The fields to show.
    pub fields: Option<&'a Fields>,
    /// What comes along.
    pub expand: Option<&'a Expand>,
}

/// What an answer is made with.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    /// What there is.
    pub gateway: &'a Gateway,
    /// Who asks.
    pub caller: &'a Caller,
    /// What the answer is known by, if others may get the same.
    pub shared: Option<&'a ETag>,
}

impl Work<'_> {
    /// Does what takes long where it is in nobody's way, in the caller's turn.
    async fn long<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let user = Some(self.caller.session.shares().sharer());
        self.gateway.costly.work_once(user, work).await
    }
}

impl List<'_> {
    /// The answer. A document of the tag may be at hand, for everyone.
    pub async fn answer(&self, work: Work<'_>) -> Result<Response, Problem> {
        let mut response = match self.format {
            Format::Json => {
                let document = Document::of(self, along::expanded(self, work).await?);
                let document = Arc::new(document);
                let bodies = &work.gateway.bodies;
                match work.shared {
                    Some(etag) => {
                        let (size, whole) = (document.size(), Arc::clone(&document));
                        match bodies.whole(etag, size, move || whole.json()).await {
                            Ok(response) => response,
                            // It is written as its client takes it, which shares nothing.
                            Err(Unmade::OverBudget) => {
                                let share = document.streamed_size() as u64;
                                let share = bodies.make_room(|room| room.reserve(share));
                                let share =
                                    share.map_err(|OverBudget| Problem::from(Code::Overloaded))?;
                                Response::new(document.stream(share))
                            }
                            Err(Unmade::Failed) => return Err(Problem::from(Code::Internal)),
                        }
                    }
                    None => Response::new(Body::from(document.json())),
                }
            }
            Format::Text => {
                let table = Table::of(self);
                let cost = Cost::plain(table.cells() as u64 * CELL);
                Response::new(Body::from(match Costly::is_much(&cost) {
                    true => work.long(move || table.text()).await?,
                    false => table.text(),
                }))
            }
            Format::Ndjson => {
                along::counted(self, work).await?;
                Response::new(ndjson::body(self))
            }
            Format::Csv => Response::new(csv::body(self)),
        };
        if !response.status().is_success() {
            return Ok(response);
        }
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, self.format.content_type());
        headers.insert(XEN_TOTAL.clone(), self.page.total.into());
        if self.format == Format::Csv {
            let name = format!("attachment; filename=\"{}.csv\"", self.name);
            headers.extend(
                HeaderValue::try_from(name).ok().map(|name| (header::CONTENT_DISPOSITION, name)),
            );
        }
        if !self.partial.is_empty() {
            let names = HeaderValue::try_from(self.partial.join(", ")).ok();
            headers.extend(names.map(|names| (XEN_PARTIAL.clone(), names)));
        }
        if let Some(query) = &self.next_query {
            let link = HeaderValue::try_from(format!("<?{query}>; rel=\"next\"")).ok();
            headers.extend(link.map(|link| (header::LINK, link)));
        }
        Ok(response)
    }
}
