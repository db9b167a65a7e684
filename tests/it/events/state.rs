//! A client that applies a snapshot and the events behind it ends up with what a list says,
//! whatever happens on the way: changes, fresh syncs of the mirror, lost connections, and its own
//! coming and going.

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;
use xengate::sim::{Failure, Fault, Value as SimValue};

use super::a_vm;
use super::client::{Stream, number};
use crate::lab::Lab;

/// Numbers that are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }
}

/// What a client makes of a stream.
#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    last: u64,
    resyncs: usize,
}

impl State {
    fn apply(&mut self, event: &Value) {
        if let Some(id) = event["id"].as_str() {
            let number = number(id);
            assert!(number >= self.last || number == 0, "{event} after {}", self.last);
            self.last = number;
        }
        let data = &event["data"];
        let uuid = data["uuid"].as_str().unwrap_or_default().to_owned();
        match event["event"].as_str().expect("a name") {
            "add" => drop(self.objects.insert(uuid, data["object"].clone())),
            "mod" => {
                let before = self.objects.insert(uuid, data["object"].clone());
                assert!(before.is_some(), "of an object that is not known: {event}");
            }
            "del" => drop(self.objects.remove(&uuid)),
            "resync" => {
                assert_eq!(data["snapshot"], true);
                self.objects.clear();
                self.resyncs += 1;
            }
            "ready" | "backend" => {}
            other => panic!("{other}: {event}"),
        }
    }
}

/// Something that happens to the pool.
fn change(lab: &Lab, dice: &mut Dice, step: u64) {
    let vms: Vec<String> = lab.sim.refs("VM").iter().map(ToString::to_string).collect();
    let vm = dice.one_of(&vms);
    let text = SimValue::text(format!("{}-{step}", dice.one_of(&["web", "db"])));
    match dice.below(8) {
        0..=3 => lab.sim.set_field("VM", vm, "name_label", text).expect("set"),
        4 => {
            let template = SimValue::Bool(dice.below(2) == 0);
            lab.sim.set_field("VM", vm, "is_a_template", template).expect("set");
        }
        5 => drop(lab.sim.create("VM", &[("name_label", text)]).expect("made")),
        6 => {
            let metrics = lab.sim.refs("VM_metrics");
            let number = SimValue::Int(dice.below(4) as i64);
            let metrics = dice.one_of(&metrics);
            lab.sim.set_field("VM_metrics", metrics, "VCPUs_number", number).expect("set");
        }
        // One that was made here: others have devices, which would be left without it.
        _ => {
            let made = vms.iter().find(|vm| {
                let field = |name| lab.sim.field("VM", vm, name);
                field("metrics").and_then(|it| Some(it.as_text()?.contains("NULL"))) == Some(true)
            });
            if let Some(vm) = made {
                lab.sim.destroy("VM", vm).expect("destroyed");
            }
        }
    }
}

/// Something that goes wrong.
fn mishap(lab: &Lab, dice: &mut Dice) {
    match dice.below(4) {
        0 => {
            let failure = Failure::new("EVENT_FROM_TOKEN_PARSE_FAILURE", ["x"]);
            lab.sim.fault(Some("event.from"), Fault::Fail(failure), Some(1));
        }
        1 => lab.sim.fault(Some("event.from"), Fault::Drop, Some(1)),
        2 => lab.sim.fault(Some("event.from"), Fault::Cut(200), Some(1)),
        _ => lab.sim.drop_connections(),
    }
}

async fn ends_up_the_same(seed: u64, history: u64, filter: &str) -> usize {
    println!("seed {seed}, {history} bytes of history, {filter:?}");
    let lab = Lab::with(|_| {}, |config, _| config.limits.event_history = history).await;
    let token = lab.login().await;
    let marked = a_vm(&lab, &token).await;
    let mut dice = Dice(seed | 1);
    let path = format!("/events?collections=vms&snapshot=true{filter}");
    let (mut state, mut stream) = (State::default(), Stream::open(&lab, &path, &token).await);
    for step in 0..100 {
        change(&lab, &mut dice, step);
        if dice.below(10) == 0 {
            mishap(&lab, &mut dice);
        }
        match dice.below(12) {
            // Cut off somewhere, perhaps in the middle of a batch or of a snapshot.
            0 | 1 => {
                let id = stream.last_id().unwrap_or_default().to_owned();
                drop(stream);
                for late in 0..dice.below(6) {
                    change(&lab, &mut dice, 1000 + step * 10 + late);
                }
                stream = Stream::again(&lab, &path, &token, &id).await;
            }
            // What is there is taken, as far as it goes; something always comes.
            2..=4 => {
                let mark = format!("web-mark-{step}");
                mark_with(&lab, &marked, &mark);
                let wanted = dice.below(2) == 0;
                loop {
                    let event = stream.next().await;
                    state.apply(&event);
                    if !wanted || event["data"]["object"]["name_label"] == mark.as_str() {
                        break;
                    }
                }
            }
            _ => {}
        }
    }
    let last = "web-the-last";
    mark_with(&lab, &marked, last);
    loop {
        let event = stream.next().await;
        state.apply(&event);
        // In a snapshot there may be more behind it.
        if state.objects.get(&marked).is_some_and(|object| object["name_label"] == last)
            && event["id"].as_str().is_some_and(|id| number(id) > 0)
        {
            break;
        }
    }
    let by_uuid = |items: &[Value]| -> BTreeMap<String, Value> {
        let uuid = |item: &Value| item["uuid"].as_str().expect("one").to_owned();
        items.iter().map(|item| (uuid(item), item.clone())).collect()
    };
    let list = lab.get(&format!("/vms?limit=10000{filter}"), &token).await.ok();
    let listed = by_uuid(list["items"].as_array().expect("items"));
    // Whoever begins now is told the same.
    let (told, _) = Stream::open(&lab, &path, &token).await.snapshot().await;
    let told: Vec<Value> = told.iter().map(|event| event["data"]["object"].clone()).collect();
    assert_eq!(by_uuid(&told), listed, "seed {seed}");
    let names = |objects: &BTreeMap<String, Value>| -> Vec<(String, Value)> {
        objects.iter().map(|(uuid, one)| (uuid.clone(), one["name_label"].clone())).collect()
    };
    assert_eq!(names(&state.objects), names(&listed), "seed {seed}");
    for (uuid, object) in &listed {
        assert_eq!(state.objects[uuid], *object, "seed {seed}");
    }
    drop(stream);
    lab.end().await;
    state.resyncs
}

/// The VM by which a client sees how far it is; it always fits.
fn mark_with(lab: &Lab, uuid: &str, mark: &str) {
    lab.sim.set_field("VM", uuid, "is_a_template", SimValue::Bool(false)).expect("set");
    lab.sim.set_field("VM", uuid, "name_label", SimValue::text(mark)).expect("set");
}

/// A seed that no run had before; it is told when something fails.
fn new_seed() -> u64 {
    Uuid::new_v4().as_u64_pair().0
}

#[tokio::test]
async fn with_a_history_that_is_long_enough() {
    for seed in [7, new_seed()] {
        ends_up_the_same(seed, 16 << 20, "").await;
    }
}

#[tokio::test]
async fn with_a_history_that_is_too_short() {
    let mut resyncs = 0;
    for seed in [3, 40, new_seed()] {
        resyncs += ends_up_the_same(seed, 30 << 10, "").await;
    }
    assert!(resyncs > 0, "it was never too short");
}

#[tokio::test]
async fn with_a_filter_that_looks_into_other_objects() {
    for seed in [5, new_seed()] {
        let filter = "&filter=name_label%20~%20%22web-*%22%20or%20metrics.VCPUs_number%20=%202";
        ends_up_the_same(seed, 16 << 20, filter).await;
    }
}
