//! The document's components, each put in when something first names it: what nothing names is
//! not in the document.

use utoipa::openapi::Components;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Parameter;
use utoipa::openapi::schema::ObjectBuilder;
use utoipa::openapi::{Ref, RefOr, Response};

use crate::openapi::shapes::{Shape, named};

/// Components so far.
#[derive(Default)]
pub(crate) struct Parts {
    components: Components,
}

impl Parts {
    /// Names a schema; `make` gives it the first time.
    pub(crate) fn schema(&mut self, name: &str, make: impl FnOnce(&mut Self) -> Shape) -> Shape {
        if !self.components.schemas.contains_key(name) {
            // A class that names itself finds its name taken.
            self.components.schemas.insert(name.to_owned(), ObjectBuilder::new().into());
            let schema = make(self);
            self.components.schemas.insert(name.to_owned(), schema);
        }
        named(name)
    }

    /// Names a response; `make` gives it the first time.
    pub(crate) fn response(
        &mut self,
        name: &str,
        make: impl FnOnce(&mut Self) -> Response,
    ) -> RefOr<Response> {
        if !self.components.responses.contains_key(name) {
            let response = make(self);
            self.components.responses.insert(name.to_owned(), response.into());
        }
        Ref::from_response_name(name).into()
    }

    /// Names a parameter; `make` gives it the first time.
    pub(crate) fn parameter(&mut self, name: &str, make: impl FnOnce() -> Parameter) -> Ref {
        let parameters = &mut self.components.parameters;
        parameters.entry(name.to_owned()).or_insert_with(|| make().into());
        Ref::new(format!("#/components/parameters/{name}"))
    }

    /// Names a response header.
    pub(crate) fn header(&mut self, name: &str, shape: Shape, description: &str) -> Ref {
        self.components.headers.entry(name.to_owned()).or_insert_with(|| {
            HeaderBuilder::new().schema(Some(shape)).description(Some(description)).build().into()
        });
        Ref::new(format!("#/components/headers/{name}"))
    }

    /// All of them.
    pub(crate) fn finish(self) -> Components {
        self.components
    }
}
