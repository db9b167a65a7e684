//! `GET /{vms|hosts|srs}/{uuid}/metrics`, and below it what there is to measure and what was
//! measured.

pub mod doc;
pub mod format;
pub mod media;
pub mod newest;
pub mod plot;
pub mod range;
pub mod scale;
pub mod selection;
pub mod tables;
pub mod vm;

use axum::Extension;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, header};
use serde::{Deserialize, Serialize};

use self::media::Media;
use self::newest::samples_json;
use self::plot::{PlotError, plot};
use self::range::{Instants, bound};
use self::selection::Selection;
use self::tables::History;
use crate::api::catalog::collections::Collection;
use crate::api::objects::read::{ObjectQuery, class_of};
use crate::extract::{Found, NamesBackend, NamesRevision, Read};
use crate::problem::{Code, Problem};
use crate::representation::{json, with_member};
use crate::revision::Revision;
use crate::validators::EtagBuilder;
use xenapi_mirror::inventory::{Object, Reading};
use xenapi_mirror::metrics::{
    Asked, Bound, Cf, Owner, STEPS, SampleError, Samples, Subject, meaning,
};
use xenapi_model::{Class, ClassId, datamodel};
use xengate_core::ops::Reach;

/// More cells than this are written where it is in nobody's way.
const MUCH: usize = 20_000;

/// How far back a history goes unless told.
const DEFAULT_FROM: Bound = Bound::Ago(3600);

/// What a browser may do with a plot: nothing but show it.
const PLOT_POLICY: HeaderValue =
    HeaderValue::from_static("sandbox; default-src 'none'; style-src 'unsafe-inline'");

/// What is plotted of an object when nobody says what.
fn plotted(owner: Owner) -> &'static str {
    match owner {
        Owner::Vm => "cpu*",
        Owner::Host => "cpu",
        Owner::Sr => "*",
    }
}

/// The query of a history.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryQuery {
    /// The backend that has the object, where several have one of its uuid.
    pub backend: Option<String>,
    /// What the answer must show at least.
    pub min_revision: Option<Revision>,
    /// Where it begins.
    pub from: Option<String>,
    /// Where it ends.
    pub to: Option<String>,
    /// Seconds between its rows.
    pub step: Option<String>,
    /// How its rows were consolidated.
    pub cf: Option<String>,
    /// Which sources it has.
    pub sources: Option<String>,
    /// How times are written.
    pub time: Option<String>,
}

/// What of a query is wanted, checked.
struct Wanted {
    asked: Asked,
    to: Bound,
    selection: Option<Selection>,
    instants: Instants,
}

impl NamesBackend for HistoryQuery {
    fn backend(&self) -> Option<&str> {
        self.backend.as_deref()
    }
}

impl NamesRevision for HistoryQuery {
    fn min_revision(&self) -> Option<&Revision> {
        self.min_revision.as_ref()
    }
}

impl HistoryQuery {
    fn check(&self) -> Result<Wanted, Problem> {
        let wrong = |name: &str, what: &str| {
            let text = format!("query parameter {name:?}: {what}");
            Problem::new(Code::BadParameter, text).with_params([name])
        };
        let time = |name: &'static str, text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => bound(text).map(Some).ok_or_else(|| {
                wrong(name, "a time is RFC 3339, seconds since 1970, or so long ago: -2h")
            }),
        };
        let from = time("from", &self.from)?.unwrap_or(DEFAULT_FROM);
        let to = time("to", &self.to)?.unwrap_or(Bound::Ago(0));
        let backwards = match (from, to) {
            (Bound::At(from), Bound::At(to)) => from > to,
            (Bound::Ago(from), Bound::Ago(to)) => from < to,
            _ => false,
        };
        if backwards {
            return Err(wrong("to", "the range ends before it begins"));
        }
        let step = self.step.as_deref().map(|step| {
            let seconds = step.parse::<i64>().ok();
            let kept = seconds.filter(|step| STEPS.iter().any(|(known, _)| known == step));
            kept.ok_or_else(|| wrong("step", "seconds between rows: 5, 60, 3600 or 86400"))
        });
        let cf = self.cf.as_deref().map(|cf| {
            Cf::named(cf).ok_or_else(|| wrong("cf", "one of AVERAGE, MIN, MAX and LAST"))
        });
        let instants = match self.time.as_deref() {
            None | Some("rfc3339") => Instants::Rfc3339,
            Some("unix") => Instants::Unix,
            Some(_) => return Err(wrong("time", "rfc3339 or unix")),
        };
        let asked =
            Asked { cf: cf.transpose()?.unwrap_or(Cf::Average), step: step.transpose()?, from };
        let selection = self.sources.as_deref().map(Selection::read).transpose()?;
        Ok(Wanted { asked, to, selection, instants })
    }
}

/// The newest samples of a VM, a host or an SR. For a VM, whose record has a path of its own,
/// [`vm::metrics`] answers.
pub async fn live(
    Extension(collection): Extension<&'static Collection>,
    read: Read<ObjectQuery>,
) -> Result<Response, Problem> {
    let class = class_of(collection);
    let found = read.find(class.id, beside(class)).await?;
    let (reading, object) = (&*found.reading, &*found.object);
    let record = match class.name.as_str() {
        "host" => {
            let metrics = vm::referred(&reading.snapshot, object, "metrics", "host_metrics");
            metrics.map(|metrics| metrics.record().json().to_vec())
        }
        _ => None,
    };
    let record = record.unwrap_or_else(|| identity(object));
    let (samples, sampling) = samples_of(&read, &found).await;
    let record = with_member(&record, "samples", &samples);
    let body = with_member(&record, "sampling", &sampling);
    let stamp = EtagBuilder::of_object(reading, object).shaped(&body);
    read.answer(&found, &stamp, || json(body))
}

/// What is read beside the objects of a class for what is measured of them.
fn beside(class: &Class) -> impl Iterator<Item = ClassId> + use<> {
    let also: &[&str] = match class.name.as_str() {
        "host" => &["host_metrics", "host_cpu"],
        "SR" => &["PBD"],
        _ => &[],
    };
    also.iter().filter_map(|name| datamodel().class(name)).map(|class| class.id)
}

/// What names an object.
fn identity(object: &Object) -> Vec<u8> {
    let identity = serde_json::json!({"uuid": object.uuid(), "backend": object.backend()});
    identity.to_string().into_bytes()
}

/// An object's `samples` and `sampling`.
async fn samples_of(read: &Read<ObjectQuery>, found: &Found) -> (Vec<u8>, Vec<u8>) {
    let Some(subject) = Subject::of(&found.reading.snapshot, &found.object) else {
        return samples_json(Owner::Vm, None, &Err(SampleError::NotMeasured));
    };
    let samples = samples(read, found, &subject).await;
    samples_json(subject.key.owner, subject.home, &samples)
}

async fn samples(
    read: &Read<ObjectQuery>,
    found: &Found,
    subject: &Subject,
) -> Result<Samples, SampleError> {
    let reach = read.reach(found).map_err(|_| SampleError::NoSession)?;
    read.gateway.metrics.samples(&reach.mirror, &reach.session, subject).await
}

/// What is measured of an object.
pub async fn sources(
    Extension(collection): Extension<&'static Collection>,
    read: Read<ObjectQuery>,
) -> Result<Response, Problem> {
    let class = class_of(collection);
    let found = read.find(class.id, beside(class)).await?;
    let (reading, object) = (&*found.reading, &*found.object);
    let subject = subject_of(reading, object)?;
    let reach = read.reach(&found)?;
    let known = read.gateway.metrics.sources(&reach.mirror, &reach.session, &subject).await?;
    let items: Vec<Source> = known
        .iter()
        .map(|(source, kind)| {
            let meaning = meaning(subject.key.owner, source);
            Source {
                name: meaning.name,
                source,
                kind: kind.or(meaning.kind).map(xenapi_mirror::metrics::Kind::name),
                unit: meaning.unit.name(),
                description: meaning.description,
            }
        })
        .collect();
    let body = serde_json::json!({"total": items.len(), "items": items}).to_string();
    let stamp = EtagBuilder::of_object(reading, object).shaped(&body);
    read.answer(&found, &stamp, || json(body))
}

#[derive(Serialize)]
struct Source<'a> {
    name: String,
    source: &'a str,
    #[serde(rename = "type")]
    kind: Option<&'static str>,
    unit: Option<&'static str>,
    description: String,
}

fn subject_of(reading: &Reading, object: &Object) -> Result<Subject, Problem> {
    Subject::of(&reading.snapshot, object).ok_or_else(|| SampleError::NotMeasured.into())
}

/// What was measured of an object over time.
pub async fn history(
    Extension(collection): Extension<&'static Collection>,
    read: Read<HistoryQuery, ()>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let media = Media::accepted(&headers)?;
    let wanted = read.query.check()?;
    let class = class_of(collection);
    let found = read.find(class.id, beside(class)).await?;
    let (reading, object) = (&*found.reading, &*found.object);
    let subject = subject_of(reading, object)?;
    let Reach { mirror, session } = read.reach(&found)?;
    let metrics = &read.gateway.metrics;
    let table = metrics.history(&mirror, &session, &subject, &wanted.asked).await?;
    let owner = subject.key.owner;
    let picks = match &wanted.selection {
        Some(selection) => selection.pick(owner, &table.columns)?,
        None if media == Media::Svg => {
            let usual = Selection::read(plotted(owner))?.pick(owner, &table.columns);
            usual.or_else(|_| Selection::default().pick(owner, &table.columns))?
        }
        None => Selection::default().pick(owner, &table.columns)?,
    };
    let (backend, title) = (object.backend().to_owned(), title(object));
    let large = table.rows.len() * picks.len() > MUCH;
    let uuid = read.uuid;
    let work = move || {
        let history = History {
            uuid,
            backend: &backend,
            class: &class.name,
            cf: wanted.asked.cf,
            table: &table,
            picks: &picks,
            range: (wanted.asked.from.time(table.newest), wanted.to.time(table.newest)),
            instants: wanted.instants,
        };
        Ok(match media {
            Media::Json => history.json(),
            Media::Csv => history.csv(),
            Media::Ndjson => history.ndjson(),
            Media::Svg => plot(&history, &title)?.into_bytes(),
        })
    };
    let body = match media == Media::Svg || large {
        true => tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string()),
        false => Ok(work()),
    };
    let body = body.and_then(|body| body.map_err(|error: PlotError| error.to_string()));
    let body = body.map_err(|error| {
        tracing::error!(error, "a history could not be written");
        Problem::from(Code::Internal)
    })?;
    let stamp = EtagBuilder::of_object(reading, object).shaped(&body).shaped(&media.name());
    read.answer(&found, &stamp, || {
        let mut response = Body::from(body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, media.value());
        if media == Media::Svg {
            headers.insert(header::CONTENT_SECURITY_POLICY, PLOT_POLICY);
        }
        response
    })
}

/// A plot's title: the name of the object, and what it is.
fn title(object: &Object) -> String {
    let class = object.class();
    let label = object.record().field_named(class, "name_label");
    let label: Option<String> = label.and_then(|json| serde_json::from_slice(json).ok());
    match label.filter(|label| !label.is_empty()) {
        Some(label) => format!("{label} ({})", class.name),
        None => format!("{} ({})", object.uuid(), class.name),
    }
}
