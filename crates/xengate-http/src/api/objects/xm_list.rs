//! `GET /vms` as xm prints it: `Accept: text/plain`, `view=brief|long|label|vcpus`.

use crate::extract::Authenticated;
use std::collections::HashSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::handler::Handler;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, header};

use super::read;
use crate::Gateway;
use crate::extract::takes_any_text;
use crate::negotiation::names;
use crate::problem::{Code, Problem};
use crate::scope::Scope;
use xenapi_model::datamodel;
use xengate_core::ops::{domains, with_vcpus};
use xengate_core::xm::{self, Domain, NoSuchDomain, State as PowerState, View, Wanted};

const TEXT: &str = "text/plain";

/// The same path answers JSON as well.
const VARY: &str = "Accept-Encoding, Accept";

/// What is to be printed.
struct Asked {
    view: View,
    wanted: Wanted,
    pool: Option<String>,
    backend: Option<String>,
}

/// Answers who wants text; everybody else gets the list.
pub async fn list(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    if !wants_text(&request) {
        return read::list.call(request, gateway).await;
    }
    let (mut parts, _) = request.into_parts();
    Box::pin(print(&gateway, &mut parts)).await.into_response()
}

/// Whoever names a view and takes text, unless JSON is what is named.
fn wants_text(request: &Request) -> bool {
    let query = request.uri().query().unwrap_or_default();
    let views = form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "view");
    let headers = request.headers();
    let json = names(headers, "application/json") && !names(headers, TEXT);
    views && !json && takes_any_text(headers)
}

async fn print(gateway: &Arc<Gateway>, parts: &mut Parts) -> Result<Response, Problem> {
    let caller = Authenticated::from_request_parts(parts, gateway).await?.0;
    let asked = asked(parts.uri.query().unwrap_or_default())?;
    // Which CPUs are all there are, the host tells.
    let host = (asked.view == View::Vcpus).then(|| datamodel().class("host")).flatten();
    let reads = host.map(|class| class.id);
    let scope = Scope::of_classes(gateway, &caller, asked.backend.as_deref(), reads).await?;
    let mut all = Vec::new();
    for (host, (name, _)) in scope.readings().iter().enumerate() {
        let reach = Scope::reach(gateway, &caller, name)?;
        let mut known = domains(&reach)?;
        if let Some(pool) = &asked.pool {
            known.retain(|domain| domain.pool == *pool);
        }
        if asked.view == View::Vcpus {
            // What is not printed need not be asked for.
            let chosen: HashSet<String> =
                asked.wanted.among(&known).iter().map(|domain| domain.uuid.clone()).collect();
            known.retain(|domain| chosen.contains(&domain.uuid));
            known = with_vcpus(&reach, known).await?;
        }
        all.extend(known.into_iter().map(|domain| Domain { host, ..domain }));
    }
    let text = xm::list(asked.view, &asked.wanted, &all).map_err(|NoSuchDomain(name)| {
        let problem = Problem::new(Code::NotFound, NoSuchDomain(name.clone()).to_string());
        problem.with_params([name])
    })?;
    let mut response = Body::from(text).into_response();
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static(VARY));
    scope.mark(&mut response);
    Ok(response)
}

fn asked(query: &str) -> Result<Asked, Problem> {
    let (mut view, mut state, mut names) = (None, None, Vec::new());
    let (mut pool, mut backend) = (None, None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let once = |is_new: bool| match is_new {
            true => Ok(()),
            false => Err(Problem::new(Code::DuplicateParameter, format!("{name} is given twice"))),
        };
        let one_of = |known: &[&str]| {
            Problem::new(Code::BadParameter, format!("{name} is one of {}", known.join(", ")))
        };
        match &*name {
            "view" => {
                once(view.is_none())?;
                view = Some(View::parse(&value).ok_or_else(|| one_of(&View::NAMES))?);
            }
            "state" => {
                once(state.is_none())?;
                state = Some(PowerState::parse(&value).ok_or_else(|| one_of(&PowerState::NAMES))?);
            }
            "name" => names.push(value.into_owned()),
            "pool" => {
                once(pool.is_none())?;
                pool = Some(value.into_owned());
            }
            "backend" => {
                once(backend.is_none())?;
                backend = Some(value.into_owned());
            }
            _ => {
                let text = "printed lists take view, state, name, pool and backend";
                return Err(Problem::new(Code::UnknownParameter, text));
            }
        }
    }
    if pool.is_some() && !names.is_empty() {
        let text = "You may specify either a pool or a particular VM, but not both";
        return Err(Problem::new(Code::BadParameter, text));
    }
    let wanted = Wanted::new(names, state)
        .map_err(|error| Problem::new(Code::BadParameter, error.to_string()))?;
    Ok(Asked { view: view.unwrap_or(View::Brief), wanted, pool, backend })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(uri: &str, accept: Option<&str>) -> bool {
        let mut request = http::Request::builder().uri(uri);
        if let Some(accept) = accept {
            request = request.header(header::ACCEPT, accept);
        }
        wants_text(&request.body(Body::empty()).expect("a request"))
    }

    #[test]
    fn text_is_for_who_wants_it() {
        assert!(wanted("/vms?view=brief", Some("text/plain")));
        assert!(wanted("/vms?view=long", Some("*/*")) && wanted("/vms?view=long", None));
        assert!(wanted("/vms?view=long", Some("text/plain, application/json")));
        assert!(!wanted("/vms", Some("text/plain")) && !wanted("/vms", None));
        assert!(!wanted("/vms?view=long", Some("application/json")));
        assert!(!wanted("/vms?view=long", Some("text/csv")));
    }

    #[test]
    fn parameters_are_checked() {
        let wrong = |query: &str| asked(query).err().map(|problem| problem.code().to_owned());
        assert!(asked("view=vcpus&name=a&name=b&backend=x").is_ok());
        assert!(asked("view=brief&state=running&pool=Pool-0").is_ok());
        assert!(asked("").is_ok_and(|asked| asked.view == View::Brief));
        for (query, code) in [
            ("view=wide", "BAD_PARAMETER"),
            ("state=odd", "BAD_PARAMETER"),
            ("state=running&name=a", "BAD_PARAMETER"),
            ("pool=Pool-0&name=a", "BAD_PARAMETER"),
            ("pool=Pool-0&pool=Pool-1", "DUPLICATE_PARAMETER"),
            ("view=long&view=brief", "DUPLICATE_PARAMETER"),
            ("limit=3", "UNKNOWN_PARAMETER"),
        ] {
            assert_eq!(wrong(query).as_deref(), Some(code), "{query}");
        }
    }
}
