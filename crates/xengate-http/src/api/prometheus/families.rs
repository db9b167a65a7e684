//! Families of metrics, one after the other: a name, what it is, and its series.

use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, MetricEncoder,
    NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;

use xengate_telemetry::Distribution;

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
        self.family(name, help, MetricType::Gauge, |series| series.0.encode_gauge(&value))
    }

    /// A counter without labels.
    pub fn counter(
        &mut self,
        name: &str,
        help: &str,
        value: impl EncodeCounterValue,
    ) -> fmt::Result {
        let none: Option<&Exemplar<NoLabelSet, f64>> = None;
        self.family(name, help, MetricType::Counter, |series| series.0.encode_counter(&value, none))
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
    pub fn gauge(
        &mut self,
        labels: &impl EncodeLabelSet,
        value: impl EncodeGaugeValue,
    ) -> fmt::Result {
        self.0.encode_family(labels)?.encode_gauge(&value)
    }

    /// A counter's value.
    pub fn counter(
        &mut self,
        labels: &impl EncodeLabelSet,
        value: impl EncodeCounterValue,
    ) -> fmt::Result {
        let none: Option<&Exemplar<NoLabelSet, f64>> = None;
        self.0.encode_family(labels)?.encode_counter(&value, none)
    }

    /// A histogram's buckets.
    pub fn histogram(&mut self, labels: &impl EncodeLabelSet, took: &Distribution) -> fmt::Result {
        let mut series = self.0.encode_family(labels)?;
        let buckets = took.bounded();
        series.encode_histogram::<NoLabelSet>(took.seconds, took.count(), &buckets, None)
    }

    /// What labels say.
    pub fn info(&mut self, labels: &impl EncodeLabelSet) -> fmt::Result {
        self.0.encode_info(labels)
    }
}
