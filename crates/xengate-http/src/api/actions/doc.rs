//! Operations that make one call of the Xen-API by its name.

use std::sync::Arc;

use axum::routing::{MethodRouter, post};
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::{RefOr, Required, Response};

use super::{naming, results};
use crate::Gateway;
use crate::api::catalog::collections::{Collection, collection_of};
use crate::api::objects::read::class_of;
use crate::api::objects::{inputs_doc, records_doc};
use crate::api::tasks;
use crate::openapi::answers;
use crate::openapi::answers::answer;
use crate::openapi::description::Description;
use crate::openapi::endpoint::{Endpoint, With};
use crate::openapi::failures;
use crate::openapi::failures::Failure;
use crate::openapi::parameters;
use crate::openapi::parts::Parts;
use crate::openapi::shapes::Shape;
use xenapi_model::{Call, Class, State, describe};
use xengate_core::ops::actions::{Action, On, actions};
use xengate_core::ops::create::{constructor, destructor};
use xengate_core::ops::patch::writable;
use xengate_core::ops::unimplemented;

/// The actions of a class, at its own collection. `taken` tells the names of other operations.
pub(crate) fn endpoints(
    collection: &'static Collection,
    taken: &dyn Fn(&str) -> bool,
) -> Vec<Endpoint> {
    let class = class_of(collection);
    // What is done to a task stands with the tasks: not all of those are the backend's.
    let of_tasks = |action: &Action| class.name == "task" && action.on == On::Object;
    let actions = actions(class).filter(|action| !of_tasks(action));
    actions.map(|action| endpoint(collection, action, taken)).collect()
}

fn endpoint(
    collection: &'static Collection,
    action: Action,
    taken: &dyn Fn(&str) -> bool,
) -> Endpoint {
    let Action { class, call, on } = action;
    let id = naming::action(collection, call, taken);
    let route = route(collection, on);
    let path = route.replace("{call}", &call.name);
    let describe = {
        let id = id.clone();
        move |parts: &mut Parts| describe_action(parts, collection, action, &id)
    };
    let endpoint = match on {
        On::Object => {
            let handler = With(collection, super::of_object);
            Endpoint::post(&path, &id, tag(class), handler, describe)
        }
        On::Collection => {
            let handler = With(collection, super::of_collection);
            Endpoint::post(&path, &id, tag(class), handler, describe)
        }
    };
    endpoint.makes([&*call.wire_name]).routed_at(route)
}

/// Where all actions of a collection are, or all those of its objects.
pub(crate) fn route(collection: &Collection, on: On) -> String {
    match on {
        On::Object => format!("/{}/{{uuid}}/actions/{{call}}", collection.path),
        On::Collection => format!("/{}/actions/{{call}}", collection.path),
    }
}

/// The same actions at a collection that shows a part of the class.
pub(crate) fn of_view(
    collection: &'static Collection,
) -> Vec<(String, MethodRouter<Arc<Gateway>>)> {
    let class = class_of(collection);
    let has = |on| actions(class).any(|action| action.on == on);
    let of_object = || post(With(collection, super::of_object));
    let of_collection = || post(With(collection, super::of_collection));
    let object = has(On::Object).then(|| (route(collection, On::Object), of_object()));
    let whole = has(On::Collection).then(|| (route(collection, On::Collection), of_collection()));
    object.into_iter().chain(whole).collect()
}

fn describe_action(
    parts: &mut Parts,
    collection: &Collection,
    Action { class, call, on }: Action,
    id: &str,
) -> Description {
    let mut parameters = match on {
        On::Object => {
            let mut parameters = parameters::of_object(parts);
            parameters.push(parameters::if_match(parts));
            parameters
        }
        On::Collection => vec![parameters::of_backend(parts)],
    };
    if call.has_async {
        parameters.push(parameters::prefer(parts));
    }
    let body = inputs_doc::of_call(class, call, on == On::Object).map(|(schema, required)| {
        let name = format!("{}Parameters", naming::capital(id));
        json_body(parts.schema(&name, |_| schema.into()), required)
    });
    let more: &[Failure] = if body.is_some() { &failures::OF_BODY } else { &[] };
    let version: &[Failure] = match on {
        On::Object => &[failures::PRECONDITION_FAILED],
        On::Collection => &[],
    };
    let failures = [&failures::OF_CALL, version, more].concat();
    let mut responses = successes(parts, call);
    responses.extend(failures.into_iter().map(|failure| failure.response(parts)));
    let (summary, description) = words(class, call);
    let description = with_warning(description, call);
    Description {
        description,
        deprecated: call.lifecycle.state == State::Deprecated || records_doc::is_deprecated(class),
        second_to: first_way(collection, class, call),
        parameters,
        body,
        ..Description::of(summary, responses)
    }
}

/// The operation of the collection that makes this call too.
fn first_way(collection: &Collection, class: &'static Class, call: &Call) -> Option<String> {
    collection_of(&class.name)?;
    let is = |of: Option<&Call>| of.is_some_and(|of| of.name == call.name);
    let changes = || {
        writable(class).any(|(field, writing)| {
            let set = call.name.strip_prefix("set_") == Some(&field.name);
            set || writing.calls(field).contains(&&*call.wire_name)
        })
    };
    match class.name.as_str() {
        // What makes and ends a task is not the backend's alone.
        "task" if !changes() => None,
        _ if is(constructor(class)) => Some(format!("POST /{}", collection.path)),
        _ if is(destructor(class)) => Some(format!("DELETE /{}/{{uuid}}", collection.path)),
        _ if changes() => Some(format!("PATCH /{}/{{uuid}}", collection.path)),
        _ => None,
    }
}

/// Where the document groups what is done to a class. What is done about sessions of a backend stands
/// with the gateway's own.
fn tag(class: &Class) -> &str {
    if class.name == "session" { "Sessions" } else { &class.name }
}

/// A JSON body.
pub(crate) fn json_body(shape: Shape, required: bool) -> RequestBody {
    RequestBodyBuilder::new()
        .required(Some(if required { Required::True } else { Required::False }))
        .content("application/json", ContentBuilder::new().schema(Some(shape)).build())
        .build()
}

fn successes(parts: &mut Parts, call: &Call) -> Vec<(u16, RefOr<Response>)> {
    match &call.result {
        _ if call.has_async => {
            vec![tasks::doc::started(parts), tasks::doc::ended(parts, call.result.as_ref())]
        }
        None => vec![done(parts)],
        Some(ty) => {
            let body = results::of(parts, call, ty);
            let response = answer(parts, "What the call returned.", Some(body));
            vec![(200, answers::pending(parts, response).build().into())]
        }
    }
}

/// 204.
pub(crate) fn done(parts: &mut Parts) -> (u16, RefOr<Response>) {
    let response = parts.response("Done", |parts| {
        let response = answer(parts, "Done.", None);
        answers::pending(parts, response).build()
    });
    (204, response)
}

/// The description of a call, with word of it where no pool carries it out.
pub(crate) fn with_warning(description: Option<String>, call: &Call) -> Option<String> {
    let Some(never) = unimplemented::find(&call.wire_name) else { return description };
    let warning = format!("On a pool this is a 501: {}.", never.why);
    Some(description.map_or(warning.clone(), |text| format!("{text} {warning}")))
}

/// A summary, and a description where there is more to say.
fn words(class: &Class, call: &Call) -> (String, Option<String>) {
    let text = describe(&class.name).and_then(|words| words.calls.get(&call.name));
    let Some(text) = text else { return (format!("Call `{}`", call.wire_name), None) };
    match text.split_once(';') {
        Some((summary, _)) => (summary.to_owned(), Some(text.clone())),
        None => (text.trim_end_matches('.').to_owned(), None),
    }
}
