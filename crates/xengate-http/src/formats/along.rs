//! What comes along with a page, found where that is in nobody's way.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::{List, Work};
use crate::costly::Costly;
use crate::page::Item;
use crate::problem::Problem;
use xenapi_mirror::inventory::query::{
    Cost, Expand, Expanded, MOST_BYTES, MOST_OBJECTS, Population, Pricing, Seen, TooCostly,
};
use xenapi_mirror::inventory::{Object, Snapshot};

/// So many objects of a page are looked at in a slice.
const AT_ONCE: usize = 100;

/// A page's objects, each with what it is looked up in.
type Items = Vec<(Arc<Snapshot>, Arc<Object>)>;

/// What comes along with the whole page, if anything is to.
pub(super) async fn expanded(list: &List<'_>, work: Work<'_>) -> Result<Option<Expanded>, Problem> {
    let Some(expand) = list.expand else { return Ok(None) };
    let (expand, items) = (expand.clone(), items(list));
    let mut expanded = Expanded::default();
    let mut seen = Seen::default();
    let mut at = 0;
    let look = move || -> ControlFlow<Result<Expanded, TooCostly>> {
        for _ in 0..AT_ONCE {
            let Some((snapshot, object)) = items.get(at) else {
                return ControlFlow::Break(Ok(std::mem::take(&mut expanded)));
            };
            if at > 0 && !Arc::ptr_eq(snapshot, &items[at - 1].0) {
                seen = Seen::default();
            }
            if let Err(error) = expand.collect_beside(snapshot, object, &mut seen, &mut expanded) {
                return ControlFlow::Break(Err(error));
            }
            at += 1;
        }
        ControlFlow::Continue(())
    };
    Ok(Some(done(list, work, false, look).await??))
}

/// Whether what comes along with each line is no more than may; once lines are on their way, it is
/// too late to say so.
pub(super) async fn counted(list: &List<'_>, work: Work<'_>) -> Result<(), Problem> {
    let Some(expand) = list.expand else { return Ok(()) };
    let (expand, items) = (expand.clone(), items(list));
    let (mut objects, mut bytes, mut at) = (0, 0, 0);
    let look = move || -> ControlFlow<Result<(), TooCostly>> {
        for _ in 0..AT_ONCE {
            let Some((snapshot, object)) = items.get(at) else { return ControlFlow::Break(Ok(())) };
            let mut expanded = Expanded::default();
            if let Err(error) = expand.collect(snapshot, [&**object], &mut expanded) {
                return ControlFlow::Break(Err(error));
            }
            objects += expanded.size().0;
            bytes += expanded.size().1;
            if objects > MOST_OBJECTS || bytes > MOST_BYTES {
                return ControlFlow::Break(Err(TooCostly));
            }
            at += 1;
        }
        ControlFlow::Continue(())
    };
    Ok(done(list, work, true, look).await??)
}

/// Does the work, where it belongs.
async fn done<T: Send + 'static>(
    list: &List<'_>,
    work: Work<'_>,
    each: bool,
    mut look: impl FnMut() -> ControlFlow<T> + Send + 'static,
) -> Result<T, Problem> {
    if Costly::is_much(&cost(list, each)) {
        let user = Some(work.caller.session.shares().sharer());
        return work.gateway.costly.work(user, look).await;
    }
    loop {
        if let ControlFlow::Break(done) = look() {
            return Ok(done);
        }
    }
}

fn cost(list: &List<'_>, each: bool) -> Cost {
    let Some(expand) = list.expand else { return Cost::default() };
    let same = |one: &Item<'_>, other: &Item<'_>| one.shelf.backend == other.shelf.backend;
    let of_backend = |items: &[Item<'_>]| {
        let objects = Population::these(items.iter().map(|item| &**item.object));
        let mut pricing = Pricing::of(items[0].shelf.snapshot);
        Expand::cost(expand, &mut pricing, &objects, items.len() as u64, each)
    };
    list.page.items.chunk_by(same).map(of_backend).fold(Cost::default(), Cost::and)
}

fn items(list: &List<'_>) -> Items {
    let items = list.page.items.iter();
    items.map(|item| (item.shelf.snapshot.clone(), item.object.clone())).collect()
}
