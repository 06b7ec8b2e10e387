//! Logs, and traces when a collector is configured. Both are made of the same spans, which carry
//! operations, ids of requests and outcomes, never what users send.

use std::{io::IsTerminal as _, time::Duration};

use anyhow::{Context, Result};
use opentelemetry::{KeyValue, global, trace::TracerProvider as _};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

/// How long one batch of spans may take to be sent: a collector that does not answer must not keep the
/// process from ending.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);

/// How logs are written, and where traces go.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `tracing` directives, such as `info,conclave_identity=debug`.
    pub filter: Option<String>,
    /// One JSON object a line; otherwise text for people.
    pub json: bool,
    /// The gRPC endpoint of an OpenTelemetry collector, such as `http://localhost:4317`.
    pub otlp_endpoint: Option<String>,
    /// `service.instance.id` of the traces.
    pub instance: String,
}

/// Sends what is left when it is dropped.
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

/// Starts logs and traces. Needs a tokio runtime when traces are exported.
pub fn start(options: &Options) -> Result<Telemetry> {
    const DEFAULT_FILTER: &str = "info,openraft=warn,h2=warn,hyper=warn,tonic=warn";
    let filter = EnvFilter::try_new(options.filter.as_deref().unwrap_or(DEFAULT_FILTER))
        .context("the log filter cannot be parsed")?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let lines = if options.json {
        // all spans, outermost first: the request's has its id
        lines.json().with_current_span(false).with_span_list(true).boxed()
    } else {
        lines.with_target(true).boxed()
    };
    let traces =
        options.otlp_endpoint.as_deref().map(|endpoint| exporter(endpoint, options)).transpose()?;
    if traces.is_some() {
        // other nodes continue a request's trace
        global::set_text_map_propagator(TraceContextPropagator::new());
    }
    let spans = traces
        .as_ref()
        .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("conclave")));
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(spans.map(|layer| layer.with_filter(tracing_subscriber::filter::LevelFilter::INFO)))
        .try_init()
        .context("telemetry was started twice")?;
    Ok(Telemetry { traces })
}

fn exporter(endpoint: &str, options: &Options) -> Result<SdkTracerProvider> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .context("the OTLP exporter cannot be made")?;
    let resource = Resource::builder()
        .with_service_name("conclave")
        .with_attribute(KeyValue::new("service.instance.id", options.instance.clone()))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(traces) = &self.traces
            && let Err(error) = traces.shutdown()
        {
            tracing::warn!(%error, "traces could not be sent");
        }
    }
}
