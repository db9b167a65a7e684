//! What is made of what hosts say.

use std::sync::Arc;

use uuid::Uuid;

use super::model::{Cf, Key, Owner};
use super::read::Updates;
use super::table::Table;

fn key(owner: Owner) -> Key {
    Key { owner, uuid: Uuid::from_u128(1) }
}

#[test]
fn an_empty_reply_has_no_table() {
    let body = br#"{"meta":{"step":"5","end":"100","legend":[]},"data":[]}"#;
    let updates = Updates::read(body).expect("readable");
    assert!(Table::of_updates(&updates, key(Owner::Vm), Cf::Average).is_none());
}

#[test]
fn a_legend_without_rows_still_names_its_sources() {
    let entry = format!("AVERAGE:vm:{}:cpu0", Uuid::from_u128(1));
    let body = format!(r#"{{"meta":{{"step":"60","end":"120","legend":["{entry}"]}},"data":[]}}"#);
    let updates = Updates::read(body.as_bytes()).expect("readable");
    let table = Table::of_updates(&updates, key(Owner::Vm), Cf::Average).expect("a table");
    let cpu: Arc<str> = "cpu0".into();
    assert_eq!((table.columns, table.newest, table.rows.len()), (vec![cpu], 120, 0));
}
