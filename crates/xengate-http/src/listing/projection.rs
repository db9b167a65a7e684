//! What is asked of one object.

use std::sync::Arc;

use bytes::Bytes;

use super::{fields_of, part};
use crate::Gateway;
use crate::costly::Costly;
use crate::formats;
use crate::problem::Problem;
use crate::validators::EtagBuilder;
use xenapi_mirror::inventory::query::{Expand, Fields, Population, Pricing};
use xenapi_mirror::inventory::{Object, Snapshot};
use xenapi_model::{Class, ClassId};
use xengate_core::auth::Caller;

/// What is asked of one object: its fields, and what comes along.
#[derive(Debug)]
pub struct Projection {
    fields: Option<Fields>,
    expand: Option<Expand>,
}

impl Projection {
    /// Reads `fields` and `expand` for an object of this class.
    pub fn new(
        class: &'static Class,
        fields: &Option<String>,
        expand: &Option<String>,
    ) -> Result<Self, Problem> {
        let fields = part("fields", fields, |text| fields_of(text, class))?;
        let expand = part("expand", expand, |text| Expand::parse(text, class))?;
        Ok(Self { fields, expand })
    }

    /// The classes of the objects that the answer is read from, beside its own.
    pub fn classes(&self) -> impl Iterator<Item = ClassId> {
        self.expand.iter().flat_map(Expand::classes).copied()
    }

    /// The stamp of the object with everything that this request shapes. The object's own revision
    /// stays what counts for `If-Match`.
    #[must_use]
    pub fn stamped(&self, stamp: EtagBuilder, snapshot: &Snapshot, class: &Class) -> EtagBuilder {
        let names: Option<Vec<&str>> =
            self.fields.as_ref().map(|fields| fields.names(class).collect());
        let along = self.expand.as_ref().map(|expand| {
            let classes = expand.classes().iter();
            let newest = classes.map(|class| snapshot.class(*class).revision()).max();
            (expand.to_string(), newest)
        });
        match (names, along) {
            (None, None) => stamp,
            shape => stamp.shaped(&shape),
        }
    }

    /// The object's document.
    pub async fn document(
        &self,
        gateway: &Gateway,
        caller: &Caller,
        snapshot: &Arc<Snapshot>,
        object: &Arc<Object>,
    ) -> Result<Bytes, Problem> {
        let (fields, expand) = (self.fields.as_ref(), self.expand.as_ref());
        let Some(expand) = expand else {
            return Ok(match fields {
                None => Bytes::from_owner(Whole(object.clone())),
                Some(_) => formats::object(snapshot, object, fields, None)?.into(),
            });
        };
        let one = Population::these(std::iter::once(&**object));
        let cost = expand.cost(&mut Pricing::of(snapshot), &one, 1, false);
        gateway.costly.permit(&cost)?;
        if !Costly::is_much(&cost) {
            return Ok(formats::object(snapshot, object, fields, Some(expand))?.into());
        }
        let (fields, expand) = (self.fields.clone(), expand.clone());
        let (snapshot, object) = (snapshot.clone(), object.clone());
        let work = move || formats::object(&snapshot, &object, fields.as_ref(), Some(&expand));
        let user = Some(caller.session.shares().sharer());
        Ok(gateway.costly.work_once(user, work).await??.into())
    }
}

/// A record as the inventory holds it ready: nothing is copied.
struct Whole(Arc<Object>);

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        self.0.record().json()
    }
}
