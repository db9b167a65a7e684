//! Families of metrics, one after the other: a name, what it is, and its series.

use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;

use crate::telemetry::Distribution;

/// The labels of one series.
pub type Labels<'a> = [(&'static str, &'a str)];

/// Writes families of metrics.
#[derive(Debug)]
pub struct Families<'a>(DescriptorEncoder<'a>);

/// Writes the series of one family.
#[derive(Debug)]
pub struct Series<'a>(MetricEncoder<'a>);

impl<'a> Families<'a> {
    /// Writes where a collector is told to.
    pub fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self(encoder)
    }

    /// What goes up and down.
    pub fn gauges(
        &mut self,
        name: &str,
        help: &str,
        write: impl FnOnce(&mut Series<'_>) -> fmt::Result,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Gauge, write)
    }

    /// What only goes up; samples have `_total` behind `name`.
    pub fn counters(
        &mut self,
        name: &str,
        help: &str,
        write: impl FnOnce(&mut Series<'_>) -> fmt::Result,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Counter, write)
    }

    /// How long things took.
    pub fn histograms(
        &mut self,
        name: &str,
        help: &str,
        write: impl FnOnce(&mut Series<'_>) -> fmt::Result,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Histogram, write)
    }

    /// What is said in labels alone; samples have `_info` behind `name`.
    pub fn infos(
        &mut self,
        name: &str,
        help: &str,
        write: impl FnOnce(&mut Series<'_>) -> fmt::Result,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Info, write)
    }

    /// A gauge without labels.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        self.gauges(name, help, |series| series.gauge(&[], value))
    }

    /// A counter without labels.
    pub fn counter(
        &mut self,
        name: &str,
        help: &str,
        value: impl EncodeCounterValue,
    ) -> fmt::Result {
        self.counters(name, help, |series| series.counter(&[], value))
    }

    fn family(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        write: impl FnOnce(&mut Series<'_>) -> fmt::Result,
    ) -> fmt::Result {
        write(&mut Series(self.0.encode_descriptor(name, help, None, kind)?))
    }
}

impl Series<'_> {
    /// A gauge's value.
    pub fn gauge(&mut self, labels: &Labels<'_>, value: impl EncodeGaugeValue) -> fmt::Result {
        match labels {
            [] => self.0.encode_gauge(&value),
            labels => self.0.encode_family(&labels)?.encode_gauge(&value),
        }
    }

    /// A counter's value.
    pub fn counter(&mut self, labels: &Labels<'_>, value: impl EncodeCounterValue) -> fmt::Result {
        let none: Option<&Exemplar<NoLabelSet, f64>> = None;
        match labels {
            [] => self.0.encode_counter(&value, none),
            labels => self.0.encode_family(&labels)?.encode_counter(&value, none),
        }
    }

    /// A histogram's buckets.
    pub fn histogram(&mut self, labels: &Labels<'_>, took: &Distribution) -> fmt::Result {
        let mut series = self.0.encode_family(&labels)?;
        let buckets = took.bounded();
        series.encode_histogram::<NoLabelSet>(took.seconds, took.count(), &buckets, None)
    }

    /// What labels say.
    pub fn info(&mut self, labels: &Labels<'_>) -> fmt::Result {
        self.0.encode_info(&labels)
    }
}
