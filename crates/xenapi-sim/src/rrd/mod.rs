//! What is measured: XAPI's round-robin databases (RRDs) and the handlers that serve them.
//!
//! Nothing is stored. A source's load is a function of time, so that a source always has had the
//! values that it is asked for, and its archives fit one another.

mod archive;
mod load;
mod sources;
mod written;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::database::{NULL, Text};
use super::edit::Edit;
use super::state::State;
use archive::{Archive, Consolidation, archives};
use sources::{Measured, Owner};
use written::{Form, Rrd, Xport};

/// Seconds between two measurements.
const STEP: i64 = 5;

/// How a pool measures, for tests that want it to do so badly.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Measuring {
    /// Answers JSON as XAPI once did: bare names, bare numbers, bare NaN.
    pub bare_json: bool,
    /// Answers XML whatever is asked for.
    pub only_xml: bool,
    /// Has no such handlers, as a host whose RRD daemon is down.
    pub missing: bool,
    /// Nothing has been measured since this time, in seconds since 1970.
    pub gap_since: Option<i64>,
    /// Clocks that are wrong, by the name of the host, in seconds.
    pub skew: BTreeMap<String, i64>,
}

/// The answer to a request for what is measured.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A document whose length is told, and whether it is XML.
    Document(String, bool),
    /// A document that ends with the connection.
    Stream(String),
    /// Ask there instead.
    Redirect(String),
    /// The query makes no sense.
    BadRequest,
    /// There is no such thing.
    Missing,
    /// What became of an exception.
    Broken(&'static str),
}

/// The handler's name, for a path that one answers.
pub(crate) fn handler(path: &str) -> Option<&'static str> {
    ["rrd_updates", "vm_rrd", "host_rrd", "sr_rrd"]
        .into_iter()
        .find(|name| path.strip_prefix('/') == Some(name))
}

/// A request's query.
struct Query<'a>(Vec<(std::borrow::Cow<'a, str>, std::borrow::Cow<'a, str>)>);

impl<'a> Query<'a> {
    fn read(query: &'a str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }
}

/// The session that a query names.
pub(crate) fn session(query: &str) -> Option<String> {
    Query::read(query).get("session_id").map(str::to_owned)
}

/// The host that listens at this address; the coordinator at no address of its own.
pub(crate) fn host_at(state: &State, address: Option<&str>) -> Option<Text> {
    state.edit(|edit| {
        let coordinator = edit.first("pool").and_then(|pool| edit.target("pool", &pool, "master"));
        match address {
            None => coordinator,
            Some(address) => {
                let mut hosts = edit.all("host").into_iter();
                hosts.find(|host| &**edit.text("host", host, "address") == address)
            }
        }
    })
}

/// A host's address.
pub(crate) fn address_of(state: &State, host: Option<Text>) -> String {
    let host = host.unwrap_or_else(|| NULL.into());
    state.edit(|edit| edit.text("host", &host, "address").to_string())
}

/// A host's name.
pub(crate) fn name_of(state: &State, host: &str) -> String {
    state.edit(|edit| edit.text("host", host, "name_label").to_string())
}

/// What `host` answers.
pub(crate) fn answer(state: &State, host: &Text, handler: &str, query: &str) -> Answer {
    let settings = state.measuring.lock().clone();
    if settings.missing {
        return Answer::Missing;
    }
    let asked = Query::read(query);
    let here = state.edit(|edit| Here::new(edit, host, settings));
    match handler {
        "rrd_updates" => here.updates(state, &asked),
        "vm_rrd" => here.of_vm(state, &asked, query),
        "host_rrd" => {
            let rrd = state.edit(|edit| here.rrd(edit, Owner::Host, host));
            Answer::Stream(rrd.write(here.form(&asked)))
        }
        _ => here.of_sr(state, &asked, query),
    }
}

/// The host that was asked.
struct Here {
    host: Text,
    settings: Measuring,
    /// The newest measurement, in seconds since 1970 by this host's clock.
    last: i64,
    /// What the host's clock is ahead by.
    skew: i64,
}

impl Here {
    fn new(edit: &mut Edit<'_>, host: &Text, settings: Measuring) -> Self {
        let skew = settings.skew.get(&**edit.text("host", host, "name_label"));
        let skew = skew.copied().unwrap_or(0);
        let now = edit.clock.unix() + skew;
        Self { host: host.clone(), settings, last: now - now.rem_euclid(STEP), skew }
    }

    fn form(&self, query: &Query<'_>) -> Form {
        match (query.get("json"), &self.settings) {
            (None, _) | (_, Measuring { only_xml: true, .. }) => Form::Xml,
            (_, Measuring { bare_json: true, .. }) => Form::BareJson,
            _ => Form::Json,
        }
    }

    /// `/rrd_updates`: what all that is here has measured since a time.
    fn updates(&self, state: &State, query: &Query<'_>) -> Answer {
        let Some(start) = query.get("start").and_then(|start| start.parse::<i64>().ok()) else {
            return Answer::BadRequest;
        };
        let interval = query.get("interval").and_then(|text| text.parse().ok()).unwrap_or(0);
        // What is no consolidation counts as none given; LAST is one, and nobody keeps it.
        let cf = query.get("cf").and_then(Consolidation::named);
        let kept = query.get("cf") != Some("LAST");
        let measured = state.edit(|edit| self.wanted(edit, query));
        // A negative start counts from the newest measurement.
        let start = if start < 0 { self.last + start } else { start };
        if measured.is_empty() || !kept {
            return Answer::Broken("Rrd.No_RRA_Available");
        }
        let archive = Archive::best(start, interval, self.last);
        let form = self.form(query);
        Answer::Document(self.xport(&measured, archive, cf, start).write(form), form == Form::Xml)
    }

    /// What the query asks for: the host if told to, all VMs unless told otherwise, SRs if told to.
    fn wanted(&self, edit: &mut Edit<'_>, query: &Query<'_>) -> Vec<Measured> {
        let mut wanted = Vec::new();
        if query.get("host") == Some("true") {
            wanted.extend(sources::of(edit, Owner::Host, &self.host));
        }
        let mut all = |edit: &mut Edit<'_>, owner: Owner, asked: &str| {
            for reference in edit.all(owner.class()) {
                let named = &**edit.text(owner.class(), &reference, "uuid") == asked;
                if (asked == "all" || named) && self.has(edit, owner, &reference) {
                    wanted.extend(sources::of(edit, owner, &reference));
                }
            }
        };
        all(edit, Owner::Vm, query.get("vm_uuid").unwrap_or("all"));
        all(edit, Owner::Sr, query.get("sr_uuid").unwrap_or("none"));
        wanted
    }

    /// Whether an object is measured on this host now.
    fn has(&self, edit: &Edit<'_>, owner: Owner, reference: &Text) -> bool {
        match owner {
            Owner::Host => *reference == self.host,
            Owner::Vm => {
                **edit.text("VM", reference, "resident_on") == *self.host
                    && matches!(&**edit.text("VM", reference, "power_state"), "Running" | "Paused")
            }
            Owner::Sr => home_of_sr(edit, reference).is_some_and(|home| home == self.host),
        }
    }

    fn xport(
        &self,
        measured: &[Measured],
        archive: Archive,
        cf: Option<Consolidation>,
        start: i64,
    ) -> Xport {
        let all = [Consolidation::Average, Consolidation::Min, Consolidation::Max];
        let cfs: Vec<_> = cf.map_or(all.to_vec(), |cf| vec![cf]);
        let step = archive.step();
        let end = self.last - self.last.rem_euclid(step);
        let mut legend = Vec::new();
        // The columns of an object stand together, one consolidation after the other.
        let objects: Vec<&[Measured]> =
            measured.chunk_by(|one, other| one.uuid == other.uuid).collect();
        for (object, cf) in objects.iter().flat_map(|one| cfs.iter().map(move |cf| (one, cf))) {
            legend.extend(object.iter().map(|measured| measured.legend(*cf)));
        }
        let times = (0..archive.rows).map(|row| end - row * step);
        let rows = times.take_while(|time| *time >= start).map(|time| {
            let mut values = Vec::with_capacity(legend.len());
            for object in &objects {
                let cells: Vec<_> = object
                    .iter()
                    .map(|measured| measured.consolidated(&self.settings, self.skew, time, step))
                    .collect();
                values.extend(cfs.iter().flat_map(|cf| cells.iter().map(|cell| cell.by(*cf))));
            }
            (time, values)
        });
        let first = start - start.rem_euclid(step) + step;
        Xport { start: first, step, end, rows: rows.collect(), legend }
    }

    /// `/vm_rrd`: all that one VM has measured. A running VM's is kept where it runs, any other's
    /// at the coordinator.
    fn of_vm(&self, state: &State, query: &Query<'_>, asked: &str) -> Answer {
        let Some(uuid) = query.get("uuid") else { return Answer::BadRequest };
        state.edit(|edit| {
            let Some(vm) = edit.by_uuid("VM", uuid) else { return Answer::Missing };
            if self.has(edit, Owner::Vm, &vm) {
                return Answer::Stream(self.rrd(edit, Owner::Vm, &vm).write(self.form(query)));
            }
            let runs = edit.target("VM", &vm, "resident_on");
            let coordinator = coordinator(edit);
            match runs.or(coordinator) {
                Some(home) if home != self.host => redirect(edit, &home, "vm_rrd", asked),
                _ if sources::has_history(edit, &vm) => {
                    Answer::Stream(self.rrd(edit, Owner::Vm, &vm).write(self.form(query)))
                }
                _ => Answer::Missing,
            }
        })
    }

    /// `/sr_rrd`: all that one SR has measured, on the host that it belongs to.
    fn of_sr(&self, state: &State, query: &Query<'_>, asked: &str) -> Answer {
        let Some(uuid) = query.get("uuid") else { return Answer::BadRequest };
        state.edit(|edit| {
            let home = edit.by_uuid("SR", uuid).and_then(|sr| Some((home_of_sr(edit, &sr)?, sr)));
            match home {
                None => Answer::Missing,
                Some((home, _)) if home != self.host => redirect(edit, &home, "sr_rrd", asked),
                Some((_, sr)) => {
                    Answer::Stream(self.rrd(edit, Owner::Sr, &sr).write(self.form(query)))
                }
            }
        })
    }

    fn rrd(&self, edit: &mut Edit<'_>, owner: Owner, reference: &Text) -> Rrd {
        let measured = sources::of(edit, owner, reference);
        let last = match owner {
            Owner::Vm if !self.has(edit, owner, reference) => {
                let ended = sources::ended(edit, reference).min(self.last);
                ended - ended.rem_euclid(STEP)
            }
            _ => self.last,
        };
        Rrd::of(&measured, &archives(), last, |measured, time, step| {
            measured.consolidated(&self.settings, self.skew, time, step)
        })
    }
}

fn coordinator(edit: &Edit<'_>) -> Option<Text> {
    edit.target("pool", &edit.first("pool")?, "master")
}

/// The host that measures an SR: the coordinator if it is plugged in there, else the first that has
/// it.
fn home_of_sr(edit: &Edit<'_>, sr: &Text) -> Option<Text> {
    let plugged: Vec<Text> = edit
        .texts("SR", sr, "PBDs")
        .iter()
        .filter(|pbd| edit.flag("PBD", pbd, "currently_attached"))
        .filter_map(|pbd| edit.target("PBD", pbd, "host"))
        .filter(|host| &**host != NULL)
        .collect();
    let coordinator = coordinator(edit).filter(|host| plugged.contains(host));
    coordinator.or_else(|| plugged.into_iter().min())
}

/// XAPI names its hosts by `https` and without a port, however it was reached.
fn redirect(edit: &Edit<'_>, host: &Text, handler: &str, query: &str) -> Answer {
    Answer::Redirect(format!("https://{}/{handler}?{query}", edit.text("host", host, "address")))
}
