//! `POST /{collection}/{uuid}/actions/{call}` and `POST /{collection}/actions/{call}`: the
//! Xen-API's own calls.

pub mod doc;
pub mod naming;
pub mod results;

use std::sync::Arc;

use axum::Extension;
use axum::extract::Path;
use axum::response::Response;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::Gateway;
use crate::answer;
use crate::api::catalog::collections::Collection;
use crate::api::objects::read::{TargetQuery, class_of};
use crate::api::objects::write::{make, start};
use crate::api::tasks::started;
use crate::extract::{AcceptsJson, Change, PreferWait, Target, Unread, Writing};
use crate::problem::{Code, Problem};
use crate::revision::Revision;
use crate::write_lock::WriteGuard;
use xengate_core::ops::Reach;
use xengate_core::ops::actions::{Action, NoAction, On, action};
use xengate_core::ops::arguments::arguments;

/// An action of one object.
pub async fn of_object(
    Extension(collection): Extension<&'static Collection>,
    change: Change<TargetQuery>,
    Path((_, name)): Path<(String, String)>,
    prefer: PreferWait,
    _: AcceptsJson,
    body: Unread,
) -> Result<Response, Problem> {
    let action = find(collection, &name, On::Object)?;
    let body = parameters(action, body).await?;
    let Target { reach, reference, claim } = change.target(action.class).await?;
    let own = Some((change.uuid(), reference, claim));
    perform((&change.gateway, &reach, &change.writing), action, own, body, prefer).await
}

/// An action of a class as a whole.
pub async fn of_collection(
    Extension(collection): Extension<&'static Collection>,
    change: Change<TargetQuery, ()>,
    Path(name): Path<String>,
    prefer: PreferWait,
    _: AcceptsJson,
    body: Unread,
) -> Result<Response, Problem> {
    let action = find(collection, &name, On::Collection)?;
    let body = parameters(action, body).await?;
    let reach = change.backend().await?;
    perform((&change.gateway, &reach, &change.writing), action, None, body, prefer).await
}

fn find(collection: &Collection, name: &str, on: On) -> Result<Action, Problem> {
    match action(class_of(collection), name) {
        Ok(action) if action.on == on => Ok(action),
        Ok(action) => Err(Problem::new(
            Code::NotFound,
            match action.on {
                On::Object => "this is an action of one object: its uuid belongs in the path",
                On::Collection => {
                    "this is an action of the collection: no uuid belongs in the path"
                }
            },
        )),
        Err(no_action @ (NoAction::Unknown | NoAction::Excluded(_))) => {
            Err(Problem::new(Code::NotFound, no_action.to_string()))
        }
    }
}

/// The action's parameters, if it has any.
async fn parameters(action: Action, body: Unread) -> Result<Option<Map<String, Value>>, Problem> {
    match action.takes_parameters() {
        true => body.object().await,
        false => body.nothing().await.map(|()| None),
    }
}

async fn perform(
    (gateway, reach, writing): (&Arc<Gateway>, &Reach, &Writing),
    action: Action,
    own: Option<(Uuid, Arc<str>, WriteGuard)>,
    body: Option<Map<String, Value>>,
    PreferWait(wait): PreferWait,
) -> Result<Response, Problem> {
    let Action { class, call, .. } = action;
    let (object, own, claim) = match own {
        Some((uuid, own, claim)) => (Some((&*class.name, uuid)), Some(own), claim),
        None => (None, None, WriteGuard::none()),
    };
    let what = (&*call.wire_name, object);
    let known = reach.known(call, body.as_ref()).await?;
    let arguments = arguments(call, own.as_deref(), body.as_ref(), &known)
        .map_err(xengate_core::ops::OpError::from)?;
    if call.has_async {
        let work = start(gateway, reach, call, arguments, claim);
        let task: Uuid = writing.carry_out(gateway, reach, what, |_| work).await?;
        return started(gateway, reach, task, wait, answer::task).await;
    }
    let own = own.map(|own| (class, own));
    let work = make(reach, call, arguments, own, claim);
    let done = writing.carry_out(gateway, reach, what, |_| work).await;
    let (done, settled) =
        done.map_err(|error| error.in_body(body.as_ref().unwrap_or(&Map::new())))?;
    Ok(Revision::after(gateway, answer::settled(settled, answer::result(done))))
}
