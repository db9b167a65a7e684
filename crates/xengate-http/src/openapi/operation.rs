//! One operation of the API, as the document and the tests see it.

use std::collections::BTreeSet;

use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::{HttpMethod, OperationBuilder};
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Deprecated, Ref, RefOr, Response};

use super::failures;
use xenapi_model::{Call, Roles, datamodel};

/// The name of the security scheme of those who are logged in.
pub(crate) const SECURITY_SCHEME: &str = "bearer";

/// The name of the security scheme of those who scrape.
pub(crate) const SCRAPER_SCHEME: &str = "scraper";

/// How many calls a line names.
const SHOWN_CALLS: usize = 8;

/// An operation of the API.
#[derive(Clone)]
pub struct Operation {
    /// `GET`.
    pub method: HttpMethod,
    /// `/vms/{uuid}`.
    pub path: String,
    /// `getVm`.
    pub id: String,
    /// `VM`: the class, or a part of the gateway.
    pub tag: String,
    /// Who may use it.
    pub access: Access,
    /// The Xen-API calls it stands for: `VM.get_record`.
    pub calls: Vec<String>,
    /// `PATCH /vms/{uuid}`: what does the same, and more simply.
    pub second_to: Option<String>,
    pub(crate) summary: String,
    pub(crate) description: Option<String>,
    pub(crate) deprecated: bool,
    pub(crate) parameters: Vec<Ref>,
    pub(crate) body: Option<RequestBody>,
    pub(crate) responses: Vec<(u16, RefOr<Response>)>,
}

/// Who may use an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone, without a token.
    Public,
    /// Requests of the gateway's own machine, and who has the token for it in the configuration.
    Scraper,
    /// Who has the token for it in the configuration.
    FleetScraper,
    /// Anyone who is logged in.
    Session,
    /// Who is logged in with one of these roles on the backend.
    Roles(Roles),
}

/// The roles that may make this call.
pub(crate) fn access(call: &str) -> Access {
    Access::Roles(call_named(call).roles)
}

/// The roles that may make all of these calls.
pub(crate) fn access_to_all(calls: &[String]) -> Access {
    let roles = calls.iter().map(|name| call_named(name).roles.0);
    Access::Roles(Roles(roles.fold(u8::MAX, |all, roles| all & roles)))
}

/// The roles that may make at least one of these calls.
pub(crate) fn access_to_any(calls: &[String]) -> Access {
    let roles = calls.iter().map(|name| call_named(name).roles.0);
    Access::Roles(Roles(roles.fold(0, |all, roles| all | roles)))
}

fn call_named(name: &str) -> &'static Call {
    datamodel().call(name).expect("operations name the datamodel's calls").1
}

impl Operation {
    /// Whether it takes a body.
    pub fn has_body(&self) -> bool {
        self.body.is_some()
    }

    /// An operation of the gateway's own, for anyone who is logged in; the rest is filled in over
    /// it.
    pub(crate) fn own(method: HttpMethod, path: &str, id: &str, tag: &str, summary: &str) -> Self {
        Self {
            method,
            path: path.into(),
            id: id.into(),
            tag: tag.into(),
            access: Access::Session,
            calls: Vec::new(),
            second_to: None,
            summary: summary.into(),
            description: None,
            deprecated: false,
            parameters: Vec::new(),
            body: None,
            responses: Vec::new(),
        }
    }

    /// `GET`, as it stands in a request.
    pub fn method_name(&self) -> &'static str {
        match self.method {
            HttpMethod::Get => "GET",
            HttpMethod::Post => "POST",
            HttpMethod::Put => "PUT",
            HttpMethod::Delete => "DELETE",
            HttpMethod::Options => "OPTIONS",
            HttpMethod::Head => "HEAD",
            HttpMethod::Patch => "PATCH",
            HttpMethod::Trace => "TRACE",
        }
    }

    /// One line: method, path, operationId, the least role that will do, calls.
    pub(crate) fn line(&self) -> String {
        let role = match self.access {
            Access::Public => "public",
            Access::Scraper | Access::FleetScraper => "scraper",
            Access::Session => "session",
            // What no role may, a local superuser still may.
            Access::Roles(roles) => roles.names().last().unwrap_or("superuser"),
        };
        let calls = match self.calls.split_at_checked(SHOWN_CALLS) {
            _ if self.calls.is_empty() => "-".to_owned(),
            Some((shown, more)) if !more.is_empty() => {
                format!("{},… {} more", shown.join(","), more.len())
            }
            _ => self.calls.join(","),
        };
        let Self { path, id, .. } = self;
        format!("{:<6} {path:<60} {id:<40} {role:<14} {calls}", self.method_name())
    }

    /// The operation as the document has it.
    pub(crate) fn document(&self) -> utoipa::openapi::path::Operation {
        let scraper = || SecurityRequirement::new(SCRAPER_SCHEME, [""; 0]);
        let security = match self.access {
            Access::Public => Vec::new(),
            Access::Scraper => vec![SecurityRequirement::default(), scraper()],
            Access::FleetScraper => vec![scraper()],
            Access::Session | Access::Roles(_) => {
                vec![SecurityRequirement::new(SECURITY_SCHEME, [""; 0])]
            }
        };
        let mut builder = OperationBuilder::new()
            .tag(&self.tag)
            .operation_id(Some(&self.id))
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
        if let Access::Roles(roles) = self.access {
            extensions = extensions.add("x-xen-roles", roles.names().collect::<Vec<_>>());
        }
        match self.calls.as_slice() {
            [] => {}
            [one] => extensions = extensions.add("x-xen-call", one.as_str()),
            several => extensions = extensions.add("x-xen-call", several),
        }
        let extensions = extensions.build();
        builder.extensions((!extensions.is_empty()).then_some(extensions)).build()
    }
}
