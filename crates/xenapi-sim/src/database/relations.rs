//! Fields that are the two ends of one relation.

use std::sync::OnceLock;

use xenapi_model::{ClassId, Type, datamodel};

/// The far end of a relation, seen from the field that is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct FarEnd {
    /// The field that is written, by its place in its class.
    pub(super) field: usize,
    /// The class at the far end.
    pub(super) class: ClassId,
    /// The set at the far end that lists us.
    pub(super) far_field: usize,
}

/// For each class, the fields whose refs show up in a set elsewhere.
pub(super) fn far_ends(class: ClassId) -> &'static [FarEnd] {
    static FAR_ENDS: OnceLock<Vec<Vec<FarEnd>>> = OnceLock::new();
    &FAR_ENDS.get_or_init(derive)[usize::from(class.0)]
}

fn derive() -> Vec<Vec<FarEnd>> {
    let model = datamodel();
    let mut ends = vec![Vec::new(); model.classes.len()];
    for [one, two] in &model.relations {
        for (near, far) in [(one, two), (two, one)] {
            let near_field = model.get(near.0).field_index(&near.1);
            let far_field = model.get(far.0).field_index(&far.1);
            // Some ends are fields that no record shows, and a relation of a field with itself
            // (role.subroles) has nothing to keep in step.
            let (Some(field), Some(far_field)) = (near_field, far_field) else { continue };
            let is_set =
                |class, field: usize| matches!(model.get(class).fields[field].ty, Type::Set(_));
            let both_sets = is_set(near.0, field) && is_set(far.0, far_field);
            if near != far && is_set(far.0, far_field) && (both_sets || !is_set(near.0, field)) {
                ends[usize::from(near.0.0)].push(FarEnd { field, class: far.0, far_field });
            }
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vbd_is_listed_by_its_vm_and_its_vdi() {
        let model = datamodel();
        let vbd = model.class("VBD").expect("VBD");
        let named: Vec<_> = far_ends(vbd.id)
            .iter()
            .map(|end| {
                let far = model.get(end.class);
                (vbd.fields[end.field].name.as_str(), far.fields[end.far_field].name.as_str())
            })
            .collect();
        assert_eq!(named, [("VDI", "VBDs"), ("VM", "VBDs")]);
        let vm = model.class("VM").expect("VM");
        assert!(far_ends(vm.id).iter().all(|end| vm.fields[end.field].name != "VBDs"));
    }
}
