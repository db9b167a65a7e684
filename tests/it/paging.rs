//! Pages of lists: their order, their cursors, and what changes in between.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use uuid::Uuid;
use xengate::sim::{PASSWORD, SimConfig, Value as SimValue};

use crate::lab::Lab;
use crate::queries::{asking, items, refused, uuids};

/// Every page of a list, by its cursors.
async fn pages(lab: &Lab, token: &str, path: &str, pairs: &[(&str, &str)]) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let more = cursor.as_deref().map(|cursor| ("cursor", cursor));
        let pairs: Vec<_> = pairs.iter().copied().chain(more).collect();
        all.push(lab.get(&asking(path, &pairs), token).await.ok());
        cursor = all.last().and_then(|page| page["next"].as_str()).map(str::to_owned);
        if cursor.is_none() {
            return all;
        }
    }
}

#[tokio::test]
async fn a_sorted_list_is_in_order_page_by_page() {
    let lab = Lab::with(|sim: &mut SimConfig| sim.vms = 23, |_, _| {}).await;
    let token = lab.login().await;
    let by = |vm: &Value| {
        let name = vm["name_label"].as_str().expect("a name").to_owned();
        (std::cmp::Reverse(vm["memory_static_max"].as_u64()), name)
    };
    let pairs = [("sort", "-memory_static_max,name_label"), ("limit", "4")];
    let pages = pages(&lab, &token, "/vms", &pairs).await;
    let sorted: Vec<&Value> = pages.iter().flat_map(items).collect();
    assert!(sorted.iter().map(|vm| by(vm)).is_sorted());
    let all = lab.get("/vms", &token).await.ok();
    let seen: BTreeSet<_> = sorted.iter().map(|vm| vm["uuid"].to_string()).collect();
    assert_eq!((seen.len(), sorted.len()), (items(&all).len(), items(&all).len()));
    assert!(pages.iter().all(|page| page["total"] == all["total"]));
    // What has no value comes last, in either direction.
    for sort in ["resident_on.name_label", "-resident_on.name_label"] {
        let list = lab.get(&asking("/vms", &[("sort", sort)]), &token).await.ok();
        let nulls: Vec<bool> = items(&list).iter().map(|vm| vm["resident_on"].is_null()).collect();
        assert!(nulls.is_sorted() && nulls.contains(&true) && nulls.contains(&false), "{nulls:?}");
    }
    lab.end().await;
}

#[tokio::test]
async fn a_link_leads_to_the_next_page() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let first = lab.get("/vms?limit=4&filter=name_label+~+%22*%22&fields=uuid", &token).await;
    let link = first.header("link").expect("a link").to_owned();
    let next =
        link.strip_prefix('<').and_then(|l| l.strip_suffix(">; rel=\"next\"")).expect("next");
    assert!(next.starts_with("?limit=4&filter=") && !next.contains(&token), "{next}");
    let cursor = first.json()["next"].as_str().expect("a cursor").to_owned();
    assert!(next.ends_with(&format!("&cursor={cursor}")), "{next}");
    assert_eq!(first.header("xen-total"), Some(&*first.json()["total"].to_string()));
    let second = lab.get(&format!("/vms{next}"), &token).await;
    assert_eq!(items(&second.ok()).len(), 4);
    // The cursor does not pile up.
    assert_eq!(second.header("link").map(|link| link.matches("cursor=").count()), Some(1));
    assert_eq!(lab.get("/vms", &token).await.header("link"), None);
    lab.end().await;
}

#[tokio::test]
async fn a_cursor_belongs_to_its_query() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let page = async |pairs: &[(&str, &str)]| lab.get(&asking("/vms", pairs), &token).await.ok();
    let plain = page(&[("limit", "2")]).await["next"].as_str().expect("more").to_owned();
    let sorted = page(&[("limit", "2"), ("sort", "name_label")]).await["next"].clone();
    let sorted = sorted.as_str().expect("more").to_owned();
    for (pairs, part) in [
        (vec![("filter", "name_label ~ *"), ("cursor", &*plain)], "another query"),
        (vec![("fields", "uuid"), ("cursor", &*plain)], "another query"),
        (vec![("sort", "name_label"), ("cursor", &*plain)], "another query"),
        (vec![("sort", "uuid"), ("cursor", &*sorted)], "another query"),
        (vec![("cursor", &*sorted)], "another query"),
        (vec![("cursor", "AAAA")], "not a cursor"),
        (vec![("cursor", "")], "not a cursor"),
        (vec![("cursor", "\u{1f600}")], "not a cursor"),
    ] {
        let detail = refused(&lab, &token, "/vms", &pairs).await;
        assert!(detail.contains(part), "{detail}");
    }
    refused(&lab, &token, "/hosts", &[("cursor", &plain)]).await;
    // The limit may change on the way; another session has no part in the order.
    let with = [("sort", "name_label"), ("limit", "3"), ("cursor", &*sorted)];
    assert_eq!(items(&page(&with).await).len(), 3);
    let other = lab.gate.login("root", PASSWORD).await;
    let answer = lab.get(&asking("/vms", &with), &other).await;
    let problem = answer.problem(410, "CURSOR_EXPIRED");
    assert_eq!(problem["params"], json!(["cursor"]));
    lab.end().await;
}

#[tokio::test]
async fn a_cursor_that_was_tampered_with_is_good_or_refused() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let mut dice = Dice(Uuid::new_v4().as_u64_pair().0 | 1);
    for sort in ["", "name_label"] {
        let mut pairs = vec![("limit", "2"), ("sort", sort)];
        pairs.retain(|(_, value)| !value.is_empty());
        let first = lab.get(&asking("/vms", &pairs), &token).await.ok();
        let cursor = first["next"].as_str().expect("more").to_owned();
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=.";
        for _ in 0..200 {
            let mut forged = cursor.clone().into_bytes();
            for _ in 0..=dice.below(3) {
                let (at, byte) = (dice.below(forged.len()), alphabet[dice.below(alphabet.len())]);
                match dice.below(3) {
                    0 => forged[at] = byte,
                    1 => forged.insert(at, byte),
                    _ if forged.len() > 1 => drop(forged.remove(at)),
                    _ => {}
                }
            }
            let forged = String::from_utf8(forged).expect("ASCII");
            let mut pairs = pairs.clone();
            pairs.push(("cursor", &forged));
            let answer = lab.get(&asking("/vms", &pairs), &token).await;
            match answer.status.as_u16() {
                200 => assert!(items(&answer.json()).len() <= 2, "{forged}"),
                410 => drop(answer.problem(410, "CURSOR_EXPIRED")),
                _ => drop(answer.problem(400, "BAD_PARAMETER")),
            }
        }
    }
    lab.end().await;
}

#[tokio::test]
async fn of_many_orders_the_oldest_goes() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let ask = |number: usize, more: Option<String>| {
        let filter = format!("name_label != \"{number}\"");
        let mut pairs = vec![("sort", "name_label"), ("limit", "2"), ("filter", &filter)];
        pairs.extend(more.as_deref().map(|cursor| ("cursor", cursor)));
        asking("/vms", &pairs)
    };
    let mut cursors = Vec::new();
    for number in 0..65 {
        let list = lab.get(&ask(number, None), &token).await.ok();
        cursors.push(list["next"].as_str().expect("more").to_owned());
    }
    let expired = lab.get(&ask(0, Some(cursors[0].clone())), &token).await;
    expired.problem(410, "CURSOR_EXPIRED");
    for number in [1, 64] {
        lab.get(&ask(number, Some(cursors[number].clone())), &token).await.ok();
    }
    lab.end().await;
}

#[tokio::test]
async fn who_has_the_first_page_already_can_go_on_from_it() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let path = asking("/vms", &[("sort", "name_label"), ("limit", "2")]);
    let first = lab.get(&path, &token).await;
    let etag = first.header("etag").expect("a tag").to_owned();
    let cursor = first.ok()["next"].as_str().expect("more").to_owned();
    // Another session is told that it has the answer; the cursor in it is then good for it too.
    let other = lab.gate.login("root", PASSWORD).await;
    let request = lab.gate.request(reqwest::Method::GET, &path).bearer_auth(&other);
    let again = lab.gate.send(request.header("if-none-match", &etag)).await;
    assert_eq!(again.status, 304);
    let with = [("sort", "name_label"), ("limit", "2"), ("cursor", &*cursor)];
    assert_eq!(items(&lab.get(&asking("/vms", &with), &other).await.ok()).len(), 2);
    // What a filter looks into changes the tag, though no VM has changed.
    let path = asking("/vms", &[("filter", "resident_on.name_label = renamed")]);
    let before = lab.get(&path, &token).await;
    assert_eq!(before.ok()["total"], 0);
    let host = uuids(&lab.get("/hosts", &token).await.ok()).remove(0);
    lab.sim.set_field("host", &host, "name_label", SimValue::text("renamed")).expect("set");
    let after = lab.until(&path, &token, |answer| answer.ok()["total"] != 0).await;
    assert_ne!(before.header("etag"), after.header("etag"));
    lab.end().await;
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).expect("small")
    }
}

#[tokio::test]
async fn whatever_changes_in_between_what_stays_is_seen_once() {
    let lab = Lab::with(|sim: &mut SimConfig| sim.vms = 20, |_, _| {}).await;
    let token = lab.login().await;
    let sorts = [
        None,
        Some("name_label"),
        Some("-user_version,name_label"),
        Some("-metrics.VCPUs_number,-name_label"),
    ];
    let known = [(1, sorts[0]), (2, sorts[1]), (3, sorts[0]), (4, sorts[2])];
    let new = sorts.iter().cycle().take(8).map(|sort| (Uuid::new_v4().as_u64_pair().0, *sort));
    for (seed, sort) in known.into_iter().chain(new) {
        println!("seed {seed}, sorted by {sort:?}");
        what_stays_is_seen_once(&lab, &token, seed, sort).await;
    }
    lab.end().await;
}

async fn what_stays_is_seen_once(lab: &Lab, token: &str, seed: u64, sort: Option<&str>) {
    let mut dice = Dice(seed | 1);
    let total = |list: &Value| list["total"].as_u64().expect("a number");
    let before = uuids(&lab.get("/vms?limit=10000", token).await.ok());
    let limit = (2 + dice.below(6)).to_string();
    let mut gone = BTreeSet::new();
    let (mut seen, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let mut pairs = vec![("limit", limit.as_str())];
        pairs.extend(sort.map(|sort| ("sort", sort)));
        pairs.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let page = lab.get(&asking("/vms", &pairs), token).await.ok();
        seen.extend(uuids(&page));
        cursor = page["next"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
        let uuid = &before[dice.below(before.len())];
        let path = format!("/vms/{uuid}");
        match dice.below(4) {
            0 if before.len() > 12 && gone.len() < 3 && gone.insert(uuid.clone()) => {
                lab.sim.destroy("VM", uuid).expect("destroyed");
                lab.until(&path, token, |answer| answer.status == 404).await;
            }
            1 | 2 if !gone.contains(uuid) => {
                let name = format!("moved-{}", dice.below(1000));
                let text = SimValue::text(&*name);
                lab.sim.set_field("VM", uuid, "name_label", text).expect("set");
                lab.until(&path, token, |answer| answer.json()["name_label"] == *name).await;
            }
            3 if seen.len() < 40 => {
                let count = total(&lab.get("/vms?limit=1", token).await.ok());
                let name = [("name_label", SimValue::text("new"))];
                lab.sim.create("VM", &name).expect("made");
                lab.until("/vms?limit=1", token, |answer| total(&answer.json()) != count).await;
            }
            _ => {}
        }
    }
    let distinct: BTreeSet<_> = seen.iter().cloned().collect();
    assert_eq!(distinct.len(), seen.len(), "seed {seed}: something is seen twice");
    for uuid in before.iter().filter(|uuid| !gone.contains(*uuid)) {
        assert!(distinct.contains(uuid), "seed {seed}: {uuid} is skipped");
    }
}
