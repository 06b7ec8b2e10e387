//! Counts and times the calls of pools' functions. Labels are sources of triggers and outcomes: never an ARN, of which tenants name
//! as many as they like.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use conclave_gateway::metrics::Metrics;
use conclave_outbound::{Invocation, InvokeError, Place, Triggers};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
};
use tokio::time::Instant;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    source: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabels {
    source: &'static str,
}

struct Metered {
    inner: Arc<dyn Triggers>,
    calls: Family<CallLabels, Counter>,
    durations: Family<SourceLabels, Histogram>,
    full: Counter,
}

/// `inner`, with its calls in `metrics`.
pub fn metered(metrics: &Metrics, inner: Arc<dyn Triggers>) -> Arc<dyn Triggers> {
    let metered = Metered {
        inner,
        calls: Family::default(),
        // 5 ms to 80 s: a message for which nobody waits is given up after a minute
        durations: Family::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.005, 2.0, 15))
        }),
        full: Counter::default(),
    };
    metrics.register(|registry| {
        registry.register(
            "trigger_calls",
            "Calls of pools' functions, by triggerSource and what became of them",
            metered.calls.clone(),
        );
        registry.register(
            "trigger_duration_seconds",
            "Time of a call of a function, with all tries and the wait for others",
            metered.durations.clone(),
        );
        registry.register(
            "trigger_queue_full",
            "Messages that found no place in the queue of their function",
            metered.full.clone(),
        );
    });
    Arc::new(metered)
}

#[async_trait]
impl Triggers for Metered {
    async fn invoke(&self, invocation: Invocation) -> Result<Bytes, InvokeError> {
        let (source, begun) = (invocation.source, Instant::now());
        let answer = self.inner.invoke(invocation).await;
        let took = begun.elapsed().as_secs_f64();
        self.durations.get_or_create(&SourceLabels { source }).observe(took);
        let result = answer.as_ref().map_or_else(result, |_| "ok");
        self.calls.get_or_create(&CallLabels { source, result }).inc();
        answer
    }

    fn reserve(&self, function: &str) -> Option<Place> {
        let place = self.inner.reserve(function);
        if place.is_none() {
            self.full.inc();
        }
        place
    }
}

fn result(error: &InvokeError) -> &'static str {
    match error {
        InvokeError::NotConfigured => "not_configured",
        InvokeError::NotAllowed => "not_allowed",
        InvokeError::TimedOut => "timed_out",
        InvokeError::Unreachable(_) => "unreachable",
        InvokeError::Refused(_) => "refused",
        InvokeError::Failed(_) => "failed",
        InvokeError::TooLong => "too_long",
        InvokeError::Overloaded => "overloaded",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use conclave_outbound::{Time, Wait};

    use super::*;

    /// Fails for the function of this name, and has no queue.
    struct Fake(InvokeError);

    #[async_trait]
    impl Triggers for Fake {
        async fn invoke(&self, invocation: Invocation) -> Result<Bytes, InvokeError> {
            match invocation.function.as_str() {
                "fails" => Err(self.0.clone()),
                _ => Ok(Bytes::new()),
            }
        }

        fn reserve(&self, _: &str) -> Option<Place> {
            None
        }
    }

    #[tokio::test]
    async fn calls_are_counted_by_source_and_outcome_and_no_function_is_named() {
        let metrics = Metrics::new("0", "0");
        let fake = Fake(InvokeError::Failed("what it says".to_owned()));
        let functions = metered(&metrics, Arc::new(fake));
        for function in ["works", "fails", "fails"] {
            let invocation = Invocation {
                function: function.to_owned(),
                event: Bytes::new(),
                id: "1".to_owned(),
                source: "PreSignUp_SignUp",
                wait: Wait::Answer,
                time: Time { patience: Duration::ZERO, until: Instant::now() },
            };
            assert_eq!(functions.invoke(invocation).await.is_ok(), function == "works");
        }
        assert!(functions.reserve("works").is_none());
        let text = metrics.encode();
        for line in [
            r#"conclave_trigger_calls_total{source="PreSignUp_SignUp",result="ok"} 1"#,
            r#"conclave_trigger_calls_total{source="PreSignUp_SignUp",result="failed"} 2"#,
            r#"conclave_trigger_duration_seconds_count{source="PreSignUp_SignUp"} 3"#,
            "conclave_trigger_queue_full_total 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("works") && !text.contains("what it says"));
    }
}
