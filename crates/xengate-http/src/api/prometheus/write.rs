//! Metrics as monitoring systems read them: OpenMetrics, and the older text format of Prometheus.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, header};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use super::format::Format;
use super::text_0_0_4;
use crate::problem::{Code, Problem};

/// Whatever a collector has to say, in this format.
pub fn write(collector: impl Collector, format: Format) -> Result<Response, Problem> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(collector));
    let mut text = String::new();
    encode(&mut text, &registry)
        .map_err(|_| Problem::new(Code::Internal, "the metrics could not be written"))?;
    if format == Format::Classic {
        text = text_0_0_4::from_openmetrics(&text);
    }
    let mut response = Response::new(Body::from(text));
    let media = HeaderValue::from_static(format.media_type());
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    Ok(response)
}
