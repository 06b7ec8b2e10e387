//! What `/metrics` shows of messages to users. Labels are channels and outcomes: never an address.

use std::{fmt, sync::Arc};

use conclave_gateway::metrics::Metrics;
use conclave_outbound::{Channel, lanes::Tally};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

/// Adds the lanes of a process, read anew at every scrape.
pub fn register(metrics: &Metrics, lanes: Vec<(Channel, Arc<Tally>)>) {
    if !lanes.is_empty() {
        metrics.register(|registry| registry.register_collector(Box::new(Deliveries(lanes))));
    }
}

struct Deliveries(Vec<(Channel, Arc<Tally>)>);

impl fmt::Debug for Deliveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Deliveries")
    }
}

type Count = (&'static str, fn(&Tally) -> u64);

const RESULTS: [Count; 3] =
    [("ok", Tally::delivered), ("refused", Tally::refused), ("unavailable", Tally::unavailable)];

impl Collector for Deliveries {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let kind = ConstCounter::<u64>::new(0).metric_type();
        let help = "Messages to users, by channel and what became of them";
        let mut family = encoder.encode_descriptor("deliveries", help, None, kind)?;
        for (channel, tally) in &self.0 {
            for (result, read) in RESULTS {
                let labels = [("channel", label(*channel)), ("result", result)];
                ConstCounter::new(read(tally)).encode(family.encode_family(&labels)?)?;
            }
        }
        let kind = ConstGauge::<i64>::new(0).metric_type();
        let help = "Messages that wait for their delivery";
        let mut family = encoder.encode_descriptor("deliveries_waiting", help, None, kind)?;
        for (channel, tally) in &self.0 {
            let value = i64::try_from(tally.waiting()).unwrap_or(i64::MAX);
            let labels = [("channel", label(*channel))];
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn label(channel: Channel) -> &'static str {
    match channel {
        Channel::Email => "email",
        Channel::Sms => "sms",
    }
}
