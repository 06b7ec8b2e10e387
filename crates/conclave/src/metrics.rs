//! What a node's groups and certificates show in `/metrics`.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use conclave_gateway::metrics::Metrics;
use conclave_shard::{GroupHost, GroupStatus, HostStatus};
use conclave_tls::{Reload, Tally};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

/// Adds the groups of `host`, read anew at every scrape.
pub fn register_groups(metrics: &Metrics, host: &Arc<GroupHost>) {
    let groups = Groups(Arc::downgrade(host));
    metrics.register(|registry| registry.register_collector(Box::new(groups)));
}

/// Does not keep the groups from being stopped.
struct Groups(Weak<GroupHost>);

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Groups")
    }
}

/// One number of every group.
type Reading = (&'static str, &'static str, fn(&GroupStatus) -> u64);

const GAUGES: [Reading; 10] = [
    ("raft_is_leader", "Whether this node leads the group", |group| u64::from(group.is_leader)),
    ("raft_is_voter", "Whether this node votes in the group", |group| u64::from(group.is_voter)),
    ("raft_voters", "Nodes that vote in the group, as this node knows", |group| {
        u64::try_from(group.voters.len()).unwrap_or(u64::MAX)
    }),
    ("raft_last_applied_index", "The last log entry that has been applied", |group| {
        group.applied_index
    }),
    (
        "raft_history",
        "A checksum over everything that has been applied: with the same last applied index it is the same on all nodes",
        |group| u64::from(group.history),
    ),
    ("raft_last_log_index", "The last entry of the log", |group| group.last_log_index),
    ("raft_purged_index", "The last entry that was removed from the log", |group| {
        group.purged_index
    }),
    ("raft_snapshot_index", "The last entry that the newest snapshot holds", |group| {
        group.snapshot_index
    }),
    ("raft_term", "The present term", |group| group.term),
    ("raft_feature_level", "The feature level of the group", |group| {
        u64::from(group.feature_level)
    }),
];

const COUNTERS: [Reading; 6] = [
    ("raft_leader_changes", "How often the leader changed", |group| group.leader_changes),
    ("raft_reopened", "How often the replica was reopened after an error", |group| group.reopened),
    ("store_commits", "Commits proposed here and applied", |group| group.commits),
    ("store_commits_overloaded", "Commits refused because too many were in flight", |group| {
        group.commits_overloaded
    }),
    ("store_commits_unknown", "Commits whose outcome is not known here", |group| {
        group.commits_unknown
    }),
    ("store_reads", "Linearizable reads answered", |group| group.reads),
];

impl Collector for Groups {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(host) = self.0.upgrade() else { return Ok(()) };
        let HostStatus { groups, disk, .. } = host.status();
        if let Some(space) = disk {
            for (name, help, bytes) in [
                (
                    "disk_free_bytes",
                    "What may still be written on the disk of the data",
                    space.free,
                ),
                ("disk_size_bytes", "The size of that disk", space.total),
            ] {
                let gauge = ConstGauge::new(i64::try_from(bytes).unwrap_or(i64::MAX));
                gauge.encode(encoder.encode_descriptor(
                    name,
                    help,
                    None,
                    gauge.metric_type(),
                )?)?;
            }
        }
        for (name, help, read) in GAUGES {
            let kind = ConstGauge::<i64>::new(0).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for group in &groups {
                let labels = [("group", group.group.to_string())];
                let value = i64::try_from(read(group)).unwrap_or(i64::MAX);
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
        for (name, help, read) in COUNTERS {
            let kind = ConstCounter::<u64>::new(0).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for group in &groups {
                let labels = [("group", group.group.to_string())];
                ConstCounter::new(read(group)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

/// Adds certificates, read anew at every scrape.
pub fn register_certificates(metrics: &Metrics, sources: Vec<Arc<dyn Reload>>) {
    if !sources.is_empty() {
        let certificates = Certificates(sources);
        metrics.register(|registry| registry.register_collector(Box::new(certificates)));
    }
}

struct Certificates(Vec<Arc<dyn Reload>>);

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificates")
    }
}

type Count = (&'static str, &'static str, fn(&Tally) -> u64);

const PORT_COUNTERS: [Count; 4] = [
    ("certificate_reloads", "New certificate files taken over", Tally::reloads),
    (
        "certificate_reloads_refused",
        "New certificate files that could not be used",
        Tally::reloads_refused,
    ),
    ("tls_handshakes_failed", "Connections that ended in the handshake", Tally::handshakes_failed),
    (
        "tls_handshakes_shed",
        "Connections closed because too many were in the handshake",
        Tally::handshakes_shed,
    ),
];

impl Collector for Certificates {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let kind = ConstGauge::<i64>::new(0).metric_type();
        let mut family = encoder.encode_descriptor(
            "certificate_expiry_timestamp_seconds",
            "Until when a certificate is good, in seconds since 1970",
            None,
            kind,
        )?;
        for expiry in self.0.iter().flat_map(|source| source.expiries()) {
            let labels = [("certificate", expiry.certificate)];
            let value = i64::try_from(expiry.not_after_s).unwrap_or(i64::MAX);
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
        for (name, help, read) in PORT_COUNTERS {
            let kind = ConstCounter::<u64>::new(0).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for source in &self.0 {
                let labels = [("port", source.name())];
                let value = read(source.tally());
                ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
