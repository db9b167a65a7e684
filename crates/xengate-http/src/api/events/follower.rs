//! One client's stream.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use axum::body::Bytes;
use futures_util::future::BoxFuture;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::api::events::encode::{Encoded, Ids, Reason, write_json};
use crate::api::events::frames::{Frames, Wire};
use crate::api::events::group::{At, Behind, Group, Membership, TooManyGroups, look_at};
use crate::api::events::selection::Selection;
use crate::api::events::snapshot::Walk;
use crate::api::events::stream_limits::{End, NoPermit, StreamPermit};
use crate::api::events::streams::Events;
use crate::costly::Costly;
use xenapi_mirror::inventory::Next;

/// After how many milliseconds a browser comes back by itself.
const RETRY: u128 = 2000;

/// Where a stream begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begin {
    /// Whether it begins with everything there is.
    pub snapshot: bool,
    /// What the client has seen already: a run of the gateway, and a revision.
    pub last: Option<(String, u64)>,
}

/// What a stream says next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Out {
    /// Events, or one of them, as the wire has it.
    Frame(Bytes),
    /// A sign of life.
    Heartbeat(Bytes),
}

/// One client's stream.
#[derive(Debug)]
pub(super) struct Follower {
    events: Arc<Events>,
    seat: StreamPermit,
    group: Arc<Group>,
    news: watch::Receiver<u64>,
    /// News of what is measured, if that is wanted, and the number of what was told last.
    measured: Option<(watch::Receiver<u64>, u64)>,
    heartbeat: Interval,
    begin: Begin,
    at: At,
    stage: Stage,
    /// Events that are ready to go: at most those of one batch, or of one step of a snapshot.
    ready: VecDeque<Bytes>,
    end: Option<End>,
    /// What takes long and is under way; a wait for it may be given up, and it goes on.
    under_way: Option<UnderWay>,
    _membership: Membership,
}

/// Work that takes long.
struct UnderWay(BoxFuture<'static, Worked>);

/// What came of it.
enum Worked {
    /// What happened at a place means this.
    Encoded(At, Encoded),
    /// A step of a snapshot was taken, and perhaps it was the last.
    Step(Walk, Vec<Bytes>, bool),
    /// It cannot be done now.
    Failed,
}

impl fmt::Debug for UnderWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnderWay")
    }
}

#[derive(Debug)]
enum Stage {
    /// Nothing was said yet.
    Begin,
    /// Everything there is is being told.
    Snapshot(Walk),
    /// What lies behind is being told.
    CatchUp,
    /// The client knows everything up to now.
    Live,
    /// The last word was said.
    Ended,
}

#[derive(Serialize)]
struct Ready<'a> {
    revision: String,
    backends: Vec<BackendState<'a>>,
}

#[derive(Serialize)]
struct BackendState<'a> {
    backend: &'a str,
    state: &'static str,
    reason: Option<String>,
}

#[derive(Serialize)]
struct Resync {
    reason: Reason,
    snapshot: bool,
}

#[derive(Serialize)]
struct Ended<'a> {
    reason: &'static str,
    backend: Option<&'a str>,
}

impl Follower {
    pub(super) fn new(
        events: Arc<Events>,
        seat: StreamPermit,
        selection: Selection,
        wire: Wire,
        begin: Begin,
    ) -> Result<Self, NoPermit> {
        let user = seat.caller().session.shares().sharer();
        let joined = events.groups.join(selection, wire, user);
        let (group, membership) = joined.map_err(|too_many| match too_many {
            TooManyGroups::InAll => NoPermit::Groups,
            TooManyGroups::OfUser => NoPermit::GroupsOfUser,
        })?;
        let mut heartbeat =
            tokio::time::interval_at(Instant::now() + events.heartbeat, events.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let measured = group.board.as_ref().map(|board| {
            board.sponsored_by(seat.caller());
            (board.news(), 0)
        });
        Ok(Self {
            news: group.news(),
            measured,
            group,
            events,
            seat,
            heartbeat,
            begin,
            at: At { place: 0, revision: 0 },
            stage: Stage::Begin,
            ready: VecDeque::new(),
            end: None,
            under_way: None,
            _membership: membership,
        })
    }

    /// Why it ended, once it has.
    pub(super) fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// What it says next; none after its last word. A wait for it can be given up at any time, and
    /// nothing is lost.
    pub(super) async fn next(&mut self) -> Option<Out> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Some(Out::Frame(frame));
            }
            if matches!(self.stage, Stage::Ended) {
                return None;
            }
            if let Some(end) = self.seat.end(self.group.selection.backends()) {
                self.finish(end);
                continue;
            }
            if let Some(UnderWay(work)) = &mut self.under_way {
                tokio::select! {
                    worked = work => {
                        self.under_way = None;
                        self.worked(worked);
                    }
                    () = self.seat.changed() => {}
                }
                continue;
            }
            match &mut self.stage {
                Stage::Begin => self.start(),
                Stage::Snapshot(walk) => {
                    let walk = std::mem::take(walk);
                    self.step(walk);
                    tokio::task::yield_now().await;
                }
                Stage::CatchUp | Stage::Live => {
                    if self.advance() {
                        tokio::task::yield_now().await;
                    } else if matches!(self.stage, Stage::CatchUp) {
                        self.say_ready();
                    } else if self.measured() {
                        tokio::task::yield_now().await;
                    } else if let Some(heartbeat) = self.wait().await {
                        return Some(heartbeat);
                    }
                }
                Stage::Ended => return None,
            }
        }
    }

    /// Tells the next of what there is, here or where that is in nobody's way.
    fn step(&mut self, mut walk: Walk) {
        let group = self.group.clone();
        let cost = walk.cost(&group.selection);
        if group.costly().is_too_much(&cost) {
            return self.finish(End::TooCostly);
        }
        let mut take = move |group: &Group| {
            let mut frames = Frames::new(group.wire);
            let more = walk.step(&group.selection, &group.ids, &mut frames);
            Worked::Step(std::mem::take(&mut walk), frames.finish(), more)
        };
        if !Costly::is_much(&cost) {
            let worked = take(&group);
            return self.worked(worked);
        }
        self.under_way = Some(UnderWay(Box::pin(async move {
            let (costly, user) = (group.costly().clone(), group.user());
            let work = costly.work_once(Some(user), move || take(&group));
            work.await.unwrap_or(Worked::Failed)
        })));
    }

    fn worked(&mut self, worked: Worked) {
        match worked {
            Worked::Encoded(at, encoded) => {
                self.at = at;
                self.take(encoded);
            }
            Worked::Step(walk, frames, more) => {
                self.ready.extend(frames);
                if !more {
                    self.stage = Stage::CatchUp;
                } else if self.events.groups.feed().reaches_back_to(self.at.place) {
                    self.stage = Stage::Snapshot(walk);
                } else {
                    self.resync(Reason::TooSlow);
                }
            }
            Worked::Failed => self.finish(End::TooCostly),
        }
    }

    fn take(&mut self, encoded: Encoded) {
        match encoded {
            Encoded::Nothing => {}
            Encoded::Frames(frames) => self.ready.extend(frames.iter().cloned()),
            Encoded::Resync(reason) => self.resync(reason),
            Encoded::TooCostly => self.finish(End::TooCostly),
        }
    }

    /// Decides where to begin.
    fn start(&mut self) {
        let mut frames = Frames::new(self.group.wire);
        frames.retry(RETRY);
        let last = self.begin.last.take();
        let resumed = last.map(|(run, revision)| self.place_of(&run, revision));
        match resumed {
            Some(Ok(at)) => {
                self.at = at;
                self.stage = Stage::CatchUp;
                self.ready.extend(frames.finish());
            }
            Some(Err(reason)) => {
                self.ready.extend(frames.finish());
                self.resync(reason);
            }
            None => {
                if self.begin.snapshot && self.group.wire == Wire::Lines {
                    // A browser that is cut off now comes back with this id, and learns that what
                    // it has got is not whole.
                    frames.mark(&self.ids().id(0));
                }
                self.ready.extend(frames.finish());
                self.start_over();
            }
        }
    }

    /// Where a client goes on that has seen everything up to a revision.
    fn place_of(&self, run: &str, revision: u64) -> Result<At, Reason> {
        if run != &*self.ids().0 {
            return Err(Reason::OtherRun);
        }
        if revision == 0 {
            return Err(Reason::Interrupted);
        }
        let place = self.events.groups.feed().place_of(revision).ok_or(Reason::TooOld)?;
        Ok(At { place, revision })
    }

    /// Begins anew, from what there is now.
    fn start_over(&mut self) {
        let present = self.events.groups.feed().present();
        self.at = At { place: present.place, revision: present.revision };
        self.stage = match self.begin.snapshot {
            true => Stage::Snapshot(Walk::new(&self.group.selection, &present.snapshots)),
            false => Stage::CatchUp,
        };
    }

    /// Tells the client that it has to begin anew, and does so.
    fn resync(&mut self, reason: Reason) {
        let mut frames = Frames::new(self.group.wire);
        let resync = Resync { reason, snapshot: self.begin.snapshot };
        frames.event("resync", |out| write_json(&resync, out));
        frames.mark(&self.ids().id(0));
        self.ready.extend(frames.finish());
        self.start_over();
    }

    /// Takes the next thing that happened; whether there was one.
    fn advance(&mut self) -> bool {
        let encoded = match self.group.behind(self.at.place) {
            Behind::Encoded(at, encoded) => {
                self.at = at;
                encoded
            }
            Behind::Nothing(until) => {
                if until.place > self.at.place {
                    self.at = until;
                }
                return false;
            }
            Behind::Unknown => match self.events.groups.feed().next(self.at.place) {
                Next::Nothing => return false,
                Next::Gone => Encoded::Resync(Reason::TooSlow),
                Next::LogEntry(happening) => {
                    let group = self.group.clone();
                    self.under_way = Some(UnderWay(Box::pin(async move {
                        let encoded = look_at(&group, &happening).await;
                        Worked::Encoded(At::of(&happening), encoded)
                    })));
                    return true;
                }
            },
        };
        self.take(encoded);
        true
    }

    /// Takes the next of what was measured; whether there was any.
    fn measured(&mut self) -> bool {
        let Some((_, told)) = &mut self.measured else { return false };
        let next = self.group.board.as_ref().and_then(|board| board.after(*told));
        let Some((number, frames)) = next else { return false };
        *told = number;
        self.ready.extend(frames.iter().cloned());
        true
    }

    fn say_ready(&mut self) {
        let mirrors = self.group.selection.backends().iter();
        let states = mirrors.filter_map(|name| {
            let status = self.events.inventory.mirror(name)?.status();
            Some(BackendState { backend: name, state: status.state.name(), reason: status.reason })
        });
        let revision = self.ids().id(self.at.revision);
        let ready = Ready { revision: revision.clone(), backends: states.collect() };
        let mut frames = Frames::new(self.group.wire);
        frames.event("ready", |out| write_json(&ready, out));
        frames.mark(&revision);
        self.ready.extend(frames.finish());
        self.stage = Stage::Live;
    }

    /// Waits until there is something to look at, or a sign of life is due.
    async fn wait(&mut self) -> Option<Out> {
        tokio::select! {
            // Both end with what holds them here: neither is ever an error.
            _ = self.news.changed() => None,
            () = self.seat.changed() => None,
            () = changed(&mut self.measured) => None,
            _ = self.heartbeat.tick() => {
                let mut frames = Frames::new(self.group.wire);
                frames.comment("heartbeat");
                // The id moves on although nothing was for this client: it would be too old soon.
                frames.mark(&self.ids().id(self.at.revision));
                frames.finish().pop().map(Out::Heartbeat)
            }
        }
    }

    /// Says the last word.
    fn finish(&mut self, end: End) {
        let mut frames = Frames::new(self.group.wire);
        let ended = Ended { reason: end.name(), backend: end.backend() };
        frames.event("end", |out| write_json(&ended, out));
        self.ready.extend(frames.finish());
        self.end = Some(end);
        self.stage = Stage::Ended;
    }

    fn ids(&self) -> &Ids {
        &self.group.ids
    }
}

/// Returns when there is news of what is measured.
async fn changed(measured: &mut Option<(watch::Receiver<u64>, u64)>) {
    match measured {
        // It ends with the group, which holds it.
        Some((news, _)) => _ = news.changed().await,
        None => std::future::pending().await,
    }
}
