//! What limits a run, and what to change.

use super::cluster::Cluster;
use super::device::Speed;
use super::memory::{self, MemoryPlan};
use super::time::{COMMUNICATION, TimePlan};
use super::traffic::Collective;
use super::work::Work;
use crate::error::Error;
use crate::train::Reduce;
use serde::Serialize;

/// What limits a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Binds {
    /// The memory of a rank: the run does not fit.
    Memory,
    /// The network: ranks wait longer for it than they compute.
    Network,
    /// Computation.
    Compute,
}

/// What limits a run, and what to change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Limit {
    /// What limits it.
    pub binds: Binds,
    /// The same in a sentence, with what to change.
    pub sentence: String,
}

/// Finds what limits the planned run.
pub(super) fn limit(
    work: &Work,
    cluster: &Cluster,
    speed: &Speed,
    (memory, traffic, time): (&MemoryPlan, &[Collective], &TimePlan),
) -> Result<Limit, Error> {
    if memory.exceeds() {
        let sentence = out_of_memory(work, cluster, speed, memory)?;
        return Ok(Limit { binds: Binds::Memory, sentence });
    }
    let waiting = time.parts.iter().find(|part| part.name == COMMUNICATION).map_or(0.0, |part| part.seconds);
    let share = 100.0 * waiting / time.step_seconds;
    if share > 50.0 {
        let sentence =
            format!("The network binds: {share:.0} % of a step is communication. {}", less_traffic(cluster, traffic));
        return Ok(Limit { binds: Binds::Network, sentence });
    }
    let longest = time.parts.iter().filter(|part| part.name != COMMUNICATION);
    let longest = longest.max_by(|a, b| a.seconds.total_cmp(&b.seconds)).map_or("computation", |part| part.name);
    let sentence = format!(
        "Computation binds: the memory is enough, and {share:.0} % of a step is communication that is not hidden. The \
         largest part of a step is: {longest}."
    );
    Ok(Limit { binds: Binds::Compute, sentence })
}

/// Returns what makes the largest part of the traffic smaller.
fn less_traffic(cluster: &Cluster, traffic: &[Collective]) -> String {
    let [mut fixed, mut growing] = [0.0, 0.0];
    for collective in traffic {
        *(if collective.fixed { &mut fixed } else { &mut growing }) += collective.seconds;
    }
    match fixed >= growing {
        true => {
            "Gradients and weights are most of it, and their bytes do not depend on the tokens of a step: use more \
                 tokens per step, fewer ranks, or a faster network."
                .to_owned()
        }
        false if cluster.expert_parallel > cluster.ranks_per_node => format!(
            "The all-to-all of experts is most of it: --expert-parallel {} or less keeps it inside a node.",
            cluster.ranks_per_node
        ),
        false => "The bytes between experts or stages are most of it, and grow with the tokens: use a smaller \
                  --expert-parallel or --pipeline-parallel, or a faster network."
            .to_owned(),
    }
}

/// A change of a run that needs less memory.
struct Change {
    text: String,
    work: Work,
    cluster: Cluster,
}

/// Returns what is missing and which changes make the run fit: single ones, otherwise all together.
fn out_of_memory(work: &Work, cluster: &Cluster, speed: &Speed, memory: &MemoryPlan) -> Result<String, Error> {
    const GIB: f64 = (1u64 << 30) as f64;
    let total = |work: &Work, cluster: &Cluster| memory::plan(work, cluster, speed).map(|memory| memory.total);
    let (mut fits, mut helps) = (Vec::new(), Vec::new());
    let (mut all_work, mut all_cluster, mut least) = (work.clone(), cluster.clone(), memory.total);
    for change in CHANGES {
        for Change { text, work: changed, cluster: on } in change(work, cluster) {
            if total(&changed, &on)? <= speed.memory {
                fits.push(text);
                break;
            }
        }
        // The last of a list of changes is the strongest.
        let Some(Change { text, work: changed, cluster: on }) = change(&all_work, &all_cluster).pop() else { continue };
        let bytes = total(&changed, &on)?;
        if bytes < least && least > speed.memory {
            helps.push(text);
            (all_work, all_cluster, least) = (changed, on, bytes);
        }
    }
    let largest = memory.parts.iter().max_by_key(|part| part.bytes).map_or("weights", |part| part.name);
    let missing = format!(
        "Memory binds: a rank needs {:.1} GiB and has {:.1}; the largest part is: {largest}.",
        memory.total as f64 / GIB,
        memory.available as f64 / GIB
    );
    let advice = match (fits.is_empty(), least <= speed.memory) {
        (false, _) => format!("It fits with {}.", fits.join(", or with ")),
        (true, true) => format!("It fits with {} together.", helps.join(", ")),
        (true, false) if cluster.pipeline_parallel == 1 => format!(
            "No setting makes it fit: {:.1} GiB is the least. The paper divides the layers over stages \
             (--pipeline-parallel), which Meno does not.",
            least as f64 / GIB
        ),
        (true, false) => format!("No setting makes it fit: {:.1} GiB is the least.", least as f64 / GIB),
    };
    Ok(format!("{missing} {advice}"))
}

/// A kind of change, from weak to strong.
type Kind = fn(&Work, &Cluster) -> Vec<Change>;

/// The kinds of changes, in the order of their price.
const CHANGES: [Kind; 6] = [fewer_shards, recompute, fewer_sequences, fewer_rows, more_expert_ranks, more_nodes];

fn fewer_shards(work: &Work, cluster: &Cluster) -> Vec<Change> {
    if cluster.shards_of_a_rank(work) == 1 || work.train.reduce == Reduce::Fast {
        return Vec::new();
    }
    let mut work = work.clone();
    work.train.gradient_shards = cluster.data_parallel();
    let text = format!("train.gradient_shards = {}", work.train.gradient_shards);
    vec![Change { text, work, cluster: cluster.clone() }]
}

fn recompute(work: &Work, cluster: &Cluster) -> Vec<Change> {
    let mut work = work.clone();
    if std::mem::replace(&mut work.train.gradient_checkpointing, true) {
        return Vec::new();
    }
    vec![Change { text: "train.gradient_checkpointing = true".into(), work, cluster: cluster.clone() }]
}

fn fewer_sequences(work: &Work, cluster: &Cluster) -> Vec<Change> {
    let slots = memory::generator(work).slots;
    let change = |slots: usize| {
        let mut work = work.clone();
        work.rollout.as_mut()?.grpo.max_sequences = slots;
        Some(Change { text: format!("grpo.max_sequences = {slots}"), work, cluster: cluster.clone() })
    };
    std::iter::successors(Some(slots / 2), |slots| Some(slots / 2)).take_while(|&n| n > 0).map_while(change).collect()
}

fn fewer_rows(work: &Work, cluster: &Cluster) -> Vec<Change> {
    let longest =
        work.rollout.as_ref().map_or(work.length, |r| r.grpo.max_prompt_length + r.grpo.max_completion_length);
    let change = |rows: usize| {
        let mut work = work.clone();
        work.train.max_tokens = rows;
        Change { text: format!("train.max_tokens = {rows}"), work, cluster: cluster.clone() }
    };
    let rows = std::iter::successors(Some(work.train.max_tokens / 2), |rows| Some(rows / 2));
    rows.take_while(|&rows| rows >= longest.max(2)).map(change).collect()
}

fn more_expert_ranks(work: &Work, cluster: &Cluster) -> Vec<Change> {
    let change = |ranks: usize, text: String| {
        let cluster = Cluster { expert_parallel: ranks, ..cluster.clone() };
        Change { text, work: work.clone(), cluster }
    };
    let all = cluster.data_parallel();
    // Meno deals experts out to all ranks of pretrain and sft; the paper's layout to any number.
    let changes: Vec<Change> = match (cluster.pipeline_parallel, &work.rollout) {
        (1, None) if cluster.expert_parallel < all => vec![change(all, "train.expert_parallel = true".into())],
        (1, _) => Vec::new(),
        _ => {
            let ranks = std::iter::successors(Some(2 * cluster.expert_parallel), |ranks| Some(2 * ranks));
            let ranks = ranks.take_while(|&ranks| ranks <= all);
            ranks.map(|ranks| change(ranks, format!("--expert-parallel {ranks}"))).collect()
        }
    };
    changes.into_iter().take_while(|change| change.cluster.check(work).is_ok()).collect()
}

fn more_nodes(work: &Work, cluster: &Cluster) -> Vec<Change> {
    let change = |nodes: usize| {
        let cluster = Cluster { nodes, ..cluster.clone() };
        Change { text: format!("--nodes {nodes}"), work: work.clone(), cluster }
    };
    let nodes = std::iter::successors(Some(2 * cluster.nodes), |nodes| Some(2 * nodes));
    nodes.take(6).map(change).take_while(|change| change.cluster.check(work).is_ok()).collect()
}
