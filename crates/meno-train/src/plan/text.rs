//! Prints a plan.

use super::{Plan, TimePlan};
use crate::time::duration;
use std::fmt;

const GIB: f64 = (1u64 << 30) as f64;
const MIB: f64 = (1u64 << 20) as f64;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "Computed, not measured, except where the assumptions name a measurement.\n")?;
        self.head(f)?;
        self.memory(f)?;
        self.traffic(f)?;
        self.time.fmt(f)?;
        writeln!(f, "\n{}\n\nAssumptions", self.limit.sentence)?;
        self.assumptions.iter().try_for_each(|assumption| wrapped(f, assumption))
    }
}

impl Plan {
    fn head(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let network = &self.network;
        write!(f, "{} of {}: {} parameters", self.verb, network.model_type, number(network.parameters as f64))?;
        if network.active_parameters < network.parameters {
            write!(f, ", {} used by a token", number(network.active_parameters as f64))?;
        }
        if network.mtp_parameters > 0 {
            write!(f, ", and {} of the MTP module", number(network.mtp_parameters as f64))?;
        }
        let ranks = &self.ranks;
        let (s, nodes) = (if ranks.total == 1 { "" } else { "s" }, if ranks.nodes == 1 { "node" } else { "nodes" });
        write!(f, "\n{} rank{s}: {} {nodes} × {} ({})", ranks.total, ranks.nodes, ranks.per_node, ranks.device)?;
        if ranks.total > 1 {
            write!(f, "; {} share the tokens of a step", ranks.data_parallel)?;
        }
        if ranks.expert_parallel > 1 {
            write!(f, ", {} the experts of a layer", ranks.expert_parallel)?;
        }
        if ranks.pipeline_parallel > 1 {
            write!(f, ", {} the layers", ranks.pipeline_parallel)?;
        }
        writeln!(f)
    }

    fn memory(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let memory = &self.memory;
        let (name, unit) = if memory.total as f64 >= GIB { ("GiB", GIB) } else { ("MiB", MIB) };
        writeln!(f, "\nMemory of a rank{name:>30}")?;
        for part in &memory.parts {
            let line = format!("  {:<36} {:>8.2}  {}", part.name, part.bytes as f64 / unit, part.note);
            writeln!(f, "{}", line.trim_end())?;
        }
        let available = memory.available as f64 / GIB;
        writeln!(f, "  {:<36} {:>8.2}  of {available:.1} GiB", "total", memory.total as f64 / unit)
    }

    fn traffic(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.traffic.is_empty() {
            return Ok(());
        }
        let columns = |f: &mut fmt::Formatter, name: &str, values: [String; 4]| {
            let [between, inside, rounds, seconds] = values;
            writeln!(f, "  {name:<36} {between:>8} {inside:>11} {rounds:>9} {seconds:>9}")
        };
        let bytes: f64 = self.traffic.iter().map(|c| c.bytes_between_nodes + c.bytes_inside_node).sum();
        let (name, unit) = if bytes >= 1e9 { ("GB", 1e9) } else { ("MB", 1e6) };
        writeln!(f, "\nSent by a rank in a step, {name}")?;
        columns(f, "", ["to nodes", "in the node", "messages", "seconds"].map(str::to_owned))?;
        let mut sum = [0.0; 4];
        for c in &self.traffic {
            let values = [c.bytes_between_nodes / unit, c.bytes_inside_node / unit, c.rounds, c.seconds];
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            columns(f, c.name, cells(values))?;
        }
        columns(f, "total", cells(sum))
    }
}

fn cells([between, inside, rounds, seconds]: [f64; 4]) -> [String; 4] {
    [format!("{between:.3}"), format!("{inside:.3}"), format!("{rounds:.0}"), format!("{seconds:.3}")]
}

impl fmt::Display for TimePlan {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "\nTime of a step{:>32}", "seconds")?;
        for part in &self.parts {
            writeln!(f, "  {:<36} {:>8.3}", part.name, part.seconds)?;
        }
        let percent = 100.0 * self.model_flops_utilization;
        writeln!(
            f,
            "  {:<36} {:>8.3}  {} tokens, {} tokens/s; training uses {percent:.1} % of the peak",
            "total",
            self.step_seconds,
            number(self.step_tokens),
            number(self.tokens_per_second),
        )?;
        if let (Some(steps), Some(seconds), Some(hours)) = (self.steps, self.run_seconds, self.device_hours) {
            writeln!(f, "  {steps} steps: {}, {} device hours", duration(seconds), number(hours))?;
        }
        Ok(())
    }
}

/// Formats a number with four digits and a unit.
fn number(value: f64) -> String {
    let units = [(1e12, " T"), (1e9, " B"), (1e6, " M"), (1e4, " k")];
    match units.into_iter().find(|(unit, _)| value >= *unit) {
        Some((1e4, name)) => format!("{:.1}{name}", value / 1e3),
        Some((unit, name)) => format!("{:.1}{name}", value / unit),
        None if value >= 100.0 => format!("{value:.0}"),
        None => format!("{value:.2}"),
    }
}

/// Writes an item of a list in lines of at most 100 columns.
fn wrapped(f: &mut fmt::Formatter, text: &str) -> fmt::Result {
    let mut width = 0;
    for (i, word) in text.split(' ').enumerate() {
        let len = word.chars().count() + 1;
        match i {
            0 => write!(f, "  - {word}")?,
            _ if width + len > 96 => {
                width = 0;
                write!(f, "\n    {word}")?;
            }
            _ => write!(f, " {word}")?,
        }
        width += len;
    }
    writeln!(f)
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_for_people() {
        let texts = [0.5, 99.0, 512.0, 62_914.0, 37.6e9, 14.8e12].map(number);
        assert_eq!(texts, ["0.50", "99.00", "512", "62.9 k", "37.6 B", "14.8 T"]);
    }
}
