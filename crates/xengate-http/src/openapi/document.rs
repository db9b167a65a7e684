//! The whole document, and the list of operations.

use std::sync::OnceLock;

use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Paths, ServerBuilder};

use super::choice::Choice;
use super::description::{SCRAPER_SCHEME, SECURITY_SCHEME};
use super::endpoint::Endpoint;
use super::parts::Parts;
use super::tree::Node;
use super::{groups, older, text};

/// A version of OpenAPI that the document can be had in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 3.1, as it is written.
    Newest,
    /// 3.0.3, for programs that do not know 3.1.
    Older,
}

/// The document of some endpoints. It is made when it is first asked for.
#[derive(Debug)]
pub struct Document {
    endpoints: &'static [Endpoint],
    tags: Vec<(&'static str, String)>,
    json: OnceLock<String>,
}

impl Document {
    /// One of these endpoints, with what each of their tags holds.
    pub fn new(endpoints: &'static [Endpoint], tags: Vec<(&'static str, String)>) -> Self {
        Self { endpoints, tags, json: OnceLock::new() }
    }

    /// One line per operation: method, path, operationId, the least role that will do, calls.
    pub fn operations_text(&self) -> String {
        let mut lines: Vec<_> =
            self.endpoints.iter().map(|endpoint| (&endpoint.path, endpoint.line())).collect();
        lines.sort();
        lines.into_iter().map(|(_, line)| line + "\n").collect()
    }

    /// The document.
    pub fn whole(&self) -> OpenApi {
        let (mut parts, mut paths) = (Parts::default(), Paths::new());
        for endpoint in self.endpoints {
            let operation = endpoint.description(&mut parts).operation(endpoint);
            paths.add_path_operation(&endpoint.path, vec![endpoint.method.clone()], operation);
        }
        let mut components = parts.finish();
        components.add_security_scheme(SECURITY_SCHEME, of_callers());
        components.add_security_scheme(SCRAPER_SCHEME, of_scrapers());
        let info = InfoBuilder::new()
            .title("xengate")
            .version(env!("CARGO_PKG_VERSION"))
            .description(Some(include_str!("info.md").trim_end()))
            .license(Some(
                LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build(),
            ));
        let server = ServerBuilder::new()
            .url("/")
            .description(Some("The gateway that serves this document"));
        let tag = |(name, text): &(&'static str, String)| {
            TagBuilder::new().name(*name).description(Some(text)).build()
        };
        let mut document = OpenApiBuilder::new()
            .info(info)
            .servers(Some([server.build()]))
            .tags(Some(self.tags.iter().map(tag).collect::<Vec<_>>()))
            .paths(paths)
            .components(Some(components))
            .build();
        let groups = groups::of(&self.tags.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        document.extensions = Some(Extensions::from_iter([("x-tagGroups", groups)]));
        document
    }

    /// The document as text, in an order that never changes.
    pub fn json(&self) -> &str {
        self.json.get_or_init(|| text::render(&Node::of(&self.whole()), text::Layout::Compact))
    }

    /// The same for people: indented, with a newline at its end.
    pub fn pretty(&self) -> String {
        text::render(&Node::of(&self.whole()), text::Layout::Indented)
    }

    /// What is wanted of the document, in a version of OpenAPI, as text.
    pub fn part(&self, version: Version, choice: &Choice) -> String {
        let whole: Node = serde_json::from_str(self.json()).expect("this was just written");
        let part = if choice.is_all() { whole } else { choice.of(&whole) };
        let part = match version {
            Version::Newest => part,
            Version::Older => older::of(part),
        };
        text::render(&part, text::Layout::Compact)
    }

    /// Whether the document has operations with this tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.tag == tag)
    }
}

/// How those prove themselves who are logged in.
fn of_callers() -> SecurityScheme {
    let text = "The token that `POST /sessions` answers.";
    let http = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
    SecurityScheme::Http(http.description(Some(text)).build())
}

/// How those prove themselves who scrape.
fn of_scrapers() -> SecurityScheme {
    let text = "The token in the file of `metrics.scrape_token_file`, or for `/metrics/xen` of \
                `metrics.xen_token_file`.";
    let http = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
    SecurityScheme::Http(http.description(Some(text)).build())
}
