//! The trace that a call over the network belongs to: W3C Trace Context in its metadata, read by the
//! process's propagator. Without one, nothing is read.

use opentelemetry::{global, propagation::Extractor};
use tonic::metadata::{KeyRef, MetadataMap};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Puts `span` under the caller's.
pub(crate) fn adopt(span: &Span, metadata: &MetadataMap) {
    let context =
        global::get_text_map_propagator(|propagator| propagator.extract(&Metadata(metadata)));
    // an error means that no traces are made here
    let _ = span.set_parent(context);
}

struct Metadata<'a>(&'a MetadataMap);

impl Extractor for Metadata<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        let ascii = self.0.keys().filter_map(|key| match key {
            KeyRef::Ascii(key) => Some(key.as_str()),
            KeyRef::Binary(_) => None,
        });
        ascii.collect()
    }
}
