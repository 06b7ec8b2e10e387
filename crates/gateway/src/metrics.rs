//! What is counted. Labels have values from the code only, never from requests: no pool, user or
//! client.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    operation: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    flow: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

/// The metrics of one process. Cheap to clone; every component gets one.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    requests: Family<RequestLabels, Counter>,
    durations: Family<OperationLabels, Histogram>,
    unknown_members: Family<OperationLabels, Counter>,
    attempts: Family<AttemptLabels, Counter>,
    tokens: Family<KindLabels, Counter>,
    shed: Counter,
    connections: Gauge,
}

impl Metrics {
    /// With the version and commit of the build.
    pub fn new(version: &str, commit: &str) -> Self {
        let mut registry = Registry::with_prefix("conclave");
        let metrics = Metrics {
            requests: Family::default(),
            // 1 ms to 16 s: a cached read takes about one, a password hash in a queue several
            // hundred.
            durations: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.001, 2.0, 15))
            }),
            unknown_members: Family::default(),
            attempts: Family::default(),
            tokens: Family::default(),
            shed: Counter::default(),
            connections: Gauge::default(),
            registry: Arc::new(Mutex::new(Registry::default())),
        };
        registry.register(
            "api_requests",
            "Requests answered, by operation and exception name or OK",
            metrics.requests.clone(),
        );
        registry.register(
            "api_request_duration_seconds",
            "Time from the request's headers to its answer",
            metrics.durations.clone(),
        );
        registry.register(
            "api_unknown_members",
            "Members of requests that this version does not know and has ignored",
            metrics.unknown_members.clone(),
        );
        registry.register(
            "auth_attempts",
            "Sign-in attempts, by flow and result",
            metrics.attempts.clone(),
        );
        registry.register("tokens_issued", "Tokens signed, by kind", metrics.tokens.clone());
        registry.register(
            "requests_shed",
            "Requests refused because too many were under way",
            metrics.shed.clone(),
        );
        registry.register("connections", "Open client connections", metrics.connections.clone());
        let info = vec![
            ("version".to_owned(), version.to_owned()),
            ("commit".to_owned(), commit.to_owned()),
        ];
        registry.register("build", "The build of this process", Info::new(info));
        *metrics.registry.lock() = registry;
        metrics
    }

    /// Lets another component register metrics of its own under the prefix `conclave_`.
    pub fn register(&self, with: impl FnOnce(&mut Registry)) {
        with(&mut self.registry.lock());
    }

    /// A request was answered; `code` is an exception's name or `OK`.
    pub fn request(&self, operation: &'static str, code: &'static str, took: Duration) {
        self.requests.get_or_create(&RequestLabels { operation, code }).inc();
        self.durations.get_or_create(&OperationLabels { operation }).observe(took.as_secs_f64());
    }

    /// A request had members that are not known.
    pub fn unknown_members(&self, operation: &'static str, count: u32) {
        self.unknown_members.get_or_create(&OperationLabels { operation }).inc_by(u64::from(count));
    }

    /// A sign-in attempt ended.
    pub fn auth_attempt(&self, flow: &'static str, result: &'static str) {
        self.attempts.get_or_create(&AttemptLabels { flow, result }).inc();
    }

    /// A token was signed; `kind` is `id`, `access` or `refresh`.
    pub fn token_issued(&self, kind: &'static str) {
        self.tokens.get_or_create(&KindLabels { kind }).inc();
    }

    /// A request was refused before any work.
    pub fn shed(&self) {
        self.shed.inc();
    }

    /// Counts a connection as open until the guard is dropped.
    pub fn connection(&self) -> ConnectionGuard {
        self.connections.inc();
        ConnectionGuard(self.connections.clone())
    }

    /// All metrics in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut out, &self.registry.lock());
        out
    }
}

/// An open connection.
pub struct ConnectionGuard(Gauge);

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_that_dashboards_use() {
        let metrics = Metrics::new("0.1.0", "abc");
        metrics.request("ListUsers", "OK", Duration::from_millis(3));
        metrics.auth_attempt("USER_SRP_AUTH", "success");
        metrics.token_issued("access");
        metrics.shed();
        let open = metrics.connection();
        let text = metrics.encode();
        for line in [
            r#"conclave_api_requests_total{operation="ListUsers",code="OK"} 1"#,
            r#"conclave_api_request_duration_seconds_count{operation="ListUsers"} 1"#,
            r#"conclave_auth_attempts_total{flow="USER_SRP_AUTH",result="success"} 1"#,
            r#"conclave_tokens_issued_total{kind="access"} 1"#,
            r#"conclave_build_info{version="0.1.0",commit="abc"} 1"#,
            "conclave_requests_shed_total 1",
            "conclave_connections 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        drop(open);
        assert!(metrics.encode().contains("conclave_connections 0"));
    }

    #[test]
    fn another_component_registers_its_own() {
        let metrics = Metrics::new("0.1.0", "abc");
        metrics.register(|registry| {
            registry.register("raft_is_leader", "Whether", Gauge::<i64>::default())
        });
        assert!(metrics.encode().contains("conclave_raft_is_leader 0"));
    }
}
