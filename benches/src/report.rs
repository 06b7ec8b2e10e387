//! Figures as ratios to the machine's limits: a table for people, JSON for machines.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::{limits::Limits, load::Measured, workload::Operation};

/// Limits that moved by more than this between the two measurements make the run worth little.
const DRIFT_MAX: f64 = 0.15;
/// Cores that others may use before the rates say little.
const OTHER_CORES_MAX: f64 = 0.2;

/// The steps against one deployment.
pub struct Deployment {
    /// 1 is `conclave dev`, 3 is three times `conclave serve`.
    pub nodes: usize,
    /// Cores that it uses when nobody asks it for anything: in the processor time of every step.
    pub idle_cores: f64,
    pub steps: Vec<(Operation, Measured)>,
}

/// Everything a run measured.
pub struct Report {
    pub cores: usize,
    pub connections: usize,
    pub connections_many: usize,
    pub before: Limits,
    pub after: Limits,
    pub deployments: Vec<Deployment>,
}

/// One goal, as far as it was reached.
struct Goal {
    id: &'static str,
    nodes: usize,
    what: String,
    /// By processor time: what the parts cost, as a share of what the operation costs.
    by_cpu: Option<f64>,
    /// By rate, with what the load generator took from the machine taken off.
    by_rate: Option<f64>,
    wanted: Wanted,
}

#[derive(Clone, Copy)]
enum Wanted {
    AtLeast(f64),
    AtMost(f64),
}

impl Wanted {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(least) => format!(">= {least:.2}"),
            Self::AtMost(most) => format!("<= {most:.2}"),
        }
    }
}

impl Goal {
    /// `yes`, `no`, or by which of the two measures only.
    fn verdict(&self) -> &'static str {
        let holds = |value: Option<f64>| value.map(|value| self.wanted.holds(value));
        match (holds(self.by_cpu), holds(self.by_rate)) {
            (Some(true), Some(false)) => "by CPU only",
            (Some(false), Some(true)) => "by rate only",
            (Some(false), _) | (_, Some(false)) => "no",
            (None, None) => "not measured",
            _ => "yes",
        }
    }
}

/// What the parts of an operation cost that cannot be left out, in ms of processor time.
fn parts_ms(operation: Operation, limits: &Limits) -> f64 {
    let (hash, sign, verify) =
        (limits.argon2.cpu_ms, limits.rsa_sign.cpu_ms, limits.rsa_verify.cpu_ms);
    let (power, floor) = (limits.mod_exp.cpu_ms, limits.floor.cpu_ms);
    match operation {
        Operation::PasswordSignIn => hash + 2.0 * sign,
        Operation::SrpSignIn => 3.0 * power + 2.0 * sign + 2.0 * floor,
        Operation::Refresh => 2.0 * sign + floor,
        Operation::GetUser => verify + floor,
        Operation::SignUp | Operation::AdminCreateUser => hash + power,
        Operation::ConfirmSignUp => floor,
    }
}

impl Report {
    fn limits(&self) -> Limits {
        self.before.mean(&self.after)
    }

    /// Bad answers of all steps.
    pub fn bad(&self) -> u64 {
        self.deployments.iter().flat_map(|d| &d.steps).map(|(_, m)| m.bad).sum()
    }

    fn by_cpu(operation: Operation, measured: &Measured, limits: &Limits) -> Option<f64> {
        let used = measured.server_cpu_ms;
        (measured.count > 0 && used > 0.0).then(|| parts_ms(operation, limits) / used)
    }

    fn by_rate(&self, operation: Operation, measured: &Measured, limits: &Limits) -> Option<f64> {
        let each = parts_ms(operation, limits) + measured.client_cpu_ms;
        (measured.count > 0).then(|| measured.per_second * each / (self.cores as f64 * 1e3))
    }

    fn goals(&self) -> Vec<Goal> {
        let limits = self.limits();
        let mut goals = Vec::new();
        for deployment in &self.deployments {
            let nodes = deployment.nodes;
            let step = |operation: Operation, connections: usize| {
                let mut steps = deployment.steps.iter();
                let found = steps.find(|(o, m)| *o == operation && m.connections == connections);
                found.map(|(_, measured)| measured).filter(|measured| measured.count > 0)
            };
            let share = |id, operation: Operation, wanted| {
                let measured = step(operation, self.connections);
                Goal {
                    id,
                    nodes,
                    what: format!("{} / its parts", operation.name()),
                    by_cpu: measured.and_then(|m| Self::by_cpu(operation, m, &limits)),
                    by_rate: measured.and_then(|m| self.by_rate(operation, m, &limits)),
                    wanted: Wanted::AtLeast(wanted),
                }
            };
            goals.push(share("G1", Operation::PasswordSignIn, 0.90));
            goals.push(share("G2", Operation::Refresh, 0.80));
            let get_user = step(Operation::GetUser, self.connections);
            goals.push(Goal {
                id: "G3",
                nodes,
                what: "CPU of GetUser / (verify + floor)".to_owned(),
                by_cpu: get_user.map(|m| m.server_cpu_ms / parts_ms(Operation::GetUser, &limits)),
                by_rate: None,
                wanted: Wanted::AtMost(if nodes == 1 { 2.0 } else { 3.0 }),
            });
            goals.push(share("G5", Operation::SrpSignIn, 0.80));
            // AdminCreateUser hashes the temporary password, so group commit shows in a write without.
            let create = (Operation::AdminCreateUser, self.connections);
            let confirm = (Operation::ConfirmSignUp, self.connections_many);
            for (operation, connections) in [create, confirm] {
                let (one, many) = (step(operation, 1), step(operation, connections));
                let goal = |id, what: String, by_rate, wanted| Goal {
                    id,
                    nodes,
                    what: format!("{}: {what}", operation.name()),
                    by_cpu: None,
                    by_rate,
                    wanted,
                };
                if nodes > 1 {
                    goals.push(goal(
                        "G6",
                        format!("rate at {connections} / group commit"),
                        many.map(|m| m.per_second / limits.group_commit.per_second),
                        Wanted::AtLeast(0.15),
                    ));
                    goals.push(goal(
                        "G6",
                        "p50 at 1 / (4 fdatasync + 1 ms)".to_owned(),
                        one.map(|m| m.p50_ms / (4.0 * limits.sync_2048.p50_ms + 1.0)),
                        Wanted::AtMost(1.0),
                    ));
                }
                goals.push(goal(
                    "G7",
                    format!("rate at {connections} / rate at 1"),
                    one.zip(many).map(|(one, many)| many.per_second / one.per_second),
                    Wanted::AtLeast(6.0),
                ));
            }
            let sign_up = share("G8", Operation::SignUp, 0.85);
            let sign_in = share("G1", Operation::PasswordSignIn, 0.90);
            let ratio = |a: Option<f64>, b: Option<f64>| a.zip(b).map(|(a, b)| a / b);
            let against = Goal {
                what: "the same / G1".to_owned(),
                by_cpu: ratio(sign_up.by_cpu, sign_in.by_cpu),
                by_rate: ratio(sign_up.by_rate, sign_in.by_rate),
                wanted: Wanted::AtLeast(0.90),
                ..sign_up
            };
            goals.push(share("G8", Operation::SignUp, 0.85));
            goals.push(against);
            goals.push(share("G8", Operation::AdminCreateUser, 0.85));
        }
        goals
    }

    /// What makes the figures doubtful.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if cfg!(debug_assertions) {
            warnings.push("built without optimisation: the ratios mean nothing".to_owned());
        }
        for ((name, before), (_, after)) in self.before.named().iter().zip(self.after.named()) {
            // what waits for the disk is judged by its latency, all else by processor time
            let disk = before.p50_ms > 0.0 && !name.contains("HTTP");
            let (unit, was, is) = if disk {
                ("p50", before.p50_ms, after.p50_ms)
            } else {
                ("CPU", before.cpu_ms, after.cpu_ms)
            };
            let drift = (is - was).abs() / was.min(is).max(f64::MIN_POSITIVE);
            if drift > DRIFT_MAX {
                warnings.push(format!(
                    "{name}: {unit} {was:.4} ms before and {is:.4} ms after, {:.0} % apart; repeat",
                    drift * 100.0
                ));
            }
        }
        if self.before.sync_512.p50_ms < 0.01 {
            warnings.push("fdatasync takes no time: --dir is not on a disk".to_owned());
        }
        for deployment in &self.deployments {
            for (operation, measured) in &deployment.steps {
                if let Some(first) = &measured.first_bad {
                    warnings.push(format!(
                        "{} on {}: {} bad, the first: {first}",
                        operation.name(),
                        nodes_text(deployment.nodes),
                        measured.bad
                    ));
                }
            }
        }
        let steps = self.deployments.iter().flat_map(|d| &d.steps);
        let others = steps.map(|(_, m)| m.other_cores).fold(0.0, f64::max);
        if others > OTHER_CORES_MAX {
            warnings
                .push(format!("others used up to {others:.2} cores: judge by CPU, not by rate"));
        }
        warnings
    }

    /// The table.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // writing to a string cannot fail
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let limits = self.limits();
        writeln!(out, "The machine: {} cores, before and after the load", self.cores)?;
        writeln!(
            out,
            "  {:<26} {:>10} {:>10} {:>9} {:>9} {:>8} {:>8}",
            "limit", "per s", "after", "CPU ms", "after", "p50 ms", "p99 ms"
        )?;
        for ((name, before), (_, after)) in self.before.named().iter().zip(self.after.named()) {
            writeln!(
                out,
                "  {name:<26} {:>10.0} {:>10.0} {:>9.4} {:>9.4} {:>8} {:>8}",
                before.per_second,
                after.per_second,
                before.cpu_ms,
                after.cpu_ms,
                dash(before.p50_ms),
                dash(before.p99_ms)
            )?;
        }
        for deployment in &self.deployments {
            let idle = deployment.idle_cores;
            writeln!(out, "\n{}; idle, {idle:.3} cores", nodes_text(deployment.nodes))?;
            writeln!(
                out,
                "  {:<19} {:>5} {:>8} {:>8} {:>8} {:>4} {:>8} {:>8} {:>7} {:>7} {:>9} {:>6} {:>6} {:>7}",
                "operation",
                "conns",
                "per s",
                "p50 ms",
                "p99 ms",
                "bad",
                "CPU ms",
                "parts ms",
                "by CPU",
                "by rate",
                "client ms",
                "cores",
                "others",
                "RSS MB"
            )?;
            for (operation, m) in &deployment.steps {
                let by_cpu = Self::by_cpu(*operation, m, &limits).unwrap_or_default();
                let by_rate = self.by_rate(*operation, m, &limits).unwrap_or_default();
                writeln!(
                    out,
                    "  {:<19} {:>5} {:>8.0} {:>8.2} {:>8.2} {:>4} {:>8.3} {:>8.3} {:>7.2} {:>7.2} {:>9.3} {:>6.2} {:>6.2} {:>7.0}",
                    operation.name(),
                    m.connections,
                    m.per_second,
                    m.p50_ms,
                    m.p99_ms,
                    m.bad,
                    m.server_cpu_ms,
                    parts_ms(*operation, &limits),
                    by_cpu,
                    by_rate,
                    m.client_cpu_ms,
                    m.server_cores,
                    m.other_cores,
                    m.rss_mb
                )?;
            }
        }
        writeln!(out, "\nGoals")?;
        writeln!(
            out,
            "  {:<4} {:>5}  {:<54} {:>7} {:>8} {:>8}  reached",
            "goal", "nodes", "ratio", "by CPU", "by rate", "wanted"
        )?;
        for goal in self.goals() {
            let number = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.2}"));
            writeln!(
                out,
                "  {:<4} {:>5}  {:<54} {:>7} {:>8} {:>8}  {}",
                goal.id,
                goal.nodes,
                goal.what,
                number(goal.by_cpu),
                number(goal.by_rate),
                goal.wanted.text(),
                goal.verdict()
            )?;
        }
        for warning in self.warnings() {
            writeln!(out, "warning: {warning}")?;
        }
        Ok(())
    }

    /// The same for machines.
    pub fn json(&self) -> Value {
        let limits = |limits: &Limits| -> Value {
            limits
                .named()
                .iter()
                .map(|(name, limit)| {
                    json!({
                        "name": name, "per_second": limit.per_second, "cpu_ms": limit.cpu_ms,
                        "p50_ms": limit.p50_ms, "p99_ms": limit.p99_ms,
                    })
                })
                .collect()
        };
        let mean = self.limits();
        let step = |(operation, m): &(Operation, Measured)| {
            json!({
                "operation": operation.name(), "connections": m.connections, "count": m.count,
                "bad": m.bad, "first_bad": m.first_bad, "per_second": m.per_second,
                "p50_ms": m.p50_ms, "p99_ms": m.p99_ms, "server_cpu_ms": m.server_cpu_ms,
                "client_cpu_ms": m.client_cpu_ms, "parts_ms": parts_ms(*operation, &mean),
                "by_cpu": Self::by_cpu(*operation, m, &mean),
                "by_rate": self.by_rate(*operation, m, &mean),
                "server_cores": m.server_cores, "other_cores": m.other_cores, "rss_mb": m.rss_mb,
            })
        };
        let deployment = |d: &Deployment| {
            json!({
                "nodes": d.nodes, "idle_cores": d.idle_cores, "steps": d.steps.iter().map(step).collect::<Value>(),
            })
        };
        let goal = |g: &Goal| {
            json!({
                "goal": g.id, "nodes": g.nodes, "ratio": g.what, "by_cpu": g.by_cpu,
                "by_rate": g.by_rate, "wanted": g.wanted.text(), "reached": g.verdict(),
            })
        };
        json!({
            "cores": self.cores,
            "limits_before": limits(&self.before),
            "limits_after": limits(&self.after),
            "deployments": self.deployments.iter().map(deployment).collect::<Value>(),
            "goals": self.goals().iter().map(goal).collect::<Value>(),
            "warnings": self.warnings(),
        })
    }
}

fn nodes_text(nodes: usize) -> String {
    if nodes == 1 { "one node".to_owned() } else { format!("{nodes} nodes with mutual TLS") }
}

fn dash(value: f64) -> String {
    if value > 0.0 { format!("{value:.3}") } else { "-".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limit;

    fn limit(cpu_ms: f64) -> Limit {
        Limit { per_second: 2e3 / cpu_ms, cpu_ms, ..Limit::default() }
    }

    fn report(sign_in_cpu_ms: f64, per_second: f64) -> Report {
        let limits = Limits {
            argon2: limit(18.0),
            rsa_sign: limit(0.5),
            rsa_verify: limit(0.02),
            mod_exp: limit(0.6),
            floor: limit(0.01),
            group_commit: Limit { per_second: 20_000.0, ..Limit::default() },
            sync_512: Limit { p50_ms: 0.2, ..Limit::default() },
            ..Limits::default()
        };
        let measured = Measured {
            connections: 16,
            count: 100,
            per_second,
            server_cpu_ms: sign_in_cpu_ms,
            client_cpu_ms: 1.0,
            ..Measured::default()
        };
        Report {
            cores: 2,
            connections: 16,
            connections_many: 64,
            before: limits.clone(),
            after: limits,
            deployments: vec![Deployment {
                nodes: 1,
                idle_cores: 0.0,
                steps: vec![(Operation::PasswordSignIn, measured)],
            }],
        }
    }

    fn first_goal(report: &Report) -> Goal {
        report.goals().remove(0)
    }

    #[test]
    fn a_ratio_is_the_cost_of_the_parts_over_the_cost_of_the_operation() {
        let goal = first_goal(&report(20.0, 95.0));
        assert_eq!(goal.by_cpu, Some(0.95));
        // two cores that also carry the load generator: 100 a second are all of it
        assert!((goal.by_rate.unwrap() - 0.95).abs() < 1e-9);
        assert_eq!(goal.verdict(), "yes");
        assert_eq!(first_goal(&report(38.0, 95.0)).verdict(), "by rate only");
        assert_eq!(first_goal(&report(20.0, 45.0)).verdict(), "by CPU only");
        assert_eq!(first_goal(&report(38.0, 45.0)).verdict(), "no");
    }

    #[test]
    fn what_was_not_measured_is_not_reached() {
        let goals = report(20.0, 95.0).goals();
        let refresh = goals.iter().find(|goal| goal.id == "G2").unwrap();
        assert_eq!(refresh.verdict(), "not measured");
    }

    #[test]
    fn limits_that_moved_are_warned_of() {
        let mut report = report(20.0, 95.0);
        let drifts = |report: &Report| report.warnings().iter().any(|w| w.contains("apart"));
        assert!(!drifts(&report));
        report.after.rsa_sign.cpu_ms *= 1.2;
        assert!(drifts(&report));
    }
}
