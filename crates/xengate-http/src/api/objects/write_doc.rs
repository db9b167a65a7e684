//! Operations that make, change and destroy objects.

use serde_json::json;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::schema::OneOfBuilder;
use utoipa::openapi::{RefOr, Response};

use super::read::class_of;
use super::write;
use super::{inputs_doc, provision_doc, records_doc};
use crate::api::actions::doc::{done, json_body};
use crate::api::actions::naming;
use crate::api::catalog::collections::Collection;
use crate::api::objects::read_doc::nouns;
use crate::api::tasks;
use crate::openapi::answers;
use crate::openapi::answers::answer;
use crate::openapi::description::Description;
use crate::openapi::endpoint::{Access, Endpoint, With, access_to_all, access_to_any};
use crate::openapi::failures;
use crate::openapi::parameters;
use crate::openapi::parts::Parts;
use crate::openapi::shapes::{
    Shape, array, deprecated, described, extended, object, or_null_shape, string,
};
use xenapi_model::{Call, CallKind, Class, Field, Type};
use xengate_core::ops::create::runs_as_task;
use xengate_core::ops::patch::{Writing, writable};

/// `POST /{collection}`.
pub(crate) fn create(collection: &'static Collection, call: &'static Call) -> Endpoint {
    let class = class_of(collection);
    let endpoint = Endpoint::post(
        &format!("/{}", collection.path),
        &naming::of_one("create", collection),
        &class.name,
        With(collection, write::create),
        move |parts| describe_create(parts, collection, class, call),
    );
    let endpoint = endpoint.makes([&*call.wire_name]);
    if class.name == "VM" { provision_doc::provisions(endpoint) } else { endpoint }
}

fn describe_create(
    parts: &mut Parts,
    collection: &Collection,
    class: &'static Class,
    call: &'static Call,
) -> Description {
    let (one, _) = nouns(collection);
    let (schema, required) = match call.kind {
        CallKind::Create => inputs_doc::of_record(class, call),
        _ => inputs_doc::of_call(class, call, false)
            .unwrap_or_else(|| (inputs_doc::body([], &[]), false)),
    };
    let slow = runs_as_task(call);
    let created = created(parts, class, slow || class.name == "VM");
    let mut description = Description {
        deprecated: records_doc::is_deprecated(class),
        parameters: vec![parameters::of_backend(parts)],
        ..Description::of(format!("Create one {one}"), all(parts, created, &failures::OF_BODY))
    };
    if slow {
        as_task(parts, &mut description, "is answered with the new object");
    }
    if class.name == "VM" {
        return provision_doc::provision(parts, description, schema);
    }
    let shape = parts.schema(&format!("{}Create", collection.one), |_| schema.into());
    Description { body: Some(json_body(shape, required)), ..description }
}

/// `PATCH /{collection}/{uuid}`.
pub(crate) fn change(collection: &'static Collection) -> Endpoint {
    let class = class_of(collection);
    let mut calls: Vec<String> = Vec::new();
    for (field, writing) in writable(class) {
        let new = writing.calls(field).into_iter().filter(|call| !calls.iter().any(|c| c == call));
        calls.extend(new.map(str::to_owned).collect::<Vec<_>>());
    }
    Endpoint::patch(
        &format!("/{}/{{uuid}}", collection.path),
        &naming::of_one("patch", collection),
        &class.name,
        With(collection, write::change),
        move |parts| describe_change(parts, collection, class),
    )
    .open_to(access_to_any(&calls))
    .calls(calls)
}

fn describe_change(
    parts: &mut Parts,
    collection: &Collection,
    class: &'static Class,
) -> Description {
    let (one, _) = nouns(collection);
    let name = format!("{}Changes", records_doc::component_name(&class.name));
    let shape = parts.schema(&name, |_| {
        let members = writable(class)
            .map(|(field, writing)| (field.name.as_str(), change_of(class, field, writing)));
        inputs_doc::body(members.collect::<Vec<_>>(), &[]).into()
    });
    let body = changed(parts, class);
    let changed = answer(parts, "The object as it is now; of a dry run, the calls.", Some(body));
    let changed = answers::versions(parts, changed);
    let changed = answers::pending(parts, changed);
    let changed = answers::ignored(parts, changed).build();
    let mut parameters = parameters::of_object(parts);
    parameters.extend([parameters::dry_run(parts), parameters::if_match(parts)]);
    Description {
        description: Some(
            "A JSON merge patch (RFC 7396) of the fields that can be changed: what is not named \
             stays as it is, null removes a map's key or empties a map or a set. It is checked \
             whole before anything is sent; the calls that it takes (`x-xen-call` of each field, \
             with its own `x-xen-roles`) are not one transaction, so a problem lists what was \
             `applied`, what `failed` and what was `not_tried`."
                .into(),
        ),
        deprecated: records_doc::is_deprecated(class),
        parameters,
        body: Some(merge_patch(shape)),
        ..Description::of(
            format!("Change one {one}"),
            all(parts, (200, changed.into()), &of_body_and_version()),
        )
    }
}

/// The object, or the calls that changing it would take.
fn changed(parts: &mut Parts, class: &Class) -> Shape {
    let record = records_doc::record(parts, class);
    let plan = parts.schema("ChangePlan", |_| {
        let text = "The calls, in the order in which they would be made.";
        object([("calls", array(string()), text)], &["calls"])
            .description(Some("What a change would take."))
            .examples([json!({"calls": ["VM.set_name_label"]})])
            .into()
    });
    let name = format!("Changed{}", records_doc::component_name(&class.name));
    parts.schema(&name, |_| OneOfBuilder::new().item(record).item(plan).into())
}

/// The new value of a field, or what is to change in it.
pub(crate) fn change_of(class: &Class, field: &Field, writing: Writing) -> Shape {
    let shape: Shape = match &field.ty {
        Type::Map(key, value) => {
            or_null_shape(inputs_doc::map(key, or_null_shape(inputs_doc::whole(value))).into())
        }
        Type::Set(_) => or_null_shape(inputs_doc::of_type(&field.ty)),
        ty => inputs_doc::of_type(ty),
    };
    let shape = match inputs_doc::of_field(class, field) {
        Some(words) => described(shape, words),
        None => shape,
    };
    let shape = if records_doc::is_old(&field.lifecycle) { deprecated(shape) } else { shape };
    let calls = writing.calls(field);
    let names: Vec<String> = calls.iter().map(|name| (*name).to_owned()).collect();
    let Access::Roles(roles) = access_to_all(&names) else { return shape };
    let shape = match calls.as_slice() {
        [one] => extended(shape, "x-xen-call", *one),
        several => extended(shape, "x-xen-call", several),
    };
    extended(shape, "x-xen-roles", roles.names().collect::<Vec<_>>())
}

/// The same body under both names of a merge patch.
fn merge_patch(shape: Shape) -> RequestBody {
    let mut body = json_body(shape.clone(), true);
    let content = ContentBuilder::new().schema(Some(shape)).build();
    body.content.insert("application/merge-patch+json".into(), content.into());
    body
}

/// `DELETE /{collection}/{uuid}`.
pub(crate) fn destroy(collection: &'static Collection, call: &'static Call) -> Endpoint {
    let class = class_of(collection);
    let (path, id) =
        (format!("/{}/{{uuid}}", collection.path), naming::of_one("destroy", collection));
    let describe = move |parts: &mut Parts| describe_destroy(parts, collection, class, call);
    match class.name.as_str() {
        "VM" => {
            let handler = With(collection, write::destroy_machine);
            provision_doc::destroys(Endpoint::delete(&path, &id, &class.name, handler, describe))
        }
        _ => {
            let handler = With(collection, write::destroy);
            Endpoint::delete(&path, &id, &class.name, handler, describe).makes([&*call.wire_name])
        }
    }
}

fn describe_destroy(
    parts: &mut Parts,
    collection: &Collection,
    class: &'static Class,
    call: &'static Call,
) -> Description {
    let (one, _) = nouns(collection);
    let done = done(parts);
    let mut parameters = parameters::of_object(parts);
    parameters.push(parameters::if_match(parts));
    let mut description = Description {
        deprecated: records_doc::is_deprecated(class),
        parameters,
        ..Description::of(
            format!("Destroy one {one}"),
            all(parts, done, &[failures::PRECONDITION_FAILED]),
        )
    };
    if runs_as_task(call) {
        as_task(parts, &mut description, "is a 204");
    }
    if class.name == "VM" { provision_doc::destroy(parts, description) } else { description }
}

/// A call that may take long: a 202, unless the client waits for its end.
fn as_task(parts: &mut Parts, description: &mut Description, end: &str) {
    description.parameters.push(parameters::prefer(parts));
    description.responses.push(tasks::doc::started(parts));
    description.description = Some(format!(
        "A task does it, as it may take long: 202 with the task, unless it was waited for \
         (`Prefer: wait=N`) and has succeeded, which {end}. One that fails within the wait is its \
         problem."
    ));
}

/// 201.
fn created(parts: &mut Parts, class: &Class, slow: bool) -> (u16, RefOr<Response>) {
    let record = records_doc::record(parts, class);
    let mut created = answer(parts, "The new object.", Some(record))
        .header_ref("Location", answers::location(parts));
    created = answers::versions(parts, created);
    if slow {
        created = created.header_ref("Preference-Applied", answers::preference_applied(parts));
    }
    (201, answers::pending(parts, created).build().into())
}

fn of_body_and_version() -> Vec<failures::Failure> {
    [&failures::OF_BODY[..], &[failures::PRECONDITION_FAILED]].concat()
}

/// This success, and every way in which a call may fail.
fn all(
    parts: &mut Parts,
    success: (u16, RefOr<Response>),
    more: &[failures::Failure],
) -> Vec<(u16, RefOr<Response>)> {
    answers::with(parts, success, &[&failures::OF_CALL, more].concat())
}
