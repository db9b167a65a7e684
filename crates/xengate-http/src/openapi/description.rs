//! What the document says of an operation.

use std::collections::BTreeSet;

use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::OperationBuilder;
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Deprecated, Ref, RefOr, Response};

use super::endpoint::{Access, Endpoint};
use super::failures;

/// The name of the security scheme of those who are logged in.
pub(crate) const SECURITY_SCHEME: &str = "bearer";

/// The name of the security scheme of those who scrape.
pub(crate) const SCRAPER_SCHEME: &str = "scraper";

/// What an operation takes and answers, and why one would use it.
#[derive(Clone)]
pub(crate) struct Description {
    /// One line.
    pub(crate) summary: String,
    /// What that leaves out.
    pub(crate) description: Option<String>,
    pub(crate) deprecated: bool,
    /// `PATCH /vms/{uuid}`: what does the same, and more simply.
    pub(crate) second_to: Option<String>,
    pub(crate) parameters: Vec<Ref>,
    pub(crate) body: Option<RequestBody>,
    pub(crate) responses: Vec<(u16, RefOr<Response>)>,
}

impl Description {
    /// One of what takes nothing and answers so; the rest is filled in over it.
    pub(crate) fn of(summary: impl Into<String>, responses: Vec<(u16, RefOr<Response>)>) -> Self {
        Self {
            summary: summary.into(),
            description: None,
            deprecated: false,
            second_to: None,
            parameters: Vec::new(),
            body: None,
            responses,
        }
    }

    /// The operation as the document has it.
    pub(crate) fn operation(&self, endpoint: &Endpoint) -> utoipa::openapi::path::Operation {
        let scraper = || SecurityRequirement::new(SCRAPER_SCHEME, [""; 0]);
        let security = match endpoint.access {
            Access::Public => Vec::new(),
            Access::Scraper => vec![SecurityRequirement::default(), scraper()],
            Access::FleetScraper => vec![scraper()],
            Access::Session | Access::Roles(_) => {
                vec![SecurityRequirement::new(SECURITY_SCHEME, [""; 0])]
            }
        };
        let mut builder = OperationBuilder::new()
            .tag(&endpoint.tag)
            .operation_id(Some(&endpoint.id))
            .summary(Some(&self.summary))
            .description(self.description.as_ref())
            .deprecated(self.deprecated.then_some(Deprecated::True))
            .request_body(self.body.clone())
            .securities(Some(security));
        for parameter in &self.parameters {
            builder = builder.parameter_ref(parameter.clone());
        }
        let mut failures = BTreeSet::new();
        for (status, response) in &self.responses {
            if failures::is_failure(response) {
                failures.insert(*status);
                builder = builder.response("default", response.clone());
            } else {
                builder = builder.response(status.to_string(), response.clone());
            }
        }
        let mut extensions = ExtensionsBuilder::new();
        if !failures.is_empty() {
            extensions = extensions.add("x-problem-statuses", Vec::from_iter(failures));
        }
        if let Some(first) = &self.second_to {
            extensions = extensions.add("x-first-way", first.as_str());
        }
        if let Access::Roles(roles) = endpoint.access {
            extensions = extensions.add("x-xen-roles", roles.names().collect::<Vec<_>>());
        }
        match endpoint.calls.as_slice() {
            [] => {}
            [one] => extensions = extensions.add("x-xen-call", one.as_str()),
            several => extensions = extensions.add("x-xen-call", several),
        }
        let extensions = extensions.build();
        builder.extensions((!extensions.is_empty()).then_some(extensions)).build()
    }
}
